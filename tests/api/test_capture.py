"""Limits of calls and the switch that stops them: over HTTP, and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from ledger_core.capturing import open_scribe
from ledger_core.clock import format_time, now_ms
from ledger_core.errors import StoppedError
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_start import LlmStart
from tests.api.live import Live
from tests.api.test_cli import Shell, served, shell
from tests.support.ledgers import appended

__all__ = ["served", "shell"]

CAPTURE = "/api/v1/capture"
LIMITS: dict[str, Any] = {"budget_daily_microusd": 5_000_000, "rpm_agent": None, "deny_models": []}


def make_start(began_ms: int, action_id: str = "call-1") -> LlmStart:
    return LlmStart(
        action_id=action_id,
        timestamp=format_time(began_ms),
        provider="openai",
        model_id="gpt-4o-mini",
        request_bytes=2,
        request_sha256="0" * 64,
    )


def test_before_the_first_call_there_are_no_limits_and_calls_go_on(embedded: Live) -> None:
    with embedded.http("reader") as http:
        told = http.get(CAPTURE).json()
    assert told == {
        "ledger": "calls",
        "is_stopped": False,
        "stopped_since": None,
        "reason": "",
        "limits": {},
        "limits_since": None,
        "open_calls": [],
    }
    assert "calls" not in embedded.service.ledgers.names()


def test_an_admin_sets_limits_and_stops_calls_and_each_is_a_record(live: Live) -> None:
    with live.http("admin") as http:
        limited = http.post(f"{CAPTURE}/limits", json=LIMITS)
        assert limited.status_code == 201, limited.text
        stopped = http.post(f"{CAPTURE}/stop", json={"reason": "a loop"})
        assert stopped.status_code == 201, stopped.text
        told = http.get(CAPTURE).json()
        assert told["limits"] == LIMITS
        assert told["limits_since"] == limited.json()["index"]
        assert (told["is_stopped"], told["reason"]) == (True, "a loop")
        assert told["stopped_since"] == stopped.json()["index"]
        entry = http.get(f"/api/v1/ledgers/calls/entries/{told['stopped_since']}").json()
        assert "capture.stop/1" in json.dumps(entry)
        assert http.post(f"{CAPTURE}/stop", json={}).status_code == 403
        scribe = open_scribe(live.service.ledgers, "calls")
        [outcome] = scribe.ledger.sequence([scribe.start(make_start(now_ms()))])
        assert isinstance(outcome, StoppedError)
        assert http.post(f"{CAPTURE}/resume", json={}).status_code == 201
        assert http.get(CAPTURE).json()["is_stopped"] is False
    appended(scribe.ledger.sequence([scribe.start(make_start(now_ms()))])[0])


def test_nobody_but_an_admin_changes_them(embedded: Live) -> None:
    tokens = [
        embedded.tokens["reader"],
        embedded.token("writer"),
        embedded.token("admin", "main"),
    ]
    for path in ("limits", "stop", "resume"):
        with embedded.http() as http:
            assert http.post(f"{CAPTURE}/{path}", json={}).status_code == 401
        for token in tokens:
            with embedded.http(token=token) as http:
                assert http.post(f"{CAPTURE}/{path}", json={}).status_code == 403
    assert "calls" not in embedded.service.ledgers.names()
    with embedded.http(token=embedded.token("admin", "calls")) as http:
        assert http.post(f"{CAPTURE}/limits", json={}).status_code == 201


def test_limits_that_are_none_are_refused_and_say_why(embedded: Live) -> None:
    with embedded.http("admin") as http:
        for body in ({"rpm_app": 3}, {"rpm_total": -1}, {"budget_action": "hope"}):
            answer = http.post(f"{CAPTURE}/limits", json=body)
            assert answer.status_code == 400, answer.text
            assert "limits: " in answer.json()["detail"]
        assert http.post(f"{CAPTURE}/stop", json={"why": "x"}).status_code == 400


def test_calls_that_began_long_ago_and_have_no_end_are_told(embedded: Live) -> None:
    scribe = open_scribe(embedded.service.ledgers, "calls")
    long_ago = now_ms() - 2 * 3_600_000
    starts = [
        make_start(long_ago, "call-lost"),
        make_start(long_ago, "call-done"),
        make_start(now_ms(), "call-running"),
    ]
    outcomes = scribe.ledger.sequence([scribe.start(each) for each in starts])
    names = {"action_id": "call-done", "timestamp": format_time(long_ago), "provider": "openai"}
    end = msgspec.convert({**names, "status_code": 200}, LlmCall2)
    appended(scribe.ledger.sequence([scribe.end(end, appended(outcomes[1]).leaf_hash)])[0])
    embedded.service.ledgers.follower.wait_for_views(
        scribe.ledger.ledger_id, scribe.ledger.size(), 20
    )
    with embedded.http("reader") as http:
        told = http.get(CAPTURE).json()["open_calls"]
    assert [call["action_id"] for call in told] == ["call-lost"]
    assert told[0]["model_id"] == "gpt-4o-mini"


def test_on_the_command_line_limits_are_set_and_calls_stopped_and_resumed(served: Shell) -> None:
    served.ok("capture", "status")
    (served.folder / "limits.json").write_text(json.dumps(LIMITS))
    assert "in force (entry 2)" in served.ok("capture", "limits", "limits.json")
    assert "all calls are stopped (entry 3)" in served.ok("capture", "stop", "--reason", "a loop")
    told = served.ok("capture", "status")
    assert "stopped by entry 3: a loop" in told
    assert "budget_daily_microusd  5000000" in told
    assert "calls go on (entry 4)" in served.ok("capture", "resume")
    assert served.run("capture", "resume").returncode == 1


def test_an_operators_own_key_stops_calls_too(served: Shell) -> None:
    served.ok("capture", "limits", str(write(served.folder)))
    served.ok("keygen", "--out", "op.key")
    served.ok("key", "register", "op.key", "--role", "operator", "--ledger", "calls")
    assert "stop (entry" in served.ok("capture", "stop", "--key", "op.key")
    assert "stopped by entry" in served.ok("capture", "status")


def write(folder: Path) -> Path:
    path = folder / "none.json"
    path.write_text("{}")
    return path
