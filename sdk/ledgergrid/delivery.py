"""Delivery: from the outbox to a verified receipt, as flows (see wire.py).

Life of a record here: put into the outbox (durable) → sent → answered → receipt checked →
checkpoint found consistent with the last one → checkpoint remembered → out of the outbox →
returned. A crash anywhere before the end leaves it in the outbox, and it is sent again
under the same id with the same bytes, so that the ledger keeps one entry.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from ledger_core import limits
from ledger_core.errors import LedgerGridError
from ledger_core.formats.receipt import parse_receipt
from ledgergrid.entries import fetch_receipt
from ledgergrid.errors import PendingError
from ledgergrid.outbox import Outbox
from ledgergrid.patience import Patience
from ledgergrid.receipts import Acknowledgement, Receipt, open_receipt
from ledgergrid.sealing import Sealed
from ledgergrid.trust import Trust
from ledgergrid.wire import (
    ANSWER_BYTES,
    Answer,
    Ask,
    Flow,
    NoAnswerError,
    Problem,
    ask,
    check_settled,
    is_about_the_record,
    make_error,
    parse_problem,
    parse_retry_after,
    pause,
)

log = logging.getLogger("ledgergrid")

Outcome = Receipt | LedgerGridError


class Line(msgspec.Struct, frozen=True):
    """One line of a batch's answer."""

    status: int
    problem: Problem = Problem()


class Delivery:
    """The rules of sending. Holds no connection: flows ask whoever drives them."""

    def __init__(self, outbox: Outbox, trust: Trust) -> None:
        self._outbox = outbox
        self._trust = trust
        self._has_left_over = not outbox.is_empty()

    def send(self, batch: Sequence[Sealed], patience_s: float) -> Flow[list[Outcome]]:
        """Make a batch durable and deliver it; one outcome a record, in order."""
        self._outbox.put(batch)
        try:
            if self._has_left_over:
                yield from self.flush(patience_s=0.0, stop_early=True)
        except BaseException:
            self._give_back(batch)  # Even when whoever drives this flow stops it here.
            raise
        return (yield from self._deliver(batch, patience_s))

    def keep(self, batch: Sequence[Sealed]) -> list[Outcome]:
        """Make a batch durable and send nothing: for when the ledger has just proved silent."""
        self._outbox.put(batch)
        self._give_back(batch)
        return [_pending(sealed, "the ledger did not answer before it") for sealed in batch]

    def flush(self, *, patience_s: float, stop_early: bool = False) -> Flow[list[Outcome]]:
        """Send what an earlier run, or impatience, left in the outbox.

        Once a batch gets no answer the rest is not tried. ``stop_early`` stops at whatever
        has to stay in the outbox, and reports nothing of the rest.
        """
        self._has_left_over = False
        outcomes: list[Outcome] = []
        is_cut_off = False
        for batch in self._outbox.left_over():
            if is_cut_off:
                outcomes += [_pending(sealed, "the ledger did not answer") for sealed in batch]
                self._give_back(batch)
                continue
            now = yield from self._deliver(batch, patience_s)
            outcomes += now
            for outcome in now:
                if isinstance(outcome, LedgerGridError):
                    log.warning("a record left over in the outbox: %s: %s", outcome.code, outcome)
            is_cut_off = has_pending(now)
            if stop_early and self._has_left_over:
                break
        return outcomes

    def _deliver(self, batch: Sequence[Sealed], patience_s: float) -> Flow[list[Outcome]]:
        outcomes: dict[str, Outcome] = {}
        patience = Patience(patience_s)
        try:
            while cause := (yield from self._attempt(batch, outcomes)):
                batch_left = [sealed for sealed in batch if sealed.id not in outcomes]
                pause_s = patience.next_pause_s(cause.retry_after_s)
                if pause_s is None:
                    outcomes |= {each.id: _pending(each, str(cause)) for each in batch_left}
                    break
                yield from pause(pause_s)
        finally:
            # Nothing is left to give back, unless it has no outcome or none to be final.
            self._give_back(batch)
        return [outcomes[sealed.id] for sealed in batch]

    def _give_back(self, batch: Sequence[Sealed]) -> None:
        if self._outbox.release(batch):
            self._has_left_over = True

    def _attempt(
        self, batch: Sequence[Sealed], outcomes: dict[str, Outcome]
    ) -> Flow[NoAnswerError | None]:
        """Send once what has no outcome yet; return why something still has none, if so."""
        waiting = [sealed for sealed in batch if sealed.id not in outcomes]
        try:
            answers = yield from _post(waiting)
        except NoAnswerError as error:
            return error
        if answers is None:
            # The batch as a whole was refused. Halves, until it is known who is to blame.
            middle = len(waiting) // 2
            first = yield from self._attempt(waiting[:middle], outcomes)
            second = yield from self._attempt(waiting[middle:], outcomes)
            return first or second
        cause: NoAnswerError | None = None
        for sealed, answer in zip(waiting, answers, strict=False):
            try:
                outcomes[sealed.id] = yield from self._judge(sealed, answer)
            except NoAnswerError as error:
                cause = error
        if len(answers) < len(waiting):
            cause = cause or NoAnswerError("the batch's answer ends too early")
        return cause

    def _judge(self, sealed: Sealed, answer: Answer) -> Flow[Outcome]:
        """Turn an answer into a verified receipt, or the error it stands for."""
        if answer.status in {200, 201}:
            try:
                return (yield from self._acknowledge(sealed, answer.content))
            except NoAnswerError:
                raise
            except LedgerGridError as error:
                return error  # The record stays in the outbox: nothing proves where it is.
        problem = parse_problem(answer.content)
        check_settled(answer.status, problem, parse_retry_after(answer.headers))
        refusal = make_error(answer.status, problem)
        if is_about_the_record(answer.status, problem):
            self._outbox.refuse(sealed, refusal)
        return refusal

    def _acknowledge(self, sealed: Sealed, content: bytes) -> Flow[Receipt]:
        try:
            answer = msgspec.json.decode(content, type=Acknowledgement)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NoAnswerError(f"not an acknowledgement: {error}") from None
        origin = self._trust.origin
        yield from self._follow(answer)
        answer = yield from self._renew(answer)
        receipt, trusted = open_receipt(answer, sealed.signed, origin, self._trust.policy)
        yield from self._trust.accept(trusted, parse_receipt(receipt.text).checkpoint)
        self._outbox.settle(sealed.id)
        return receipt

    def _renew(self, answer: Acknowledgement) -> Flow[Acknowledgement]:
        """Ask for a receipt of this epoch, if the ledger gave again one of an earlier epoch."""
        try:
            note = parse_receipt(answer.receipt.encode()).checkpoint
        except LedgerGridError:
            return answer
        if not self._trust.is_left(note):
            return answer
        newest = yield from self._trust.refresh()
        receipt = yield from fetch_receipt(answer.index, newest.size)
        return msgspec.structs.replace(answer, receipt=receipt.decode("utf-8", "replace"))

    def _follow(self, answer: Acknowledgement) -> Flow[None]:
        """Learn the log's new key, if it signed with one; a receipt that is none fails later."""
        try:
            note = parse_receipt(answer.receipt.encode()).checkpoint
        except LedgerGridError:
            return
        yield from self._trust.follow(note)


def has_pending(outcomes: Sequence[Outcome]) -> bool:
    """Say whether the ledger left any of these without an answer."""
    return any(isinstance(outcome, PendingError) for outcome in outcomes)


def _pending(sealed: Sealed, cause: str) -> PendingError:
    return PendingError(
        f"record {sealed.id} has no answer yet ({cause}); it stays in the outbox", id=sealed.id
    )


def _post(batch: Sequence[Sealed]) -> Flow[list[Answer] | None]:
    """Send records; return an answer each, or ``None`` if they are refused as a batch."""
    if len(batch) == 1:
        return [(yield from ask(Ask("POST", "/records", batch[0].line)))]
    body = b"".join(sealed.line + b"\n" for sealed in batch)
    limit_bytes = min(len(batch) * ANSWER_BYTES, limits.BATCH_BYTES)
    request = Ask("POST", "/records:batch", body, "application/x-ndjson", limit_bytes)
    answer = yield from ask(request)
    if answer.status == 200:
        return _parse_lines(answer)
    problem = parse_problem(answer.content)
    if is_about_the_record(answer.status, problem):
        return None
    return [answer] * len(batch)


def _parse_lines(answer: Answer) -> list[Answer]:
    """Split a batch's answer; what follows a line that is not understood has no answer."""
    answers: list[Answer] = []
    for raw in answer.content.split(b"\n")[:-1]:
        try:
            line = msgspec.json.decode(raw, type=Line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            break
        refused = line.status not in {200, 201}
        content = msgspec.json.encode(line.problem) if refused else raw
        answers.append(Answer(line.status, {}, content))
    return answers
