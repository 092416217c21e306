"""What passes between a delivery and the one that carries it: ask, pause, answer.

A *flow* is a generator that knows the rules and does no network I/O: it yields an
:class:`Ask` or a :class:`Pause`, and is given an :class:`Answer`, nothing, or a
:class:`NoAnswerError` thrown into it. The same flow is driven by a plain client and by an
asyncio one, so the rules are written once (httpx does the same for authentication).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from ledger_core import errors, limits
from ledger_core.errors import ConflictError, LedgerGridError
from ledgergrid.errors import UnreachableError

T = TypeVar("T")

ANSWER_BYTES = 2 * limits.NOTE_BYTES
"""Bound on one answer: a receipt is a note at most, escaped in JSON."""

_LONGEST_RETRY_AFTER_S = 3600.0
_DETAIL_CHARS = 1000


@dataclass(frozen=True)
class Ask:
    """One HTTP request under the ledger's own path."""

    method: str
    path: str
    content: bytes = field(default=b"", repr=False)
    content_type: str = "application/json"
    limit_bytes: int = ANSWER_BYTES


@dataclass(frozen=True)
class Pause:
    """Time to let pass before the next request."""

    time_s: float


@dataclass(frozen=True)
class Answer:
    """One HTTP response, read whole within its bound."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


class NoAnswerError(UnreachableError):
    """Nothing came that settles the question: worth another try."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


Flow = Generator[Ask | Pause, Answer | None, T]


@dataclass(frozen=True)
class Done(Generic[T]):
    """A flow's result."""

    value: T


def advance(flow: Flow[T], answer: Answer | NoAnswerError | None) -> Ask | Pause | Done[T]:
    """Give a flow what it waits for; return what it wants next."""
    try:
        if isinstance(answer, NoAnswerError):
            return flow.throw(answer)
        return flow.send(answer)
    except StopIteration as stop:
        return Done(stop.value)


def ask(request: Ask) -> Flow[Answer]:
    """Ask from within a flow."""
    answer = yield request
    assert answer is not None, "whoever drives a flow answers what it asks"
    return answer


def pause(time_s: float) -> Flow[None]:
    """Let time pass within a flow."""
    yield Pause(time_s)


class Problem(msgspec.Struct, frozen=True):
    """A ledger's refusal (RFC 9457)."""

    code: str = ""
    title: str = ""
    detail: str = ""
    stored: str = ""
    received: str = ""
    head: str = ""
    retry_after_s: float = 0.0


def parse_problem(content: bytes) -> Problem:
    """Parse problem+json; anything else is a problem without a code."""
    try:
        return msgspec.json.decode(content, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Problem()


def _tree(base: type[LedgerGridError]) -> dict[str, type[LedgerGridError]]:
    below = {code: kind for sub in base.__subclasses__() for code, kind in _tree(sub).items()}
    return {base.code: base} | below


_BY_CODE = {c: k for c, k in _tree(LedgerGridError).items() if k.__module__ == errors.__name__}

_ABOUT_THE_RECORD = {
    c
    for c, k in _BY_CODE.items()
    if issubclass(k, errors.MalformedError | errors.RefusedError | ConflictError)
}
_NOT_SOON = {errors.ReadOnlyError.code, errors.ForkError.code}
"""A ledger that stands still until its operator has looked: no use in asking again."""

_REFUSING_STATUSES = {400, 409, 413, 415, 422}


def make_error(status: int, problem: Problem) -> LedgerGridError:
    """Make the error that the ledger raised, by its code."""
    message = (problem.detail or problem.title or f"HTTP status {status}")[:_DETAIL_CHARS]
    kind = _BY_CODE.get(problem.code)
    if kind is ConflictError:
        return ConflictError(message, stored=problem.stored, received=problem.received)
    if kind is errors.HeadMovedError:
        return errors.HeadMovedError(message, head=problem.head)
    if kind is not None:
        return kind(message)
    if status == 409:
        return ConflictError(message, stored="", received="")
    by_status = {401: errors.AccessError, 403: errors.ForbiddenError, 404: errors.NotFoundError}
    fallback = errors.RefusedError if status in _REFUSING_STATUSES else LedgerGridError
    return by_status.get(status, fallback)(message)


def is_about_the_record(status: int, problem: Problem) -> bool:
    """Say whether sending these bytes again can only be refused again.

    A missing token, a wrong address, a read-only ledger are not the record's fault.
    """
    if problem.code in _BY_CODE:
        return problem.code in _ABOUT_THE_RECORD
    return status in _REFUSING_STATUSES


def check_settled(status: int, problem: Problem, retry_after_s: float = 0.0) -> None:
    """Raise :class:`NoAnswerError` for what another try may well change."""
    if problem.code in _NOT_SOON:
        return
    if status in {408, 425, 429} or status >= 500:
        why = (problem.detail or problem.title)[:_DETAIL_CHARS]
        raise NoAnswerError(
            f"HTTP status {status} {why}".rstrip(),
            retry_after_s=max(retry_after_s, problem.retry_after_s),
        )


def parse_retry_after(headers: Mapping[str, str]) -> float:
    """Read Retry-After in seconds (RFC 9110 section 10.2.3); its date form counts as absent."""
    text = headers.get("retry-after", "")
    if not (text.isascii() and text.isdigit()):
        return 0.0
    return min(float(text[:9]), _LONGEST_RETRY_AFTER_S)


def check_understood(answer: Answer) -> None:
    """Raise unless a read was answered with 200: what the ledger said, or that it said nothing."""
    if answer.status != 200:
        problem = parse_problem(answer.content)
        check_settled(answer.status, problem, parse_retry_after(answer.headers))
        raise make_error(answer.status, problem)
