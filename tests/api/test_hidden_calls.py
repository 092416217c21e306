"""Calls that are hidden from some readers: on no page, in no sum, found by no word."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ledger_core import ids
from ledger_core.records.rules import EVERY_TYPE, AudienceSetting, MutabilitySetting
from ledger_core.records.targets import Parts
from ledger_core.records.types.charter import Founding
from ledger_core.records.types.redaction import Redact, Unredact
from ledger_core.sequencer import Appended
from tests.api.captured import chat_answer, chat_request
from tests.api.live import Live, problem
from tests.support import calls
from tests.support.ledgers import Author, register

REDACTABLE = MutabilitySetting(type=EVERY_TYPE, redact=("operator",))


class Place:
    """A ledger of calls with some rules of its own."""

    def __init__(self, live: Live, founding: Founding) -> None:
        self.live = live
        name = live.service.settings.capture_ledger
        self.ledger = live.service.ledgers.create(name, founding=founding)
        self.author: Author = register(self.ledger)
        self.placed: dict[str, tuple[Appended, Appended]] = {}
        for n, word in enumerate(("apple", "banana")):
            said: dict[str, Any] = {"session_id": f"s{n}", "agent_name": f"a{n}"}
            self.placed[word] = calls.record(
                self.ledger, self.author, word, chat_request("bake"), chat_answer(f"{word} pie"),
                outcome={"cost_microusd": 10**n, "tool_names": [f"t{n}"]}, **said,
            )  # fmt: skip
        calls.settle(self.ledger)
        indexer = live.service.ledgers.indexer
        indexer.close()
        indexer._closing.clear()
        indexer.catch_up()

    def change(self, body: Any) -> None:
        self.ledger.append_as_operator("redaction/1", msgspec.json.encode(body))

    def parts(self, word: str, which: int, part: str) -> tuple[Parts, ...]:
        return (Parts(ids.format_digest(self.placed[word][which].leaf_hash), (part,)),)

    def get(self, role: str, path: str, **params: Any) -> Any:
        with self.live.http(role) as http:
            answer = http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def seen(self, role: str) -> dict[str, Any]:
        """Return the names of calls, sessions and so on that a reader finds anywhere."""
        spending = self.get(role, "/api/v1/spending")["spending"]
        return {
            "calls": [x["action_id"] for x in self.get(role, "/api/v1/calls")["calls"]],
            "sessions": [x["session_id"] for x in self.get(role, "/api/sessions")],
            "agents": [x["agent_name"] for x in self.get(role, "/api/v1/agents")["agents"]],
            "tools": [x["tool"] for x in self.get(role, "/api/v1/tools")["tools"]],
            "cost": [x["total_cost_microusd"] for x in spending],
            "models": sum(x["call_count"] for x in self.get(role, "/api/v1/models")["models"]),
            "found": [x["action_id"] for x in self.get(role, "/api/search", q="pie")],
        }


ALL = {
    "calls": ["banana", "apple"],
    "sessions": ["s1", "s0"],
    "agents": ["a0", "a1"],
    "tools": ["t0", "t1"],
    "cost": [11],
    "models": 2,
    "found": ["banana", "apple"],
}
APPLE = {
    "calls": ["apple"],
    "sessions": ["s0"],
    "agents": ["a0"],
    "tools": ["t0"],
    "cost": [1],
    "models": 1,
    "found": ["apple"],
}
NONE: dict[str, Any] = {name: 0 if name == "models" else [] for name in ALL}


def test_a_redacted_call_is_in_no_sum_for_whom_it_is_hidden_from(live: Live) -> None:
    place = Place(live, Founding(mutability=(REDACTABLE,)))
    assert place.seen("reader") == place.seen("admin") == ALL
    hidden = place.parts("banana", 1, "call")
    place.change(Redact(hidden, ("auditor",)))
    assert place.seen("reader") == APPLE
    assert place.seen("admin") == ALL
    with live.http("reader") as http:
        for path in ("/explain/banana", "/session/s1", "/export/s1", "/api/v1/calls/banana"):
            assert problem(http.get(path)) == (404, "not-found"), path
    place.change(Unredact(hidden))
    assert place.seen("reader") == ALL


@pytest.mark.parametrize(
    ("which", "part", "found"),
    [
        (0, "request", {"bake": ["apple"], "pie": ["banana", "apple"], "bake pie": ["apple"]}),
        (1, "response", {"bake": ["banana", "apple"], "pie": ["apple"], "bake pie": ["apple"]}),
    ],
)
def test_a_redacted_text_finds_nothing_and_is_told_as_redacted(
    embedded: Live, which: int, part: str, found: dict[str, list[str]]
) -> None:
    place = Place(embedded, Founding(mutability=(REDACTABLE,)))
    place.change(Redact(place.parts("banana", which, part), ("auditor",)))
    assert place.seen("reader") == ALL | {"found": found["pie"]}
    assert place.seen("admin") == ALL
    for query, names in found.items():
        calls = place.get("reader", "/api/search", q=query)
        assert {each["action_id"] for each in calls} == set(names), query
    call = place.get("reader", "/explain/banana")
    assert call[f"{part}_status"] == "redacted"
    assert call["messages" if part == "request" else "content"] is None
    exported = place.get("reader", "/export/s1")
    assert "banana pie" not in str(exported) or part == "request"
    assert exported["proofs"]["entries"][which]["parts"][part] == {"status": "redacted"}


def test_calls_for_the_operator_alone_are_in_nobody_elses_sums(live: Live) -> None:
    setting = AudienceSetting(type="llm.call/2", entry="operator")
    place = Place(live, Founding(audiences=(setting,)))
    assert place.seen("reader") == NONE
    assert place.seen("admin") == ALL
