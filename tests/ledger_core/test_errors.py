"""The exception tree: drawn as it is, and every error with a name of its own."""

from __future__ import annotations

import re

from ledger_core import errors
from ledger_core.errors import (
    BusyError,
    ConflictError,
    ForkError,
    IntegrityError,
    LedgerGridError,
    RefusedError,
)


def family(of: type[LedgerGridError] = LedgerGridError, depth: int = 0) -> list[tuple[int, str]]:
    """List the tree in the order it is written down, each with its depth."""
    children = [child for child in of.__subclasses__() if child.__module__ == errors.__name__]
    return [(depth, of.__name__), *(each for x in children for each in family(x, depth + 1))]


def test_the_docstring_draws_the_tree_that_is() -> None:
    drawn = [
        (len(found[1]) // 4, found[2])
        for line in (errors.__doc__ or "").splitlines()
        if (found := re.match(r" {4}([│├└─ ]*)(\w+Error)\b", line))
    ]
    assert drawn == family()


def test_every_error_has_a_code_and_a_title_of_its_own() -> None:
    everyone = [getattr(errors, name) for _, name in family()]
    assert len({each.code for each in everyone}) == len(everyone)
    assert len({each.title for each in everyone}) == len(everyone)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", each.code) for each in everyone)


def test_a_conflict_names_both_digests() -> None:
    error = ConflictError("taken", stored="sha256:a", received="sha256:b")
    assert (error.stored, error.received, str(error)) == ("sha256:a", "sha256:b", "taken")


def test_a_busy_pool_says_when_to_come_back() -> None:
    assert BusyError("full").retry_after_s >= 1
    assert BusyError("full", retry_after_s=7).retry_after_s == 7


def test_a_fork_is_a_contradiction_that_may_name_its_place() -> None:
    assert IntegrityError("?").index is None
    assert ForkError("two roots", index=41).index == 41


def test_what_is_malformed_is_not_what_is_refused() -> None:
    assert not issubclass(errors.MalformedError, RefusedError)
    assert issubclass(errors.TooLargeError, errors.MalformedError)
