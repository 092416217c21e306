"""Consensus on real databases: what the assembly says is what is appended, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger_core import ids
from ledger_core.errors import IntegrityError, LedgerGridError, StandingError
from ledger_core.records.possession import prove_possession
from ledger_core.records.types.bundle import Bundle
from ledger_core.records.types.key import Register, Revoke
from ledger_core.records.types.key_rotation import KeyRotation
from ledger_core.records.types.member import Remove
from ledger_core.records.types.withdrawal import Withdrawal
from tests.support.consortium import Consortium, endorse
from tests.support.invariants import check_everything
from tests.support.ledgers import Author, Service, appended, refused


def test_two_of_three_confirm_and_the_outcome_is_the_very_next_entry(service: Service) -> None:
    shared = Consortium(service.open().ledgers)
    proposed = shared.decide()
    assert shared.verdict(proposed.leaf_hash) is None
    endorsed = shared.endorse(proposed.leaf_hash, "birch")
    found = shared.ledger.proposal(proposed.leaf_hash)
    assert (found.verdict, found.outcome) == ("confirmed", endorsed.index + 1)
    assert shared.types()[-3:] == ["agent.decision/1", "endorsement/1", "outcome/1"]


def test_proposal_and_endorsements_in_one_batch_are_decided_in_their_order(
    service: Service,
) -> None:
    shared = Consortium(service.open().ledgers)
    proposed = shared.decide()
    votes = [
        shared.endorsement(proposed.leaf_hash, "birch", "reject"),
        shared.endorsement(proposed.leaf_hash, "cobalt", "reject"),
        shared.endorsement(proposed.leaf_hash, "birch"),
    ]
    outcomes = [appended(each) for each in shared.ledger.append(votes)]
    assert shared.verdict(proposed.leaf_hash) == "rejected"
    assert shared.types()[-5:] == [
        "endorsement/1", "endorsement/1", "outcome/1", "endorsement/1", "equivocation/1",
    ]  # fmt: skip
    assert [each.index for each in outcomes] == [2, 3, 5]


def test_a_restarted_service_knows_what_is_open_and_who_may_speak(service: Service) -> None:
    shared = Consortium(service.open().ledgers)
    proposed = shared.decide()
    shared.endorse(proposed.leaf_hash, "birch", "reject")
    before = shared.ledger.constitution(), shared.ledger.proposal(proposed.leaf_hash)
    shared.ledger = service.reopen().ledgers.get("shared")
    assert (shared.ledger.constitution(), shared.ledger.proposal(proposed.leaf_hash)) == before
    shared.endorse(proposed.leaf_hash, "cobalt")
    assert shared.verdict(proposed.leaf_hash) == "confirmed"


def test_endorsements_that_race_over_replicas_leave_one_outcome(service: Service) -> None:
    replicas = [service.open() for _ in range(2)]
    shared = Consortium(replicas[0].ledgers)
    ledgers = [replica.ledgers.get("shared") for replica in replicas]
    for _ in range(5):
        found = shared.ledger.proposal(shared.decide().leaf_hash)
        sealed = [
            endorse(found, shared.agents["birch"]),
            endorse(found, shared.agents["cobalt"], "reject"),
        ]
        with ThreadPoolExecutor(2) as threads:
            done = list(
                threads.map(
                    lambda each: each[0].append([each[1]])[0], zip(ledgers, sealed, strict=True)
                )
            )
        assert all(not isinstance(each, LedgerGridError) for each in done)
    assert shared.types().count("outcome/1") == 5


def test_a_proposal_nobody_ends_is_ended_by_the_clerk(service: Service) -> None:
    replica = service.open()
    shared = Consortium(replica.ledgers)
    proposed = shared.decide()
    service.clock.now_ms += 60_000
    assert replica.ledgers.clerk.tidy() is None
    assert shared.verdict(proposed.leaf_hash) == "expired"
    assert replica.ledgers.clerk.tidy() is None
    assert shared.types().count("outcome/1") == 1


def test_an_outcome_comes_from_the_log_alone(service: Service) -> None:
    shared = Consortium(service.open().ledgers)
    proposed = shared.decide()
    with pytest.raises(StandingError, match="not how the proposal ends"):
        shared.ledger.expire(proposed.leaf_hash)


def test_a_member_removed_by_quorum_writes_no_more_and_its_entries_stay(service: Service) -> None:
    shared = Consortium(service.open().ledgers)
    shared.decide("cobalt")
    removal = shared.append(shared.stewards["acme"], "member/1", Remove("cobalt"))
    sealed = endorse(shared.ledger.proposal(removal.leaf_hash), shared.agents["birch"])
    appended(shared.ledger.append([sealed])[0])
    late = shared.agents["cobalt"].note("late")
    assert isinstance(refused(shared.ledger.append([late])[0]), StandingError)
    assert shared.types().count("agent.decision/1") == 1


def test_a_steward_registers_its_members_keys_and_the_operator_does_not(service: Service) -> None:
    shared = Consortium(service.open().ledgers)
    new = Author(shared.ledger.origin)
    proof = prove_possession(shared.ledger.origin, new.key)
    body = Register(new.name, ("agent",), proof, "birch")
    with pytest.raises(StandingError):
        shared.append(shared.stewards["acme"], "key/1", body)
    shared.append(shared.stewards["birch"], "key/1", body)
    appended(shared.ledger.append([new.note("hello")])[0])
    shared.append(shared.stewards["birch"], "key/1", Revoke(new.name, "compromised", 2))
    refused(shared.ledger.append([new.note("bye")])[0])


def test_a_key_hands_over_to_its_successor_and_both_sign(service: Service) -> None:
    shared = Consortium(service.open().ledgers)
    old, new = shared.agents["acme"], Author(shared.ledger.origin)
    forged = KeyRotation(new.name, prove_possession("elsewhere", new.key))
    with pytest.raises(LedgerGridError):
        shared.append(old, "key.rotation/1", forged)
    shared.append(
        old,
        "key.rotation/1",
        KeyRotation(new.name, prove_possession(shared.ledger.origin, new.key)),
    )
    refused(shared.ledger.append([old.note("old")])[0])
    shared.agents["acme"] = new
    proposed = shared.decide()
    assert shared.ledger.proposal(proposed.leaf_hash).member == "acme"


def test_a_bundle_is_confirmed_together(service: Service) -> None:
    shared = Consortium(service.open().ledgers)
    parts = [shared.decide().leaf_hash for _ in range(3)]
    bundle = shared.append(
        shared.agents["acme"], "bundle/1", Bundle(tuple(map(ids.format_digest, parts)))
    )
    shared.ledger = service.reopen().ledgers.get("shared")
    shared.endorse(bundle.leaf_hash, "birch")
    assert {shared.verdict(each) for each in (*parts, bundle.leaf_hash)} == {"confirmed"}
    assert shared.types().count("outcome/1") == 1


def test_a_repeated_endorsement_gets_the_same_receipt_and_counts_once(service: Service) -> None:
    shared = Consortium(service.open().ledgers)
    proposed = shared.decide()
    sealed = shared.endorsement(proposed.leaf_hash, "birch")
    first, again = (appended(shared.ledger.append([sealed])[0]) for _ in range(2))
    assert (first.receipt, first.index) == (again.receipt, again.index)
    assert len(shared.ledger.proposal(proposed.leaf_hash).voices) == 2


def test_an_endorsement_of_another_ledgers_proposal_is_refused(service: Service) -> None:
    ledgers = service.open().ledgers
    one, two = Consortium(ledgers, name="one"), Consortium(ledgers, name="two")
    sealed = endorse(one.ledger.proposal(one.decide().leaf_hash), two.agents["birch"])
    refused(two.ledger.append([sealed])[0])
    stranger = endorse(one.ledger.proposal(one.decide().leaf_hash), one.agents["birch"])
    refused(two.ledger.append([stranger])[0])


def test_after_a_whole_story_everything_is_as_the_entries_say(
    service: Service, tmp_path: Path
) -> None:
    replica = service.open()
    shared = Consortium(replica.ledgers)
    first, second, third = (shared.decide().leaf_hash for _ in range(3))
    shared.endorse(first, "birch")
    shared.endorse(second, "birch", "reject")
    shared.endorse(second, "cobalt", "reject")
    shared.append(shared.agents["acme"], "withdrawal/1", Withdrawal(ids.format_digest(third)))
    shared.decide()
    service.clock.now_ms += 60_000
    replica.ledgers.clerk.tidy()
    removal = shared.append(shared.stewards["acme"], "member/1", Remove("cobalt"))
    shared.endorse(removal.leaf_hash, "birch")
    counts = shared.ledger.count_proposals()
    assert counts == {"confirmed": 2, "rejected": 1, "withdrawn": 1, "expired": 1}
    check_everything(replica, shared.ledger, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE proposals SET verdict = 'confirmed'",
        "UPDATE proposals SET verdict = 'confirmed', outcome = 0",
        "UPDATE proposals SET verdict = 'confirmed', outcome = 1",
        "UPDATE proposals SET verdict = 'confirmed', outcome = 999",
    ],
)
def test_a_status_set_to_confirmed_by_hand_is_not_shown(service: Service, change: str) -> None:
    replica = service.open()
    shared = Consortium(replica.ledgers)
    proposed = shared.decide()
    with replica.database.write() as tx:
        tx.execute(text(change))
    with pytest.raises(IntegrityError):
        shared.verdict(proposed.leaf_hash)
