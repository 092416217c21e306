"""Makes personal data and secrets unreadable in the copy of a call that is stored.

What is found becomes ``[redacted email]`` and the like. JSON stays JSON: texts are looked at as
what they mean, escapes undone, and only those in which something was found are written anew; a
card number that is a JSON number becomes a text. In a stream of events the pieces of one text are
looked at together, as an address rarely comes in one piece.

What a text of more than ``_BINARY_CHARS`` without a space says is not looked for: it is base64.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from ledger_core import limits
from ledger_core.errors import MalformedError, SettingsError, TooLargeError
from ledger_core.llm import loading, patterns, sse
from ledger_core.llm.patterns import Find, Span

_STRING_OR_NUMBER: Final = re.compile(
    r'"((?:[^"\\]++|\\.)*+)"|(?<![\w.+"-])([0-9]{13,19})(?![\w.+"-])', re.DOTALL
)
_BINARY_CHARS: Final = 1_000
_WORD_CHARS: Final = 64
_BINARY: Final = re.compile(r"[A-Za-z0-9+/=_:;,-]*")
_PIECES: Final = frozenset(
    {
        "arguments",
        "content",
        "delta",
        "input",
        "partial_json",
        "reasoning",
        "reasoning_content",
        "refusal",
        "text",
        "thinking",
        "transcript",
    }
)
"""Fields that come in pieces, one an event."""
_PLACES: Final = ("index", "output_index", "content_index", "summary_index")

_Edit = tuple[Span, str]


class Redactor:
    """Finds what is to be unreadable: kinds of :data:`patterns.KINDS`, and patterns of one's own.

    ``SettingsError`` says which kind is unknown or which pattern may take too long.
    """

    def __init__(self, kinds: Collection[str], own: Sequence[str] = ()) -> None:
        if unknown := set(kinds) - patterns.KINDS.keys():
            raise SettingsError(f"nothing to redact is called {', '.join(sorted(unknown))[:80]!r}")
        if len(own) > limits.PATTERNS:
            raise SettingsError(f"at most {limits.PATTERNS} patterns")
        self._finds: list[tuple[str, Find]] = [
            (f"[redacted {kind}]", find) for kind, find in patterns.KINDS.items() if kind in kinds
        ]
        self._own = bool(own)
        self._finds += [("[redacted]", patterns.compile_own(each)) for each in own]

    def redact_text(self, text: str) -> tuple[str, int]:
        """Return a text with all that was found replaced, and how much that was."""
        edits = self._edits(text)
        return (_edited(text, edits), len(edits)) if edits else (text, 0)

    def redact(self, body: bytes, media_type: str | None = None) -> tuple[bytes, int]:
        """Return a body with all that was found replaced, and how much that was.

        Give it with its content encoding undone. :class:`MalformedError` for what is no text in
        UTF-8, which cannot be looked at: whoever stores has to decide.
        """
        if len(body) > limits.LLM_BODY_BYTES:
            raise TooLargeError(f"more than {limits.LLM_BODY_BYTES} bytes")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise MalformedError("neither JSON nor text in UTF-8") from None
        told = (media_type or "").partition(";")[0].strip().lower()
        if told == "text/event-stream":
            return self._redact_stream(body)
        redact = self._redact_json if _is_json(body) else self.redact_text
        redacted, count = redact(text)
        return (redacted.encode("utf-8", "replace"), count) if count else (body, 0)

    def _edits(self, text: str) -> list[_Edit]:
        """All replacements in a text, in order and apart from each other."""
        if len(text) < patterns.KEY_CHARS and not self._own and not patterns.SIGNS.search(text):
            return []
        if len(text) > _BINARY_CHARS and _BINARY.fullmatch(text):
            return []
        found = [(span, told) for told, find in self._finds for span in find(text)]
        found.sort(key=lambda edit: (edit[0][0], -edit[0][1]))
        edits: list[_Edit] = []
        for span, told in found:
            if not edits or span[0] >= edits[-1][0][1]:
                edits.append((span, told))
        return edits

    def _redact_json(self, text: str) -> tuple[str, int]:
        count = 0
        clean: set[str] = set()  # JSON says the same short words again and again

        def replace(found: re.Match[str]) -> str:
            nonlocal count
            raw = found[1] if found[2] is None else found[2]
            if raw in clean:
                return found[0]
            redacted, times = self.redact_text(_unescaped(raw))
            count += times
            if times:
                return json.dumps(redacted)
            if len(raw) < _WORD_CHARS:
                clean.add(raw)
            return found[0]

        return _STRING_OR_NUMBER.sub(replace, text), count

    def _redact_stream(self, body: bytes) -> tuple[bytes, int]:
        events = sse.parse(body)
        values = [_loaded(event.data) for event in events]
        count = self._redact_pieces(values)
        made = []
        behind = 0
        for event, value in zip(events, values, strict=True):
            if value is None:
                redacted, times = self.redact_text(event.data.decode("utf-8", "replace"))
            else:
                redacted, times = self._redact_json(json.dumps(value))
            count += times
            made.append((event, redacted))
        if not count:
            return body, 0
        lines = []
        for event, redacted in made:
            kind = f"event: {event.kind}\n" if event.kind != "message" else ""
            data = redacted.replace("\n", "\ndata: ")
            lines.append(f"{kind}data: {data}\n\n")
            behind = event.end
        rest = body[behind:].decode("utf-8", "replace")
        return ("".join(lines) + self.redact_text(rest)[0]).encode("utf-8", "replace"), count

    def _redact_pieces(self, values: list[Any]) -> int:
        """Redact texts that come in pieces over several events, in place."""
        texts: dict[object, list[tuple[str, Callable[[str], None]]]] = {}
        for value in values:
            for key, piece, put in _pieces(value, (str(loading.obj(value).get("type")),)):
                texts.setdefault(key, []).append((piece, put))
        count = 0
        for pieces in texts.values():
            edits = self._edits("".join(piece for piece, _ in pieces))
            count += len(edits)
            if edits:
                _put(pieces, edits)
        return count


def _edited(text: str, edits: Sequence[_Edit]) -> str:
    made = []
    behind = 0
    for (start, end), told in edits:
        made += [text[behind:start], told]
        behind = end
    return "".join(made) + text[behind:]


def _unescaped(raw: str) -> str:
    """What the inside of a JSON string says; itself where it is none."""
    if "\\" not in raw:
        return raw
    try:
        return str(json.loads(f'"{raw}"', strict=False))
    except ValueError:
        return raw


def _is_json(body: bytes) -> bool:
    """Only in what is JSON as a whole does every text that begins also end."""
    try:
        loading.load(body)
    except MalformedError:
        return False
    return True


def _loaded(data: bytes) -> Any:
    """An event's JSON; None where it is none."""
    try:
        return loading.load_object(data)
    except MalformedError:
        return None


def _pieces(
    value: Any, path: tuple[object, ...]
) -> Iterator[tuple[object, str, Callable[[str], None]]]:
    """The texts of an event that may be pieces: of what, the piece, and where to put it."""
    if isinstance(value, list):
        for each in value:
            yield from _pieces(each, path)
        return
    if not isinstance(value, dict):
        return
    here = (*path, *(str(value.get(place)) for place in _PLACES if place in value))
    for field, each in value.items():
        if isinstance(each, str):
            if field in _PIECES:
                yield (*here, field), each, _putter(value, field)
        else:
            yield from _pieces(each, (*here, field))


def _putter(value: dict[str, Any], field: str) -> Callable[[str], None]:
    def put(text: str) -> None:
        value[field] = text

    return put


def _put(pieces: Sequence[tuple[str, Callable[[str], None]]], edits: Sequence[_Edit]) -> None:
    """Write the edits of a whole text into its pieces: each stands where what it replaces began."""
    start = 0
    for piece, put in pieces:
        end = start + len(piece)
        own: list[_Edit] = [
            ((max(left, start) - start, min(right, end) - start), told if left >= start else "")
            for (left, right), told in edits
            if left < end and right > start
        ]
        if own:
            put(_edited(piece, own))
        start = end
