"""Values of every format, and bytes that are nearly one, for laws that must hold for all."""

from __future__ import annotations

import string
import uuid
from typing import get_args

from hypothesis import strategies as st

from ledger_core import ids, limits
from ledger_core.clock import format_time
from ledger_core.formats.archive import (
    Counts,
    File,
    Frame,
    Manifest,
    RangeProof,
    Scope,
    range_nodes,
)
from ledger_core.formats.checkpoint import Checkpoint, format_checkpoint
from ledger_core.formats.entry import Entry, Header, format_header
from ledger_core.formats.mutations import Mutation, Status, What
from ledger_core.formats.note import Note, NoteSignature, format_note
from ledger_core.formats.receipt import Receipt
from ledger_core.formats.record import Part, PartRef, Record, Ref, Saw, format_record
from ledger_core.formats.witness import AddCheckpoint

VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F))
LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""

hashes = st.binary(min_size=32, max_size=32)
origins = st.text(VISIBLE.replace("+", ""), min_size=1, max_size=limits.ORIGIN_CHARS)
sizes = st.integers(0, 2**63 - 1)
times = st.integers(0, LAST_MS)
digests = hashes.map(ids.format_digest)
keys = hashes.map(ids.format_key)
counts = st.integers(0, limits.MAX_INTEGER)


def _to_uuid7(raw: bytes) -> str:
    number = int.from_bytes(raw) & ~(0xF << 76 | 3 << 62) | 7 << 76 | 2 << 62
    return str(uuid.UUID(int=number))


record_ids = st.binary(min_size=16, max_size=16).map(_to_uuid7)

_word = st.text(string.ascii_lowercase, min_size=1, max_size=8)
type_names = st.builds(
    lambda words, version: f"{'.'.join(words)}/{version}",
    st.lists(_word, min_size=1, max_size=3),
    st.integers(1, 9999),
)
part_names = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)
media_types = st.sampled_from(["application/json", "text/plain;charset=utf-8", "a/b", "x-y.z+w/1"])
part_refs = st.builds(
    PartRef,
    commitment=digests,
    media_type=media_types,
    size=st.integers(0, limits.PAYLOAD_PART_BYTES),
)
relations = st.sampled_from(["amends", "reverts", "redacts", "erases", "endorses", "causes"])
refs = st.lists(st.builds(Ref, rel=relations, to=digests), unique=True, max_size=4).map(tuple)
parties = st.lists(keys | st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True), unique=True, max_size=4)


@st.composite
def records(draw: st.DrawFn) -> Record:
    optional: dict[str, object] = {}
    if draw(st.booleans()):
        optional["stream"] = draw(st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True))
        optional["n"] = draw(counts)
    if draw(st.booleans()):
        optional["saw"] = draw(st.builds(Saw, root=digests, size=counts))
    fixed = st.fixed_dictionaries(
        {
            "ledger": origins,
            "id": record_ids,
            "type": type_names,
            "author": keys,
            "made_at": times.map(format_time),
            "payload": st.dictionaries(part_names, part_refs, max_size=3),
            "refs": refs,
            "parties": parties.map(lambda names: tuple(sorted(names))),
        }
    )
    return Record(v=1, **draw(fixed), **optional)  # type: ignore[arg-type]


headers = st.builds(
    Header,
    origin=origins,
    index=sizes,
    previous=hashes,
    received_at=times,
    signature=st.binary(min_size=64, max_size=64),
)
entries = st.builds(Entry, header=headers, record=records().map(format_record))
parts = st.builds(Part, salt=hashes, data=st.binary(max_size=200))

key_names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Z", "C"], exclude_characters="+"),
    min_size=1,
    max_size=20,
)
note_signatures = st.builds(
    NoteSignature,
    name=key_names,
    key_id=st.binary(min_size=4, max_size=4),
    blob=st.binary(min_size=1, max_size=80),
)
note_texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.just("\n"), max_size=60
).map(lambda text: f"{text}\n".encode())
notes = st.builds(
    Note, text=note_texts, signatures=st.lists(note_signatures, min_size=1, max_size=4).map(tuple)
)
checkpoints = st.builds(Checkpoint, origin=origins, size=sizes, root=hashes)
signed_checkpoints = st.builds(
    lambda checkpoint, signature: format_note(Note(format_checkpoint(checkpoint), (signature,))),
    checkpoints,
    note_signatures,
)
receipts = st.builds(
    Receipt,
    index=sizes,
    hashes=st.lists(hashes, max_size=63).map(tuple),
    checkpoint=signed_checkpoints,
    extra=st.just(b"") | headers.map(format_header) | st.binary(min_size=1, max_size=20),
)
add_checkpoints = st.builds(
    AddCheckpoint,
    old_size=sizes,
    proof=st.lists(hashes, max_size=63).map(tuple),
    checkpoint=signed_checkpoints,
)
_places = st.integers(0, 2**64 - 1)
frames = st.builds(Frame, index=_places, name=part_names, part=st.none() | parts) | st.builds(
    Frame, index=_places, name=part_names, part=st.none(), is_redacted=st.just(True)
)
register_lines = st.builds(
    Mutation,
    index=sizes,
    change=st.sampled_from(get_args(What)),
    target=st.none() | sizes,
    parts=st.lists(part_names, max_size=3).map(tuple),
    author=keys,
    status=st.sampled_from(get_args(Status)),
    since=st.none() | sizes,
    agreed=st.integers(0, 1_000),
    detail=st.from_regex(r"([A-Za-z0-9][A-Za-z0-9._:/ -]{0,30})?", fullmatch=True),
)


@st.composite
def range_proofs(draw: st.DrawFn) -> RangeProof:
    size = draw(st.integers(1, 2**20))
    start = draw(st.integers(0, size - 1))
    end = draw(st.integers(start + 1, size))
    needed = len(range_nodes(start, end, size))
    return RangeProof(
        start, end, size, tuple(draw(st.lists(hashes, min_size=needed, max_size=needed)))
    )


scopes = st.builds(Scope, start=counts, end=counts, size=counts, root=digests)
reconciliations = st.builds(
    Counts,
    entries=counts,
    context=counts,
    parts_present=counts,
    parts_withheld=counts,
    by_type=st.dictionaries(type_names, counts, max_size=3),
    parts_redacted=counts,
    parts_erased=counts,
)
file_names = st.from_regex(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}(/[a-z0-9][a-z0-9.]{0,9})?", fullmatch=True
)
files = st.builds(File, name=file_names, size=counts, digest=digests)
manifests = st.builds(
    Manifest,
    v=st.just(1),
    origin=origins,
    charter=digests,
    scope=scopes,
    counts=reconciliations,
    exported_by=keys,
    exported_at=times.map(format_time),
    export_id=record_ids,
    files=st.lists(files, unique_by=lambda file: file.name, max_size=4).map(
        lambda listed: tuple(sorted(listed, key=lambda file: file.name))
    ),
)

# --- nearly right -------------------------------------------------------------------

_SPOILERS = [
    b" ", b"\t", b"\r", b"\n", b"\n\n", b"=", b"==", b"+", b"-", b"_", b"/", b"0", b"00", b"1",
    b'"', b"\\", b"\\u0061", b",", b":", b"{", b"}", b"[", b"]", b"null", b"1.0", b"-0", b"1e1",
    b"A", b"a", b"\x00", b"\x7f", b"\x80", b"\xff", b"\xc2\xa0", b"\xc2\x85", b"\xe2\x80\xa8",
    b"\xe2\x80\x94", b"\xef\xbb\xbf", b"\xd9\xa1", b"\xed\xa0\x80", b"extra AAAA\n", b"{}", b"[]",
]  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn, of: st.SearchStrategy[bytes]) -> bytes:
    """Draw good bytes and spoil them in one to three places."""
    raw = draw(of)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.integers(0, 4)))
        piece = draw(st.sampled_from(_SPOILERS) | st.binary(max_size=2) | st.just(raw[at:end] * 2))
        raw = raw[:at] + piece + raw[end:]
    return raw
