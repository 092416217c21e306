"""The redactor: what it finds, what it leaves, and that JSON stays JSON."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import MalformedError, SettingsError
from ledger_core.llm import wire
from ledger_core.llm.patterns import KINDS
from ledger_core.llm.redactor import Redactor

ALL = Redactor(KINDS)

HANGS_S = 60
"""Longer than this is no slow machine."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to anna.b+c@mail.example.org now", "write to [redacted email] now"),
        ("<a@b.co>,c@d.io", "<[redacted email]>,[redacted email]"),
        ("müller@büro.example!", "[redacted email]!"),
        (
            "pay 4111 1111 1111 1111 or 5500-0000-0000-0004",
            "pay [redacted card] or [redacted card]",
        ),
        ("SSN 078-05-1120.", "SSN [redacted ssn]."),
        ("from 192.168.7.1:80 and 10.0.0.255.", "from [redacted ip]:80 and [redacted ip]."),
        ("at 2001:db8::8a2e:370:7334, ::1", "at [redacted ip], [redacted ip]"),
        ("key sk-proj-abcdefghij0123456789.", "key [redacted key]."),
        ("AKIAIOSFODNN7EXAMPLE", "[redacted key]"),
        ("ghp_" + "a1" * 18, "[redacted key]"),
        ("Authorization: Bearer abc.def-ghi_jkl012345", "Authorization: [redacted key]"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "[redacted key]"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIB\n-----END RSA PRIVATE KEY-----\nend",
            "[redacted key]\nend",
        ),
    ],
)
def test_what_is_personal_or_secret_is_found(text: str, expected: str) -> None:
    redacted, count = ALL.redact_text(text)
    assert redacted == expected
    assert count == expected.count("[redacted")


@pytest.mark.parametrize(
    "text",
    [
        "a@b, @home, x@y.z1, foo@.com, @@@@",
        "4111 1111 1111 1112, 0000 0000 0000 0000, 1234567890123456789012345",
        "000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567, 1-078-05-1120",
        "256.1.1.1, 1.2.3, 1.2.3.4.5, version 1.2.3",
        "12:30:45, std::vector, a::b, ff:ff, ::",
        "ask-someone-about-everything-here, risk-sk-, sk-short, disk-aaaaaaaaaaaaaaaaaaaa",
        "2024-11-20 19:00, +49 30 123456, 3.14159265358979",
    ],
)
def test_what_only_looks_alike_is_left(text: str) -> None:
    assert ALL.redact_text(text) == (text, 0)


def test_only_the_kinds_that_were_asked_for_are_redacted() -> None:
    redacted, count = Redactor(["card"]).redact_text("a@b.co 4111111111111111")
    assert (redacted, count) == ("a@b.co [redacted card]", 1)


def test_json_stays_json_whatever_stands_beside_an_address() -> None:
    body = (
        rb'{"a":"x\nfoo@b.co,\u00e9","b":"\u0066oo\u0040b.co","c":4111111111111111,"a@b.co":[1e5]}'
    )
    redacted, count = ALL.redact(body, "application/json")
    assert json.loads(redacted) == {
        "a": "x\n[redacted email],é",
        "b": "[redacted email]",
        "c": "[redacted card]",
        "[redacted email]": [1e5],
    }
    assert count == 4


def test_json_within_a_text_stays_json() -> None:
    for inner in ({"a": "x\nfoo@b.co"}, {"a": "é\u2028foo@b.co"}, {"a": "\\foo@b.co"}):
        redacted, count = ALL.redact(json.dumps({"arguments": json.dumps(inner)}).encode())
        assert count == 1
        assert "b.co" not in redacted.decode()
        assert json.loads(json.loads(redacted)["arguments"])["a"].endswith("[redacted email]")


def test_a_body_without_a_find_stays_byte_for_byte() -> None:
    body = b' {"a" :\t1.50, "b":"\\u00e9\\/", "c": "\xc3\xa9"}\n'
    assert ALL.redact(body) == (body, 0)


def test_only_the_texts_with_a_find_are_written_anew() -> None:
    body = b' {"a" :\t1.50, "b":"\\u00e9\\/", "c": "a@b.co"}\n'
    redacted, _ = ALL.redact(body)
    assert redacted == body.replace(b"a@b.co", b"[redacted email]")


texts = st.text() | st.sampled_from(["a@b.co", "\n\\a@b.co", "4111111111111111", "\u2028::1"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(4111111111111111) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_any_json_is_json_afterwards_and_has_nothing_left_to_find(
    value: Any, is_ascii: bool, indent: int | None
) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    redacted, count = ALL.redact(body)
    again = json.loads(redacted)
    assert ALL.redact(redacted)[1] == 0
    assert type(again) is type(value) or isinstance(value, int)
    assert (count > 0) == (redacted != body)
    assert "a@b.co" not in redacted.decode()


def chat_stream(*pieces: str) -> bytes:
    events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return ("".join(lines) + "data: [DONE]\n\n").encode()


@pytest.mark.parametrize(
    "pieces",
    [
        ["Write to an", "na@ma", "il.ex", "ample.org", " or call."],
        [*"Write to anna@mail.example.org or call."],
        ["Write to ", "anna@mail.example.org", " or call."],
    ],
)
def test_an_address_that_comes_in_pieces_is_found(pieces: list[str]) -> None:
    redacted, count = ALL.redact(chat_stream(*pieces), "text/event-stream; charset=utf-8")
    answered = wire.parse_response("openai.chat", 200, redacted, "text/event-stream")
    assert answered.content == "Write to [redacted email] or call."
    assert answered.parse_error is None
    assert count == 1
    assert b"[DONE]" in redacted


def test_pieces_of_other_choices_and_blocks_are_other_texts() -> None:
    events = [
        {"type": "content_block_delta", "index": index, "delta": {"text": piece}}
        for index, piece in ((0, "a@"), (1, "x"), (0, "b.co"), (1, "@y"))
    ]
    lines = [f"event: content_block_delta\ndata: {json.dumps(event)}\n\n" for event in events]
    redacted, count = ALL.redact("".join(lines).encode(), "text/event-stream")
    assert count == 1
    told = [json.loads(line[6:]) for line in redacted.decode().split("\n") if line[:5] == "data:"]
    assert [each["delta"]["text"] for each in told] == ["[redacted email]", "x", "", "@y"]


def test_a_stream_without_a_find_stays_byte_for_byte() -> None:
    body = b": hi\r\n\r\n" + chat_stream("nothing ", "here")
    assert ALL.redact(body, "text/event-stream") == (body, 0)


def test_broken_json_is_looked_at_as_text_and_what_is_no_text_is_refused() -> None:
    assert ALL.redact(b'{"a": "a@b.co')[0] == b'{"a": "[redacted email]'
    with pytest.raises(MalformedError):
        ALL.redact(b"\xff\xfea@b.co")


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (r"EMP-[0-9]{4,8}", "EMP-12345.", "[redacted]."),
        (r"(?i)\bproject (?:zebra|lion)\b", "Project Zebra", "[redacted]"),
        (r"[A-Z]{2}[0-9]{2}(?: ?[0-9]{4}){4}", "DE44 5001 0517 5407 3249", "[redacted]"),
        (r"(?:[0-9]{1,3}+\.){3}[0-9]{1,3}", "1.2.3.4", "[redacted]"),
    ],
)
def test_patterns_of_one_s_own_are_found(pattern: str, text: str, expected: str) -> None:
    assert Redactor([], [pattern]).redact_text(text) == (expected, 1)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a{0,5}",
        "(",
        "a*",
        "a+b",
        ".*secret",
        "(a+)+$",
        "(?:a{1,9}){1,9}",
        "(a|a){30}",
        "a{1,200}a{1,200}b",
        r"(a)\1",
        "(?=a*)b",
        "x{1,99999}",
        "a" * 501,
        "(?:" * 300 + "a" + ")" * 300,
    ],
)
def test_patterns_that_may_take_too_long_are_refused(pattern: str) -> None:
    with pytest.raises(SettingsError):
        Redactor([], [pattern])


def test_kinds_unknown_and_patterns_too_many_are_refused() -> None:
    with pytest.raises(SettingsError):
        Redactor(["e-mail"])
    with pytest.raises(SettingsError):
        Redactor([], ["a"] * 101)


@pytest.mark.parametrize(
    "unit",
    [
        "a@", "@", "@a.", "1 ", "1", "1.", "1-", ":", "f:", "sk-", "eyJ", " eyJaaaaaaaaa.", "\\\\",
        "-----BEGIN PRIVATE KEY-----", "Bearer ", '\\"', "a@b.co ", "xoxa-",
    ],
)  # fmt: skip
def test_hostile_texts_take_time_by_their_length(unit: str) -> None:
    text = unit * (200_000 // len(unit)) + " "
    for body in (text.encode(), json.dumps([text]).encode(), b'{"' + text.encode()):
        began = time.perf_counter()
        ALL.redact(body)
        # Milliseconds; the square of their length would be hours.
        assert time.perf_counter() - began < HANGS_S
