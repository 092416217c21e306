"""What an SDK sends and gets is noted as it went over the wire, and nothing of it is changed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from api.demo.upstream import Manner, Upstream, replaying
from ledger_core.errors import SettingsError
from ledgergrid.integrations.exchange import Exchange
from ledgergrid.integrations.labels import Labels
from ledgergrid.integrations.tapping import tap_client
from tests.sdk.integrations.asking import EXCHANGES, answer, asked


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with replaying(EXCHANGES.values()) as upstream:
        yield upstream


class Noted:
    """Clients that are listened to, and what was heard."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.exchanges: list[Exchange] = []
        self.labels = Labels(session_id="run-1")

    def tap(self, client: Any) -> Any:
        tap_client(client, self.labels, self.exchanges.append)
        return client

    def gpt(self, **options: Any) -> openai.OpenAI:
        url = f"{self.url}/v1"
        made = self.tap(openai.OpenAI(base_url=url, api_key="sk-test", max_retries=0, **options))
        assert isinstance(made, openai.OpenAI)
        return made

    def gpt_async(self) -> openai.AsyncOpenAI:
        url = f"{self.url}/v1"
        made = self.tap(openai.AsyncOpenAI(base_url=url, api_key="sk-test", max_retries=0))
        assert isinstance(made, openai.AsyncOpenAI)
        return made

    def claude(self) -> anthropic.Anthropic:
        made = self.tap(anthropic.Anthropic(base_url=self.url, api_key="sk", max_retries=0))
        assert isinstance(made, anthropic.Anthropic)
        return made

    def only(self) -> Exchange:
        [exchange] = self.exchanges
        return exchange


@pytest.fixture
def noted(upstream: Upstream) -> Noted:
    return Noted(upstream.url)


def as_noted(exchange: Exchange) -> tuple[Any, int | None, bytes, str]:
    return (
        json.loads(exchange.request.body),
        exchange.status,
        bytes(exchange.body),
        exchange.ended,
    )


def test_a_plain_call_is_noted_as_it_went(noted: Noted) -> None:
    with noted.gpt() as client:
        said = client.chat.completions.create(**asked("two-subjects"))
    assert [choice.message.content for choice in said.choices][1].startswith("Two pallets")
    assert as_noted(noted.only()) == (
        asked("two-subjects"),
        200,
        answer("two-subjects"),
        "complete",
    )
    assert noted.only().labels["session_id"] == "run-1"


def test_a_stream_read_to_its_end_is_noted_whole(noted: Noted) -> None:
    with noted.gpt() as client:
        chunks = list(client.chat.completions.create(**asked("plan-1")))
    assert len(chunks) == 6
    exchange = noted.only()
    assert exchange.status == 200
    assert bytes(exchange.body) == answer("plan-1")
    assert exchange.first_token_ms is not None
    assert exchange.first_token_ms <= exchange.latency_ms


def test_anthropic_streams_are_noted_too(noted: Noted) -> None:
    request = asked("check-1")
    del request["stream"]
    with noted.claude() as client, client.messages.stream(**request) as stream:
        said = stream.get_final_message()
    assert said.stop_reason == "tool_use"
    assert bytes(noted.only().body) == answer("check-1")
    assert noted.only().ended == "complete"


def test_an_error_passes_unchanged_and_is_noted(noted: Noted) -> None:
    with noted.gpt() as client, pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(**asked("no-such-model"))
    assert caught.value.code == "model_not_found"
    assert as_noted(noted.only()) == (
        asked("no-such-model"),
        404,
        answer("no-such-model"),
        "complete",
    )


def test_a_raw_answer_is_noted_when_it_is_read(noted: Noted) -> None:
    with noted.gpt() as client:
        raw = client.chat.completions.with_raw_response.create(**asked("two-subjects"))
        assert raw.parse().id == "chatcmpl-subj1"
        with client.chat.completions.with_streaming_response.create(
            **asked("two-subjects")
        ) as streamed:
            assert len(noted.exchanges) == 1
            assert b"".join(streamed.iter_bytes()) == answer("two-subjects")
    assert [bytes(each.body) for each in noted.exchanges] == [answer("two-subjects")] * 2


def test_asyncio_clients_are_noted_while_they_work_at_once(noted: Noted) -> None:
    async def work() -> list[Any]:
        async with noted.gpt_async() as client:
            return await asyncio.gather(
                *(client.chat.completions.create(**asked("two-subjects")) for _ in range(20)),
                collect(client),
            )

    async def collect(client: openai.AsyncOpenAI) -> list[Any]:
        return [chunk async for chunk in await client.chat.completions.create(**asked("plan-2"))]

    said = asyncio.run(work())
    assert len(said) == 21
    assert sorted(bytes(each.body) for each in noted.exchanges) == sorted(
        [answer("two-subjects")] * 20 + [answer("plan-2")]
    )


def test_a_stream_that_the_agent_leaves_is_noted_as_far_as_it_came() -> None:
    with replaying(EXCHANGES.values(), Manner(pause_s=0.05)) as slow:
        noted = Noted(slow.url)
        with noted.gpt() as client, client.chat.completions.create(**asked("plan-2")) as stream:
            next(iter(stream))
        assert noted.only().ended == "client_left"
        assert answer("plan-2").startswith(bytes(noted.only().body))


def test_a_stream_that_is_forgotten_is_noted_when_it_is_gone() -> None:
    with replaying(EXCHANGES.values(), Manner(pause_s=0.02)) as slow:
        noted = Noted(slow.url)
        with noted.gpt() as client:
            for _ in client.chat.completions.create(**asked("plan-2")):
                break
            gc.collect()
        assert noted.only().ended == "client_left"


def test_a_cancelled_task_is_noted_as_one_who_left() -> None:
    async def work(noted: Noted) -> None:
        async with noted.gpt_async() as client:
            task = asyncio.create_task(client.chat.completions.create(**asked("two-subjects")))
            await asyncio.sleep(0.2)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    with replaying(EXCHANGES.values(), Manner(think_s=5)) as slow:
        noted = Noted(slow.url)
        asyncio.run(work(noted))
    assert (noted.only().ended, noted.only().status) == ("client_left", None)


def test_a_provider_that_is_away_or_slow_is_noted_and_the_error_is_the_sdks() -> None:
    nowhere = Noted("http://127.0.0.1:9")
    with nowhere.gpt() as client, pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**asked("two-subjects"))
    assert nowhere.only().ended == "upstream_failed"
    with replaying(EXCHANGES.values(), Manner(think_s=5)) as slow:
        noted = Noted(slow.url)
        with noted.gpt(timeout=0.2) as client, pytest.raises(openai.APITimeoutError):
            client.chat.completions.create(**asked("two-subjects"))
    assert noted.only().ended == "timed_out"


def test_each_attempt_of_a_retry_is_noted() -> None:
    overloaded = {
        **EXCHANGES["two-subjects"],
        "status": 503,
        "response": {"error": {"message": "overloaded"}},
    }
    with replaying([overloaded, EXCHANGES["two-subjects"]]) as upstream:
        noted = Noted(upstream.url)
        with noted.gpt() as client:
            said = client.with_options(max_retries=1).chat.completions.create(
                **asked("two-subjects")
            )
    assert said.id == "chatcmpl-subj1"
    assert [each.status for each in noted.exchanges] == [503, 200]


def test_a_calls_own_headers_label_it_and_never_leave(noted: Noted, upstream: Upstream) -> None:
    ours = {"x-ledgergrid-session-id": "run-2", "X-LedgerGrid-Tag-Team": "blue"}
    with noted.gpt() as client:
        client.chat.completions.create(**asked("two-subjects"), extra_headers=ours)
    assert noted.only().labels == {"session_id": "run-2", "tags": {"team": "blue"}}
    assert [name for name, _ in upstream.seen[-1].headers if b"ledgergrid" in name.lower()] == []
    assert noted.labels == {"session_id": "run-1"}


def test_the_providers_key_is_not_shown_by_what_is_noted(noted: Noted) -> None:
    with noted.gpt() as client:
        client.chat.completions.create(**asked("two-subjects"))
    assert "sk-test" not in repr(noted.only())


def test_lists_and_files_are_none_of_a_models_calls(noted: Noted) -> None:
    with noted.gpt() as client:
        with pytest.raises(openai.NotFoundError):
            client.models.list()
        with pytest.raises(openai.NotFoundError):
            client.files.create(file=b"...", purpose="user_data")
    assert noted.exchanges == []


def test_a_client_of_one_own_that_is_like_httpx_can_be_listened_to(noted: Noted) -> None:
    class Wrapper:
        def __init__(self) -> None:
            self._client = httpx.Client(base_url=noted.url)

    client = noted.tap(Wrapper())
    said = client._client.post("/v1/embeddings", json=asked("vectors"))
    client._client.close()
    assert said.json()["data"][0]["embedding"] == [0.0125, -0.25, 0.5]
    assert bytes(noted.only().body) == answer("vectors")


def test_what_cannot_be_listened_to_and_what_is_already_are_refused(noted: Noted) -> None:
    with pytest.raises(SettingsError, match="no HTTP client"):
        noted.tap(object())
    with noted.gpt() as client, pytest.raises(SettingsError, match="recorded already"):
        noted.tap(client)
