"""MCP by the official client: every tool, over HTTP and over standard input and output."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import msgspec
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import SecretStr

from api.mcp.entries import Checks, check_place
from api.mcp.tools import ANSWER_BYTES
from api.settings import Settings
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.receipt import parse_receipt
from tests.api.captured import Captured
from tests.api.live import ROUTE, Author, Live, running
from tests.support import forking

SECRET = "a-long-random-secret-of-the-operator"
TOOLS = {
    "list_sessions", "get_session", "explain", "search",
    "verify_entry", "get_receipt", "append_record",
}  # fmt: skip


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[Live]:
    with running(Settings(data=tmp_path / "data", api_key=SecretStr(SECRET))) as found:
        yield found


@asynccontextmanager
async def over_http(
    live: Live, secret: str | None = None, mode: str = "auto", **headers: str
) -> AsyncIterator[Client]:
    if secret:
        headers["Authorization"] = f"Bearer {secret}"
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(f"{live.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio(live: Live, secret: str | None = None) -> AsyncIterator[Client]:
    environment = {**os.environ, "LEDGERGRID_URL": live.url}
    environment.pop("LEDGERGRID_TOKEN", None)
    if secret:
        environment["LEDGERGRID_API_KEY"] = secret
    program = StdioServerParameters(
        command=sys.executable, args=["-m", "api.cli", "mcp"], env=environment
    )
    async with Client(program) as client:
        yield client


async def call_every_tool(live: Live, client: Client) -> None:
    author = await anyio.to_thread.run_sync(live.author)
    await anyio.to_thread.run_sync(capture_three, live)
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(listed) == TOOLS
    for tool in listed.values():
        assert tool.description
        assert tool.input_schema["type"] == "object"
        assert tool.output_schema is not None
    submission = msgspec.json.decode(author.line(b'"over mcp"'))
    told = {"ledger": "main", "submission": submission}
    first = await done(client, "append_record", told)
    again = await done(client, "append_record", told)
    assert (first["is_new"], again["is_new"]) == (True, False)
    assert first["receipt"] == again["receipt"]
    await look_at_calls(client)
    place = {"index": 3}
    proof = await done(client, "get_receipt", place)
    assert parse_receipt(proof["receipt"].encode()).index == 3
    verified = await done(client, "verify_entry", place)
    assert verified["verified"]
    assert {each["check"] for each in verified["checks"]} >= {
        "record signature", "receipt", "checkpoint signature", "inclusion", "header"
    }  # fmt: skip


def capture_three(live: Live) -> None:
    captured = Captured(live)
    for number, prompt in enumerate(("How is Zürich?", "And now?", "Thanks.")):
        captured.call(
            prompt, f"answer {number}", tool="weather", session_id="trip", agent_name="planner"
        )
    captured.settle()


async def look_at_calls(client: Client) -> None:
    listed = await done(client, "list_sessions", {"agent": "planner"})
    assert listed["total"] == 1
    session = listed["sessions"][0]
    assert (session["session_id"], session["call_count"]) == ("trip", 3)
    assert session["total_cost_usd"] == 0.0045
    found = await done(client, "get_session", {"session_id": "trip", "limit": 2})
    assert [each["action_id"] for each in found["calls"]] == ["call-1", "call-2"]
    assert found["calls"][0]["messages"] is None
    wanted = {"session_id": "trip", "offset": 2, "include_messages": True}
    found = await done(client, "get_session", wanted)
    assert [each["messages"][-1]["content"] for each in found["calls"]] == ["Thanks."]
    found = await find(client, {"query": "zurich how"})
    assert [each["action_id"] for each in found["calls"]] == ["call-1"]
    assert found["calls"][0]["content"] is None
    found = await done(client, "search", {"query": "ZÜRI", "include_messages": True, "limit": 1})
    assert found["calls"][0]["content"] == "answer 0"
    call = await done(client, "explain", {"action_id": "call-1"})
    assert call["messages"][-1]["content"] == "How is Zürich?"
    assert (call["content"], call["tool_calls"][0]["name"]) == ("answer 0", "weather")
    assert call["ledger"] == "calls"
    verified = await done(client, "verify_entry", {"index": call["end_index"]})
    assert verified["type"] == "llm.call/2"
    assert verified["verified"]


async def find(client: Client, wanted: dict[str, Any]) -> dict[str, Any]:
    """Search until something is found: a fresh call is found a moment after it ended."""
    found = await done(client, "search", wanted)
    for _ in range(300):
        if found["calls"]:
            break
        await anyio.sleep(0.1)
        found = await done(client, "search", wanted)
    return found


async def done(client: Client, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = await client.call_tool(name, arguments)
    assert not answer.is_error, answer.content
    said: dict[str, Any] = answer.structured_content
    assert msgspec.json.decode(answer.content[0].text) == said  # type: ignore[union-attr]
    return said


async def refused(client: Client, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = await client.call_tool(name, arguments)
    assert answer.is_error
    said: dict[str, Any] = msgspec.json.decode(answer.content[0].text)  # type: ignore[union-attr]
    return said


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_lists_and_calls_every_tool_over_http(
    embedded: Live, mode: str
) -> None:
    async def run() -> None:
        async with over_http(embedded, mode=mode) as client:
            await call_every_tool(embedded, client)

    anyio.run(run)


def test_the_official_client_lists_and_calls_every_tool_over_stdio(keyed: Live) -> None:
    async def run() -> None:
        async with over_stdio(keyed, SECRET) as client:
            await call_every_tool(keyed, client)

    anyio.run(run)


def test_a_service_that_is_gone_is_an_error_over_stdio_and_no_silence(tmp_path: Path) -> None:
    held = ExitStack()
    live = held.enter_context(running(Settings(data=tmp_path / "data")))

    async def run() -> None:
        async with over_stdio(live) as client:
            assert (await done(client, "list_sessions", {}))["total"] == 0
            await anyio.to_thread.run_sync(held.close)
            with anyio.fail_after(60), pytest.raises(MCPError, match="cannot be reached"):
                await client.call_tool("list_sessions", {})

    with held:
        anyio.run(run)


@pytest.mark.parametrize(
    ("url", "secret", "said"),
    [
        ("http://127.0.0.1:1", SECRET, "cannot be reached"),
        ("nonsense", SECRET, "cannot be reached"),
        (None, "wrong", "does the token or key count"),
        (None, "", "does the token or key count"),
    ],
)
def test_the_command_says_in_one_line_why_it_cannot_serve(
    keyed: Live, url: str | None, secret: str, said: str
) -> None:
    environment = {**os.environ, "LEDGERGRID_API_KEY": secret}
    environment.pop("LEDGERGRID_TOKEN", None)
    environment["PYTHONPATH"] = forking.PATHS
    ran = forking.run(["-m", "api.cli", "mcp", "--url", url or keyed.url], env=environment)
    assert ran.returncode == 1
    assert (ran.stdout, len(ran.stderr.splitlines())) == ("", 1)
    assert said in ran.stderr
    assert "wrong" not in ran.stderr
    assert SECRET not in ran.stderr


# --- who may -------------------------------------------------------------------------


def post(live: Live, **headers: str) -> httpx2.Response:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    with httpx2.Client() as http:
        return http.post(f"{live.url}/mcp", json=asked, headers={**accept, **headers})


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code")


def test_without_the_key_nobody_is_told_anything_where_one_is_set(keyed: Live) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"x-agentledger-api-key": "wrong"}):
        answer = post(keyed, **headers)
        assert code_of(answer) == (401, "unauthorized")
        assert "list_sessions" not in answer.text
    for headers in (
        {"Authorization": f"Bearer {SECRET}"},
        {"x-agentledger-api-key": SECRET},
        {"Authorization": f"Bearer {keyed.tokens['reader']}"},
    ):
        answer = post(keyed, **headers)
        assert answer.status_code == 200
        assert len(answer.json()["result"]["tools"]) == len(TOOLS)


def test_a_page_of_another_origin_and_a_rebound_name_are_refused(embedded: Live) -> None:
    assert code_of(post(embedded, Origin="https://attacker.example")) == (403, "cross-site")
    assert code_of(post(embedded, Host="attacker.example")) == (421, "misdirected")
    assert code_of(post(embedded, **{"Sec-Fetch-Site": "cross-site"})) == (403, "cross-site")
    assert post(embedded, Origin=embedded.url).status_code == 200


def test_neither_streams_nor_sessions_are_offered(embedded: Live) -> None:
    with httpx2.Client() as http:
        for method in ("GET", "DELETE", "PUT"):
            answer = http.request(method, f"{embedded.url}/mcp")
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        form = http.post(f"{embedded.url}/mcp", data={"a": "b"})
    assert code_of(form) == (415, "media-type")


def test_a_tool_shows_what_its_caller_may_see_and_nothing_else(keyed: Live) -> None:
    keyed.service.ledgers.create("calls")
    keyed.service.ledgers.create("open", kind="public")
    bound = keyed.token("reader", "main")
    expected = {
        SECRET: {"calls": True, "main": False, "open": True, "void": False},
        keyed.tokens["reader"]: {"calls": True, "main": True, "open": True, "void": False},
        bound: {"calls": False, "main": True, "open": True, "void": False},
    }

    async def run() -> None:
        for secret, ledgers in expected.items():
            async with over_http(keyed, secret) as client:
                for name, sees in ledgers.items():
                    for tool in ("verify_entry", "get_receipt"):
                        place = {"ledger": name, "index": 0}
                        if sees:
                            assert (await done(client, tool, place))["ledger"] == name
                        else:
                            found = await refused(client, tool, place)
                            assert found["code"] == "not-found"
                            assert found["detail"] == f"no ledger named '{name}'"

    anyio.run(run)


def test_calls_are_for_whoever_sees_their_ledger(keyed: Live) -> None:
    capture_three(keyed)
    bound = keyed.token("reader", "main")

    async def run() -> None:
        async with over_http(keyed, bound) as client:
            for name, arguments in (
                ("list_sessions", {}),
                ("get_session", {"session_id": "trip"}),
                ("explain", {"action_id": "call-1"}),
                ("search", {"query": "answer"}),
            ):
                assert (await refused(client, name, arguments))["code"] == "not-found"
        async with over_http(keyed, keyed.tokens["reader"]) as client:
            assert (await done(client, "list_sessions", {}))["total"] == 1

    anyio.run(run)


def test_before_anything_is_captured_there_is_nothing_to_list(embedded: Live) -> None:
    async def run() -> None:
        async with over_http(embedded) as client:
            assert await done(client, "list_sessions", {}) == {"sessions": [], "total": 0}
            assert (await refused(client, "explain", {"action_id": "a"}))["code"] == "not-found"

    anyio.run(run)


def test_an_answer_is_no_longer_than_a_model_can_read(embedded: Live) -> None:
    captured = Captured(embedded)
    for _ in range(4):
        captured.call("x" * 300_000, "y" * 300_000, session_id="long")
    captured.settle()

    async def run() -> None:
        async with over_http(embedded) as client:
            answer = await client.call_tool(
                "get_session", {"session_id": "long", "include_messages": True}
            )
            assert not answer.is_error
            assert len(answer.content[0].text.encode()) <= ANSWER_BYTES  # type: ignore[union-attr]
            calls = answer.structured_content["calls"]
            assert len(calls) == 4
            assert calls[0]["content"].endswith(" more characters)")

    anyio.run(run)


# --- what is refused -----------------------------------------------------------------


def test_a_mistake_is_an_answer_that_names_it_and_repeats_no_value(embedded: Live) -> None:
    embedded.service.ledgers.create("calls")
    mistakes: list[tuple[str, dict[str, Any], str]] = [
        ("verify_entry", {}, "malformed"),
        ("verify_entry", {"index": -1}, "malformed"),
        ("verify_entry", {"index": "s3cret"}, "malformed"),
        ("verify_entry", {"index": 0, "s": "s3cret"}, "malformed"),
        ("verify_entry", {"index": 10**6}, "not-found"),
        ("get_receipt", {"index": 2**53}, "malformed"),
        ("append_record", {"ledger": "main", "submission": {"s": "s3cret"}}, "malformed"),
        ("append_record", {"ledger": "../x", "submission": {}}, "malformed"),
        ("list_sessions", {"limit": 0}, "malformed"),
        ("list_sessions", {"limit": 101}, "malformed"),
        ("list_sessions", {"q": "s3cret\x00"}, "malformed"),
        ("get_session", {"session_id": "s3cret"}, "not-found"),
        ("explain", {"action_id": "s3cret"}, "not-found"),
        ("search", {"query": ""}, "malformed"),
        ("explain", {"action_id": "s3cret" * 100}, "malformed"),
        ("no_such_tool", {}, "not-found"),
    ]

    async def run() -> None:
        async with over_http(embedded) as client:
            for name, arguments, code in mistakes:
                found = await refused(client, name, arguments)
                assert found["code"] == code, (name, arguments, found)
                assert "s3cret" not in str(found)

    anyio.run(run)


def test_only_what_its_author_signed_is_appended(embedded: Live) -> None:
    author = embedded.author()
    size = embedded.main.size()
    forged = msgspec.json.decode(author.line())
    forged["envelope"]["signatures"][0]["sig"] = "A" * 86 + "=="
    stranger = Author(embedded.main)

    async def run() -> None:
        async with over_http(embedded) as client:
            for submission, code in (
                (forged, "bad-signature"),
                (msgspec.json.decode(stranger.line()), "no-standing"),
            ):
                for ledger in ("main", "void"):
                    told = {"ledger": ledger, "submission": submission}
                    assert (await refused(client, "append_record", told))["code"] == code

    anyio.run(run)
    assert embedded.main.size() == size


def test_too_long_a_request_is_refused(embedded: Live) -> None:
    with httpx2.Client() as http:
        answer = http.post(f"{embedded.url}/mcp", json={"x": "y" * (5 * 1024 * 1024)})
    assert code_of(answer) == (413, "too-large")


def test_a_mistake_of_our_own_is_hidden(embedded: Live) -> None:
    ledgers = embedded.service.ledgers
    object.__setattr__(embedded.service, "ledgers", None)

    async def run() -> None:
        async with over_http(embedded) as client:
            with pytest.raises(MCPError, match="the service logged what happened"):
                await client.call_tool("verify_entry", {"index": 0})

    try:
        anyio.run(run)
    finally:
        object.__setattr__(embedded.service, "ledgers", ledgers)  # So that somebody closes them.


# --- verifying -----------------------------------------------------------------------


def test_a_check_tells_what_does_not_hold(embedded: Live) -> None:
    author = embedded.author()
    with embedded.http() as http:
        for _ in range(3):
            assert http.post(f"{ROUTE}/main/records", content=author.line()).status_code == 201
    ledger = embedded.main
    two, three = ledger.entry(2), ledger.entry(3)
    receipt = parse_receipt(ledger.receipt(3))
    checks = Checks()
    check_place(ledger, two, parse_entry(two.leaf), receipt, checks)
    held = {each.check: each.holds for each in checks.made}
    assert held == {"checkpoint signature": True, "inclusion": False, "header": False}
    checks = Checks()
    unsigned = msgspec.structs.replace(receipt, checkpoint=receipt.checkpoint[:-8] + b"AAAAAAA\n")
    assert check_place(ledger, three, parse_entry(three.leaf), unsigned, checks) is None
    assert [each.holds for each in checks.made] == [False]


def test_parts_are_compared_with_their_commitments(embedded: Live) -> None:
    author = embedded.author()
    with embedded.http() as http:
        answer = http.post(f"{ROUTE}/main/records", content=author.line(b'"hello"'))
    place = {"ledger": "main", "index": answer.json()["index"]}

    async def run() -> None:
        async with over_http(embedded, embedded.tokens["reader"]) as client:
            found = await done(client, "verify_entry", place)
            told = {each["check"]: each["found"] for each in found["checks"]}
            assert told["payload part body"] == "7 bytes match the commitment that was signed"
            assert "offline" in found["not_checked"]

    anyio.run(run)
