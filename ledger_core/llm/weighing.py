"""How much text and which media a request carries, for estimating its tokens before it is sent."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ledger_core import limits
from ledger_core.llm.loading import Object, objects

_MEDIA: Final = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "audio": "audio",
    "input_audio": "audio",
    "video": "video",
    "video_url": "video",
    "input_video": "video",
    "document": "file",
    "file": "file",
    "input_file": "file",
    "container_upload": "file",
}
_PARTS_DEPTH: Final = 3
"""A message's parts, a tool result's parts, and a document's blocks in it."""


class Scales:
    """Adds up what one request carries; base64 of media weighs as media, not as text."""

    def __init__(self) -> None:
        self.chars = 0
        self.wide = 0
        self.media: list[str] = []

    def text(self, value: str) -> None:
        """Weigh a text."""
        self.chars += len(value)
        if not value.isascii():
            # UTF-8 takes two to four bytes for what is not ASCII: three, nearly always.
            self.wide += min(len(value), (len(value.encode("utf-8", "replace")) - len(value)) // 2)

    def json(self, value: Any) -> None:
        """Weigh what the model gets to see as JSON, as a tool's schema."""
        if value:
            self.chars += len(msgspec.json.encode(value))

    def content(self, value: Any, depth: int = _PARTS_DEPTH) -> None:
        """Weigh a message's content: a text, or parts of text and media."""
        if isinstance(value, str):
            self.text(value)
        elif depth:
            for part in objects(value):
                self._part(part, depth)

    def _part(self, part: Object, depth: int) -> None:
        kind = _MEDIA.get(part["type"]) if isinstance(part.get("type"), str) else None
        if kind:
            if len(self.media) < limits.LLM_MEDIA:
                self.media.append(kind)
        elif isinstance(part.get("text"), str):
            self.text(part["text"])
        elif "content" in part:
            self.content(part["content"], depth - 1)
        else:
            self.json(part)


def text_of(content: Any) -> str | None:
    """The text of a message: itself, or its text parts joined."""
    if isinstance(content, str):
        return content
    texts = [part["text"] for part in objects(content) if isinstance(part.get("text"), str)]
    return "".join(texts) if texts else None


def join(texts: list[str], between: str = "") -> str | None:
    """Join texts; None, not an empty text, if there are none."""
    return between.join(texts) if texts else None
