"""Checks 11, 17 and 18: every change is judged again, and what became of every payload part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger_core import clock, ids
from ledger_core.formats import archive
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.vkey import format_vkey
from ledger_core.policy.proposals import Ruling
from ledger_core.records.rules import Policy, hash_policy
from tests.support.archives import BEGAN_MS, ORIGIN, Archive, Log, key
from tests.support.assemblies import make_policy
from tests.verifier.audits import audit
from verifier import report
from verifier.audit import Options, Verdict
from verifier.findings import Finding, Likely

OTHER = key(7)
EVERYTHING = {
    "type": "note/1",
    "amend": ["author"],
    "roll_back": ["author"],
    "redact": ["author", "operator"],
    "erase": ["author", "operator"],
    "hold": ["operator"],
    "keep_s": {"body": 1},
}
AGREED = make_policy("erasure/1", "amends:note/1", author_counts=False)


class Governed(Log):
    """A log whose notes may be changed; whoever runs it may write anything."""

    @classmethod
    def with_notes(cls, count: int = 3, *policies: Policy, **setting: Any) -> Governed:
        log = cls()
        operator = ids.format_key(log.operator.public_key)
        agents = [(log.agent, "acme"), (OTHER, "birch"), (key(8), "cobalt")]
        keys: list[dict[str, Any]] = [{"key": operator, "roles": ["operator"]}]
        for private, member in agents:
            name = ids.format_key(private.public_key)
            keys.append({"key": name, "roles": ["agent"], "member": member})
        charter = {
            "origin": ORIGIN,
            "kind": "private",
            "log_key": format_vkey(log.signer.public),
            "keys": keys,
            "members": [{"name": member} for _, member in agents],
            "mutability": [EVERYTHING | setting],
            "policies": [msgspec.to_builtins(each) for each in policies],
        }
        log.append("charter/1", charter, log.operator)
        for number in range(count):
            log.note({"n": number})
        return log

    def digest(self, index: int) -> str:
        return ids.format_digest(self.hashes[index])

    def amend(self, index: int, author: PrivateKey | None = None) -> int:
        refs = ({"rel": "amends", "to": self.digest(index)},)
        return self.note({"n": -index}, author, refs=msgspec.convert(refs, tuple[Any, ...]))

    def roll_back(self, index: int, to: int, author: PrivateKey | None = None) -> int:
        body = {"targets": [self.digest(index)], "to": to}
        return self.append("rollback/1", body, author or self.agent)

    def redact(self, *indexes: int, author: PrivateKey | None = None, **body: Any) -> int:
        return self._parts("redaction/1", indexes, author, {"action": "redact"} | body)

    def unredact(self, *indexes: int) -> int:
        return self._parts("redaction/1", indexes, None, {"action": "unredact"})

    def erase(self, *indexes: int, author: PrivateKey | None = None) -> int:
        return self._parts("erasure/1", indexes, author, {"reason": "request"})

    def _parts(
        self, kind: str, indexes: tuple[int, ...], author: PrivateKey | None, body: Any
    ) -> int:
        targets = [{"entry": self.digest(index), "parts": ["body"]} for index in indexes]
        return self.append(kind, {"targets": targets, **body}, author or self.agent)

    def hold(self, index: int, action: str = "hold", author: PrivateKey | None = None) -> int:
        body = {"action": action, "targets": [self.digest(index)], "case": "case-1"}
        return self.append("hold/1", body, author or self.operator)

    def done(self, order: int) -> int:
        body = {"order": self.digest(order), "parts": 1, "stores": ["database"]}
        return self.append("erasure.done/1", body, self.operator)

    def retire(self, before: int) -> int:
        body = {"type": "note/1", "part": "body", "received_before": clock.format_time(before)}
        return self.append("retention/1", body, self.operator)

    def endorse(self, proposal: int, author: PrivateKey) -> int:
        ends_at = BEGAN_MS + 1000 * (proposal // 3) + AGREED.ttl_s * 1000
        body = {
            "proposal": self.digest(proposal),
            "policy": ids.format_digest(hash_policy(AGREED)),
            "decision": "approve",
            "ends_at": clock.format_time(ends_at),
        }
        return self.append("endorsement/1", body, author)

    def conclude(self, proposal: int, ruling: Ruling) -> int:
        body = {
            "proposal": self.digest(proposal),
            "policy": ids.format_digest(hash_policy(AGREED)),
            "verdict": ruling.verdict,
            "reason": ruling.reason,
        }
        return self.append("outcome/1", body, self.operator)

    def agree(self, proposal: int) -> int:
        for each in (OTHER, key(8)):
            self.endorse(proposal, each)
        return self.conclude(proposal, Ruling("confirmed", "quorum"))


BODY = "body"


def failing(made: Archive) -> list[tuple[int, int | None]]:
    """Return check and index of what fails; that counts are wrong then is no wonder (13)."""
    found = audit(made).findings.in_order()
    return [(each.check, each.index) for each in found if each.level == "fail" and each.check != 13]


def only(made: Archive) -> Finding:
    found = [each for each in audit(made).findings.in_order() if each.level == "fail"]
    found = [each for each in found if each.check != 13 or len(found) == 1]
    assert len(found) == 1, found
    return found[0]


def passed(made: Archive) -> Verdict:
    verdict = audit(made)
    assert verdict.findings.kept == []
    return verdict


# --- changes that may be ---------------------------------------------------------------


def test_every_kind_of_change_that_was_allowed_passes_and_is_listed() -> None:
    log = Governed.with_notes(5)
    second = log.amend(1)
    log.roll_back(1, second)
    log.redact(2, visible_to=["auditor"])
    log.unredact(2)
    log.hold(3)
    log.hold(3, "release")
    order = log.erase(3)
    log.done(order)
    verdict = passed(log.archive(erased=[(3, BODY)]))
    changes = [line.change for line in verdict.register]
    assert changes == [
        "amendment",
        "rollback",
        "redact",
        "unredact",
        "hold",
        "release",
        "erasure",
        "erasure.done",
    ]
    assert (verdict.register[-1].target, verdict.register[-2].target) == (order, 3)
    assert verdict.parts["erased"] == 1


def test_an_amendment_is_an_entry_that_can_be_erased_too() -> None:
    log = Governed.with_notes()
    second = log.amend(1)
    log.erase(second)
    assert passed(log.archive(erased=[(second, BODY)])).register[1].target == second
    assert failing(log.archive(erased=[(1, BODY)])) == [(11, 1), (11, second)]


def test_a_change_that_was_agreed_to_counts_from_its_outcome_and_by_how_many() -> None:
    log = Governed.with_notes(3, AGREED)
    order = log.erase(2)
    outcome = log.agree(order)
    line = passed(log.archive(erased=[(2, BODY)])).register[0]
    assert (line.status, line.since, line.agreed) == ("in-force", outcome, 2)


def test_a_change_that_waits_changes_nothing_yet() -> None:
    log = Governed.with_notes(3, AGREED)
    order = log.erase(2)
    assert passed(log.archive()).register[0].status == "waiting"
    assert failing(log.archive(erased=[(2, BODY)])) == [(11, 2)]
    assert order == 4


def test_changes_over_several_segments_find_their_entries() -> None:
    log = Governed.with_notes(2_100)
    log.amend(5)
    log.erase(7, 2_050)
    passed(log.archive(erased=[(7, BODY), (2_050, BODY)]))


# --- changes that may not be -------------------------------------------------------------


def refused(log: Log, index: int, likely: Likely = Likely.NOT_ALLOWED) -> str:
    finding = only(log.archive())
    assert (finding.check, finding.index, finding.likely) == (17, index, likely)
    return finding.found


def test_a_change_that_nobody_was_allowed_to_make_is_found() -> None:
    log = Governed.with_notes(3, type="agent.action/1")
    assert "immutable" in refused(log, log.hold(1))


def test_a_change_of_what_somebody_else_wrote_is_found() -> None:
    log = Governed.with_notes()
    assert "not this author's" in refused(log, log.amend(1, OTHER))
    log = Governed.with_notes()
    assert "not this author's" in refused(log, log.roll_back(1, 0, OTHER))


def test_an_amendment_of_a_version_that_was_not_current_is_found() -> None:
    log = Governed.with_notes()
    second = log.amend(1)
    late = log.amend(1)
    assert log.digest(second) in refused(log, late)


def test_an_amendment_by_another_type_is_found() -> None:
    log = Governed.with_notes()
    refs = msgspec.convert([{"rel": "amends", "to": log.digest(1)}], list[Any])
    action = {"action": "a", "status": "started"}
    wrong = log.append("agent.action/1", action, log.agent, refs=tuple(refs))
    assert "amended by a note/1" in refused(log, wrong)


def test_an_entry_that_amends_two_is_found() -> None:
    log = Governed.with_notes()
    refs = tuple({"rel": "amends", "to": log.digest(index)} for index in (1, 2))
    wrong = log.note("both", refs=refs)
    assert failing(log.archive()) == [(17, wrong)]


def test_a_rollback_that_changes_nothing_is_found() -> None:
    log = Governed.with_notes()
    refused(log, log.roll_back(1, 2))


def test_the_erasure_of_a_held_entry_is_found() -> None:
    log = Governed.with_notes()
    log.hold(1)
    assert "held by case-1" in refused(log, log.erase(1))


def test_the_erasure_of_a_part_that_an_entry_does_not_have_is_found() -> None:
    log = Governed.with_notes()
    targets = [{"entry": log.digest(1), "parts": ["request"]}]
    wrong = log.append("erasure/1", {"targets": targets, "reason": "request"}, log.agent)
    assert "no part request" in refused(log, wrong)


def test_an_erasure_of_governance_is_found() -> None:
    log = Governed.with_notes(3, type="*")
    assert "governance" in refused(log, log.erase(0, author=log.operator))


def test_a_done_record_without_an_order_is_found() -> None:
    log = Governed.with_notes()
    assert "no order" in refused(log, log.done(1))
    log = Governed.with_notes(3, AGREED)
    order = log.erase(1)
    assert "no order" in refused(log, log.done(order))


def test_an_order_that_is_done_twice_is_found() -> None:
    log = Governed.with_notes()
    order = log.erase(1)
    log.done(order)
    again = log.done(order)
    assert failing(log.archive(erased=[(1, BODY)])) == [(17, again)]


def test_the_schedule_before_its_time_is_found() -> None:
    log = Governed.with_notes(9)
    refused(log, log.retire(BEGAN_MS + 3_000))


def test_a_release_of_what_nobody_holds_is_found() -> None:
    log = Governed.with_notes()
    refused(log, log.hold(1, "release"))


def test_a_confirmed_change_without_its_quorum_is_found_and_erases_nothing() -> None:
    log = Governed.with_notes(3, AGREED)
    order = log.erase(2)
    log.endorse(order, OTHER)
    forged = log.conclude(order, Ruling("confirmed", "quorum"))
    assert failing(log.archive(erased=[(2, BODY)]))[:2] == [(11, 2), (16, forged)]


def test_a_change_that_could_no_longer_be_made_must_be_rejected() -> None:
    log = Governed.with_notes(3, AGREED)
    first, second = log.amend(1), log.amend(1)
    log.agree(first)
    for each in (OTHER, key(8)):
        log.endorse(second, each)
    forged = log.conclude(second, Ruling("confirmed", "quorum"))
    assert (16, forged) in failing(log.archive())
    log = Governed.with_notes(3, AGREED)
    first, second = log.amend(1), log.amend(1)
    log.agree(first)
    for each in (OTHER, key(8)):
        log.endorse(second, each)
    log.conclude(second, Ruling("rejected", "inapplicable"))
    assert [line.status for line in passed(log.archive()).register] == ["in-force", "rejected"]


def test_a_change_of_what_is_not_in_the_log_is_found() -> None:
    log = Governed.with_notes()
    body = {"targets": [ids.format_digest(bytes(32))], "to": 0}
    wrong = log.append("rollback/1", body, log.agent)
    assert "not there" in refused(log, wrong)


def test_a_change_of_an_entry_by_nobody_known_is_no_accident() -> None:
    log = Governed.with_notes(3, erase=["member"])
    stranger = log.note("hello", key(60))
    order = log.erase(stranger)
    assert failing(log.archive()) == [(10, stranger), (17, order)]


# --- parts -----------------------------------------------------------------------------


def test_a_part_that_is_gone_without_an_order_is_missing() -> None:
    log = Governed.with_notes()
    log.erase(1)
    finding = only(log.archive(erased=[(1, BODY), (2, BODY)]))
    assert (finding.check, finding.index) == (11, 2)
    assert (finding.field, finding.likely) == ("part body", Likely.MISSING_PAYLOAD)


def test_a_part_of_an_entry_that_is_held_or_named_otherwise_is_missing_too() -> None:
    log = Governed.with_notes()
    log.hold(1)
    assert failing(log.archive(erased=[(1, BODY)])) == [(11, 1)]


@pytest.mark.parametrize("how", ["present", "withheld", "redacted"])
def test_a_part_that_was_erased_and_is_not_gone_is_the_exporters_failure(how: str) -> None:
    log = Governed.with_notes()
    log.redact(1)
    log.erase(1)
    hidden: Any = {} if how == "present" else {how: [(1, BODY)]}
    finding = only(log.archive(**hidden))
    assert (finding.check, finding.index, finding.likely) == (11, 1, Likely.KEPT)


def test_an_archive_from_before_the_erasure_may_hold_the_part() -> None:
    log = Governed.with_notes()
    before = log.archive()
    log.erase(1)
    passed(before)


def test_the_schedule_erases_the_parts_it_reaches_and_no_others() -> None:
    log = Governed.with_notes(9)
    log.retire(BEGAN_MS + 2_000)  # Entries 1 to 5 were received before.
    reached = [(index, BODY) for index in range(1, 6)]
    assert passed(log.archive(erased=reached)).parts["erased"] == 5
    assert failing(log.archive(erased=[*reached, (6, BODY), (8, BODY)])) == [(11, 6), (11, 8)]
    kept = only(log.archive(erased=reached[1:]))
    assert (kept.index, kept.likely) == (1, Likely.KEPT)


def test_the_schedule_does_not_reach_what_was_held() -> None:
    log = Governed.with_notes(9)
    log.hold(2)
    log.retire(BEGAN_MS + 2_000)
    reached = [(index, BODY) for index in (1, 3, 4, 5)]
    passed(log.archive(erased=reached))
    assert failing(log.archive(erased=[*reached, (2, BODY)])) == [(11, 2)]


def test_what_is_declared_redacted_must_be() -> None:
    log = Governed.with_notes()
    log.redact(1)
    verdict = passed(log.archive(redacted=[(1, BODY)]))
    assert verdict.parts["redacted"] == 1
    assert failing(log.archive(redacted=[(2, BODY)])) == [(11, 2)]
    log.unredact(1)
    assert failing(log.archive(redacted=[(1, BODY)])) == [(11, 1)]


def test_who_sees_a_redacted_part_is_the_readers_matter() -> None:
    log = Governed.with_notes()
    log.redact(1)
    passed(log.archive())
    passed(log.archive(withheld=[(1, BODY)]))


@pytest.mark.parametrize("field", ["parts_redacted", "parts_erased"])
def test_a_count_of_redacted_or_erased_parts_that_does_not_reconcile_is_found(field: str) -> None:
    log = Governed.with_notes()
    log.redact(1)
    log.erase(2)
    made = log.archive(redacted=[(1, BODY)], erased=[(2, BODY)])
    counts = made.manifest().counts
    wrong = msgspec.structs.replace(counts, **{field: getattr(counts, field) + 1})
    finding = only(made.reseal(counts=wrong))
    assert (finding.check, finding.field) == (13, f"counts.{field}")


# --- the register ----------------------------------------------------------------------


def changed() -> Archive:
    log = Governed.with_notes()
    log.amend(1)
    log.erase(2)
    return log.archive(erased=[(2, BODY)])


def lines_of(made: Archive) -> list[bytes]:
    return made.files[archive.REGISTER].splitlines(keepends=True)


@pytest.mark.parametrize("place", [1, 2])
def test_a_change_left_out_of_the_register_is_found(place: int) -> None:
    made = changed()
    lines = lines_of(made)
    del lines[place]
    made.files[archive.REGISTER] = b"".join(lines)
    assert 18 in {check for check, _ in failing(made.reseal())}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"4,amendment", b"3,amendment"),
        (b"amendment,1", b"amendment,2"),
        (b"erasure,2,body", b"erasure,2,other"),
        (b"in-force", b"waiting"),
        (b",0,request", b",3,request"),
        (b"request", b"legal"),
    ],
)
def test_a_register_that_says_otherwise_is_found(old: bytes, new: bytes) -> None:
    made = changed()
    text = made.files[archive.REGISTER]
    assert old in text
    made.files[archive.REGISTER] = text.replace(old, new, 1)
    assert 18 in {check for check, _ in failing(made.reseal())}


def test_a_change_that_never_was_is_found_in_the_register() -> None:
    made = changed()
    made.files[archive.REGISTER] += lines_of(made)[-1]
    assert failing(made.reseal()) == [(18, None)]


def test_an_archive_without_a_register_says_that_nothing_was_changed() -> None:
    made = Governed.with_notes().archive()
    del made.files[archive.REGISTER]
    assert 18 not in passed(made.reseal()).ran
    made = changed()
    del made.files[archive.REGISTER]
    assert 18 in {check for check, _ in failing(made.reseal())}


def test_a_register_that_does_not_parse_is_malformed() -> None:
    made = changed()
    made.files[archive.REGISTER] = made.files[archive.REGISTER].replace(b"amendment", b"=1+1")
    assert audit(made.reseal()).findings.has("malformed")


def test_the_reports_tell_what_was_changed_and_what_became_of_the_parts() -> None:
    log = Governed.with_notes(3, AGREED)
    log.redact(1, visible_to=["auditor"])
    order = log.erase(2)
    outcome = log.agree(order)
    made = log.archive(redacted=[(1, BODY)], erased=[(2, BODY)])
    built = report.build(audit(made), Options(archive=Path("archive.zip")), None)
    text = report.format_text(built)
    assert "Parts    7 present, 1 redacted, 1 erased" in text
    told = f"entry {order}: erasure of entry 2 (body): request; in force since {outcome}"
    assert f"  {told}, agreed to by 2" in text
    assert "redact of entry 1 (body): auditor; in force since 4" in text
    page = report.format_html(built)
    assert "<h2>Changes (2 of 2)</h2>" in page
    assert built["changes"]["lines"][1]["agreed"] == 2


def test_a_long_register_is_cut_in_the_report_and_told_in_full_by_number() -> None:
    log = Governed.with_notes(30)
    log.redact(*range(1, 31))
    built = report.build(audit(log.archive()), Options(archive=Path("archive.zip")), None)
    assert built["changes"]["total"] == 30
    assert "  and 10 more, as in mutations.csv" in report.format_text(built)


# --- ranges ----------------------------------------------------------------------------


def test_an_order_from_behind_the_range_is_shown_for_context() -> None:
    log = Governed.with_notes(6)
    order = log.erase(2)
    log.note("later")
    verdict = passed(log.archive(0, 4, erased=[(2, BODY)], later=[order]))
    assert (verdict.later, verdict.parts["erased"]) == (1, 1)
    assert failing(log.archive(0, 4, erased=[(2, BODY)])) == [(11, 2)]


def test_an_order_from_behind_the_range_that_was_not_allowed_is_found() -> None:
    log = Governed.with_notes(6)
    order = log.erase(2, author=OTHER)
    made = log.archive(0, 4, erased=[(2, BODY)], later=[order])
    assert failing(made) == [(11, 2), (17, order)]


def test_the_end_of_an_order_that_waited_is_taken_from_behind_the_range() -> None:
    log = Governed.with_notes(6, AGREED)
    order = log.erase(2)
    outcome = log.agree(order)
    passed(log.archive(0, 4, erased=[(2, BODY)], later=[order, outcome]))
    passed(log.archive(0, 8, erased=[(2, BODY)], later=[outcome]))
    assert (11, 2) in failing(log.archive(0, 4, erased=[(2, BODY)], later=[order]))


def test_changes_of_entries_before_the_range_are_not_judged_and_that_is_said() -> None:
    log = Governed.with_notes(6)
    second = log.amend(1)
    log.roll_back(1, second)
    log.erase(2, 5)
    verdict = passed(log.archive(4, erased=[(5, BODY)]))
    assert verdict.changes_not_judged == 2
    assert [line.target for line in verdict.register] == [None, None, None, 5]


def test_an_order_to_erase_earlier_entries_may_be_done_in_the_range() -> None:
    log = Governed.with_notes(6)
    log.done(log.erase(2))
    assert passed(log.archive(4)).changes_not_judged == 1


def test_of_a_change_that_names_earlier_entries_too_the_rest_is_judged() -> None:
    log = Governed.with_notes(6)
    order = log.erase(2, 5, author=OTHER)
    assert (17, order) in failing(log.archive(4))
