"""Live readers share one waiting thread, and there are never more of them than allowed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from api.settings import Settings
from api.streams import Hub
from ledger_core.errors import BusyError
from tests.api.live import ROUTE, Live, problem, running


def test_a_reader_too_many_is_told_to_come_back(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", max_stream_readers=2)
    path = f"{ROUTE}/main/stream"
    with running(settings) as live, live.http("reader") as http:
        with http.stream("GET", path), http.stream("GET", path):
            refused = http.get(path)
            assert problem(refused) == (503, "busy")
            assert refused.headers["retry-after"] == "30"
            assert "ledgergrid_stream_readers 2.0" in http.get("/metrics").text
        give_up_at = time.monotonic() + 10
        while live.service.hub.readers and time.monotonic() < give_up_at:
            time.sleep(0.02)
        assert live.service.hub.readers == 0
        assert live.service.hub.watched == 0


def test_seats_are_counted() -> None:
    hub = Hub(1)
    hub.take_seat()
    with pytest.raises(BusyError):
        hub.take_seat()
    hub.leave_seat()
    hub.take_seat()


def test_readers_of_one_ledger_share_one_watch(embedded: Live) -> None:
    async def watch_twice() -> None:
        hub = Hub(10)
        async with hub.watch(embedded.main) as one, hub.watch(embedded.main) as two:
            assert one is two
            assert await one.wait(0, 5)
            assert not await two.wait(10, 0.05)
        assert hub.watched == 0

    asyncio.run(watch_twice())
