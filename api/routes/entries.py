"""Reading entries: one, or a page of those that match."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from pydantic import BaseModel, Field

from api import actors, problems
from api.entries import EntryDetail, EntrySummary, read_summaries, show
from api.routes.parameters import Index, LedgerName, Number, Size, StrictQuery, bearer
from api.routes.proofs import TEXT
from api.service import ServiceOf
from api.sight import Sight
from ledger_core import clock, ids, limits
from ledger_core.errors import BusyError, MalformedError, NotFoundError
from ledger_core.formats.record import check_type_name
from ledger_core.records import registry
from ledger_core.records.model import ColumnKind
from ledger_core.storage.search import EntryQuery, Page

router = APIRouter(
    prefix="/api/v1/ledgers/{ledger}", tags=["entries"], dependencies=[Security(bearer)]
)
_CATCH_UP_S = 5.0
T = TypeVar("T")

COLUMNS: dict[str, ColumnKind] = {
    name: of for kind in registry.ALL for name, of in kind.columns.items()
}
"""Every column that some record type declares; each filters within its own type."""


class EntryPage(BaseModel):
    """Entries that match, in order of index."""

    entries: list[EntrySummary]
    next: str | None = Field(description="give it as `cursor` for the next page")
    size: int = Field(description="the answer covers this many entries of the log")


class Filters(BaseModel):
    """What every entry can be asked for, and where a page begins."""

    type: str | None = Field(
        default=None, max_length=limits.STREAM_CHARS, examples=["agent.action/1"]
    )
    author: str | None = Field(default=None, max_length=100, description="`ed25519:…`")
    id: str | None = Field(default=None, max_length=36, description="the record's id; goes alone")
    leaf_hash: str | None = Field(default=None, max_length=100, description="`sha256:…`")
    stream: str | None = Field(default=None, max_length=limits.STREAM_CHARS)
    ref: str | None = Field(
        default=None, max_length=100, description="leaf hash that a record refers to"
    )
    received_from: str | None = Field(default=None, max_length=24, description="from this time on")
    received_to: str | None = Field(default=None, max_length=24, description="before this time")
    cursor: Number | None = Field(default=None, description="`next` of the page before")
    limit: Number = Field(100, description="entries a page", ge=1, le=limits.PAGE_ITEMS)
    order: Literal["asc", "desc"] = "asc"
    min_size: Number | None = Field(
        None, description="wait until this many entries are covered: read your own writes"
    )


async def _columns(request: Request) -> dict[str, str]:
    """Pick the filters on type's columns out of the query, and refuse what nobody knows."""
    picked: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if len(request.query_params.getlist(name)) > 1:
            raise MalformedError(f"parameter {name[:60]!r} is given twice")
        if name in COLUMNS:
            if len(value) > 1000:
                raise MalformedError(f"parameter {name!r} is too long")
            picked[name] = value
        elif name not in Filters.model_fields:
            raise MalformedError(f"unknown parameter {name[:60]!r}")
    return picked


@router.get(
    "/entries",
    operation_id="search_entries",
    responses=problems.responses(400, 401, 403, 404, 503),
    openapi_extra={
        "parameters": [
            {
                "name": name,
                "in": "query",
                "description": "a column of the record type named in `type`",
                "schema": {"type": "string" if of == "text" else "integer"},
            }
            for name, of in sorted(COLUMNS.items())
        ]
    },
)
def search_entries(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    filters: Annotated[Filters, Query()],
    columns: Annotated[dict[str, str], Depends(_columns)],
) -> EntryPage:
    """Find entries; every filter given must hold. Pages stay put while the log grows.

    What whoever asks may not see is not found; a type's column finds only entries whose
    payload they may see.
    """
    sight = actors.look(service, request, ledger)
    if filters.id is not None:
        return _find_by_id(sight, filters, columns)
    if filters.leaf_hash is not None and not columns and filters.model_fields_set == {"leaf_hash"}:
        return _find_by_leaf_hash(sight, filters.leaf_hash)
    page = _search(sight, _to_query(filters, columns), filters.min_size)
    entries = list(read_summaries(sight, page.indexes))
    if filters.order == "desc":
        entries.reverse()
    return EntryPage(
        entries=entries, next=None if page.next is None else str(page.next), size=page.size
    )


def _find_by_id(sight: Sight, filters: Filters, columns: dict[str, str]) -> EntryPage:
    if columns or filters.model_fields_set - {"id", "limit"}:
        raise MalformedError("an id names one entry: give no other filter with it")
    size = sight.ledger.size()
    try:
        indexes = [sight.index_of(str(filters.id))]
    except NotFoundError:
        indexes = []
    entries = list(read_summaries(sight, indexes))
    return EntryPage(entries=entries, next=None, size=size)


def _find_by_leaf_hash(sight: Sight, leaf_hash: str) -> EntryPage:
    """Find an entry where it lies: views may be behind it."""
    size = sight.ledger.size()
    indexes = sight.find([ids.parse_digest(leaf_hash)]).values()
    return EntryPage(entries=list(read_summaries(sight, [*indexes])), next=None, size=size)


def _search(sight: Sight, query: EntryQuery, min_size: int | None) -> Page:
    # The size is known before the search, so what the answer claims to cover, it does.
    covered = sight.ledger.wait_until_searchable(min_size or 0, _CATCH_UP_S if min_size else 0)
    page = sight.search(query)
    if min_size is not None and max(covered, page.size) < min_size:
        raise BusyError(f"{page.size} entries can be searched so far, not {min_size}")
    return page


def _to_query(filters: Filters, columns: dict[str, str]) -> EntryQuery:
    if filters.author is not None:
        ids.parse_key(filters.author)
    if filters.type is not None:
        check_type_name(filters.type)
    return EntryQuery(
        type=filters.type,
        author=filters.author,
        leaf_hash=_optional(ids.parse_digest, filters.leaf_hash),
        stream=filters.stream,
        ref=_optional(ids.parse_digest, filters.ref),
        received_from=_optional(clock.parse_time, filters.received_from),
        received_to=_optional(clock.parse_time, filters.received_to),
        columns={
            name: ids.parse_decimal(text) if COLUMNS[name] == "integer" else text
            for name, text in columns.items()
        },
        after=filters.cursor,
        limit=filters.limit,
        descending=filters.order == "desc",
    )


def _optional(parse: Callable[[str], T], text: str | None) -> T | None:
    return None if text is None else parse(text)


@router.get(
    "/entries/{index}",
    operation_id="get_entry",
    dependencies=[StrictQuery],
    responses=problems.responses(400, 401, 404),
)
def get_entry(
    service: ServiceOf, request: Request, ledger: LedgerName, index: Index
) -> EntryDetail:
    """Return one entry, with the payload that whoever asks may see."""
    return show(actors.look(service, request, ledger), index)


@router.get(
    "/entries/{index}/receipt",
    operation_id="get_receipt",
    dependencies=[StrictQuery],
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems.responses(400, 401, 404),
    },
)
def get_receipt(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    index: Index,
    size: Size | None = None,
) -> Response:
    """Return an entry's receipt (C2SP tlog-proof), with the cosignatures that there are by now.

    At `size`; or else at the first witnessed checkpoint that covers the entry, and while there is
    none, at the first that covers it.
    """
    sight = actors.look(service, request, ledger)
    if size is not None and index >= size:
        raise MalformedError(f"index {index} is not in a tree of size {size}")
    return Response(sight.receipt(index, size), media_type=TEXT)
