"""Archives for tests, made from the pure formats alone: no service, no database.

:class:`Log` is a whole log in memory; :meth:`Log.archive` gives an :class:`Archive`, a dict of
files to tamper with. ``reseal`` is what a dishonest operator can do: make the manifest fit again.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from ledger_core import clock, ids, limits
from ledger_core.errors import LedgerGridError, RefusedError
from ledger_core.formats import archive
from ledger_core.formats.archive import Counts, File, Frame, Manifest, RangeProof, Scope
from ledger_core.formats.checkpoint import Checkpoint, format_checkpoint, sign_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import NO_PREVIOUS, Entry, Header, format_entry, parse_entry
from ledger_core.formats.mutations import HEADER, Mutation, format_mutation
from ledger_core.formats.note import Note, format_note
from ledger_core.formats.receipt import Receipt, format_receipt
from ledger_core.formats.record import Part, Record, SignedRecord, make_part, seal
from ledger_core.formats.vkey import NoteSigner, WitnessSigner, format_vkey
from ledger_core.merkle import tree
from ledger_core.merkle.tiles import format_bundle
from ledger_core.merkle.tree import NodeId
from ledger_core.policy.act import Act
from ledger_core.policy.assembly import Assembly
from ledger_core.policy.changes import amended_by
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.mutations import as_of, is_listed, list_mutations
from ledger_core.policy.proposals import agreeing
from ledger_core.records.model import JSON, decode_payload
from ledger_core.records.possession import prove_possession
from ledger_core.records.registry import find_type

ORIGIN = "ledgergrid.example/log1"
BEGAN_MS = 1_785_579_072_000

Hidden = Collection[tuple[int, str]]
"""Parts, by the index of their entry and by name."""


def key(number: int) -> PrivateKey:
    """Return the ``number``-th key of these tests."""
    return PrivateKey(bytes([number]) * 32)


def record_id(number: int) -> str:
    """Return a UUIDv7 that is the same in every run."""
    return f"01990b1f-5a00-7000-8000-{number:012x}"


@dataclass
class Archive:
    """The files of an archive by name, and the key that signs its manifest."""

    files: dict[str, bytes]
    operator: PrivateKey

    def manifest(self) -> Manifest:
        return archive.parse_manifest(self.files[archive.MANIFEST])

    def reseal(self, **changes: Any) -> Archive:
        """Make manifest and signature fit the files again, with ``changes`` to the manifest."""
        own = (archive.MANIFEST, archive.MANIFEST_SIGNATURE)
        listed = tuple(
            File(name, len(data), ids.format_digest(sha256(data).digest()))
            for name, data in sorted(self.files.items())
            if name not in own
        )
        manifest = msgspec.structs.replace(self.manifest(), **{"files": listed, **changes})
        raw = archive.format_manifest(manifest)
        self.files[archive.MANIFEST] = raw
        self.files[archive.MANIFEST_SIGNATURE] = archive.sign_manifest(raw, self.operator)
        return self

    def write(self, folder: Path) -> Path:
        for name, data in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    def write_zip(self, path: Path) -> Path:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in self.files.items():
                file.writestr(name, data)
        return path


@dataclass
class Log:
    """A log in memory: leaves, payloads, and the keys of everyone."""

    operator: PrivateKey = field(default_factory=lambda: key(1))
    agent: PrivateKey = field(default_factory=lambda: key(2))
    signer: NoteSigner = field(default_factory=lambda: NoteSigner(ORIGIN, key(3)))
    witness: WitnessSigner = field(
        default_factory=lambda: WitnessSigner("witness.example/w1", key(4))
    )
    leaves: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    payloads: list[Mapping[str, Part]] = field(default_factory=list)

    @classmethod
    def founded(cls) -> Log:
        """Return a log with its charter and one registered agent."""
        log = cls()
        operator = ids.format_key(log.operator.public_key)
        log.append(
            "charter/1",
            {
                "origin": ORIGIN,
                "kind": "private",
                "log_key": format_vkey(log.signer.public),
                "keys": [{"key": operator, "roles": ["operator"]}],
            },
            log.operator,
        )
        log.register(log.agent)
        return log

    def register(self, new: PrivateKey, author: PrivateKey | None = None) -> int:
        body = {
            "action": "register",
            "key": ids.format_key(new.public_key),
            "roles": ["agent"],
            "possession": prove_possession(ORIGIN, new),
        }
        return self.append("key/1", body, author or self.operator)

    def revoke(self, old: PrivateKey) -> int:
        body = {"action": "revoke", "key": ids.format_key(old.public_key), "reason": "lost"}
        return self.append("key/1", body, self.operator)

    def note(self, value: Any, author: PrivateKey | None = None, **fields: Any) -> int:
        return self.append("note/1", value, author or self.agent, **fields)

    def call(self) -> int:
        """Append an ``llm.call/1`` with request and response."""
        call = {"action_id": "a1", "timestamp": "2026-08-01T10:11:12Z", "provider": "openai"}
        parts = {
            "call": make_part(msgspec.json.encode(call), JSON, bytes(32)),
            "request": make_part(b'{"model":"m"}', JSON, b"\1" * 32),
            "response": make_part(b"data: {}\n\n", "text/event-stream", b"\2" * 32),
        }
        return self._seal("llm.call/1", parts, self.agent)

    def append(self, kind: str, body: Any, author: PrivateKey, **fields: Any) -> int:
        salt = bytes([len(self.leaves) % 256]) * 32
        parts = {"body": make_part(msgspec.json.encode(body), JSON, salt)}
        return self._seal(kind, parts, author, **fields)

    def _seal(self, kind: str, parts: Any, author: PrivateKey, **fields: Any) -> int:
        values: dict[str, Any] = {
            "v": 1,
            "ledger": ORIGIN,
            "id": record_id(len(self.leaves)),
            "type": kind,
            "author": ids.format_key(author.public_key),
            "made_at": clock.format_time(BEGAN_MS),
            "payload": {name: ref for name, (ref, _) in parts.items()},
        }
        signed = seal(Record(**{**values, **fields}), author)
        return self.place(signed, {name: part for name, (_, part) in parts.items()})

    def place(
        self, signed: SignedRecord, parts: Mapping[str, Part], received_at: int | None = None
    ) -> int:
        """Give a record its place, whatever it is: nothing is checked here."""
        index = len(self.leaves)
        at = BEGAN_MS + 1000 * (index // 3) if received_at is None else received_at
        previous = self.hashes[-1] if self.hashes else NO_PREVIOUS
        header = Header(ORIGIN, index, previous, at, signed.signature)
        return self.place_leaf(format_entry(Entry(header, signed.raw)), parts)

    def place_leaf(self, leaf: bytes, parts: Mapping[str, Part]) -> int:
        self.leaves.append(leaf)
        self.hashes.append(tree.leaf_hash(leaf))
        self.payloads.append(dict(parts))
        return len(self.leaves) - 1

    # --- what a log gives out --------------------------------------------------------

    def _nodes(self, nodes: Any) -> list[bytes]:
        def node_hash(node: NodeId) -> bytes:
            first = node.position << node.level
            return tree.root(self.hashes[first : first + (1 << node.level)])

        return [node_hash(node) for node in nodes]

    def checkpoint(self, size: int | None = None, *, cosigned: bool = False) -> bytes:
        size = len(self.leaves) if size is None else size
        checkpoint = Checkpoint(ORIGIN, size, tree.root(self.hashes[:size]))
        if not cosigned:
            return sign_checkpoint(checkpoint, self.signer)
        text = format_checkpoint(checkpoint)
        lines = (self.signer.sign(text), self.witness.cosign(text, BEGAN_MS // 1000))
        return format_note(Note(text, lines))

    def receipt(self, index: int, size: int | None = None, *, cosigned: bool = False) -> bytes:
        size = len(self.leaves) if size is None else size
        path = tree.prove_inclusion(index, size, self._nodes)
        checkpoint = self.checkpoint(size, cosigned=cosigned)
        return format_receipt(Receipt(index, tuple(path), checkpoint))

    def policy(self, *, quorum: bool = False) -> bytes:
        lines = [f"log {format_vkey(self.signer.public)}"]
        lines.append(f"witness w1 {format_vkey(self.witness.public)}")
        return "\n".join([*lines, f"quorum {'w1' if quorum else 'none'}", ""]).encode()

    def archive(
        self,
        start: int = 0,
        end: int | None = None,
        *,
        withheld: Hidden = (),
        redacted: Hidden = (),
        erased: Hidden = (),
        later: Collection[int] = (),
        cosigned: bool = False,
        carried: Collection[int] = (),
    ) -> Archive:
        """Export entries ``[start, end)``, as the exporter does.

        ``later``: entries behind the range that are shown for context.
        """
        size = len(self.leaves)
        end = size if end is None else end
        nodes = archive.range_nodes(start, end, size)
        proof = RangeProof(start, end, size, tuple(self._nodes(nodes)))
        files = {
            archive.README: b"How to verify this archive.\n",
            archive.CHECKPOINT: self.checkpoint(cosigned=cosigned),
            archive.RANGE_PROOF: archive.format_range_proof(proof),
            archive.CSV: b"index\n",
        }
        context = self._add_context(files, start, carried, later, cosigned)
        hidden = {
            **dict.fromkeys(withheld, "withheld"),
            **dict.fromkeys(redacted, "redacted"),
            **dict.fromkeys(erased, "erased"),
        }
        shown = {*range(end), *later}
        lines = [m for m in self.mutations(shown.__contains__) if m.index >= start]
        files[archive.REGISTER] = HEADER + b"".join(map(format_mutation, lines))
        width = limits.ARCHIVE_SEGMENT_ENTRIES
        for first in range(archive.segment_of(start), end, width):
            indexes = range(max(first, start), min(first + width, end))
            files[archive.entries_name(first)] = format_bundle(self.leaves[i] for i in indexes)
            frames = (self._frames(i, hidden) for i in indexes)
            files[archive.payloads_name(first)] = b"".join(frames)
        manifest = Manifest(
            v=1,
            origin=ORIGIN,
            charter=ids.format_digest(self.hashes[0]),
            scope=Scope(start, end, size, ids.format_digest(tree.root(self.hashes))),
            counts=self._counts(range(start, end), context, hidden),
            exported_by=ids.format_key(self.operator.public_key),
            exported_at=clock.format_time(BEGAN_MS),
            export_id=record_id(999),
            files=(),
        )
        files[archive.MANIFEST] = archive.format_manifest(manifest)
        return Archive(files, self.operator).reseal()

    def _add_context(
        self,
        files: dict[str, bytes],
        start: int,
        carried: Collection[int],
        later: Collection[int],
        cosigned: bool,
    ) -> int:
        indexes = [
            index
            for index in range(start)
            if index in carried or find_type(self._record(index).type).is_governance
        ]
        indexes += later
        for index in indexes:
            files[archive.context_name(index, "entry")] = self.leaves[index]
            files[archive.context_name(index, "parts")] = self._frames(index, {})
            files[archive.context_name(index, "tlog-proof")] = self.receipt(
                index, cosigned=cosigned
            )
        return len(indexes)

    def _record(self, index: int) -> Record:
        return parse_entry(self.leaves[index]).signed_record().record

    def _frames(self, index: int, hidden: Mapping[tuple[int, str], str]) -> bytes:
        frames: list[Frame] = []
        for name, part in sorted(self.payloads[index].items()):
            how = hidden.get((index, name))
            if how != "erased":
                shown = part if how is None else None
                frames.append(Frame(index, name, shown, how == "redacted"))
        return b"".join(map(archive.format_frame, frames))

    def _counts(
        self, indexes: range, context: int, hidden: Mapping[tuple[int, str], str]
    ) -> Counts:
        parts = sum(len(self.payloads[i]) for i in indexes)
        counted = Counter(how for (index, _), how in hidden.items() if index in indexes)
        return Counts(
            entries=len(indexes),
            context=context,
            parts_present=parts - counted.total(),
            parts_withheld=counted["withheld"],
            by_type=dict(Counter(self._record(i).type for i in indexes)),
            parts_redacted=counted["redacted"],
            parts_erased=counted["erased"],
        )

    # --- changes -----------------------------------------------------------------------

    def mutations(self, is_shown: Callable[[int], bool]) -> list[Mutation]:
        """Return the mutation register; what the rules do not allow is taken as it is told."""
        assembly, told = self._replay()
        places = {ids.format_digest(leaf): index for index, leaf in enumerate(self.hashes)}
        lines: list[Mutation] = []
        for act in told:
            if is_shown(act.index):
                proposal = assembly.proposals.get(act.leaf_hash)
                known = proposal and as_of(proposal, is_shown)
                agreed = len(agreeing(assembly.constitution, known)) if known else 0
                lines += list_mutations(act, known, agreed, places.get)
        return lines

    def _replay(self) -> tuple[Assembly, list[Act]]:
        assembly, told = Assembly(Constitution(), {}), list[Act]()
        for index in range(len(self.leaves)):
            act = self.act(index)
            if act is None:
                continue
            assembly.alterations.learn(act)
            if act.amends is not None or is_listed(act.kind.name):
                told.append(act)
            try:
                assembly.take(act, assembly.check(act))
            except RefusedError:
                assembly.due.clear()
        return assembly, told

    def act(self, index: int) -> Act | None:
        """Return an entry as governance looks at it, if it can be read at all."""
        try:
            parsed = parse_entry(self.leaves[index])
            record = parsed.signed_record().record
            kind = find_type(record.type)
            payload = decode_payload(kind, record, self.payloads[index])
            amends = amended_by(kind, record.refs)
        except LedgerGridError:
            return None
        received_at = parsed.header.received_at
        leaf_hash, parts = self.hashes[index], tuple(record.payload)
        return Act(index, leaf_hash, received_at, kind, record.author, payload, amends, parts=parts)
