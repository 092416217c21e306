"""Writing one call down: its start, its end. Makers run in the pool's threads.

Everything that takes longer than it takes to hand it over happens there: parsing, pricing,
redacting, sealing. The event loop waits until it is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import anyio
import msgspec
import structlog

from api.feed import Ended
from api.proxy import rules
from api.proxy.answers import Refusal
from api.proxy.conversations import Place
from api.proxy.copying import Copy
from api.proxy.desk import Desk, Kept, unavailable
from api.proxy.drawing import Drawn, draw, refusal_of
from api.proxy.headers import asking_for_plain
from api.proxy.outbox import Item, pack_draws
from api.proxy.request import Request
from api.proxy.upstream import tell
from ledger_core import clock, ids
from ledger_core.admission import Admitted
from ledger_core.capturing import Scribe, tidy
from ledger_core.errors import LedgerGridError, LimitError, StoppedError
from ledger_core.llm.estimate import FREE
from ledger_core.llm.model import Answered, Asked, Usage
from ledger_core.llm.providers import hide_secrets
from ledger_core.llm.wire import ask_for_usage, parse_request, parse_response
from ledger_core.policy.allowances import Draw
from ledger_core.records.types.llm_call import Ended as EndedHow
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_start import LlmStart
from ledger_core.sequencer import Committed

log = structlog.get_logger("ledgergrid")

_REQUEST_IDS = (b"x-request-id", b"request-id")


@dataclass
class Outcome:
    """What became of a call, as far as the wire shows it."""

    ended: EndedHow = "complete"
    status: int | None = None
    first_token_ms: int | None = None
    media_type: str = ""
    encoding: str = ""
    length: int | None = None
    request_id: str | None = None
    error_type: str | None = None
    error_detail: str | None = None
    left_out: str | None = None
    is_seen: bool = False
    """Whether an upstream that gave no answer may have seen the request, and charge for it."""

    def learn(self, status: int, named: Mapping[bytes, bytes]) -> None:
        """Take what an answer says before its body."""
        length = named.get(b"content-length", b"")
        self.status = status
        self.length = int(length) if length.isdigit() else None
        self.media_type = _text(named.get(b"content-type")) or ""
        self.encoding = _text(named.get(b"content-encoding")) or ""
        found = (named[name] for name in _REQUEST_IDS if name in named)
        self.request_id = _text(next(found, None))

    def fail(self, error: Exception) -> None:
        """Note that the answer broke off."""
        is_late = isinstance(error, asyncio.TimeoutError)
        self.ended = "timed_out" if is_late else "upstream_failed"
        self.error_type = "upstream_timeout" if is_late else "upstream_broke_off"
        self.error_detail = tell(error)


class _Start(NamedTuple):
    """A start as it is to be sealed; ``whole`` is its request where ``stored`` is a frame."""

    start: LlmStart
    stored: bytes | None
    media_type: str
    whole: bytes | None


class _End(NamedTuple):
    """An end as it is to be sealed."""

    call: LlmCall2
    body: bytes | None
    draws: tuple[Draw, ...]
    answered: Answered


class Recording:
    """Owned by its call. ``_make_start`` and ``_make_end`` are called by other threads, once."""

    def __init__(self, desk: Desk, scribe: Scribe, request: Request) -> None:
        self._desk = desk
        self._scribe = scribe
        self._request = request
        self._asked = Asked()
        self._said: dict[str, Any] = {}
        self._drawn = Drawn((), (), ())
        self._reserved = 0
        self._place: Place | None = None
        self._start: Committed | None = None
        self._warning: str | None = None
        self._over_budget: tuple[tuple[str, int, int], ...] = ()
        self._made_start: _Start | None = None
        self._made_end: _End | None = None
        # Each record has one id, wherever it is tried: what is there twice is there once.
        self._start_id, self._end_id = ids.new_record_id(), ids.new_record_id()
        self.onward_body = request.body
        self.asks_for_usage = False

    @property
    def keeps_content(self) -> bool:
        return self._desk.settings.capture_level == "full"

    # --- the start ---------------------------------------------------------------

    async def begin(self) -> None:
        """Have the start committed. Raises :class:`Refusal`: then nothing may be forwarded."""
        size = len(self._request.body) + 4096
        outcome = await self._desk.ferry.submit_made(self._scribe.ledger, self._make_start, size)
        if isinstance(outcome, LimitError):
            raise refusal_of(outcome)
        if isinstance(outcome, StoppedError):
            raise Refusal("stopped", str(outcome), 403)
        if isinstance(outcome, LedgerGridError):
            await self._queue_start(outcome)
            return
        self._start = outcome
        self._warning = self._drawn.warning(outcome.used)
        self._over_budget = self._drawn.over(outcome.used)
        if self._place is not None:
            self._place.settle(outcome.leaf_hash)

    async def _queue_start(self, error: LedgerGridError) -> None:
        """Let the call pass and wait in the outbox, if it may."""
        if self._desk.settings.capture_unavailable != "queue":
            raise unavailable(error)
        try:
            await anyio.to_thread.run_sync(self._put_start)
        except LedgerGridError as full:
            raise unavailable(full) from None
        log.warning("a call waits in the outbox", why=error.code)

    def _put_start(self) -> None:
        made = self._made_start or self._describe_start()
        # Whole: what a frame rests on may not be there yet.
        body = made.whole if made.stored is not None else None
        media_type = self._request.media_type
        draws = pack_draws(self._drawn.draws)
        told = msgspec.json.encode(tidy(made.start))
        self._desk.outbox.put(Item("start", self._start_id, told, body, media_type, draws))

    def _make_start(self) -> Admitted:
        made = self._made_start = self._describe_start()
        drawn = self._drawn
        return self._scribe.start(
            made.start,
            made.stored,
            made.media_type,
            drawn.draws,
            drawn.rates,
            record_id=self._start_id,
        )

    def _describe_start(self) -> _Start:
        request, desk = self._request, self._desk
        in_force = desk.rules(self._scribe)
        asked = parse_request(request.wire, request.body, request.media_type, request.encoding)
        self._asked = asked
        request.model = rules.find_model(asked, request.path, request.body, request.encoding)
        in_force.check(request, asked)
        user_id = request.identity.user_id or asked.user_id
        if not request.reads_back:
            self._draw(in_force, asked, user_id)
        self._ask_for_usage(asked)
        self._said = self._identity(user_id)
        kept = self._keep_request()
        stored, media_type = self._frame(kept.body, user_id)
        start = LlmStart(
            **self._said,
            request_bytes=len(request.body),
            request_sha256=sha256(request.body).hexdigest(),
            reserved_microusd=self._reserved,
            media_type=request.media_type or None,
            content_encoding=kept.encoding or None,
            level=desk.settings.capture_level,
            redactions=kept.redactions,
        )
        return _Start(start, stored, media_type, kept.body)

    def _draw(self, in_force: rules.Rules, asked: Asked, user_id: str | None) -> None:
        """Settle what the call draws; :class:`Refusal` if it has to have a price and has none."""
        reserved = self._desk.pricing.reserve(self._request, asked)
        if reserved is None:
            in_force.check_priced(self._request)
        self._reserved = reserved or 0
        limits = in_force.limits
        self._drawn = draw(self._scribe, limits, self._request, user_id, self._reserved)

    def _ask_for_usage(self, asked: Asked) -> None:
        request = self._request
        if not self._desk.settings.ask_for_usage or request.wire != "openai.chat":
            return
        if asked.wants_usage or not asked.stream or request.encoding:
            return
        changed = ask_for_usage(request.body)
        if changed is not None:
            self.onward_body, self.asks_for_usage = changed, True
            # Out of what is compressed nothing can be taken.
            request.onward = asking_for_plain(request.onward)

    def _keep_request(self) -> Kept:
        request = self._request
        if not self.keeps_content:
            return Kept(None, request.encoding, 0)
        return self._desk.keep(request.body, request.media_type, request.encoding)

    def _frame(self, body: bytes | None, user_id: str | None) -> tuple[bytes | None, str]:
        """Return the part ``request`` and its media type: whole, or as a difference."""
        request = self._request
        if body is None:
            return None, ""
        place = self._place = self._desk.conversations.place(request, user_id, body)
        if place is not None and place.frame is not None:
            return place.frame, place.media_type
        return body, request.media_type

    def _identity(self, user_id: str | None) -> dict[str, Any]:
        """Return what start and end both say: which call this is, and who asks for what."""
        request, asked, identity = self._request, self._asked, self._request.identity
        return {
            "action_id": request.action_id,
            "timestamp": clock.format_time(request.began_at_ms),
            "provider": request.provider,
            "wire": request.wire,
            "method": request.method,
            "path": request.path,
            "query": hide_secrets(request.query.decode("ascii")) or None,
            "model_id": request.model,
            "stream": asked.stream,
            "session_id": request.session_id,
            "user_id": user_id,
            "agent_name": identity.agent_name,
            "app_id": identity.app_id,
            "environment": identity.environment or "development",
            "parent_action_id": identity.parent_action_id,
            "handoff_from": identity.handoff_from,
            "handoff_to": identity.handoff_to,
            "tags": identity.tags,
            "credential": request.credential,
            "temperature": asked.temperature,
            "max_tokens": asked.max_tokens,
        }

    # --- the end -----------------------------------------------------------------

    async def end(self, outcome: Outcome, copy: Copy | None) -> None:
        """Have the end committed, or else durable in the outbox.

        Raises :class:`LedgerGridError` if neither can be: then the client gets no whole answer.
        """
        if self._start is None:
            await anyio.to_thread.run_sync(self._put_end, outcome, copy)
            return
        size = 4096 if copy is None else copy.size + 4096
        committed = await self._desk.ferry.submit_made(
            self._scribe.ledger, lambda: self._make_end(outcome, copy), size
        )
        if isinstance(committed, LedgerGridError):
            log.warning("the end of a call waits in the outbox", why=committed.code)
            await anyio.to_thread.run_sync(self._put_end, outcome, copy)
            return
        # What nobody waits for comes after the answer's last bytes.
        asyncio.get_running_loop().call_soon(self._publish, committed.index, copy)

    def _put_end(self, outcome: Outcome, copy: Copy | None) -> None:
        made = self._made_end or self._describe_end(outcome, copy)
        leaf = self._start.leaf_hash if self._start is not None else None
        told = msgspec.json.encode(tidy(made.call))
        item = Item(
            "end",
            self._end_id,
            told,
            made.body,
            outcome.media_type,
            pack_draws(made.draws),
            leaf,
            self._start_id if leaf is None else None,
        )
        self._desk.outbox.put(item)

    def _publish(self, index: int, copy: Copy | None) -> None:
        if self._made_end is None:
            return
        call, answered = self._made_end.call, self._made_end.answered
        request = self._request
        size = len(request.body) + (copy.size if copy is not None else 0)
        server = (request.host, request.port)
        self._desk.service.feed.publish(
            Ended(
                call,
                index,
                self._asked,
                answered,
                size,
                server,
                self._over_budget,
                request.traceparent,
            )
        )

    def _make_end(self, outcome: Outcome, copy: Copy | None) -> Admitted:
        assert self._start is not None
        made = self._made_end = self._describe_end(outcome, copy)
        return self._scribe.end(
            made.call,
            self._start.leaf_hash,
            made.body,
            outcome.media_type,
            made.draws,
            record_id=self._end_id,
        )

    def _describe_end(self, outcome: Outcome, copy: Copy | None) -> _End:
        request, desk = self._request, self._desk
        answered = self._read_answer(outcome, copy)
        status = None if outcome.is_seen else outcome.status
        cost = FREE
        if not request.reads_back:
            cost = desk.pricing.settle(request, self._asked, answered, status)
        kept = Kept(None, outcome.encoding, 0)
        if copy is not None and copy.is_whole and self.keeps_content:
            kept = desk.keep(copy.body(), outcome.media_type, outcome.encoding)
        said = self._said
        if self._warning is not None:
            tags = {**request.identity.tags, "ledgergrid-warning": self._warning}
            said = {**said, "tags": tags}
        call = LlmCall2(
            **said,
            **_of_answer(answered, cost.usage or Usage()),
            ended=outcome.ended,
            status_code=outcome.status,
            latency_ms=request.passed_ms(),
            first_token_ms=outcome.first_token_ms,
            cost_microusd=cost.microusd,
            cost_basis=cost.basis,
            price_source=cost.source,
            price_model=cost.model,
            request_id=outcome.request_id,
            error_type=outcome.error_type or answered.error_type,
            error_detail=self._keep_error(outcome, answered),
            response_bytes=None if copy is None else copy.size,
            response_sha256=None if copy is None else copy.sha256(),
            response_media_type=outcome.media_type or None,
            response_encoding=kept.encoding or None,
            level=desk.settings.capture_level,
            redactions=kept.redactions,
        )
        draws = self._drawn.settled((cost.microusd or 0) - self._reserved)
        return _End(call, kept.body, draws, answered)

    def _keep_error(self, outcome: Outcome, answered: Answered) -> str | None:
        """Return what is stored of what went wrong; a provider's words may quote the prompt."""
        if self.keeps_content:
            return self._desk.keep_text(outcome.error_detail or answered.error_detail)
        return outcome.error_detail and outcome.error_detail.partition(":")[0]

    def _read_answer(self, outcome: Outcome, copy: Copy | None) -> Answered:
        if copy is None or outcome.status is None:
            return Answered()
        if not copy.is_whole:
            told = f"{copy.size} bytes are more than are kept"
            return Answered(parse_error=told, is_unread=True)
        return parse_response(
            self._request.wire, outcome.status, copy.body(), outcome.media_type, outcome.encoding
        )

    # --- what the client is told -------------------------------------------------

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that say where the call is on record."""
        found = self._request.naming_headers()
        start = self._start
        if start is not None:
            root = ids.format_digest(start.root).encode()
            found.append((b"x-ledgergrid-entry", b"%d" % start.index))
            found.append((b"x-ledgergrid-checkpoint", b"%d %b" % (start.size, root)))
        else:
            found.append((b"x-ledgergrid-entry", b"queued"))
        if self._warning is not None:
            found.append((b"x-ledgergrid-warning", self._warning.encode()))
        return found


def _of_answer(answered: Answered, usage: Usage) -> dict[str, Any]:
    """Return what was read out of an answer."""
    tools = dict.fromkeys(tool.name for tool in answered.tool_calls if tool.name is not None)
    return {
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "tokens_cached": usage.tokens_cached,
        "tokens_cache_write": usage.tokens_cache_write,
        "tokens_reasoning": usage.tokens_reasoning,
        "tokens_audio": usage.tokens_audio,
        "stop_reason": answered.stop_reason,
        "response_id": answered.response_id,
        "response_model": answered.model,
        "service_tier": answered.service_tier,
        "choices": len(answered.choices),
        "tool_names": tuple(tools),
        "parse_error": answered.parse_error,
    }


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")[:500]
