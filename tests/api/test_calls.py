"""Reading calls over HTTP, by the paths and names of tools of this kind, and by ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from api.calls import reading
from api.settings import Settings
from tests.api.captured import Captured
from tests.api.live import Live, problem, running
from tests.support import calls
from tests.support.erasing import erase

COMPAT_CALL = {
    "action_id", "session_id", "timestamp", "model_id", "provider", "messages", "system_prompt",
    "tools", "tool_calls", "tool_results", "content", "stop_reason", "tokens_in", "tokens_out",
    "cost_usd", "latency_ms", "status_code", "error_detail", "agent_name", "user_id", "app_id",
    "environment", "parent_action_id", "handoff_from", "handoff_to", "temperature", "max_tokens",
}  # fmt: skip
COMPAT_SESSION = {
    "session_id", "call_count", "error_count", "blocked_count", "started_at", "last_call_at",
    "total_latency_ms", "total_tokens_in", "total_tokens_out", "total_cost_usd", "model_id",
    "agent_name", "user_id", "environment",
}  # fmt: skip


@pytest.fixture
def captured(live: Live) -> Captured:
    return Captured(live)


def get(live: Live, path: str, **params: Any) -> Any:
    with live.http("admin") as http:
        answer = http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_before_anything_is_captured_there_is_nothing_to_read(live: Live) -> None:
    assert get(live, "/api/sessions") == []
    assert get(live, "/api/v1/calls") == {"calls": [], "next": None}
    assert get(live, "/api/v1/spending") == {"spending": []}
    with live.http("admin") as http:
        for path in ("/session/s", "/explain/a", "/api/v1/calls/a"):
            assert problem(http.get(path)) == (404, "not-found")


def test_a_call_is_told_by_the_usual_names_and_by_ours(live: Live, captured: Captured) -> None:
    name = captured.call(
        "How is the weather?", "Fine.", tool="weather", system="Be brief.", session_id="s/1",
        user_id="u", agent_name="planner",
    )  # fmt: skip
    captured.settle()
    found = get(live, f"/explain/{name}")
    assert found.keys() >= COMPAT_CALL
    assert found["messages"][-1] == {"role": "user", "content": "How is the weather?"}
    assert (found["system_prompt"], found["content"]) == ("Be brief.", "Fine.")
    assert found["tool_calls"] == [
        {"id": "t1", "name": "weather", "arguments": '{"city":"Zürich"}', "kind": "function"}
    ]
    assert (found["cost_usd"], found["cost_microusd"]) == (0.0015, 1500)
    assert (found["status"], found["status_code"], found["tokens_in"]) == ("done", 200, 10)
    assert found["timestamp"] == "2026-08-01T10:11:12.346Z"
    assert [each["type"] for each in found["entries"]] == ["llm.start/1", "llm.call/2"]
    assert found["entries"][0]["parts"]["request"] == {"status": "present", "by": None}
    assert get(live, f"/api/v1/calls/{name}") == found
    assert get(live, f"/session/{quote('s/1', safe='')}") == [found]
    with live.http("admin") as http:
        assert http.get(found["receipt"]).text.startswith("c2sp.org/tlog-proof@v1")


def test_sessions_have_the_usual_columns_and_pages(live: Live, captured: Captured) -> None:
    for n in range(3):
        captured.call("q", "a", session_id=f"run {n}", agent_name=f"agent {n}")
    captured.settle()
    with live.http("admin") as http:
        answer = http.get("/api/sessions", params={"limit": 2})
    assert answer.headers["x-total-count"] == "3"
    assert answer.headers["x-next-offset"] == "2"
    rows = answer.json()
    assert [each["session_id"] for each in rows] == ["run 2", "run 1"]
    assert rows[0].keys() >= COMPAT_SESSION
    assert (rows[0]["total_cost_usd"], rows[0]["call_count"]) == (0.0015, 1)
    assert [x["session_id"] for x in get(live, "/api/sessions", agent="agent 1")] == ["run 1"]
    assert get(live, "/api/sessions", q="nothing") == []


@pytest.mark.parametrize("name", ["a b", "ü/ö", "%2F", "x/report", "..%", "?q=1", "日本語"])
def test_a_session_may_have_any_name(live: Live, name: str) -> None:
    captured = Captured(live)
    captured.call("q", "a", session_id=name, action_id=name)
    captured.settle()
    named = quote(name, safe="")
    assert [each["session_id"] for each in get(live, f"/session/{named}")] == [name]
    assert get(live, f"/explain/{named}")["action_id"] == name


def test_calls_without_an_end_and_refused_calls_say_so(live: Live, captured: Captured) -> None:
    author = captured.author
    captured.ledger.append(
        [
            calls.start(author, "begun", b'{"model":"gpt-5","messages":[]}', session_id="s"),
            calls.refusal(author, "no", session_id="s", message="the budget is spent"),
        ]
    )
    captured.settle()
    begun, refused = get(live, "/session/s")
    assert (begun["status"], begun["end_index"], begun["status_code"]) == ("started", None, None)
    assert (refused["status"], refused["status_code"]) == ("refused", 429)
    assert refused["error_detail"] == "blocked: budget_exceeded: the budget is spent"
    (session,) = get(live, "/api/sessions")
    assert (session["blocked_count"], session["started_count"]) == (1, 1)
    assert session["total_cost_usd"] is None


def test_sums_are_told_by_day_model_agent_user_handoff_and_tool(
    live: Live, captured: Captured
) -> None:
    captured.call("q", "a", tool="look", agent_name="a1", user_id="u1", handoff_from="a0",
                  handoff_to="a1")  # fmt: skip
    captured.call("q", "a", agent_name="a2", outcome={"latency_ms": 900})
    captured.settle()
    (day,) = get(live, "/api/v1/spending")["spending"]
    assert (day["day"], day["total_cost_microusd"]) == ("2026-08-01", 3000)
    assert len(get(live, "/api/v1/spending", by="day,agent")["spending"]) == 2
    (model,) = get(live, "/api/v1/models")["models"]
    assert (model["model_id"], model["p50_latency_ms"], model["p99_latency_ms"]) == (
        "gpt-5", 250, 900,
    )  # fmt: skip
    assert [x["agent_name"] for x in get(live, "/api/v1/agents")["agents"]] == ["a1", "a2"]
    assert [x["user_id"] for x in get(live, "/api/v1/users")["users"]] == ["u1"]
    (handoff,) = get(live, "/api/v1/handoffs")["handoffs"]
    assert (handoff["handoff_from"], handoff["handoff_to"]) == ("a0", "a1")
    assert get(live, "/api/v1/tools")["tools"] == [
        {"tool": "look", "executions": 1, "call_count": 1}
    ]
    assert get(live, "/api/v1/spending", since="2026-08-02")["spending"] == []


def test_what_was_said_is_searched_by_words_without_case_or_accents(
    live: Live, captured: Captured
) -> None:
    name = captured.call("A recipe for crème brûlée?", "Take 東京都 eggs.", session_id="s")
    captured.call("Something else", "Yes")
    captured.settle()
    live.service.ledgers.indexer.close()
    live.service.ledgers.indexer._closing.clear()
    live.service.ledgers.indexer.catch_up()
    for query in ("CREME", "brul", "京都", '"take 東京"'):
        assert [each["action_id"] for each in get(live, "/api/search", q=query)] == [name], query
    assert get(live, "/api/search", q="nothing") == []
    assert get(live, "/api/search") == []
    with live.http("admin") as http:
        http.delete("/api/sessions/s")
        assert http.get("/api/search", params={"q": "creme"}).json() == []


def test_calls_are_listed_page_by_page_with_every_filter(live: Live, captured: Captured) -> None:
    names = [captured.call("q", "a", session_id=f"s{n % 2}", user_id="u") for n in range(5)]
    captured.settle()
    page = get(live, "/api/v1/calls", limit=3)
    more = get(live, "/api/v1/calls", limit=3, cursor=page["next"])
    found = [each["action_id"] for each in page["calls"] + more["calls"]]
    assert (found, more["next"]) == (names[::-1], None)
    assert len(get(live, "/api/v1/calls", session_id="s0", user="u")["calls"]) == 3
    assert get(live, "/api/v1/calls", status="started")["calls"] == []
    assert get(live, "/api/v1/calls", since="2026-08-02")["calls"] == []
    assert get(live, "/api/v1/calls", ledger="main")["calls"] == []


def test_deleting_a_session_is_a_governed_erasure(live: Live, captured: Captured) -> None:
    captured.call("secret", "secret", session_id="gone", user_id="u")
    captured.call("kept", "kept", session_id="kept")
    captured.settle()
    with live.http("reader") as http:
        assert problem(http.delete("/api/sessions/gone")) == (403, "forbidden")
    with live.http("admin") as http:
        answer = http.delete("/api/sessions/gone").json()
        assert answer["deleted"] == 2
        order = answer["ledgers"][0]["orders"][0]["index"]
        # From the order on, not from its execution.
        assert [x["session_id"] for x in http.get("/api/sessions").json()] == ["kept"]
        assert problem(http.get("/session/gone")) == (404, "not-found")
        assert [x["action_id"] for x in http.get("/api/v1/calls").json()["calls"]] == ["call-2"]
        assert problem(http.delete("/api/sessions/never")) == (404, "not-found")
    captured.ledger.wait_for(order + 1, 60)
    assert get(live, "/api/v1/users")["users"] == []


def test_what_a_part_lacks_is_told(live: Live, captured: Captured) -> None:
    begun, _ = calls.record(
        captured.ledger, captured.author, "a", b'{"messages":[]}', session_id="s"
    )
    captured.settle()

    erase(captured.ledger, captured.author, begun, "request")
    found = get(live, "/explain/a")
    assert (found["request_status"], found["messages"]) == ("erased", None)
    assert found["entries"][0]["parts"]["request"]["status"] == "erased"
    assert found["response_status"] == "absent"


def test_whoever_may_not_read_calls_reads_none(tmp_path: Any) -> None:
    settings = Settings(data=tmp_path / "data", api_key=SecretStr("k" * 32))
    with running(settings) as live:
        Captured(live).call("q", "a", session_id="s")
        with live.http() as http:
            for path in ("/api/sessions", "/session/s", "/explain/call-1", "/api/v1/spending"):
                assert problem(http.get(path)) == (401, "unauthorized")
                key = {"x-agentledger-api-key": "k" * 32}
                assert http.get(path, headers=key).status_code in (200, 404)
        elsewhere = live.http(token=live.token("reader", "main"))
        with elsewhere as http:
            assert problem(http.get("/api/sessions")) == (404, "not-found")


def test_times_and_filters_that_make_no_sense_are_refused(live: Live) -> None:
    with live.http("admin") as http:
        for path in (
            "/api/sessions?since=yesterday",
            "/api/sessions?limit=0",
            "/api/sessions?unknown=1",
            "/api/v1/spending?by=hour",
            "/api/v1/spending?since=2026-02-31",
            "/api/v1/calls?agent=%00",
        ):
            assert problem(http.get(path)) == (400, "malformed"), path


def test_an_answer_ends_where_calls_are_large_and_says_where_to_go_on(
    live: Live, captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [captured.call("q" * 3000, "a", session_id="s") for _ in range(5)]
    captured.settle()
    monkeypatch.setattr(reading, "_ANSWER_BYTES", 7_000)
    found: list[str] = []
    offset: str | None = "0"
    with live.http("admin") as http:
        while offset is not None:
            answer = http.get("/session/s", params={"offset": offset})
            assert answer.headers["x-total-count"] == "5"
            found += [each["action_id"] for each in answer.json()]
            offset = answer.headers.get("x-next-offset")
    assert found == names


def test_health_says_whether_calls_are_stopped(live: Live, captured: Captured) -> None:
    assert get(live, "/health").items() >= {"status": "ok", "calls_stopped": False}.items()
    captured.ledger.append_as_operator("capture.stop/1", b'{"action":"stop","reason":"a test"}')
    assert get(live, "/health")["calls_stopped"] is True
