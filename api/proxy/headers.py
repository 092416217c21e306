"""Headers on their way through: what stays here, what goes on, in order and with duplicates.

An intermediary forwards neither the fields of RFC 9110 section 7.6.1 nor those that
``Connection`` names. Beyond these, only what is meant for LedgerGrid stays: the identity of a
call, and credentials of ours, wherever they were put.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ledger_core.errors import MalformedError

Headers = Sequence[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# The request's own frame is made anew: host and length are the upstream's, 100-continue was
# answered here.
_OF_THE_REQUEST = _HOP_BY_HOP | {b"host", b"content-length", b"expect"}
_NOTHING: frozenset[bytes] = frozenset()
_KEPT_BY_CONNECTION = frozenset({b"content-length", b"content-type", b"content-encoding", b"host"})
"""Naming these in ``Connection`` would change what is forwarded, not how: it is ignored."""

_OURS = (b"x-ledgergrid-", b"x-agentledger-", b"x-agenticledger-")
_CLAUDE_CODE = b"x-claude-code-session-id"
_TOKEN = b"lgt_"
_CODING = b"content-encoding"
_LONG = 16
_CREDENTIALS = frozenset(
    (b"authorization", b"x-api-key", b"api-key", b"cookie", b"proxy-authorization")
)
_A_TOKEN = re.compile(rb"(?<![A-Za-z0-9_-])lgt_[A-Za-z0-9_-]")
_CREDENTIAL = b"key"
_API_KEY = b"api-key"

VALUE_CHARS = 500
TAGS = 32
TAG_CHARS = 64
_TAG = b"tag-"
_CLEAN = re.compile(r"[^\x00-\x1f\x7f]*")
_NAMES = {
    b"session-id": "session_id",
    b"user-id": "user_id",
    b"agent-name": "agent_name",
    b"app-id": "app_id",
    b"parent-action-id": "parent_action_id",
    b"environment": "environment",
    b"handoff-from": "handoff_from",
    b"handoff-to": "handoff_to",
}


class Identity(msgspec.Struct):
    """What a request claims of itself; ``secrets`` are credentials of ours, never to be kept."""

    session_id: str | None = None
    user_id: str | None = None
    agent_name: str | None = None
    app_id: str | None = None
    parent_action_id: str | None = None
    environment: str | None = None
    handoff_from: str | None = None
    handoff_to: str | None = None
    tags: dict[str, str] = {}
    token: str | None = None
    api_key: str | None = None


class Sorted(NamedTuple):
    """A request's headers: what goes on, whom it is from, and by name those that are not for us.

    Of several of one name the first is ``named``.
    """

    onward: list[tuple[str, str]]
    identity: Identity
    named: dict[bytes, bytes]


def sort_request(headers: Headers, secrets: tuple[bytes, ...] = ()) -> Sorted:
    """Sort a request's headers, whose names are in lower case, as ASGI has them.

    A credential of ours (``secrets``, or a token) goes nowhere, and is no name: names are written
    down. Of a header for us that comes twice, under whichever of its names, the first counts.

    Raises :class:`MalformedError` for what is for us and too long, and for a value that is no
    UTF-8, which could not go on as it is.
    """
    found = Sorted([], Identity(), {})
    dropped = _OF_THE_REQUEST
    if named := _named_by_connection(headers):
        dropped = dropped | named
    claude_code: str | None = None
    for name, value in headers:
        if name == _CLAUDE_CODE:
            claude_code = claude_code or _text(name, value)
        elif name.startswith(_OURS):
            _take(found.identity, name.split(b"-", 2)[2], value, secrets)
        else:
            if found.named.setdefault(name, value) is not value and name == _CODING:
                found.named[name] += b", " + value  # One list, however many headers it is cut into.
            is_credential = name in _CREDENTIALS
            if name not in dropped and not is_ours(value, secrets, is_credential=is_credential):
                found.onward.append((name.decode("latin-1"), _decode(name, value)))
    if found.identity.session_id is None:
        found.identity.session_id = claude_code
    return found


def _take(found: Identity, short: bytes, value: bytes, secrets: tuple[bytes, ...]) -> None:
    field = _NAMES.get(short)
    if (field is not None or short.startswith(_TAG)) and is_ours(value, secrets):
        raise MalformedError(f"header {short.decode('latin-1')[:80]} holds a credential")
    if field is not None:
        text = _text(short, value)
        if text and getattr(found, field) is None:
            setattr(found, field, text)
    elif short.startswith(_TAG):
        _tag(found, short[len(_TAG) :], value)
    elif short == _CREDENTIAL and found.token is None:
        found.token = _text(short, value)
    elif short == _API_KEY and found.api_key is None:
        found.api_key = _text(short, value)


def _tag(found: Identity, name: bytes, value: bytes) -> None:
    if not name or len(name) > TAG_CHARS or len(found.tags) >= TAGS:
        raise MalformedError(f"more than {TAGS} tags, or one with a name over {TAG_CHARS}")
    found.tags.setdefault(name.decode("latin-1"), _text(b"tag", value))


def _text(name: bytes, value: bytes) -> str:
    text = value.decode("utf-8", "replace").strip()
    if len(text) > VALUE_CHARS or not _CLEAN.fullmatch(text):
        shown = name.decode("latin-1")
        raise MalformedError(f"header {shown} is longer than {VALUE_CHARS} or holds controls")
    return text


def asking_for_plain(onward: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Ask for an answer that is not compressed, where one was."""
    return [(name, "identity" if name == "accept-encoding" else value) for name, value in onward]


def _decode(name: bytes, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise MalformedError(f"header {name.decode('latin-1')[:80]} is no UTF-8") from None


def is_ours(value: bytes, secrets: tuple[bytes, ...], *, is_credential: bool = False) -> bool:
    """Say whether a credential of ours stands in a value; four letters in another's are none.

    Nor is a short secret, a word, where no credential is meant to stand.
    """
    if secrets and any(
        secret in value and (is_credential or len(secret) >= _LONG) for secret in secrets
    ):
        return True
    return _TOKEN in value and _A_TOKEN.search(value) is not None


class Passed(NamedTuple):
    """An answer's headers: what goes on to the client, and each by its name in lower case."""

    onward: list[tuple[bytes, bytes]]
    named: dict[bytes, bytes]


def sort_answer(headers: Headers) -> Passed:
    """Sort an upstream's headers; of several of one name the first is ``named``."""
    onward: list[tuple[bytes, bytes]] = []
    named: dict[bytes, bytes] = {}
    for pair in headers:
        name = pair[0].lower()
        named.setdefault(name, pair[1])
        if name not in _HOP_BY_HOP and not name.startswith(_OURS):
            onward.append(pair)
    if b"connection" in named:
        dropped = _named_by_connection([(name.lower(), value) for name, value in headers])
        onward = [pair for pair in onward if pair[0].lower() not in dropped]
    return Passed(onward, named)


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    values = [value for name, value in headers if name == b"connection"]
    if not values:
        return _NOTHING
    options = (option.strip().lower() for value in values for option in value.split(b","))
    return frozenset(options) - _KEPT_BY_CONNECTION
