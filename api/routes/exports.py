"""A session to take away: as JSON with its proofs, or as a page to print."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response, Security

from api import problems
from api.calls.export import export_session
from api.calls.reading import look
from api.calls.report import CONTENT_SECURITY, format_report
from api.routes.parameters import StrictQuery, bearer
from api.service import Service, ServiceOf
from ledger_core.clock import now_ms
from ledger_core.formats.session_export import SessionExport, format_session

router = APIRouter(tags=["sessions"], dependencies=[StrictQuery, Security(bearer)])
_REPORT = "/report"
_ANSWERS = problems.responses(400, 401, 404, 413, 503)
_ATTACHMENT: dict[str, Any] = {
    "Content-Disposition": {"description": "a file name", "schema": {"type": "string"}}
}
Named = Annotated[
    str,
    Path(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00]*$",
        description="The session's id, any text; a slash in it as `%2F`.",
    ),
]


@router.get(
    "/export/{session_id:path}/report",
    operation_id="report_session",
    response_class=Response,
    responses={
        200: {"content": {"text/html": {"schema": {"type": "string"}}}},
        **_ANSWERS,
    },
)
def report_session(service: ServiceOf, request: Request, session_id: Named) -> Response:
    """Return a session as a page to read and print. It proves nothing; the JSON export does."""
    # Of a session whose own name ends so, the slash came as %2F.
    if not request.scope.get("raw_path", _REPORT.encode()).endswith(_REPORT.encode()):
        return _attach(service, request, session_id + _REPORT)
    export = _export(service, request, session_id)
    return Response(
        format_report(export, f"{_file_name(session_id)}.json"),
        media_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": CONTENT_SECURITY, "Cache-Control": "no-store"},
    )


@router.get(
    "/export/{session_id:path}",
    operation_id="export_session",
    response_class=Response,
    responses={
        200: {
            "content": {"application/json": {"schema": {"type": "object"}}},
            "headers": _ATTACHMENT,
        },
        **_ANSWERS,
    },
)
def export(service: ServiceOf, request: Request, session_id: Named) -> Response:
    """Return a session's calls with their entries, receipts and payload, to verify offline."""
    return _attach(service, request, session_id)


def _attach(service: Service, request: Request, session_id: str) -> Response:
    name = f"{_file_name(session_id)}.json"
    return Response(
        format_session(_export(service, request, session_id)),
        media_type="application/json",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


def _export(service: Service, request: Request, session_id: str) -> SessionExport:
    return export_session(look(service, request), session_id, now_ms())


def _file_name(session_id: str) -> str:
    """Name a file after a session, whatever that is called."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", session_id).strip("-.")[:40]
    return f"ledgergrid-{plain or 'session'}"
