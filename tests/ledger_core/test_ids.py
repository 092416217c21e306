"""Names of things as text: each has one spelling."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import ids, limits
from ledger_core.errors import MalformedError
from tests.ledger_core.formats import strategies as made

DIGEST = ids.format_digest(bytes(32))


def test_new_ids_are_unlike_and_in_the_order_of_their_making() -> None:
    before_ms = time.time_ns() // 1_000_000
    made_ids = [ids.new_record_id() for _ in range(1000)]
    raw = [ids.parse_record_id(each) for each in made_ids]
    assert len(set(raw)) == 1000
    assert raw == sorted(raw)
    assert abs(int.from_bytes(raw[0][:6]) - before_ms) < 60_000


@given(made.record_ids)
def test_an_id_is_the_same_as_text_and_as_bytes(text: str) -> None:
    assert ids.format_record_id(ids.parse_record_id(text)) == text


@given(st.binary(max_size=70))
def test_base64_is_read_as_it_is_written(raw: bytes) -> None:
    assert ids.decode_base64(ids.encode_base64(raw)) == raw
    assert ids.decode_base64(ids.encode_base64(raw), len(raw)) == raw
    assert ids.decode_base64url(ids.encode_base64url(raw), len(raw)) == raw
    with pytest.raises(MalformedError):
        ids.decode_base64(ids.encode_base64(raw), len(raw) + 1)
    with pytest.raises(MalformedError):
        ids.decode_base64url(ids.encode_base64url(raw), len(raw) + 1)


SIGNS = "AZaz09+/-_= \n\r\t.,é\u0660\ud800"


@given(st.text(SIGNS, max_size=12))
def test_no_two_texts_are_the_same_bytes_in_base64(text: str) -> None:
    for length in range(10):
        try:
            assert ids.encode_base64url(ids.decode_base64url(text, length)) == text
        except MalformedError:
            continue
    try:
        assert ids.encode_base64(ids.decode_base64(text)) == text
    except MalformedError:
        return


@pytest.mark.parametrize("text", ["AAAB", "AAA=", "AA==", "AB", "A", "+AAA", "AAA\n", "AA A", "é"])
def test_a_second_spelling_of_two_bytes_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        ids.decode_base64url(text, 2)


def test_all_but_one_of_the_last_letters_of_a_key_are_refused() -> None:
    # 43 letters hold 258 bits, two more than a key has.
    alphabet = base64.urlsafe_b64encode(bytes(range(256))).decode()
    key = ids.format_key(b"\xff" * 32)
    accepted = set()
    for letter in set(alphabet):
        try:
            ids.parse_key(key[:-1] + letter)
            accepted.add(letter)
        except MalformedError:
            continue
    assert len(accepted) == 16
    assert {ids.format_key(ids.parse_key(key[:-1] + each))[-1] for each in accepted} == accepted


@given(made.hashes)
def test_a_digest_is_no_key_and_a_key_no_digest(raw: bytes) -> None:
    assert ids.parse_digest(ids.format_digest(raw)) == raw
    assert ids.parse_key(ids.format_key(raw)) == raw
    with pytest.raises(MalformedError):
        ids.parse_key(ids.format_digest(raw))
    with pytest.raises(MalformedError):
        ids.parse_digest(ids.format_key(raw))


@pytest.mark.parametrize("text", ["", "sha256:", DIGEST[:-1], DIGEST + "A", DIGEST.upper()])
def test_what_is_nearly_a_digest_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        ids.parse_digest(text)
    with pytest.raises(MalformedError):
        ids.check_digest(text)


@given(made.hashes, st.integers(0, len(DIGEST) - 1), st.characters() | st.sampled_from("AB-_+/=\n"))
def test_a_digest_is_checked_as_strictly_as_it_is_parsed(raw: bytes, at: int, other: str) -> None:
    digest = ids.format_digest(raw)
    ids.check_digest(digest)
    changed = digest[:at] + other + digest[at + 1 :]
    try:
        ids.parse_digest(changed)
    except MalformedError:
        with pytest.raises(MalformedError):
            ids.check_digest(changed)
    else:
        ids.check_digest(changed)


def test_a_digest_whose_last_digit_holds_bits_that_mean_nothing_is_refused() -> None:
    for last in "BCD_-/":
        with pytest.raises(MalformedError):
            ids.check_digest(DIGEST[:-1] + last)


@given(st.integers(0, 2**63 - 1))
def test_a_decimal_is_read_as_it_is_written(number: int) -> None:
    assert ids.parse_decimal(str(number)) == number


@given(st.text("0123456789+-_ .,eE\n٠١²", max_size=21))
def test_no_two_texts_are_the_same_decimal(text: str) -> None:
    try:
        assert str(ids.parse_decimal(text)) == text
    except MalformedError:
        return


@pytest.mark.parametrize(
    "text", ["", "00", "-0", "+1", "1_0", " 1", "1\n", "١", str(2**63), "9" * 5000]
)
def test_python_takes_some_of_these_numbers_and_we_take_none(text: str) -> None:
    with pytest.raises(MalformedError):
        ids.parse_decimal(text)


@pytest.mark.parametrize("name", ["a", "0", "log1", "my-log", "a--b", "x" * 63])
def test_a_ledger_is_named_like_a_host(name: str) -> None:
    ids.check_ledger_name(name)


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "-", "A", "a_b", "a.b", "a/b", "..", "a\n", "ä", "x" * 64]
)
def test_a_ledger_cannot_be_named_otherwise(name: str) -> None:
    with pytest.raises(MalformedError):
        ids.check_ledger_name(name)


@given(made.origins)
def test_every_visible_sign_but_plus_may_stand_in_an_origin(origin: str) -> None:
    ids.check_origin(origin)


@pytest.mark.parametrize(
    "origin", ["", "a+b", "a b", "a\n", "\x7f", "é", "x" * (limits.ORIGIN_CHARS + 1)]
)
def test_an_origin_that_could_not_name_a_key_is_refused(origin: str) -> None:
    with pytest.raises(MalformedError):
        ids.check_origin(origin)


def test_errors_show_only_the_beginning_of_what_is_wrong() -> None:
    with pytest.raises(MalformedError) as caught:
        ids.parse_key("x" * 100_000)
    assert len(str(caught.value)) < 200


@given(
    st.sampled_from(["ledger.example/a", "log", "a/epoch", "a/epoch/1", "a/epoch/02"]), st.data()
)
def test_an_epoch_has_one_origin_and_an_origin_one_epoch(founded: str, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 9999))
    origin = ids.format_epoch(founded, number)
    assert ids.parse_epoch(origin) == (founded, number)
    assert ids.are_of_one_ledger(founded, origin)
    assert ids.is_origin_up_to(founded, origin)
    assert ids.is_origin_up_to(origin, founded) is (number == 1)


@pytest.mark.parametrize("number", [0, -1, 10_000])
def test_an_epoch_that_no_origin_can_name_is_refused(number: int) -> None:
    with pytest.raises(MalformedError):
        ids.format_epoch("ledger.example/a", number)
    with pytest.raises(MalformedError):
        ids.format_epoch("a" * limits.ORIGIN_CHARS, 2)
