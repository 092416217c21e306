"""Let the OpenTelemetry Collector take our spans, and look at what it made of them.

    python -m tests.conformance.with_collector COLLECTOR

COLLECTOR is the program made of ``collector/``: its OTLP receiver in front, a file behind. A call
with its content, one that failed and one that was refused go through the reporter that the service
has. Nothing is left behind.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from api.feed import Ended, Feed
from api.telemetry.identity import span_id_of, trace_id_of
from api.telemetry.reporter import Collector, SpanReporter
from api.telemetry.spans import SpanMaker
from tests.support.ended import make_call, make_ended, make_refusal, with_content

_CONFIG = """\
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters: {{file: {{path: "{out}", flush_interval: 100ms}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}
"""
_STARTS_S = 20.0


def main(program: str) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port, out = free.getsockname()[1], Path(folder, "spans.json")
        free.close()
        config = Path(folder, "config.yaml")
        config.write_text(_CONFIG.format(port=port, out=out))
        with subprocess.Popen(
            [program, "--config", f"file:{config}"], stderr=subprocess.DEVNULL
        ) as collector:
            try:
                wait_for(port)
                counts = send(f"http://127.0.0.1:{port}/v1/traces")
            finally:
                collector.terminate()
        assert counts == {"sent": 3}, counts
        judge([json.loads(line) for line in out.read_text().splitlines()])
    print("the collector took every span, and has in it what was sent")


def wait_for(port: int) -> None:
    end_s = time.monotonic() + _STARTS_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.1)


def send(url: str) -> Counter[str]:
    """Send three spans by the service's own reporter; return what became of them."""
    counts: Counter[str] = Counter()
    feed = Feed()
    reporter = SpanReporter(
        feed,
        Collector(url, {"x-team": "red"}, 5.0),
        lambda on_span: SpanMaker(on_span, service_name="agents", version="1", ledger="calls"),
        with_content=True,
        on_spans=lambda outcome, count: counts.update({outcome: count}),
    )
    reporter.start()
    feed.publish(with_content(make_ended(stream=True, first_token_ms=200)))
    feed.publish(make_ended(action_id="act-2", parent_action_id="act-1", status_code=500))
    feed.publish(Ended(make_refusal(), 9))
    reporter.close()
    return counts


def judge(lines: list[dict[str, Any]]) -> None:
    """Compare what the collector wrote with what was sent."""
    groups = [group for line in lines for group in line["resourceSpans"]]
    spans = [span for group in groups for scope in group["scopeSpans"] for span in scope["spans"]]
    call, failed, refused = spans
    assert call["traceId"] == f"{trace_id_of(make_call()):032x}" == failed["traceId"]
    assert call["spanId"] == f"{span_id_of('act-1'):016x}" == failed["parentSpanId"]
    assert (call["name"], call["kind"]) == ("chat gpt-5", 3)
    assert call["startTimeUnixNano"] == "1785579072345000000"
    assert call["endTimeUnixNano"] == "1785579073845000000"
    said = {each["key"]: each["value"] for each in call["attributes"]}
    assert said["gen_ai.usage.input_tokens"] == {"intValue": "120"}
    assert said["gen_ai.request.stream"] == {"boolValue": True}
    assert said["gen_ai.response.time_to_first_chunk"] == {"doubleValue": 0.2}
    assert "Paris" in said["gen_ai.input.messages"]["stringValue"]
    assert failed["status"]["code"] == 2 == refused["status"]["code"]
    of = {each["key"]: each["value"] for each in groups[0]["resource"]["attributes"]}
    assert of["service.name"] == {"stringValue": "agents"}


if __name__ == "__main__":
    main(sys.argv[1])
