"""What is kept of a call: everything, only numbers, or everything but what is personal."""

from __future__ import annotations

import gzip
import json

import pytest

from ledger_core import limits
from ledger_core.llm import frames
from tests.api.proxy.conftest import Proxied, Proxying
from tests.support.raw_client import exchange, request
from tests.support.raw_upstream import chunked, response

CHAT = "/v1/chat/completions"
JSON = ("content-type", "application/json")
ANSWER = (
    b'{"model":"gpt-4o","choices":[{"index":0,"message":{"content":"Write to eve@example.org"}}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":3}}'
)


def ask(proxied: Proxied, content: str, *more: tuple[str, str], encoded: bool = False) -> bytes:
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": content}]})
    raw = body.encode()
    if encoded:
        raw, more = gzip.compress(raw), (*more, ("content-encoding", "gzip"))
    got = exchange(proxied.address, request(proxied.address, CHAT, raw, headers=[JSON, *more]))
    assert got.status == 200
    assert proxied.upstream.seen[-1].body == raw
    return got.body


def test_level_metadata_keeps_no_content_and_all_numbers(proxying_with: Proxying) -> None:
    with proxying_with(capture_level="metadata") as proxied:
        proxied.upstream.answer = lambda seen: [response(ANSWER)]
        assert ask(proxied, "a secret") == ANSWER
        (start,), end = proxied.starts(), proxied.only_end()
        assert (set(start.entry.parts), set(end.entry.parts)) == ({"start"}, {"call"})
        assert (end.told["tokens_in"], end.told["level"]) == (9, "metadata")
        assert len(start.told["request_sha256"]) == 64
        folder = proxied.live.service.settings.data
        assert not any(b"a secret" in path.read_bytes() for path in folder.rglob("*.db*"))


@pytest.mark.parametrize("encoded", [False, True])
def test_what_is_personal_is_unreadable_in_the_copy_alone(
    proxying_with: Proxying, encoded: bool
) -> None:
    with proxying_with(redact="all", redact_patterns='["case-[0-9]{4}"]') as proxied:
        proxied.upstream.answer = lambda seen: [response(ANSWER)]
        answer = ask(proxied, "I am bob@example.org, case-4711", encoded=encoded)
        assert answer == ANSWER
        (start,), end = proxied.starts(), proxied.only_end()
        for record, part in ((start, "request"), (end, "response")):
            kept = record.part(part)
            assert b"example.org" not in kept
            assert b"[redacted email]" in kept
        assert b"4711" not in start.part("request")
        assert (start.told["redactions"], end.told["redactions"]) == (2, 1)
        assert "content_encoding" not in start.told
        assert end.told["tokens_in"] == 9


def test_pieces_of_an_address_in_a_stream_are_found_too(proxying_with: Proxying) -> None:
    with proxying_with(redact="email") as proxied:
        events = [
            b'data: {"choices":[{"index":0,"delta":{"content":"eve@exa"}}]}\n\n',
            b'data: {"choices":[{"index":0,"delta":{"content":"mple.org"}}]}\n\n',
            b"data: [DONE]\n\n",
        ]
        proxied.upstream.answer = lambda seen: chunked(events)
        assert ask(proxied, "Who?") == b"".join(events)
        kept = proxied.only_end().part("response")
        assert b"mple.org" not in kept


def test_what_a_redactor_cannot_read_is_not_kept(proxying_with: Proxying) -> None:
    with proxying_with(redact="email") as proxied:
        exchange(proxied.address, request(proxied.address, "/v1/audio/speech", b"\xff\xfe\x00"))
        (start,) = proxied.starts()
        assert "request" not in start.entry.parts
        assert start.told["redactions"] == 1


# --- conversations -------------------------------------------------------------------


def whole_request(proxied: Proxied, index: int) -> bytes:
    """Read a request as readers do: through the frames that it is stored as."""
    by_leaf = {each.entry.leaf_hash: each for each in proxied.starts()}

    def fetch(leaf_hash: bytes) -> frames.Stored:
        found = by_leaf[leaf_hash]
        return found.record.payload["request"].media_type, found.part("request")

    found = proxied.starts()[index]
    return frames.decode((found.record.payload["request"].media_type, found.part("request")), fetch)


def test_a_conversation_is_stored_once_and_read_whole(proxied: Proxied) -> None:
    proxied.upstream.answer = lambda seen: [response(b"{}")]
    told = "Once upon a time there was a ledger. " * 30
    for turn in range(40):
        told += f"And then, in chapter {turn}, another entry was appended to it. " * 5
        ask(proxied, told, ("x-ledgergrid-session-id", "s1"))
    starts = proxied.starts()
    stored = sum(len(each.part("request")) for each in starts)
    sent = sum(len(seen.body) for seen in proxied.upstream.seen)
    assert stored < sent / 5
    for index in (0, 1, 20, 33, 39):
        assert whole_request(proxied, index) == proxied.upstream.seen[index].body
    depths = [each.told["request_bytes"] > len(each.part("request")) for each in starts]
    assert depths.count(False) == 1 + 39 // (limits.FRAME_DEPTH + 1)


@pytest.mark.parametrize("name", ["session-id", "user-id", "agent-name"])
def test_nobodys_request_rests_on_anothers(proxied: Proxied, name: str) -> None:
    proxied.upstream.answer = lambda seen: [response(b"{}")]
    told = "A long and equal story. " * 100
    same = [("x-ledgergrid-session-id", "s1")] if name != "session-id" else []
    for who in ("a", "b"):
        ask(proxied, told, *same, (f"x-ledgergrid-{name}", who))
    assert [each.told["request_bytes"] for each in proxied.starts()] == [
        len(each.part("request")) for each in proxied.starts()
    ]
