"""What goes through the real OpenAI SDK is on record: facts, bytes, and the agent's signature."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from api.demo.exchanges import RECORDED, body_bytes, read_exchanges
from api.demo.upstream import Upstream, replaying
from ledger_core import limits
from ledger_core.errors import SettingsError
from ledgergrid import Ledger, Signer, UnreachableError
from ledgergrid.integrations.openai import record
from tests.sdk.integrations.asking import answer, asked
from tests.sdk.integrations.recorded import Book


def open_client(upstream: Upstream, book: Book, **options: Any) -> openai.OpenAI:
    client = openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="sk-secret-1", max_retries=0)
    return record(client, book.ledger, **options)


def test_a_call_is_a_record_signed_by_the_agent(upstream: Upstream, book: Book) -> None:
    with open_client(
        upstream, book, session_id="run-1", user_id="u-7", agent_name="planner"
    ) as client:
        client.chat.completions.create(**asked("two-subjects"))
    call = book.call()
    assert (call.type, call.author) == ("llm.call/2", book.signer.key)
    facts = call.facts
    told = {name: facts[name] for name in ("provider", "wire", "method", "path", "model_id")}
    assert told == {
        "provider": "openai",
        "wire": "openai.chat",
        "method": "POST",
        "path": "/v1/chat/completions",
        "model_id": "gpt-5-mini",
    }
    assert (facts["session_id"], facts["user_id"], facts["agent_name"]) == (
        "run-1",
        "u-7",
        "planner",
    )
    assert (facts["tokens_in"], facts["tokens_out"], facts["choices"]) == (15, 18, 2)
    assert (facts["status_code"], facts["response_id"]) == (200, "chatcmpl-subj1")
    assert (facts["cost_basis"], facts["price_model"]) == ("provider", "openai/gpt-5-mini")
    assert facts["cost_microusd"] > 0
    assert facts["response_model"] == "gpt-5-mini-2025-08-07"
    assert facts["request_id"].startswith("req_")
    assert call.parts["response"] == answer("two-subjects")
    assert call.media_types["response"] == "application/json"
    assert b"sk-secret-1" not in b"".join(call.parts.values())


def test_streams_tools_responses_and_embeddings_are_read(upstream: Upstream, book: Book) -> None:
    with open_client(upstream, book) as client:
        list(client.chat.completions.create(**asked("plan-1")))
        list(client.chat.completions.create(**asked("plan-2")))
        client.responses.create(**asked("tell-driver"))
        client.embeddings.create(**asked("vectors"))
    first, second, third, fourth = (call.facts for call in book.calls(4))
    assert (first["tool_names"], first["stop_reason"]) == (["get_quote"], "tool_calls")
    assert (first["tokens_in"], first["stream"]) == (118, True)
    assert (second["stop_reason"], second["tokens_out"]) == ("stop", 21)
    assert "ended" not in first  # The default: complete, although the SDK closes after [DONE].
    assert (third["wire"], third["response_id"]) == ("openai.responses", "resp_driver1")
    assert (fourth["wire"], fourth["tokens_in"]) == ("openai.embeddings", 5)
    sessions = {each["session_id"] for each in (first, second, third, fourth)}
    assert len(sessions) == 1


def test_an_error_is_on_record_as_the_provider_told_it(upstream: Upstream, book: Book) -> None:
    with open_client(upstream, book) as client, pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**asked("no-such-model"))
    facts = book.call().facts
    assert facts["status_code"] == 404
    assert "gpt-nonesuch" in facts["error_detail"]


def test_a_provider_that_is_away_is_on_record_without_an_answer(book: Book) -> None:
    client = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="sk", max_retries=0)
    with record(client, book.ledger), pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**asked("two-subjects"))
    call = book.call()
    assert (call.facts["ended"], "status_code" in call.facts) == ("upstream_failed", False)
    assert call.facts["error_type"] == "ConnectError"
    assert "cost_microusd" not in call.facts
    assert set(call.parts) == {"call", "request"}


def test_a_key_that_cannot_be_sent_is_not_told(upstream: Upstream, book: Book) -> None:
    client = openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="sk-secret-17\n", max_retries=0)
    with record(client, book.ledger), pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(**asked("two-subjects"))
    facts = book.call().facts
    assert facts["error_type"] == "LocalProtocolError"
    assert "secret-17" not in str(facts)
    assert "[hidden]" in facts["error_detail"]


def test_asyncio_clients_record_with_the_same_ledger(upstream: Upstream, book: Book) -> None:
    async def work() -> None:
        client = openai.AsyncOpenAI(base_url=f"{upstream.url}/v1", api_key="sk", max_retries=0)
        async with record(client, book.ledger, agent_name="async"):
            await asyncio.gather(
                *(client.chat.completions.create(**asked("two-subjects")) for _ in range(10))
            )
            async for _ in await client.chat.completions.create(**asked("plan-2")):
                pass

    asyncio.run(work())
    calls = book.calls(11)
    assert {call.facts["agent_name"] for call in calls} == {"async"}
    assert calls[-1].parts["response"] == answer("plan-2")


def test_metadata_keeps_numbers_and_digests_and_nothing_that_was_said(
    upstream: Upstream, book: Book
) -> None:
    with open_client(upstream, book, level="metadata") as client:
        client.chat.completions.create(**asked("two-subjects"))
    call = book.call()
    assert set(call.parts) == {"call"}
    assert (call.facts["level"], call.facts["tokens_in"]) == ("metadata", 15)
    assert call.facts["response_bytes"] == len(answer("two-subjects"))
    assert b"Booking" not in call.parts["call"]


def test_a_ledger_that_is_away_costs_the_agent_nothing(
    upstream: Upstream, book: Book, tmp_path: Path
) -> None:
    ledger = Ledger(
        "http://127.0.0.1:9",
        ledger=book.name,
        signer=book.signer,
        log_key=book.ledger.learn() and vkey_of(book),
        state_dir=tmp_path / "away",
    )
    client = openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="sk", max_retries=0)
    with ledger, record(client, ledger):
        said = client.chat.completions.create(**asked("two-subjects"))
    assert said.id == "chatcmpl-subj1"
    assert len(list((ledger.state_dir / "outbox").glob("*.ndjson"))) == 1


def vkey_of(book: Book) -> str:
    from ledger_core.formats.vkey import format_vkey

    return format_vkey(book.live.service.ledgers.get(book.name).log_key)


def test_a_ledger_never_met_is_missed_when_recording_begins_and_not_in_a_call(
    tmp_path: Path,
) -> None:
    with (
        Ledger(
            "http://127.0.0.1:9",
            ledger="main",
            signer=Signer.make(),
            state_dir=tmp_path,
            patience_s=0,
        ) as ledger,
        pytest.raises(UnreachableError),
    ):
        record(openai.OpenAI(api_key="sk"), ledger)


def test_what_cannot_be_kept_is_counted_and_the_agent_has_its_answer(
    upstream: Upstream, book: Book, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Ledger(
        book.live.url,
        ledger=book.name,
        signer=book.signer,
        log_key=vkey_of(book),
        state_dir=tmp_path / "small",
        outbox_bytes=100,
    ) as full:
        client = openai.OpenAI(base_url=f"{upstream.url}/v1", api_key="sk", max_retries=0)
        with record(client, full):
            assert client.chat.completions.create(**asked("two-subjects")).id == "chatcmpl-subj1"
    assert "was not recorded" in caplog.text


def test_a_body_too_large_for_a_record_leaves_its_digest(book: Book) -> None:
    exchange = {
        "case": "large",
        "host": "api.openai.com",
        "method": "POST",
        "path": "/v1/chat/completions",
        "request": asked("two-subjects"),
        "status": 200,
        "content_type": "application/json",
        "response": {"id": "big", "choices": [], "pad": "x" * limits.SUBMISSION_BYTES},
    }
    with replaying([exchange]) as upstream, open_client(upstream, book) as client:
        assert client.chat.completions.create(**asked("two-subjects")).id == "big"
    call = book.call()
    assert set(call.parts) == {"call"}
    assert call.facts["level"] == "metadata"
    assert call.facts["response_bytes"] == len(body_bytes(exchange["response"]))


@pytest.mark.parametrize(
    "labels",
    [{"session_id": "x" * 501}, {"nonsense": "1"}, {"tags": {"team": 7}}],
    ids=["too-long", "unknown", "no-text"],
)
def test_labels_that_no_record_holds_are_refused_at_once(book: Book, labels: Any) -> None:
    attempt: Callable[..., Any] = record
    with pytest.raises(SettingsError):
        attempt(openai.OpenAI(api_key="sk"), book.ledger, **labels)


@pytest.mark.skipif(not RECORDED.exists(), reason="no recorded traffic beside the project")
def test_recorded_chat_completions_go_through_the_sdk_byte_for_byte(book: Book) -> None:
    recorded = [
        each
        for each in read_exchanges(RECORDED)
        if each["path"] == "/v1/chat/completions" and not each["request"].get("stream")
    ][:40]
    with replaying(recorded) as upstream, open_client(upstream, book) as client:
        for each in recorded:
            try:
                client.post(each["path"].removeprefix("/v1"), body=each["request"], cast_to=object)
            except openai.APIStatusError as error:
                assert error.status_code == each["status"]
    calls = book.calls(len(recorded))
    assert [c.parts["response"] for c in calls] == [body_bytes(e["response"]) for e in recorded]
