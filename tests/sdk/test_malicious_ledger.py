"""A ledger that lies: whatever it answers, no author is given a receipt that does not hold."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ledger_core import ids
from ledger_core.errors import IntegrityError
from ledger_core.formats import ed25519
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.entry import Header, format_entry, parse_entry
from ledger_core.formats.receipt import format_receipt, parse_receipt
from ledger_core.formats.submission import format_submission
from ledger_core.formats.trust_policy import parse_trust_policy
from ledger_core.formats.vkey import LogKey, NoteSigner, format_vkey, parse_vkey
from ledgergrid import (
    DistrustError,
    ForgedReceiptError,
    ForkedLedgerError,
    PendingError,
    Receipt,
    StrangeLogKeyError,
)
from tests.sdk.conftest import AnyLedger, OpenLedger, outbox_of
from tests.support.peer import ORIGIN, Fault, Line, Peer, PeerLog

STRANGER = NoteSigner(ORIGIN, ed25519.PrivateKey.generate())


def reheaded(peer: Peer, line: Line, change: Callable[[Header], Header]) -> Line:
    """Put the record into another tree, with another header; the proof itself holds."""
    branch = peer.log.branch()
    entry = parse_entry(branch.leaves[line["index"]])
    branch.leaves[line["index"]] = format_entry(replace(entry, header=change(entry.header)))
    return line | branch.acknowledge(line["id"])


def resigned(peer: Peer, line: Line, signer: NoteSigner) -> Line:
    branch = peer.log.branch()
    branch.signer = signer
    return line | branch.acknowledge(line["id"])


def reproved(line: Line, change: Callable[[list[bytes]], list[bytes]]) -> Line:
    receipt = parse_receipt(line["receipt"].encode())
    changed = replace(receipt, hashes=tuple(change(list(receipt.hashes))))
    return line | {"receipt": format_receipt(changed).decode()}


def other_record(peer: Peer, line: Line) -> Line:
    return line | peer.log.acknowledge(peer.stored[0]) | {"id": line["id"]}


FORGERIES: dict[str, Callable[[Peer, Line], Line]] = {
    "no receipt": lambda _, line: line | {"receipt": ""},
    "a receipt that is not ASCII": lambda _, line: line | {"receipt": "é"},
    "half a receipt": lambda _, line: line | {"receipt": line["receipt"][:200]},
    "no header": lambda _, line: (
        line | {"receipt": line["receipt"].replace("extra ", "extra AAAA", 1)}
    ),
    "another record's receipt": other_record,
    "another origin": lambda peer, line: reheaded(
        peer, line, lambda header: replace(header, origin="other.example/log")
    ),
    "another index in the header": lambda peer, line: reheaded(
        peer, line, lambda header: replace(header, index=header.index + 1)
    ),
    "another signature": lambda peer, line: reheaded(
        peer, line, lambda header: replace(header, signature=bytes(64))
    ),
    "a stranger's checkpoint": lambda peer, line: resigned(peer, line, STRANGER),
    "another log's checkpoint": lambda peer, line: resigned(
        peer, line, NoteSigner("other.example/log", STRANGER.private)
    ),
    "a wrong path": lambda _, line: reproved(line, lambda path: [bytes(32), *path[1:]]),
    "an empty path": lambda _, line: reproved(line, lambda path: []),
    "a path too long": lambda _, line: reproved(line, lambda path: [*path, bytes(32)]),
    "another index in words": lambda _, line: line | {"index": line["index"] + 1},
    "another leaf hash in words": lambda _, line: (
        line | {"leaf_hash": ids.format_digest(bytes(32))}
    ),
    "another time in words": lambda _, line: line | {"received_at": "1999-01-01T00:00:00.000Z"},
    "another id in words": lambda _, line: line | {"id": ids.new_record_id()},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_receipt_is_never_returned(
    open_ledger: OpenLedger, peer: Peer, forgery: str
) -> None:
    ledger = open_ledger()
    ledger.append("note/1", 0)
    peer.faults.append(Fault(rewrite=lambda lines: [FORGERIES[forgery](peer, lines[0])]))
    with pytest.raises(ForgedReceiptError):
        ledger.append("note/1", 1)
    assert len(outbox_of(ledger)) == 1, "nothing proves where the record is, so it is kept"
    [receipt] = ledger.flush()
    assert isinstance(receipt, Receipt)
    assert peer.stored[1] == receipt.id


def test_a_checkpoint_of_another_log_of_the_same_policy_proves_nothing_here(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    other = NoteSigner("other.example/log", STRANGER.private)
    text = f"log {peer.log.vkey}\nlog {format_vkey(other.public)}\nquorum none\n"
    ledger = open_ledger(log_key=None, trust=parse_trust_policy(text.encode()))

    def answer_as_the_other(lines: list[Line]) -> list[Line]:
        branch = peer.log.branch()
        branch.signer, branch.origin = other, other.name
        return [lines[0] | branch.acknowledge(lines[0]["id"])]

    peer.faults.append(Fault(rewrite=answer_as_the_other))
    with pytest.raises(ForgedReceiptError, match="another ledger's"):
        ledger.append("note/1", 1)


def test_receipts_of_two_records_swapped_are_both_refused(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    def swap(lines: list[Line]) -> list[Line]:
        return [lines[1], lines[0], lines[2]]

    peer.faults.append(Fault(rewrite=swap))
    first, second, third = open_ledger().append_many([("note/1", n) for n in range(3)])
    assert isinstance(first, ForgedReceiptError)
    assert isinstance(second, ForgedReceiptError)
    assert isinstance(third, Receipt)


def diverge(peer: Peer) -> None:
    """Give the log another past than the one it has shown."""
    branch = PeerLog(peer.log.signer)
    branch.leaves += [b"another past"] * (len(peer.log.leaves) - 1)
    peer.log = branch


def check_evidence(ledger: AnyLedger, error: ForkedLedgerError, vkey: str) -> None:
    """Check that the file convinces others: two signed checkpoints, and what was said."""
    assert error.evidence is not None
    assert error.evidence.parent == ledger.state_dir / "evidence"
    evidence = json.loads(error.evidence.read_text())
    key = parse_vkey(vkey)
    assert isinstance(key, LogKey)
    both = [verify_checkpoint(evidence[x].encode(), key) for x in ("remembered", "received")]
    assert both[0] != both[1]
    assert evidence["log_keys"] == [vkey]


def test_a_forked_checkpoint_is_refused_and_kept_as_evidence(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    ledger = open_ledger()
    ledger.append("note/1", 1)
    remembered = (ledger.state_dir / "checkpoint").read_bytes()
    diverge(peer)
    with pytest.raises(ForkedLedgerError) as error:
        ledger.append("note/1", 2)
    check_evidence(ledger, error.value, peer.log.vkey)
    assert (ledger.state_dir / "checkpoint").read_bytes() == remembered


def test_two_roots_for_one_size_are_a_fork(open_ledger: OpenLedger, peer: Peer) -> None:
    ledger = open_ledger()
    ledger.append("note/1", 1)
    diverge(peer)
    with pytest.raises(ForkedLedgerError, match="two roots for one size, 2") as error:
        ledger.checkpoint()
    check_evidence(ledger, error.value, peer.log.vkey)


def test_a_log_that_was_rolled_back_is_caught_after_a_restart(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    past = peer.log.branch()
    ledger = open_ledger()
    for number in range(5):
        ledger.append("note/1", number)
    peer.log = past
    again = open_ledger()
    with pytest.raises(ForkedLedgerError) as error:
        again.append("note/1", "after the rollback")
    check_evidence(again, error.value, peer.log.vkey)


def test_one_fork_met_often_is_kept_once(open_ledger: OpenLedger, peer: Peer) -> None:
    ledger = open_ledger()
    ledger.append("note/1", 1)
    diverge(peer)
    for _ in range(3):
        with pytest.raises(ForkedLedgerError):
            ledger.checkpoint()
    assert len(list((ledger.state_dir / "evidence").iterdir())) == 1


@pytest.mark.parametrize(
    "lie",
    [
        lambda answer: answer | {"hashes": []},
        lambda answer: answer | {"hashes": answer["hashes"] * 2},
        lambda answer: answer | {"hashes": [ids.format_digest(bytes(32))] * 64},
        lambda answer: answer | {"hashes": ["sha256:no"]},
        lambda answer: {},
    ],
)
def test_a_consistency_proof_that_does_not_prove_is_a_fork(
    open_ledger: OpenLedger, peer: Peer, lie: Callable[[Line], Line]
) -> None:
    ledger = open_ledger()
    ledger.append("note/1", 1)
    peer.proof_fault = lie
    with pytest.raises(ForkedLedgerError):
        ledger.append("note/1", 2)


def test_a_consistency_proof_that_does_not_come_leaves_the_outcome_open(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    ledger = open_ledger(patience_s=0.3)
    ledger.append("note/1", 1)
    peer.proof_fault = lambda _: {"status": 503, "problem": {}}
    with pytest.raises(PendingError):
        ledger.append("note/1", 2)
    peer.proof_fault = None
    [receipt] = ledger.flush()
    assert isinstance(receipt, Receipt)


def test_an_old_receipt_is_fine_if_today_continues_it(open_ledger: OpenLedger, peer: Peer) -> None:
    ledger = open_ledger(patience_s=0.0)
    peer.faults.append(Fault(lose_answer=True))
    with pytest.raises(PendingError):
        ledger.append("note/1", 1)
    peer.log.leaves += [b"another author's"] * 5
    assert ledger.checkpoint().size == 7
    [receipt] = ledger.flush()
    assert isinstance(receipt, Receipt)
    assert receipt.checkpoint.size == 2
    assert (ledger.state_dir / "checkpoint").read_bytes() == peer.log.checkpoint()


def test_an_older_checkpoint_of_another_past_is_a_fork(open_ledger: OpenLedger, peer: Peer) -> None:
    ledger = open_ledger()
    for number in range(4):
        ledger.append("note/1", number)

    def rewrite(lines: list[Line]) -> list[Line]:
        branch = PeerLog(peer.log.signer, [b"x", b"y"])
        branch.append(format_submission(peer.log.placed[lines[0]["id"]][0]))
        return [lines[0] | branch.acknowledge(lines[0]["id"])]

    peer.faults.append(Fault(rewrite=rewrite))
    with pytest.raises(ForkedLedgerError):
        ledger.append("note/1", 5)


def test_another_log_key_is_refused_where_one_is_known(open_ledger: OpenLedger, peer: Peer) -> None:
    open_ledger(log_key=None).append("note/1", 1)
    stranger = PeerLog(STRANGER)
    with pytest.raises(StrangeLogKeyError, match=r"log\.vkey"):
        open_ledger(log_key=stranger.vkey).append("note/1", 2)
    peer.log = stranger
    with pytest.raises(ForgedReceiptError):
        open_ledger(log_key=None).append("note/1", 3)


def test_a_key_named_unlike_the_ledger_is_not_believed_even_at_first(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    peer.log.signer = NoteSigner("other.example/log", STRANGER.private)
    with pytest.raises(DistrustError, match="not its log's"):
        open_ledger(log_key=None).append("note/1", 1)


def test_a_memory_that_was_tampered_with_is_not_believed(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    ledger = open_ledger()
    ledger.append("note/1", 1)
    path = ledger.state_dir / "checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n2\n", b"\n1\n"))
    with pytest.raises(IntegrityError, match="does not verify"):
        open_ledger().append("note/1", 2)
