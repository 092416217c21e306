"""One spelling for each path, so that what is judged is what is forwarded.

::

    /v1/chat/completions     ← //v1/chat/completions    /V1/Chat/Completions/
                               /v1/ch%61t/completions   /v1/x/../chat/completions

Canonical is: unreserved characters stand for themselves (RFC 3986 section 6.2.2.2), other
escapes are in upper case, no empty segment, no ``.`` and no ``..``; ``v1`` and the paths that
have a wire format in lower case and without a slash at their end. What two servers may read in
two ways is refused: escaped slashes, backslashes, percent signs and controls, path parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from ledger_core.errors import MalformedError

PATH_CHARS = 4_000
PREFIX = "/v1/"
CAPTURED = frozenset(
    {
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/messages/count_tokens",
    }
)
"""Paths with a wire format: their spelling is that of the providers' documentation."""

_BRING_BACK = re.compile(
    r"/v1/(?:responses/.|chat/completions/.|messages/batches/[^/]+/results"
    r"|files/[^/]+/content|(?:threads|conversations)/[^/]+/(?:messages|items))"
)
"""What brings back what a model said: of a call in the background, a batch, a conversation."""

OWN = ("api", "export", "explain", "health", "log", "mcp", "metrics", "session", "witness", "ws")
"""First segments of the service's own paths; none of them is ever forwarded."""

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_ALLOWED = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@%/-]*")
_AMBIGUOUS = frozenset([*range(0x20), 0x7F, *b"/\\%;?#"])


@lru_cache(maxsize=1024)
def canonical(raw: bytes) -> str:
    """Return a path's one spelling; :class:`MalformedError` if others may read it otherwise."""
    if len(raw) > PATH_CHARS:
        raise MalformedError(f"path is longer than {PATH_CHARS} characters")
    text = raw.decode("latin-1")
    if not text.startswith("/") or not _ALLOWED.fullmatch(text):
        raise MalformedError("path holds a character that belongs escaped, or does not belong")
    path = _resolve(_ESCAPE.sub(_unescape, text))
    return _fold(path)


def _unescape(found: re.Match[str]) -> str:
    if found[1] is None:
        raise MalformedError("path holds a percent sign that escapes nothing")
    value = int(found[1], 16)
    if value in _AMBIGUOUS:
        raise MalformedError(f"path holds %{value:02X}, which servers read in different ways")
    return chr(value) if value in _UNRESERVED else f"%{value:02X}"


def _resolve(path: str) -> str:
    """Remove empty segments and dot segments (RFC 3986 section 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if not kept:
                raise MalformedError("path leads above its root")
            kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    ends_in_slash = segments[-1] in ("", ".", "..")
    return "/" + "/".join(kept) + ("/" if kept and ends_in_slash else "")


def _fold(path: str) -> str:
    lowered = path.lower()
    if lowered.rstrip("/") in CAPTURED:
        return lowered.rstrip("/")
    if lowered.startswith(PREFIX):
        return PREFIX + path[len(PREFIX) :]
    return path


def brings_back(path: str) -> bool:
    """Say whether reading a canonical path gives what a model said."""
    return _BRING_BACK.match(path) is not None


def may_mean_proxied(raw: bytes) -> bool:
    """Say whether somebody may read this path, which has no one spelling, as one of the proxy's."""
    text = raw.decode("latin-1").lower()
    for _ in range(3):
        text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", text)
    return "v1" in re.split(r"[/\\]+", text.lower())


class Scope:
    """Which canonical paths the proxy takes: all below ``/v1/``, and ``extra`` ones.

    An extra path is exact, or ends in ``/*``.
    """

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self._exact: set[str] = set()
        self._below: tuple[str, ...] = ()
        for each in extra:
            self._add(each)

    def _add(self, text: str) -> None:
        given = "/" + text.strip().lstrip("/")
        stem = given.removesuffix("*")
        path = canonical(stem.encode("utf-8"))
        first = path.split("/")[1].lower()
        if first in OWN or not first:
            raise MalformedError(f"extra path {text[:80]!r} is one of the service's own")
        if stem == given:
            self._exact.add(path)
        elif path.endswith("/"):
            self._below += (path,)
        else:
            raise MalformedError(f"extra path {text[:80]!r} must end in /* to mean all below")

    def takes(self, path: str) -> bool:
        """Say whether a canonical path is the proxy's."""
        return (
            (path.startswith(PREFIX) and len(path) > len(PREFIX))
            or path in self._exact
            or (bool(self._below) and path.startswith(self._below))
        )
