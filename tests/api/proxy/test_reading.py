"""What the proxy recorded is read back over the API, and its export verifies offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.demo.exchanges import OWN, RECORDED, body_bytes, read_exchanges
from api.demo.upstream import replaying
from api.settings import Settings
from ledger_core.formats.trust_policy import parse_trust_policy
from tests.api.live import running
from tests.support import calls
from tests.support.ledgers import trust_policy
from verifier.session_export import verify_session

_GATEWAY = "/api"
"""What OpenRouter's paths begin with; behind it they are OpenAI's."""


@pytest.mark.parametrize("source", [OWN, RECORDED], ids=["own", "recorded"])
def test_recorded_traffic_is_read_back_and_its_export_verifies(
    source: Path, tmp_path: Path
) -> None:
    if not source.exists():
        pytest.skip("no recorded traffic beside the project")
    exchanges = [_direct(each) for each in read_exchanges(source)]
    with replaying(exchanges) as upstream:
        settings = Settings(data=tmp_path / "data", upstream_url=upstream.url)
        with running(settings) as live, live.http() as http:
            http.headers["x-ledgergrid-session-id"] = "traffic/all"
            named = {_send(http, each): each for each in exchanges}
            ledger = live.service.ledgers.get("calls")
            calls.settle(ledger)
            found = http.get("/session/traffic%2Fall").json()
            exported = http.get("/export/traffic%2Fall").content
            (session,) = http.get("/api/sessions").json()
            report = http.get("/export/traffic%2Fall/report")
            policy = parse_trust_policy(trust_policy(ledger).encode())
    assert session["call_count"] == len(found) == len(exchanges)
    for call in found:
        _check(call, named[call["action_id"]])
    verdict = verify_session(exported, policy)
    assert (verdict.failed, verdict.reason) == (None, None)
    assert verdict.unread == []
    assert verdict.checked["answers"] == len(exchanges)
    assert report.status_code == 200
    read = Counter(bool(call["content"] or call["tool_calls"]) for call in found)
    assert read[True] > len(exchanges) // 3
    assert msgspec.json.decode(exported)["session"]["call_count"] == len(exchanges)


def _direct(exchange: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put a recording of a gateway behind the same upstream as those of the providers."""
    if not exchange["path"].startswith(f"{_GATEWAY}/v1/"):
        return exchange
    return {**exchange, "path": exchange["path"].removeprefix(_GATEWAY)}


def _send(http: Any, exchange: Mapping[str, Any]) -> str:
    body = exchange["request"]
    kind = "application/json" if isinstance(body, dict) else "application/octet-stream"
    answer = http.request(
        exchange["method"], exchange["path"], content=body_bytes(body),
        headers={"content-type": kind},
    )  # fmt: skip
    name: str = answer.headers["x-ledgergrid-action-id"]
    return name


def _check(call: Mapping[str, Any], exchange: Mapping[str, Any]) -> None:
    """Compare what is read back with the recording, read by hand."""
    asked, answered = exchange["request"], exchange["response"]
    assert call["status_code"] == exchange["status"], exchange["case"]
    assert (call["request_status"], call["response_status"]) == ("present", "present")
    if not isinstance(asked, dict):
        return
    if isinstance(asked.get("messages"), list):
        assert call["messages"] == asked["messages"], exchange["case"]
    if isinstance(asked.get("tools"), list):
        assert call["tools"] == asked["tools"], exchange["case"]
    if isinstance(answered, dict) and isinstance(answered.get("choices"), list):
        said = [x["message"].get("content") for x in answered["choices"] if "message" in x]
        texts = [x for x in said if isinstance(x, str) and x]
        if texts:
            assert call["content"] == "\n\n".join(texts), exchange["case"]
