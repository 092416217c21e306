"""Changing what holds of entries: amend, roll back, redact, hold, erase; the flows and methods.

Each change is a record, appended like any other: where a policy governs it, it waits, and
:meth:`~ledgergrid.governing.Governing.wait_for_outcome` waits for it. What a change names is
checked before it is signed: its leaf, its author's signature, its place in the log. What the
ledger tells of effects, subjects and the register is its word, for people and programs to read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, Unpack

import msgspec

from ledger_core import ids
from ledger_core.errors import MalformedError
from ledger_core.formats.record import parse_record
from ledger_core.records.rules import MutabilitySetting, check_mutability
from ledger_core.records.targets import Parts
from ledger_core.records.types.erasure import ERASURE_1, Erasure
from ledger_core.records.types.hold import HOLD_1, Hold
from ledger_core.records.types.mutability import MUTABILITY_1, MutabilityChange
from ledger_core.records.types.redaction import REDACTION_1, Redact, Unredact
from ledger_core.records.types.rollback import ROLLBACK_1, Rollback
from ledgergrid import told
from ledgergrid.entries import VerifiedEntry
from ledgergrid.errors import ForgedEntryError
from ledgergrid.patience import patiently
from ledgergrid.receipts import Receipt
from ledgergrid.sealing import JSON, Draft, Options
from ledgergrid.session import Session
from ledgergrid.told import (
    MOST,
    EffectInfo,
    MutabilityInfo,
    RegisterItem,
    SubjectEntry,
)
from ledgergrid.wire import Flow

T = TypeVar("T")

Named = Receipt | VerifiedEntry | EffectInfo | str | int
"""An entry: its receipt, itself as it was read, its leaf hash as ``sha256:…``, or its index."""
Reason = Literal["request", "subject", "legal", "mistake", "other"]


def look_up(session: Session, target: Named) -> Flow[VerifiedEntry]:
    """Read an entry without its payload, and check leaf, author and place."""
    yield from session.learn()
    if isinstance(target, VerifiedEntry):
        return target
    index, leaf_hash = (target, None) if isinstance(target, int) else (None, _hash_of(target))
    if not isinstance(target, str | int):
        index = target.index
    if index is None:
        index = yield from patiently(partial(told.ask_index, str(leaf_hash)), session.patience_s)
    read = partial(session.trust.read_entry, index, leaf_hash, is_whole=False)
    return (yield from patiently(read, session.patience_s))


def _hash_of(target: Receipt | VerifiedEntry | EffectInfo | str) -> str:
    found = target if isinstance(target, str) else target.leaf_hash
    ids.check_digest(found)
    return found


def amend(
    session: Session, target: Named, payload: object, type_name: str | None, options: Options
) -> Flow[Receipt]:
    """Append the version after ``target``, which must be the current one."""
    if type_name is None and isinstance(target, Receipt):
        leaf_hash, type_name = target.leaf_hash, parse_record(target.record).type
    elif type_name is None or isinstance(target, int):
        found = yield from look_up(session, target)
        leaf_hash, type_name = found.leaf_hash, found.record.type
    else:
        leaf_hash = _hash_of(target)
    refs = [*options.get("refs", ()), ("amends", leaf_hash)]
    merged: Options = {**options, "refs": refs}
    return (yield from session.append(Draft(type_name, payload, merged)))


def change_entries(
    session: Session, type_name: str, body: Any, targets: Sequence[Named]
) -> Flow[Receipt]:
    """Append a change that names entries; ``body`` makes its payload of their leaf hashes."""
    hashes: list[str] = []
    for target in targets:
        if isinstance(target, int):
            hashes.append((yield from look_up(session, target)).leaf_hash)
        else:
            hashes.append(_hash_of(target))
    return (yield from session.append(_draft(type_name, body(tuple(hashes)))))


def change_parts(
    session: Session,
    type_name: str,
    body: Any,
    targets: Sequence[Named],
    parts: Sequence[str] | None,
    *,
    with_versions: bool = False,
) -> Flow[Receipt]:
    """Append a change that names parts of entries: these parts, or all that the records have."""
    named: dict[str, Parts] = {}
    for target in targets:
        for found in (yield from versions_of(session, target, with_versions=with_versions)):
            has = [each for each in found.record.payload if parts is None or each in parts]
            if not has:
                raise MalformedError(
                    f"entry {found.index} has no such part: {', '.join(parts or ())}"
                )
            named[found.leaf_hash] = Parts(found.leaf_hash, tuple(sorted(has)))
    return (yield from session.append(_draft(type_name, body(tuple(named.values())))))


def versions_of(
    session: Session, target: Named, *, with_versions: bool
) -> Flow[list[VerifiedEntry]]:
    """Read an entry; if that is asked for with all its versions, each checked to be one."""
    entry = yield from look_up(session, target)
    if not with_versions:
        return [entry]
    told_of = yield from patiently(partial(told.ask_effect, entry.index, None), session.patience_s)
    found: dict[str, VerifiedEntry] = {}
    for version in sorted(told_of.versions, key=lambda each: each.index):
        read = yield from look_up(session, version.index)
        amended = {ref.to for ref in read.record.refs if ref.rel == "amends"}
        if found.keys().isdisjoint(amended) if found else bool(amended):
            raise ForgedEntryError(f"entry {version.index} is no version of entry {entry.index}")
        found[read.leaf_hash] = read
    if entry.leaf_hash not in found:
        raise ForgedEntryError(f"entry {entry.index} is not among its own versions")
    return list(found.values())


def effect(session: Session, target: Named, at: int | str | None) -> Flow[EffectInfo]:
    """Ask what holds of an entry."""
    yield from session.learn()
    if isinstance(target, str):
        index = yield from patiently(partial(told.ask_index, _hash_of(target)), session.patience_s)
    else:
        index = target if isinstance(target, int) else target.index
    return (yield from patiently(partial(told.ask_effect, index, at), session.patience_s))


def changes(
    session: Session, kind: str | None, target: int | None, limit: int
) -> Flow[list[RegisterItem]]:
    yield from session.learn()
    query = {"kind": kind, "target": target, "min_size": _seen(session)}
    return (yield from patiently(partial(told.ask_changes, query, limit), session.patience_s))


def subject(
    session: Session, name: str, at: int | str | None, limit: int
) -> Flow[list[SubjectEntry]]:
    yield from session.learn()
    query = {"at": at, "min_size": _seen(session)}
    return (yield from patiently(partial(told.ask_subject, name, query, limit), session.patience_s))


def _seen(session: Session) -> int | None:
    """Return how far this client has seen the log grow: its own writes are then covered."""
    last = session.trust.last_checkpoint()
    return None if last is None else last.size


def mutability(session: Session) -> Flow[tuple[MutabilityInfo, ...]]:
    yield from session.learn()
    return (yield from patiently(told.ask_mutability, session.patience_s))


def set_mutability(session: Session, setting: MutabilitySetting) -> Flow[Receipt]:
    check_mutability(setting)
    yield from session.learn()
    return (yield from session.append(_draft(MUTABILITY_1.name, MutabilityChange(setting))))


def _draft(type_name: str, body: msgspec.Struct) -> Draft:
    return Draft(type_name, (JSON, msgspec.json.encode(body)))


def _listed(targets: Named | Iterable[Named]) -> list[Named]:
    if isinstance(targets, Receipt | VerifiedEntry | EffectInfo | str | int):
        return [targets]
    return list(targets)


def _names(names: str | Iterable[str] | None) -> list[str] | None:
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)


class Change:
    """The flow behind each change, for both kinds of client."""

    @staticmethod
    def roll_back(session: Session, targets: Named | Iterable[Named], to: int) -> Flow[Receipt]:
        return change_entries(
            session, ROLLBACK_1.name, lambda named: Rollback(named, to), _listed(targets)
        )

    @staticmethod
    def redact(
        session: Session,
        targets: Named | Iterable[Named],
        parts: str | Iterable[str] | None,
        visible_to: Iterable[str],
    ) -> Flow[Receipt]:
        roles = tuple(visible_to)
        return change_parts(
            session,
            REDACTION_1.name,
            lambda named: Redact(named, roles),
            _listed(targets),
            _names(parts),
        )

    @staticmethod
    def unredact(
        session: Session, targets: Named | Iterable[Named], parts: str | Iterable[str] | None
    ) -> Flow[Receipt]:
        return change_parts(session, REDACTION_1.name, Unredact, _listed(targets), _names(parts))

    @staticmethod
    def hold(
        session: Session,
        action: Literal["hold", "release"],
        targets: Named | Iterable[Named],
        case: str,
    ) -> Flow[Receipt]:
        return change_entries(
            session, HOLD_1.name, lambda named: Hold(action, named, case), _listed(targets)
        )

    @staticmethod
    def erase(
        session: Session,
        targets: Named | Iterable[Named],
        parts: str | Iterable[str] | None,
        reason: Reason,
        *,
        with_versions: bool,
    ) -> Flow[Receipt]:
        return change_parts(
            session,
            ERASURE_1.name,
            lambda named: Erasure(named, reason),
            _listed(targets),
            _names(parts),
            with_versions=with_versions,
        )


class Changing(ABC):
    """What a ledger's author can do about what earlier entries say.

    Each returns the change's receipt, which proves its place. Where a policy governs the change it
    is a proposal: :meth:`~ledgergrid.governing.Governing.wait_for_outcome` says how it ended.
    """

    _session: Session

    @abstractmethod
    def _run(self, flow: Flow[T]) -> T: ...

    def look_up(self, target: Named) -> VerifiedEntry:
        """Read an entry without its payload; leaf, author and place are verified."""
        return self._run(look_up(self._session, target))

    def versions(self, target: Named) -> list[VerifiedEntry]:
        """Read all versions of an entry like that, the first one first."""
        return self._run(versions_of(self._session, target, with_versions=True))

    def amend(
        self,
        target: Named,
        payload: object = None,
        *,
        type: str | None = None,
        **options: Unpack[Options],
    ) -> Receipt:
        """Append the next version of an entry; ``target`` is the version that counts now.

        Raises :class:`~ledger_core.errors.HeadMovedError`, which names the version that counts,
        if that is another one.
        """
        return self._run(amend(self._session, target, payload, type, options))

    def roll_back(self, targets: Named | Iterable[Named], to: int) -> Receipt:
        """Let entries (first versions) stand again as they stood at index ``to``."""
        return self._run(Change.roll_back(self._session, targets, to))

    def redact(
        self,
        targets: Named | Iterable[Named],
        parts: str | Iterable[str] | None = None,
        *,
        visible_to: Iterable[str] = (),
    ) -> Receipt:
        """Hide parts, or all, from everybody but members with these roles and the operator."""
        return self._run(Change.redact(self._session, targets, parts, visible_to))

    def unredact(
        self, targets: Named | Iterable[Named], parts: str | Iterable[str] | None = None
    ) -> Receipt:
        """Show again what is redacted, to whoever saw it before."""
        return self._run(Change.unredact(self._session, targets, parts))

    def hold(self, targets: Named | Iterable[Named], case: str) -> Receipt:
        """Keep entries from being erased while a case is open. ``case`` is public."""
        return self._run(Change.hold(self._session, "hold", targets, case))

    def release(self, targets: Named | Iterable[Named], case: str) -> Receipt:
        """End a case's hold on entries."""
        return self._run(Change.hold(self._session, "release", targets, case))

    def erase(
        self,
        targets: Named | Iterable[Named],
        parts: str | Iterable[str] | None = None,
        *,
        reason: Reason = "request",
        with_versions: bool = False,
    ) -> Receipt:
        """Order parts, or all, of entries to be destroyed, for good.

        ``with_versions``: of their amendments as well, as they are now.
        """
        return self._run(
            Change.erase(self._session, targets, parts, reason, with_versions=with_versions)
        )

    def set_mutability(self, setting: MutabilitySetting) -> Receipt:
        """Say who may change entries of a type; who must agree is said by policies."""
        return self._run(set_mutability(self._session, setting))

    def mutability(self) -> tuple[MutabilityInfo, ...]:
        """List who may change what, with its history, as the ledger tells it."""
        return self._run(mutability(self._session))

    def effect(self, target: Named, at: int | str | None = None) -> EffectInfo:
        """Ask what holds of an entry, now or at an index or time, as the ledger tells it."""
        return self._run(effect(self._session, target, at))

    def subject(
        self, name: str, *, at: int | str | None = None, limit: int = MOST
    ) -> list[SubjectEntry]:
        """Ask for every entry about a subject, with what holds of it, as the ledger tells it."""
        return self._run(subject(self._session, name, at, limit))

    def changes(
        self, kind: str | None = None, *, target: int | None = None, limit: int = MOST
    ) -> list[RegisterItem]:
        """List the register of changes, of one kind or of one entry, as the ledger tells it."""
        return self._run(changes(self._session, kind, target, limit))


class AsyncChanging(ABC):
    """:class:`Changing` for asyncio: the same methods, awaited."""

    _session: Session

    @abstractmethod
    async def _run(self, flow: Flow[T]) -> T: ...

    async def look_up(self, target: Named) -> VerifiedEntry:
        """As :meth:`Changing.look_up`."""
        return await self._run(look_up(self._session, target))

    async def versions(self, target: Named) -> list[VerifiedEntry]:
        """As :meth:`Changing.versions`."""
        return await self._run(versions_of(self._session, target, with_versions=True))

    async def amend(
        self,
        target: Named,
        payload: object = None,
        *,
        type: str | None = None,
        **options: Unpack[Options],
    ) -> Receipt:
        """As :meth:`Changing.amend`."""
        return await self._run(amend(self._session, target, payload, type, options))

    async def roll_back(self, targets: Named | Iterable[Named], to: int) -> Receipt:
        """As :meth:`Changing.roll_back`."""
        return await self._run(Change.roll_back(self._session, targets, to))

    async def redact(
        self,
        targets: Named | Iterable[Named],
        parts: str | Iterable[str] | None = None,
        *,
        visible_to: Iterable[str] = (),
    ) -> Receipt:
        """As :meth:`Changing.redact`."""
        return await self._run(Change.redact(self._session, targets, parts, visible_to))

    async def unredact(
        self, targets: Named | Iterable[Named], parts: str | Iterable[str] | None = None
    ) -> Receipt:
        """As :meth:`Changing.unredact`."""
        return await self._run(Change.unredact(self._session, targets, parts))

    async def hold(self, targets: Named | Iterable[Named], case: str) -> Receipt:
        """As :meth:`Changing.hold`."""
        return await self._run(Change.hold(self._session, "hold", targets, case))

    async def release(self, targets: Named | Iterable[Named], case: str) -> Receipt:
        """As :meth:`Changing.release`."""
        return await self._run(Change.hold(self._session, "release", targets, case))

    async def erase(
        self,
        targets: Named | Iterable[Named],
        parts: str | Iterable[str] | None = None,
        *,
        reason: Reason = "request",
        with_versions: bool = False,
    ) -> Receipt:
        """As :meth:`Changing.erase`."""
        return await self._run(
            Change.erase(self._session, targets, parts, reason, with_versions=with_versions)
        )

    async def set_mutability(self, setting: MutabilitySetting) -> Receipt:
        """As :meth:`Changing.set_mutability`."""
        return await self._run(set_mutability(self._session, setting))

    async def mutability(self) -> tuple[MutabilityInfo, ...]:
        """As :meth:`Changing.mutability`."""
        return await self._run(mutability(self._session))

    async def effect(self, target: Named, at: int | str | None = None) -> EffectInfo:
        """As :meth:`Changing.effect`."""
        return await self._run(effect(self._session, target, at))

    async def subject(
        self, name: str, *, at: int | str | None = None, limit: int = MOST
    ) -> list[SubjectEntry]:
        """As :meth:`Changing.subject`."""
        return await self._run(subject(self._session, name, at, limit))

    async def changes(
        self, kind: str | None = None, *, target: int | None = None, limit: int = MOST
    ) -> list[RegisterItem]:
        """As :meth:`Changing.changes`."""
        return await self._run(changes(self._session, kind, target, limit))
