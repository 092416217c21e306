"""What holds of entries, what was done to them and by whom, and everything about one subject."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, get_args

import msgspec
from fastapi import APIRouter, Path, Query, Request, Security
from pydantic import BaseModel, Field

from api import actors, problems
from api.entries import EntryDetail, PartInfo, place_of, show, show_all
from api.routes.governance import VoiceInfo, proposal_info
from api.routes.parameters import Index, LedgerName, Number, StrictQuery, bearer
from api.service import ServiceOf
from api.sight import Sight
from ledger_core import clock, ids, limits
from ledger_core.errors import BusyError, NotFoundError
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import parse_record
from ledger_core.policy.register import REGISTERED, ChangeKind
from ledger_core.policy.states import Happened, State, What, Word
from ledger_core.states import Change
from ledger_core.storage.search import Page
from ledger_core.storage.store import StoredEntry

router = APIRouter(
    prefix="/api/v1/ledgers/{ledger}",
    tags=["changes"],
    dependencies=[StrictQuery, Security(bearer)],
)
_CATCH_UP_S = 5.0
_PAGE_BYTES = 32 * 1024 * 1024
"""Payload on one page; a single entry may hold more."""
_TARGETS = 100
"""Of one change in the register, the first of those it names."""

At = Annotated[
    str | None,
    Query(
        max_length=24,
        description="An index, for what took effect before it, or a time received. Now, if none.",
        examples=["120", "2026-08-01T10:11:12.400Z"],
    ),
]
PageSize = Annotated[int, Query(description="Items a page.", ge=1, le=200)]
MinSize = Annotated[Number | None, Query(description="Wait until this many entries are covered.")]


class ChangedBy(BaseModel):
    """An entry that changed others, and who agreed to it."""

    index: int
    leaf_hash: str
    type: str
    author: str
    member: str | None
    received_at: str
    policy: str | None = Field(description="what its endorsements name; null if it needed none")
    voices: list[VoiceInfo] = Field(description="those heard on it, its author's first")


class HistoryItem(BaseModel):
    """What was done to an entry, in effect from the entry after `at` on."""

    at: int
    what: What
    parts: list[str] = Field(description="those it concerned; none if it concerned versions")
    case: str | None
    version: int | None = Field(description="the version that counted from there on")
    by: ChangedBy | None = Field(description="null if that entry is not for this reader")


class VersionInfo(BaseModel):
    index: int
    leaf_hash: str


class EffectInfo(BaseModel):
    """What holds of an entry at an index: versions and parts as of `at`, `current` as of now."""

    index: int
    leaf_hash: str
    type: str
    at: int
    size: int = Field(description="entries of the log that this answer knows")
    state: Word
    since: int | None = Field(description="where it took effect; null if it has not")
    original: VersionInfo | None = Field(
        description="the first version: of most entries, itself; null if it is not for this reader"
    )
    versions: list[VersionInfo] = Field(description="all that this reader sees, the first first")
    current: EntryDetail | None = Field(
        description="the version that counts, as this reader may see it now; null if none does"
    )
    parts: Mapping[str, PartInfo]
    held_by: list[str]
    history: list[HistoryItem] = Field(description="of the first version and of this entry")


class TargetInfo(BaseModel):
    index: int | None = Field(description="null if that entry is not for this reader")
    leaf_hash: str
    parts: list[str]


class RegisterItem(ChangedBy):
    """One change in the register, whether it is in effect or not."""

    kind: ChangeKind
    state: Word
    since: int | None = Field(description="where it took effect; null if it has not")
    targets: list[TargetInfo] = Field(description="the first of those it names")
    target_count: int
    said: dict[str, Any] = Field(description="what else its payload says")
    done: int | None = Field(description="of an order to erase: where it was done")


class Register(BaseModel):
    changes: list[RegisterItem]
    next: str | None = Field(description="give it as `cursor` for the next page")
    size: int = Field(description="the answer covers this many entries of the log")


class SubjectEntry(EntryDetail):
    """An entry about the subject; those in effect make up the subject's state."""

    history: list[HistoryItem]


class SubjectPage(BaseModel):
    subject: str
    entries: list[SubjectEntry]
    next: str | None = Field(description="give it as `cursor` for the next page")
    size: int = Field(description="the answer covers this many entries of the log")


class MutabilityInfo(BaseModel):
    """Who may change entries of a type, from the entry after `since` on."""

    since: int
    is_in_force: bool
    setting: dict[str, Any]


class MutabilityList(BaseModel):
    settings: list[MutabilityInfo]


# --- what holds of one entry -------------------------------------------------------


@router.get(
    "/entries/{index}/effect",
    operation_id="get_effect",
    responses=problems.responses(400, 401, 404),
)
def get_effect(
    service: ServiceOf, request: Request, ledger: LedgerName, index: Index, at: At = None
) -> EffectInfo:
    """Tell what holds of an entry, now or at an index or time, and how it came to that."""
    return read_effect(actors.look(service, request, ledger), index, at)


def read_effect(sight: Sight, index: int, at: str | None) -> EffectInfo:
    """Read what holds of an entry, as the reader may know it; blocking."""
    entry = sight.entry_head(index)
    size = sight.ledger.size()
    return _effect(sight, entry, _read_at(sight, at, size), size)


def _read_at(sight: Sight, at: str | None, size: int) -> int:
    if at is None:
        return size
    if not at.isdigit():
        return sight.ledger.states.index_at(clock.parse_time(at))
    index = ids.parse_decimal(at)
    if index > size:
        raise NotFoundError("the log has not grown that far")
    return index


def _effect(sight: Sight, entry: StoredEntry, at: int, size: int) -> EffectInfo:
    state = sight.ledger.states.of([entry], at)[entry.index]
    first = _first_version(sight, entry, state)
    happened = sight.ledger.states.history(entry, at)
    if first is not None and first is not entry:
        moved = [each for each in sight.ledger.states.history(first, at) if each[0].is_move]
        happened = sorted([*moved, *happened], key=lambda each: each[0].at)
    parts = sight.parts([entry], {entry.index: state})[entry.index]
    named = {each.by for each in parts.values() if each.by is not None}
    versions = {entry.leaf_hash if first is None else first.leaf_hash}
    versions |= {each.version for each, _ in happened if each.version}
    places = {each.leaf_hash: each.index for each in (entry, first) if each is not None}
    places |= sight.find((named | versions) - places.keys())
    current = places.get(state.version or b"")
    return EffectInfo(
        index=entry.index,
        leaf_hash=ids.format_digest(entry.leaf_hash),
        type=parse_record(parse_entry(entry.leaf).record).type,
        at=at,
        size=size,
        state=state.word,
        since=state.since,
        original=None if first is None else _version(first.leaf_hash, first.index),
        versions=[
            _version(each, places[each])
            for each in sorted(versions & places.keys(), key=lambda each: places[each])
        ],
        current=None if current is None else show(sight, current),
        parts={
            name: PartInfo(status=part.status, by=place_of(part, places))
            for name, part in parts.items()
        },
        held_by=sorted(state.cases),
        history=_history(sight, happened, places),
    )


def _first_version(sight: Sight, entry: StoredEntry, state: State) -> StoredEntry | None:
    if state.original is None:
        return entry
    index = sight.find([state.original]).get(state.original)
    return None if index is None else sight.entry_head(index)


def _version(leaf_hash: bytes, index: int) -> VersionInfo:
    return VersionInfo(index=index, leaf_hash=ids.format_digest(leaf_hash))


def _history(
    sight: Sight, happened: Sequence[tuple[Happened, Change]], places: Mapping[bytes, int]
) -> list[HistoryItem]:
    amended = sorted({by.index for each, by in happened if each.what == "amendment"})
    shown = {by.index for each, by in happened if each.what != "amendment"}  # It is governance.
    shown |= {entry.index for entry in sight.entries(amended)}
    return [
        HistoryItem(
            at=each.at,
            what=each.what,
            parts=list(each.parts),
            case=each.case,
            version=places.get(each.version or b""),
            by=ChangedBy(**_changed_by(sight, change)) if change.index in shown else None,
        )
        for each, change in happened
    ]


def _changed_by(sight: Sight, change: Change) -> dict[str, Any]:
    key = sight.ledger.constitution().keys.get(change.author)
    proposal = None if change.proposal is None else proposal_info(change.proposal)
    return {
        "index": change.index,
        "leaf_hash": ids.format_digest(change.leaf_hash),
        "type": change.type,
        "author": change.author,
        "member": None if key is None else key.member,
        "received_at": clock.format_time(change.received_at),
        "policy": None if proposal is None else proposal.policy,
        "voices": [] if proposal is None else proposal.voices,
    }


# --- the register ------------------------------------------------------------------


@router.get(
    "/changes", operation_id="list_changes", responses=problems.responses(400, 401, 404, 503)
)
def list_changes(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    kind: ChangeKind | None = None,
    target: Annotated[Number | None, Query(description="index of an entry they name")] = None,
    cursor: Number | None = None,
    limit: PageSize = 100,
    min_size: MinSize = None,
) -> Register:
    """List the register of changes: amendments, rollbacks, redactions, holds, erasures, refusals.

    Those in effect, those that wait and those that came to nothing, in order of index.
    """
    sight = actors.look(service, request, ledger)
    _catch_up(sight, min_size)
    page = sight.changes(kind, target, after=cursor, limit=limit)
    _check_covers(page.size, min_size)
    entries, next_ = _within(sight, page)
    return Register(changes=_register(sight, entries), next=next_, size=page.size)


def _catch_up(sight: Sight, min_size: int | None) -> None:
    if min_size is not None:
        if min_size > sight.ledger.size():
            raise NotFoundError("the log has not grown that far")
        sight.ledger.wait_until_searchable(min_size, _CATCH_UP_S)


def _check_covers(size: int, min_size: int | None) -> None:
    if min_size is not None and size < min_size:
        raise BusyError(f"{size} entries can be searched so far, not {min_size}")


def _within(sight: Sight, page: Page) -> tuple[list[StoredEntry], str | None]:
    """Read a page's entries with their payload, as many as may be held at once."""
    heads, held_bytes = sight.entries(page.indexes), 0
    for count, entry in enumerate(heads):
        payload = parse_record(parse_entry(entry.leaf).record).payload.values()
        held_bytes += sum(part.size for part in payload)
        if held_bytes > _PAGE_BYTES and count:
            taken = [each.index for each in heads[:count]]
            return sight.pick(sight.ledger.entries(taken)), str(taken[-1])
    found = sight.pick(sight.ledger.entries([each.index for each in heads]))
    return found, None if page.next is None else str(page.next)


def _register(sight: Sight, entries: Sequence[StoredEntry]) -> list[RegisterItem]:
    indexes = [entry.index for entry in entries]
    states = sight.ledger.states.of(entries)
    effects = sight.ledger.effects(indexes)
    bodies = {entry.index: _body(entry) for entry in entries}
    targets = {entry.index: list(_targets(entry, bodies[entry.index])) for entry in entries}
    places = sight.find({leaf for each in targets.values() for leaf, _ in each[:_TARGETS]})
    items: list[RegisterItem] = []
    for change in sight.ledger.states.changes(indexes):
        index = change.index
        items.append(
            RegisterItem(
                **_changed_by(sight, change),
                kind=_kind(change.type),
                state=states[index].word,
                since=states[index].since,
                targets=[
                    TargetInfo(
                        index=places.get(leaf), leaf_hash=ids.format_digest(leaf), parts=parts
                    )
                    for leaf, parts in targets[index][:_TARGETS]
                ],
                target_count=len(targets[index]),
                said={k: v for k, v in bodies[index].items() if k not in ("targets", "order")},
                done=effects[index].done_at if index in effects else None,
            )
        )
    return items


_KINDS: Mapping[str, ChangeKind] = {
    name: kind
    for name in REGISTERED
    for kind in get_args(ChangeKind)
    if name.split("/")[0].split(".")[-1] == kind
}


def _kind(type_name: str) -> ChangeKind:
    return _KINDS.get(type_name, "amendment")


def _body(entry: StoredEntry) -> dict[str, Any]:
    """Return what a change says; an amendment's payload is its own, and not told here."""
    record = parse_record(parse_entry(entry.leaf).record)
    part = entry.parts.get("body")
    if record.type not in REGISTERED or part is None:
        return {}
    body: dict[str, Any] = msgspec.json.decode(part.data)
    return body


def _targets(entry: StoredEntry, body: Mapping[str, Any]) -> Iterable[tuple[bytes, list[str]]]:
    record = parse_record(parse_entry(entry.leaf).record)
    if record.type not in REGISTERED:
        yield from ((ids.parse_digest(ref.to), []) for ref in record.refs if ref.rel == "amends")
    elif "order" in body:
        yield ids.parse_digest(body["order"]), []
    for each in body.get("targets", ()):
        named = each if isinstance(each, str) else each["entry"]
        yield ids.parse_digest(named), [] if isinstance(each, str) else each["parts"]


# --- subjects ----------------------------------------------------------------------


@router.get(
    "/subjects/{subject:path}",
    operation_id="get_subject",
    responses=problems.responses(400, 401, 404, 503),
)
def get_subject(
    service: ServiceOf,
    request: Request,
    ledger: LedgerName,
    subject: Annotated[
        str,
        Path(
            min_length=1,
            max_length=limits.SUBJECT_CHARS,
            description="What entries are about, as their record types say.",
            examples=["user:42", "session:s1"],
        ),
    ],
    at: At = None,
    cursor: Number | None = None,
    limit: PageSize = 50,
    min_size: MinSize = None,
) -> SubjectPage:
    """Tell everything about one subject: each entry, what holds of it, and its history.

    Of entries whose payload whoever asks may see; what was erased is about nobody any more.
    """
    sight = actors.look(service, request, ledger)
    _catch_up(sight, min_size)
    found = read_subject(sight, subject, at, cursor, limit)
    _check_covers(found.size, min_size)
    return found


def read_subject(
    sight: Sight, subject: str, at: str | None, cursor: int | None, limit: int
) -> SubjectPage:
    """Read one page of what is about a subject, as the reader may see it; blocking."""
    until = None if at is None else _read_at(sight, at, sight.ledger.size())
    page = sight.about(subject, after=cursor, limit=limit)
    entries, next_ = _within(sight, page)
    if until is not None and entries and entries[-1].index >= until:
        entries, next_ = [each for each in entries if each.index < until], None
    return SubjectPage(
        subject=subject, entries=_about(sight, entries, until), next=next_, size=page.size
    )


def _about(sight: Sight, entries: Sequence[StoredEntry], at: int | None) -> list[SubjectEntry]:
    changed = sight.ledger.effects([entry.index for entry in entries])
    size = sight.ledger.size() if at is None else at
    found: list[SubjectEntry] = []
    for entry, shown in zip(entries, show_all(sight, entries, at), strict=True):
        happened: list[tuple[Happened, Change]] = []
        if entry.index in changed or any(x.status == "erased" for x in shown.parts.values()):
            happened = sight.ledger.states.history(entry, size)
        places = sight.find({each.version for each, _ in happened if each.version})
        found.append(SubjectEntry(**shown.model_dump(), history=_history(sight, happened, places)))
    return found


# --- who may change what -----------------------------------------------------------


@router.get(
    "/mutability", operation_id="list_mutability", responses=problems.responses(400, 401, 404)
)
def list_mutability(service: ServiceOf, request: Request, ledger: LedgerName) -> MutabilityList:
    """List who may change entries of which types, each with its history. What is not set cannot."""
    found, _ = actors.open_ledger(service, request, ledger)
    return MutabilityList(
        settings=[
            MutabilityInfo(
                since=since,
                is_in_force=since == history[-1][0],
                setting=msgspec.to_builtins(setting),
            )
            for history in found.constitution().mutability.values()
            for since, setting in history
        ]
    )
