"""What is kept is on disk at once and at the ledger soon, whether or not the ledger answers now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledgergrid import AsyncLedger, Ledger, Signer
from tests.sdk.conftest import outbox_of
from tests.support.peer import Fault, Peer


@pytest.fixture
def open_one(peer: Peer, signer: Signer, tmp_path: Path) -> Callable[[], Ledger]:
    def open_one() -> Ledger:
        return Ledger(
            peer.url,
            ledger="main",
            signer=signer,
            log_key=peer.log.vkey,
            state_dir=tmp_path,
            timeout_s=5.0,
        )

    return open_one


def wait_for(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)


def test_what_is_kept_arrives_without_anybody_waiting(
    peer: Peer, open_one: Callable[[], Ledger]
) -> None:
    with open_one() as ledger:
        kept = [ledger.keep("note/1", {"n": n}) for n in range(20)]
        wait_for(lambda: len(peer.stored) == 20)
        wait_for(lambda: not outbox_of(ledger))
    assert peer.stored == kept


def test_closing_delivers_what_was_kept_just_before(
    peer: Peer, open_one: Callable[[], Ledger]
) -> None:
    with open_one() as ledger:
        kept = ledger.keep("note/1", {"last": "words"})
    assert peer.stored == [kept]


def test_a_ledger_that_is_away_holds_nobody_up_and_loses_nothing(
    peer: Peer, open_one: Callable[[], Ledger]
) -> None:
    peer.always = Fault(lose_request=True)
    with open_one() as ledger:
        began = time.monotonic()
        kept = [ledger.keep("note/1", {"n": n}) for n in range(3)]
        assert time.monotonic() - began < 15
        assert len(outbox_of(ledger)) == 3
        peer.always = None
        wait_for(lambda: len(peer.stored) == 3)
    assert peer.stored == kept


def test_the_next_process_sends_what_the_last_one_kept(
    peer: Peer, open_one: Callable[[], Ledger]
) -> None:
    peer.always = Fault(lose_request=True)
    with open_one() as ledger:
        first = ledger.keep("note/1", {"said": "while it was away"})
    assert peer.stored == []
    peer.always = None
    with open_one() as ledger:
        second = ledger.keep("note/1", {"said": "when it was back"})
    assert peer.stored == [first, second]


def test_what_the_ledger_refuses_is_put_aside_and_holds_up_nothing(
    peer: Peer, open_one: Callable[[], Ledger]
) -> None:
    peer.faults.append(Fault(status=422, code="malformed"))
    with open_one() as ledger:
        refused = ledger.keep("note/1", {"not": "taken"})
        wait_for(lambda: not outbox_of(ledger))
        taken = ledger.keep("note/1", {"is": "taken"})
    assert peer.stored == [taken]
    assert "as told" in (ledger.state_dir / "refused" / f"{refused}.txt").read_text()


def test_a_closed_ledger_still_keeps_and_sends_nothing(
    peer: Peer, open_one: Callable[[], Ledger]
) -> None:
    ledger = open_one()
    ledger.close()
    ledger.keep("note/1", {"too": "late"})
    assert (peer.stored, len(outbox_of(ledger))) == ([], 1)


def open_async(peer: Peer, signer: Signer, folder: Path) -> AsyncLedger:
    return AsyncLedger(
        peer.url,
        ledger="main",
        signer=signer,
        log_key=peer.log.vkey,
        state_dir=folder,
        timeout_s=5.0,
    )


def test_an_asyncio_client_keeps_as_well(peer: Peer, signer: Signer, tmp_path: Path) -> None:
    async def work() -> list[str]:
        async with open_async(peer, signer, tmp_path) as ledger:
            kept = [await ledger.keep("note/1", {"n": n}) for n in range(5)]
            await asyncio.to_thread(wait_for, lambda: len(peer.stored) == 5)
            return [*kept, await ledger.keep("note/1", {"last": "words"})]

    kept = asyncio.run(work())
    assert peer.stored == kept


def test_an_asyncio_client_comes_again_while_the_ledger_is_away(
    peer: Peer, signer: Signer, tmp_path: Path
) -> None:
    async def work() -> None:
        async with open_async(peer, signer, tmp_path) as ledger:
            await ledger.keep("note/1", {"said": "while it was away"})
            assert len(outbox_of(ledger)) == 1
            await asyncio.sleep(0.2)
            peer.always = None
            await asyncio.to_thread(wait_for, lambda: bool(peer.stored))

    peer.always = Fault(lose_request=True)
    asyncio.run(work())


def test_closing_an_asyncio_client_waits_for_no_ledger_that_is_away(
    peer: Peer, signer: Signer, tmp_path: Path
) -> None:
    async def work() -> None:
        async with open_async(peer, signer, tmp_path) as ledger:
            await ledger.keep("note/1", {"said": "to nobody"})

    peer.always = Fault(lose_request=True)
    began = time.monotonic()
    asyncio.run(work())
    assert time.monotonic() - began < 30
    assert peer.stored == []
