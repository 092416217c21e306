"""Spans reach a real OTLP receiver; one that is down or silent costs spans, and nothing else."""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from structlog.testing import capture_logs

from api.feed import Ended, Feed
from api.telemetry.identity import span_id_of, trace_id_of
from api.telemetry.reporter import Collector, SpanReporter
from api.telemetry.spans import SpanMaker
from tests.support.ended import BEGAN_MS, make_ended, make_refusal, with_content
from tests.support.otlp import attributes_of, receiving


class Reporting:
    """A reporter on a feed of its own, and what became of its spans."""

    def __init__(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        timeout_s: float = 5.0,
        with_content: bool = False,
        redact: Callable[[str], str] | None = None,
    ) -> None:
        self.feed = Feed()
        self.counts: Counter[str] = Counter()
        self.reporter = SpanReporter(
            self.feed,
            Collector(f"{url}/v1/traces", headers or {}, timeout_s),
            lambda on_span: SpanMaker(
                on_span, service_name="agents", version="1.0", ledger="calls"
            ),
            with_content=with_content,
            redact=redact,
            on_spans=lambda outcome, count: self.counts.update({outcome: count}),
        )


@contextmanager
def reporting(url: str, *, closing_s: float = 20, **chosen: object) -> Iterator[Reporting]:
    made = Reporting(url, **chosen)  # type: ignore[arg-type]
    made.reporter.start()
    try:
        yield made
    finally:
        made.reporter.close(timeout_s=closing_s)


def test_a_receiver_gets_each_call_as_a_valid_span() -> None:
    with receiving() as receiver, reporting(receiver.url, headers={"x-team": "red"}) as made:
        made.feed.publish(make_ended())
        made.feed.publish(make_ended(action_id="act-2", parent_action_id="act-1"))
        made.feed.publish(Ended(make_refusal(), 9))
        parent, child, refused = receiver.wait_for(3)
    call = make_ended().call
    assert parent.trace_id == trace_id_of(call).to_bytes(16) == child.trace_id
    assert parent.span_id == span_id_of("act-1").to_bytes(8) == child.parent_span_id
    assert parent.parent_span_id == b""
    assert parent.kind == Span.SPAN_KIND_CLIENT
    assert parent.start_time_unix_nano == BEGAN_MS * 1_000_000
    assert parent.end_time_unix_nano == (BEGAN_MS + 1500) * 1_000_000
    assert attributes_of(parent)["gen_ai.response.finish_reasons"] == ["stop"]
    assert attributes_of(parent)["gen_ai.usage.input_tokens"] == 120
    assert refused.status.code == Status.STATUS_CODE_ERROR
    resource = {
        each.key: each.value.string_value for each in receiver.groups[0].resource.attributes
    }
    assert resource["service.name"] == "agents"
    assert receiver.groups[0].scope_spans[0].scope.name == "ledgergrid"
    assert receiver.headers[0]["x-team"] == "red"
    assert made.counts["sent"] == 3


def test_content_is_sent_redacted_to_those_who_ask_for_it() -> None:
    def redact(text: str) -> str:
        return text.replace("4111", "[CARD]")

    with receiving() as receiver:
        with reporting(receiver.url, with_content=True, redact=redact) as made:
            made.feed.publish(with_content(make_ended()))
            (span,) = receiver.wait_for(1)
        found = attributes_of(span)
        assert "Paris" in found["gen_ai.input.messages"]
        assert "[CARD]" in found["gen_ai.input.messages"]
        assert "4111" not in str(found)


def test_a_call_whose_content_is_not_kept_sends_none_either() -> None:
    with receiving() as receiver, reporting(receiver.url, with_content=True) as made:
        made.feed.publish(with_content(make_ended(level="metadata")))
        (span,) = receiver.wait_for(1)
    assert "gen_ai.input.messages" not in attributes_of(span)


def test_what_is_there_at_the_end_is_sent_before_it_closes() -> None:
    with receiving() as receiver:
        with reporting(receiver.url) as made:
            for index in range(2000):
                made.feed.publish(make_ended(index, action_id=f"act-{index}"))
        assert len(receiver.spans) == 2000
        assert len({span.span_id for span in receiver.spans}) == 2000
    assert made.counts == {"sent": 2000}


def test_a_receiver_that_hangs_costs_spans_and_no_publisher_waits() -> None:
    with receiving() as receiver:
        receiver.hang_s = 30
        with reporting(receiver.url, timeout_s=0.5, closing_s=2) as made:
            began_s = time.perf_counter()
            for index in range(20_000):
                made.feed.publish(make_ended(index, action_id=f"act-{index}"))
            took_s = time.perf_counter() - began_s
            closing_s = time.perf_counter()
        # The receiver holds its answer for 30 seconds; a busy machine takes some by itself.
        assert took_s < 10
        assert time.perf_counter() - closing_s < 15
    lost = made.counts["dropped"] + made.counts["failed"] + made.reporter.calls_lost
    assert made.counts["sent"] == 0
    # But for one batch that may still be on its way.
    assert lost >= 20_000 - 512


@pytest.mark.parametrize("status", [503, 400, 0])
def test_spans_after_a_receiver_came_back_arrive(status: int) -> None:
    with receiving() as receiver, reporting(receiver.url, timeout_s=0.3) as made:
        receiver.status = status
        made.feed.publish(make_ended(action_id="lost"))
        end_s = time.monotonic() + 5
        while not made.counts["failed"] and time.monotonic() < end_s:
            time.sleep(0.02)
        receiver.status = 200
        made.feed.publish(make_ended(action_id="kept"))
        (span,) = receiver.wait_for(1)
    assert made.counts == {"failed": 1, "sent": 1}
    assert span.span_id == span_id_of("kept").to_bytes(8)


def test_a_receiver_that_is_not_there_is_told_of_once_and_without_the_headers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    caplog.set_level(logging.DEBUG)
    headers = {"authorization": "Bearer sesame"}
    with capture_logs() as lines, reporting(url, headers=headers, timeout_s=0.2) as made:
        for index in range(3):
            made.feed.publish(make_ended(index))
            time.sleep(0.5)
    assert made.counts["failed"] == 3
    assert [line["event"] for line in lines] == ["the collector did not take spans"]
    assert "sesame" not in caplog.text + str(lines)
