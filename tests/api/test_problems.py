"""Every error has its place in the one table, and none shows its insides."""

from __future__ import annotations

import msgspec
import pytest

from api import problems
from ledger_core import errors
from ledger_core.errors import LedgerGridError


def tree(kind: type[LedgerGridError]) -> set[type[LedgerGridError]]:
    mine = {kind} if kind.__module__ == errors.__name__ else set()
    return mine.union(*(tree(below) for below in kind.__subclasses__()))


def test_every_error_of_the_core_has_a_rule_of_its_own() -> None:
    assert set(problems.RULES) == tree(LedgerGridError)


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in problems.RULES]
    codes += [problems.METHOD_NOT_ALLOWED[0], problems.INTERNAL[0]]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", list(problems.RULES))
def test_a_problem_has_the_members_of_rfc_9457(kind: type[LedgerGridError]) -> None:
    error = kind.__new__(kind, "the insides")
    error.args = ("the insides",)
    vars(error).update(stored="a", received="b", head="c", index=3, retry_after_s=1)
    vars(error).update(label="session s", used=5, limit=4)
    problem = problems.problem_of(error)
    members = msgspec.json.decode(problem.body())
    assert {"type", "title", "status", "detail", "code"} <= set(members)
    assert members["status"] == problem.status == problems.rule_of(kind).status
    hides = problem.status == 500 or issubclass(kind, errors.StorageError)
    assert ("the insides" in members["detail"]) is not hides


def test_what_one_does_next_stands_in_the_headers() -> None:
    busy = problems.problem_of(errors.BusyError("full", retry_after_s=7))
    assert busy.headers == {"Retry-After": "7"}
    for kind in (errors.AllowanceError, errors.RateError):
        for after_s, headers in ((60, {"Retry-After": "60"}), (None, {})):
            spent = kind("no", label="all calls", used=5, limit=4, retry_after_s=after_s)
            assert problems.problem_of(spent).headers == headers
    assert problems.problem_of(errors.AccessError("no")).headers == {"WWW-Authenticate": "Bearer"}
    assert problems.problem_of(errors.TooLargeError("no")).headers == {"Connection": "close"}


def test_an_error_made_elsewhere_gets_the_rule_of_its_nearest_kin() -> None:
    class OddRefusalError(errors.SignatureError):
        code = "odd"

    assert problems.problem_of(OddRefusalError("no")).status == 422
