"""Lists of logs: read as the public witness network writes them, refused where unclear."""

from __future__ import annotations

import re

import pytest

from ledger_core import limits
from ledger_core.errors import MalformedError, TooLargeError
from ledger_core.formats.log_list import parse_log_list
from ledger_core.formats.vkey import format_vkey, parse_vkey
from tests.docs.pages import blocks, read
from tests.vectors.build import LOG, ORIGIN
from tests.vectors.notes import C2SP_EXAMPLE, LOG_VKEY, PETER, PQ_VKEY, WITNESS_VKEY


def parse(*lines: str) -> dict[str, list[str]]:
    found = parse_log_list("\n".join(lines).encode())
    return {origin: [format_vkey(key) for key in keys] for origin, keys in found.items()}


def test_the_list_on_the_specifications_page_is_read_as_it_says() -> None:
    (example,) = [b.text for b in blocks(read("docs/spec/witness.md")) if "logs/v0" in b.text]
    assert parse(example) == {ORIGIN: [LOG_VKEY], "example.com/the-foo": [C2SP_EXAMPLE]}


def test_a_log_may_have_several_keys_and_none_of_them_twice() -> None:
    other = ["vkey " + PETER, "origin " + ORIGIN]
    assert parse("logs/v0", "vkey " + LOG_VKEY, *other) == {ORIGIN: [LOG_VKEY, PETER]}
    with pytest.raises(MalformedError, match="twice"):
        parse("logs/v0", "vkey " + LOG_VKEY, "vkey " + LOG_VKEY)


def test_a_list_may_be_empty_and_hold_comments() -> None:
    assert parse("", "# ours", "logs/v0", "  # none yet", "") == {}


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["vkey " + LOG_VKEY],
        ["logs/v1", "vkey " + LOG_VKEY],
        ["logs/v0", "origin " + ORIGIN],
        ["logs/v0", "vkey"],
        ["logs/v0", "vkey " + WITNESS_VKEY],
        ["logs/v0", "vkey " + PQ_VKEY],
        ["logs/v0", "vkey " + LOG_VKEY, "origin a", "origin b"],
        ["logs/v0", "vkey " + LOG_VKEY, "origin "],
        ["logs/v0", "vkey " + LOG_VKEY, "origin with space"],
        ["logs/v0", "vkey " + LOG_VKEY + "\r"],
        ["logs/v0", "bastion example.com:443"],
    ],
)
def test_what_is_no_list_is_refused(lines: list[str]) -> None:
    with pytest.raises(MalformedError):
        parse(*lines)


def test_an_error_names_its_line() -> None:
    with pytest.raises(MalformedError, match="line 3"):
        parse("logs/v0", "vkey " + LOG_VKEY, "nonsense")


def test_a_list_is_bounded() -> None:
    with pytest.raises(TooLargeError):
        parse_log_list(b"#" * (limits.LOG_LIST_BYTES + 1))
    many = "\n".join(["logs/v0", *["vkey " + LOG_VKEY] * (limits.LOG_LIST_LOGS + 1)])
    with pytest.raises(TooLargeError, match=re.escape(str(limits.LOG_LIST_LOGS))):
        parse_log_list(many.encode())


def test_the_log_of_the_vectors_is_the_one_listed() -> None:
    assert parse_vkey(LOG_VKEY) == LOG.public
