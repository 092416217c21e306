"""Streams an archive (formats/archive.py): a range of entries with all it takes to verify it.

Memory stays flat: entries are read a segment at a time, payloads a few entries at a time,
and the zip goes out as it is made. The manifest, with every file's digest, comes last.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import replace
from hashlib import sha256

import msgspec

from ledger_core import ids, limits
from ledger_core.altered import Altered, Entry, find_reach, see
from ledger_core.clock import Clock, format_time
from ledger_core.constitutions import ConstitutionReader
from ledger_core.erased import find_erased
from ledger_core.errors import IntegrityError, MalformedError, NotFoundError
from ledger_core.fail_points import reach
from ledger_core.formats import archive
from ledger_core.formats.archive import Counts, File, Frame, Manifest, RangeProof, Scope, Since
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.record import Part, PartRef
from ledger_core.merkle.tiles import format_bundle
from ledger_core.pages import CsvRows, RegisterLines, write_report
from ledger_core.payloads import Opened, Payloads
from ledger_core.policy.visibility import Reader, Standpoint, read_subject
from ledger_core.prover import Prover
from ledger_core.records import registry
from ledger_core.records.types.export import Export
from ledger_core.sequencer import Appended
from ledger_core.storage import assemblies, store, trees
from ledger_core.storage.catalogue import LedgerRow
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.erasures import Erased
from ledger_core.storage.store import Head, SealedEntry
from ledger_core.witnessed import Witnessed

_GROUP_BYTES = 1024 * 1024
_GROUP_ENTRIES = 256
"""Payloads are read a group at a time: so many entries, or fewer if they reach so many bytes."""
_COMPRESSION_LEVEL = 1

README = """\
This is an archive of a LedgerGrid ledger. It holds entries of a hash-chained Merkle log,
the payloads its reader may see, and the proofs that join them to a signed checkpoint.

To verify it, trusting nobody who handed it to you:

    pip install ledgergrid
    ledgergrid-verify ARCHIVE --trust POLICY

POLICY is a C2SP tlog-policy file with the log's key as you know it from elsewhere, never
from this archive. Without it the verdict cannot be more than "internally consistent".
The formats are described in docs/spec/ of the LedgerGrid project.
"""


class Exporter:
    """Exports one range of one ledger, once."""

    def __init__(
        self,
        database: Database,
        ledger: LedgerRow,
        prover: Prover,
        operator: PrivateKey,
        clock: Clock,
        witnessed: Witnessed,
        payloads: Payloads,
        constitution: ConstitutionReader,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._prover = prover
        self._operator = operator
        self._clock = clock
        self._witnessed = witnessed
        self._payloads = payloads
        self._constitution = constitution
        self._cosignatures = b""
        self._files: list[File] = []
        self._counts: Counter[str] = Counter()
        self._by_type: Counter[str] = Counter()
        self._outlet = _Outlet()
        self._zip = zipfile.ZipFile(self._outlet, "w", zipfile.ZIP_DEFLATED)

    @staticmethod
    def describe(start: int, end: int | None, recipient: str) -> bytes:
        """Return the payload of the export's own record."""
        return msgspec.json.encode(Export(start, end or 0, recipient))

    def export(self, start: int, end: int, export: Appended, reader: Reader) -> Iterator[bytes]:
        """Yield the zip's bytes. ``export`` is the record that says this archive was made."""
        if not 0 <= start < end:
            raise MalformedError(f"[{start}, {end}) is no range of entries")
        ledger_id, scope = self._ledger.ledger_id, range(start, end)
        with self._database.read() as tx:
            head = store.read_head(tx, ledger_id)
            if end > head.size:
                raise NotFoundError(f"the ledger has {head.size} entries, not {end}")
            here = Standpoint(reader, self._constitution.read(tx))
            behind = find_reach(tx, ledger_id, scope, head.size, here.constitution)
        reach("exporter.recorded")
        head = self._choose_head(head, behind.size)
        altered = Altered(ledger_id, scope, head.size, here, frozenset(behind.later))
        return self._stream(altered, head, export)

    def _choose_head(self, head: Head, end: int) -> Head:
        """Return the newest witnessed head that covers the range, or the newest; note its lines."""
        ledger_id = self._ledger.ledger_id
        with self._database.read() as tx:
            if (self._witnessed.newest(tx, ledger_id) or 0) >= end:
                head = self._witnessed.newest_head(tx, ledger_id, head)
            head = self._stay_with_the_key(tx, head, end)
            # Read once: the whole archive stands under one and the same note.
            self._cosignatures = self._witnessed.lines(tx, ledger_id, head.size)
        return head

    def _stay_with_the_key(self, tx: Transaction, head: Head, end: int) -> Head:
        """Return a head signed by a key that the archive shows: none of a later handover."""
        handovers = [index for index, _ in self._prover.log_keys(head.size) if index >= end]
        root = trees.find_checkpoint(tx, self._ledger.ledger_id, min(handovers, default=head.size))
        if not handovers or root is None:
            return head
        return replace(head, size=handovers[0], root=root)

    def _stream(self, altered: Altered, head: Head, export: Appended) -> Iterator[bytes]:
        # Closed as well when the reader leaves in the middle.
        with self._zip, closing(RegisterLines()) as register:
            yield from self._write(altered, head, export, register)
        yield self._outlet.take()

    def _write(
        self, altered: Altered, head: Head, export: Appended, register: RegisterLines
    ) -> Iterator[bytes]:
        start, end = altered.scope.start, altered.scope.stop
        yield from self._add(archive.README, [README.encode()])
        with self._database.read() as tx:
            checkpoint = self._prover.checkpoint(tx, head) + self._cosignatures
        yield from self._add(archive.CHECKPOINT, [checkpoint])
        yield from self._add(archive.RANGE_PROOF, [self._range_proof(start, end, head.size)])
        yield from self._add_context(altered, head)
        yield from self._add_range(altered, register)
        with self._database.read() as tx:
            register.add(altered.list_later(tx))
        yield from self._add(archive.REGISTER, register.chunks())
        for kind in registry.ALL:
            yield from self._add_schemas(kind.name)
        manifest = self._manifest(start, end, head, export)
        yield from self._add(archive.REPORT, [write_report(manifest, register)])
        raw = archive.format_manifest(
            msgspec.structs.replace(
                manifest, files=tuple(sorted(self._files, key=lambda f: f.name))
            )
        )
        yield from self._add(archive.MANIFEST, [raw])
        yield from self._add(
            archive.MANIFEST_SIGNATURE, [archive.sign_manifest(raw, self._operator)]
        )

    # --- the files ---------------------------------------------------------------

    def _add(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Add one file, chunk by chunk; note its size and digest for the manifest."""
        digest, size = sha256(), 0
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        info._compresslevel = _COMPRESSION_LEVEL  # type: ignore[attr-defined]
        info.external_attr = 0o644 << 16
        with self._zip.open(info, "w", force_zip64=True) as file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
                yield self._outlet.take()
        self._files.append(File(name, size, ids.format_digest(digest.digest())))
        yield self._outlet.take()

    def _range_proof(self, start: int, end: int, size: int) -> bytes:
        nodes = archive.range_nodes(start, end, size)
        with self._database.read() as tx:
            hashes = tuple(self._prover.nodes(tx, size, nodes))
        return archive.format_range_proof(RangeProof(start, end, size, hashes))

    def _add_context(self, altered: Altered, head: Head) -> Iterator[bytes]:
        """Add governance from before the range, what is open there, and what reaches into it."""
        start, ledger_id = altered.scope.start, self._ledger.ledger_id
        with self._database.read() as tx:
            indexes = {*assemblies.read_constitutional(tx, ledger_id, 0, start), *altered.later}
            indexes |= self._find_open(tx, start, altered.reader)
        self._counts["context"] = len(indexes)
        for index in sorted(indexes):
            with self._database.read() as tx:
                entry = store.read_entry(tx, self._ledger.ledger_id, index)
                receipt = self._prover.receipt(tx, index, head.size) + self._cosignatures
            frames = b"".join(map(archive.format_frame, _context_frames(entry)))
            yield from self._add(archive.context_name(index, "entry"), [entry.leaf])
            yield from self._add(archive.context_name(index, "parts"), [frames])
            yield from self._add(archive.context_name(index, "tlog-proof"), [receipt])

    def _find_open(self, tx: Transaction, start: int, reader: Standpoint) -> set[int]:
        """Return the entries that proposals open at ``start`` are made of, if the reader sees them.

        Without those that change earlier entries: what holds of these is not known from here.
        """
        found = assemblies.find_open_at(tx, self._ledger.ledger_id, start)
        seen = {
            each.leaf_hash: each
            for each in found
            if reader.sees(read_subject(each.index, self._leaf(tx, each.index)))
        }
        hidden = {each.leaf_hash for each in found} - seen.keys()
        for each in found:
            if any(part not in seen for part in each.parts):
                hidden |= {each.leaf_hash, *each.parts}
        shown = [each for leaf, each in seen.items() if leaf not in hidden]
        return {index for each in shown for index in (each.index, *each.heard_at(before=start))}

    def _leaf(self, tx: Transaction, index: int) -> bytes:
        return store.read_leaves(tx, self._ledger.ledger_id, index, index + 1)[0]

    def _add_range(self, altered: Altered, register: RegisterLines) -> Iterator[bytes]:
        start, end = altered.scope.start, altered.scope.stop
        with closing(CsvRows()) as rows:
            first = archive.segment_of(start)
            for segment in range(first, end, limits.ARCHIVE_SEGMENT_ENTRIES):
                stop = min(segment + limits.ARCHIVE_SEGMENT_ENTRIES, end)
                stretch = range(max(segment, start), stop)
                yield from self._add_segment(segment, stretch, altered, rows, register)
                reach("exporter.streaming")
            yield from self._add(archive.CSV, rows.chunks())

    def _add_segment(
        self,
        segment: int,
        stretch: range,
        altered: Altered,
        rows: CsvRows,
        register: RegisterLines,
    ) -> Iterator[bytes]:
        with self._database.read() as tx:
            stored = store.read_entries(tx, self._ledger.ledger_id, stretch, with_payload=False)
            if len(stored) != len(stretch):
                first, last = stretch[0], stretch[-1]
                raise IntegrityError(f"entries are missing between {first} and {last}")
            seen = map(see, stored)
            entries = [entry for entry in seen if altered.reader.sees(entry.subject)]
            register.add(altered.list_changes(tx, entries))
        for entry in entries:
            self._by_type[entry.record.type] += 1
            rows.add(entry)
        self._counts["entries"] += len(stored)
        yield from self._add_leaves(segment, stored, {entry.index for entry in entries})
        yield from self._add(archive.payloads_name(segment), self._frames(entries, altered))

    def _add_leaves(
        self, segment: int, stored: Sequence[SealedEntry], shown: Set[int]
    ) -> Iterator[bytes]:
        """Add the bundle, and of what is withheld from it the leaf hashes."""
        bundle = format_bundle(each.leaf if each.index in shown else b"" for each in stored)
        yield from self._add(archive.entries_name(segment), [bundle])
        withheld = [each.leaf_hash for each in stored if each.index not in shown]
        if withheld:
            self._counts["entries_withheld"] += len(withheld)
            yield from self._add(archive.withheld_name(segment), [b"".join(withheld)])

    def _frames(self, entries: Iterable[Entry], altered: Altered) -> Iterator[bytes]:
        for group in _groups(entries):
            with self._database.read() as tx:
                altered.look(tx, group)
                wanted = {each.index: dict(_wanted(each, altered)) for each in group}
                numbers = [index for index, parts in wanted.items() if parts]
                names = sorted({name for parts in wanted.values() for name in parts})
                stored = store.read_parts(tx, self._ledger.ledger_id, numbers, names)
                erased = find_erased(
                    tx,
                    self._ledger.ledger_id,
                    self._constitution.read(tx),
                    [(entry.place, wanted[entry.index]) for entry in group],
                )
            opened = self._payloads.open(stored, wanted, erased)
            frames = (
                frame for each in group for frame in self._entry_frames(each, opened, altered)
            )
            yield b"".join(frames)

    def _entry_frames(
        self, entry: Entry, opened: Mapping[int, Opened], altered: Altered
    ) -> Iterator[bytes]:
        shown = opened[entry.index]
        for name in sorted(entry.record.payload):
            part = shown.get(name)
            if isinstance(part, Part):
                self._counts["present"] += 1
                yield archive.format_frame(Frame(entry.index, name, part))
            elif isinstance(part, Erased):
                message = f"{name} of entry {entry.index} was erased while this archive was made"
                raise NotFoundError(f"{message}: export again")
            elif altered.is_erased(entry, name):
                self._counts["erased"] += 1
            elif part is None:
                is_redacted = altered.reader.sees_part(entry.subject, name)
                self._counts["redacted" if is_redacted else "withheld"] += 1
                yield archive.format_frame(Frame(entry.index, name, None, is_redacted))
            # A part that is gone makes no frame: the verifier must call it missing.

    def _add_schemas(self, type_name: str) -> Iterator[bytes]:
        for part, schema in registry.json_schemas(type_name).items():
            name = f"schemas/{type_name.replace('/', '-')}.{part}.json"
            yield from self._add(name, [schema])

    def _manifest(self, start: int, end: int, head: Head, export: Appended) -> Manifest:
        origins = self._prover.origins(head.size)
        return Manifest(
            v=1,
            origin=origins[-1][1],
            origins=tuple(Since(*each) for each in origins) if len(origins) > 1 else (),
            charter=ids.format_digest(self._ledger.charter),
            scope=Scope(start, end, head.size, ids.format_digest(head.root)),
            counts=Counts(
                entries=self._counts["entries"],
                context=self._counts["context"],
                parts_present=self._counts["present"],
                parts_withheld=self._counts["withheld"],
                by_type=dict(sorted(self._by_type.items())),
                entries_withheld=self._counts["entries_withheld"],
                parts_redacted=self._counts["redacted"],
                parts_erased=self._counts["erased"],
            ),
            exported_by=ids.format_key(self._operator.public_key),
            exported_at=format_time(self._clock()),
            export_id=export.record_id,
            files=(),
        )


def _context_frames(entry: SealedEntry) -> Iterator[Frame]:
    """Show the parts of governance; what a proposal says is not needed to count its voices."""
    record = see(entry).record
    if not registry.find_type(record.type).is_governance:
        yield from (Frame(entry.index, name, None) for name in sorted(record.payload))
        return
    for name, part in sorted(entry.parts.items()):
        yield Frame(entry.index, name, store.plain_part(entry.index, part))


class _Outlet(io.RawIOBase):
    """Takes what the zip writer writes until the next ``take``."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._chunks.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._chunks = b"".join(self._chunks), []
        return taken


def _wanted(entry: Entry, altered: Altered) -> Iterator[tuple[str, PartRef]]:
    """Yield the parts that the reader is to be shown."""
    for name, ref in entry.record.payload.items():
        veil = altered.veil(entry, name)
        is_seen = altered.reader.sees_part(entry.subject, name, veil)
        if is_seen and not altered.is_erased(entry, name):
            yield name, ref


def _groups(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut entries into groups whose payloads are held at once."""
    group: list[Entry] = []
    size = 0
    for entry in entries:
        group.append(entry)
        size += entry.payload_bytes
        if size >= _GROUP_BYTES or len(group) >= _GROUP_ENTRIES:
            yield group
            group, size = [], 0
    if group:
        yield group
