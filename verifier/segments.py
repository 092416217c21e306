"""The parallel unit: one segment of up to 2,048 entries with their payload frames.

A worker reads its segment once, runs checks 3, 5, 6, 8 and 11 on every entry, and returns what
the checks across segments need: subtree hashes, ids, authors, governance. It holds one entry
and its payload at a time.
"""

from __future__ import annotations

from array import array
from binascii import b2a_base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, BinaryIO, Final, cast

from ledger_core import clock, ids, limits
from ledger_core.errors import MalformedError
from ledger_core.formats import archive
from ledger_core.formats import entry as entries
from ledger_core.formats.archive import File, Frame
from ledger_core.formats.ed25519 import SIGNATURE_BYTES
from ledger_core.formats.entry import Header
from ledger_core.merkle import tree
from verifier import contents, entry_checks
from verifier.findings import Finding, Findings, Likely, Refuted, finding_of, refute
from verifier.governance import Decree, Stamps
from verifier.reading import DamagedError, Source, reading
from verifier.totals import Totals

_TIME_CHARS: Final = len("2026-08-01T10:11:12.345Z")
_TAIL_CHARS: Final = _TIME_CHARS + len("\n") + 88 + len("\n\n")
_NEWLINE: Final = ord("\n")
_WITHHELD_BYTES: Final = limits.ARCHIVE_SEGMENT_ENTRIES * tree.HASH_BYTES


Signed = tuple[bytes, bytes]
"""A record's bytes and the signature over them."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Entries ``[start, end)`` of one segment, and the files they lie in."""

    origins: tuple[tuple[int, str], ...]
    """Every origin of the log, with the index of its first entry."""
    start: int
    end: int
    entries: File | None
    payloads: File | None
    withheld: File | None
    spreader: int
    wants_leaves: bool = False
    watched: frozenset[int] = frozenset()
    """Entries that changes name."""


@dataclass
class Outcome:
    """One segment's part of the whole."""

    task: Task
    findings: Findings
    totals: Totals
    entries: int = 0
    nodes: list[bytes] = field(default_factory=list)
    """Hashes of ``perfect_subtrees(start, end)``; empty unless every entry was read."""
    leaves: list[bytes] = field(default_factory=list)
    """Leaf hashes, if the task wants them."""
    first_leaf: bytes = b""
    last_leaf: bytes = b""
    first: Header | None = None
    last_time: int = 0
    stamps: Stamps | None = None
    """None unless every entry was read."""


def check_segment(source: Source, task: Task) -> Outcome:
    """Read one segment and check its entries."""
    outcome = Outcome(task, Findings(), Totals(task.watched))
    try:
        if task.entries is None:
            refute(3, "entries", "a file of entries", "none", Likely.TRUNCATED, index=task.start)
        hidden = _read_withheld(source, task)
        if task.payloads is None:
            _check_entries(source, task.entries, outcome, Frames(iter(())), hidden)
        else:
            with reading(source, task.payloads) as stream:
                frames = Frames(archive.read_frames(cast(BinaryIO, stream)))
                _check_entries(source, task.entries, outcome, frames, hidden)
                frames.check_end(task.end)
    except Refuted as refuted:
        outcome.findings.add(refuted.finding)
    except DamagedError as error:
        outcome.findings.add(damage(error))
    outcome.totals.freeze(task.spreader, outcome.stamps)
    return outcome


def check_files(source: Source, files: Iterable[File]) -> Findings:
    """Check size and digest of files that nothing else reads (3)."""
    findings = Findings()
    for file in files:
        try:
            with reading(source, file):
                pass
        except DamagedError as error:
            findings.add(damage(error))
    return findings


def damage(error: DamagedError) -> Finding:
    """Say what is wrong with a file that is not the one that was exported (3)."""
    return Finding(
        check=3,
        field=error.field,
        expected=error.expected,
        found=error.found,
        likely=Likely.EDITED,
    )


def _read_withheld(source: Source, task: Task) -> bytes:
    """Return the leaf hashes of the segment's withheld entries, end to end."""
    if task.withheld is None:
        return b""
    with reading(source, task.withheld) as stream:
        return stream.read(_WITHHELD_BYTES)


def _check_entries(
    source: Source, file: File, outcome: Outcome, frames: Frames, hidden: bytes
) -> None:
    walk = Walk(outcome, frames, hidden)
    try:
        with reading(source, file) as stream:
            try:
                for leaf in read_leaves(stream):
                    walk.step(leaf)
            except MalformedError as error:
                outcome.findings.add(
                    finding_of(5, file.name, "entries", error, Likely.TRUNCATED, index=walk.index)
                )
            outcome.findings.attempt(walk.finish)
    except DamagedError as error:
        outcome.findings.add(damage(error))


def read_leaves(stream: IO[bytes]) -> Iterator[bytes]:
    """Read an entry bundle (C2SP tlog-tiles), one entry in memory at a time."""
    read = stream.read
    while head := read(2):
        length = int.from_bytes(head)
        leaf = read(length)
        if len(head) != 2 or len(leaf) != length:
            raise MalformedError("the bundle ends in the middle of an entry")
        yield leaf


class Frames:
    """Payload frames in the order of the entries they belong to."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._next: Frame | None = None
        self._last = (-1, "")
        self._is_broken = False

    def take(self, index: int) -> dict[str, Frame]:
        """Return one entry's frames by name; raise :class:`Refuted` for what cannot be its."""
        taken: dict[str, Frame] = {}
        while (frame := self._peek(index)) is not None and frame.index <= index:
            self._next = None
            place, before = (frame.index, frame.name), self._last
            self._last = place
            if frame.index < index or place <= before:
                found = f"a frame of entry {frame.index}, part {frame.name}"
                refute(11, "payloads", "frames in order", found, Likely.MOVED, index=index)
            taken[frame.name] = frame
        return taken

    def _peek(self, index: int) -> Frame | None:
        if self._next is None and not self._is_broken:
            try:
                self._next = next(self._frames, None)
            except MalformedError as error:
                # Where the next frame begins is lost, so the rest of the segment has no payload.
                self._is_broken = True
                refute(11, "payloads", "frames", error, Likely.EDITED, index=index)
        return self._next

    @property
    def is_broken(self) -> bool:
        return self._is_broken

    def check_end(self, end: int) -> None:
        """Raise :class:`Refuted` if there is a frame after those of the segment's entries."""
        frame = self._peek(end - 1)
        if frame is not None:
            found = f"a frame of entry {frame.index}"
            refute(11, "payloads", "no more frames", found, Likely.MOVED, index=end - 1)


class Walk:
    """Steps from entry to entry and checks each against the one before.

    ``hidden``: leaf hashes of the entries that are withheld, in order.
    """

    def __init__(self, outcome: Outcome, frames: Frames, hidden: bytes = b"") -> None:
        self.index = outcome.task.start
        self._hidden = hidden
        self._task, self._outcome, self._frames = outcome.task, outcome, frames
        self._hashes: list[bytes] = []
        self._times = array("q")
        self._enter(self._task.start)

    def _enter(self, index: int) -> None:
        """Expect what holds from ``index`` on: its origin, and whom its records are meant for."""
        origins = self._task.origins
        self._meant_for = meant_for(origins, index)
        self._origin = self._meant_for[-1]
        self._next_origin = min((since for since, _ in origins if since > index), default=-1)
        self._head = f"{entries.FORMAT}\n{self._origin}\n".encode("ascii")

    def step(self, leaf: bytes) -> None:
        if len(self._hashes) >= limits.ARCHIVE_SEGMENT_ENTRIES:
            raise MalformedError("there are more entries than a segment has")
        if self.index == self._next_origin:
            self._enter(self.index)
        if not leaf:
            self._pass_over()
            return
        signed = self._quick(leaf) or self._thorough(leaf)
        if signed is not None:
            outcome, frames = self._outcome, self._frames
            look_inside(
                self.index, signed, self._meant_for, frames, outcome.findings, outcome.totals
            )
        self._hashes.append(tree.leaf_hash(leaf))
        self._times.append(self._outcome.last_time)
        self.index += 1

    def _pass_over(self) -> None:
        """Take a withheld entry: of it there is no more than its place and its leaf hash."""
        at = self._outcome.totals.entries_withheld * tree.HASH_BYTES
        leaf_hash = self._hidden[at : at + tree.HASH_BYTES]
        if len(leaf_hash) != tree.HASH_BYTES:
            found = "a place without one"
            refute(5, "withheld", "a leaf hash", found, Likely.TRUNCATED, index=self.index)
        self._outcome.totals.withhold(self.index)
        self._hashes.append(leaf_hash)
        self._times.append(self._outcome.last_time)
        self.index += 1

    def _quick(self, leaf: bytes) -> Signed | None:
        """Compare the header with the one that must stand there; None asks to look closer.

        Formatting and comparing costs a third of parsing, and is as strict: checks 5 and 6.
        """
        if not self._hashes:
            return None
        previous = self._hashes[-1]
        head = b"%b%d\n%b\n" % (self._head, self.index, b2a_base64(previous, newline=False))
        at, end = len(head) + _TIME_CHARS, len(head) + _TAIL_CHARS
        if not leaf.startswith(head) or not end <= len(leaf) <= limits.ENTRY_BYTES:
            return None
        if leaf[at] != _NEWLINE or leaf[end - 2 : end] != b"\n\n":
            return None
        try:
            received_at = clock.parse_time(leaf[len(head) : at].decode("ascii"))
            signature = ids.decode_base64(leaf[at + 1 : end - 2].decode("ascii"), SIGNATURE_BYTES)
        except (MalformedError, UnicodeDecodeError):
            return None
        if received_at < self._outcome.last_time:
            return None
        self._outcome.last_time = received_at
        return leaf[end:], signature

    def _thorough(self, leaf: bytes) -> Signed | None:
        """Check 5 and 6 with words for what is wrong; None if there is nothing to look into."""
        outcome, index, task = self._outcome, self.index, self._task
        try:
            entry = entry_checks.parse_leaf(index, leaf)
        except Refuted as refuted:
            outcome.findings.add(refuted.finding)
            return None
        header, previous = entry.header, self._hashes[-1] if self._hashes else None
        findings = outcome.findings
        findings.attempt(entry_checks.check_entry, index, header, self._origin)
        findings.attempt(entry_checks.check_link, index, header, previous)
        findings.attempt(entry_checks.check_time, index, header.received_at, outcome.last_time)
        if not self._hashes:
            outcome.first = header
        outcome.last_time = header.received_at
        if task.start <= header.index < task.end:
            self.index = header.index  # After a gap each entry is judged by its own name again.
        return entry.record, header.signature

    def finish(self) -> None:
        """Hand over what the tree above needs, if the segment is complete."""
        task, outcome, hashes = self._task, self._outcome, self._hashes
        expected = task.end - task.start
        outcome.entries = len(hashes)
        if hashes:
            outcome.first_leaf, outcome.last_leaf = hashes[0], hashes[-1]
        if len(hashes) != expected:
            found = f"{len(hashes)}"
            likely = Likely.TRUNCATED if len(hashes) < expected else Likely.MOVED
            index = task.start + min(len(hashes), expected - 1)
            refute(5, "entries in this segment", expected, found, likely, index=index)
        if len(self._hidden) != outcome.totals.entries_withheld * tree.HASH_BYTES:
            expected_hashes = f"{outcome.totals.entries_withheld} leaf hashes"
            refute(5, "withheld", expected_hashes, "others", Likely.EDITED, index=task.start)
        outcome.stamps = Stamps(task.start, b"".join(hashes), self._times)
        if task.wants_leaves:
            outcome.leaves = hashes
        for node in tree.perfect_subtrees(task.start, task.end):
            first = (node.position << node.level) - task.start
            outcome.nodes.append(tree.root(hashes[first : first + (1 << node.level)]))


def meant_for(origins: tuple[tuple[int, str], ...], index: int) -> tuple[str, ...]:
    """Return the origins that the log has had up to ``index``; the last is that of the entry."""
    return tuple(origin for since, origin in origins if since <= index)


def look_inside(
    index: int,
    signed: Signed,
    meant_for: tuple[str, ...],
    frames: Frames,
    findings: Findings,
    totals: Totals,
) -> None:
    """Check 8 and 11 on one entry, and add it to the totals."""
    raw, signature = signed
    try:
        parts = frames.take(index)
    except Refuted as refuted:
        findings.add(refuted.finding)
        parts = {}
    shown = {name: frame.part for name, frame in parts.items() if frame.part is not None}
    totals.add_frames(parts)
    try:
        record = entry_checks.check_record(index, raw, signature, meant_for)
        totals.add_record(index, record)
        kind = entry_checks.check_type(index, record)
        totals.add_standing(index, kind, record)
        if frames.is_broken:
            return
        amends = contents.check_amended(index, kind, record)
        if amends is not None:
            totals.decrees.append(Decree(index, record.author, record.type, {}, amends))
        contents.check_parts(index, kind, record, parts, totals.watched)
        totals.add_parts(index, kind, record, parts)
        payload = contents.check_payload(index, kind, record, shown)
    except Refuted as refuted:
        findings.add(refuted.finding)
        totals.mismatched += refuted.finding.likely is Likely.REPLACED_PAYLOAD
    else:
        if payload is not None and kind.is_governance:
            totals.decrees.append(Decree(index, record.author, record.type, payload))
