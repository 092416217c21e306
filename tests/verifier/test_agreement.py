"""Check 16: the verifier counts for itself, whatever a dishonest operator wrote."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
import pytest

from ledger_core import clock, ids
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.vkey import format_vkey
from ledger_core.policy.proposals import Ruling
from ledger_core.records.rules import hash_policy
from ledger_core.records.types.outcome import Reason, Verdict
from tests.support.archives import BEGAN_MS, ORIGIN, Log, key
from tests.support.assemblies import MEMBERS, make_policy
from tests.verifier.audits import audit

POLICY = make_policy("note/1", author_counts=False)
AGENTS = {name: key(20 + n) for n, name in enumerate(MEMBERS)}
STEWARDS = {name: key(30 + n) for n, name in enumerate(MEMBERS)}


def name_of(private: PrivateKey) -> str:
    return ids.format_key(private.public_key)


class Shared(Log):
    """A log of three members in which notes wait for two; the operator may write anything."""

    @classmethod
    def of_three(cls, **charter: Any) -> Shared:
        log = cls()
        keys: list[dict[str, Any]] = [{"key": name_of(log.operator), "roles": ["operator"]}]
        for member in MEMBERS:
            keys.append({"key": name_of(STEWARDS[member]), "roles": ["steward"], "member": member})
            keys.append({"key": name_of(AGENTS[member]), "roles": ["agent"], "member": member})
        body = {
            "origin": ORIGIN,
            "kind": "private",
            "log_key": format_vkey(log.signer.public),
            "keys": keys,
            "members": [{"name": member} for member in MEMBERS],
            "policies": [msgspec.to_builtins(POLICY)],
        }
        log.append("charter/1", {**body, **charter}, log.operator)
        return log

    def propose(self, member: str = "acme") -> int:
        return self.note({"n": len(self.leaves)}, AGENTS[member])

    def endorse(self, proposal: int, member: str, decision: str = "approve") -> int:
        ends_at = BEGAN_MS + 1000 * (proposal // 3) + POLICY.ttl_s * 1000
        body = {
            "proposal": ids.format_digest(self.hashes[proposal]),
            "policy": ids.format_digest(hash_policy(POLICY)),
            "decision": decision,
            "ends_at": clock.format_time(ends_at),
        }
        return self.append("endorsement/1", body, AGENTS[member])

    def conclude(
        self, proposal: int, verdict: Verdict = "confirmed", reason: Reason = "quorum"
    ) -> int:
        ruling = Ruling(verdict, reason)
        body = {
            "proposal": ids.format_digest(self.hashes[proposal]),
            "policy": ids.format_digest(hash_policy(POLICY)),
            "verdict": ruling.verdict,
            "reason": ruling.reason,
        }
        return self.append("outcome/1", body, self.operator)

    def contradict(self, first: int, second: int) -> int:
        named = {"first": first, "second": second}
        digests = {name: ids.format_digest(self.hashes[at]) for name, at in named.items()}
        return self.append("equivocation/1", {"kind": "endorsement", **digests}, self.operator)


def confirmed() -> tuple[Shared, int]:
    log = Shared.of_three()
    proposal = log.propose()
    for member in ("birch", "cobalt"):
        log.endorse(proposal, member)
    log.conclude(proposal)
    return log, proposal


def failing(
    log: Shared, start: int = 0, end: int | None = None, carried: Collection[int] = ()
) -> list[tuple[int, int | None]]:
    """Return check and index of what fails; ``carried``: shown from before the range."""
    found = audit(log.archive(start, end, carried=carried)).findings.in_order()
    return [(each.check, each.index) for each in found if each.level == "fail"]


def test_a_confirmed_proposal_verifies_and_is_counted() -> None:
    log, _ = confirmed()
    log.propose()
    verdict = audit(log.archive())
    assert failing(log) == []
    assert (verdict.members, verdict.proposals) == (3, {"confirmed": 1, "open": 1})


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ("confirmed", "quorum"),
        ("rejected", "veto"),
        ("expired", "time"),
        ("withdrawn", "withdrawal"),
    ],
)
def test_an_outcome_without_its_reason_is_found(verdict: Verdict, reason: Reason) -> None:
    log = Shared.of_three()
    proposal = log.propose()
    log.endorse(proposal, "birch")
    forged = log.conclude(proposal, verdict, reason)
    assert failing(log) == [(16, forged)]


def test_an_outcome_that_is_held_back_is_found_where_it_should_stand() -> None:
    log = Shared.of_three()
    proposal = log.propose()
    log.endorse(proposal, "birch")
    last = log.endorse(proposal, "cobalt")
    log.propose()  # Takes the outcome's place.
    assert failing(log)[0] == (16, last + 1)


def test_an_outcome_held_back_at_the_end_is_found_but_not_behind_a_range() -> None:
    log, _ = confirmed()
    assert failing(log, 0, 4) == []
    held = Shared.of_three()
    proposal = held.propose()
    for member in ("birch", "cobalt"):
        held.endorse(proposal, member)
    assert failing(held) == []
    held.append("agent.action/1", {"action": "a", "status": "started"}, AGENTS["acme"])
    assert failing(held) == [(16, 4)]


def test_a_second_outcome_is_found() -> None:
    log, proposal = confirmed()
    again = log.conclude(proposal, "rejected", "out-of-reach")
    assert failing(log) == [(16, again)]


def test_one_member_that_speaks_twice_is_no_quorum() -> None:
    log = Shared.of_three()
    proposal = log.propose()
    for _ in range(2):
        log.endorse(proposal, "birch")
    assert failing(log) == []
    forged = log.conclude(proposal)
    assert failing(log) == [(16, forged)]


def test_a_late_endorsement_makes_no_quorum() -> None:
    log = Shared.of_three()
    proposal = log.propose()
    log.endorse(proposal, "birch")
    while len(log.leaves) < 3 * POLICY.ttl_s + 3:
        log.append("agent.action/1", {"action": "wait", "status": "started"}, AGENTS["acme"])
    late = log.endorse(proposal, "cobalt")
    forged = log.conclude(proposal)
    assert failing(log) == [(16, forged)]
    assert late == forged - 1


def test_evidence_that_is_held_back_or_invented_is_found() -> None:
    log = Shared.of_three()
    proposal = log.propose()
    first = log.endorse(proposal, "birch")
    second = log.endorse(proposal, "birch", "reject")
    held = second + 1
    log.propose()
    assert failing(log)[0] == (16, held)
    invented = Shared.of_three()
    proposal = invented.propose()
    first, second = (
        invented.endorse(proposal, "birch"),
        invented.endorse(proposal, "cobalt", "reject"),
    )
    evidence = invented.contradict(first, second)
    assert failing(invented) == [(16, evidence)]


def test_a_suspended_member_is_found_writing_though_it_stood_before_and_after() -> None:
    log = Shared.of_three()
    action = {"action": "a", "status": "started"}
    log.append("agent.action/1", action, AGENTS["cobalt"])
    log.append("member/1", {"action": "suspend", "member": "cobalt"}, log.operator)
    wrong = log.append("agent.action/1", action, AGENTS["cobalt"])
    log.append("member/1", {"action": "resume", "member": "cobalt"}, log.operator)
    log.append("agent.action/1", action, AGENTS["cobalt"])
    assert failing(log) == [(10, wrong)]


def test_a_change_that_waits_has_no_effect_before_its_outcome() -> None:
    policy = make_policy("note/1", "member/1", author_counts=False)
    log = Shared.of_three(policies=[msgspec.to_builtins(policy)])
    log.append("member/1", {"action": "remove", "member": "cobalt"}, log.operator)
    log.propose("cobalt")
    assert failing(log) == []


def test_a_range_that_begins_in_mid_vote_says_what_it_cannot_judge() -> None:
    log, proposal = confirmed()
    verdict = audit(log.archive(proposal + 1))
    assert not verdict.findings.has("fail")
    assert verdict.not_judged == 3


# --- parties (10) ------------------------------------------------------------------


def to(log: Shared, *parties: str) -> int:
    return log.note({"n": len(log.leaves)}, AGENTS["acme"], parties=tuple(sorted(parties)))


def test_a_record_that_names_nobodys_member_or_key_as_a_party_is_found() -> None:
    log = Shared.of_three()
    to(log, "acme", "cobalt", name_of(STEWARDS["birch"]))
    assert failing(log) == []
    for stranger in ("dune", name_of(key(99))):
        log = Shared.of_three()
        to(log, "acme")
        assert failing(log)[:1] == []
        wrong = to(log, "acme", stranger)
        to(log, stranger)
        assert failing(log) == [(10, wrong)]


def test_parties_are_judged_by_what_stood_at_that_index() -> None:
    log = Shared.of_three()
    early = to(log, name_of(key(50)))
    log.register(key(50))
    to(log, name_of(key(50)), "cobalt")
    log.append("member/1", {"action": "suspend", "member": "cobalt"}, log.operator)
    to(log, "cobalt")
    log.append("member/1", {"action": "remove", "member": "cobalt"}, log.operator)
    log.revoke(key(50))
    assert failing(log) == [(10, early)]
    late = Shared.of_three()
    to(late, "cobalt")
    late.append("member/1", {"action": "remove", "member": "cobalt"}, late.operator)
    first_late = to(late, "cobalt")
    to(late, "cobalt")
    assert failing(late) == [(10, first_late)]
    assert failing(late, first_late) == [(10, first_late)]


def test_parties_of_entries_shown_for_context_are_judged_too() -> None:
    log = Shared.of_three()
    body = {"action": "grant", "member": "acme", "role": "auditor"}
    wrong = log.append("member/1", body, log.operator, parties=("dune",))
    start = to(log, "acme")
    assert failing(log, start) == [(10, wrong)]
