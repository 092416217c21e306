"""What the records of a call have in common: its start, its end, its refusal, an alert about it.

A **call** is one request of an agent to a model. Field names are those that tools of this kind
already use. An absent field is unknown, never zero; money is integer micro-USD. Who a call is
said to come from (session, user, agent, app) is a claim of whoever made the request;
``credential`` is the name of the token that was presented, and no claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from ledger_core import clock
from ledger_core.errors import MalformedError, PayloadError
from ledger_core.formats.record import Count
from ledger_core.records.model import NO_NUL, ColumnKind

NAME_CHARS = 500
PATH_CHARS = 8_000
QUERY_CHARS = 16_000
TAGS = 64
TEXT_CHARS = 10_000

Name = Annotated[str, msgspec.Meta(max_length=NAME_CHARS, pattern=NO_NUL)]
Path = Annotated[str, msgspec.Meta(max_length=PATH_CHARS, pattern=NO_NUL)]
Query = Annotated[str, msgspec.Meta(max_length=QUERY_CHARS)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARS)]
Tags = Annotated[dict[Name, Name], msgspec.Meta(max_length=TAGS)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Status = Annotated[int, msgspec.Meta(ge=0, le=999)]
Wire = Literal[
    "openai.chat",
    "openai.responses",
    "openai.embeddings",
    "anthropic.messages",
    "anthropic.count_tokens",
    "other",
]
Level = Literal["full", "metadata"]
"""Whether content is kept, or only digests and numbers."""


class Identity(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Which call, asked for by whom. ``timestamp``: when it began, RFC 3339 with milliseconds.

    ``path`` is the canonical one, as it was forwarded and as rules judged it; ``query`` is
    raw, but for values that may be credentials.
    """

    action_id: Name
    timestamp: Name
    provider: Name
    wire: Wire = "other"
    method: Name = "POST"
    path: Path | None = None
    query: Query | None = None
    model_id: Name | None = None
    stream: bool = False
    session_id: Name | None = None
    user_id: Name | None = None
    agent_name: Name | None = None
    app_id: Name | None = None
    environment: Name = "development"
    parent_action_id: Name | None = None
    handoff_from: Name | None = None
    handoff_to: Name | None = None
    tags: Tags = {}
    credential: Name | None = None
    temperature: float | None = None
    max_tokens: Count | None = None


COLUMNS: dict[str, ColumnKind] = {
    "action_id": "text",
    "session_id": "text",
    "model_id": "text",
    "agent_name": "text",
    "status_code": "integer",
}
"""Few: a column is an index, and every call is written into each. Reading has views of its own."""


def check_identity(call: Identity) -> None:
    """Raise :class:`PayloadError` for what the schema cannot say."""
    check_timestamp(call.timestamp)


def check_timestamp(timestamp: str) -> None:
    try:
        clock.parse_time(timestamp)
    except MalformedError as error:
        raise PayloadError(f"timestamp: {error}") from None


def make_row(columns: Mapping[str, ColumnKind], of: object) -> dict[str, str | int | None]:
    return {name: getattr(of, name) for name in columns}


def name_subjects(user_id: str | None, session_id: str | None) -> tuple[str, ...]:
    """Return whom a call is about: its user, and its session."""
    named = (("user", user_id), ("session", session_id))
    return tuple(f"{kind}:{name}" for kind, name in named if name)
