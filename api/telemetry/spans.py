"""Makes spans of calls, by the OpenTelemetry SDK, with a provider of our own.

The SDK's global provider is left alone: whoever instruments this process sees its own spans
and not the agents' calls. A span here is made when its call is over, with the times that the
log has; its ids are derived (identity.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from api.feed import Ended
from api.telemetry.attributes import Value, describe, error_of, name_of
from api.telemetry.identity import span_id_of, trace_id_of
from ledger_core import clock
from ledger_core.records.calls import Identity
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_refused import LlmRefused

SCOPE = "ledgergrid"
_W3C = TraceContextTextMapPropagator()
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NS = 1_000_000


class SpanMaker:
    """Gives each finished span to ``on_span``; used by one thread alone.

    ``with_content`` adds what was said; ``legacy`` adds the names of older conventions.
    """

    def __init__(
        self,
        on_span: Callable[[ReadableSpan], None],
        *,
        service_name: str,
        version: str,
        ledger: str,
        legacy: bool = False,
    ) -> None:
        self._ids = _DerivedIds()
        self._ledger = ledger
        self._legacy = legacy
        resource = Resource.create({SERVICE_NAME: service_name, SERVICE_VERSION: version})
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=resource,
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        provider.add_span_processor(_Taker(on_span))
        self._tracer = provider.get_tracer(SCOPE, version)

    def make(self, ended: Ended, content: Mapping[str, Value] | None = None) -> None:
        """Make the span of a call that is over."""
        call = ended.call
        began_ns = clock.parse_time(call.timestamp) * _NS
        self._ids.trace_id, self._ids.span_id = trace_id_of(call), span_id_of(call.action_id)
        span = self._tracer.start_span(
            name_of(call),
            context=_parent_of(call, self._ids.trace_id),
            kind=SpanKind.CLIENT,
            attributes={**describe(ended, self._ledger, legacy=self._legacy), **(content or {})},
            start_time=began_ns,
            links=_links_to(ended.traceparent),
        )
        status = _status_of(call)
        if status is not None:
            span.set_status(status)
        took_ms = call.latency_ms if isinstance(call, LlmCall2) else 0
        span.end(began_ns + (took_ms or 0) * _NS)


def _status_of(call: LlmCall2 | LlmRefused) -> Status | None:
    """Return an error's status; what a provider says of an error may quote the prompt."""
    error = error_of(call)
    if error is None:
        return None
    said = call.message if isinstance(call, LlmRefused) else error
    return Status(StatusCode.ERROR, said)


def _parent_of(call: Identity, trace_id: int) -> Context:
    """Return what the new span stands under: never what happens to run in this thread."""
    if not call.parent_action_id:
        return Context()
    parent = SpanContext(trace_id, span_id_of(call.parent_action_id), True, _SAMPLED)
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _links_to(traceparent: str) -> list[Link]:
    """Return a link to the agent's own span, if it named one (W3C Trace Context)."""
    if not traceparent:
        return []
    told = _W3C.extract({"traceparent": traceparent}, Context())
    theirs = trace.get_current_span(told).get_span_context()
    return [Link(theirs)] if theirs.is_valid else []


class _DerivedIds(IdGenerator):
    """Gives the ids that were laid out for the span to be made."""

    trace_id = 1
    span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Taker(SpanProcessor):
    def __init__(self, on_span: Callable[[ReadableSpan], None]) -> None:
        self._on_span = on_span

    def on_end(self, span: ReadableSpan) -> None:
        self._on_span(span)
