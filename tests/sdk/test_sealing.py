"""From a draft to bytes that never change again."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, TooLargeError
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.record import Ref, check_part, verify_record
from ledger_core.formats.submission import parse_submission
from ledgergrid.numbers import Numbers
from ledgergrid.receipts import Receipt
from ledgergrid.sealing import Draft, Options, Sealed, Sealer, parse_sealed
from ledgergrid.signer import Signer

ORIGIN = "ledger.example/main"
NOW_MS = 1_785_579_072_345
DIGEST = ids.format_digest(bytes(32))
SIGNER = Signer.make()
NOWHERE = Path("nowhere")
"""Not needed, so never made."""


def seal(payload: object = None, **options: Unpack[Options]) -> Sealed:
    draft = Draft("note/1", payload, options)
    return Sealer(SIGNER, lambda: NOW_MS, Numbers(NOWHERE)).seal(draft, ORIGIN, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(JSON.filter(lambda value: value is not None))
def test_any_json_becomes_a_sealed_record_that_verifies(value: object) -> None:
    sealed = seal(value)
    submission = parse_submission(sealed.line)
    assert b"\n" not in sealed.line
    assert parse_sealed(sealed.line) == sealed
    verify_record(submission.signed)
    part = submission.parts["body"]
    check_part("body", submission.signed.record.payload["body"], part)
    assert json.loads(part.data) == value


def test_the_record_names_ledger_author_and_time() -> None:
    record = seal({}).signed.record
    assert (record.ledger, record.author) == (ORIGIN, SIGNER.key)
    assert record.made_at == "2026-08-01T10:11:12.345Z"


def test_parts_are_json_bytes_or_bytes_with_a_media_type() -> None:
    sealed = seal(parts={"call": {"a": 1}, "request": b"\x00", "page": ("text/html", b"<p>")})
    media_types = {name: ref.media_type for name, ref in sealed.signed.record.payload.items()}
    assert media_types == {
        "call": "application/json",
        "request": "application/octet-stream",
        "page": "text/html",
    }


@pytest.mark.parametrize(
    "payload",
    [float("nan"), float("inf"), "\ud800", {1, 2}, datetime.date(2026, 8, 1), {"a": object()}],
)
def test_what_is_not_json_is_refused_before_it_is_signed(payload: object) -> None:
    with pytest.raises(MalformedError, match="part 'body' is not JSON"):
        seal(payload)


def test_a_payload_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(MalformedError, match="not JSON"):
        seal(loop)


def test_a_part_larger_than_a_ledger_takes_is_refused() -> None:
    with pytest.raises(TooLargeError):
        seal(bytes(limits.PAYLOAD_PART_BYTES + 1))


def test_parts_that_together_exceed_a_submission_are_refused() -> None:
    half = bytes(limits.SUBMISSION_BYTES // 2)
    with pytest.raises(TooLargeError, match="record and payload"):
        seal(parts={"a": half, "b": half})


def test_a_payload_beside_a_part_body_is_refused() -> None:
    with pytest.raises(MalformedError, match="cannot have one too"):
        seal(1, parts={"body": 2})


def test_a_cause_is_a_receipt_or_a_leaf_hash() -> None:
    checkpoint = Checkpoint(ORIGIN, 2, bytes(32))
    receipt = Receipt("id", 1, DIGEST, "", checkpoint, (), b"", b"")
    other = ids.format_digest(b"\x01" * 32)
    sealed = seal(causes=[receipt, other], refs=[("answers", receipt)])
    assert sealed.signed.record.refs == (
        Ref("answers", DIGEST),
        Ref("causes", DIGEST),
        Ref("causes", other),
    )


def test_parties_are_sorted_for_the_caller() -> None:
    assert seal(parties=["zoe", "acme", "zoe"]).signed.record.parties == ("acme", "zoe")


def test_records_of_a_stream_are_counted_and_a_refused_draft_uses_no_number(tmp_path: Path) -> None:
    sealer = Sealer(SIGNER, lambda: NOW_MS, Numbers(tmp_path))

    def count(payload: object, **options: Unpack[Options]) -> object:
        draft = Draft("note/1", payload, options)
        return sealer.seal(draft, ORIGIN, None).signed.record.n

    assert [count(1, stream="run-1"), count(1, stream="run-2"), count(1, stream="run-1")] == [
        0,
        0,
        1,
    ]
    with pytest.raises(MalformedError):
        count(float("nan"), stream="run-1")
    with pytest.raises(TooLargeError):
        count(1, stream="run-1", causes=[ids.format_digest(bytes([n] * 32)) for n in range(65)])
    assert count(1, stream="run-1") == 2
    assert [count(1, stream="run-1", n=7), count(1, stream="run-1")] == [7, 8]
    # Whoever numbers by hand may come back to a number; the client never goes back.
    assert [count(1, stream="run-1", n=4), count(1, stream="run-1")] == [4, 9]
    for wrong in (-1, 2**53):
        with pytest.raises(MalformedError):
            count(1, stream="run-1", n=wrong)
    assert count(1, stream="run-1") == 10


def test_a_count_without_a_stream_is_refused() -> None:
    with pytest.raises(MalformedError, match="name the stream"):
        seal(1, n=3)


def test_two_records_of_the_same_content_share_nothing_one_could_compare() -> None:
    first, second = seal("same").signed.record, seal("same").signed.record
    assert first.id != second.id
    assert first.payload["body"].commitment != second.payload["body"].commitment
