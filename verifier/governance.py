"""Replays charter and key entries in order, and judges every author by what stood at its index."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ledger_core.errors import StandingError
from ledger_core.formats.vkey import LogKey, parse_vkey
from ledger_core.policy.standing import KeyStanding, changes_of
from ledger_core.records.model import Payload
from ledger_core.records.registry import find_type
from ledger_core.records.types.charter import Charter
from verifier import checks
from verifier.findings import Finding, Findings, Likely, Refuted

Authors = Mapping[tuple[str, str], "array[int]"]
"""Rising indexes of entries by (author, type)."""


@dataclass(frozen=True)
class Decree:
    """One governance entry: who wrote it, and its decoded payload."""

    index: int
    author: str
    type: str
    payload: Payload


class Governance:
    """The keys as they stood. Grows with the number of keys, not of entries."""

    def __init__(self) -> None:
        self.keys: dict[str, KeyStanding] = {}
        self.charter: Charter | None = None

    def log_key(self) -> LogKey | None:
        """Return the log's key as the charter names it."""
        if self.charter is None:
            return None
        key = parse_vkey(self.charter.log_key)
        assert isinstance(key, LogKey), "the charter's own rule has asked for a log's key"
        return key

    def replay(self, decrees: Iterable[Decree], authors: Authors, findings: Findings) -> None:
        """Take the decrees of the next stretch of entries, then judge all authors in it (10)."""
        for decree in decrees:
            try:
                self._admit(decree)
            except Refuted as refuted:
                findings.add(refuted.finding)
        for (author, type_name), indexes in authors.items():
            for finding in self._judge(author, type_name, indexes):
                findings.add(finding)

    def _admit(self, decree: Decree) -> None:
        """Let a governance entry count, if its own author stood."""
        kind = find_type(decree.type)
        checks.check_standing(decree.index, decree.author, self.keys.get(decree.author), kind)
        try:
            changes = list(changes_of(kind, decree.payload, decree.index, self.keys))
        except StandingError as error:
            likely = Likely.BAD_PAYLOAD
            checks.refute(10, "key", "a change that may be", error, likely, index=decree.index)
        if isinstance(body := decree.payload.get("body"), Charter):
            self.charter = body
        for change in changes:
            self.keys[change.key] = change

    def _judge(self, author: str, type_name: str, indexes: array[int]) -> Iterator[Finding]:
        """Yield the finding on the first index at which the author did not stand.

        A key stands from one index to another, so first and last speak for all between.
        """
        kind, key = find_type(type_name), self.keys.get(author)
        if _stood(indexes[0], author, key, type_name) and _stood(
            indexes[-1], author, key, type_name
        ):
            return
        for index in indexes:
            try:
                checks.check_standing(index, author, key, kind)
            except Refuted as refuted:
                if not kind.is_governance:  # Those were judged, each in its turn, above.
                    yield refuted.finding
                return


def _stood(index: int, author: str, key: KeyStanding | None, type_name: str) -> bool:
    try:
        checks.check_standing(index, author, key, find_type(type_name))
    except Refuted:
        return False
    return True
