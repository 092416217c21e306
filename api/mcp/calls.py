"""Tools on captured calls: sessions, single calls in full, and search."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.calls.reading import CallReader, read_as
from api.mcp.tools import Arguments, Caller, Tool, in_thread
from ledger_core.storage.call_reading import SessionFilter

_SAID = frozenset(
    {"messages", "system_prompt", "tools", "tool_calls", "tool_results", "content", "reasoning",
     "refusal", "citations", "choices", "entries"}
)  # fmt: skip
"""What is left out of a call where only its facts are asked for."""
NO_NUL = r"^[^\x00]*$"
_Part = Annotated[str | None, Field(max_length=500, pattern=NO_NUL)]


class Wanted(Arguments):
    """Which sessions; all that is given must hold."""

    agent: _Part = Field(default=None, description="agent, exactly")
    user: _Part = Field(default=None, description="user, exactly")
    model: _Part = Field(default=None, description="part of a model's name")
    environment: _Part = Field(default=None, description="environment, exactly")
    q: _Part = Field(default=None, description="part of any name of the session")
    limit: int = Field(default=20, ge=1, le=100, description="sessions to return")
    offset: int = Field(default=0, ge=0, le=10**9, description="sessions to pass over")


class Session(BaseModel):
    """A session's sums. What no call had a price for has no cost."""

    model_config = ConfigDict(extra="allow")

    session_id: str | None
    call_count: int
    error_count: int
    blocked_count: int
    started_at: str
    last_call_at: str
    total_latency_ms: int
    total_tokens_in: int
    total_tokens_out: int
    total_cost_usd: float | None
    model_id: str | None
    agent_name: str | None
    user_id: str | None
    environment: str | None


class Sessions(BaseModel):
    """A page of sessions, those called last first."""

    sessions: list[Session]
    total: int = Field(description="sessions there are in all")


def list_sessions(caller: Caller, wanted: Wanted) -> Sessions:
    """Return a page of sessions; blocking."""
    chosen = SessionFilter(
        agent=wanted.agent,
        user=wanted.user,
        model=wanted.model,
        environment=wanted.environment,
        q=wanted.q,
    )
    found = _reader(caller).sessions(chosen, limit=wanted.limit, offset=wanted.offset)
    return Sessions(sessions=[Session(**row) for row in found.items], total=found.total)


class WantedSession(Arguments):
    """One session, and which of its calls."""

    session_id: str = Field(min_length=1, max_length=500, pattern=NO_NUL)
    limit: int = Field(default=20, ge=1, le=100, description="calls to return")
    offset: int = Field(default=0, ge=0, le=10**9, description="calls to pass over")
    include_messages: bool = Field(
        default=False, description="whether to return what was said too, which may be long"
    )


class Call(BaseModel):
    """A call in full: what was asked and answered, what it cost, and where it stands in the log."""

    model_config = ConfigDict(extra="allow")

    action_id: str | None
    status: str = Field(description="started: the outcome is unknown; done, refused, erased")
    session_id: str | None
    timestamp: str | None = Field(description="when the call began")
    model_id: str | None
    provider: str | None
    agent_name: str | None
    user_id: str | None
    messages: Any = None
    system_prompt: Any = None
    tools: Any = None
    tool_calls: Any = None
    tool_results: Any = None
    content: Any = None
    stop_reason: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    latency_ms: int | None = None
    status_code: int | None = None
    error_detail: str | None = None
    ledger: str
    index: int = Field(description="entry that it began with")
    end_index: int | None = Field(description="entry that it ended with")
    receipt: str = Field(description="path of the receipt; or use get_receipt")


class SessionCalls(BaseModel):
    """A session and a page of its calls, in the order they began."""

    session: Session
    calls: list[Call]


def get_session(caller: Caller, wanted: WantedSession) -> SessionCalls:
    """Return a session's sums and calls; blocking."""
    reader = _reader(caller)
    session = reader.summary(wanted.session_id)
    calls = reader.session(wanted.session_id, limit=wanted.limit, offset=wanted.offset).calls
    return SessionCalls(
        session=Session(**session), calls=_calls(calls, whole=wanted.include_messages)
    )


def _calls(found: list[dict[str, Any]], *, whole: bool) -> list[Call]:
    left_out = frozenset() if whole else _SAID
    return [Call(**{k: v for k, v in each.items() if k not in left_out}) for each in found]


class WantedCall(Arguments):
    """One call."""

    action_id: str = Field(min_length=1, max_length=500, pattern=NO_NUL)


def explain(caller: Caller, wanted: WantedCall) -> Call:
    """Return one call in full; blocking."""
    return Call(**_reader(caller).call(wanted.action_id))


class WantedText(Arguments):
    """What to look for."""

    query: str = Field(
        min_length=1,
        max_length=500,
        pattern=NO_NUL,
        description='words, or beginnings of words; "in quotes" as they stand',
    )
    limit: int = Field(default=20, ge=1, le=100, description="calls to return at most")
    include_messages: bool = Field(
        default=False, description="whether to return what was said too, which may be long"
    )


class Found(BaseModel):
    """Calls in which all of it was said, the best matches first."""

    calls: list[Call]


def search(caller: Caller, wanted: WantedText) -> Found:
    """Return calls by what was said in them; blocking."""
    found = _reader(caller).search(wanted.query, wanted.limit)
    return Found(calls=_calls(found, whole=wanted.include_messages))


def _reader(caller: Caller) -> CallReader:
    return read_as(caller.service, caller.actor)


TOOLS = (
    Tool(
        "list_sessions",
        "List sessions",
        "List sessions of captured calls, those called last first, with their calls, errors, "
        "tokens and cost.",
        Wanted,
        Sessions,
        in_thread(list_sessions),
    ),
    Tool(
        "get_session",
        "Get a session",
        "Get one session's sums and its calls in the order they began: model, tokens, cost, "
        "errors. With `include_messages` also what was said; or use explain on one of them.",
        WantedSession,
        SessionCalls,
        in_thread(get_session),
    ),
    Tool(
        "explain",
        "Explain a call",
        "Get one captured call in full: what was asked and answered, tools, tokens, cost, errors, "
        "its place in the log and the way to its proof.",
        WantedCall,
        Call,
        in_thread(explain),
    ),
    Tool(
        "search",
        "Search calls",
        "Find captured calls by what was asked and answered in them, in any language; case and "
        "accents do not matter. Gives their facts; use explain on one for all of it.",
        WantedText,
        Found,
        in_thread(search),
    ),
)
