"""The archive: what export downloads and an auditor verifies with no one's help.

A zip file, or the same files in a folder::

    README.txt                           how to verify it
    checkpoint                           the signed checkpoint everything is proved against
    entries/000000002048.bundle          up to 2,048 entries from that index (entry bundle)
    payloads/000000002048.parts          their payload parts, as frames
    withheld/000000002048.hashes         leaf hashes of those that are withheld
    range-proof                          joins the entries to the checkpoint's root
    context/000000000000.entry           earlier entries that say which keys stood,
    context/000000000000.parts             each with its payload
    context/000000000000.tlog-proof        and its receipt
    mutations.csv                        every change of an entry (formats/mutations.py)
    entries.csv  report.html  schemas/…  for people
    manifest.json  manifest.sig          counts and the digest of every file, signed

Entries lie in files by multiples of 2,048, so that each full file is one perfect subtree.
The same scope of the same tree gives the same files; only manifest and report say when
and for whom. Nothing in an archive says whom to trust: that is the verifier's own.

An entry that its reader may not see is **withheld**: its place in the bundle has length 0, its
leaf hash stands in the segment's file of withheld hashes, 32 bytes each, in order, and it has no
frames. So chain and tree are proved all the same. The file is there if there is a hash in it.

A frame is ``uint64 index || uint8 status || uint8 length || part name`` and, if the status
is 1 (present), ``32-byte salt || uint32 size || data``; integers are big-endian. Status 2 is
withheld: declared, not shown. Status 3 is redacted: not shown because a redaction hides it.
Frames are ordered by index, then name. Every part that a record commits to has one, but those
that are erased.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import BinaryIO, Literal

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, TooLargeError
from ledger_core.formats import ed25519
from ledger_core.formats.record import SALT_BYTES, Count, Part, pre_authentication_encoding
from ledger_core.merkle import tree

README, CHECKPOINT, RANGE_PROOF = "README.txt", "checkpoint", "range-proof"
MANIFEST, MANIFEST_SIGNATURE = "manifest.json", "manifest.sig"
CSV, REGISTER, REPORT = "entries.csv", "mutations.csv", "report.html"
MANIFEST_TYPE = b"application/vnd.ledgergrid.manifest+json"
RANGE_PROOF_FORMAT = "ledgergrid/range-proof@v1"
SIGNATURE_FORMAT = "ledgergrid/manifest-signature@v1"
PRESENT, WITHHELD, REDACTED = 1, 2, 3
_FRAME_HEAD = Struct(">QBB")
_PART_HEAD_BYTES = SALT_BYTES + 4
_FILE_NAME = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*", re.ASCII)


def segment_of(index: int) -> int:
    """Return the first index of the segment an entry lies in."""
    return index - index % limits.ARCHIVE_SEGMENT_ENTRIES


def entries_name(first: int) -> str:
    return f"entries/{first:012d}.bundle"


def payloads_name(first: int) -> str:
    return f"payloads/{first:012d}.parts"


def withheld_name(first: int) -> str:
    return f"withheld/{first:012d}.hashes"


def context_name(index: int, kind: Literal["entry", "parts", "tlog-proof"]) -> str:
    return f"context/{index:012d}.{kind}"


# --- payload frames --------------------------------------------------------------


class Frame(msgspec.Struct, frozen=True):
    """One payload part of one entry; ``part`` is None where it is withheld, or redacted."""

    index: int
    name: str
    part: Part | None
    is_redacted: bool = False


def format_frame(frame: Frame) -> bytes:
    name = frame.name.encode("ascii")
    hidden = REDACTED if frame.is_redacted else WITHHELD
    status = hidden if frame.part is None else PRESENT
    head = frame.index.to_bytes(8) + bytes([status, len(name)]) + name
    if frame.part is None:
        return head
    return head + frame.part.salt + len(frame.part.data).to_bytes(4) + frame.part.data


def read_frames(stream: BinaryIO) -> Iterator[Frame]:
    """Read frames one by one; at most one part is in memory at a time."""
    while head := stream.read(_FRAME_HEAD.size):
        if len(head) < _FRAME_HEAD.size:
            head += _read(stream, _FRAME_HEAD.size - len(head))
        index, status, length = _FRAME_HEAD.unpack(head)
        rest = _read(stream, length + (_PART_HEAD_BYTES if status == PRESENT else 0))
        try:
            name = rest[:length].decode("ascii")
        except UnicodeDecodeError:
            raise MalformedError(f"part name of entry {index} is not ASCII") from None
        if status == PRESENT:
            yield Frame(index, name, _read_part(stream, index, rest[length:]))
        elif status in (WITHHELD, REDACTED):
            yield Frame(index, name, None, status == REDACTED)
        else:
            raise MalformedError(f"part {name!r} of entry {index} has unknown status {status}")


def _read_part(stream: BinaryIO, index: int, head: bytes) -> Part:
    size = int.from_bytes(head[SALT_BYTES:])
    if size > limits.PAYLOAD_PART_BYTES:
        raise TooLargeError(f"a part of entry {index} is larger than {limits.PAYLOAD_PART_BYTES}")
    return Part(head[:SALT_BYTES], _read(stream, size))


def _read(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            raise MalformedError("payload frames end in the middle of a frame")
        data += more
    return data


# --- range proof -----------------------------------------------------------------


@dataclass(frozen=True)
class RangeProof:
    """The perfect subtrees left of ``start`` and right of ``end`` in a tree of ``size``.

    ``hashes``: those covering [0, start), then those covering [end, size), left to right.
    """

    start: int
    end: int
    size: int
    hashes: tuple[bytes, ...]

    def before(self) -> tree.Frontier:
        """Return the frontier at ``start``, to be extended by the range's leaf hashes."""
        return tree.Frontier(self.start, self.hashes[: self.start.bit_count()])

    def after(self, frontier: tree.Frontier) -> bytes:
        """Return the root at ``size``, given the frontier at ``end``."""
        right = self.hashes[self.start.bit_count() :]
        for node, node_hash in zip(tree.perfect_subtrees(self.end, self.size), right, strict=True):
            frontier = frontier.extend([node_hash], node.level)
        return frontier.root()


def range_nodes(start: int, end: int, size: int) -> list[tree.NodeId]:
    """Name the nodes of a range proof."""
    return tree.perfect_subtrees(0, start) + tree.perfect_subtrees(end, size)


def format_range_proof(proof: RangeProof) -> bytes:
    lines = [RANGE_PROOF_FORMAT, str(proof.start), str(proof.end), str(proof.size)]
    return "".join(f"{x}\n" for x in [*lines, *map(ids.encode_base64, proof.hashes)]).encode()


def parse_range_proof(raw: bytes) -> RangeProof:
    if len(raw) > limits.NOTE_BYTES:
        raise TooLargeError(f"range proof is larger than {limits.NOTE_BYTES} bytes")
    try:
        lines = raw.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise MalformedError("range proof is not ASCII") from None
    if len(lines) < 5 or lines[0] != RANGE_PROOF_FORMAT or lines.pop():
        raise MalformedError(f"range proof does not begin with {RANGE_PROOF_FORMAT}")
    start, end, size = (ids.parse_decimal(line) for line in lines[1:4])
    hashes = tuple(ids.decode_base64(line, tree.HASH_BYTES) for line in lines[4:])
    if not start < end <= size or len(hashes) != len(range_nodes(start, end, size)):
        raise MalformedError(f"range proof for [{start}, {end}) of {size} has wrong numbers")
    return RangeProof(start, end, size, hashes)


# --- manifest --------------------------------------------------------------------


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries ``[start, end)`` of the tree of ``size`` leaves under ``root``."""

    start: Count
    end: Count
    size: Count
    root: str


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Reconciliation: what the reader must find. ``by_type`` counts what is not withheld."""

    entries: Count
    context: Count
    parts_present: Count
    parts_withheld: Count
    by_type: dict[str, Count]
    entries_withheld: Count = 0
    parts_redacted: Count = 0
    parts_erased: Count = 0


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, size in bytes and digest of one file's (uncompressed) content."""

    name: str
    size: Count
    digest: str


class Since(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An origin, and the first entry that has it."""

    index: Count
    origin: str


class Manifest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What an archive claims about itself; signed by ``exported_by``, a claim all the same.

    ``origins``: all origins up to the checkpoint, if there was an epoch; ``origin`` is the last.
    """

    v: Literal[1]
    origin: str
    charter: str
    scope: Scope
    counts: Counts
    exported_by: str
    exported_at: str
    export_id: str
    files: tuple[File, ...]
    origins: tuple[Since, ...] = ()

    def origins_by_index(self) -> tuple[tuple[int, str], ...]:
        """Return every origin with the index of its first entry."""
        return tuple((each.index, each.origin) for each in self.origins) or ((0, self.origin),)


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Manifest)


def format_manifest(manifest: Manifest) -> bytes:
    """Format canonical JSON, like a record."""
    return _ENCODER.encode(manifest)


def parse_manifest(raw: bytes) -> Manifest:
    if len(raw) > limits.ARCHIVE_MANIFEST_BYTES:
        raise TooLargeError(f"manifest is larger than {limits.ARCHIVE_MANIFEST_BYTES} bytes")
    try:
        manifest = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"manifest is not valid: {error}") from None
    if _ENCODER.encode(manifest) != raw:
        raise MalformedError("manifest is not in canonical form")
    names = [file.name for file in manifest.files]
    if names != sorted(set(names)):
        raise MalformedError("manifest's files are not sorted by name, each once")
    for name in names:
        # No segment begins with a dot, so no name leads out of a folder.
        if len(name) > limits.ARCHIVE_NAME_CHARS or not _FILE_NAME.fullmatch(name):
            raise MalformedError(f"manifest names the file {name[:80]!r}")
    return manifest


def sign_manifest(raw: bytes, key: ed25519.PrivateKey) -> bytes:
    """Return the content of ``manifest.sig``: format, key and signature (DSSE PAE), a line each."""
    signature = key.sign(pre_authentication_encoding(raw, MANIFEST_TYPE))
    lines = [SIGNATURE_FORMAT, ids.format_key(key.public_key), ids.encode_base64(signature)]
    return "".join(f"{line}\n" for line in lines).encode()


def verify_manifest(raw: bytes, signature: bytes) -> str:
    """Return the key that signed the manifest; whether it should have is the caller's to judge."""
    try:
        form, key, sig, *rest = signature.decode("ascii").split("\n")
    except (UnicodeDecodeError, ValueError):
        raise MalformedError("manifest.sig is not three lines") from None
    if form != SIGNATURE_FORMAT or rest != [""]:
        raise MalformedError(f"manifest.sig does not begin with {SIGNATURE_FORMAT}")
    blob = ids.decode_base64(sig, ed25519.SIGNATURE_BYTES)
    ed25519.verify(ids.parse_key(key), pre_authentication_encoding(raw, MANIFEST_TYPE), blob)
    return key
