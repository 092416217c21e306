"""One law for all formats: a parser takes exactly what its formatter emits, and nothing else.

For every value, parsing what was formatted gives the value back. For all bytes, those of a
value, those spoilt a little and those of nothing at all, either the parser refuses with a
MalformedError, or formatting what it returned gives the same bytes again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger_core.errors import MalformedError, SignatureError
from ledger_core.formats import (
    archive,
    checkpoint,
    entry,
    mutations,
    note,
    receipt,
    record,
    submission,
    vkey,
    witness,
)
from ledger_core.formats.record import SignedRecord
from ledger_core.formats.submission import Submission
from ledger_core.merkle import tiles
from tests.ledger_core.formats import strategies as made


@dataclass(frozen=True)
class Format:
    values: st.SearchStrategy[Any]
    format: Callable[[Any], bytes]
    parse: Callable[[bytes], Any]


def _text(parse: Callable[[str], Any]) -> Callable[[bytes], Any]:
    """Let a parser of text take bytes, as a file or a URL would bring them."""

    def decode_and_parse(raw: bytes) -> Any:
        try:
            return parse(raw.decode())
        except UnicodeDecodeError:
            raise MalformedError("not UTF-8") from None

    return decode_and_parse


def _format_line(signature: note.NoteSignature) -> bytes:
    return note.format_signature_line(signature)[:-1]


def _format_frames(frames: list[archive.Frame]) -> bytes:
    return b"".join(map(archive.format_frame, frames))


def _format_register(lines: list[mutations.Mutation]) -> bytes:
    return mutations.HEADER + b"".join(map(mutations.format_mutation, lines))


def _format_tile(parsed: tuple[int, int]) -> bytes:
    return tiles.format_tile_path("0", *parsed).removeprefix("0/").encode()


FORMATS = {
    "record": Format(made.records(), record.format_record, record.parse_record),
    "entry": Format(made.entries, entry.format_entry, entry.parse_entry),
    "entry header": Format(made.headers, entry.format_header, entry.parse_header),
    "note": Format(made.notes, note.format_note, note.parse_note),
    "signature line": Format(made.note_signatures, _format_line, _text(note.parse_signature_line)),
    "checkpoint": Format(
        made.checkpoints, checkpoint.format_checkpoint, checkpoint.parse_checkpoint
    ),
    "receipt": Format(made.receipts, receipt.format_receipt, receipt.parse_receipt),
    "add-checkpoint": Format(
        made.add_checkpoints, witness.format_add_checkpoint, witness.parse_add_checkpoint
    ),
    "cosignatures": Format(
        st.lists(made.note_signatures, min_size=1, max_size=4).map(tuple),
        witness.format_cosignatures,
        witness.parse_cosignatures,
    ),
    "size": Format(made.sizes, witness.format_size, witness.parse_size),
    "frames": Format(
        st.lists(made.frames, max_size=3),
        _format_frames,
        lambda raw: list(archive.read_frames(BytesIO(raw))),
    ),
    "register": Format(
        st.lists(made.register_lines, max_size=3),
        _format_register,
        lambda raw: list(mutations.read_mutations(BytesIO(raw))),
    ),
    "range proof": Format(
        made.range_proofs(), archive.format_range_proof, archive.parse_range_proof
    ),
    "manifest": Format(made.manifests, archive.format_manifest, archive.parse_manifest),
    "bundle": Format(
        st.lists(st.binary(max_size=40), max_size=4), tiles.format_bundle, tiles.parse_bundle
    ),
    "tile path": Format(
        st.tuples(st.integers(0, 2**63 - 1), st.integers(1, 256)),
        _format_tile,
        _text(tiles.parse_tile_index),
    ),
}
ALL = pytest.mark.parametrize("name", FORMATS)
SLOW_TO_MAKE = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@ALL
@SLOW_TO_MAKE
@given(data=st.data())
def test_what_is_formatted_parses_to_the_same_value(name: str, data: st.DataObject) -> None:
    law = FORMATS[name]
    value = data.draw(law.values)
    assert law.parse(law.format(value)) == value


def takes_only_what_it_emits(law: Format, raw: bytes) -> None:
    try:
        value = law.parse(raw)
    except MalformedError:
        return
    assert law.format(value) == raw


@ALL
@settings(SLOW_TO_MAKE, max_examples=250)
@given(data=st.data())
def test_spoilt_bytes_are_refused_or_formatted_to_themselves(
    name: str, data: st.DataObject
) -> None:
    law = FORMATS[name]
    takes_only_what_it_emits(law, data.draw(made.mutations(law.values.map(law.format))))


@ALL
@settings(max_examples=40)
@given(raw=st.binary(max_size=100))
def test_any_bytes_are_refused_or_formatted_to_themselves(name: str, raw: bytes) -> None:
    takes_only_what_it_emits(FORMATS[name], raw)


MANY = ("frames", "bundle", "register")
"""Formats that hold as many things as there are: some cuts leave fewer of them."""


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in MANY])
@settings(SLOW_TO_MAKE, max_examples=30)
@given(data=st.data())
def test_bytes_cut_anywhere_never_pass_for_the_whole(name: str, data: st.DataObject) -> None:
    law = FORMATS[name]
    raw = law.format(data.draw(law.values))
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    takes_only_what_it_emits(law, cut)


@SLOW_TO_MAKE
@given(
    name=made.key_names,
    public_key=made.hashes,
    algorithm=st.sampled_from([vkey.LogKey, vkey.WitnessKey]),
    data=st.data(),
)
def test_a_spoilt_vkey_is_refused_or_formatted_to_itself(
    name: str,
    public_key: bytes,
    algorithm: type[vkey.LogKey] | type[vkey.WitnessKey],
    data: st.DataObject,
) -> None:
    good = vkey.format_vkey(algorithm(name, public_key)).encode()
    for raw in (good, data.draw(made.mutations(st.just(good)))):
        try:
            text = raw.decode()
            assert vkey.format_vkey(vkey.parse_vkey(text)) == text
        except (MalformedError, UnicodeDecodeError, SignatureError):
            continue


submissions = st.builds(
    lambda of, signature, parts: Submission(
        SignedRecord(of, record.format_record(of), signature), parts
    ),
    made.records(),
    st.binary(max_size=64),
    st.dictionaries(made.part_names, made.parts, max_size=3),
)


@SLOW_TO_MAKE
@given(submissions)
def test_a_submission_parses_to_what_was_formatted(value: Submission) -> None:
    assert submission.parse_submission(submission.format_submission(value)) == value


@settings(SLOW_TO_MAKE, max_examples=250)
@given(made.mutations(submissions.map(submission.format_submission)))
def test_a_spoilt_submission_is_refused_or_means_what_its_own_formatting_means(raw: bytes) -> None:
    try:
        value = submission.parse_submission(raw)
    except MalformedError:
        return
    assert submission.parse_submission(submission.format_submission(value)) == value
