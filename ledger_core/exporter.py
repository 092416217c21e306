"""Streams an archive (formats/archive.py): a range of entries with all it takes to verify it.

Memory stays flat: entries are read a segment at a time, payloads a few entries at a time,
and the zip goes out as it is made. The manifest, with every file's digest, comes last.
"""

from __future__ import annotations

import csv
import html
import io
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import replace
from hashlib import sha256

import msgspec

from ledger_core import ids, limits
from ledger_core.clock import Clock, format_time, parse_time
from ledger_core.constitutions import ConstitutionReader
from ledger_core.erased import Place, find_erased
from ledger_core.errors import IntegrityError, MalformedError, NotFoundError
from ledger_core.fail_points import reach
from ledger_core.formats import archive
from ledger_core.formats.archive import Counts, File, Frame, Manifest, RangeProof, Scope, Since
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import look_into
from ledger_core.formats.record import Part, PartRef
from ledger_core.merkle import tree
from ledger_core.merkle.tiles import format_bundle
from ledger_core.payloads import Opened, Payloads
from ledger_core.policy.visibility import Standpoint, Subject, read_subject
from ledger_core.prover import Prover
from ledger_core.records import registry
from ledger_core.records.types.export import Export
from ledger_core.sequencer import Appended
from ledger_core.storage import assemblies, store
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.store import Head, LedgerRow, SealedEntry
from ledger_core.witnessed import Witnessed

_GROUP_BYTES = 1024 * 1024
_GROUP_ENTRIES = 256
"""Payloads are read a group at a time: so many entries, or fewer if they reach so many bytes."""
_COMPRESSION_LEVEL = 1

CSV_COLUMNS = (
    "index", "received_at", "type", "author", "id", "made_at", "parts", "payload_bytes",
    "leaf_hash",
)  # fmt: skip

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

    def export(self, start: int, end: int, export: Appended, reader: Standpoint) -> Iterator[bytes]:
        """Yield the zip's bytes. ``export`` is the record that says this archive was made."""
        with self._database.read() as tx:
            head = store.read_head(tx, self._ledger.ledger_id)
        if not 0 <= start < end:
            raise MalformedError(f"[{start}, {end}) is no range of entries")
        if end > head.size:
            raise NotFoundError(f"the ledger has {head.size} entries, not {end}")
        reach("exporter.recorded")
        return self._stream(start, end, self._choose_head(head, end), export, reader)

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
        root = store.find_checkpoint(tx, self._ledger.ledger_id, min(handovers, default=head.size))
        if not handovers or root is None:
            return head
        return replace(head, size=handovers[0], root=root)

    def _stream(
        self, start: int, end: int, head: Head, export: Appended, reader: Standpoint
    ) -> Iterator[bytes]:
        with self._zip:  # Closed as well when the reader leaves in the middle.
            yield from self._write(start, end, head, export, reader)
        yield self._outlet.take()

    def _write(
        self, start: int, end: int, head: Head, export: Appended, reader: Standpoint
    ) -> Iterator[bytes]:
        yield from self._add(archive.README, [README.encode()])
        with self._database.read() as tx:
            checkpoint = self._prover.checkpoint(tx, head) + self._cosignatures
        yield from self._add(archive.CHECKPOINT, [checkpoint])
        yield from self._add(archive.RANGE_PROOF, [self._range_proof(start, end, head.size)])
        yield from self._add_context(start, head, reader)
        yield from self._add_range(start, end, reader)
        for kind in registry.ALL:
            yield from self._add_schemas(kind.name)
        manifest = self._manifest(start, end, head, export)
        yield from self._add(archive.REPORT, [_report(manifest)])
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

    def _add_context(self, start: int, head: Head, reader: Standpoint) -> Iterator[bytes]:
        """Add the governance entries before the range and what is open there, with receipts."""
        with self._database.read() as tx:
            ledger_id = self._ledger.ledger_id
            indexes = {*assemblies.read_constitutional(tx, ledger_id, 0, start)}
            indexes |= self._find_open(tx, start, reader)
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

    def _add_range(self, start: int, end: int, reader: Standpoint) -> Iterator[bytes]:
        with closing(_CsvRows()) as rows:
            first = archive.segment_of(start)
            for segment in range(first, end, limits.ARCHIVE_SEGMENT_ENTRIES):
                stop = min(segment + limits.ARCHIVE_SEGMENT_ENTRIES, end)
                yield from self._add_segment(segment, max(segment, start), stop, reader, rows)
                reach("exporter.streaming")
            yield from self._add(archive.CSV, rows.chunks())

    def _add_segment(
        self, segment: int, start: int, stop: int, reader: Standpoint, rows: _CsvRows
    ) -> Iterator[bytes]:
        with self._database.read() as tx:
            stored = store.read_entries(
                tx, self._ledger.ledger_id, range(start, stop), with_payload=False
            )
        if len(stored) != stop - start:
            raise IntegrityError(f"entries are missing between {start} and {stop - 1}")
        seen = map(_see, stored)
        entries = [entry for entry in seen if reader.sees(entry.subject)]
        for entry in entries:
            self._by_type[entry.record.type] += 1
            rows.add(entry)
        self._counts["entries"] += len(stored)
        yield from self._add_leaves(segment, stored, {entry.index for entry in entries})
        yield from self._add(archive.payloads_name(segment), self._frames(entries, reader))

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

    def _frames(self, entries: Iterable[_Entry], reader: Standpoint) -> Iterator[bytes]:
        for group in _groups(entries):
            wanted = {
                entry.index: {
                    name: ref
                    for name, ref in entry.record.payload.items()
                    if reader.sees_part(entry.subject, name)
                }
                for entry in group
            }
            numbers = [index for index, parts in wanted.items() if parts]
            names = sorted({name for parts in wanted.values() for name in parts})
            with self._database.read() as tx:
                stored = store.read_parts(tx, self._ledger.ledger_id, numbers, names)
                erased = find_erased(
                    tx,
                    self._ledger.ledger_id,
                    self._constitution.read(tx),
                    [(entry.place, wanted[entry.index]) for entry in group],
                )
            opened = self._payloads.open(stored, wanted, erased)
            frames = [f for each in group for f in self._entry_frames(each, opened[each.index])]
            yield b"".join(frames)

    def _entry_frames(self, entry: _Entry, shown: Opened) -> Iterator[bytes]:
        for name in sorted(entry.record.payload):
            part = shown.get(name)
            if part is None:
                self._counts["withheld"] += 1
                yield archive.format_frame(Frame(entry.index, name, None))
            elif isinstance(part, Part):
                self._counts["present"] += 1
                yield archive.format_frame(Frame(entry.index, name, part))
            # A part that is gone makes no frame: the verifier finds the order that erased it, or
            # must call it missing.

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
            ),
            exported_by=ids.format_key(self._operator.public_key),
            exported_at=format_time(self._clock()),
            export_id=export.record_id,
            files=(),
        )


def _context_frames(entry: SealedEntry) -> Iterator[Frame]:
    """Show the parts of governance; what a proposal says is not needed to count its voices."""
    record = _see(entry).record
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


class _Record(msgspec.Struct, frozen=True):
    """What the exporter needs of a record. It was checked in full when it was admitted."""

    type: str
    author: str
    id: str
    made_at: str
    payload: dict[str, PartRef] = {}
    parties: tuple[str, ...] = ()


class _Entry(msgspec.Struct, frozen=True):
    """An entry whose leaf hash has been checked."""

    index: int
    leaf_hash: bytes
    received_at: str
    record: _Record
    payload_bytes: int

    @property
    def place(self) -> Place:
        record = self.record
        received_at = parse_time(self.received_at)
        return Place(self.index, self.leaf_hash, record.type, record.author, received_at)

    @property
    def subject(self) -> Subject:
        record = self.record
        return Subject(self.index, record.type, record.author, record.parties)


_RECORD = msgspec.json.Decoder(_Record)


def _see(entry: SealedEntry) -> _Entry:
    if tree.leaf_hash(entry.leaf) != entry.leaf_hash:
        raise IntegrityError(f"entry {entry.index} lost its leaf hash", index=entry.index)
    received_at, raw = look_into(entry.leaf)
    try:
        record = _RECORD.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"entry {entry.index}: {error}", index=entry.index) from None
    size = sum([part.size for part in record.payload.values()])
    return _Entry(entry.index, entry.leaf_hash, received_at, record, size)


def _groups(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """Cut entries into groups whose payloads are held at once."""
    group: list[_Entry] = []
    size = 0
    for entry in entries:
        group.append(entry)
        size += entry.payload_bytes
        if size >= _GROUP_BYTES or len(group) >= _GROUP_ENTRIES:
            yield group
            group, size = [], 0
    if group:
        yield group


class _CsvRows:
    """The rows of entries.csv, kept in a temporary file until their turn in the zip."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="")  # noqa: SIM115
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(CSV_COLUMNS)

    def add(self, entry: _Entry) -> None:
        record = entry.record
        self._writer.writerow(
            (
                entry.index,
                entry.received_at,
                record.type,
                record.author,
                record.id,
                record.made_at,
                " ".join(sorted(record.payload)),
                entry.payload_bytes,
                ids.format_digest(entry.leaf_hash),
            )
        )

    def chunks(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(1 << 16):
            yield chunk.encode()

    def close(self) -> None:
        self._file.close()


def _report(manifest: Manifest) -> bytes:
    """Return a page for people; it claims nothing that the verifier does not check."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{count}</td></tr>"
        for name, count in manifest.counts.by_type.items()
    )
    scope = manifest.scope
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>LedgerGrid archive</title>
<style>body{{font:16px/1.5 sans-serif;max-width:50rem;margin:3rem auto;padding:0 1rem}}</style>
<h1>Archive of {html.escape(manifest.origin)}</h1>
<p>Entries {scope.start} to {scope.end - 1} of {scope.size}, exported {manifest.exported_at}.</p>
<p>This page is the exporter's claim. Verify the archive before you rely on it.</p>
<table><tr><th>Record type</th><th>Entries</th></tr>{rows}</table>
""".encode()
