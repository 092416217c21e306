"""Record what goes through an Anthropic client: ``record(Anthropic(), ledger)``.

>>> client = record(Anthropic(), ledger, session_id="run-17")  # doctest: +SKIP
>>> client.messages.create(model="claude-sonnet-4-6", …)  # doctest: +SKIP

Every request of the client's, and of what ``with_options`` makes of it, becomes one record with the
bytes that went over the wire: messages, streamed or not, and token counts; tools, thinking,
errors; each attempt of a retry. ``Anthropic`` and ``AsyncAnthropic``.
"""

from __future__ import annotations

from ledgergrid.integrations.openai import record

__all__ = ["record"]
