"""What goes through the real Anthropic SDK is on record."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic

from api.demo.upstream import Upstream
from ledgergrid.integrations.anthropic import record
from tests.sdk.integrations.asking import answer, asked
from tests.sdk.integrations.recorded import Book


def streamed(case: str) -> Any:
    request = asked(case)
    del request["stream"]
    return request


def test_messages_streamed_and_not_are_read(upstream: Upstream, book: Book) -> None:
    client = anthropic.Anthropic(base_url=upstream.url, api_key="sk-ant", max_retries=0)
    with record(client, book.ledger, session_id="run-1"):
        with client.messages.stream(**streamed("check-1")) as stream:
            assert stream.get_final_message().stop_reason == "tool_use"
        client.messages.create(**asked("check-2"))
        assert client.messages.count_tokens(**asked("count")).input_tokens == 12
    first, second, third = book.calls(3)
    assert first.facts["wire"] == "anthropic.messages"
    assert (first.facts["tokens_in"], first.facts["tokens_out"]) == (402, 71)
    assert (first.facts["tool_names"], first.facts["stop_reason"]) == (
        ["look_up_terms"],
        "tool_use",
    )
    assert first.parts["response"] == answer("check-1")
    assert (second.facts["response_id"], second.facts["max_tokens"]) == ("msg_check2", 300)
    assert third.facts["wire"] == "anthropic.count_tokens"
    assert b"sk-ant" not in b"".join(
        part for call in (first, second) for part in call.parts.values()
    )


def test_asyncio_streams_are_recorded(upstream: Upstream, book: Book) -> None:
    async def work() -> None:
        client = anthropic.AsyncAnthropic(base_url=upstream.url, api_key="sk", max_retries=0)
        async with (
            record(client, book.ledger),
            client.messages.stream(**streamed("check-1")) as stream,
        ):
            async for _ in stream.text_stream:
                pass

    asyncio.run(work())
    assert book.call().parts["response"] == answer("check-1")
