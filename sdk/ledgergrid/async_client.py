""":class:`~ledgergrid.client.Ledger` for asyncio: the same methods, awaited.

Sealing, checking and writing files run in threads, one step of a flow at a time, so that
the event loop never waits for a disk or a signature.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from ledger_core.formats.checkpoint import Checkpoint
from ledgergrid.batching import AsyncWorker
from ledgergrid.changing import AsyncChanging
from ledgergrid.delivery import Outcome
from ledgergrid.epochs import NewEpoch
from ledgergrid.governing import AsyncGoverning
from ledgergrid.postman import AsyncPostman
from ledgergrid.receipts import Receipt
from ledgergrid.sealing import Draft, Options, Sealed
from ledgergrid.session import DraftLike, Session, Settings
from ledgergrid.signer import Signer
from ledgergrid.wire import Answer, Ask, Done, Flow, NoAnswerError, Pause, advance

T = TypeVar("T")


class AsyncLedger(AsyncGoverning, AsyncChanging):
    """One author at one ledger, for the tasks of one event loop. Close it, or ``async with``."""

    def __init__(
        self, url: str, *, ledger: str, signer: Signer, **settings: Unpack[Settings]
    ) -> None:
        self._session = Session(url, ledger, signer, settings)
        self._http = httpx.AsyncClient(
            headers=self._session.headers, timeout=self._session.timeout_s
        )
        self._worker = AsyncWorker(self._send)
        self._postman = AsyncPostman(self._deliver)

    @property
    def state_dir(self) -> Path:
        """Where this ledger's memory, outbox and refused records lie."""
        return self._session.state_dir

    async def learn(self) -> str:
        """As :meth:`Ledger.learn`."""
        return await self._run(self._session.learn())

    async def append(
        self, type: str, payload: object = None, **options: Unpack[Options]
    ) -> Receipt:
        """As :meth:`Ledger.append`. Cancelled, it leaves its record in the outbox."""
        return await self._run(self._session.append(Draft(type, payload, options)))

    async def append_many(self, drafts: Iterable[DraftLike]) -> list[Outcome]:
        """As :meth:`Ledger.append_many`."""
        return await self._run(self._session.append_many(drafts))

    async def enqueue(
        self, type: str, payload: object = None, **options: Unpack[Options]
    ) -> asyncio.Future[Receipt]:
        """As :meth:`Ledger.enqueue`; the future it returns is to be awaited in turn."""
        await self._run(self._session.learn())
        sealed = await _in_thread(partial(self._session.seal, Draft(type, payload, options)))
        return await self._worker.submit(sealed, self._session.patience_s)

    async def keep(self, type: str, payload: object = None, **options: Unpack[Options]) -> str:
        """As :meth:`Ledger.keep`; a task appends it, and :meth:`close` waits for that."""
        id = await self._run(self._session.keep(Draft(type, payload, options)))
        self._postman.send_for()
        return id

    async def flush(self) -> list[Outcome]:
        """As :meth:`Ledger.flush`."""
        await self._worker.drain()
        return await self._run(self._session.flush())

    async def checkpoint(self) -> Checkpoint:
        """As :meth:`Ledger.checkpoint`."""
        return await self._run(self._session.checkpoint())

    async def read_epoch(self, origin: str) -> list[NewEpoch]:
        """As :meth:`Ledger.read_epoch`."""
        return await self._run(self._session.read_epoch(origin))

    async def accept_epoch(self, origin: str) -> list[NewEpoch]:
        """As :meth:`Ledger.accept_epoch`."""
        return await self._run(self._session.accept_epoch(origin))

    async def resubmit(self, submissions: Iterable[bytes]) -> list[Outcome]:
        """As :meth:`Ledger.resubmit`."""
        return await self._run(self._session.resubmit(submissions))

    async def close(self) -> None:
        """Send what is enqueued or kept, and close connections."""
        await self._worker.close()
        await self._postman.close()
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _send(self, batch: list[Sealed], is_closing: bool) -> list[Outcome]:
        return await self._run(self._session.send(batch, is_closing))

    async def _deliver(self) -> bool:
        return await self._run(self._session.deliver())

    async def _run(self, flow: Flow[T]) -> T:
        answer: Answer | NoAnswerError | None = None
        try:
            while True:
                step = await _in_thread(partial(advance, flow, answer))
                if isinstance(step, Done):
                    return step.value
                answer = None
                if isinstance(step, Pause):
                    await asyncio.sleep(step.time_s)
                else:
                    answer = await self._fetch(step)
        finally:
            flow.close()

    async def _fetch(self, request: Ask) -> Answer | NoAnswerError:
        content = bytearray()
        try:
            async with (
                asyncio.timeout(self._session.timeout_s),
                self._http.stream(
                    request.method,
                    self._session.url + request.path,
                    content=request.content or None,
                    headers={"Content-Type": request.content_type} if request.content else None,
                ) as response,
            ):
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > request.limit_bytes:
                        return NoAnswerError(f"answer exceeds {request.limit_bytes} bytes")
        except TimeoutError:
            return NoAnswerError("answer came too slowly")
        except httpx.HTTPError as error:
            return NoAnswerError(f"{type(error).__name__}: {error}".rstrip(": "))
        return Answer(response.status_code, response.headers, bytes(content))


async def _in_thread(work: Callable[[], T]) -> T:
    """Run a step in a thread; when cancelled, wait for the step, then be cancelled.

    A flow in the middle of a step cannot be closed, and a file half written by nobody waits
    for nobody.
    """
    step = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        if not step.cancelled():
            step.exception()  # Asked for, so that asyncio does not report it as forgotten.
        raise
