"""Appending: the two hot routes, plain ASGI in front of FastAPI, which describes them.

A signature by a registered key authorises a write; no token is asked for. The body's bytes
go to the pool as they came; the pool parses, verifies and sequences them in batches off the
event loop, and this coroutine sleeps until its batch is durable. Strangers learn nothing of a
ledger from its refusals: see ``api/veil.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.bodies import ClientGoneError
from api.ferry import Ferry
from api.service import Service
from api.veil import NoLedger, veil
from ledger_core import clock, ids, limits
from ledger_core.errors import LedgerGridError, MalformedError, NotFoundError, TooLargeError
from ledger_core.ledger import Ledger
from ledger_core.sequencer import Appended, Outcome

PREFIX = "/api/v1/ledgers/"
ONE, BATCH = "records", "records:batch"
_LEDGERS = 10_000
_JSON, _NDJSON = b"application/json", b"application/x-ndjson"

Headers = list[tuple[bytes, bytes]]
Handler = Callable[[Ledger | NoLedger, Scope, Receive, Send], Awaitable[None]]


class Acknowledgement(msgspec.Struct):
    """What an author gets for a record: its place, and the receipt that proves it."""

    index: int
    leaf_hash: str
    received_at: str
    id: str
    receipt: str


class _Line(Acknowledgement):
    status: int


class _Refusal(msgspec.Struct):
    status: int
    problem: Mapping[str, Any]


_ENCODER = msgspec.json.Encoder()


def _facts(done: Appended) -> tuple[int, str, str, str, str]:
    return (
        done.index,
        ids.format_digest(done.leaf_hash),
        clock.format_time(done.received_at),
        done.record_id,
        done.receipt.decode(),
    )


def acknowledgement(done: Appended) -> Acknowledgement:
    return Acknowledgement(*_facts(done))


def status_of(done: Appended) -> int:
    """Return 201 for a new entry, 200 for one that was there with the same bytes."""
    return 201 if done.is_new else 200


def format_outcome(outcome: Outcome) -> bytes:
    """Format one line of the answer to a batch."""
    if isinstance(outcome, LedgerGridError):
        problem = problems.problem_of(outcome)
        return _ENCODER.encode(_Refusal(problem.status, problem.members()))
    return _ENCODER.encode(_Line(*_facts(outcome), status_of(outcome)))


class AppendRoutes:
    """Takes ``POST …/records`` and ``…/records:batch``; everything else goes on to ``app``."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        # Ledgers met so far: none is ever removed, and a look-up elsewhere may go to the database.
        self._ledgers: dict[str, Ledger] = {}
        self._no_ledger = NoLedger(service.database)
        self._ferry = Ferry(service.pool)
        self._handlers: dict[str, Handler] = {ONE: self._append_one, BATCH: self._append_batch}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        name, _, action = scope["path"][len(PREFIX) :].partition("/")
        handler = self._handlers.get(action)
        if handler is None or not name:
            await self._app(scope, receive, send)
            return
        scope["ledgergrid.route"] = f"{PREFIX}{{ledger}}/{action}"
        if scope["method"] != "POST":
            await problems.respond(problems.method_problem("POST"))(scope, receive, send)
            return
        try:
            await handler(await self._find(name), scope, receive, send)
        except LedgerGridError as error:
            problem = problems.problem_of(error)
            if problem.status == 500:
                raise
            await problems.respond(problem)(scope, receive, send)
        except ClientGoneError:
            return

    async def _find(self, name: str) -> Ledger | NoLedger:
        ledger = self._ledgers.get(name)
        if ledger is None:
            try:
                ledger = await anyio.to_thread.run_sync(self._service.ledgers.get, name)
            except NotFoundError:
                return self._no_ledger
            if len(self._ledgers) >= _LEDGERS:
                self._ledgers.clear()
            self._ledgers[name] = ledger
        return ledger

    async def _append_one(
        self, ledger: Ledger | NoLedger, scope: Scope, receive: Receive, send: Send
    ) -> None:
        intake = self._service.intake
        raw = await intake.read(scope, receive, limits.SUBMISSION_BYTES)
        try:
            (outcome,) = await self._submit(ledger, [raw])
        finally:
            intake.release(len(raw))
        self._service.metrics.count_outcome(name_outcome(outcome))
        if isinstance(outcome, LedgerGridError):
            raise outcome
        body = _ENCODER.encode(acknowledgement(outcome))
        await _send(send, status_of(outcome), _JSON, body)

    async def _submit(self, ledger: Ledger | NoLedger, raws: Sequence[bytes]) -> list[Outcome]:
        outcomes = await self._ferry.submit(ledger, raws)
        if any(isinstance(each, LedgerGridError) for each in outcomes):
            return await anyio.to_thread.run_sync(veil, ledger, raws, outcomes)
        return outcomes

    async def _append_batch(
        self, ledger: Ledger | NoLedger, scope: Scope, receive: Receive, send: Send
    ) -> None:
        intake = self._service.intake
        body = await intake.read(scope, receive, limits.BATCH_BYTES)
        try:
            outcomes = await self._submit(ledger, split_lines(body))
        finally:
            intake.release(len(body))
        for name, count in Counter(map(name_outcome, outcomes)).items():
            self._service.metrics.count_outcome(name, count)
        lines = b"".join(format_outcome(each) + b"\n" for each in outcomes)
        await _send(send, 200, _NDJSON, lines)


def name_outcome(outcome: Outcome) -> str:
    """Name how it ended, for metrics."""
    if isinstance(outcome, LedgerGridError):
        return outcome.code
    return "new" if outcome.is_new else "again"


def split_lines(body: bytes) -> list[bytes]:
    """Split NDJSON; an empty line is a malformed record, save for the end of the last line."""
    if not body:
        raise MalformedError("the batch is empty")
    if body.count(b"\n") > limits.BATCH_RECORDS:
        raise TooLargeError(f"batch has more than {limits.BATCH_RECORDS} lines")
    lines = body.removesuffix(b"\n").split(b"\n")
    if len(lines) > limits.BATCH_RECORDS:
        raise TooLargeError(f"batch has more than {limits.BATCH_RECORDS} lines")
    return lines


async def _send(send: Send, status: int, media_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# --- OpenAPI -------------------------------------------------------------------------


def describe() -> dict[str, Any]:
    """Describe both routes for OpenAPI; FastAPI does not see them."""
    name = {
        "name": "ledger",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "maxLength": limits.LEDGER_NAME_CHARS},
    }
    return {
        f"{PREFIX}{{ledger}}/{ONE}": {
            "post": {
                "operationId": "append_record",
                "tags": ["records"],
                "summary": "Append one signed record",
                "description": "Answers when the record is durable, with its receipt. "
                "The same record again gives the same receipt (200).",
                "parameters": [name],
                "requestBody": _body(
                    "application/json", {"$ref": "#/components/schemas/Submission"}
                ),
                "responses": {
                    "201": _answer("Appended"),
                    "200": _answer("Was appended before: the same receipt"),
                    **_refusals(400, 403, 409, 413, 422, 503),
                },
            }
        },
        f"{PREFIX}{{ledger}}/{BATCH}": {
            "post": {
                "operationId": "append_records",
                "tags": ["records"],
                "summary": "Append many signed records",
                "description": "One submission a line; one outcome a line, in the same order: "
                "`status` with an acknowledgement, or `status` and `problem`.",
                "parameters": [name],
                "requestBody": _body("application/x-ndjson", {"type": "string"}),
                "responses": {
                    "200": {
                        "description": "An outcome a line",
                        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
                    },
                    **_refusals(400, 413, 503),
                },
            }
        },
    }


def _body(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema}}}


def _answer(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Acknowledgement"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(status): answer for status, answer in problems.responses(*statuses).items()}


_BASE64 = {"type": "string", "contentEncoding": "base64"}


def _object(required: Sequence[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


SCHEMAS: dict[str, Any] = {
    "Problem": problems.SCHEMA,
    "Submission": _object(
        ["envelope"],
        envelope=_object(
            ["payload", "payloadType", "signatures"],
            payload=_BASE64,
            payloadType={"const": "application/vnd.ledgergrid.record+json"},
            signatures={
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": _object(["sig"], sig=_BASE64, keyid={"type": "string"}),
            },
        ),
        parts={
            "type": "object",
            "additionalProperties": _object(["data", "salt"], data=_BASE64, salt=_BASE64),
        },
    ),
    "Acknowledgement": _object(
        ["index", "leaf_hash", "received_at", "id", "receipt"],
        index={"type": "integer"},
        leaf_hash={"type": "string"},
        received_at={"type": "string"},
        id={"type": "string"},
        receipt={"type": "string", "description": "C2SP tlog-proof"},
    ),
}
