"""kill -9 of a service in the middle of a call: what the upstream saw is on record, and once."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from api.settings import Settings
from ledger_core import ids
from tests.api.live import running
from tests.api.proxy.conftest import Proxied
from tests.support.invariants import check_chain, check_export, check_views
from tests.support.postgresql import Server
from tests.support.raw_client import request
from tests.support.raw_upstream import RawUpstream, Seen, Step, chunked, raw_upstream
from tests.support.serving import Serving, serving

CHAT = "/v1/chat/completions"
TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
HEAD, *PIECES, LAST = chunked([TEXT, STOP, USAGE, DONE])


def asked(name: str) -> bytes:
    said = [{"role": "user", "content": name}]
    return json.dumps({"model": "gpt-4o", "stream": True, "messages": said}).encode()


@dataclass
class Place:
    """A service that may be killed, its upstream, and what was asked of it."""

    folder: Path
    database_url: str
    upstream: RawUpstream

    @contextmanager
    def serving(self, fail_point: str = "", **settings: str) -> Iterator[Serving]:
        with serving(
            self.folder,
            database=self.database_url,
            upstream_url=self.upstream.url,
            fail_point=fail_point,
            **settings,
        ) as service:
            yield service

    @contextmanager
    def restarted(self) -> Iterator[Proxied]:
        settings = Settings(
            data=self.folder / "data",
            database=SecretStr(self.database_url),
            upstream_url=self.upstream.url,
        )
        with running(settings) as live:
            yield Proxied(live, self.upstream)


@contextmanager
def prepared(folder: Path, database_url: str) -> Iterator[Place]:
    """Capture one call, and stop."""
    with raw_upstream() as upstream:
        upstream.answer = lambda seen: [HEAD, *PIECES, LAST]
        place = Place(folder, database_url, upstream)
        with place.restarted() as proxied:
            assert call(proxied.address, "before") == TEXT + STOP + DONE
        yield place


@pytest.fixture
def place(tmp_path: Path, database_url: str) -> Iterator[Place]:
    """Give a service that has captured one call, and was stopped."""
    with prepared(tmp_path, database_url) as place:
        yield place


@pytest.fixture
def postgresql_place(tmp_path: Path, postgresql_url: str) -> Iterator[Place]:
    """Give such a service on PostgreSQL, which can be closed to it."""
    with prepared(tmp_path, postgresql_url) as place:
        yield place


def call(address: tuple[str, int], name: str) -> bytes:
    """Make a call; return what came of its answer before the connection was gone."""
    raw = request(address, CHAT, asked(name), headers=[("x-ledgergrid-session-id", "s1")])
    data = b""
    try:
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(raw)
            while not data.endswith(b"0\r\n\r\n"):
                piece = connection.recv(65536)
                if not piece:
                    break
                data += piece
    except (ConnectionError, TimeoutError):
        pass
    return b"".join(each for each in (TEXT, STOP, DONE) if each in data)


def check(proxied: Proxied, folder: Path, whole: set[str]) -> dict[str, str]:
    """Check that everything the upstream saw is there once, as the read API tells it.

    Returns how each call stands, by what it asked; ``whole`` are those whose answer was whole.
    """
    ledger = proxied.live.service.ledgers.get("calls")
    assert proxied.live.service.ledgers.check_signed() == []
    ledger.wait_until_searchable(ledger.size(), 30)
    starts, ends = proxied.starts(), proxied.ends()
    names = {each.told["action_id"]: content(proxied, each.told["action_id"]) for each in starts}
    assert max(Counter(names.values()).values()) == 1
    assert {json.loads(seen.body)["messages"][0]["content"] for seen in proxied.upstream.posts} <= {
        *names.values()
    }
    leaves = {ids.format_digest(each.entry.leaf_hash): each.told["action_id"] for each in starts}
    answers = [leaves[ref.to] for each in ends for ref in each.record.refs]
    assert answers == [each.told["action_id"] for each in ends]
    assert len(set(answers)) == len(answers)
    with proxied.http() as http:
        rows = http.get("/api/v1/calls", params={"limit": 1000}).json()["calls"]
    told = {names[row["action_id"]]: row["status"] for row in rows}
    assert len(rows) == len(starts)
    assert told == {
        name: "done" if action_id in answers else "started" for action_id, name in names.items()
    }
    assert {name for name in whole if told.get(name) != "done"} == set()
    check_views(ledger, check_chain(ledger))
    check_export(ledger, folder)
    return told


def content(proxied: Proxied, action_id: str) -> str:
    with proxied.http() as http:
        answer = http.get(f"/explain/{action_id}")
    assert answer.status_code == 200, answer.text
    said: str = answer.json()["messages"][0]["content"]
    return said


STATUSES = {
    "sequencer.locked": None,
    "sequencer.entries-stored": None,
    "sequencer.allowances-stored": None,
    "sequencer.before-commit": None,
    "sequencer.after-commit": "started",
    "proxy.started": "started",
    "proxy.answered": "started",
    "proxy.relayed": "started",
    "sequencer.locked:2": "started",
    "sequencer.entries-stored:2": "started",
    "sequencer.before-commit:2": "started",
    "sequencer.after-commit:2": "done",
    "proxy.ended": "done",
}
"""What becomes of a call that is cut off at a point."""
CAMPAIGN = pytest.mark.campaign
ON_BOTH = {
    "sequencer.entries-stored",
    "sequencer.allowances-stored",
    "sequencer.before-commit",
    "sequencer.after-commit",
    "proxy.answered",
    "sequencer.before-commit:2",
    "sequencer.after-commit:2",
}
"""Where the database matters: in its transaction, and behind it."""
ON_SQLITE = pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=CAMPAIGN)],
    indirect=True,
)
"""What does not depend on the database: on PostgreSQL the campaign shows it."""


CUTS = [
    pytest.param(kind, point, marks=() if kind == "sqlite" or point in ON_BOTH else CAMPAIGN)
    for kind, point in product(("sqlite", "postgresql"), STATUSES)
]


@pytest.mark.parametrize(("database_url", "point"), CUTS, indirect=["database_url"])
def test_a_call_cut_off_at_any_step_is_done_or_started_or_was_never_sent(
    place: Place, tmp_path: Path, point: str
) -> None:
    before = len(place.upstream.posts)
    with place.serving(point) as service:
        got = call(service.address, "cut off")
        service.wait_killed()
    assert DONE not in got
    is_sent = len(place.upstream.posts) > before
    assert is_sent == ((point.startswith("proxy.") and point != "proxy.started") or ":2" in point)
    with place.restarted() as proxied:
        # It goes on as if nothing had been.
        assert call(proxied.address, "again") == TEXT + STOP + DONE
        assert check(proxied, tmp_path, {"before", "again"}).get("cut off") == STATUSES[point]


@ON_SQLITE
def test_a_kill_while_the_upstream_reads_leaves_a_start(place: Place, tmp_path: Path) -> None:
    """The upstream itself kills the service: it has the request then, whatever comes."""
    with place.serving() as service:

        def answer(seen: Seen) -> list[Step]:
            service.kill()
            return [0.1, HEAD, *PIECES, LAST]

        place.upstream.answer = answer
        assert call(service.address, "seen") == b""
        service.wait_killed()
    with place.restarted() as proxied:
        assert check(proxied, tmp_path, {"before"})["seen"] == "started"


@ON_SQLITE
def test_a_kill_behind_the_first_byte_leaves_a_start(place: Place, tmp_path: Path) -> None:
    place.upstream.answer = lambda seen: [HEAD, PIECES[0], 30.0]
    with place.serving() as service:
        raw = request(service.address, CHAT, asked("first byte"))
        with socket.create_connection(service.address, timeout=30) as connection:
            connection.sendall(raw)
            while b"Hello" not in connection.recv(65536):
                pass
            service.kill()
            service.wait_killed()
    with place.restarted() as proxied:
        assert check(proxied, tmp_path, {"before"})["first byte"] == "started"


def test_a_kill_right_behind_the_last_byte_leaves_a_call_that_is_done(
    place: Place, tmp_path: Path
) -> None:
    with place.serving() as service:
        assert call(service.address, "whole") == TEXT + STOP + DONE
        service.kill()
        service.wait_killed()
    with place.restarted() as proxied:
        assert check(proxied, tmp_path, {"before", "whole"})["whole"] == "done"


@pytest.mark.parametrize(
    ("point", "status"),
    [("proxy.outbox-put", "started"), ("proxy.outbox-put:2", "done"), ("proxy.ended:2", "done")],
)
def test_what_waits_in_the_outbox_outlives_a_kill(
    postgresql_place: Place,
    postgresql_server: Server,
    tmp_path: Path,
    point: str,
    status: str,
) -> None:
    place, before = postgresql_place, len(postgresql_place.upstream.posts)
    with place.serving(point, capture_unavailable="queue") as service:
        assert call(service.address, "known") == TEXT + STOP + DONE
        with closed(postgresql_server, place):
            assert DONE not in call(service.address, "cut off")
            service.wait_killed()
    assert len(place.upstream.posts) == before + 1 + (status == "done")
    with place.restarted() as proxied:
        wait_for(lambda: not waiting(place))
        assert check(proxied, tmp_path, {"before", "known"})["cut off"] == status


def test_what_was_delivered_when_the_kill_came_is_there_once(
    postgresql_place: Place, postgresql_server: Server, tmp_path: Path
) -> None:
    place = postgresql_place
    with place.serving("proxy.outbox-delivered", capture_unavailable="queue") as service:
        assert call(service.address, "known") == TEXT + STOP + DONE
        with closed(postgresql_server, place):
            assert call(service.address, "queued") == TEXT + STOP + DONE
        service.wait_killed()
    assert len(waiting(place)) == 2
    with place.restarted() as proxied:
        wait_for(lambda: not waiting(place))
        assert check(proxied, tmp_path, {"before", "queued"})["queued"] == "done"


@contextmanager
def closed(server: Server, place: Place) -> Iterator[None]:
    """Have the database let nobody in."""
    name = place.database_url.rpartition("/postgres@/")[2].partition("?")[0]
    doors = SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with server.connect() as connection:
        connection.execute(doors.format(Identifier(name), SQL("false")))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        yield
        connection.execute(doors.format(Identifier(name), SQL("true")))


def waiting(place: Place) -> list[Path]:
    return list((place.folder / "data" / "outbox").glob("*/*.item"))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=CAMPAIGN)])
def test_a_kill_at_any_moment_of_many_calls_loses_none_that_the_upstream_saw(
    place: Place, tmp_path: Path, seed: int
) -> None:
    pauses = random.Random(seed)
    place.upstream.answer = lambda seen: [
        HEAD, *(step for piece in PIECES for step in (pauses.random() / 20, piece)), LAST
    ]  # fmt: skip
    whole, numbers, is_killed = {"before"}, iter(range(10_000)), threading.Event()

    def go_on(_: int) -> None:
        while not is_killed.is_set():
            name = f"{next(numbers)}"
            if call(service.address, name) == TEXT + STOP + DONE:
                whole.add(name)

    with place.serving() as service, ThreadPoolExecutor(12) as threads:
        done = threads.map(go_on, range(12))
        wait_for(lambda: len(whole) > 20)
        time.sleep(pauses.random() / 2)
        service.kill()
        service.wait_killed()
        is_killed.set()
        list(done)
    with place.restarted() as proxied:
        told = check(proxied, tmp_path, whole)
    assert "started" in told.values()


def wait_for(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.01)
