"""Calls pass unchanged, and are on the record before their last byte is out."""

from __future__ import annotations

import json

from tests.api.proxy.conftest import Proxied
from tests.support.raw_upstream import chunked, response

CHAT = "/v1/chat/completions"
ASKED = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}'
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Ho"}}
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }
).encode()


def test_a_call_passes_and_is_on_record(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [response(ANSWER)]
    with proxied.http(authorization="Bearer sk-theirs", x_agentledger_session_id="s1") as http:
        answer = http.post(CHAT, content=ASKED, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.content) == (200, ANSWER)
    (seen,) = proxied.upstream.seen
    assert seen.body == ASKED
    assert seen.values(b"authorization") == [b"Bearer sk-theirs"]
    assert not [name for name, _ in seen.headers if name.lower().startswith(b"x-agentledger")]
    (start,), (end,) = proxied.starts(), proxied.ends()
    assert start.part("request") == ASKED
    assert end.part("response") == ANSWER
    assert [ref.rel for ref in end.record.refs] == ["answers"]
    assert answer.headers["x-agentledger-action-id"] == start.told["action_id"]
    assert answer.headers["x-agentledger-session-id"] == "s1"
    assert answer.headers["x-ledgergrid-entry"] == str(start.index)
    told = end.told
    assert (told["model_id"], told["tokens_in"], told["tokens_out"]) == ("gpt-4o-mini", 9, 3)
    assert (told["stop_reason"], told["status_code"], told["session_id"]) == ("stop", 200, "s1")


def test_a_stream_passes_event_by_event(proxied: Proxied) -> None:
    events = [b'data: {"choices":[{"index":0,"delta":{"content":"H"}}]}\n\n', b"data: [DONE]\n\n"]
    head, first, done, end = chunked(events)
    proxied.upstream.answer = lambda seen: [head, first, 0.2, done, 0.2, end]
    with proxied.http() as http, http.stream("POST", CHAT, content=ASKED) as answer:
        pieces = list(answer.iter_raw())
    assert pieces == events
    assert proxied.only_end().part("response") == b"".join(events)
