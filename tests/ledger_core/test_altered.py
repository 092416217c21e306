"""Archives of ledgers with changes: what each reader is shown of each part, over any range."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ledger_core import clock
from ledger_core.formats import archive
from ledger_core.formats.archive import Counts
from ledger_core.formats.mutations import HEADER, Mutation, format_mutation
from ledger_core.ledger import Ledger
from ledger_core.policy.visibility import OPERATOR, Reader, find_reader
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.targets import Parts
from ledger_core.records.types.bundle import Bundle
from ledger_core.records.types.erasure import Erasure
from ledger_core.records.types.hold import Hold
from ledger_core.records.types.redaction import Redact
from ledger_core.records.types.retention import Retention
from ledger_core.records.types.rollback import Rollback
from ledger_core.sequencer import Appended
from tests.ledger_core.test_changes import Office, digest, parts
from tests.ledger_core.test_exporter import export, manifest_of, open_zip, verified
from tests.support.assemblies import make_policy
from tests.support.consortium import Consortium
from tests.support.ledgers import Service
from verifier.audit import Options, Verdict, verify
from verifier.report import exit_code

SETTING = MutabilitySetting(
    type="agent.decision/1",
    amend=("author",),
    roll_back=("author",),
    redact=("member",),
    erase=("member",),
    hold=("steward",),
)


def audited(ledger: Ledger, raw: bytes, folder: Path) -> Verdict:
    """Verify an archive; it must pass, and hold together for the command too."""
    path = folder / "audited.zip"
    path.write_bytes(raw)
    verdict = verify(Options(archive=path))
    assert exit_code(verdict, None) == 0, verdict.findings.first()
    assert verified(ledger, raw, folder, "--require", "L1") == 0
    return verdict


def counts_of(raw: bytes) -> tuple[int, int, int, int]:
    counts: Counts = manifest_of(raw).counts
    return (
        counts.parts_present,
        counts.parts_withheld,
        counts.parts_redacted,
        counts.parts_erased,
    )


def test_every_change_of_a_ledger_is_exported_judged_and_listed(
    service: Service, tmp_path: Path
) -> None:
    office = Office(service)
    first, other = office.note("first"), office.note("other")
    second = office.note("second", first.leaf_hash)
    office.change("rollback/1", Rollback((digest(first),), second.index))
    office.change("redaction/1", Redact(parts(first)))
    hold = msgspec.json.encode(Hold("hold", (digest(other),), "case-1"))
    office.ledger.append_as_operator("hold/1", hold)
    office.refuse("erasure/1", Erasure(parts(other), "request"))
    office.change("erasure/1", Erasure(parts(second), "request"))
    raw = export(office.ledger)
    verdict = audited(office.ledger, raw, tmp_path)
    assert [(line.change, line.target) for line in verdict.register] == [
        ("amendment", first.index),
        ("rollback", first.index),
        ("redact", first.index),
        ("hold", other.index),
        ("refusal", None),
        ("erasure", second.index),
    ]
    assert counts_of(raw)[1:] == (0, 0, 1)
    register = open_zip(raw).read(archive.REGISTER)
    assert register == HEADER + b"".join(map(format_mutation, verdict.register))
    assert b"<h2>Changes (6 of 6)</h2>" in open_zip(raw).read(archive.REPORT)


def test_an_erased_part_has_no_frame_from_its_order_on(service: Service, tmp_path: Path) -> None:
    office = Office(service)
    note = office.note("a marker")
    before = export(office.ledger)
    office.change("erasure/1", Erasure(parts(note), "request"))
    raw = export(office.ledger)
    assert b"a marker" not in open_zip(raw).read(archive.payloads_name(0))
    audited(office.ledger, raw, tmp_path)
    audited(office.ledger, before, tmp_path)


def shared(service: Service) -> tuple[Consortium, Appended]:
    """Return a consortium whose members read all decisions, and one decision of acme's."""
    made = Consortium(
        service.open().ledgers,
        make_policy("member/1", "policy/1"),
        make_policy("erasure/1:agent.decision/1"),
        mutability=(SETTING,),
    )
    return made, made.decide()


def reader_of(made: Consortium, party: str) -> Reader:
    return find_reader(made.ledger.constitution(), party)


def test_a_redacted_part_is_declared_to_those_from_whom_it_is_hidden(
    service: Service, tmp_path: Path
) -> None:
    made, decision = shared(service)
    made.append(made.agents["acme"], "redaction/1", Redact(parts(decision)))
    raw = export(made.ledger, reader=reader_of(made, "birch"))
    assert counts_of(raw)[2] == 1
    assert audited(made.ledger, raw, tmp_path).parts["redacted"] == 1
    for_operator = export(made.ledger, reader=OPERATOR)
    assert counts_of(for_operator)[2] == 0
    audited(made.ledger, for_operator, tmp_path)


def test_a_redaction_spares_the_roles_it_names(service: Service, tmp_path: Path) -> None:
    made, decision = shared(service)
    made.append(made.agents["acme"], "redaction/1", Redact(parts(decision), ("member",)))
    raw = export(made.ledger, reader=reader_of(made, "birch"))
    assert counts_of(raw)[2] == 0
    audited(made.ledger, raw, tmp_path)


def test_the_schedule_leaves_no_frames_of_what_it_reaches(service: Service, tmp_path: Path) -> None:
    office = Office(service)
    for number in range(3):
        office.note(number)
    before = clock.format_time(service.clock.now_ms + 1)
    service.clock.now_ms += 61_000
    office.note("kept")
    order = msgspec.json.encode(Retention("note/1", "body", before))
    office.ledger.append_as_operator("retention/1", order)
    raw = export(office.ledger)
    assert counts_of(raw)[3] == 3
    audited(office.ledger, raw, tmp_path)


# --- ranges ----------------------------------------------------------------------------


def ranges(size: int) -> Iterator[tuple[int, int]]:
    for start in range(size):
        yield from ((start, end) for end in (start + 1, start + 3, size) if end <= size)


def test_every_range_of_a_ledger_with_changes_verifies(service: Service, tmp_path: Path) -> None:
    office = Office(service)
    first, other = office.note("first"), office.note("other")
    second = office.note("second", first.leaf_hash)
    hidden = office.change("redaction/1", Redact(parts(first)))
    office.ledger.rotate_log_key()
    order = office.change("erasure/1", Erasure(parts(other) + parts(first), "request"))
    office.change("rollback/1", Rollback((digest(first),), second.index))
    size = office.ledger.size()
    for start, end in ranges(size):
        raw = export(office.ledger, start, end)
        covered = range(start, end)
        gone = [index for index in (first.index, other.index) if index in covered]
        shown = range(hidden.index + (first.index not in gone), order.index + 1) if gone else []
        assert counts_of(raw)[3] == len(gone)
        (tmp_path / "a.zip").write_bytes(raw)
        verdict = verify(Options(archive=tmp_path / "a.zip"))
        assert verdict.findings.kept == [], (start, end)
        assert verdict.later == sum(index >= end for index in shown), (start, end)


def test_an_order_that_was_agreed_to_behind_the_range_is_brought_along(
    service: Service, tmp_path: Path
) -> None:
    made, decision = shared(service)
    order = made.append(made.agents["acme"], "erasure/1", Erasure(parts(decision), "request"))
    made.endorse(order.leaf_hash, "birch")
    outcome = made.ledger.proposal(order.leaf_hash).outcome
    assert outcome is not None
    for end in range(decision.index + 1, outcome + 2):
        raw = export(made.ledger, 0, end)
        assert counts_of(raw)[3] == 1
        verdict = audited(made.ledger, raw, tmp_path)
        line = verdict.register[-1]
        assert (line.index, line.status, line.since) == (order.index, "in-force", outcome)


def test_an_order_in_a_bundle_behind_the_range_is_brought_along_with_it(
    service: Service, tmp_path: Path
) -> None:
    made, decision = shared(service)
    agent = made.agents["acme"]
    both = (decision, made.decide())
    orders = [made.append(agent, "erasure/1", Erasure(parts(each), "request")) for each in both]
    bundle = made.append(agent, "bundle/1", Bundle(tuple(map(digest, orders))))
    made.endorse(bundle.leaf_hash, "birch")
    assert made.verdict(orders[0].leaf_hash) == "confirmed"
    for end in range(decision.index + 1, made.ledger.size()):
        raw = export(made.ledger, 0, end)
        assert counts_of(raw)[3] == sum(each.index < end for each in both)
        audited(made.ledger, raw, tmp_path)


def test_a_schedule_behind_the_range_is_brought_along(service: Service, tmp_path: Path) -> None:
    office = Office(service)
    note = office.note("old")
    service.clock.now_ms += 61_000
    before = clock.format_time(service.clock.now_ms - 60_000)
    order = msgspec.json.encode(Retention("note/1", "body", before))
    office.ledger.append_as_operator("retention/1", order)
    office.note("new")
    raw = export(office.ledger, 0, note.index + 1)
    assert counts_of(raw)[3] == 1
    assert audited(office.ledger, raw, tmp_path).later == 1


def test_readers_of_some_entries_find_the_changes_of_those(
    service: Service, tmp_path: Path
) -> None:
    """Of a change that names entries withheld from them, they see that it was."""
    made, decision = shared(service)
    made.append(made.agents["acme"], "redaction/1", Redact(parts(decision)))
    raw = export(made.ledger, reader=find_reader(made.ledger.constitution(), None))
    verdict = audited(made.ledger, raw, tmp_path)
    assert verdict.changes_not_judged == 1
    assert [line.target for line in verdict.register] == [decision.index]


def test_the_lines_of_the_register_are_those_of_the_range(service: Service) -> None:
    office = Office(service)
    first = office.note("first")
    second = office.note("second", first.leaf_hash)
    raw = export(office.ledger, second.index)
    lines = open_zip(raw).read(archive.REGISTER).splitlines(keepends=True)[1:]
    author = office.agent.name
    expected = Mutation(
        second.index, "amendment", first.index, (), author, "in-force", second.index
    )
    assert lines == [format_mutation(expected)]


@pytest.mark.parametrize("party", ["acme", "birch", None])
def test_an_archive_for_anyone_verifies_whatever_was_changed(
    service: Service, tmp_path: Path, party: str | None
) -> None:
    made, decision = shared(service)
    steward = made.stewards["acme"]
    made.append(made.agents["acme"], "redaction/1", Redact(parts(decision)))
    made.append(steward, "hold/1", Hold("hold", (digest(decision),), "case-1"))
    made.append(steward, "hold/1", Hold("release", (digest(decision),), "case-1"))
    two = (*parts(decision), Parts(digest(made.decide()), ("body",)))
    order = made.append(made.agents["acme"], "erasure/1", Erasure(two, "subject"))
    made.endorse(order.leaf_hash, "cobalt")
    reader = find_reader(made.ledger.constitution(), party)
    raw = export(made.ledger, reader=reader)
    audited(made.ledger, raw, tmp_path)
