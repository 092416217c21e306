"""Requests that are stored as differences are read whole, as far as what they build on is there."""

from __future__ import annotations

from typing import Any

import pytest

from ledger_core.llm import frames
from ledger_core.sequencer import Appended
from tests.api.captured import Captured, chat_answer, chat_request
from tests.api.live import Live
from tests.support import calls
from tests.support.erasing import erase
from tests.support.ledgers import START_MS, appended


@pytest.fixture
def captured(embedded: Live) -> Captured:
    return Captured(embedded)


def converse(captured: Captured, turns: int) -> list[Appended]:
    """Record a conversation whose requests build on each other."""
    said: list[str] = []
    starts: list[Appended] = []
    base: frames.Base | None = None
    for turn in range(turns):
        said.append(f"question number {turn} " * 20)
        whole = chat_request(*said)
        frame = frames.encode(base, whole) if base else None
        media = frames.MEDIA_TYPE if frame else "application/json"
        start = calls.start(
            captured.author, f"turn-{turn}", frame or whole, media, whole=whole,
            session_id="talk", began_ms=START_MS + turn,
        )  # fmt: skip
        begun = appended(captured.ledger.append([start])[0])
        answer = f"answer number {turn} " * 20
        end = calls.end(
            captured.author, f"turn-{turn}", begun.leaf_hash, chat_answer(answer),
            session_id="talk", began_ms=START_MS + turn,
        )  # fmt: skip
        captured.ledger.append([end])
        said.append(answer)
        starts.append(begun)
        depth = base.depth + 1 if frame and base else 0
        base = frames.Base(begun.leaf_hash, depth, whole)
    captured.settle()
    return starts


def session(captured: Captured) -> list[dict[str, Any]]:
    with captured.live.http("admin") as http:
        found: list[dict[str, Any]] = http.get("/session/talk").json()
    return found


def test_each_turn_of_a_conversation_has_all_messages_before_it(captured: Captured) -> None:
    converse(captured, 40)
    found = session(captured)
    assert [len(each["messages"]) for each in found] == [2 * n + 1 for n in range(40)]
    assert found[39]["messages"][0]["content"] == "question number 0 " * 20
    assert all(each["problems"] == {} for each in found)


def test_a_request_is_erased_with_what_it_builds_on(captured: Captured) -> None:
    starts = converse(captured, 5)
    erase(captured.ledger, captured.author, starts[2], "request")
    found = session(captured)
    assert [each["request_status"] for each in found] == ["present"] * 2 + ["erased"] * 3
    assert [each["messages"] is None for each in found] == [False] * 2 + [True] * 3
    assert found[4]["content"] == "answer number 4 " * 20
    assert "builds on the request of entry" in found[4]["problems"]["request"]
