"""Real recorded traffic through the proxy: byte-identical at the client, and read rightly.

What is expected is read out of the recordings here, by other means than the proxy's parsers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.demo.exchanges import OWN, RECORDED, body_bytes, read_exchanges
from api.demo.upstream import replaying
from api.settings import Settings
from tests.api.live import running
from tests.api.proxy.conftest import Proxied, Recorded
from tests.support.raw_upstream import RawUpstream

_OPENROUTER = "/api/v1/"
_SOURCES = [
    pytest.param(OWN, id="own"),
    pytest.param(
        RECORDED,
        id="recorded",
        marks=pytest.mark.skipif(
            not RECORDED.exists(), reason="no recorded traffic beside the project"
        ),
    ),
]


@pytest.mark.parametrize("source", _SOURCES)
def test_recorded_exchanges_pass_byte_identical_and_are_captured(
    source: Path, tmp_path: Path
) -> None:
    exchanges = list(read_exchanges(source))
    gateway = [each for each in exchanges if each["path"].startswith(_OPENROUTER)]
    direct = [each for each in exchanges if not each["path"].startswith(_OPENROUTER)]
    for name, prefix, some in (("direct", "", direct), ("gateway", "/api", gateway)):
        if some:
            _replay(tmp_path / name, prefix, some)


def _replay(folder: Path, prefix: str, exchanges: list[Mapping[str, Any]]) -> None:
    with replaying(exchanges) as upstream:
        settings = Settings(data=folder, upstream_url=upstream.url + prefix)
        with running(settings) as live:
            proxied = Proxied(live, RawUpstream())
            with proxied.http() as http:
                answers = [_send(http, each, prefix) for each in exchanges]
            starts = {each.told["action_id"]: each for each in proxied.starts()}
            ends = {each.told["action_id"]: each for each in proxied.ends()}
    assert len(starts) == len(ends) == len(exchanges)
    for each, answer in zip(exchanges, answers, strict=True):
        action_id = answer.headers["x-ledgergrid-action-id"]
        assert (answer.status_code, answer.content) == (
            each["status"],
            body_bytes(each["response"]),
        )
        assert starts[action_id].part("request") == body_bytes(each["request"]), each["case"]
        assert ends[action_id].part("response") == body_bytes(each["response"]), each["case"]
        _check_facts(each, ends[action_id])


def _send(http: httpx.Client, exchange: Mapping[str, Any], prefix: str) -> httpx.Response:
    body = exchange["request"]
    kind = "application/json" if isinstance(body, dict) else "application/octet-stream"
    return http.request(
        exchange["method"],
        exchange["path"].removeprefix(prefix),
        content=body_bytes(body),
        headers={"content-type": kind},
    )


def _check_facts(exchange: Mapping[str, Any], end: Recorded) -> None:
    asked, told = exchange["request"], end.told
    assert told["status_code"] == exchange["status"], exchange["case"]
    if not isinstance(asked, dict) or exchange["status"] != 200:
        return
    expected = _facts(exchange)
    found = {name: told.get(name) for name in expected}
    assert found == expected, exchange["case"]


def _facts(exchange: Mapping[str, Any]) -> dict[str, Any]:
    """Read a recording by hand: what it asked, and what came back."""
    asked = exchange["request"]
    path = exchange["path"].partition("?")[0]
    facts: dict[str, Any] = {}
    if isinstance(asked.get("model"), str):
        facts["model_id"] = asked["model"]
    said = list(_said(exchange["response"]))
    if path.endswith("/chat/completions"):
        facts |= _facts_of_chat(said)
    elif path.endswith("/messages"):
        facts |= _facts_of_messages(said)
    return facts


def _said(response: Any) -> Iterator[dict[str, Any]]:
    if isinstance(response, dict):
        yield response
        return
    for line in str(response).replace("\r\n", "\n").split("\n"):
        data = line.removeprefix("data:").strip()
        if line.startswith("data:") and data.startswith("{"):
            yield json.loads(data)


def _facts_of_chat(said: list[dict[str, Any]]) -> dict[str, Any]:
    usage: dict[str, Any] = {}
    reason, tools = None, dict[str, None]()
    for each in said:
        usage = each.get("usage") or usage
        for choice in each.get("choices") or []:
            reason = choice.get("finish_reason") or reason
            message = choice.get("message") or choice.get("delta") or {}
            for call in message.get("tool_calls") or []:
                name = (call.get("function") or call.get("custom") or {}).get("name")
                if name:
                    tools[name] = None
    facts: dict[str, Any] = {"stop_reason": reason}
    if usage:
        facts["tokens_in"] = usage["prompt_tokens"]
    if tools:
        facts["tool_names"] = list(tools)
    return facts


def _facts_of_messages(said: list[dict[str, Any]]) -> dict[str, Any]:
    reason, tools, out = None, dict[str, None](), None
    for each in said:
        message = each.get("message") or each
        reason = (each.get("delta") or {}).get("stop_reason") or message.get("stop_reason", reason)
        blocks = [*(message.get("content") or []), each.get("content_block") or {}]
        for block in blocks:
            if block.get("type") in ("tool_use", "server_tool_use", "mcp_tool_use"):
                tools[block["name"]] = None
        usage = each.get("usage") or message.get("usage") or {}
        out = usage.get("output_tokens", out)
        # What was thrown away on the way to the answer was paid for as well.
        steps = usage.get("iterations") or []
        out = sum(step["output_tokens"] for step in steps) if len(steps) > 1 else out
    facts: dict[str, Any] = {"stop_reason": reason, "tokens_out": out}
    if tools:
        facts["tool_names"] = list(tools)
    return facts
