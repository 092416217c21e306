"""Proposing, endorsing and waiting, against our own service over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.settings import Settings
from ledger_core.errors import MalformedError, StandingError
from ledger_core.formats.record import parse_record
from ledgergrid import AsyncLedger, Ledger, Proposal, Receipt, Signer, StillOpenError
from ledgergrid.describing import describe
from ledgergrid.founding import make_policy, out_of
from tests.api.live import Live, running
from tests.sdk.parties import TWO, Parties

DECISION = {"decision": "route", "chosen": "north"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(Settings(data=tmp_path_factory.mktemp("service"))) as live:
        yield live


Found = Callable[..., Parties]


@pytest.fixture
def found(live: Live, tmp_path: Path) -> Iterator[Found]:
    """Found consortia, each under a name of its own."""
    made: list[Parties] = []

    def found_one(*policies: Any, **more: Any) -> Parties:
        name = f"shared-{len(live.service.ledgers.names())}"
        made.append(Parties(live, tmp_path / name, *policies, name=name, **more))
        return made[-1]

    yield found_one
    for parties in made:
        parties.close()


def propose(parties: Parties, member: str = "acme", **more: Any) -> Receipt:
    return parties.agent(member).propose("agent.decision/1", DECISION | more)


def test_a_decision_is_confirmed_by_a_second_organisation(found: Found) -> None:
    parties = found()
    proposal = propose(parties)
    birch = parties.agent("birch")
    assert [each.leaf_hash for each in birch.pending("birch")] == [proposal.leaf_hash]
    endorsement = birch.endorse(proposal.leaf_hash)
    assert parse_record(endorsement.record).refs[0].rel == "endorses"
    outcome = parties.agent("acme").wait_for_outcome(proposal)
    assert (outcome.verdict, outcome.reason, outcome.is_confirmed) == ("confirmed", "quorum", True)
    assert outcome.entry.index == endorsement.index + 1
    assert birch.pending("birch") == []
    assert [each.leaf_hash for each in birch.proposals("confirmed")] == [proposal.leaf_hash]


def test_what_is_endorsed_is_read_first_and_signed_as_it_was_read(found: Found) -> None:
    parties = found()
    receipt = propose(parties, chosen="south")
    birch = parties.agent("birch")
    proposal = birch.proposal(receipt.leaf_hash)
    assert proposal.entry.payload["body"].chosen == "south"
    assert proposal.entry.record.author == parties.agents["acme"].key
    [policy] = proposal.policies.values()
    assert policy.rule == TWO
    said = proposal.endorsement("approve")
    signed = birch.endorse(proposal)
    told = parties.core.entry(signed.index).parts["body"].data
    assert told == msgspec.json.encode(said)


def test_a_proposal_that_two_reject_is_rejected(found: Found) -> None:
    parties = found(
        make_policy("member/1", "policy/1", rule=TWO),
        make_policy("agent.decision/1", rule=TWO, author_counts=False),
    )
    proposal = propose(parties)
    parties.agent("birch").reject(proposal)
    outcome = parties.agent("acme").wait_for_outcome(proposal)
    assert (outcome.verdict, outcome.reason) == ("rejected", "out-of-reach")


def test_a_proposal_is_withdrawn_by_its_author(found: Found) -> None:
    parties = found()
    proposal = propose(parties)
    with pytest.raises(StandingError, match="withdrawn by"):
        parties.agent("birch").withdraw(proposal)
    parties.agent("acme").withdraw(proposal)
    assert parties.agent("cobalt").wait_for_outcome(proposal).verdict == "withdrawn"


def test_a_proposal_that_nobody_speaks_to_expires(found: Found) -> None:
    parties = found(
        make_policy("member/1", "policy/1", rule=TWO),
        make_policy("agent.decision/1", rule=TWO, ttl_s=1),
    )
    proposal = propose(parties)
    outcome = parties.agent("acme").wait_for_outcome(proposal, timeout_s=20)
    assert (outcome.verdict, outcome.reason) == ("expired", "time")


def test_waiting_ends_with_the_time_that_is_left(found: Found) -> None:
    parties = found()
    proposal = propose(parties)
    with pytest.raises(StillOpenError, match="ends at"):
        parties.agent("acme").wait_for_outcome(proposal, timeout_s=0.2)


def test_what_no_policy_governs_is_not_proposed_but_appended(found: Found) -> None:
    parties = found()
    size = parties.core.size()
    with pytest.raises(StandingError, match="take effect at once"):
        parties.agent("acme").propose("note/1", 1)
    assert parties.core.size() == size
    assert parties.agent("acme").append("note/1", 1).index == size


def test_a_bundle_is_endorsed_as_a_whole(found: Found) -> None:
    parties = found(
        make_policy("member/1", "policy/1", rule=TWO),
        make_policy("agent.decision/1", rule=TWO, ttl_s=600),
        make_policy("note/1", rule=out_of(3, "acme", "birch", "cobalt"), ttl_s=300),
    )
    acme, birch = parties.agent("acme"), parties.agent("birch")
    parts = [acme.propose("agent.decision/1", DECISION), acme.propose("note/1", {"n": 1})]
    bundle = acme.bundle(parts)
    proposal = birch.proposal(bundle)
    assert [each.leaf_hash for each in proposal.parts] == [each.leaf_hash for each in parts]
    assert len(proposal.policies) == 2
    assert proposal.ends_at == proposal.parts[1].ends_at
    with pytest.raises(MalformedError, match=f"endorse {bundle.leaf_hash}"):
        birch.endorse(parts[0])
    birch.endorse(proposal)
    parties.agent("cobalt").endorse(bundle)
    for part in (*parts, bundle):
        outcome = acme.wait_for_outcome(part)
        assert (outcome.verdict, outcome.proposal) == ("confirmed", bundle.leaf_hash)


def test_a_proposal_of_another_ledger_is_never_endorsed(found: Found) -> None:
    one, other = found(), found()
    proposal = one.agent("birch").proposal(propose(one))
    with pytest.raises(MalformedError, match="read from"):
        other.agent("birch").endorse(proposal)


def test_a_policy_is_changed_under_the_one_in_force(found: Found) -> None:
    parties = found()
    new = make_policy("agent.decision/1", rule=out_of(1, "cobalt"), author_counts=False)
    change = {"action": "set", "policy": msgspec.to_builtins(new)}
    proposal = parties.steward("acme").propose("policy/1", change)
    verified = parties.steward("birch").proposal(proposal)
    [policy] = verified.policies.values()
    assert policy.rule == TWO
    parties.steward("birch").endorse(verified)
    assert parties.agent("acme").wait_for_outcome(proposal).is_confirmed
    told = {name: each.policy for each in parties.agent("acme").policies() for name in each.governs}
    assert told["agent.decision/1"] == new


def test_a_steward_registers_and_revokes_its_own_members_keys(found: Found) -> None:
    parties = found()
    newcomer = Signer.make()
    steward = parties.steward("acme")
    held = newcomer.hold(steward.origin(), "agent")
    with pytest.raises(StandingError, match="not this author's"):
        parties.steward("birch").register_key(held, member="acme")
    steward.register_key(held, member="acme")
    parties.open(newcomer).append("note/1", 1)
    revoked = steward.revoke_key(newcomer.key, "compromised", suspect_since=3)
    [acme] = [each for each in steward.members().members if each.name == "acme"]
    [key] = [each for each in acme.keys if each.key == newcomer.key]
    assert (key.revoked, key.suspect_since) == (revoked.index, 3)
    with pytest.raises(StandingError, match="revoked by entry"):
        parties.open(newcomer).append("note/1", 2)


def test_a_rotated_key_hands_over_and_the_client_goes_on_with_the_new_one(found: Found) -> None:
    parties = found()
    acme, successor = parties.agent("acme"), Signer.make()
    acme.append("note/1", 1, stream="run")
    receipt = acme.rotate_key(successor)
    after = parse_record(acme.append("note/1", 2, stream="run").record)
    assert (after.author, after.n) == (successor.key, 1)
    with pytest.raises(StandingError, match=f"revoked by entry {receipt.index}"):
        parties.agent("acme").append("note/1", 3)


def test_asyncio_does_all_of_it_awaited(found: Found) -> None:
    parties = found()

    async def tell() -> str:
        acme: AsyncLedger = parties.open(parties.agents["acme"], AsyncLedger)
        birch: AsyncLedger = parties.open(parties.agents["birch"], AsyncLedger)
        async with acme, birch:
            proposal = await acme.propose("agent.decision/1", DECISION)
            waiting = asyncio.create_task(acme.wait_for_outcome(proposal))
            [pending] = await birch.pending("birch")
            assert len(await birch.proposals()) == len((await birch.members()).members) - 2
            verified = await birch.proposal(pending.leaf_hash)
            await birch.endorse(verified)
            first = (await waiting).verdict
            more = [await acme.propose("agent.decision/1", DECISION) for _ in range(2)]
            bundle = await acme.bundle(more)
            await birch.reject(bundle)
            await acme.withdraw(bundle)
            await acme.rotate_key(Signer.make())
            assert len(await acme.policies()) == 2
            return f"{first} {(await acme.wait_for_outcome(more[0])).verdict}"

    assert asyncio.run(tell()) == "confirmed withdrawn"


def test_a_proposal_says_all_that_its_endorsement_signs(found: Found) -> None:
    parties = found()
    receipt = propose(parties, reason="a \u202e trick\x1b[2J")
    proposal: Proposal = parties.agent("birch").proposal(receipt)
    text = describe(proposal, "approve", parties.agents["birch"].key)
    for part in (
        receipt.leaf_hash,
        proposal.policy_hash,
        proposal.ends_at,
        "2 of (acme, birch, cobalt)",
        '"chosen": "north"',
        "You APPROVE it",
    ):
        assert part in text
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_a_client_is_one_class_with_both_halves() -> None:
    names = {name for name in dir(Ledger) if not name.startswith("_")}
    assert names == {name for name in dir(AsyncLedger) if not name.startswith("_")}
