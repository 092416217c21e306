"""Logs tell what failed, under the request's id, and never a payload or a token."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from api import logs
from api.settings import Settings
from tests.api.live import ROUTE, Live, problem, running


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Catch what the service would write to standard error."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("debug")
    written = io.StringIO()
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def talkative(tmp_path: Path) -> Iterator[Live]:
    with running(Settings(data=tmp_path / "data", log_level="debug")) as found:
        yield found


def test_every_line_is_one_json_object_without_payload_or_token(
    lines: io.StringIO, talkative: Live
) -> None:
    author = talkative.author()
    with talkative.http("reader") as http:
        http.post(f"{ROUTE}/main/records", content=author.line(b'"a-secret-payload"'))
        http.get(f"{ROUTE}/main/entries/2")
        http.get(f"{ROUTE}/main/entries", params={"type": "agent.action/1", "session_id": "s3cret"})
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    requests = [line for line in written if line["event"] == "request"]
    assert {line["route"] for line in requests} >= {f"{ROUTE}/{{ledger}}/records"}
    assert all(line["request_id"] for line in requests)
    for secret in ("a-secret-payload", "s3cret", *talkative.tokens.values()):
        assert secret not in lines.getvalue()


def test_a_failure_inside_is_answered_without_details_and_logged_without_locals(
    lines: io.StringIO, embedded: Live
) -> None:
    token = embedded.tokens["reader"]
    # A mistake of our own: something that is no LedgerGridError comes out of a route.
    object.__setattr__(embedded.service, "tokens", None)
    with embedded.http(token=token) as http:
        answer = http.get(f"{ROUTE}/main", headers={"X-Request-ID": "find-me"})
    assert problem(answer) == (500, "internal")
    assert "NoneType" not in answer.text
    (failed,) = [
        line
        for line in map(json.loads, lines.getvalue().splitlines())
        if line["event"] == "request failed"
    ]
    assert (failed["request_id"], failed["level"]) == ("find-me", "error")
    assert "NoneType" in json.dumps(failed["exception"])
    assert token not in lines.getvalue()


def test_a_wrong_token_is_not_repeated_anywhere(lines: io.StringIO, embedded: Live) -> None:
    with embedded.http(token="lgt_mistyped") as http:
        answer = http.get(f"{ROUTE}/main")
    assert "lgt_mistyped" not in answer.text + lines.getvalue()
