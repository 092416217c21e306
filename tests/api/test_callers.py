"""Who reads captured calls: the service's key, a token, or, without a key, this machine."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from api import logs
from api.actors import Actor, check_role, find_actor, find_caller, is_api_key
from api.guards import QUERY_KEY
from api.settings import Settings
from ledger_core.errors import AccessError, ForbiddenError
from ledger_core.policy.visibility import NOBODY, OPERATOR
from tests.api.live import ROUTE, Live, problem, running
from tests.support.ended import make_ended

SECRET = "a-long-random-secret-of-the-operator"


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[Live]:
    """Give a service that has a key."""
    settings = Settings(data=tmp_path / "data", api_key=SecretStr(SECRET), log_level="debug")
    with running(settings) as found:
        yield found


def asking(headers: Mapping[str, str], **scope: Any) -> HTTPConnection:
    said = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "headers": said, **scope})


@pytest.mark.parametrize(
    "headers",
    [
        {"x-agentledger-api-key": SECRET},
        {"X-LedgerGrid-Api-Key": SECRET},
        {"Authorization": f"Bearer {SECRET}"},
        {"Authorization": "Basic bmV2ZXI=", "x-agentledger-api-key": SECRET},
    ],
)
def test_the_key_reads_all_of_the_captured_calls_and_governs_nothing(
    keyed: Live, headers: dict[str, str]
) -> None:
    calls = keyed.service.ledgers.create("calls")
    caller = find_caller(keyed.service, asking(headers))
    assert caller.sees(calls)
    assert caller.reader_of(calls) == OPERATOR
    assert not caller.sees(keyed.main)
    assert caller.reader_of(keyed.main) == NOBODY
    for ledger in (calls, keyed.main, None):
        with pytest.raises(ForbiddenError):
            check_role(caller, "admin", ledger)


def test_the_key_is_a_bearer_for_the_whole_api_but_only_reads_the_calls(keyed: Live) -> None:
    keyed.service.ledgers.create("calls")
    with keyed.http(token=SECRET) as http:
        assert http.get(f"{ROUTE}/calls/entries/0/receipt").status_code == 200
        assert problem(http.get(f"{ROUTE}/main")) == (404, "not-found")
        assert [each["name"] for each in http.get(ROUTE).json()["ledgers"]] == ["calls"]
        assert problem(http.post(ROUTE, json={"name": "mine"})) == (403, "forbidden")


BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/ledgers": {"name": "mine"},
    "/api/v1/capture/stop": {"reason": "x"},
    "/api/v1/capture/resume": {"reason": "x"},
}
SIGNED = ("/records", "/records:batch", "/witness/add-checkpoint")


@pytest.mark.parametrize("secret", [SECRET, ""])
def test_neither_the_key_nor_nobody_changes_anything_without_a_signature(
    tmp_path: Path, secret: str
) -> None:
    """Whatever operation there is: a new one that forgets to ask is found here."""
    key = SecretStr(secret)
    with running(Settings(data=tmp_path / "data", api_key=key)) as live:
        calls = live.service.ledgers.create("calls")
        before = calls.size(), live.main.size(), live.service.ledgers.names()
        found = live.app.api.openapi()["paths"]
        changing = [
            (method.upper(), path)
            for path, methods in found.items()
            for method in methods.keys() & {"post", "put", "patch", "delete"}
            if not path.endswith(SIGNED)
        ]
        assert len(changing) >= 8
        with live.http(token=secret) as http:
            for method, path in changing:
                place = re.sub(r"\{[a-z_]+\}", "calls", path)
                answer = http.request(method, place, json=BODIES.get(path, {}))
                assert answer.status_code in (400, 401, 403, 404), (method, path, answer.text)
                if path in BODIES or "requestBody" not in found[path][method.lower()]:
                    assert answer.status_code in (401, 403), (method, path, answer.text)
        assert (calls.size(), live.main.size(), live.service.ledgers.names()) == before


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-agentledger-api-key": ""},
        {"x-agentledger-api-key": SECRET[:-1]},
        {"x-agentledger-api-key": SECRET + "x"},
        {"x-ledgergrid-api-key": "ÿ"},
        {"x-ledgergrid-api-key": "wrong", "Authorization": f"Bearer {SECRET}"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": SECRET},
    ],
)
def test_nothing_else_is_the_key(keyed: Live, headers: dict[str, str]) -> None:
    with pytest.raises(AccessError):
        find_caller(keyed.service, asking(headers))


def test_a_token_reads_calls_as_it_reads_elsewhere(keyed: Live) -> None:
    calls = keyed.service.ledgers.create("calls")
    for token, sees, role in (
        (keyed.tokens["admin"], True, "admin"),
        (keyed.tokens["reader"], True, "reader"),
        (keyed.token("reader", "main"), False, "reader"),
    ):
        caller = find_caller(keyed.service, asking({"x-ledgergrid-api-key": token}))
        assert (caller.sees(calls), caller.role) == (sees, role)


def test_without_a_key_this_machine_reads_the_calls(embedded: Live) -> None:
    calls = embedded.service.ledgers.create("calls")
    caller = find_caller(embedded.service, asking({}))
    assert caller.reader_of(calls) == OPERATOR
    assert not caller.sees(embedded.main)
    with pytest.raises(ForbiddenError):
        check_role(caller, "admin", calls)
    assert find_actor(embedded.service, asking({})) == Actor(), "elsewhere nobody is nobody"
    with pytest.raises(AccessError):
        find_caller(embedded.service, asking({"x-agentledger-api-key": "guessed"}))


def test_without_a_key_a_service_that_others_reach_shows_nothing(embedded: Live) -> None:
    service: Any = SimpleNamespace(settings=Settings(host="0.0.0.0"))
    with pytest.raises(AccessError):
        find_caller(service, asking({}))


def test_no_key_is_nobodys_key() -> None:
    assert not is_api_key(Settings(), "")
    assert not is_api_key(Settings(api_key=SecretStr("x")), "")
    assert is_api_key(Settings(api_key=SecretStr("x")), "x")


def test_the_key_counts_in_the_query_only_where_the_guard_took_it_out(keyed: Live) -> None:
    with pytest.raises(AccessError):
        find_caller(keyed.service, asking({}, query_string=f"api_key={SECRET}".encode()))
    assert find_caller(keyed.service, asking({}, **{QUERY_KEY: SECRET})).reads_all


def test_what_was_counted_of_calls_is_for_whoever_may_read_calls(keyed: Live) -> None:
    keyed.service.metrics.calls.count(make_ended())
    bound = keyed.token("reader", "main")
    sees = {"": False, bound: False, keyed.tokens["reader"]: True, SECRET: True}
    for secret, shown in sees.items():
        with keyed.http(token=secret) as http:
            text = http.get("/metrics").text
        assert "ledgergrid_http_requests_total" in text
        for told in ("gpt-5", "ledgergrid_call_cost", "ledgergrid_calls_total"):
            assert (told in text) is shown, (secret, told)


def test_without_a_key_this_machine_reads_what_was_counted_of_calls(embedded: Live) -> None:
    embedded.service.metrics.calls.count(make_ended())
    with embedded.http() as http:
        assert "ledgergrid_call_cost" in http.get("/metrics").text


# --- no secrets in logs ----------------------------------------------------------


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Catch what the service would write to standard error, at its most talkative."""
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


CANARY = "canary-7f3a9c"
PATHS = (
    "/",
    "/health",
    "/mcp",
    "/metrics",
    "/api/sessions",
    "/api/search?q=x",
    ROUTE,
    f"{ROUTE}/main",
    f"{ROUTE}/main/records",
    f"{ROUTE}/main/records:batch",
    f"{ROUTE}/main/keys",
    "/log/main/checkpoint",
    "/witness/add-checkpoint",
    "/explain/x",
    "/session/x",
    "/export/x",
    "/v1/chat/completions",
    "/v1/models",
    "//v1/messages",
)
CREDENTIALS = (
    "authorization",
    "x-ledgergrid-api-key",
    "x-agentledger-api-key",
    "x-ledgergrid-key",
    "api-key",
    "cookie",
    "proxy-authorization",
    "x-api-key",
    "x-request-id",
    "origin",
    "referer",
    "user-agent",
    "content-type",
)


@pytest.mark.parametrize("in_query", [False, True])
def test_no_secret_is_logged_or_answered_wherever_it_stands(
    lines: io.StringIO, tmp_path: Path, in_query: bool
) -> None:
    settings = Settings(
        data=tmp_path / "data",
        api_key=SecretStr(SECRET),
        api_key_in_query=in_query,
        upstream_url="http://127.0.0.1:1",
        log_level="debug",
    )
    with running(settings) as live, live.http() as http:
        answers = list(_send_secrets(http))
    told = "".join(f"{answer.headers}{answer.text}" for answer in answers)
    assert len(answers) > 300
    for text in (told, lines.getvalue()):
        assert CANARY not in text
        assert SECRET not in text
    assert [json.loads(line) for line in lines.getvalue().splitlines()]


def _send_secrets(http: httpx.Client) -> Iterator[httpx.Response]:
    # One that is let through, to an upstream that does not answer.
    known = {"x-ledgergrid-api-key": SECRET, "authorization": f"Bearer {CANARY}"}
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": CANARY}]}
    yield http.post("/v1/chat/completions", headers=known, json=body)
    yield http.post(f"/v1/messages?key={CANARY}", headers={**known, "x-api-key": CANARY}, json=body)
    for path in PATHS:
        mark = "&" if "?" in path else "?"
        for secret in (CANARY, SECRET):
            for method in ("GET", "POST", "DELETE"):
                yield http.request(method, f"{path}{mark}api_key={secret}")
            yield http.post(path, content=json.dumps({"api_key": secret}))
            yield http.post(path, content=f'"{secret}')
            for name in CREDENTIALS:
                value = f"Bearer {secret}" if name == "authorization" else f"{secret}!"
                yield http.request("POST", path, headers={name: value}, content=b"{}")
