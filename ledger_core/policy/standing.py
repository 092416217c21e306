"""Standing: may this key write this type of record at this index?

Keys come from governance entries alone: the charter's founding keys, then ``key/1``.
The service asks inside the append transaction, the verifier when it replays the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ledger_core.errors import StandingError
from ledger_core.records.model import Payload, RecordType, Role
from ledger_core.records.types.charter import CHARTER_1, Charter
from ledger_core.records.types.key import KEY_1, Register, Revoke


@dataclass(frozen=True)
class KeyStanding:
    """One key: its roles from ``since`` on, until ``revoked`` (indexes of entries)."""

    key: str
    roles: frozenset[Role]
    since: int
    revoked: int | None = None


def check_standing(key: KeyStanding | None, kind: RecordType, index: int) -> None:
    """Raise :class:`StandingError` unless the key may write ``kind`` at ``index``."""
    if (kind is CHARTER_1) != (index == 0):
        raise StandingError("a charter is entry 0, and entry 0 is a charter")
    if kind is CHARTER_1:
        return  # The charter's own rule asks for a founding operator's signature.
    if key is None or key.since >= index:
        raise StandingError("the author's key is not registered in this ledger")
    if key.revoked is not None and key.revoked < index:
        raise StandingError(f"the author's key was revoked by entry {key.revoked}")
    if not key.roles & kind.writers:
        allowed = " or ".join(sorted(kind.writers))
        raise StandingError(f"{kind.name} is written by {allowed}, this key is neither")


def named_keys(kind: RecordType, payload: Payload) -> set[str]:
    """Return the keys whose standing a record would change."""
    return {payload["body"].key} if kind is KEY_1 else set()


def changes_of(
    kind: RecordType,
    payload: Payload,
    index: int,
    known: Mapping[str, KeyStanding],
) -> Iterator[KeyStanding]:
    """Yield the standings that a governance entry at ``index`` sets.

    Raises :class:`StandingError` for a key registered twice or revoked without standing.
    """
    if kind is CHARTER_1:
        charter: Charter = payload["body"]
        for founding in charter.keys:
            yield KeyStanding(founding.key, frozenset(founding.roles), index)
    elif kind is KEY_1:
        yield _change_key(payload["body"], index, known)


def _change_key(
    change: Register | Revoke, index: int, known: Mapping[str, KeyStanding]
) -> KeyStanding:
    current = known.get(change.key)
    if isinstance(change, Register):
        if current is not None:
            raise StandingError("this key was registered before; a revoked key stays revoked")
        return KeyStanding(change.key, frozenset(change.roles), index)
    if current is None or current.revoked is not None:
        raise StandingError("only a key that stands can be revoked")
    return replace(current, revoked=index)
