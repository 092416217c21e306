"""Who a call is said to come from: set once for a client, or anew for one call by its headers.

The headers are those that the proxy reads, so that an agent's code is the same with and without
one. They are ours, and are taken out before the request leaves.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final, TypedDict

from ledger_core.errors import SettingsError
from ledger_core.records.calls import NAME_CHARS, TAGS

_PREFIXES: Final = ("x-ledgergrid-", "x-agentledger-", "x-agenticledger-")
_TAG: Final = "tag-"


class Labels(TypedDict, total=False):
    """What may be said of a call beside what it asks and answers. Claims of the agent's own."""

    session_id: str
    """Groups the calls of a run."""
    user_id: str
    """On whose behalf; a subject, whose data can be erased."""
    agent_name: str
    app_id: str
    environment: str
    """``development`` unless said otherwise."""
    parent_action_id: str
    """The call that led to this one."""
    handoff_from: str
    handoff_to: str
    tags: dict[str, str]


_TEXTS: Final = frozenset(Labels.__annotations__) - {"tags"}


def check_labels(labels: Labels) -> None:
    """Raise :class:`SettingsError` for labels that no record could hold."""
    texts = {name: value for name, value in labels.items() if name != "tags"}
    tags = labels.get("tags", {})
    if unknown := texts.keys() - _TEXTS:
        raise SettingsError(f"no such labels: {', '.join(sorted(unknown))}")
    if len(tags) > TAGS:
        raise SettingsError(f"a call has at most {TAGS} tags")
    for name, value in [*texts.items(), *tags.items()]:
        if not isinstance(value, str) or clip(value) != value:
            raise SettingsError(f"{name} is text of at most {NAME_CHARS} characters, without NUL")


def clip(text: str) -> str:
    """Fit a name into a record's column."""
    return text.replace("\0", "")[:NAME_CHARS]


def take_labels(headers: MutableMapping[str, Any], given: Labels) -> Labels:
    """Take our headers out of a request; return what they say, over what was ``given``."""
    found = Labels(**given)
    found["tags"] = dict(given.get("tags", {}))
    for name in [name for name in headers if name.lower().startswith(_PREFIXES)]:
        _take(found, name.lower().split("-", 2)[2], clip(str(headers.pop(name))))
    return found


def _take(found: Labels, short: str, value: str) -> None:
    if short.startswith(_TAG) and len(found["tags"]) < TAGS:
        found["tags"][clip(short.removeprefix(_TAG))] = value
    elif (field := short.replace("-", "_")) in _TEXTS:
        found[field] = value  # type: ignore[literal-required]
