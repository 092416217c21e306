"""An honest ledger, a bad network: what is appended is there once, and its receipt is checked."""

from __future__ import annotations

import pytest

from ledger_core import ids
from ledger_core.errors import (
    AccessError,
    BusyError,
    ConflictError,
    MalformedError,
    NotFoundError,
    ReadOnlyError,
    StandingError,
)
from ledger_core.formats.record import Saw, parse_record
from ledger_core.formats.submission import parse_submission
from ledger_core.merkle import tree
from ledgergrid import Ledger, LedgerGridError, PendingError, Receipt, Signer, UnreachableError
from tests.sdk.conftest import OpenLedger, outbox_of
from tests.support.peer import Fault, Peer


def test_a_record_is_appended_and_its_receipt_proves_it(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    receipt = open_ledger().append("note/1", {"hello": "world"})
    assert receipt.index == 1
    assert receipt.leaf_hash == ids.format_digest(tree.leaf_hash(peer.log.leaves[1]))
    assert peer.log.leaves[1].endswith(receipt.record)
    submission = peer.log.placed[receipt.id][0]
    assert submission.parts["body"].data == b'{"hello":"world"}'


def test_without_a_key_the_ledger_is_asked_once_and_believed_for_good(
    open_ledger: OpenLedger, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"trust": None, "log_key": None}
    first = open_ledger(**settings)
    first.append("note/1", 1)
    open_ledger(**settings).append("note/1", 2)
    assert peer.seen.count("GET ") == 1
    assert (first.state_dir / "log.vkey").read_text() == f"{peer.log.vkey}\n"
    assert f"trusting {peer.log.vkey} on first use" in caplog.text


def test_a_key_given_by_the_caller_is_not_asked_for(open_ledger: OpenLedger, peer: Peer) -> None:
    open_ledger().append("note/1", 1)
    assert peer.seen == ["POST /records"]


def test_the_outbox_is_empty_once_a_receipt_was_returned(open_ledger: OpenLedger) -> None:
    ledger = open_ledger()
    ledger.append("note/1", 1)
    assert outbox_of(ledger) == []


def test_an_acknowledgement_lost_on_the_way_gives_one_entry(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    peer.faults.append(Fault(lose_answer=True))
    receipt = open_ledger().append("note/1", 1)
    assert peer.stored == [receipt.id]
    assert peer.seen == ["POST /records"] * 2


def test_a_request_lost_on_the_way_is_sent_again(open_ledger: OpenLedger, peer: Peer) -> None:
    peer.faults += [Fault(lose_request=True)] * 2
    receipt = open_ledger().append("note/1", 1)
    assert peer.stored == [receipt.id]


def test_an_answer_that_comes_too_late_gives_one_entry(open_ledger: OpenLedger, peer: Peer) -> None:
    peer.faults.append(Fault(stall_s=0.6))
    receipt = open_ledger(timeout_s=0.3).append("note/1", 1)
    assert peer.stored == [receipt.id]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_refusal_is_tried_again(open_ledger: OpenLedger, peer: Peer, status: int) -> None:
    peer.faults.append(Fault(status=status))
    receipt = open_ledger().append("note/1", 1)
    assert peer.stored == [receipt.id]


@pytest.mark.parametrize("garbage", [b"<html>Please log in</html>", b"{}", b"[" * 100_000])
def test_an_answer_that_is_none_of_a_ledger_is_tried_again(
    open_ledger: OpenLedger, peer: Peer, garbage: bytes
) -> None:
    peer.faults.append(Fault(garbage=garbage))
    receipt = open_ledger().append("note/1", 1)
    assert peer.stored == [receipt.id]


def test_an_endless_answer_is_cut_off(open_ledger: OpenLedger, peer: Peer) -> None:
    peer.always = Fault(garbage=b" " * 3_000_000)
    with pytest.raises(PendingError, match="exceeds"):
        open_ledger(patience_s=0.0).append("note/1", 1)


def test_retry_after_is_honoured_or_patience_ends(open_ledger: OpenLedger, peer: Peer) -> None:
    peer.always = Fault(status=503, retry_after="7")
    with pytest.raises(PendingError):
        open_ledger(patience_s=5.0).append("note/1", 1)
    assert peer.seen == ["POST /records"]


def test_what_has_no_answer_stays_in_the_outbox_and_goes_out_with_the_next_record(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    ledger = open_ledger(patience_s=0.3)
    peer.always = Fault(lose_answer=True)
    with pytest.raises(PendingError) as pending:
        ledger.append("note/1", "first")
    assert [path.stem for path in outbox_of(ledger)] == [pending.value.id]
    peer.always = None
    receipt = ledger.append("note/1", "second")
    assert peer.stored == [pending.value.id, receipt.id]
    assert outbox_of(ledger) == []


def test_what_an_earlier_run_left_is_sent_with_the_same_bytes_by_flush(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    peer.always = Fault(lose_request=True)
    with pytest.raises(PendingError) as pending:
        open_ledger(patience_s=0.0).append("note/1", 1)
    peer.always = None
    ledger = open_ledger()
    [left] = outbox_of(ledger)
    line = left.read_bytes()
    [receipt] = ledger.flush()
    assert isinstance(receipt, Receipt)
    assert receipt.id == pending.value.id
    assert peer.log.placed[receipt.id][0] == parse_submission(line.rstrip())
    assert ledger.flush() == []


def test_a_damaged_outbox_file_is_put_aside_and_the_rest_is_sent(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    peer.always = Fault(lose_request=True)
    ledger = open_ledger(patience_s=0.0)
    for number in (1, 2):
        with pytest.raises(PendingError):
            ledger.append("note/1", number)
    first, _ = outbox_of(ledger)
    first.write_bytes(first.read_bytes()[:-40])
    peer.always = None
    [receipt] = ledger.flush()
    assert isinstance(receipt, Receipt)
    assert [path.suffix for path in (ledger.state_dir / "refused").iterdir()] == [".damaged"]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(403, "no-standing", StandingError), (413, "too-large", MalformedError)],
)
def test_a_refused_record_is_put_aside_with_the_reason_and_never_sent_again(
    open_ledger: OpenLedger, peer: Peer, status: int, code: str, kind: type[LedgerGridError]
) -> None:
    ledger = open_ledger()
    peer.faults.append(Fault(status=status, code=code))
    with pytest.raises(kind, match="as told"):
        ledger.append("note/1", 1)
    assert outbox_of(ledger) == []
    record, reason = sorted((ledger.state_dir / "refused").iterdir())
    assert reason.read_text() == f"{code}: as told\n"
    parse_submission(record.read_bytes())
    ledger.append("note/1", 2)
    assert peer.seen == ["POST /records"] * 2


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthorized", AccessError),
        (404, "not-found", NotFoundError),
        (503, "read-only", ReadOnlyError),
        (405, "", LedgerGridError),
    ],
)
def test_what_is_not_the_records_fault_is_raised_and_the_record_kept(
    open_ledger: OpenLedger, peer: Peer, status: int, code: str, kind: type[LedgerGridError]
) -> None:
    ledger = open_ledger()
    peer.faults.append(Fault(status=status, code=code))
    with pytest.raises(kind):
        ledger.append("note/1", 1)
    assert len(outbox_of(ledger)) == 1
    [receipt] = ledger.flush()
    assert isinstance(receipt, Receipt)


def test_an_id_taken_by_other_bytes_is_a_conflict_with_both_digests(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    ledger = open_ledger(patience_s=0.0)
    other = ledger.append("note/1", 1)
    peer.faults.append(Fault(lose_request=True))
    with pytest.raises(PendingError) as pending:
        ledger.append("note/1", 2)
    peer.log.placed[pending.value.id] = peer.log.placed[other.id]
    [conflict] = ledger.flush()
    assert isinstance(conflict, ConflictError)
    assert ids.parse_digest(conflict.stored) != ids.parse_digest(conflict.received)
    assert outbox_of(ledger) == []


def test_nothing_is_sealed_for_a_ledger_nobody_has_met(
    open_ledger: OpenLedger, peer: Peer, signer: Signer
) -> None:
    with (
        Ledger("http://127.0.0.1:9", ledger="main", signer=signer, patience_s=0.0) as nowhere,
        pytest.raises(UnreachableError) as error,
    ):
        nowhere.append("note/1", 1)
    assert not isinstance(error.value, PendingError)


def test_each_record_says_which_checkpoint_its_author_saw(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    ledger = open_ledger()
    first = ledger.append("note/1", 1)
    second = ledger.append("note/1", 2)
    assert not isinstance(parse_record(first.record).saw, Saw)
    root = ids.format_digest(first.checkpoint.root)
    assert parse_record(second.record).saw == Saw(root=root, size=2)
    third = open_ledger(saw=False).append("note/1", 3)
    assert not isinstance(parse_record(third.record).saw, Saw)


def test_a_full_outbox_refuses_before_anything_is_sent(open_ledger: OpenLedger, peer: Peer) -> None:
    with pytest.raises(BusyError, match="full"):
        open_ledger(outbox_bytes=100).append("note/1", 1)
    assert peer.seen == []


def test_the_token_goes_into_the_header_and_nowhere_else(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    ledger = open_ledger(token="s3cret")
    ledger.append("note/1", 1)
    ledger.append("note/1", 2)
    assert set(peer.tokens) == {"Bearer s3cret"}
    files = [path for path in ledger.state_dir.rglob("*") if path.is_file()]
    assert not any(b"s3cret" in path.read_bytes() for path in files)


def test_the_newest_checkpoint_is_fetched_checked_and_remembered(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    ledger = open_ledger()
    ledger.append("note/1", 1)
    peer.log.leaves += [b"another author's", b"and another's"]
    assert ledger.checkpoint().size == 4
    assert (ledger.state_dir / "checkpoint").read_bytes() == peer.log.checkpoint()
