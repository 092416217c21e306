"""A ledger of captured calls behind a running service."""

from __future__ import annotations

from typing import Any

import msgspec

from ledger_core.ledger import Ledger
from ledger_core.records.rules import EVERY_TYPE, MutabilitySetting
from ledger_core.records.types.charter import Founding
from tests.api.live import Live
from tests.support import calls
from tests.support.ledgers import START_MS, Author, register

FOUNDING = Founding(mutability=(MutabilitySetting(type=EVERY_TYPE, erase=("author", "operator")),))


def chat_request(*messages: str, model: str = "gpt-5", system: str = "") -> bytes:
    said: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant")
    said += [{"role": roles[n % 2], "content": each} for n, each in enumerate(messages)]
    return msgspec.json.encode({"model": model, "messages": said})


def chat_answer(content: str, tool: str = "") -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if tool:
        function = {"name": tool, "arguments": '{"city":"Zürich"}'}
        message["tool_calls"] = [{"id": "t1", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return msgspec.json.encode({"id": "r1", "model": "gpt-5", "choices": [choice], "usage": usage})


class Captured:
    """Calls as a proxy would write them."""

    def __init__(self, live: Live) -> None:
        self.live = live
        name = live.service.settings.capture_ledger
        self.ledger: Ledger = live.service.ledgers.create(name, founding=FOUNDING)
        self.author: Author = register(self.ledger)
        self.count = 0

    def call(
        self, prompt: str, answer: str, *, tool: str = "", system: str = "", **said: Any
    ) -> str:
        """Record a call; return its id."""
        self.count += 1
        name: str = said.pop("action_id", f"call-{self.count}")
        outcome = {"cost_microusd": 1_500, "stop_reason": "stop", "response_id": "r1"}
        outcome |= {"tool_names": [tool]} if tool else {}
        outcome |= said.pop("outcome", {})
        calls.record(
            self.ledger,
            self.author,
            name,
            chat_request(prompt, system=system),
            chat_answer(answer, tool),
            began_ms=START_MS + self.count,
            outcome=outcome,
            **({"model_id": "gpt-5"} | said),
        )
        return name

    def settle(self) -> None:
        calls.settle(self.ledger)
