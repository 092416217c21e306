"""Many records at once, and records sent in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from ledger_core.errors import BusyError, MalformedError, SettingsError, StandingError
from ledger_core.formats.record import parse_record
from ledgergrid import AsyncLedger, Draft, Ledger, PendingError, Receipt, Signer, batching, session
from tests.sdk.conftest import OpenLedger, outbox_of
from tests.support.peer import Fault, Line, Peer, make_problem


@pytest.fixture
def ledger(peer: Peer, signer: Signer, tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(
        peer.url,
        ledger="main",
        signer=signer,
        log_key=peer.log.vkey,
        state_dir=tmp_path,
        patience_s=5.0,
    ) as ledger:
        yield ledger


def test_many_records_have_their_receipts_in_order(open_ledger: OpenLedger, peer: Peer) -> None:
    outcomes = open_ledger().append_many(("note/1", n) for n in range(20))
    receipts = [each for each in outcomes if isinstance(each, Receipt)]
    assert [receipt.index for receipt in receipts] == list(range(1, 21))
    assert peer.seen.count("POST /records:batch") == 1


def test_one_bad_record_does_not_sink_its_batch(open_ledger: OpenLedger, peer: Peer) -> None:
    def refuse_second(lines: list[Line]) -> list[Line]:
        return [lines[0], make_problem(403, "no-standing", "not registered"), *lines[2:]]

    peer.faults.append(Fault(rewrite=refuse_second))
    ledger = open_ledger()
    drafts: list[Draft | tuple[str, object]]
    drafts = [Draft("note/1", 0), Draft("note/1", 1), Draft("note/1", {1, 2}), ("note/1", 3)]
    kinds = [type(each) for each in ledger.append_many(drafts)]
    assert kinds == [Receipt, StandingError, MalformedError, Receipt]
    assert outbox_of(ledger) == []
    assert len(list((ledger.state_dir / "refused").glob("*.json"))) == 1


def test_a_batch_answered_in_part_is_completed(open_ledger: OpenLedger, peer: Peer) -> None:
    def half(lines: list[Line]) -> list[Line]:
        return lines[:4]

    def busy(lines: list[Line]) -> list[Line]:
        return [*lines[:2], *[make_problem(503, "busy", "full")] * (len(lines) - 2)]

    peer.faults += [Fault(rewrite=half), Fault(rewrite=busy), Fault(lose_answer=True)]
    outcomes = open_ledger().append_many(("note/1", n) for n in range(10))
    assert all(isinstance(each, Receipt) for each in outcomes)
    assert len(peer.stored) == 10


def test_a_batch_refused_as_a_whole_is_halved_until_it_passes(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    peer.batch_limit_records = 3
    outcomes = open_ledger().append_many(("note/1", n) for n in range(10))
    assert all(isinstance(each, Receipt) for each in outcomes)
    assert len(peer.stored) == 10


def test_more_than_a_batch_takes_several_requests(
    open_ledger: OpenLedger, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BATCH_RECORDS", 4)
    outcomes = open_ledger().append_many(("note/1", n) for n in range(10))
    assert [each.index for each in outcomes if isinstance(each, Receipt)] == list(range(1, 11))
    assert peer.seen.count("POST /records:batch") == 3


def test_large_records_make_small_batches(
    open_ledger: OpenLedger, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BATCH_BYTES", 5000)
    outcomes = open_ledger().append_many(("note/1", "x" * 2000) for _ in range(3))
    assert all(isinstance(each, Receipt) for each in outcomes)
    assert [path for path in peer.seen if path.startswith("POST")] == ["POST /records"] * 3


def test_nothing_to_append_is_nothing_to_send(open_ledger: OpenLedger, peer: Peer) -> None:
    assert open_ledger().append_many([]) == []
    assert peer.seen == []


def test_a_ledger_out_of_reach_leaves_every_record_of_many_in_the_outbox(
    open_ledger: OpenLedger, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BATCH_RECORDS", 4)
    peer.always = Fault(lose_answer=True)
    ledger = open_ledger(patience_s=0.2)
    outcomes = ledger.append_many(("note/1", n) for n in range(10))
    assert [type(each) for each in outcomes] == [PendingError] * 10
    assert len(outbox_of(ledger)) == 3
    peer.always = None
    assert [type(each) for each in ledger.flush()] == [Receipt] * 10
    assert len(peer.stored) == 10
    assert outbox_of(ledger) == []


def test_what_is_enqueued_while_a_batch_travels_makes_the_next_batch(
    ledger: Ledger, peer: Peer
) -> None:
    peer.faults.append(Fault(stall_s=0.3))
    futures = [ledger.enqueue("note/1", n, stream="run") for n in range(50)]
    receipts = [future.result(timeout=10) for future in futures]
    assert [parse_record(receipt.record).n for receipt in receipts] == list(range(50))
    assert [receipt.index for receipt in receipts] == list(range(1, 51))
    assert sum(path.startswith("POST") for path in peer.seen) <= 4


def test_a_refusal_is_raised_where_its_future_is_asked(ledger: Ledger, peer: Peer) -> None:
    peer.faults.append(Fault(status=403, code="no-standing"))
    future = ledger.enqueue("note/1", 1)
    with pytest.raises(StandingError):
        future.result(timeout=10)
    assert ledger.enqueue("note/1", 2).result(timeout=10).index == 1


def test_the_worker_outlives_a_broken_disk(ledger: Ledger, peer: Peer) -> None:
    ledger.append("note/1", 0)
    outbox = ledger.state_dir / "outbox"
    outbox.rename(outbox.with_name("gone"))
    with pytest.raises(OSError, match="outbox"):
        ledger.enqueue("note/1", 1).result(timeout=10)
    outbox.with_name("gone").rename(outbox)
    assert ledger.enqueue("note/1", 2).result(timeout=10).index == 2


def test_closing_sends_what_was_enqueued(peer: Peer, signer: Signer, tmp_path: Path) -> None:
    with Ledger(peer.url, ledger="main", signer=signer, state_dir=tmp_path) as ledger:
        futures = [ledger.enqueue("note/1", n) for n in range(10)]
    assert all(future.done() for future in futures)
    assert len(peer.stored) == 10
    with pytest.raises(SettingsError, match="closed"):
        ledger.enqueue("note/1", 11)


def test_a_full_queue_makes_its_caller_wait_and_then_refuses(
    peer: Peer, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "QUEUE_RECORDS", 2)
    peer.faults.append(Fault(stall_s=1.0))
    settings: session.Settings = {"state_dir": tmp_path, "patience_s": 0.2, "timeout_s": 5.0}
    with Ledger(peer.url, ledger="main", signer=signer, **settings) as ledger:
        with pytest.raises(BusyError, match="queue is full"):
            for number in range(20):
                ledger.enqueue("note/1", number)
        ledger.flush()
        assert ledger.enqueue("note/1", "later").result(timeout=10).index > 2


def test_threads_share_a_ledger(ledger: Ledger, peer: Peer) -> None:
    with ThreadPoolExecutor(8) as threads:
        done, _ = wait([threads.submit(ledger.append, "note/1", n) for n in range(40)], timeout=20)
    assert len({future.result().index for future in done}) == 40
    assert len(peer.stored) == 40
    assert outbox_of(ledger) == []


def test_two_clients_share_a_folder_without_losing_or_doubling(
    open_ledger: OpenLedger, peer: Peer
) -> None:
    ledgers = [open_ledger(), open_ledger()]
    peer.faults += [Fault(lose_answer=True)] * 3

    def append_some(number: int) -> list[int]:
        return [ledgers[number].append("note/1", n).index for n in range(10)]

    with ThreadPoolExecutor(2) as threads:
        indexes = [index for each in threads.map(append_some, range(2)) for index in each]
    assert sorted(indexes) == list(range(1, 21))


def test_asyncio_tasks_share_a_ledger_and_its_queue(
    peer: Peer, signer: Signer, tmp_path: Path
) -> None:
    async def run() -> list[Receipt]:
        async with AsyncLedger(
            peer.url, ledger="main", signer=signer, state_dir=tmp_path
        ) as ledger:
            appended = asyncio.gather(*(ledger.append("note/1", n) for n in range(10)))
            queued = [await ledger.enqueue("note/1", n) for n in range(30)]
            return [*await appended, *await asyncio.gather(*queued)]

    receipts = asyncio.run(run())
    assert sorted(receipt.index for receipt in receipts) == list(range(1, 41))
    assert len(peer.stored) == 40


def test_a_cancelled_append_leaves_its_record_for_the_next_flush(
    peer: Peer, signer: Signer, tmp_path: Path
) -> None:
    async def run() -> list[Receipt | Exception]:
        async with AsyncLedger(
            peer.url, ledger="main", signer=signer, state_dir=tmp_path
        ) as ledger:
            peer.always = Fault(lose_answer=True)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.4):
                    await ledger.append("note/1", 1)
            peer.always = None
            return [*await ledger.flush()]

    [receipt] = asyncio.run(run())
    assert isinstance(receipt, Receipt)
    assert peer.stored == [receipt.id]
