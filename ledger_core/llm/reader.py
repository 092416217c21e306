"""Reading an answer while it passes by, whole or as a stream of events."""

from __future__ import annotations

from typing import Final

import msgspec

from ledger_core import limits
from ledger_core.errors import MalformedError
from ledger_core.llm import codings, loading, openai_chat, sse
from ledger_core.llm.dialects import DIALECTS, Wire
from ledger_core.llm.model import Answered

_STREAM: Final = "text/event-stream"
_JSON: Final = "application/json"
_STREAMS_BEGIN: Final = (b"data:", b"event:", b"id:", b": ")


class Reader:
    """Takes an answer's bytes as they come; it never raises.

    ``ended`` says that an event was seen behind which nothing is to come.
    """

    def __init__(
        self,
        wire: Wire,
        status: int = 200,
        media_type: str | None = None,
        content_encoding: str | None = None,
    ) -> None:
        self.ended = False
        self._wire: Wire = wire
        self._status = status
        self._media_type = media_type
        self._error: str | None = None
        self._broken = False
        self._decoder: codings.Decoder | None = None
        self._body: list[bytes] = []
        self._bytes = 0
        told = (media_type or "").partition(";")[0].strip().lower()
        self._events = sse.Parser() if told == _STREAM else None
        # What is neither may be anything: speech, a picture.
        self._is_text = wire != "other" or told in (_STREAM, _JSON)
        self._stream = DIALECTS[wire].stream()
        try:
            if codings.names(content_encoding):
                self._decoder = codings.Decoder(content_encoding)
        except MalformedError as error:
            self._break(str(error))

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        if self._broken:
            return
        if self._decoder:
            try:
                chunk = self._decoder.decode(chunk)
            except MalformedError as error:
                self._break(str(error))
                return
        if self._events:
            for event in self._events.feed(chunk):
                self._take(event)
            return
        self._bytes += len(chunk)
        if self._bytes > limits.LLM_BODY_BYTES:
            self._body.clear()
            self._break(f"more than {limits.LLM_BODY_BYTES} bytes")
        else:
            self._body.append(chunk)

    def answered(self) -> Answered:
        """What came so far."""
        if self._events:
            return self._streamed(self._events)
        body = b"".join(self._body)
        if body.startswith(_STREAMS_BEGIN) and not self._broken:
            # Streams under another name; nobody cut anything out of this one.
            reader = Reader(self._wire, self._status, _STREAM)
            reader.feed(body)
            return reader.answered()
        return self._whole(body)

    def _break(self, error: str) -> None:
        self._error, self._broken = self._error or error, True

    def _take(self, event: sse.Event) -> None:
        if event.data == openai_chat.END:
            self.ended = True
        if event.data in (b"", openai_chat.END):
            return
        try:
            told = loading.load_object(event.data)
        except MalformedError as error:
            self._error = self._error or f"event at byte {event.start}: {error}"
            return
        kind = told.get("type", event.kind)
        if isinstance(kind, str) and kind in DIALECTS[self._wire].ends:
            self.ended = True
        self._bytes += len(event.data)
        if self._bytes > limits.LLM_BODY_BYTES:
            self._error = f"more than {limits.LLM_BODY_BYTES} bytes of events: the rest is left out"
            if not (told.get("usage") or self.ended):
                return
            told.pop("choices", None)
        self._stream.take(told)

    def _streamed(self, events: sse.Parser) -> Answered:
        last = events.close()
        if last:
            self._take(last)
        if events.overlong:
            self._error = self._error or f"{events.overlong} events too large to read"
        is_cut = self._broken or bool(events.overlong) or self._bytes > limits.LLM_BODY_BYTES
        return self._finish(self._stream.answered(), b"", is_cut)

    def _whole(self, body: bytes) -> Answered:
        answered = Answered()
        dialect = DIALECTS[self._wire]
        try:
            if body and not self._broken:
                answered = dialect.read_answer(dialect.load_answer(body))
        except MalformedError as error:
            self._error = f"{self._media_type or 'no media type'}: {error}"
        return self._finish(answered, body, self._error is not None)

    def _finish(self, answered: Answered, body: bytes, is_cut: bool) -> Answered:
        """Tell what could not be read, and the text of an error that follows no format."""
        untold = self._status >= 400 and not (answered.error_type or answered.error_detail)
        if not (untold or self._error):
            return answered
        told = loading.detail(body[: limits.LLM_DETAIL_CHARS].decode("utf-8", "replace"))
        return msgspec.structs.replace(
            answered,
            error_detail=told if untold else answered.error_detail,
            parse_error=loading.detail(self._error),
            is_unread=self._is_text and is_cut,
        )
