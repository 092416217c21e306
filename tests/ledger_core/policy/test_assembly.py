"""The assembly: proposals end as those concerned agree, once, and nobody's word decides it."""

from __future__ import annotations

from typing import Any

import pytest

from ledger_core import ids
from ledger_core.errors import StandingError
from ledger_core.policy.assembly import replay
from ledger_core.policy.constitution import Capture, Constitution
from ledger_core.policy.proposals import awaits
from ledger_core.records.rules import AudienceSetting, KeyRule, MemberRule, OutOfRule, RoleRule
from ledger_core.records.types.agent_action import AGENT_ACTION_1
from ledger_core.records.types.audience import AUDIENCE_1, AudienceChange
from ledger_core.records.types.bundle import BUNDLE_1, Bundle
from ledger_core.records.types.capture_limits import CAPTURE_LIMITS_1, CaptureLimits
from ledger_core.records.types.capture_stop import CAPTURE_STOP_1, CaptureStop
from ledger_core.records.types.endorsement import ENDORSEMENT_1
from ledger_core.records.types.equivocation import EQUIVOCATION_1, Equivocation
from ledger_core.records.types.key import KEY_1, Register, Revoke
from ledger_core.records.types.member import MEMBER_1, Grant, Remove, Suspend, Withdraw
from ledger_core.records.types.note import NOTE_1
from ledger_core.records.types.outcome import OUTCOME_1, Outcome
from ledger_core.records.types.policy import POLICY_1, LiftPolicy, SetPolicy
from ledger_core.records.types.withdrawal import WITHDRAWAL_1, Withdrawal
from tests.support.assemblies import (
    MEMBERS,
    OPERATOR,
    Log,
    agent,
    founding,
    make_policy,
    steward,
    two_of_three,
)


def log_of(**policy: Any) -> Log:
    return Log(founding(make_policy("note/1", **policy)))


# --- confirmed, rejected, withdrawn, expired ---------------------------------------


def test_a_record_without_a_policy_takes_effect_at_once() -> None:
    log = Log(founding())
    note = log.propose()
    assert note not in log.assembly.proposals
    assert log.types() == ["charter/1", "note/1"]


def test_a_second_member_confirms_what_the_first_proposed() -> None:
    log = log_of()
    note = log.propose()
    assert log.verdict(note) is None
    log.endorse(note, agent("birch"))
    assert log.verdict(note) == "confirmed"
    assert log.types() == ["charter/1", "note/1", "endorsement/1", "outcome/1"]


def test_an_author_that_does_not_count_needs_two_others() -> None:
    log = log_of(author_counts=False)
    note = log.propose()
    log.endorse(note, agent("acme", 2))
    log.endorse(note, agent("birch"))
    assert log.verdict(note) is None
    log.endorse(note, agent("cobalt"))
    assert log.verdict(note) == "confirmed"


def test_two_keys_of_one_member_count_once() -> None:
    log = log_of(author_counts=False)
    note = log.propose()
    log.endorse(note, agent("birch", 1))
    log.endorse(note, agent("birch", 2))
    assert log.verdict(note) is None


def test_two_named_keys_of_one_member_count_once_where_members_count() -> None:
    rule = OutOfRule(2, (KeyRule(agent("birch", 1)), KeyRule(agent("birch", 2))))
    log = log_of(rule=rule, author_counts=False)
    note = log.propose()
    log.endorse(note, agent("birch", 1))
    log.endorse(note, agent("birch", 2))
    assert log.verdict(note) is None


def test_two_keys_of_one_member_count_twice_where_keys_count() -> None:
    rule = OutOfRule(2, (KeyRule(agent("birch", 1)), KeyRule(agent("birch", 2))))
    log = log_of(rule=rule, count_by="key")
    note = log.propose()
    log.endorse(note, agent("birch", 1))
    assert log.verdict(note) is None
    log.endorse(note, agent("birch", 2))
    assert log.verdict(note) == "confirmed"


def test_a_proposal_is_rejected_when_its_quorum_is_out_of_reach() -> None:
    log = log_of()
    note = log.propose()
    log.endorse(note, agent("birch"), "reject")
    assert log.verdict(note) is None
    log.endorse(note, agent("cobalt"), "reject")
    assert log.verdict(note) == "rejected"
    assert log.acts[-1].payload["body"].reason == "out-of-reach"


def test_a_veto_rejects_at_once() -> None:
    log = log_of(veto=MemberRule("birch"))
    note = log.propose()
    log.endorse(note, agent("birch"), "reject")
    assert (log.verdict(note), log.acts[-1].payload["body"].reason) == ("rejected", "veto")


def test_an_author_takes_its_proposal_back_and_nobody_else_does() -> None:
    log = log_of()
    note = log.propose()
    body = Withdrawal(ids.format_digest(note))
    with pytest.raises(StandingError, match="withdrawn by: author"):
        log.append(WITHDRAWAL_1, agent("acme", 2), body)
    log.append(WITHDRAWAL_1, agent("acme"), body)
    assert log.verdict(note) == "withdrawn"


def test_a_colleague_withdraws_where_the_policy_lets_the_member() -> None:
    log = log_of(withdrawn_by="member")
    note = log.propose()
    with pytest.raises(StandingError):
        log.append(WITHDRAWAL_1, agent("birch"), Withdrawal(ids.format_digest(note)))
    log.append(WITHDRAWAL_1, agent("acme", 2), Withdrawal(ids.format_digest(note)))
    assert log.verdict(note) == "withdrawn"


@pytest.mark.parametrize(("early_ms", "verdict"), [(1, "confirmed"), (0, "expired")])
def test_endorsement_at_the_moment_of_expiry_is_late(early_ms: int, verdict: str) -> None:
    log = log_of(ttl_s=60)
    note = log.propose()
    log.now_ms += 60_000 - early_ms
    log.endorse(note, agent("birch"))
    assert log.verdict(note) == verdict


def test_a_late_endorsement_is_kept_and_changes_nothing() -> None:
    log = log_of()
    note = log.propose()
    log.endorse(note, agent("birch"))
    ended = log.proposal(note)
    log.endorse(note, agent("cobalt"))
    assert log.proposal(note) == ended
    assert log.types()[-1] == "endorsement/1"


def test_an_expired_proposal_gets_its_outcome_from_the_service_and_only_once() -> None:
    log = log_of(ttl_s=60)
    note = log.propose()
    policy = ids.format_digest(log.proposal(note).policy_hash)
    outcome = Outcome(ids.format_digest(note), policy, "expired", "time")
    with pytest.raises(StandingError, match="not how the proposal ends"):
        log.append(OUTCOME_1, OPERATOR, outcome)
    log.now_ms += 60_000
    log.append(OUTCOME_1, OPERATOR, outcome)
    with pytest.raises(StandingError, match="has its outcome"):
        log.append(OUTCOME_1, OPERATOR, outcome)


@pytest.mark.parametrize("verdict", ["confirmed", "rejected", "withdrawn", "expired"])
def test_no_outcome_is_anyones_to_declare(verdict: Any) -> None:
    log = log_of()
    note = log.propose()
    policy = ids.format_digest(log.proposal(note).policy_hash)
    for reason in ("quorum", "veto", "out-of-reach", "withdrawal", "time"):
        with pytest.raises(StandingError, match="not how"):
            log.append(
                OUTCOME_1, OPERATOR, Outcome(ids.format_digest(note), policy, verdict, reason)
            )


# --- what an endorsement signs -------------------------------------------------------


def test_an_endorsement_counts_for_its_own_proposal_policy_and_end_only() -> None:
    log = log_of()
    note, other = log.propose(), log.propose()
    wrong_policy = log.endorsement(note, policy=ids.format_digest(bytes(32)))
    wrong_end = log.endorsement(note, ends_at="2030-01-01T00:00:00.000Z")
    for body, match in ((wrong_policy, "another policy"), (wrong_end, "ends at")):
        with pytest.raises(StandingError, match=match):
            log.append_endorsement(body, agent("birch"))
    log.endorse(note, agent("birch"))
    assert (log.verdict(note), log.verdict(other)) == ("confirmed", None)


def test_approve_and_reject_by_one_member_is_evidence_and_the_first_word_counts() -> None:
    log = log_of(rule=OutOfRule(3, two_of_three().of))  # type: ignore[union-attr]
    note = log.propose()
    first = log.endorse(note, agent("birch", 1))
    second = log.endorse(note, agent("birch", 2), "reject")
    expected = Equivocation("endorsement", ids.format_digest(first), ids.format_digest(second))
    assert log.acts[-1].kind is EQUIVOCATION_1
    assert log.acts[-1].payload["body"] == expected
    log.endorse(note, agent("cobalt"))
    assert log.verdict(note) == "confirmed"


def test_evidence_is_not_anyones_to_invent() -> None:
    log = log_of()
    note, other = log.propose(), log.propose()
    body = Equivocation("endorsement", ids.format_digest(note), ids.format_digest(other))
    with pytest.raises(StandingError, match="no such evidence"):
        log.append(EQUIVOCATION_1, OPERATOR, body)


# --- standing in mid-vote ------------------------------------------------------------


def test_membership_changed_in_mid_vote_leaves_what_was_said_and_silences_what_comes() -> None:
    log = log_of(rule=OutOfRule(3, two_of_three().of))  # type: ignore[union-attr]
    note = log.propose()
    log.endorse(note, agent("birch"))
    log.append(MEMBER_1, OPERATOR, Remove("birch"))
    log.append(MEMBER_1, OPERATOR, Suspend("cobalt"))
    with pytest.raises(StandingError, match="suspended by entry"):
        log.endorse(note, agent("cobalt"))
    assert {voice.member for voice in log.proposal(note).voices} == {"acme", "birch"}


def test_a_key_registered_after_the_proposal_has_no_voice_in_it() -> None:
    log = log_of(author_counts=False, rule=MemberRule("birch"))
    note = log.propose()
    log.append(KEY_1, steward("birch"), Register("ed25519:new", ("agent",), "…", "birch"))
    log.endorse(note, "ed25519:new")
    assert log.verdict(note) is None
    log.endorse(note, agent("birch"))
    assert log.verdict(note) == "confirmed"


def test_a_role_granted_in_mid_vote_does_not_count_in_it() -> None:
    log = log_of(rule=RoleRule("auditor"))
    note = log.propose()
    log.append(MEMBER_1, OPERATOR, Grant("birch", "auditor"))
    log.endorse(note, agent("birch"))
    assert log.verdict(note) is None
    later = log.propose()
    log.endorse(later, agent("birch"))
    assert log.verdict(later) == "confirmed"


def test_a_revoked_keys_earlier_voice_still_counts() -> None:
    log = log_of(rule=OutOfRule(3, two_of_three().of))  # type: ignore[union-attr]
    note = log.propose()
    log.endorse(note, agent("birch"))
    log.append(KEY_1, OPERATOR, Revoke(agent("birch"), "compromised", 1))
    log.endorse(note, agent("cobalt"))
    assert log.verdict(note) == "confirmed"


# --- policies ------------------------------------------------------------------------


def test_a_policy_is_changed_under_the_one_in_force_never_under_the_new_one() -> None:
    log = log_of()
    weak = make_policy("note/1", rule=MemberRule("acme"))
    change = log.append(POLICY_1, OPERATOR, SetPolicy(weak))
    log.endorse(change, agent("acme"))
    assert log.verdict(change) is None
    log.endorse(change, agent("birch"))
    assert log.verdict(change) == "confirmed"
    assert log.constitution.policy_for("note/1") == weak


def test_a_proposal_is_counted_under_the_policy_it_was_made_under() -> None:
    log = log_of()
    note = log.propose()
    change = log.append(POLICY_1, OPERATOR, LiftPolicy(("note/1",)))
    for name in ("acme", "birch"):
        log.endorse(change, agent(name))
    assert log.constitution.policy_for("note/1") is None
    assert log.verdict(note) is None
    log.endorse(note, agent("cobalt"))
    assert log.verdict(note) == "confirmed"


def test_a_policy_is_not_changed_under_one_that_is_no_longer_in_force() -> None:
    log = log_of()
    weak = make_policy("note/1", rule=MemberRule("acme"))
    strict = make_policy("note/1", rule=OutOfRule(3, two_of_three().of))  # type: ignore[union-attr]
    old, new = (log.append(POLICY_1, OPERATOR, SetPolicy(each)) for each in (weak, strict))
    for change in (new, old):
        for name in ("acme", "birch"):
            log.endorse(change, agent(name))
    assert (log.verdict(new), log.verdict(old)) == ("confirmed", "rejected")
    assert log.constitution.policy_for("note/1") == strict
    assert log.acts[-1].payload["body"].reason == "inapplicable"


def consortium() -> Log:
    return Log(founding(make_policy("member/1", "policy/1"), kind="consortium"))


def test_membership_in_a_consortium_changes_only_by_its_quorum() -> None:
    log = consortium()
    removal = log.append(MEMBER_1, steward("acme"), Remove("cobalt"))
    assert log.constitution.members["cobalt"].stands_at(len(log.acts))
    log.endorse(removal, steward("birch"))
    assert not log.constitution.members["cobalt"].stands_at(len(log.acts))
    with pytest.raises(StandingError, match="removed by entry"):
        log.propose(agent("cobalt"))


def test_a_change_that_can_no_longer_be_made_is_rejected_whoever_agrees() -> None:
    log = consortium()
    first = log.append(MEMBER_1, steward("acme"), Remove("cobalt"))
    second = log.append(MEMBER_1, steward("acme"), Remove("cobalt"))
    log.endorse(first, steward("birch"))
    log.endorse(second, steward("birch"))
    assert log.verdict(second) == "rejected"
    assert log.acts[-1].payload["body"].reason == "inapplicable"


def test_in_a_consortium_the_operator_brings_no_key_into_a_member() -> None:
    log = consortium()
    body = Register("ed25519:new", ("agent",), "…", "birch")
    for author in (OPERATOR, steward("acme")):
        with pytest.raises(StandingError, match="not this author's"):
            log.append(KEY_1, author, body)
    log.append(KEY_1, steward("birch"), body)
    log.propose("ed25519:new")


# --- bundles -------------------------------------------------------------------------


def bundle_of(log: Log, count: int = 2) -> tuple[list[bytes], bytes]:
    notes = [log.propose() for _ in range(count)]
    return notes, log.append(BUNDLE_1, agent("acme"), Bundle(tuple(map(ids.format_digest, notes))))


def test_a_bundle_is_confirmed_together() -> None:
    log = log_of()
    notes, bundle = bundle_of(log, 3)
    with pytest.raises(StandingError, match="in a bundle"):
        log.endorse(notes[0], agent("birch"))
    log.endorse(bundle, agent("birch"))
    assert [log.verdict(each) for each in (*notes, bundle)] == ["confirmed"] * 4
    assert log.types().count("outcome/1") == 1


def test_a_bundle_is_rejected_together() -> None:
    log = log_of(veto=MemberRule("cobalt"))
    notes, bundle = bundle_of(log)
    log.endorse(bundle, agent("cobalt"), "reject")
    assert [log.verdict(each) for each in (*notes, bundle)] == ["rejected"] * 3


def test_a_bundle_needs_the_quorum_of_each_of_its_policies() -> None:
    log = Log(
        founding(
            make_policy("note/1", rule=MemberRule("birch")),
            make_policy("agent.action/1", rule=MemberRule("cobalt")),
        )
    )
    notes = [log.propose(), log.propose(kind=AGENT_ACTION_1)]
    bundle = log.append(BUNDLE_1, agent("acme"), Bundle(tuple(map(ids.format_digest, notes))))
    log.endorse(bundle, agent("birch"))
    assert log.verdict(bundle) is None
    log.endorse(bundle, agent("cobalt"))
    assert [log.verdict(each) for each in notes] == ["confirmed"] * 2


def test_a_bundle_joins_open_proposals_of_its_author_once() -> None:
    log = log_of()
    notes, _ = bundle_of(log)
    done = log.propose()
    log.endorse(done, agent("birch"))
    foreign = log.propose(agent("birch"))
    fresh = log.propose()
    for wrong in (notes[0], done, foreign):
        body = Bundle((ids.format_digest(fresh), ids.format_digest(wrong)))
        with pytest.raises(StandingError):
            log.append(BUNDLE_1, agent("acme"), body)


def test_a_refused_record_leaves_the_assembly_as_it_was() -> None:
    log = log_of()
    note = log.propose()
    before = log.constitution.copy(), dict(log.assembly.proposals)
    with pytest.raises(StandingError):
        log.append(MEMBER_1, agent("acme"), Suspend("birch"))
    with pytest.raises(StandingError):
        log.propose("ed25519:nobody", NOTE_1)
    assert (log.constitution, log.assembly.proposals) == before
    assert log.verdict(note) is None


def test_a_replay_of_the_constitutional_entries_alone_gives_the_same_constitution() -> None:
    log = consortium()
    removal = log.append(MEMBER_1, steward("acme"), Remove("cobalt"))
    log.propose()
    grant = log.append(MEMBER_1, steward("acme"), Grant("birch", "auditor"))
    body = Bundle((ids.format_digest(removal), ids.format_digest(grant)))
    bundle = log.append(BUNDLE_1, steward("acme"), body)
    log.append(MEMBER_1, steward("acme"), Suspend("birch"))
    log.endorse(bundle, steward("birch"))
    log.append(KEY_1, steward("birch"), Register("ed25519:new", ("agent",), "…", "birch"))
    replayed = Constitution()
    for index in log.assembly.constitutional:
        replay(replayed, log.acts[index])
    assert replayed == log.constitution
    assert len(log.assembly.constitutional) < len(log.acts)


def test_an_open_proposal_waits_for_those_whose_word_would_still_count() -> None:
    log = log_of(author_counts=False, rule=OutOfRule(3, two_of_three().of))  # type: ignore[union-attr]
    note = log.propose()
    log.endorse(note, agent("birch"))
    waiting = [m for m in MEMBERS if awaits(log.constitution, log.proposal(note), m)]
    assert waiting == ["cobalt"]
    log.append(MEMBER_1, OPERATOR, Remove("cobalt"))
    assert not awaits(log.constitution, log.proposal(note), "cobalt")


# --- counted once, decided once --------------------------------------------------------


def test_a_key_does_not_speak_for_itself_and_its_member_at_once() -> None:
    rule = OutOfRule(2, (MemberRule("birch"), KeyRule(agent("birch", 1))))
    log = log_of(rule=rule, count_by="key", author_counts=False)
    note = log.propose()
    log.endorse(note, agent("birch", 1))
    assert log.verdict(note) is None
    log.endorse(note, agent("birch", 2))
    assert log.verdict(note) == "confirmed"


def test_what_a_revoked_key_agreed_to_stays_within_reach() -> None:
    rule = OutOfRule(2, (KeyRule(agent("birch", 1)), KeyRule(agent("cobalt", 1))))
    log = log_of(rule=rule, author_counts=False)
    note = log.propose()
    log.endorse(note, agent("birch", 1))
    log.append(KEY_1, OPERATOR, Revoke(agent("birch", 1), "lost"))
    log.endorse(note, agent("acme", 2), "reject")
    log.endorse(note, OPERATOR, "reject")
    assert log.verdict(note) is None
    log.endorse(note, agent("cobalt", 1))
    assert log.verdict(note) == "confirmed"


def test_a_key_that_rejected_behind_its_members_agreement_is_out_of_reach() -> None:
    rule = OutOfRule(2, (KeyRule(agent("birch", 2)), KeyRule(agent("cobalt", 1))))
    log = log_of(rule=rule, author_counts=False)
    note = log.propose()
    log.endorse(note, agent("birch", 1))
    log.endorse(note, agent("birch", 2), "reject")
    assert log.verdict(note) == "rejected"


def test_a_role_that_was_gone_when_its_holder_agreed_is_out_of_reach() -> None:
    log = log_of(rule=OutOfRule(2, (RoleRule("auditor"), MemberRule("acme"))))
    log.append(MEMBER_1, OPERATOR, Grant("birch", "auditor"))
    note = log.propose()
    log.append(MEMBER_1, OPERATOR, Withdraw("birch", "auditor"))
    log.endorse(note, agent("birch"))
    log.endorse(note, agent("cobalt"), "reject")
    assert log.verdict(note) == "rejected"


def test_those_who_agree_on_notes_do_not_set_policies_for_what_has_none() -> None:
    weak = make_policy("note/1", rule=MemberRule("acme"))
    strict = make_policy("member/1", "policy/1")
    for log in (Log(founding(weak)), Log(founding(weak, strict, kind="consortium"))):
        for name in ("audience/1", "key/1"):
            body = SetPolicy(make_policy("note/1", name, rule=MemberRule("acme")))
            with pytest.raises(StandingError, match="one by one"):
                log.append(POLICY_1, steward("acme"), body)


def test_a_charter_that_lets_endorsing_wait_for_an_agreement_is_refused() -> None:
    with pytest.raises(StandingError, match="never waits"):
        Log(founding(make_policy("endorsement/1")))


def test_an_outcome_that_is_due_is_taken_whatever_the_time_has_become() -> None:
    log = log_of(ttl_s=60)
    note = log.propose()
    log.append_alone(ENDORSEMENT_1, agent("birch"), log.endorsement(note))
    log.now_ms += 60_000
    log.append_alone(OUTCOME_1, OPERATOR, log.assembly.due[0])
    assert log.verdict(note) == "confirmed"


def test_nothing_comes_before_what_is_due() -> None:
    log = log_of()
    note = log.propose()
    log.append_alone(ENDORSEMENT_1, agent("birch"), log.endorsement(note))
    with pytest.raises(StandingError, match="due here is outcome/1"):
        log.propose()


def test_what_has_no_policy_among_independent_members_nobody_changes_alone() -> None:
    log = consortium()
    change = AudienceChange(AudienceSetting(type="note/1", entry="public"))
    for author in (OPERATOR, steward("acme")):
        with pytest.raises(StandingError, match="nobody decides it alone"):
            log.append(AUDIENCE_1, author, change)
    alone = Log(founding())
    alone.append(AUDIENCE_1, OPERATOR, change)
    assert alone.constitution.audience_at("note/1", 2) == change.setting


# --- calls -------------------------------------------------------------------------


def test_under_a_policy_a_stop_and_limits_wait_until_they_are_confirmed() -> None:
    log = Log(founding(make_policy("capture.stop/1", "capture.limits/1")))
    limits = CaptureLimits(rpm_total=5)
    stop = log.append(CAPTURE_STOP_1, steward("acme"), CaptureStop("stop", "a loop"))
    bounds = log.append(CAPTURE_LIMITS_1, steward("acme"), limits)
    assert log.constitution.capture == Capture()
    log.endorse(stop, agent("birch"))
    log.endorse(bounds, agent("birch"))
    assert log.verdict(stop) == log.verdict(bounds) == "confirmed"
    stopped, limited = (at for at, each in enumerate(log.acts) if each.kind is OUTCOME_1)
    assert log.constitution.capture == Capture(limits, limited, stopped, "a loop")
    again = Constitution()
    for act in log.acts:
        if act.index in log.assembly.constitutional:
            replay(again, act)
    assert again.capture == log.constitution.capture


def test_without_a_policy_calls_are_stopped_by_an_operator_alone() -> None:
    log = Log(founding(kind="private"))
    with pytest.raises(StandingError, match="an operator writes it"):
        log.append(CAPTURE_STOP_1, steward("acme"), CaptureStop("stop"))
    log.append(CAPTURE_STOP_1, OPERATOR, CaptureStop("stop"))
    with pytest.raises(StandingError, match="stopped already"):
        log.append(CAPTURE_STOP_1, OPERATOR, CaptureStop("stop"))
    log.append(CAPTURE_STOP_1, OPERATOR, CaptureStop("resume"))
    assert log.constitution.capture == Capture()
    with pytest.raises(StandingError, match="not stopped"):
        log.append(CAPTURE_STOP_1, OPERATOR, CaptureStop("resume"))
