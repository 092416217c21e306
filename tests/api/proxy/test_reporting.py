"""Calls through the proxy, as others are told of them: spans, metrics and alerts."""

from __future__ import annotations

import json
import time
from typing import Any

from pydantic import SecretStr

from api.telemetry.identity import span_id_of
from tests.api.proxy.conftest import Proxied, Proxying
from tests.api.proxy.test_calls import ANSWER, ASKED, CHAT
from tests.support.otlp import attributes_of, receiving
from tests.support.raw_upstream import response
from tests.support.webhooks import hooked


def post(proxied: Proxied, **headers: str) -> dict[str, str]:
    proxied.upstream.answer = lambda seen: [response(ANSWER)]
    with proxied.http(**headers) as http:
        answer = http.post(CHAT, content=ASKED, headers={"content-type": "application/json"})
    return dict(answer.headers) | {"status": str(answer.status_code)}


def test_a_call_is_a_span_that_leads_to_its_entry(proxying_with: Proxying) -> None:
    with receiving() as receiver, proxying_with(otel_endpoint=receiver.url) as proxied:
        told = post(proxied, x_ledgergrid_session_id="s1", x_ledgergrid_agent_name="planner")
        (span,) = receiver.wait_for(1)
        end = proxied.only_end()
    found = attributes_of(span)
    assert span.name == "chat gpt-4o-mini"
    assert span.span_id == span_id_of(told["x-ledgergrid-action-id"]).to_bytes(8)
    assert found["ledgergrid.entry"] == end.index
    assert found["gen_ai.conversation.id"] == "s1"
    assert found["gen_ai.agent.name"] == "planner"
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (9, 3)
    assert found["server.address"] == "127.0.0.1"
    assert "Hi" not in str(found)
    assert span.end_time_unix_nano >= span.start_time_unix_nano


def test_an_agent_s_own_span_is_linked(proxying_with: Proxying) -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with receiving() as receiver, proxying_with(otel_endpoint=receiver.url) as proxied:
        post(proxied, traceparent=f"00-{trace}-{span}-01")
        post(proxied, traceparent=f"00-{trace}-{'0' * 16}-01")
        linked, alone = receiver.wait_for(2)
        assert proxied.upstream.seen[0].values(b"traceparent") == [f"00-{trace}-{span}-01".encode()]
    (link,) = linked.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (trace, span)
    assert linked.trace_id.hex() != trace
    assert not alone.links


def test_what_was_said_is_sent_to_those_who_ask(proxying_with: Proxying) -> None:
    chosen: dict[str, Any] = {"otel_content": True}
    with receiving() as receiver, proxying_with(otel_endpoint=receiver.url, **chosen) as proxied:
        post(proxied)
        (span,) = receiver.wait_for(1)
    found = attributes_of(span)
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Hi"}]}
    ]
    assert json.loads(found["gen_ai.output.messages"])[0]["parts"][0]["content"] == "Ho"


def test_a_refused_call_is_a_span_an_alert_and_a_number(proxying_with: Proxying) -> None:
    with receiving() as receiver, hooked() as hook:
        chosen: dict[str, Any] = {
            "otel_endpoint": receiver.url,
            "alert_webhook_url": SecretStr(f"http://127.0.0.1:{hook.port}/"),
            "alert_allow_private": True,
            "budget_session": "0",
        }
        with proxying_with(**chosen) as proxied:
            assert post(proxied, x_ledgergrid_session_id="s1")["status"] == "429"
            (body,) = hook.wait_for(1)
            (span,) = receiver.wait_for(1)
            with proxied.http() as http:
                text = http.get("/metrics").text
    assert (body["type"], body["session_id"]) == ("budget_exceeded", "s1")
    assert attributes_of(span)["error.type"] == "budget_exceeded"
    assert 'ledgergrid_calls_refused_total{reason="budget_exceeded"} 1.0' in text


def test_a_budget_that_warns_is_told_and_the_call_passes(proxying_with: Proxying) -> None:
    with hooked() as hook:
        chosen: dict[str, Any] = {
            "alert_webhook_url": SecretStr(f"http://127.0.0.1:{hook.port}/"),
            "alert_allow_private": True,
            "budget_session": "0",
            "budget_action": "warn",
        }
        with proxying_with(**chosen) as proxied:
            assert post(proxied, x_ledgergrid_session_id="s1")["status"] == "200"
            (body,) = hook.wait_for(1)
    assert body["type"] == "budget_exceeded"


def test_calls_are_as_quick_with_everything_down(proxying_with: Proxying) -> None:
    """A collector and a webhook that never answer: fifty calls take no longer than they do."""
    with receiving() as receiver, hooked() as hook:
        receiver.hang_s = hook.hang_s = 60
        chosen: dict[str, Any] = {
            "otel_endpoint": receiver.url,
            "alert_webhook_url": SecretStr(f"http://127.0.0.1:{hook.port}/"),
            "alert_allow_private": True,
            "alert_latency_ms": 0,
        }
        with proxying_with(**chosen) as proxied:
            slowest_s = 0.0
            for n in range(50):
                began_s = time.perf_counter()
                post(proxied, x_ledgergrid_agent_name=f"agent-{n}")
                slowest_s = max(slowest_s, time.perf_counter() - began_s)
    # They hold their answers for a minute; a busy machine may hold up a call by itself.
    assert slowest_s < 10
