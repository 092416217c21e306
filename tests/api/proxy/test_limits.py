"""What is refused: recorded with its reason, never forwarded, and costing nothing."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest

from ledger_core.records.types.capture_limits import CaptureLimits
from ledger_core.records.types.capture_stop import CaptureStop
from tests.api.proxy.conftest import Proxied, Proxying
from tests.support.raw_client import Got, exchange, request
from tests.support.raw_upstream import chunked, response

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 1000}
ANSWER = json.dumps({"model": "gpt-4o", "choices": [], "usage": USAGE}).encode()
COST = 1000 * Decimal("2.5") + 1000 * 10
"""Micro-USD of that answer."""


def ask(proxied: Proxied, path: str = CHAT, model: str = "gpt-4o", **named: str) -> Got:
    body = json.dumps({"model": model, "max_tokens": 1000, "messages": []}).encode()
    headers = [(f"x-ledgergrid-{name.replace('_', '-')}", value) for name, value in named.items()]
    return exchange(proxied.address, request(proxied.address, path, body, headers=headers))


def told(got: Got) -> tuple[int, str]:
    return got.status, json.loads(got.body)["error"]["type"]


def govern(proxied: Proxied, kind: str, body: Any) -> None:
    ledger = proxied.live.service.ledgers.get("calls")
    ledger.append_as_operator(kind, msgspec.json.encode(body))


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("budget_session", {"session_id": "s1"}),
        ("budget_agent", {"agent_name": "planner"}),
        ("budget_user", {"user_id": "u1"}),
        ("budget_daily", {}),
    ],
)
def test_a_spent_budget_refuses_the_next_call(
    proxying_with: Proxying, setting: str, named: dict[str, str]
) -> None:
    with proxying_with(**{setting: "0.01"}) as proxied:
        proxied.upstream.answer = lambda seen: [response(ANSWER)]
        assert ask(proxied, **named).status == 200
        got = ask(proxied, **named)
        assert told(got) == (429, "budget_exceeded")
        assert bool(got.values(b"retry-after")) == (setting != "budget_session")
        (refusal,) = proxied.refusals()
        assert refusal.told["limit"] == 10_000
        assert refusal.told["used"] == COST
        assert len(proxied.upstream.seen) == 1
        other = dict.fromkeys(named, "another")
        assert ask(proxied, **other).status == (200 if named else 429)


def test_anthropics_clients_get_anthropics_errors(proxying_with: Proxying) -> None:
    with proxying_with(deny_models="claude-*") as proxied:
        got = ask(proxied, MESSAGES, "claude-sonnet-4-5")
        assert told(got) == (403, "model_denied")
        assert json.loads(got.body)["type"] == "error"


def test_sixty_calls_at_once_overshoot_a_budget_by_one_at_most(proxying_with: Proxying) -> None:
    with proxying_with(budget_daily="0.01") as proxied:
        proxied.upstream.answer = lambda seen: [0.3, response(ANSWER)]
        with ThreadPoolExecutor(60) as threads:
            got = list(threads.map(lambda _: ask(proxied), range(60)))
        assert Counter(each.status for each in got) == {200: 1, 429: 59}
        assert len(proxied.upstream.seen) == 1
        time.sleep(1.5)
        assert sum(each.told.get("calls", 1) for each in proxied.refusals()) == 59
        assert len(proxied.refusals()) < 10


def test_streams_without_usage_use_a_budget_up(proxying_with: Proxying) -> None:
    with proxying_with(budget_daily="0.001", ask_for_usage=False) as proxied:
        words = b"word " * 1000
        event = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % words
        proxied.upstream.answer = lambda seen: chunked([event, b"data: [DONE]\n\n"])
        assert ask(proxied).status == 200
        assert ask(proxied).status == 429


def test_an_error_of_the_upstream_gives_its_reservation_back(proxying_with: Proxying) -> None:
    with proxying_with(budget_daily="0.0001") as proxied:
        proxied.upstream.answer = lambda seen: [response(b'{"error":{}}', "500 Oops")]
        for _ in range(3):
            assert ask(proxied).status == 500
        assert [each.told["cost_microusd"] for each in proxied.ends()] == [0, 0, 0]


def test_a_budget_that_warns_lets_pass_and_says_so(proxying_with: Proxying) -> None:
    with proxying_with(budget_daily="0.01", budget_action="warn") as proxied:
        proxied.upstream.answer = lambda seen: [response(ANSWER)]
        assert ask(proxied).values(b"x-ledgergrid-warning") == []
        got = ask(proxied)
        assert got.status == 200
        assert got.values(b"x-ledgergrid-warning") == [b"budget exceeded: daily"]
        assert proxied.ends()[1].told["tags"]["ledgergrid-warning"] == "budget exceeded: daily"


def test_rates_are_of_any_sixty_seconds(proxying_with: Proxying) -> None:
    with proxying_with(rate_limit_session_rpm=2) as proxied:
        proxied.upstream.answer = lambda seen: [response(ANSWER)]
        statuses = [ask(proxied, session_id="s1").status for _ in range(3)]
        assert statuses == [200, 200, 429]
        got = ask(proxied, session_id="s1")
        assert told(got) == (429, "rate_limit_exceeded")
        assert 0 < int(got.values(b"retry-after")[0]) <= 60
        assert ask(proxied, session_id="s2").status == 200


@pytest.mark.parametrize(
    ("settings", "model", "reason"),
    [
        ({"allow_models": "gpt-4o, o3*"}, "gpt-4o-mini", "model_denied"),
        ({"allow_models": "gpt-4o, o3*"}, "o3-pro", None),
        ({"deny_models": "gpt-4*"}, "GPT-4o", "model_denied"),
        ({"deny_providers": "open*"}, "gpt-4o", "provider_denied"),
        ({"allow_providers": "anthropic"}, "gpt-4o", "provider_denied"),
        ({"deny_providers": "anthropic"}, "anthropic/claude-x", "provider_denied"),
        ({"refuse_unpriced": True}, "a-model-of-ours", "unpriced"),
        ({"refuse_unpriced": True}, "gpt-4o", None),
        ({"refuse_unpriced": True, "pricing": '{"ours-1": [1, 2]}'}, "ours-1", None),
    ],
)  # fmt: skip
def test_lists_say_which_models_may_be_asked(
    proxying_with: Proxying, settings: dict[str, Any], model: str, reason: str | None
) -> None:
    with proxying_with(**settings) as proxied:
        got = ask(proxied, model=model)
        if reason is None:
            assert got.status == 200
            return
        assert told(got) == (403, reason)
        assert [each.told["reason"] for each in proxied.refusals()] == [reason]
        assert proxied.upstream.seen == []


SPELLINGS = [
    b'{"model":"ok","model":"bad"}',
    b'{"model":"bad","model":"ok"}',
    b'{"model":"ok","Model":"bad"}',
    b'{"model":"ok","\\u006dodel":"bad"}',
    b'{"messages":[]}',
    b'{"model":"ok"',
    b'{"model":{"a":1}}',
]
PATHS = [CHAT, "//V1/chat/completions/", "/v1/chat%2e/../chat/completions"]


def test_no_spelling_gets_a_denied_model_through(proxying_with: Proxying) -> None:
    with proxying_with(allow_models="ok") as proxied:
        for path, body in product(PATHS, SPELLINGS):
            got = exchange(proxied.address, request(proxied.address, path, body))
            assert told(got) == (403, "model_denied"), (path, body)
        assert proxied.upstream.seen == []


def test_limits_on_record_go_before_settings_and_can_be_lifted(proxying_with: Proxying) -> None:
    with proxying_with(deny_models="gpt-4o") as proxied:
        assert ask(proxied).status == 403
        govern(proxied, "capture.limits/1", CaptureLimits(deny_models=(), allow_models=("gpt*",)))
        time.sleep(0.6)
        assert ask(proxied).status == 200
        assert ask(proxied, model="o3").status == 403


def test_all_calls_are_stopped_at_once_and_go_on_when_resumed(proxied: Proxied) -> None:
    assert ask(proxied).status == 200
    govern(proxied, "capture.stop/1", CaptureStop(action="stop", reason="runs in circles"))
    got = ask(proxied)
    assert told(got) == (403, "stopped")
    assert "runs in circles" in json.loads(got.body)["error"]["message"]
    assert len(proxied.upstream.seen) == 1
    govern(proxied, "capture.stop/1", CaptureStop(action="resume"))
    assert ask(proxied).status == 200


# --- credentials ---------------------------------------------------------------------


def test_a_credential_is_needed_where_there_is_a_key(proxying_with: Proxying) -> None:
    with proxying_with(api_key="k" * 40, budget_credential="0.01") as proxied:
        proxied.upstream.answer = lambda seen: [response(ANSWER)]
        writer, reader = proxied.live.token("writer"), proxied.live.token("reader")
        assert told(ask(proxied)) == (401, "unauthorised")
        assert told(ask(proxied, key="lgt_wrong")) == (401, "unauthorised")
        assert told(ask(proxied, key=reader)) == (401, "unauthorised")
        assert ask(proxied, api_key="k" * 40).status == 200
        assert ask(proxied, key=writer).status == 200
        assert told(ask(proxied, key=writer)) == (429, "budget_exceeded")
        assert ask(proxied, key=proxied.live.token("writer")).status == 200
        assert ask(proxied, api_key=proxied.live.token("writer")).status == 200
        for seen in proxied.upstream.seen:
            assert b"lgt_" not in seen.head
            assert b"kkkk" not in seen.head
        credentials = [each.told.get("credential") for each in proxied.starts()]
        assert credentials[0] is None
        assert credentials[1] and credentials[1].startswith("writer-")


def test_a_revoked_token_counts_for_a_few_seconds_at_most(
    proxying_with: Proxying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.proxy.credentials.REMEMBERED_S", 0.2)
    with proxying_with(api_key="k" * 40) as proxied:
        token = proxied.live.token("writer")
        assert ask(proxied, key=token).status == 200
        name = next(each.name for each in proxied.live.service.tokens.list()
                    if each.role == "writer")  # fmt: skip
        proxied.live.service.tokens.revoke(name)
        time.sleep(0.3)
        assert ask(proxied, key=token).status == 401
