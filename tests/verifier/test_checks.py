"""Every claim of the verifier is broken once, and it names check, entry, field and likely class."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ledger_core import ids, limits
from ledger_core.formats import archive
from ledger_core.formats.archive import Frame, parse_range_proof
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.entry import Entry, format_entry, parse_entry
from ledger_core.formats.record import Part, SignedRecord, format_record, make_part, seal
from ledger_core.formats.vkey import NoteSigner
from ledger_core.merkle import tree
from ledger_core.merkle.tiles import format_bundle, parse_bundle
from tests.support.archives import BEGAN_MS, ORIGIN, Archive, Log, key, record_id
from tests.verifier.audits import audit, first, policy_of, small_log
from verifier.evidence import parse_kept_checkpoint, parse_kept_receipt
from verifier.findings import Finding, Likely
from verifier.report import exit_code

BUNDLE, PARTS = archive.entries_name(0), archive.payloads_name(0)


def named(finding: Finding) -> tuple[int, int | None, str, Likely]:
    return finding.check, finding.index, finding.field, finding.likely


def with_leaves(made: Archive, leaves: list[bytes]) -> Archive:
    made.files[BUNDLE] = format_bundle(leaves)
    return made.reseal()


def leaves_of(made: Archive) -> list[bytes]:
    return list(parse_bundle(made.files[BUNDLE]))


def frames_of(log: Log) -> list[Frame]:
    return [
        Frame(index, name, part)
        for index, parts in enumerate(log.payloads)
        for name, part in sorted(parts.items())
    ]


def with_frames(made: Archive, frames: list[Frame]) -> Archive:
    made.files[PARTS] = b"".join(map(archive.format_frame, frames))
    return made.reseal()


# --- what passes, and how far ------------------------------------------------------


def test_an_intact_archive_is_internally_consistent_and_no_more_without_a_trust_policy() -> None:
    verdict = audit(small_log().archive())
    assert (verdict.level, verdict.entries, verdict.findings.kept) == ("L0", 9, [])
    assert exit_code(verdict, "L0") == 0
    assert exit_code(verdict, "L1") == 2


def test_a_log_in_the_trust_policy_makes_it_l1_and_a_quorum_of_witnesses_l2() -> None:
    log = small_log()
    assert audit(log.archive(cosigned=True), policy=policy_of(log)).level == "L1"
    assert audit(log.archive(cosigned=True), policy=policy_of(log, quorum=True)).level == "L2"


def test_a_quorum_that_is_not_met_leaves_it_at_l1_and_says_so() -> None:
    log = small_log()
    verdict = audit(log.archive(), policy=policy_of(log, quorum=True))
    assert verdict.level == "L1"
    assert [(f.check, f.level) for f in verdict.findings.kept] == [(15, "warn")]
    assert exit_code(verdict, "L2") == 2


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 5), (1, 9), (3, 7), (8, 9)])
def test_a_range_verifies_with_its_context(start: int, end: int) -> None:
    log = small_log()
    verdict = audit(log.archive(start, end), policy=policy_of(log))
    assert (verdict.level, verdict.entries) == ("L1", end - start)
    assert verdict.charter == ids.format_digest(log.hashes[0])


def test_withheld_parts_are_declared_and_pass() -> None:
    verdict = audit(small_log().archive(withheld=[(2, "body"), (8, "request")]))
    assert (verdict.level, verdict.findings.kept) == ("L0", [])


def test_several_segments_join_whatever_the_range() -> None:
    log = Log.founded()
    for number in range(limits.ARCHIVE_SEGMENT_ENTRIES + 10):
        log.note(number)
    end = len(log.leaves)
    for start in (0, 2000, 2048):
        verdict = audit(log.archive(start, end))
        assert (verdict.level, verdict.entries) == ("L0", end - start)


# --- 1 to 4 ------------------------------------------------------------------------


def test_a_manifest_edited_without_its_key_is_named() -> None:
    made = small_log().archive()
    made.files[archive.MANIFEST] = made.files[archive.MANIFEST].replace(b"T10:", b"T11:")
    assert named(first(made)) == (2, None, "manifest.sig", Likely.EDITED)


def test_a_manifest_signed_by_a_stranger_is_named() -> None:
    made = small_log().archive()
    made.operator = key(9)
    made.reseal(exported_by=ids.format_key(key(9).public_key))
    assert named(first(made)) == (2, None, "exported_by", Likely.UNREGISTERED)


def test_a_manifest_signed_by_an_agent_is_named() -> None:
    made = small_log().archive()
    made.operator = key(2)
    made.reseal(exported_by=ids.format_key(key(2).public_key))
    assert named(first(made)) == (2, None, "exported_by", Likely.UNREGISTERED)


def test_a_manifest_signed_by_another_than_it_says_is_named() -> None:
    made = small_log().archive().reseal(exported_by=ids.format_key(key(2).public_key))
    assert first(made).field == "exported_by"


def test_an_edited_missing_or_undeclared_file_is_named() -> None:
    made = small_log().archive()
    made.files[archive.CSV] = b"inDex\n"
    assert named(first(made)) == (3, None, "digest of entries.csv", Likely.EDITED)
    made = small_log().archive()
    del made.files[archive.CSV]
    assert named(first(made)) == (3, None, archive.CSV, Likely.TRUNCATED)
    made = small_log().archive()
    made.files["run-me.sh"] = b"#!/bin/sh\n"
    assert named(first(made)) == (3, None, "run-me.sh", Likely.CLAIM)


@pytest.mark.parametrize("field", ["size", "root"])
def test_a_checkpoint_other_than_the_manifests_is_named(field: str) -> None:
    log = small_log()
    made = log.archive()
    changes = {"size": 10} if field == "size" else {"root": ids.format_digest(bytes(32))}
    scope = msgspec.structs.replace(made.manifest().scope, **changes)
    finding = first(made.reseal(scope=scope))
    assert (finding.check, finding.field) == (4, f"checkpoint's {field}")


def test_a_checkpoint_signed_by_another_key_of_the_same_name_is_named() -> None:
    log = small_log()
    log.signer = NoteSigner(ORIGIN, key(9))
    assert named(first(log.archive())) == (4, None, "checkpoint", Likely.FORGED)


def test_a_log_that_the_policy_does_not_list_is_not_believed() -> None:
    log, other = small_log(), Log(signer=NoteSigner(ORIGIN, key(9)))
    finding = first(log.archive(), policy=policy_of(other))
    assert named(finding) == (4, None, "checkpoint", Likely.UNTRUSTED)


# --- 5, 6, 7: entries in their places ------------------------------------------------


def test_a_flipped_bit_in_a_record_names_its_entry() -> None:
    made = small_log().archive()
    leaves = leaves_of(made)
    leaves[4] = leaves[4].replace(b'"made_at":"2026', b'"made_at":"2027')
    finding = first(with_leaves(made, leaves))
    assert named(finding) == (8, 4, "signature", Likely.EDITED)


def test_a_removed_entry_is_named_where_it_stood() -> None:
    made = small_log().archive()
    leaves = leaves_of(made)
    del leaves[4]
    finding = first(with_leaves(made, leaves))
    assert named(finding) == (5, 4, "index", Likely.MOVED)
    assert (finding.expected, finding.found) == ("4", "5")


def test_swapped_entries_are_named_where_they_stand() -> None:
    made = small_log().archive()
    leaves = leaves_of(made)
    leaves[4], leaves[5] = leaves[5], leaves[4]
    assert named(first(with_leaves(made, leaves))) == (5, 4, "index", Likely.MOVED)


def test_a_cut_tail_is_named() -> None:
    made = small_log().archive()
    finding = first(with_leaves(made, leaves_of(made)[:-2]))
    assert named(finding) == (5, 7, "entries in this segment", Likely.TRUNCATED)
    made = small_log().archive()
    made.files[BUNDLE] = made.files[BUNDLE][:-10]
    assert named(first(made.reseal())) == (5, 8, BUNDLE, Likely.TRUNCATED)


def test_a_missing_segment_is_named_with_its_first_entry() -> None:
    made = small_log().archive()
    del made.files[BUNDLE]
    finding = first(made.reseal())
    assert named(finding) == (3, 0, "entries", Likely.TRUNCATED)


def rewritten(log: Log, index: int, **changes: Any) -> bytes:
    """Return a leaf with a changed header."""
    entry = parse_entry(log.leaves[index])
    header = msgspec.structs.replace(entry.header, **changes)
    return format_entry(Entry(header, entry.record))


def test_an_entry_of_another_origin_is_named() -> None:
    log = small_log()
    made = log.archive()
    leaves = leaves_of(made)
    leaves[3] = rewritten(log, 3, origin="ledgergrid.example/log2")
    assert named(first(with_leaves(made, leaves))) == (5, 3, "origin", Likely.REPLACED_ENTRY)


def test_a_broken_link_is_named_even_if_tree_and_manifest_fit() -> None:
    log = small_log()
    signed = seal_note(log, key(2))
    log.hashes[-1], kept = bytes(32), log.hashes[-1]
    log.place(signed, {})
    log.hashes[-2] = kept
    finding = first(log.archive())
    assert named(finding) == (6, 9, "previous", Likely.MOVED)


def seal_note(log: Log, author: PrivateKey, **changes: Any) -> SignedRecord:
    record = parse_entry(log.leaves[2]).signed_record().record
    changed = msgspec.structs.replace(
        record,
        **{
            "id": record_id(len(log.leaves)),
            "author": ids.format_key(author.public_key),
            "payload": {},
            **changes,
        },
    )
    return seal(changed, author)


def test_time_that_goes_back_is_named() -> None:
    log = small_log()
    log.note("late")
    ref, part = make_part(b"1", "application/json")
    log.place(seal_note(log, key(2), payload={"body": ref}), {"body": part}, BEGAN_MS - 1)
    assert named(first(log.archive())) == (6, 10, "received_at", Likely.MOVED)


def test_a_chain_broken_between_segments_is_named() -> None:
    log = Log.founded()
    while len(log.leaves) < limits.ARCHIVE_SEGMENT_ENTRIES:
        log.note(0)
    kept, log.hashes[-1] = log.hashes[-1], bytes(32)
    log.note(1)
    log.hashes[-2] = kept
    assert named(first(log.archive())) == (6, 2048, "previous", Likely.MOVED)


def test_a_root_that_the_entries_do_not_have_is_named() -> None:
    log = small_log()
    made = log.archive()
    wrong = Checkpoint(ORIGIN, 9, bytes(32))
    made.files[archive.CHECKPOINT] = sign_checkpoint(wrong, log.signer)
    scope = msgspec.structs.replace(made.manifest().scope, root=ids.format_digest(bytes(32)))
    assert named(first(made.reseal(scope=scope))) == (7, None, "root", Likely.EDITED)


def test_a_range_proof_of_another_range_is_named() -> None:
    log = small_log()
    made = log.archive(3, 7)
    made.files[archive.RANGE_PROOF] = log.archive(3, 6).files[archive.RANGE_PROOF]
    assert parse_range_proof(made.files[archive.RANGE_PROOF]).end == 6
    assert first(made.reseal()).field in ("range-proof", "size")


# --- 8 to 11: what is in them ----------------------------------------------------------


def test_a_signature_by_another_key_is_a_forgery_when_tree_and_chain_fit() -> None:
    log = small_log()
    honest = seal_note(log, key(2))
    forged = SignedRecord(honest.record, honest.raw, key(9).sign(honest.raw))
    log.place(forged, {})
    assert named(first(log.archive())) == (8, 9, "signature", Likely.FORGED)


def test_a_record_that_is_not_canonical_is_named() -> None:
    log = small_log()
    record = seal_note(log, key(2)).record
    raw = format_record(record).replace(b'","', b'", "')
    log.place(SignedRecord(record, raw, key(2).sign(raw)), {})
    with_gap = first(log_archive_of(log))
    assert named(with_gap) == (8, 9, "record", Likely.EDITED)


def log_archive_of(log: Log) -> Archive:
    """Export a log whose last record cannot be parsed: count it as nothing."""
    last = log.leaves.pop(), log.hashes.pop(), log.payloads.pop()
    made = log.archive()
    log.leaves.append(last[0])
    log.hashes.append(last[1])
    log.payloads.append(last[2])
    leaves = [*leaves_of(made), last[0]]
    size = len(log.leaves)
    made.files[archive.CHECKPOINT] = log.checkpoint()
    proof = archive.RangeProof(0, size, size, ())
    made.files[archive.RANGE_PROOF] = archive.format_range_proof(proof)
    made.files[BUNDLE] = format_bundle(leaves)
    root = log_root(log)
    return made.reseal(scope=archive.Scope(0, size, size, root))


def log_root(log: Log) -> str:
    return ids.format_digest(tree.root(log.hashes))


def test_a_record_made_for_another_ledger_is_named() -> None:
    log = small_log()
    log.note("x", ledger="ledgergrid.example/log2")
    assert named(first(log.archive())) == (8, 9, "ledger", Likely.REPLACED_ENTRY)


def test_an_unknown_record_type_is_unsupported_and_not_a_pass() -> None:
    log = small_log()
    log.place(seal_note(log, key(2), type="note/2"), {})
    verdict = audit(log_archive_of(log))
    finding = verdict.findings.first()
    assert finding is not None
    assert named(finding) == (8, 9, "type", Likely.UNSUPPORTED)
    assert verdict.level is None


def test_an_id_that_comes_twice_is_named_at_its_second_place() -> None:
    log = small_log()
    log.note("again", id=record_id(3))
    finding = first(log.archive())
    assert named(finding) == (9, 9, "id", Likely.REPEATED)
    assert "entry 3" in finding.found


def test_an_author_who_never_stood_is_named() -> None:
    log = small_log()
    log.note("hello", author=key(9))
    assert named(first(log.archive())) == (10, 9, "author", Likely.UNREGISTERED)


def test_an_author_is_judged_by_what_stood_at_that_index() -> None:
    log = Log.founded()
    log.note("too early", author=key(8))
    log.register(key(8))
    log.note("in time", author=key(8))
    log.revoke(key(8))
    assert first(log.archive()).index == 2
    log = Log.founded()
    log.register(key(8))
    log.note("in time", author=key(8))
    log.revoke(key(8))
    assert audit(log.archive()).level == "L0"
    log.note("too late", author=key(8))
    assert named(first(log.archive())) == (10, 5, "author", Likely.UNREGISTERED)
    assert named(first(log.archive(5))) == (10, 5, "author", Likely.UNREGISTERED)


def test_a_key_registered_by_an_agent_gives_nobody_standing() -> None:
    log = small_log()
    log.register(key(8), author=key(2))
    log.note("hello", author=key(8))
    made = log.archive()
    verdict = audit(made)
    assert named(first(made)) == (10, 9, "author", Likely.NO_ROLE)
    assert [f.index for f in verdict.findings.kept if f.check == 10] == [9, 10]


def test_a_log_that_does_not_begin_with_a_charter_is_refused() -> None:
    log = Log()
    log.note("first", author=key(1))
    assert first(log.archive()).check == 10


def test_another_ledger_than_the_one_asked_for_is_named() -> None:
    made, wanted = small_log().archive(), ids.format_digest(bytes(32))
    assert named(first(made, charter=wanted)) == (10, 0, "charter", Likely.UNTRUSTED)
    made = small_log().archive().reseal(charter=wanted)
    assert named(first(made)) == (10, 0, "charter", Likely.CLAIM)


def test_a_replaced_payload_is_named_with_its_part() -> None:
    log = small_log()
    frames = frames_of(log)
    at = next(i for i, frame in enumerate(frames) if frame.index == 5)
    frames[at] = Frame(5, "body", Part(bytes(32), b'{"n":7}'))
    finding = first(with_frames(log.archive(), frames))
    assert named(finding) == (11, 5, "payload", Likely.REPLACED_PAYLOAD)
    assert finding.found.startswith("mismatch")


def test_a_replaced_part_beside_a_withheld_one_is_named() -> None:
    log = small_log()
    frames = frames_of(log)
    frames = [Frame(8, f.name, None) if f.name == "request" else f for f in frames]
    frames[-1] = Frame(8, "response", Part(b"\2" * 32, b"data: {1}\n"))
    finding = first(with_frames(log.archive(), frames))
    assert named(finding) == (11, 8, "payload", Likely.REPLACED_PAYLOAD)


def test_a_payload_that_is_neither_there_nor_withheld_is_missing() -> None:
    log = small_log()
    frames = [frame for frame in frames_of(log) if frame.index != 4]
    finding = first(with_frames(log.archive(), frames))
    assert named(finding) == (11, 4, "part body", Likely.MISSING_PAYLOAD)
    assert finding.found.startswith("missing")


@pytest.mark.parametrize("where", [3, 9, 2**62])
def test_a_payload_that_nobody_commits_to_is_named(where: int) -> None:
    log = small_log()
    frames = [*frames_of(log), Frame(where, "extra", Part(bytes(32), b"{}"))]
    assert first(with_frames(log.archive(), frames)).check == 11


def test_a_payload_against_its_schema_is_named() -> None:
    log = small_log()
    log.append("agent.action/1", {"action": "x", "status": "wished"}, log.agent)
    assert named(first(log.archive())) == (11, 9, "payload", Likely.BAD_PAYLOAD)


def test_governance_cannot_be_withheld() -> None:
    made = small_log().archive(withheld=[(1, "body")])
    assert named(first(made)) == (11, 1, "payload", Likely.WITHHELD)


# --- 12 to 15 ----------------------------------------------------------------------------


def test_context_that_is_not_in_the_tree_is_named() -> None:
    log, other = small_log(), Log.founded()
    other.revoke(key(2))
    made = log.archive(4, 8)
    made.files[archive.context_name(1, "tlog-proof")] = other.receipt(1)
    assert first(made.reseal()).check == 12
    made = log.archive(4, 8)
    made.files[archive.context_name(1, "entry")] = log.leaves[2]
    finding = first(made.reseal())
    assert (finding.check, finding.index) == (5, 1)


def test_left_out_context_leaves_authors_without_standing() -> None:
    made = small_log().archive(4, 8)
    for kind in ("entry", "parts", "tlog-proof"):
        del made.files[f"context/{1:012d}.{kind}"]
    assert named(first(made.reseal())) == (10, 4, "author", Likely.UNREGISTERED)


@pytest.mark.parametrize("field", ["entries", "context", "parts_present", "parts_withheld"])
def test_a_count_that_does_not_reconcile_is_named(field: str) -> None:
    made = small_log().archive()
    counts = made.manifest().counts
    wrong = msgspec.structs.replace(counts, **{field: getattr(counts, field) + 1})
    finding = first(made.reseal(counts=wrong))
    assert named(finding) == (13, None, f"counts.{field}", Likely.CLAIM)


def test_a_count_by_type_that_does_not_reconcile_is_named() -> None:
    made = small_log().archive()
    counts = made.manifest().counts
    wrong = msgspec.structs.replace(counts, by_type={**counts.by_type, "note/1": 1})
    assert first(made.reseal(counts=wrong)).field == "counts.by_type.note/1"


def test_kept_receipts_and_checkpoints_of_the_same_log_agree() -> None:
    log = small_log()
    evidence = tuple(
        [parse_kept_receipt(f"r{i}", log.receipt(i, size)) for size in (6, 9) for i in range(5)]
        + [parse_kept_checkpoint(f"c{size}", log.checkpoint(size)) for size in range(1, 10)]
    )
    verdict = audit(log.archive(), evidence=evidence, policy=policy_of(log))
    assert (verdict.level, verdict.findings.kept) == ("L1", [])


def rewritten_history() -> tuple[Log, Log]:
    """Two logs under the same keys that part at entry 5."""
    one, other = small_log(), Log.founded()
    for number in range(3):
        other.note({"n": number})
    other.note({"n": "something else"})
    other.note({"n": 4})
    return one, other


def test_a_receipt_of_a_history_that_was_rewritten_is_named() -> None:
    log, other = rewritten_history()
    kept = parse_kept_receipt("mine", other.receipt(5))
    assert named(first(log.archive(), evidence=(kept,))) == (14, 5, "mine", Likely.REWRITTEN)


def test_an_older_checkpoint_that_is_no_prefix_is_named() -> None:
    log, other = rewritten_history()
    kept = parse_kept_checkpoint("old", other.checkpoint())
    finding = first(log.archive(), evidence=(kept,))
    assert named(finding) == (14, None, "old: root at size 7", Likely.REWRITTEN)


def test_evidence_signed_by_nobody_trusted_is_named() -> None:
    log = small_log()
    forger = Log(signer=NoteSigner(ORIGIN, key(9)), leaves=log.leaves, hashes=log.hashes)
    kept = parse_kept_checkpoint("forged", forger.checkpoint())
    for policy in (None, policy_of(log)):
        assert first(log.archive(), evidence=(kept,), policy=policy).likely is Likely.UNTRUSTED


def test_evidence_that_the_archive_does_not_reach_is_said_to_be_unchecked() -> None:
    log = small_log()
    made = log.archive(3, 7)
    kept = (
        parse_kept_checkpoint("before", log.checkpoint(2)),
        parse_kept_receipt("after", log.receipt(8)),
    )
    verdict = audit(made, evidence=kept)
    assert verdict.level == "L0"
    assert [(f.check, f.level) for f in verdict.findings.kept] == [(14, "warn")] * 2


def test_a_cosignature_that_does_not_verify_is_named() -> None:
    log = small_log()
    made = log.archive(cosigned=True)
    text = made.files[archive.CHECKPOINT].decode().splitlines(keepends=True)
    other = log.checkpoint(5, cosigned=True).decode().splitlines(keepends=True)
    made.files[archive.CHECKPOINT] = "".join([*text[:-1], other[-1]]).encode()
    finding = first(made.reseal(), policy=policy_of(log, quorum=True))
    assert named(finding) == (15, None, "checkpoint", Likely.FORGED)
