"""A session in the address is the session of the call, and no part of its path."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.types import Receive, Scope, Send

from api.proxy.session_paths import SessionPaths
from tests.api.proxy.conftest import Proxied

CHAT = "/v1/chat/completions"
BODY = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]}


def test_the_address_names_the_session_and_the_upstream_sees_nothing_of_it(
    proxied: Proxied,
) -> None:
    with proxied.http() as http:
        answer = http.post(f"/s/run-17{CHAT}?a=%2F&a=1", json=BODY)
    assert answer.headers["x-ledgergrid-session-id"] == "run-17"
    [seen] = proxied.upstream.posts
    assert seen.target == f"{CHAT}?a=%2F&a=1".encode()
    assert seen.values(b"x-ledgergrid-session-id") == []
    end = proxied.only_end()
    assert (end.told["session_id"], end.told["path"]) == ("run-17", CHAT)


def test_a_header_counts_over_the_address(proxied: Proxied) -> None:
    with proxied.http(x_agentledger_session_id="run-18") as http:
        http.post(f"/s/run-17{CHAT}", json=BODY)
    assert proxied.only_end().told["session_id"] == "run-18"


@pytest.mark.parametrize(
    "path", ["//chat/./completions", "/Chat/Completions/", "/ch%61t/completions"]
)
def test_what_stands_behind_is_judged_as_ever(proxied: Proxied, path: str) -> None:
    with proxied.http() as http:
        http.post(f"/s/run-17/v1{path}", json=BODY)
    assert proxied.only_end().told["path"] == CHAT
    assert proxied.upstream.posts[0].target == CHAT.encode()


def rewritten(raw: str) -> str | None:
    """Return the path that the layer hands on, if it changed it."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    scope: Scope = {"type": "http", "path": unquote(raw), "raw_path": raw.encode(), "headers": []}
    asyncio.run(SessionPaths(app)(scope, nothing, nothing))
    assert unquote(seen[0]["raw_path"].decode()) == seen[0]["path"]
    return None if seen[0] is scope else seen[0]["raw_path"].decode()


@pytest.mark.parametrize(
    "raw",
    [
        "/s/run-17/api/sessions",
        "/s/run-17/session/x",
        "/s//v1/chat/completions",
        "/s/../v1/x",
        "/s/a%2Fb/v1/chat/completions",
        f"/s/{'x' * 201}/v1/chat/completions",
        "/s/one/s/two/v1/chat/completions",
        "/v1/chat/completions",
        "/static/s/run-17/v1/x",
    ],
)
def test_nothing_else_is_reached_that_way(raw: str) -> None:
    assert rewritten(raw) is None


@pytest.mark.parametrize("rest", ["/v1/x", "/V1/x%2Fy", "/v1//../api/sessions", "/v1/%F0%9F%9A%9A"])
def test_the_rest_is_handed_on_to_the_byte(rest: str) -> None:
    assert rewritten(f"/s/run~17{rest}") == rest
