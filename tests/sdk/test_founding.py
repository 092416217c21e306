"""What founders write is what a ledger takes."""

from __future__ import annotations

import doctest

import msgspec
import pytest

from ledger_core.errors import LedgerGridError, MalformedError
from ledger_core.records.types.charter import Founding, FoundingKey, FoundingMember
from ledgergrid import Signer, founding
from ledgergrid.describing import describe_rule
from ledgergrid.founding import (
    format_founding,
    holders,
    make_founding,
    make_policy,
    out_of,
)

ORIGIN = "ledgergrid.example/shared"


def test_an_offered_key_and_a_named_one_make_the_same_founding_key() -> None:
    signer = Signer.make()
    offered = make_founding({"acme": [signer.hold(ORIGIN, "steward", "agent")]}, [])
    named = make_founding({"acme": [(signer.key, ["steward", "agent"])]}, [])
    assert offered == named
    assert offered.keys == (FoundingKey(signer.key, ("steward", "agent"), "acme"),)


def test_the_file_that_founders_read_says_all_of_it() -> None:
    policy = make_policy("note/1", rule=out_of(2, "acme", holders("auditor")))
    made = make_founding(
        {"acme": [], "birch": []}, [policy], roles={"birch": ["auditor"]}, parties=["birch", "acme"]
    )
    assert made.members == (FoundingMember("acme"), FoundingMember("birch", ("auditor",)))
    assert made.parties == ("acme", "birch")
    assert msgspec.json.decode(format_founding(made), type=Founding) == made


def test_a_rule_is_said_in_words() -> None:
    rule = out_of(2, "acme", out_of(1, "birch", "cobalt"), holders("auditor", 2))
    assert describe_rule(rule) == "2 of (acme, 1 of (birch, cobalt), 2 of role auditor)"


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_policy(rule=out_of(1, "acme")),
        lambda: make_policy("note/1", "note/1", rule=out_of(1, "acme")),
        lambda: make_policy("note/1", rule=out_of(3, "acme", "birch")),
        lambda: make_policy("notes", rule=out_of(1, "acme")),
    ],
    ids=["no type", "a type twice", "more than there are", "no type's name"],
)
def test_a_policy_that_no_ledger_takes_is_refused_here(make: object) -> None:
    assert callable(make)
    with pytest.raises(LedgerGridError):
        make()


def test_a_role_that_no_key_has_is_refused_by_name() -> None:
    with pytest.raises(MalformedError, match="acme"):
        make_founding({"acme": [("ed25519:x", ["king"])]}, [])


def test_the_example_in_the_module_runs() -> None:
    assert doctest.testmod(founding).failed == 0
