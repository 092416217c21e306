"""Calls as they end, over a WebSocket: every viewer at its own pace, and none in anybody's way."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from api.routes import live as route
from api.settings import Settings
from tests.api.captured import Captured
from tests.api.live import Live, running
from tests.support import calls


def url(live: Live) -> str:
    return f"{live.url.replace('http', 'ws')}/ws"


def bearer(live: Live, role: str = "admin") -> dict[str, str]:
    return {"Authorization": f"Bearer {live.tokens[role]}"}


def test_whoever_watches_sees_calls_end_and_be_refused(embedded: Live) -> None:
    captured = Captured(embedded)
    captured.call("before", "a")
    captured.settle()
    with connect(url(embedded), additional_headers=bearer(embedded)) as viewer:
        time.sleep(0.5)
        captured.call("q", "a", session_id="s", agent_name="planner")
        captured.ledger.append([calls.refusal(captured.author, "no", session_id="s")])
        seen: list[dict[str, Any]] = [json.loads(viewer.recv(10)) for _ in range(2)]
    assert [each["action_id"] for each in seen] == ["call-2", "no"]
    assert seen[0]["type"] == "call"
    assert (seen[0]["session_id"], seen[0]["status_code"], seen[0]["cost_usd"]) == (
        "s",
        200,
        0.0015,
    )
    assert (seen[1]["blocked"], seen[1]["error"]) == (True, False)
    assert "messages" not in seen[0]


def test_whoever_watches_before_the_first_call_sees_it(embedded: Live) -> None:
    with connect(url(embedded), additional_headers=bearer(embedded)) as viewer:
        time.sleep(0.3)
        captured = Captured(embedded)
        captured.call("q", "a")
        captured.call("q", "a")
        assert json.loads(viewer.recv(10))["action_id"] == "call-1"


def test_whoever_may_not_read_calls_does_not_watch_them(tmp_path: Any) -> None:
    settings = Settings(data=tmp_path / "data", api_key=SecretStr("k" * 32))
    with running(settings) as live:
        with pytest.raises(InvalidStatus), connect(url(live)):
            pass
        evil = Origin("https://evil.example")
        with pytest.raises(InvalidStatus), connect(url(live), origin=evil):
            pass
        with connect(url(live), additional_headers={"x-agentledger-api-key": "k" * 32}):
            pass


def test_a_viewer_that_stops_reading_is_dropped_and_slows_nobody(
    embedded: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "_SEND_S", 0.5)
    captured = Captured(embedded)
    port = int(embedded.url.rpartition(":")[2])
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", port))
    with connect(
        url(embedded), sock=narrow, additional_headers=bearer(embedded), compression=None,
        max_queue=1, ping_interval=None, close_timeout=0.5,
    ):  # fmt: skip
        slowest_s, end_s = 0.0, time.monotonic() + 40
        while embedded.service.hub.readers and time.monotonic() < end_s:
            batch = [
                calls.end(
                    captured.author,
                    f"{n}",
                    user_id="u" * 490,
                    session_id="s" * 490,
                    app_id="a" * 490,
                )
                for n in range(400)
            ]
            began_s = time.monotonic()
            captured.ledger.append(batch)
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            captured.settle()
        assert embedded.service.hub.readers == 0
        assert slowest_s < 5
