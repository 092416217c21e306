"""What is said of a call beside its bytes: read out of them, as the proxy reads it out of them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from ledger_core import ids
from ledger_core.clock import format_time
from ledger_core.llm.estimate import Cost, settle
from ledger_core.llm.model import Answered, Asked
from ledger_core.llm.prices import Prices
from ledger_core.llm.providers import HIDDEN, hide_secrets, is_secret, provider_of
from ledger_core.llm.wire import Reader, Wire, parse_request, wire_of
from ledger_core.records.calls import PATH_CHARS, QUERY_CHARS, TEXT_CHARS, Level
from ledger_core.records.types.llm_call import Ended, LlmCall2
from ledgergrid.integrations.exchange import Exchange
from ledgergrid.integrations.labels import clip

_SECRET_CHARS: Final = 8
"""Shorter words are ``Bearer`` and the like."""
_TOOL_NAMES: Final = 1_000


def describe(exchange: Exchange, level: Level) -> LlmCall2:
    """Make the facts of a call."""
    request = exchange.request
    wire = wire_of(request.path)
    asked = parse_request(
        wire, request.body, media_of(request.headers), _get(request.headers, "content-encoding")
    )
    answered, ended = _read_answer(exchange, wire)
    provider = request.provider or provider_of(wire, request.host)
    cost = _settle(exchange, asked, answered, wire, provider)
    return LlmCall2(
        action_id=ids.new_record_id(),
        timestamp=format_time(exchange.began_at_ms),
        provider=provider,
        wire=wire,
        method=request.method,
        path=request.path[:PATH_CHARS],
        query=_query_of(request.url),
        latency_ms=exchange.latency_ms,
        first_token_ms=exchange.first_token_ms if asked.stream else None,
        request_bytes=len(request.body),
        request_sha256=hashlib.sha256(request.body).hexdigest(),
        request_media_type=media_of(request.headers),
        request_encoding=_get(request.headers, "content-encoding"),
        level=level,
        parse_error=asked.parse_error or answered.parse_error,
        **_of_request(asked),
        **_of_answer(exchange, answered),
        **_of_cost(cost),
        ended=ended,
        error_type=answered.error_type,
        error_detail=answered.error_detail if level == "full" else None,
        **_labels(exchange, asked),
    )


def _of_request(asked: Asked) -> dict[str, Any]:
    return {
        "model_id": asked.model,
        "stream": asked.stream,
        "temperature": asked.temperature,
        "max_tokens": asked.max_tokens,
    }


def _of_answer(exchange: Exchange, answered: Answered) -> dict[str, Any]:
    found: dict[str, Any] = {
        "status_code": exchange.status,
        "stop_reason": answered.stop_reason,
        "response_id": answered.response_id,
        "response_model": answered.model,
        "service_tier": answered.service_tier,
        "choices": len(answered.choices),
        "tool_names": tuple(call.name for call in answered.tool_calls if call.name)[:_TOOL_NAMES],
    }
    if exchange.body_bytes or exchange.headers:
        found |= {
            "request_id": _get(exchange.headers, "x-request-id", "request-id"),
            "response_bytes": exchange.body_bytes,
            "response_sha256": exchange.sha256,
            "response_media_type": media_of(exchange.headers),
            "response_encoding": _get(exchange.headers, "content-encoding"),
        }
    return found


def _settle(
    exchange: Exchange, asked: Asked, answered: Answered, wire: Wire, provider: str
) -> Cost:
    """Say what it used and cost; of what never reached a provider nobody knows that it did."""
    if exchange.status is None and exchange.ended == "upstream_failed":
        return Cost(usage=None, basis="unknown")
    at = datetime.fromtimestamp(exchange.began_at_ms / 1000, UTC)
    return settle(
        _prices(), asked, answered, wire, provider=provider, status=exchange.status, at=at
    )


@functools.cache
def _prices() -> Prices:
    """Return the known prices, read once: they take some memory."""
    return Prices()


def _of_cost(cost: Cost) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cost_microusd": cost.microusd,
        "cost_basis": cost.basis,
        "price_source": cost.source,
        "price_model": cost.model,
    }
    if (usage := cost.usage) is not None:
        found |= {
            "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out,
            "tokens_cached": usage.tokens_cached,
            "tokens_cache_write": usage.tokens_cache_write,
            "tokens_reasoning": usage.tokens_reasoning,
            "tokens_audio": usage.tokens_audio,
        }
    return found


def _read_answer(exchange: Exchange, wire: Wire) -> tuple[Answered, Ended]:
    """Read what came, and say how it ended: who leaves after the last event saw all there was.

    Where nothing came, the error that the agent got is all that is known.
    """
    error = exchange.error
    if exchange.status is None or (error is not None and not exchange.body):
        told = None if error is None else _without_secrets(str(error), exchange)[:TEXT_CHARS]
        kind = None if error is None else type(error).__name__
        return Answered(error_type=kind, error_detail=told), exchange.ended
    reader = Reader(
        wire,
        exchange.status,
        media_of(exchange.headers),
        _get(exchange.headers, "content-encoding"),
    )
    reader.feed(bytes(exchange.body))
    answered = reader.answered()
    is_over = exchange.ended == "client_left" and reader.ended
    return answered, "complete" if is_over else exchange.ended


def _without_secrets(text: str, exchange: Exchange) -> str:
    """Return what an error says, without the credentials of the request, which some quote."""
    headers = exchange.request.headers.items()
    words = [word for name, value in headers if is_secret(name) for word in value.split()]
    for word in words:
        if len(word) >= _SECRET_CHARS:
            text = text.replace(word, HIDDEN)
    return text


def _labels(exchange: Exchange, asked: Asked) -> dict[str, Any]:
    """Return the labels, and whom the request itself names if nothing else names a user."""
    named = {"user_id": asked.user_id} if asked.user_id else {}
    return {**named, **exchange.labels}


def media_of(headers: Mapping[str, str]) -> str | None:
    return _get(headers, "content-type")


def _get(headers: Mapping[str, str], *names: str) -> str | None:
    found = (headers[name] for name in names if name in headers)
    return next((clip(value) for value in found if value), None)


def _query_of(url: str) -> str | None:
    return hide_secrets(urlsplit(url).query)[:QUERY_CHARS] or None
