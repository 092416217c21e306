"""The log as C2SP tlog-tiles has it: files that any monitor, witness or mirror reads.

Tiles never change once published, partial ones included, so every cache may keep them;
the checkpoint is asked for anew. A ledger that is not public needs its token here as well,
and only the asker's own cache may keep what it got; nor may another cache keep an entry bundle
that a token was shown. Whoever may not see all entries of a bundle finds no such bundle: hash
tiles and checkpoints are for all who see the ledger.

Source: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import gzip
from typing import Any

from fastapi import APIRouter, Request, Response, Security

from api import actors, problems
from api.routes.parameters import StrictQuery, WitnessedQuery, bearer
from api.service import ServiceOf
from api.sight import Sight
from ledger_core.errors import MalformedError, NotFoundError
from ledger_core.merkle import tiles

router = APIRouter(
    prefix="/log/{ledger}", tags=["log"], dependencies=[StrictQuery, Security(bearer)]
)
_YEAR_S = 31_536_000
_GZIP_LEVEL = 1


def _bytes(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


@router.head("/checkpoint", include_in_schema=False)
@router.get(
    "/checkpoint",
    operation_id="log_checkpoint",
    response_class=Response,
    responses={**_bytes("text/plain"), **problems.responses(400, 401, 404)},
)
def log_checkpoint(
    service: ServiceOf, request: Request, ledger: str, witnessed: WitnessedQuery = False
) -> Response:
    """Return the newest checkpoint, or the newest witnessed one."""
    found, _ = actors.open_ledger(service, request, ledger)
    return Response(
        found.checkpoint(witnessed=witnessed),
        headers={"Cache-Control": "no-cache"},
        media_type="text/plain; charset=utf-8",
    )


@router.head("/tile/{path:path}", include_in_schema=False)
@router.get(
    "/tile/{path:path}",
    operation_id="log_tile",
    response_class=Response,
    responses={**_bytes("application/octet-stream"), **problems.responses(400, 401, 404)},
)
def log_tile(service: ServiceOf, request: Request, ledger: str, path: str) -> Response:
    """Return `<L>/<N>[.p/<W>]`, a tile, or `entries/<N>[.p/<W>]`, an entry bundle."""
    sight = actors.look(service, request, ledger)
    is_bundle = path.startswith("entries/")
    try:
        content = _read(sight, path)
    except MalformedError as error:
        raise NotFoundError(str(error)) from None
    is_for_all = sight.ledger.kind == "public" and not (
        is_bundle and "authorization" in request.headers
    )
    scope = "public" if is_for_all else "private"
    headers = {"Cache-Control": f"{scope}, max-age={_YEAR_S}, immutable"}
    if is_bundle:
        content = _compress(request, content, headers)
    return Response(content, headers=headers, media_type="application/octet-stream")


def _compress(request: Request, bundle: bytes, headers: dict[str, str]) -> bytes:
    """Compress an entry bundle for whoever takes gzip; hashes would not get smaller."""
    headers["Vary"] = "Accept-Encoding"
    accepted = request.headers.get("accept-encoding", "").replace(" ", "").split(",")
    if "gzip" not in accepted:
        return bundle
    headers["Content-Encoding"] = "gzip"
    return gzip.compress(bundle, compresslevel=_GZIP_LEVEL, mtime=0)


def _read(sight: Sight, path: str) -> bytes:
    level, _, rest = path.partition("/")
    position, width = tiles.parse_tile_index(rest)
    if level == "entries":
        return sight.bundle(position, width)
    return sight.ledger.tile(tiles.parse_tile_level(level), position, width)
