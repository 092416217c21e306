"""What becomes of calls while the ledger takes nothing: refused, or kept on disk until it does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from ledger_core import ids
from ledger_core.errors import IntegrityError
from tests.api.proxy.conftest import Proxied, Proxying
from tests.support.raw_client import Got, exchange, request
from tests.support.raw_upstream import response

CHAT = "/v1/chat/completions"
ANSWER = b'{"model":"gpt-4o","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}'


def ask(proxied: Proxied, content: str = "Hi") -> Got:
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": content}]})
    headers = [("content-type", "application/json"), ("x-ledgergrid-session-id", "s1")]
    return exchange(proxied.address, request(proxied.address, CHAT, body.encode(), headers=headers))


def close_ledger(proxied: Proxied) -> None:
    """Have the ledger take nothing, as it does when it finds its database changed."""
    sequencer = proxied.live.service.ledgers.get("calls")._sequencer
    sequencer.degrade(IntegrityError("somebody changed an entry"))


def open_ledger(proxied: Proxied) -> None:
    proxied.live.service.ledgers.get("calls")._sequencer.read_only = None


def items(proxied: Proxied) -> list[Path]:
    return sorted((proxied.live.service.settings.data / "outbox").glob("*/*.item"))


def until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 15
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_calls_are_refused_by_default_and_told_later(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [response(ANSWER)]
    assert ask(proxied).status == 200
    close_ledger(proxied)
    got = ask(proxied)
    assert (got.status, json.loads(got.body)["error"]["type"]) == (503, "ledger_unavailable")
    assert len(proxied.upstream.seen) == 1
    open_ledger(proxied)
    until(lambda: [each.told["reason"] for each in proxied.refusals()] == ["ledger_unavailable"])


def test_calls_wait_in_the_outbox_and_are_delivered_in_order_once(proxying_with: Proxying) -> None:
    with proxying_with(capture_unavailable="queue") as proxied:
        proxied.upstream.answer = lambda seen: [response(ANSWER)]
        assert ask(proxied, "1").status == 200
        close_ledger(proxied)
        for content in "234":
            got = ask(proxied, content)
            assert (got.status, got.body) == (200, ANSWER)
            assert got.values(b"x-ledgergrid-entry") == [b"queued"]
        assert len(items(proxied)) == 6
        time.sleep(1.2)
        assert len(proxied.starts()) == 1
        open_ledger(proxied)
        until(lambda: len(proxied.ends()) == 4 and not items(proxied))
        said = [json.loads(each.part("request"))["messages"][0]["content"]
                for each in proxied.starts()]  # fmt: skip
        assert said == ["1", "2", "3", "4"]
        leaves = {each.told["action_id"]: each.entry.leaf_hash for each in proxied.starts()}
        for end in proxied.ends():
            assert [ref.to for ref in end.record.refs] == [_digest(leaves[end.told["action_id"]])]
        assert ask(proxied, "5").values(b"x-ledgergrid-entry") != [b"queued"]


def _digest(leaf_hash: bytes) -> str:
    return ids.format_digest(leaf_hash)


def test_an_end_that_the_ledger_does_not_take_waits_whatever_the_setting(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [response(ANSWER)]
    assert ask(proxied).status == 200

    def answer(seen: object) -> list[bytes]:
        close_ledger(proxied)
        return [response(ANSWER)]

    proxied.upstream.answer = answer
    got = ask(proxied)
    assert (got.status, got.body, got.is_whole) == (200, ANSWER, True)
    assert len(items(proxied)) == 1
    open_ledger(proxied)
    until(lambda: len(proxied.ends()) == 2 and not items(proxied))


def test_a_full_outbox_refuses(proxying_with: Proxying) -> None:
    with proxying_with(capture_unavailable="queue", outbox_bytes=1024 * 1024) as proxied:
        proxied.upstream.answer = lambda seen: [response(ANSWER)]
        assert ask(proxied).status == 200
        close_ledger(proxied)
        assert ask(proxied, "x" * 900_000).status == 200
        assert ask(proxied, "x" * 200_000).status == 503
        open_ledger(proxied)
        until(lambda: not items(proxied))
