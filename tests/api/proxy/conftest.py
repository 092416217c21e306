"""A service whose upstream is ours, and what it put on record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from api.settings import Settings
from ledger_core.errors import NotFoundError
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.record import Record, parse_record
from ledger_core.storage.store import StoredEntry
from tests.api.live import Live, running
from tests.support.raw_upstream import RawUpstream, raw_upstream


@dataclass(frozen=True)
class Recorded:
    """One entry, opened: ``told`` is its JSON part."""

    index: int
    type: str
    record: Record
    told: dict[str, Any]
    entry: StoredEntry

    def part(self, name: str) -> bytes:
        return self.entry.parts[name].data


class Proxied:
    """A running proxy, its upstream, and its ledger."""

    def __init__(self, live: Live, upstream: RawUpstream) -> None:
        self.live = live
        self.upstream = upstream
        self.url = live.url
        self.address = ("127.0.0.1", int(live.url.rpartition(":")[2]))

    def http(self, **headers: str) -> httpx.Client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.Client(base_url=self.url, headers=named, timeout=30)

    def recorded(self, type_: str | None = None) -> list[Recorded]:
        """Return what is on record, in order; governance left out."""
        try:
            ledger = self.live.service.ledgers.get("calls")
        except NotFoundError:
            return []
        found = []
        for start in range(0, ledger.size(), 500):
            for entry in ledger.entries(range(start, start + 500)):
                record = parse_record(parse_entry(entry.leaf).record)
                name = {"llm.start/1": "start", "llm.call/2": "call", "llm.refused/1": "refusal"}
                if record.type in name and type_ in (None, record.type):
                    told = msgspec.json.decode(entry.parts[name[record.type]].data)
                    found.append(Recorded(entry.index, record.type, record, told, entry))
        return found

    def starts(self) -> list[Recorded]:
        return self.recorded("llm.start/1")

    def ends(self) -> list[Recorded]:
        return self.recorded("llm.call/2")

    def refusals(self) -> list[Recorded]:
        return self.recorded("llm.refused/1")

    def only_end(self) -> Recorded:
        (found,) = self.await_ends(1)
        return found

    def await_ends(self, count: int) -> list[Recorded]:
        """Wait for so many ends: those of clients who left come when nobody waits for them."""
        until_s = time.monotonic() + 10
        while len(found := self.ends()) < count and time.monotonic() < until_s:
            time.sleep(0.02)
        return found

    def check_nothing_is_missing(self) -> None:
        """Check that every call the upstream saw has a start and an end."""
        ends = self.await_ends(len(self.upstream.posts))
        starts = {each.told["action_id"] for each in self.starts()}
        assert len(starts) >= len(self.upstream.posts)
        assert {each.told["action_id"] for each in ends} == starts


Proxying = Callable[..., AbstractContextManager[Proxied]]


@contextmanager
def proxying(folder: Path, **settings: Any) -> Iterator[Proxied]:
    with raw_upstream() as upstream:
        chosen = {"upstream_url": upstream.url, **settings}
        with running(Settings(data=folder / "data", **chosen)) as live:
            proxied = Proxied(live, upstream)
            yield proxied
            proxied.check_nothing_is_missing()


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    """Give a proxy on its own SQLite file; afterwards nothing was served and not recorded."""
    with proxying(tmp_path) as found:
        yield found


@pytest.fixture
def proxying_with(tmp_path: Path) -> Proxying:
    """Give a proxy with settings of one's own."""

    def start(**settings: Any) -> AbstractContextManager[Proxied]:
        return proxying(tmp_path, **settings)

    return start
