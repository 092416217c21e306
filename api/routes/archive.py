"""The archive: what an auditor takes away. Handing one out is itself a record."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from fastapi import APIRouter, Request, Response, Security
from starlette.responses import StreamingResponse

from api import actors, problems
from api.routes.parameters import LedgerName, Size, StrictQuery, bearer
from api.service import ServiceOf
from ledger_core.errors import MalformedError

router = APIRouter(
    prefix="/api/v1/ledgers/{ledger}",
    tags=["archive"],
    dependencies=[StrictQuery, Security(bearer)],
)
_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get(
    "/archive",
    operation_id="export_archive",
    response_class=Response,
    responses={**_ZIP, **problems.responses(400, 401, 403, 404, 503)},
)
def export_archive(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    start: Size = 0,
    end: Size | None = None,
) -> Response:
    """Stream entries `[start, end)` with payloads and proofs, as a zip file.

    Appends an `export/1` record that names the token. Needs a token, on a public ledger too.
    """
    found, actor = actors.open_ledger(service, request, ledger)
    actors.check_role(actor, "reader", found)
    if end is not None and start >= end:
        raise MalformedError("an archive covers at least one entry: start < end")
    chunks = found.export(start, end, actor.name, actor.reader_of(found))
    name = f"{found.name}-{start}-{'end' if end is None else end}.zip"
    return StreamingResponse(
        begun(chunks),
        media_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


def begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Make the first chunk now: what fails before it can still be answered as a problem."""
    return chain([next(chunks)], chunks)
