"""One way to read every wire format.

Nothing here raises over what came from outside: bytes that cannot be read come back as an answer
with ``parse_error``. Bounded are the size, the depth and the number of values of JSON, the bytes
that a coding may make, and the events of a stream.
"""

from __future__ import annotations

from ledger_core.errors import MalformedError
from ledger_core.llm import codings, loading
from ledger_core.llm.asking_usage import ask_for_usage
from ledger_core.llm.dialects import DIALECTS, Wire, wire_of
from ledger_core.llm.model import Answered, Asked
from ledger_core.llm.reader import Reader

__all__ = ["Reader", "Wire", "ask_for_usage", "parse_request", "parse_response", "wire_of"]

_FORMS = ("multipart/", "application/x-www-form-urlencoded")


def parse_request(
    wire: Wire,
    body: bytes,
    media_type: str | None = None,
    content_encoding: str | None = None,
) -> Asked:
    """Read a request; what cannot be read is told in ``parse_error``."""
    if not body:
        return Asked()
    try:
        decoded = codings.decode(body, content_encoding)
        if (media_type or "").lower().startswith(_FORMS):
            raise MalformedError(f"a form, not JSON: {media_type}")
        return DIALECTS[wire].read_request(loading.load_object(decoded))
    except MalformedError as error:
        return Asked(input_chars=len(body), parse_error=loading.detail(str(error)))


def parse_response(
    wire: Wire,
    status: int,
    body: bytes,
    media_type: str | None = None,
    content_encoding: str | None = None,
) -> Answered:
    """Read a whole answer, JSON or event stream."""
    reader = Reader(wire, status, media_type, content_encoding)
    reader.feed(body)
    return reader.answered()
