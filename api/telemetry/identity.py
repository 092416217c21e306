"""Ids of traces and spans, derived from what the log says: always the same, wherever made.

Anybody who knows a session's id can find its trace, and from an action id its span; a span that
is sent twice, by two processes or after a crash, is one span.

::

    trace id   first 16 bytes of SHA-256("ledgergrid/trace@v1\\nsession\\n" session id)
    span id    first 8 bytes of SHA-256("ledgergrid/span@v1\\n" action id)

A call without a session is in its parent's trace, if it names one, as if that had none either
(``action`` and the parent's action id in place of the session's); else in a trace of its own.
"""

from __future__ import annotations

from hashlib import sha256

from ledger_core.records.calls import Identity

_TRACE_BYTES = 16
_SPAN_BYTES = 8


def trace_id_of(call: Identity) -> int:
    """Return the id of the trace that a call belongs to."""
    if call.session_id:
        return _derive(f"ledgergrid/trace@v1\nsession\n{call.session_id}", _TRACE_BYTES)
    root = call.parent_action_id or call.action_id
    return _derive(f"ledgergrid/trace@v1\naction\n{root}", _TRACE_BYTES)


def span_id_of(action_id: str) -> int:
    """Return the id of a call's span."""
    return _derive(f"ledgergrid/span@v1\n{action_id}", _SPAN_BYTES)


def _derive(name: str, length: int) -> int:
    # Claims come out of headers: whatever is in them must have an id. Zero is no id.
    raw = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(sha256(raw).digest()[:length]) or 1
