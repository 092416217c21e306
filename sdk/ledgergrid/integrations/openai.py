"""Record what goes through an OpenAI client: ``record(OpenAI(), ledger)``.

>>> client = record(OpenAI(), ledger, session_id="run-17")  # doctest: +SKIP
>>> client.chat.completions.create(model="gpt-5-mini", messages=[…])  # doctest: +SKIP

Every request of the client's, and of what ``with_options`` makes of it, becomes one record with the
bytes that went over the wire: chat completions, responses, embeddings; streams, tools, errors;
each attempt of a retry. ``OpenAI``, ``AsyncOpenAI``, and clients made like them.
"""

from __future__ import annotations

from typing import TypeVar, Unpack

from ledgergrid.client import Ledger
from ledgergrid.integrations.labels import Labels
from ledgergrid.integrations.recording import Level, Recorder
from ledgergrid.integrations.tapping import tap_client

Client = TypeVar("Client")


def record(
    client: Client, ledger: Ledger, *, level: Level = "full", **labels: Unpack[Labels]
) -> Client:
    """Record every call of ``client`` from now on; return it.

    ``level="metadata"`` keeps digests and numbers, and nothing of what was said. Labels go with
    every call; without ``session_id`` the client's calls are one session under a new name. One
    call says otherwise by its headers: ``extra_headers={"x-ledgergrid-session-id": "run-18"}``.
    """
    recorder = Recorder(ledger, labels, level)
    tap_client(client, recorder.labels, recorder.keep)
    return client
