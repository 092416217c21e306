"""Archives for one reader: what is hidden from it is declared, and everything else is proved."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger_core import ids
from ledger_core.formats import archive
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.merkle.tiles import format_bundle, parse_bundle
from ledger_core.merkle.tree import HASH_BYTES
from ledger_core.policy.visibility import OPERATOR, Reader, find_reader
from ledger_core.records.rules import AudienceSetting
from tests.ledger_core.test_exporter import export, manifest_of, open_zip, verified
from tests.support.archives import Archive
from tests.support.assemblies import make_policy
from tests.support.consortium import Consortium
from tests.support.ledgers import Service, appended
from tests.verifier.test_agreement import Shared, confirmed, failing
from verifier.audit import Options, verify
from verifier.report import exit_code, not_proven

BUNDLE, HIDDEN = archive.entries_name(0), archive.withheld_name(0)


def a_consortium(service: Service) -> Consortium:
    """Return a ledger whose notes and decisions are for their parties."""
    types = ("note/1", "agent.decision/1")
    settings = tuple(AudienceSetting(type=name, entry="parties") for name in types)
    policies = make_policy("member/1", "policy/1"), make_policy("agent.decision/1")
    shared = Consortium(service.open().ledgers, *policies, audiences=settings)
    for author in (*shared.agents.values(), shared.agents["acme"]):
        appended(shared.ledger.append([author.note("something")])[0])
    confirmed, open_one = shared.decide("acme"), shared.decide("birch")
    for member in ("birch", "cobalt"):
        shared.endorse(confirmed.leaf_hash, member)
        shared.endorse(open_one.leaf_hash, "cobalt", "reject")
    # Contradicts itself: evidence follows.
    shared.endorse(open_one.leaf_hash, "cobalt")
    return shared


def reader_of(shared: Consortium, party: str | None) -> Reader:
    return find_reader(shared.ledger.constitution(), party)


@pytest.mark.parametrize(
    ("party", "shown", "hidden"),
    [("acme", [1, 4, 5], 3), ("birch", [2, 6], 4), ("cobalt", [3], 5), (None, [], 7)],
)
def test_an_archive_holds_exactly_what_concerns_its_reader_and_verifies(
    service: Service, tmp_path: Path, party: str | None, shown: list[int], hidden: int
) -> None:
    shared = a_consortium(service)
    raw = export(shared.ledger, reader=reader_of(shared, party))
    assert verified(shared.ledger, raw, tmp_path, "--require", "L1") == 0
    counts = manifest_of(raw).counts
    leaves = parse_bundle(open_zip(raw).read(BUNDLE))
    own = [index for index in range(1, 7) if leaves[index]]
    assert own == shown
    assert (counts.entries, counts.entries_withheld) == (len(leaves), hidden)
    assert sum(counts.by_type.values()) == len(leaves) - hidden
    assert len(open_zip(raw).read(HIDDEN)) == hidden * HASH_BYTES
    rows = open_zip(raw).read(archive.CSV).decode().splitlines()
    assert len(rows) == 1 + len(leaves) - hidden


def test_for_the_operator_nothing_is_withheld(service: Service, tmp_path: Path) -> None:
    shared = a_consortium(service)
    raw = export(shared.ledger, reader=OPERATOR)
    assert verified(shared.ledger, raw, tmp_path) == 0
    assert HIDDEN not in open_zip(raw).namelist()
    assert b"entries_withheld" not in open_zip(raw).read(archive.MANIFEST)


def test_a_later_range_is_proved_too(service: Service, tmp_path: Path) -> None:
    shared = a_consortium(service)
    for start in (2, 5, 7):
        raw = export(shared.ledger, start, reader=reader_of(shared, "birch"))
        assert verified(shared.ledger, raw, tmp_path) == 0


# --- tampering -----------------------------------------------------------------------


def opened(service: Service) -> Archive:
    shared = a_consortium(service)
    file = open_zip(export(shared.ledger, reader=reader_of(shared, "birch")))
    return Archive({name: file.read(name) for name in file.namelist()}, PrivateKey.generate())


def judge(made: Archive, tmp_path: Path) -> tuple[int, set[int]]:
    """Verify what an exporter made who signs for itself; return exit code and checks failed."""
    verdict = verify(Options(archive=made.write(tmp_path / "a")))
    failed = {each.check for each in verdict.findings.in_order() if each.level == "fail"}
    return exit_code(verdict, None), failed


def with_manifest(made: Archive, **counts: int) -> Archive:
    manifest = made.manifest()
    import msgspec

    return made.reseal(counts=msgspec.structs.replace(manifest.counts, **counts))


def test_what_was_not_proven_of_withheld_entries_is_said(service: Service, tmp_path: Path) -> None:
    made = opened(service)
    options = Options(archive=made.write(tmp_path / "a"))
    verdict = verify(options)
    gaps = "\n".join(not_proven(verdict, options))
    assert verdict.level == "L0"
    assert "4 withheld entries" in gaps
    assert "proposals that are not shown" in gaps


def test_another_leaf_hash_for_a_withheld_entry_is_found(service: Service, tmp_path: Path) -> None:
    made = opened(service)
    hidden = bytearray(made.files[HIDDEN])
    hidden[0] ^= 1
    made.files[HIDDEN] = bytes(hidden)
    code, failed = judge(made.reseal(), tmp_path)
    assert code == 1
    assert failed >= {6, 7}


@pytest.mark.parametrize("change", ["none", "one less", "one more", "half"])
def test_withheld_entries_have_one_leaf_hash_each(
    service: Service, tmp_path: Path, change: str
) -> None:
    made = opened(service)
    whole = made.files.pop(HIDDEN)
    changed = {
        "one less": whole[:-HASH_BYTES],
        "one more": whole + bytes(HASH_BYTES),
        "half": whole[:-1],
    }
    if change != "none":
        made.files[HIDDEN] = changed[change]
    code, failed = judge(made.reseal(), tmp_path)
    assert code == 1
    assert 5 in failed


def test_an_entry_left_out_is_withheld_and_counted_or_the_archive_fails(
    service: Service, tmp_path: Path
) -> None:
    made = opened(service)
    leaves = list(parse_bundle(made.files[BUNDLE]))
    leaves[2] = b""
    made.files[BUNDLE] = format_bundle(leaves)
    assert judge(made.reseal(), tmp_path)[0] == 1


def test_a_count_of_withheld_entries_that_is_not_theirs_is_found(
    service: Service, tmp_path: Path
) -> None:
    code, failed = judge(with_manifest(opened(service), entries_withheld=5), tmp_path)
    assert (code, failed & {13}) == (1, {13})


# --- ranges that begin in mid-vote ---------------------------------------------------


def test_a_range_that_begins_anywhere_carries_what_is_open_and_is_judged(
    service: Service, tmp_path: Path
) -> None:
    shared = a_consortium(service)
    grant = {"action": "grant", "member": "birch", "role": "auditor"}
    change = shared.append(shared.stewards["acme"], "member/1", grant)
    joined = [ids.format_digest(shared.decide().leaf_hash) for _ in range(2)]
    bundle = shared.append(shared.agents["acme"], "bundle/1", {"proposals": joined})
    shared.endorse(change.leaf_hash, "cobalt")
    shared.endorse(bundle.leaf_hash, "birch", "reject")
    shared.endorse(bundle.leaf_hash, "cobalt")
    # Cobalt endorses what birch has confirmed; a second word of one key is no voice.
    late, contradicted = 10, 13
    for number, start in enumerate(range(1, shared.ledger.size())):
        raw = export(shared.ledger, start, reader=OPERATOR)
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.zip").write_bytes(raw)
        verdict = verify(Options(archive=folder / "a.zip"))
        assert not verdict.findings.has("fail"), (start, verdict.findings.first())
        # Of ended proposals nothing is carried, so what is said of them late is not judged.
        assert verdict.not_judged == (start in (9, late, contradicted)), start
        assert (verdict.proposals.get("open", 0) > 0) == (start < shared.ledger.size())


def test_an_outcome_that_does_not_follow_from_voices_before_the_range_is_found() -> None:
    for verdict, reason in (("confirmed", "quorum"), ("rejected", "veto")):
        log = Shared.of_three()
        proposal = log.propose()
        first = log.endorse(proposal, "birch")
        start = log.propose()
        if verdict == "rejected":
            log.endorse(proposal, "cobalt")
        forged = log.conclude(proposal, verdict, reason)  # type: ignore[arg-type]
        assert failing(log, start, carried=[proposal, first]) == [(16, forged)]


def test_an_outcome_that_follows_from_voices_before_the_range_verifies_even_at_its_border() -> None:
    log, proposal = confirmed()
    voices = [proposal + 1, proposal + 2]
    for start in (proposal + 1, proposal + 2, proposal + 3):
        carried = [at for at in (proposal, *voices) if at < start]
        assert failing(log, start, carried=carried) == []
    held = Shared.of_three()
    proposal = held.propose()
    voices = [held.endorse(proposal, member) for member in ("birch", "cobalt")]
    starts = [held.propose() for _ in range(2)]
    for start in starts:
        found = failing(held, start, carried=[proposal, *voices])
        assert found == [(16, voices[-1] + 1)]
