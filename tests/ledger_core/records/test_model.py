"""Payloads: decoded only if they are what the record commits to and the type asks for."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import ids
from ledger_core.errors import CommitmentError, PayloadError
from ledger_core.formats.record import Part, PartRef, Record, make_part
from ledger_core.records.model import RecordType, decode_payload
from ledger_core.records.registry import ALL, find_type
from ledger_core.records.types.charter import Charter
from ledger_core.records.types.key import Register
from ledger_core.records.types.llm_call import LlmCall
from tests.vectors.build import OPERATOR, SALT, make_record
from tests.vectors.governance_types import CHARTER, REGISTER
from tests.vectors.record_types import CALL, EXAMPLES


def seal_parts(
    kind: str, parts: dict[str, bytes], media_type: str = "application/json"
) -> tuple[RecordType, Record, dict[str, Part]]:
    made = {name: make_part(data, media_type, SALT) for name, data in parts.items()}
    refs: dict[str, PartRef] = {name: ref for name, (ref, _) in made.items()}
    record = make_record(kind=kind, key=OPERATOR, payload=refs)
    return find_type(kind), record, {name: part for name, (_, part) in made.items()}


def decode(kind: str, body: Any, name: str = "body") -> Any:
    return decode_payload(*seal_parts(kind, {name: json.dumps(body).encode()}))[name]


def test_every_type_has_an_example() -> None:
    assert set(EXAMPLES) == {kind.name for kind in ALL}


def test_payloads_come_out_as_their_types() -> None:
    charter = decode("charter/1", CHARTER)
    assert isinstance(charter, Charter)
    assert charter.kind == "private"
    assert isinstance(decode("key/1", REGISTER), Register)
    assert decode("note/1", {"any": ["thing", 1, None]}) == {"any": ["thing", 1, None]}


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_an_exchange_comes_out_byte_for_byte(request: bytes, response: bytes) -> None:
    parts = {"call": json.dumps(CALL).encode(), "request": request, "response": response}
    payload = decode_payload(*seal_parts("llm.call/1", parts))
    assert (payload["request"], payload["response"]) == (request, response)
    assert isinstance(payload["call"], LlmCall)


def test_what_is_absent_in_a_call_is_unknown_and_not_zero() -> None:
    kind, record, parts = seal_parts("llm.call/1", {"call": json.dumps(CALL).encode()})
    row = kind.row(decode_payload(kind, record, parts))
    assert row["tokens_in"] == 11
    assert row["session_id"] is None


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_a_row_fills_the_columns_that_its_type_declares(kind: RecordType) -> None:
    kinds: dict[str, type] = {"text": str, "integer": int}
    for example in EXAMPLES[kind.name].values():
        data = {
            name: bytes.fromhex(part["hex"])
            if isinstance(part, dict) and "hex" in part
            else json.dumps(part).encode()
            for name, part in example.items()
        }
        _, record, parts = seal_parts(kind.name, data)
        row = kind.row(decode_payload(kind, record, parts))
        assert row.keys() == kind.columns.keys()
        for name, value in row.items():
            assert value is None or isinstance(value, kinds[kind.columns[name]])


def test_a_payload_may_not_come_with_a_part_the_record_is_silent_about() -> None:
    kind, record, parts = seal_parts("note/1", {"body": b"1"})
    with pytest.raises(CommitmentError):
        decode_payload(kind, record, {**parts, "more": Part(SALT, b"")})
    with pytest.raises(CommitmentError):
        decode_payload(kind, record, {})


def test_a_commitment_is_checked_before_its_payload_is_read() -> None:
    kind, record, parts = seal_parts("note/1", {"body": b"not JSON"})
    with pytest.raises(CommitmentError):
        decode_payload(kind, record, {"body": Part(SALT, b"JSON not")})
    with pytest.raises(PayloadError):
        decode_payload(kind, record, parts)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_payload_or_are_refused_as_one(data: bytes) -> None:
    for kind in ("note/1", "key/1", "agent.action/1"):
        try:
            decode_payload(*seal_parts(kind, {"body": data}))
        except PayloadError:
            continue


@pytest.mark.parametrize(
    "data",
    [
        b'{"action":"revoke","key":"a","key":"b","reason":"lost"}',
        b'{"action":"revoke","action":"revoke","key":"a","reason":"lost"}',
        b'{"action":"revoke","k\\u0065y":"a","key":"b","reason":"lost"}',
    ],
)
def test_a_governance_payload_says_nothing_twice(data: bytes) -> None:
    # Readers differ on which of two counts; they must not differ on who has standing.
    with pytest.raises(PayloadError, match="twice"):
        decode_payload(*seal_parts("key/1", {"body": data}))


def test_a_key_does_not_revoke_itself() -> None:
    own = ids.format_key(OPERATOR.public_key)
    with pytest.raises(PayloadError, match="never by itself"):
        decode("key/1", {"action": "revoke", "key": own, "reason": "lost"})


def test_text_that_a_database_cannot_hold_never_reaches_a_column() -> None:
    for kind in ALL:
        for name, column in kind.columns.items():
            if column == "text":
                part = next(iter(kind.parts))
                body = {**next(iter(EXAMPLES[kind.name].values()))[part], name: "a\x00b"}
                with pytest.raises(PayloadError):
                    decode(kind.name, body, part)


@pytest.mark.parametrize("depth", [10_000, 1_000_000])
def test_a_payload_nested_without_end_is_refused(depth: int) -> None:
    with pytest.raises(PayloadError):
        decode_payload(*seal_parts("note/1", {"body": b"[" * depth}))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)
def test_msgspec_knows_every_type_before_threads_ask(kind: RecordType) -> None:
    """Found by kill -9 under load: two threads that decode a struct first crash the process."""
    for part in kind.parts.values():
        assert isinstance(part.decoder, msgspec.json.Decoder)
