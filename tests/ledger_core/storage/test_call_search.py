"""Full text of calls: found by what was said, alike on both databases; erased words are nowhere."""

from __future__ import annotations

import itertools
import secrets
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger_core.llm import frames
from ledger_core.sequencer import Appended
from ledger_core.storage.call_search import CallSearch, CallText
from ledger_core.words import Phrase, phrases
from tests.ledger_core.storage.test_calls import ERASABLE
from tests.support import calls
from tests.support.erasing import erase
from tests.support.ledgers import Replica, Service, appended, register
from tests.support.markers import find_in


def asked(*said: str) -> bytes:
    return msgspec.json.encode({"messages": [{"role": "user", "content": x} for x in said]})


def answered(content: str, **more: Any) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    return msgspec.json.encode({"choices": [{"index": 0, "message": message}]})


class Desk:
    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        # Nobody but the test indexes, so that it knows when that is done.
        replica.ledgers.indexer.close()
        replica.ledgers.indexer._closing.clear()
        self.ledger = replica.ledgers.create("calls", founding=ERASABLE)
        self.author = register(self.ledger)
        self.names: dict[int, str] = {}

    def say(
        self, name: str, request: bytes, response: bytes, **outcome: Any
    ) -> tuple[Appended, Appended]:
        placed = calls.record(
            self.ledger, self.author, name, request, response, outcome=outcome, session_id="s"
        )
        self.names[placed[0].index] = self.names[placed[1].index] = name
        return placed

    def make_anew(self) -> None:
        """Throw the views away and have them filled again."""
        self.replica.ledgers.views.rebuild()
        self.replica.ledgers.follower._filled.clear()
        assert self.replica.ledgers.follower.catch_up() is None

    def find(self, query: str) -> list[str]:
        calls.settle(self.ledger)
        self.replica.ledgers.indexer.catch_up()
        search = self.replica.ledgers.views.search
        found = search.find(self.ledger.ledger_id, phrases(query), 100)
        return [self.names.get(index, str(index)) for index in found]


@pytest.fixture
def desk(service: Service) -> Desk:
    return Desk(service.open())


def test_calls_are_found_by_what_was_asked_answered_and_called(desk: Desk) -> None:
    tool = [{"id": "1", "type": "function",
             "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}}]  # fmt: skip
    desk.say("a", asked("Crème brûlée recipe"), answered("Take eggs and 東京都 sugar"))
    desk.say("b", asked("Weather?"), answered("", tool_calls=tool))
    desk.say("c", asked("x"), b'{"error":{"message":"quota exhausted","type":"t"}}',
             status_code=429, error_detail="quota exhausted")  # fmt: skip
    for query, names in {
        "creme": ["a"],
        "BRÛLÉE eggs": ["a"],
        "reci": ["a"],
        "京都": ["a"],
        "都": ["a"],
        "大阪": [],
        "zurich": ["b"],
        "get_weather": ["b"],
        "quota": ["c"],
        '"take eggs"': ["a"],
        '"eggs take"': [],
        "creme zurich": [],
        "": [],
    }.items():
        assert desk.find(query) == names, query


def test_the_best_matches_come_first_and_of_equal_ones_the_newest(desk: Desk) -> None:
    desk.say("once", asked("fish " + "and other things " * 40), answered("ok"))
    desk.say("often", asked("fish fish fish"), answered("fish"))
    desk.say("again", asked("fish fish fish"), answered("fish"))
    assert desk.find("fish") == ["again", "often", "once"]


def test_of_a_request_stored_as_a_difference_only_what_is_new_counts(desk: Desk) -> None:
    first = asked("an elephant " * 20)
    begun, _ = desk.say("first", first, answered("yes"))
    second = asked("an elephant " * 20, "and a \\ giraffe \u00e9t\u00e9")
    frame = frames.encode(frames.Base(begun.leaf_hash, 0, first), second)
    assert frame is not None
    start = calls.start(desk.author, "second", frame, frames.MEDIA_TYPE, whole=second)
    placed = appended(desk.ledger.append([start])[0])
    desk.names[placed.index] = "second"
    assert desk.find("elephant") == ["first"]
    assert desk.find("giraffe") == ["second"]
    assert desk.find("été") == ["second"]


def test_a_call_that_ends_later_is_found_by_both_its_halves(desk: Desk) -> None:
    begun = appended(desk.ledger.append([calls.start(desk.author, "a", asked("alpha"))])[0])
    desk.names[begun.index] = "a"
    assert desk.find("alpha") == ["a"]
    ended = calls.end(desk.author, "a", begun.leaf_hash, answered("omega"))
    desk.names[appended(desk.ledger.append([ended])[0]).index] = "a"
    assert desk.find("alpha omega") == ["a"]


def test_of_a_call_that_was_erased_in_part_the_rest_is_found(desk: Desk) -> None:
    asking = desk.say("asking", asked("alpha"), answered("omega"))
    answering = desk.say("answering", asked("alpha"), answered("omega"))
    assert set(desk.find("alpha omega")) == {"asking", "answering"}
    erase(desk.ledger, desk.author, asking[0], "request")
    erase(desk.ledger, desk.author, answering[1], "response")
    for _ in range(2):
        assert desk.find("alpha") == ["answering"]
        assert desk.find("omega") == ["asking"]
        assert desk.find("alpha omega") == []
        desk.make_anew()


def test_text_is_there_again_after_the_views_were_made_anew(desk: Desk) -> None:
    desk.say("a", asked("alpha"), answered("omega"))
    assert desk.find("alpha") == ["a"]
    desk.make_anew()
    assert desk.find("alpha") == ["a"]


WORDS = st.lists(st.sampled_from(["fish", "fisher", "net", "sea"]), max_size=6)
SEARCHES = ("fish", "fis", "net sea", "sea fis", '"net net"', "fishers", "net-fis")
_ledgers = itertools.count(100)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=9), st.integers(1, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_a_search_finds_every_match_or_of_very_many_the_newest(
    desk: Desk, texts: list[tuple[list[str], list[str]]], most: int
) -> None:
    views, one, other = desk.replica.ledgers.views, next(_ledgers), next(_ledgers)
    bounded = CallSearch(views._database, views.tables.of_search, views.tables.of_calls, most)
    said = [
        CallText(n, " ".join(spoken), " ".join(begun)) for n, (spoken, begun) in enumerate(texts)
    ]
    for ledger_id in (one, other):
        bounded.fill(ledger_id, 0, len(said), said)
    for query in SEARCHES:
        wanted = phrases(query)
        every = [each.index for each in said if all(_has(each, phrase) for phrase in wanted)]
        assert sorted(bounded.find(one, wanted, 100)) == every[-most:], query
        if len(every) <= most:
            assert bounded.find(one, wanted, 100) == views.search.find(one, wanted, 100)


def _has(text: CallText, phrase: Phrase) -> bool:
    asked = f" {' '.join(phrase.words)}{'' if phrase.is_prefix else ' '}"
    return any(asked in f" {words} " for words in (text.begun, text.spoken))


@pytest.mark.parametrize("part", ["request", "response", "start", "call"])
def test_erased_words_find_nothing_and_are_in_no_file(
    tmp_path: Path, sqlite_url: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("SQLITE_TMPDIR", str(folder))
    service = Service(sqlite_url, tmp_path)
    desk = Desk(service.open())
    marker = f"canary{secrets.token_hex(8)}"
    request = asked(marker if part == "request" else "question")
    response = answered(marker if part == "response" else "answer")
    outcome = {"error_detail": marker} if part == "call" else {}
    agent: dict[str, Any] = {"agent_name": marker} if part == "start" else {}
    for n in range(30):
        desk.say(f"other {n}", asked(f"other words {n}"), answered("and more"))
    placed = calls.record(
        desk.ledger, desk.author, "a", request, response, outcome=outcome, **agent
    )
    is_in_text = part != "start"
    assert bool(desk.find(marker)) is is_in_text
    erased = placed[0] if part in ("request", "start") else placed[1]
    erase(desk.ledger, desk.author, erased, part)
    if part == "start":  # The end repeats who asked.
        erase(desk.ledger, desk.author, placed[1], "call")
    left = {"request": ["answer"], "start": [], "response": ["question"], "call": ["question"]}
    for _ in range(2):
        assert desk.find(marker) == []
        assert len(desk.find("other")) == 30
        for word in ("question", "answer"):
            assert bool(desk.find(word)) is (word in left[part]), word
        desk.make_anew()
    assert find_in(tmp_path, marker.encode()) == []
    service.close()
    assert find_in(tmp_path, marker.encode()) == []
