"""The real SDKs of OpenAI and Anthropic notice no proxy, and all that they got is on record.

What a call was is judged by what the SDK itself read out of the answer, not by the proxy's parsers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from api.demo.exchanges import body_bytes, read_exchanges
from api.demo.upstream import Manner, Upstream, replaying
from api.settings import Settings
from tests.api.live import Live, running
from tests.api.proxy.conftest import Proxied, Recorded

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
RECORDED = {
    each["case"]: each
    for each in read_exchanges(Path(__file__).parents[3] / "api/demo/capture.jsonl")
}


def variant(case: str, **changes: Any) -> dict[str, Any]:
    """Return a recorded exchange that was asked otherwise."""
    exchange = dict(RECORDED[case])
    exchange["request"] = {**exchange["request"], **changes}
    return exchange


SEEN = {
    "openai-image": variant(
        "two-subjects",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                ],
            }
        ],
    ),
    "anthropic-image": variant(
        "check-2",
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
                    },
                    {"type": "text", "text": "What is this?"},
                ],
            }
        ],
    ),
    "usage-asked": variant("plan-2", stream_options={"include_usage": True}, user="guest-17"),
}
CASES = {**RECORDED, **SEEN}
HEADERS = {"x-ledgergrid-session-id": "run-1", "x-ledgergrid-agent-name": "tester"}

Outcome = Any
"""What an SDK made of an answer: plain values, or the error it raised."""


def asked(case: str) -> Any:
    return dict(CASES[case]["request"])


def plain(value: Any) -> Any:
    return value.model_dump() if hasattr(value, "model_dump") else value


class Sync:
    """Asks with the plain clients."""

    def __init__(self, url: str) -> None:
        self.gpt = openai.OpenAI(
            base_url=f"{url}/v1", api_key="sk-1", max_retries=0, default_headers=HEADERS
        )
        self.claude = anthropic.Anthropic(
            base_url=url, api_key="sk-2", max_retries=0, default_headers=HEADERS
        )

    def create(self, path: str, **request: Any) -> Outcome:
        answer = resource(self, path).create(**request)
        if request.get("stream"):
            return [plain(each) for each in answer]
        return plain(answer)

    def count(self, **request: Any) -> Outcome:
        return plain(self.claude.messages.count_tokens(**request))

    def close(self) -> None:
        self.gpt.close()
        self.claude.close()


class Async:
    """Asks with the asyncio clients."""

    def __init__(self, url: str) -> None:
        self._url = url

    def _run(self, work: Callable[[Any], Any]) -> Outcome:
        async def run() -> Outcome:
            async with (
                openai.AsyncOpenAI(
                    base_url=f"{self._url}/v1",
                    api_key="sk-1",
                    max_retries=0,
                    default_headers=HEADERS,
                ) as gpt,
                anthropic.AsyncAnthropic(
                    base_url=self._url, api_key="sk-2", max_retries=0, default_headers=HEADERS
                ) as claude,
            ):
                self.gpt, self.claude = gpt, claude
                return await work(self)

        return asyncio.run(run())

    def create(self, path: str, **request: Any) -> Outcome:
        async def work(clients: Any) -> Outcome:
            answer = await resource(clients, path).create(**request)
            if request.get("stream"):
                return [plain(each) async for each in answer]
            return plain(answer)

        return self._run(work)

    def count(self, **request: Any) -> Outcome:
        async def work(clients: Any) -> Outcome:
            return plain(await clients.claude.messages.count_tokens(**request))

        return self._run(work)

    def close(self) -> None:
        """Nothing is open between calls."""


def resource(clients: Any, path: str) -> Any:
    return {
        "/v1/chat/completions": lambda: clients.gpt.chat.completions,
        "/v1/responses": lambda: clients.gpt.responses,
        "/v1/embeddings": lambda: clients.gpt.embeddings,
        "/v1/messages": lambda: clients.claude.messages,
    }[path]()


def outcome(clients: Sync | Async, case: str) -> Outcome:
    path = CASES[case]["path"]
    try:
        if path.endswith("count_tokens"):
            return clients.count(**asked(case))
        return clients.create(path, **asked(case))
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return type(error).__name__, error.status_code, error.body


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with replaying(CASES.values()) as upstream:
        yield upstream


@pytest.fixture
def live(upstream: Upstream, tmp_path: Path) -> Iterator[Live]:
    with running(Settings(data=tmp_path / "data", upstream_url=upstream.url)) as live:
        yield live


def ends(live: Live) -> list[Recorded]:
    return Proxied(live, None).ends()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Sync, Async], ids=["sync", "asyncio"])
def test_an_sdk_gets_what_it_would_get_without_a_proxy_and_it_is_on_record(
    kind: type[Sync | Async], live: Live, upstream: Upstream
) -> None:
    direct, through = kind(upstream.url), kind(live.url)
    outcomes = {}
    for case in CASES:
        outcomes[case] = outcome(through, case)
        without = outcome(direct, case)
        if case in ("plan-1", "plan-2"):
            # Usage was not asked for by the client, but by the proxy, who keeps it.
            without = [chunk for chunk in without if chunk["choices"]]
        assert outcomes[case] == without, case
    direct.close()
    through.close()
    found = ends(live)
    assert len(found) == len(CASES)
    for case, end in zip(CASES, found, strict=True):
        assert end.part("response") == body_bytes(CASES[case]["response"]), case
        assert end.told["session_id"] == "run-1"
        check_as_the_sdk_read_it(case, outcomes[case], end.told)


def check_as_the_sdk_read_it(case: str, got: Outcome, told: dict[str, Any]) -> None:
    assert told["status_code"] == CASES[case]["status"]
    assert told["model_id"] == asked(case)["model"]
    if isinstance(got, tuple):
        assert told["status_code"] == got[1]
        assert got[2]["message"] in told["error_detail"]
    elif isinstance(got, dict) and "choices" in got:
        assert told["choices"] == len(got["choices"])
        assert told["stop_reason"] == got["choices"][0]["finish_reason"]
        assert told["tokens_in"] == got["usage"]["prompt_tokens"]
    elif isinstance(got, dict) and "stop_reason" in got:
        assert told["stop_reason"] == got["stop_reason"]
        assert told["tokens_out"] == got["usage"]["output_tokens"]
    elif isinstance(got, list) and "choices" in got[0]:
        chosen = [chunk["choices"][0] for chunk in got if chunk["choices"]]
        assert told["stop_reason"] == chosen[-1]["finish_reason"]
        called = [each for one in chosen for each in one["delta"].get("tool_calls") or ()]
        names = [each["function"]["name"] for each in called if each["function"].get("name")]
        assert list(told.get("tool_names", ())) == names
    elif isinstance(got, list):
        [delta] = [event for event in got if event["type"] == "message_delta"]
        assert told["stop_reason"] == delta["delta"]["stop_reason"]
        assert told["tokens_out"] == delta["usage"]["output_tokens"]
        blocks = [event["content_block"] for event in got if event["type"] == "content_block_start"]
        assert list(told["tool_names"]) == [b["name"] for b in blocks if b["type"] == "tool_use"]


def test_the_sdks_helpers_for_streams_work_through_the_proxy(live: Live) -> None:
    clients = Sync(live.url)
    request = asked("check-1")
    del request["stream"]
    with clients.claude.messages.stream(**request) as stream:
        assert "".join(stream.text_stream) == "I look up what our terms say about liability."
        assert stream.get_final_message().usage.output_tokens == 71
    raw = clients.gpt.chat.completions.with_raw_response.create(**asked("two-subjects"))
    assert raw.parse().id == "chatcmpl-subj1"
    assert raw.headers["x-ledgergrid-session-id"] == "run-1"
    assert int(raw.headers["x-ledgergrid-entry"]) > 0
    clients.close()


STREAMS = {"/v1/chat/completions": "plan-2", "/v1/messages": "check-1"}


def leave_sync(url: str, path: str, way: str) -> None:
    """Read a stream's first event with a plain client, and leave."""
    clients = Sync(url)
    stream = resource(clients, path).create(**asked(STREAMS[path]))
    next(iter(stream))
    if way == "stream":
        stream.close()
    clients.close()


def leave_async(url: str, path: str, way: str) -> None:
    """Read a stream's first event with an asyncio client, and leave."""

    async def work(clients: Any) -> None:
        stream = await resource(clients, path).create(**asked(STREAMS[path]))
        began = asyncio.Event()

        async def read() -> None:
            async for _ in stream:
                began.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(began.wait(), 10)
        if way == "stream":
            await stream.close()
        elif way == "client":
            await clients.gpt.close()
            await clients.claude.close()
        task.cancel()
        await asyncio.wait((task,))

    Async(url)._run(work)


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_that_is_left_is_on_record_as_far_as_it_came_and_paid_for(
    path: str, tmp_path: Path
) -> None:
    ways = [(leave_sync, "stream"), (leave_sync, "client")]
    ways += [(leave_async, way) for way in ("task", "stream", "client")]
    whole = body_bytes(CASES[STREAMS[path]]["response"])
    with (
        replaying(CASES.values(), Manner(pause_s=0.3)) as slow,
        running(Settings(data=tmp_path / "data", upstream_url=slow.url)) as live,
    ):
        for count, (leave, way) in enumerate(ways, 1):
            leave(live.url, path, way)
            end = Proxied(live, None).await_ends(count)[-1]  # type: ignore[arg-type]
            told, came = end.told, end.part("response")
            assert (told["ended"], told["cost_basis"]) == ("client_left", "estimated"), way
            assert whole.startswith(came), way
            assert 0 < len(came) < len(whole), way
            assert told["cost_microusd"] > 0, way
            assert told["tokens_in"] > 0, way


def test_refusals_are_the_sdks_own_exceptions(upstream: Upstream, tmp_path: Path) -> None:
    with running(
        Settings(data=tmp_path / "data", upstream_url=upstream.url, deny_models="gpt-*, claude-*")
    ) as live:
        clients = Sync(live.url)
        with pytest.raises(openai.PermissionDeniedError, match="gpt-5-mini"):
            clients.gpt.responses.create(**asked("tell-driver"))
        with pytest.raises(anthropic.PermissionDeniedError, match="claude"):
            # Another session: refusals of a kind within a second become one record.
            clients.claude.messages.create(
                **asked("check-2"), extra_headers={"x-ledgergrid-session-id": "run-2"}
            )
        clients.close()
        before = upstream.count
        assert [each.told["reason"] for each in Proxied(live, None).refusals()] == [  # type: ignore[arg-type]
            "model_denied",
            "model_denied",
        ]
        assert upstream.count == before
