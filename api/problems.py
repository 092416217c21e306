"""Every error as an answer: problem+json (RFC 9457), from one table.

::

    {"type":"urn:ledgergrid:problem:conflict","title":"Same id, other bytes","status":409,
     "detail":"…","code":"conflict","stored":"sha256:…","received":"sha256:…"}

``code`` is stable and is what a program looks at; ``detail`` is for people.
docs/reference/errors.md is made from :data:`RULES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ledger_core import errors
from ledger_core.errors import LedgerGridError

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Rule:
    """The status of an error, and what whoever meets it can do."""

    status: int
    advice: str


@dataclass(frozen=True)
class Problem:
    """One problem, ready to be sent."""

    status: int
    code: str
    title: str
    detail: str
    extra: Mapping[str, Any]
    headers: Mapping[str, str]

    def members(self) -> dict[str, Any]:
        """Return the members of the JSON object."""
        return {
            "type": f"urn:ledgergrid:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.extra,
        }

    def body(self) -> bytes:
        return msgspec.json.encode(self.members())


RULES: Mapping[type[LedgerGridError], Rule] = {
    errors.LedgerGridError: Rule(500, "Report it, with the request id."),
    errors.MalformedError: Rule(400, "Correct the request; `detail` says what and where."),
    errors.TooLargeError: Rule(413, "Send less: fewer records a batch, a smaller payload."),
    errors.RefusedError: Rule(422, "The record may not enter this ledger; `detail` says why."),
    errors.UnknownTypeError: Rule(422, "Use a record type that this service knows."),
    errors.ForeignLedgerError: Rule(422, "Seal the record for this ledger's origin."),
    errors.SignatureError: Rule(422, "Sign the record's exact bytes with its author's key."),
    errors.CommitmentError: Rule(422, "Send the salt and payload that the record commits to."),
    errors.PayloadError: Rule(422, "Follow the record type's schema and rule."),
    errors.StandingError: Rule(403, "Have an operator register the key, with the right role."),
    errors.ClosedError: Rule(409, "Nothing is appended to a closed ledger; reads go on."),
    errors.HeadMovedError: Rule(409, "Look at the current version, then amend that one."),
    errors.DanglingReferenceError: Rule(
        422, "Refer to entries by leaf hash, to parties by member name or key."
    ),
    errors.ErasedError: Rule(410, "Do not send it again: what was erased is never taken again."),
    errors.ConflictError: Rule(409, "The first record stands; use a new id for a new record."),
    errors.NotFoundError: Rule(404, "It is not there, or not for this token."),
    errors.AccessError: Rule(401, "Send `Authorization: Bearer TOKEN` with a token that counts."),
    errors.ForbiddenError: Rule(403, "Use a token with the role that this needs."),
    errors.BusyError: Rule(503, "Try again after `Retry-After` seconds, with the same id."),
    errors.LimitError: Rule(429, "Wait for `Retry-After`, or have the limit raised."),
    errors.AllowanceError: Rule(429, "Have the budget raised, or wait for the next day's."),
    errors.RateError: Rule(429, "Try again after `Retry-After` seconds."),
    errors.StoppedError: Rule(403, "Wait until an operator lets calls go on."),
    errors.ReadOnlyError: Rule(503, "Reads go on; the operator finds out why, and repairs."),
    errors.StorageError: Rule(503, "Nothing was stored; try again after `Retry-After` seconds."),
    errors.OutcomeUnknownError: Rule(503, "Send the same record again: its id tells which."),
    errors.ProofError: Rule(500, "Stored data does not prove; run `ledgergrid doctor`."),
    errors.CosigningError: Rule(422, "This witness does not cosign it; `detail` says why."),
    errors.UnsignedError: Rule(403, "Sign the checkpoint with the key that this witness lists."),
    errors.StaleError: Rule(409, "Prove from the size that the answer's body says."),
    errors.InconsistentError: Rule(422, "A log only grows: look at `detail`, and at your log."),
    errors.WitnessError: Rule(500, "Ask again later; `…/witnesses` says what the witness said."),
    errors.UnreachableError: Rule(503, "Nothing to do: it is asked again by itself."),
    errors.IntegrityError: Rule(500, "Stored data was changed; run `ledgergrid doctor`."),
    errors.ForkError: Rule(503, "The database was restored or forked; run `ledgergrid doctor`."),
    errors.SettingsError: Rule(500, "Correct the setting that `detail` names."),
}

# What has no exception of ours: it comes from the framework, or from a mistake of ours.
METHOD_NOT_ALLOWED = ("method-not-allowed", "Method not allowed here")
INTERNAL = ("internal", "Something went wrong inside")
MISDIRECTED = ("misdirected", "Not a host of this service")
CROSS_SITE = ("cross-site", "Another site's page may not do this")
EXPOSED = ("exposed", "Open to others without a key")
MEDIA_TYPE_REFUSED = ("media-type", "Content type not taken")
HIDDEN = "the service logged what happened under this answer's X-Request-ID"


def rule_of(kind: type[LedgerGridError]) -> Rule:
    """Return the rule of the nearest class in the table."""
    return next(RULES[each] for each in kind.__mro__ if each in RULES)


def problem_of(error: LedgerGridError) -> Problem:
    """Describe an error of ours. What is our own fault keeps its insides to itself."""
    status = rule_of(type(error)).status
    detail = str(error)
    if status == 500 or isinstance(error, errors.StorageError):
        detail = HIDDEN
    return Problem(status, error.code, error.title, detail, _extra(error), _headers(status, error))


def _extra(error: LedgerGridError) -> dict[str, Any]:
    if isinstance(error, errors.ConflictError):
        return {"stored": error.stored, "received": error.received}
    if isinstance(error, errors.HeadMovedError):
        return {"head": error.head}
    if isinstance(error, errors.LimitError):
        return {"label": error.label, "used": error.used, "limit": error.limit}
    if isinstance(error, errors.IntegrityError) and error.index is not None:
        return {"index": error.index}
    return {}


def _headers(status: int, error: LedgerGridError) -> dict[str, str]:
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if status == 413:
        return {"Connection": "close"}  # What is left of the body is not read.
    if isinstance(error, errors.LimitError):
        after_s = error.retry_after_s
        return {} if after_s is None else {"Retry-After": str(after_s)}
    if status == 503:
        retry_after_s = error.retry_after_s if isinstance(error, errors.BusyError) else 60
        return {"Retry-After": str(retry_after_s)}
    return {}


def internal_problem() -> Problem:
    code, title = INTERNAL
    return Problem(500, code, title, HIDDEN, {}, {})


def method_problem(allow: str) -> Problem:
    code, title = METHOD_NOT_ALLOWED
    return Problem(405, code, title, f"allowed: {allow}", {}, {"Allow": allow})


def misdirected_problem(detail: str) -> Problem:
    code, title = MISDIRECTED
    return Problem(421, code, title, detail, {}, {})


def cross_site_problem() -> Problem:
    code, title = CROSS_SITE
    detail = "a browser sent this from a page of another origin"
    return Problem(403, code, title, detail, {}, {})


def exposed_problem() -> Problem:
    code, title = EXPOSED
    detail = "this address is not loopback and LEDGERGRID_API_KEY is not set: nobody is served"
    return Problem(403, code, title, detail, {}, {})


def media_type_problem() -> Problem:
    code, title = MEDIA_TYPE_REFUSED
    return Problem(415, code, title, "send JSON, and say so in Content-Type", {}, {})


def respond(problem: Problem) -> Response:
    return Response(
        problem.body(), problem.status, headers=dict(problem.headers), media_type=MEDIA_TYPE
    )


# --- the framework's own errors ----------------------------------------------------


async def _on_ledgergrid_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LedgerGridError)
    problem = problem_of(error)
    if problem.status == 500:
        raise error  # To the one place that logs it: logs.Observer.
    return respond(problem)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    # The place and the reason; never the value, which may be anything.
    where = " ".join(str(part) for part in first["loc"])
    why = first["msg"].removeprefix("Value error, ")
    return respond(problem_of(errors.MalformedError(f"{where}: {why}")))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return respond(method_problem((error.headers or {}).get("Allow", "")))
    if error.status_code == 404:
        return respond(problem_of(errors.NotFoundError("there is nothing at this address")))
    return respond(problem_of(errors.MalformedError(str(error.detail))))


async def _on_mistake(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this answer, and logs.Observer logs it.
    if isinstance(error, LedgerGridError):
        return respond(problem_of(error))
    return respond(internal_problem())


def install(app: FastAPI) -> None:
    """Make every error of the framework's a problem of ours."""
    app.add_exception_handler(LedgerGridError, _on_ledgergrid_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_mistake)


# --- OpenAPI -------------------------------------------------------------------------

SCHEMA = {
    "title": "Problem",
    "description": "RFC 9457; `code` is stable, see docs/reference/errors.md.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
    },
}

_REASONS = {
    400: "Malformed",
    401: "No token that counts",
    403: "Not with this token or key",
    404: "Not there, or not for this token",
    409: "Same id with other bytes, or a version that is no longer current",
    413: "Too large",
    415: "Content type is not JSON",
    421: "Not a host of this service",
    422: "Record refused",
    429: "Limit reached",
    503: "Too busy, or read-only",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe these answers for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {s: {"description": _REASONS[s], "content": content} for s in statuses}
