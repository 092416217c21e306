"""What a tool is: a name, what goes in and comes out as schemas, and who calls it.

What goes in is parsed strictly and what comes out is bounded: a model pays for every character it
reads. A refusal is an answer that says so (``isError``), in the words of the API's problems.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import anyio
import mcp_types as types
import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.json_schema import JsonSchemaMode

from api import logs, problems
from api.actors import Actor
from api.ferry import Ferry
from api.mcp.bounds import cut_to_fit
from api.service import Service
from api.sight import Sight
from ledger_core.errors import LedgerGridError, MalformedError, NotFoundError
from ledger_core.ledger import Ledger

ANSWER_BYTES = 256 * 1024
"""Longest answer of a tool. Content beyond it is cut, and says so; the API has all of it."""


class Arguments(BaseModel):
    """What goes into a tool; nothing unknown does."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Caller:
    """Whoever calls a tool: what they may see, and the service they ask."""

    service: Service
    actor: Actor
    ferry: Ferry

    def look(self, name: str) -> Sight:
        """Return a ledger as the caller sees it; blocking."""
        try:
            ledger = self.service.ledgers.get(name)
        except NotFoundError:
            raise self._no_ledger(name) from None
        if not self.actor.sees(ledger):
            raise self._no_ledger(name)
        return Sight(ledger, self.actor.reader_of(ledger))

    def _no_ledger(self, name: str) -> NotFoundError:
        return NotFoundError(f"no ledger named {name[:80]!r}")

    def find_calls(self) -> Ledger:
        """Return the ledger that calls are captured in, if the caller sees it; blocking."""
        return self.look(self.service.settings.capture_ledger).ledger


@cache
def _describe(model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
    return model.model_json_schema(mode=mode)


A = TypeVar("A", bound=Arguments)
Run = Callable[[Caller, Any], Awaitable[BaseModel]]


@dataclass(frozen=True)
class Tool:
    """One tool; ``run`` gets its arguments parsed."""

    name: str
    title: str
    description: str
    takes: type[Arguments]
    gives: type[BaseModel]
    run: Run
    writes: bool = False

    def describe(self) -> types.Tool:
        """Return what ``tools/list`` says of it."""
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=_describe(self.takes, "validation"),
            output_schema=_describe(self.gives, "serialization"),
            annotations=types.ToolAnnotations(
                read_only_hint=not self.writes,
                destructive_hint=False,
                # The same record again is the same entry.
                idempotent_hint=True,
                open_world_hint=False,
            ),
        )

    async def call(self, caller: Caller, arguments: dict[str, Any]) -> types.CallToolResult:
        """Run it. What is refused is an answer; what went wrong inside is logged and hidden."""
        try:
            given = self.takes.model_validate(arguments)
            answer = await self.run(caller, given)
        except ValidationError as error:
            return refuse(problems.problem_of(_name_mistake(error)))
        except LedgerGridError as error:
            problem = problems.problem_of(error)
            if problem.status == 500:
                logs.log.exception("tool failed", tool=self.name)
            return refuse(problem)
        said = cut_to_fit(answer.model_dump(mode="json"), ANSWER_BYTES)
        # Through the model again: what was cut must still be what the schema promises.
        checked = self.gives.model_validate(said).model_dump(mode="json")
        return types.CallToolResult(content=[_text(checked)], structured_content=checked)


def in_thread(work: Callable[[Caller, A], BaseModel]) -> Callable[[Caller, A], Awaitable[Any]]:
    """Make a tool's ``run`` out of a function that blocks."""

    async def run(caller: Caller, arguments: A) -> BaseModel:
        return await anyio.to_thread.run_sync(partial(work, caller, arguments))

    return run


def _name_mistake(error: ValidationError) -> MalformedError:
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    # The place and the reason; never the value, which may be anything.
    where = ".".join(str(part) for part in first["loc"])[:200]
    return MalformedError(f"{where}: {first['msg']}")


def refuse(problem: problems.Problem) -> types.CallToolResult:
    """Answer that it was not done, and why."""
    return types.CallToolResult(content=[_text(problem.members())], is_error=True)


def _text(said: Any) -> types.TextContent:
    return types.TextContent(type="text", text=msgspec.json.encode(said).decode())
