"""Bodies are bounded each and together, and what was held is given back however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message

from api.bodies import ClientGoneError, Intake
from ledger_core.errors import BusyError, LedgerGridError, MalformedError, TooLargeError


def read(
    intake: Intake, chunks: Sequence[bytes], *, limit: int = 100, headers: Sequence[Any] = ()
) -> bytes:
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": n < len(chunks)}
        for n, chunk in enumerate(chunks, 1)
    ] or [{"type": "http.disconnect"}]

    async def receive() -> Message:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop(0)

    return asyncio.run(intake.read({"headers": list(headers)}, receive, limit))


def test_a_body_is_put_together_from_its_chunks() -> None:
    intake = Intake(1000, 5)
    assert read(intake, [b"ab", b"", b"cd"]) == b"abcd"
    assert intake.held_bytes == 4
    intake.release(4)
    assert intake.held_bytes == 0


@pytest.mark.parametrize(
    ("chunks", "headers", "error"),
    [
        ([b"x" * 60, b"x" * 60], [], TooLargeError),
        ([b""], [(b"content-length", b"101")], TooLargeError),
        ([b""], [(b"content-length", b"9" * 30)], TooLargeError),
        ([b""], [(b"content-length", b"-1")], TooLargeError),
        ([b""], [(b"content-encoding", b"br")], MalformedError),
    ],
)
def test_a_body_that_may_not_be_is_refused_and_nothing_stays_held(
    chunks: Sequence[bytes], headers: Sequence[Any], error: type[LedgerGridError]
) -> None:
    intake = Intake(1000, 5)
    with pytest.raises(error):
        read(intake, chunks, headers=headers)
    assert intake.held_bytes == 0


def test_many_bodies_at_once_are_refused_rather_than_held() -> None:
    intake = Intake(150, 5)
    read(intake, [b"x" * 100])
    with pytest.raises(BusyError):
        read(intake, [b"x" * 100])
    assert intake.held_bytes == 100


def test_a_body_that_does_not_come_is_not_waited_for_for_ever() -> None:
    intake = Intake(1000, 0.05)

    async def never() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(MalformedError, match="within"):
        asyncio.run(intake.read({"headers": []}, never, 100))
    assert intake.held_bytes == 0


def test_a_client_that_goes_away_is_not_answered() -> None:
    intake = Intake(1000, 5)
    with pytest.raises(ClientGoneError):
        read(intake, [])
    assert intake.held_bytes == 0
