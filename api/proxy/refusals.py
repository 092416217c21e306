"""Refusals on the record, of which a flood cannot fill the disk.

The first refusal of a kind is a record of its own before it is answered; those of the same kind
within a second are counted, and become one record when the second is over. A kind is a reason, a
scope and who asked. At most so many kinds are told apart in a second: beyond these, refusals are
counted by their reason alone. While the ledger takes nothing, counting goes on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import cast, get_args

import msgspec
import structlog

from api.feed import Ended
from api.proxy.answers import Refusal
from api.proxy.desk import Desk
from api.proxy.request import Request
from ledger_core import clock
from ledger_core.errors import LedgerGridError
from ledger_core.records.types.llm_refused import LlmRefused, Reason
from ledger_core.sequencer import Committed

log = structlog.get_logger("ledgergrid")

WINDOW_S = 1.0
KINDS = 50
_RECORDED: frozenset[str] = frozenset(get_args(Reason))
_Kind = tuple[str | None, ...]


@dataclass
class _Counted:
    """How many refusals of a kind wait for the window's end; ``last`` is the newest of them."""

    last: LlmRefused
    calls: int = 0


class Refusals:
    """Belongs to one event loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._counted: dict[_Kind, _Counted] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    async def record(self, request: Request, refusal: Refusal) -> None:
        """Put a refusal on record, or count it; never fails for want of a ledger."""
        if refusal.reason not in _RECORDED:
            return
        refused = describe(request, refusal)
        kind = self._kind_of(request, refusal)
        known = self._counted.get(kind)
        if known is not None:
            known.last, known.calls = refused, known.calls + 1
            return
        counted = self._counted[kind] = _Counted(refused)
        self._schedule()
        is_told = refusal.reason != "ledger_unavailable"
        if not (is_told and await self._append(refused, request.traceparent)):
            counted.calls += 1

    def _kind_of(self, request: Request, refusal: Refusal) -> _Kind:
        who = (request.credential, request.identity.session_id, request.identity.agent_name)
        kind = (refusal.reason, refusal.scope, *who)
        if kind not in self._counted and len(self._counted) >= KINDS:
            return (refusal.reason,)
        return kind

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self._start_flush)

    def _start_flush(self) -> None:
        self._timer = None
        self._flushing = asyncio.ensure_future(self._flush())

    async def _flush(self) -> None:
        """Record what was counted; what cannot be is counted on."""
        counted, self._counted = self._counted, {}
        for kind, each in counted.items():
            if each.calls and not await self._append(
                msgspec.structs.replace(each.last, calls=each.calls)
            ):
                self._keep(kind, each)
        if self._counted:
            self._schedule()

    def _keep(self, kind: _Kind, counted: _Counted) -> None:
        newer = self._counted.get(kind)
        if newer is None:
            self._counted[kind] = counted
        else:
            newer.calls += counted.calls

    async def _append(self, refused: LlmRefused, traceparent: str = "") -> bool:
        outcome = await self._submit(refused)
        if isinstance(outcome, LedgerGridError):
            log.warning("a refusal is not on record yet", reason=refused.reason, why=outcome.code)
            return False
        ended = Ended(refused, outcome.index, traceparent=traceparent)
        self._desk.service.feed.publish(ended)
        return True

    async def _submit(self, refused: LlmRefused) -> Committed | LedgerGridError:
        try:
            scribe = await self._desk.scribe()
        except LedgerGridError as error:
            return error
        make = partial(scribe.refused, refused)
        return await self._desk.ferry.submit_made(scribe.ledger, make)

    async def close(self) -> None:
        """Record what is counted, as far as the ledger takes it."""
        self._stop_timer()
        if self._flushing is not None and not self._flushing.done():
            await self._flushing
        await self._flush()
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def describe(request: Request, refusal: Refusal) -> LlmRefused:
    """Return the record of a refusal; nothing of what was asked is in it."""
    identity = request.identity
    return LlmRefused(
        action_id=request.action_id,
        timestamp=clock.format_time(request.began_at_ms),
        provider=request.provider,
        wire=request.wire,
        method=request.method,
        path=request.path,
        model_id=request.model,
        session_id=request.session_id,
        user_id=identity.user_id,
        agent_name=identity.agent_name,
        app_id=identity.app_id,
        environment=identity.environment or "development",
        parent_action_id=identity.parent_action_id,
        handoff_from=identity.handoff_from,
        handoff_to=identity.handoff_to,
        tags=identity.tags,
        credential=request.credential,
        reason=cast(Reason, refusal.reason),
        message=refusal.message,
        status_code=refusal.status,
        limit=refusal.limit,
        used=refusal.used,
        scope=refusal.scope,
        retry_after_s=refusal.retry_after_s,
    )
