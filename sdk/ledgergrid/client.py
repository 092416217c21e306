"""The ledger as seen by an author: append a record, get a receipt that was checked."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from ledger_core.formats.checkpoint import Checkpoint
from ledgergrid.batching import Worker
from ledgergrid.changing import Changing
from ledgergrid.delivery import Outcome
from ledgergrid.epochs import NewEpoch
from ledgergrid.governing import Governing
from ledgergrid.postman import Postman
from ledgergrid.receipts import Receipt
from ledgergrid.sealing import Draft, Options, Sealed
from ledgergrid.session import DraftLike, Session, Settings
from ledgergrid.signer import Signer
from ledgergrid.wire import Answer, Ask, Done, Flow, NoAnswerError, Pause, advance

T = TypeVar("T")


class Ledger(Governing, Changing):
    """One author at one ledger, for any number of threads. Close it, or use ``with``.

    Keyword arguments are those of :class:`~ledgergrid.session.Settings`.
    """

    def __init__(
        self, url: str, *, ledger: str, signer: Signer, **settings: Unpack[Settings]
    ) -> None:
        self._session = Session(url, ledger, signer, settings)
        self._http = httpx.Client(headers=self._session.headers, timeout=self._session.timeout_s)
        self._worker = Worker(self._send)
        self._postman = Postman(self._deliver)

    @property
    def state_dir(self) -> Path:
        """Where this ledger's memory, outbox and refused records lie."""
        return self._session.state_dir

    def learn(self) -> str:
        """Settle whom to believe, asking the ledger only the first time; return its origin."""
        return self._run(self._session.learn())

    def append(self, type: str, payload: object = None, **options: Unpack[Options]) -> Receipt:
        """Seal and append one record; return its receipt, verified.

        ``payload`` is part ``body``: a JSON value, ``bytes``, or ``(media_type, bytes)``; for
        ``options`` see :class:`~ledgergrid.sealing.Options`. Raises :class:`PendingError` if the
        outcome stays unknown, :class:`DistrustError` if the ledger's answer does not verify,
        and the ledger's own error if it refuses.
        """
        return self._run(self._session.append(Draft(type, payload, options)))

    def append_many(self, drafts: Iterable[DraftLike]) -> list[Outcome]:
        """Append records in batches; return a receipt or an error for each, in order."""
        return self._run(self._session.append_many(drafts))

    def enqueue(
        self, type: str, payload: object = None, **options: Unpack[Options]
    ) -> Future[Receipt]:
        """Seal a record now and let the background worker append it, in batches.

        It is safe on disk once the worker has taken it up; :meth:`append` returns only then.
        """
        self._run(self._session.learn())
        sealed = self._session.seal(Draft(type, payload, options))
        return self._worker.submit(sealed, self._session.patience_s)

    def keep(self, type: str, payload: object = None, **options: Unpack[Options]) -> str:
        """Seal a record and put it on disk; a background thread appends it. Return its id.

        When this returns a crash cannot lose the record, and whether the ledger answers makes no
        difference: what it does not take now waits in the outbox. What it refuses is logged.
        """
        id = self._run(self._session.keep(Draft(type, payload, options)))
        self._postman.send_for()
        return id

    def flush(self) -> list[Outcome]:
        """Wait for what is enqueued, then send what is left in the outbox and return how it went.

        What is left was sent before without a final answer, perhaps by an earlier run.
        """
        self._worker.drain()
        return self._run(self._session.flush())

    def checkpoint(self) -> Checkpoint:
        """Fetch the newest checkpoint, verify it and that it continues the last one."""
        return self._run(self._session.checkpoint())

    def read_epoch(self, origin: str) -> list[NewEpoch]:
        """Say what was lost, why, and who agreed, in each epoch up to ``origin``; follow none.

        Raises :class:`DistrustError` if an epoch does not continue what was verified here.
        """
        return self._run(self._session.read_epoch(origin))

    def accept_epoch(self, origin: str) -> list[NewEpoch]:
        """Follow the log into the epoch ``origin``, checked as by :meth:`read_epoch`; for good."""
        return self._run(self._session.accept_epoch(origin))

    def resubmit(self, submissions: Iterable[bytes]) -> list[Outcome]:
        """Append records that were sealed before, byte for byte: each has one entry all the same.

        For what an epoch lost, if you kept it: a submission each, as in the outbox's files.
        """
        return self._run(self._session.resubmit(submissions))

    def close(self) -> None:
        """Send what is enqueued or kept, and close connections."""
        self._worker.close()
        self._postman.close()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, batch: list[Sealed], is_closing: bool) -> list[Outcome]:
        return self._run(self._session.send(batch, is_closing))

    def _deliver(self) -> bool:
        return self._run(self._session.deliver())

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = advance(flow, None)
            while not isinstance(step, Done):
                if isinstance(step, Pause):
                    time.sleep(step.time_s)
                    step = advance(flow, None)
                else:
                    step = advance(flow, self._fetch(step))
            return step.value
        finally:
            flow.close()

    def _fetch(self, request: Ask) -> Answer | NoAnswerError:
        until = time.monotonic() + self._session.timeout_s
        content = bytearray()
        try:
            with self._http.stream(
                request.method,
                self._session.url + request.path,
                content=request.content or None,
                headers={"Content-Type": request.content_type} if request.content else None,
            ) as response:
                for chunk in response.iter_raw():
                    content += chunk
                    if len(content) > request.limit_bytes:
                        return NoAnswerError(f"answer exceeds {request.limit_bytes} bytes")
                    if time.monotonic() > until:
                        return NoAnswerError("answer came too slowly")
        except httpx.HTTPError as error:
            return NoAnswerError(f"{type(error).__name__}: {error}".rstrip(": "))
        return Answer(response.status_code, response.headers, bytes(content))
