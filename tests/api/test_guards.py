"""The outer guard: who is let in, and what browsers are told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.types import Message, Receive, Scope, Send

from api.app import create_app
from api.guards import PROXIED, QUERY_KEY, Guard, Hosts, check_exposure, name_in
from api.settings import Settings
from ledger_core.errors import SettingsError
from tests.api.live import ROUTE, Live, problem

KEY = SecretStr("k" * 32)
LOCAL = "localhost:8080"


class Seen(dict[str, Any]):
    """A request that came through, as its scope."""


def knock(settings: Settings, *headers: tuple[str, str], **chosen: Any) -> tuple[int, Seen]:
    """Send one request at a guard; return status and the scope that came through."""
    said = [(name.lower().encode(), value.encode()) for name, value in headers]
    if not any(name == b"host" for name, _ in said):
        said.insert(0, (b"host", LOCAL.encode()))
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/sessions",
        "query_string": b"",
        "server": ("127.0.0.1", 8080),
        "headers": said,
        **chosen,
    }
    passed, sent = Seen(), list[Message]()

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        passed.update(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Guard(inner, settings)(scope, receive, send))
    passed["answered"] = dict(sent[0].get("headers", ()))
    return sent[0].get("status", sent[0].get("code", 101)), passed


# --- exposure --------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "ledger.example.org"])
def test_an_address_that_others_reach_needs_a_key(tmp_path: Path, host: str) -> None:
    exposed = Settings(data=tmp_path / "data", host=host)
    with pytest.raises(SettingsError, match="LEDGERGRID_API_KEY"):
        check_exposure(exposed)
    with pytest.raises(SettingsError, match="LEDGERGRID_API_KEY"):
        create_app(exposed)
    assert not (tmp_path / "data").exists()
    check_exposure(Settings(host=host, api_key=KEY))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_the_loopback_address_needs_none(host: str) -> None:
    check_exposure(Settings(host=host))


def test_whoever_started_it_another_way_serves_nobody_without_a_key() -> None:
    """``uvicorn --host 0.0.0.0 api.app:app_from_environment`` knows nothing of our setting."""
    elsewhere = {"server": ("192.168.1.5", 8080), "method": "GET"}
    assert knock(Settings(), **elsewhere)[0] == 403
    assert knock(Settings(api_key=KEY), **elsewhere)[0] == 200
    assert knock(Settings(), server=("::ffff:127.0.0.1", 1), method="GET")[0] == 200
    assert knock(Settings(), server=("/run/ledgergrid.socket", None), method="GET")[0] == 200


def test_a_container_does_not_start_without_a_key() -> None:
    root = Path(__file__).resolve().parents[2]
    (command,) = re.findall(r"^CMD (\[.*\])$", (root / "Dockerfile").read_text("utf-8"), re.M)
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    started = subprocess.run(
        [sys.executable, "-m", "api.cli", *json.loads(command)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 1
    assert started.stderr.startswith("ledgergrid: listening on 0.0.0.0 lets others in: set LEDGER")
    assert len(started.stderr.splitlines()) == 1
    composed = (root / "deploy/compose.yaml").read_text("utf-8")
    assert "LEDGERGRID_API_KEY: ${LEDGERGRID_API_KEY:?" in composed


# --- Host ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", LOCAL, "LocalHost.:1", "127.0.0.1:8080", "[::1]:8080", "127.4.5.6"]
)
def test_a_loopback_host_is_let_in(host: str) -> None:
    assert knock(Settings(), ("Host", host), method="GET")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "attacker.example",
        "127.0.0.1.attacker.example",
        "localhost.attacker.example:8080",
        "attacker.example@localhost",
        "localhost/..",
        "127.1",
        "[::1",
        "192.168.1.5",
        "localhost:8080:1",
        "localhost, attacker.example",
        "löcalhost",
    ],
)
def test_a_name_that_was_rebound_to_this_machine_is_not(host: str) -> None:
    assert knock(Settings(), ("Host", host), method="GET")[0] == 421


TRICKY = st.text("localhst127.0:[]@/\\#?,% \t\x00é-_*", max_size=24).map(
    lambda text: text.encode("latin-1")
)


@given(TRICKY | st.binary(max_size=40))
def test_whatever_stands_in_host_only_a_loopback_name_is_let_in(host: bytes) -> None:
    """Judged again by another reading of an authority: Python's own."""
    known = Hosts(Settings()).knows_authority(host)
    try:
        parts = urlsplit(f"http://{host.decode('latin-1')}/")
        name, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        assert not known
        return
    if known:
        assert name == "localhost" or ip_address(name).is_loopback
        assert parts.username is None
        assert port is None or port >= 0


@given(TRICKY | st.binary(max_size=40), st.sampled_from([b"localhost:8080", b"a.example"]))
def test_whatever_stands_in_origin_only_our_own_is_let_in(origin: bytes, host: bytes) -> None:
    hosts = Hosts(Settings(allowed_hosts="a.example"))
    if hosts.lets_in(origin, host):
        asked = origin.partition(b"://")[2].lower()
        assert asked == host or name_in(asked) == "a.example"


def test_two_hosts_are_none() -> None:
    assert knock(Settings(), ("Host", LOCAL), ("Host", LOCAL), method="GET")[0] == 421


def test_hosts_that_are_listed_are_let_in() -> None:
    settings = Settings(allowed_hosts="ledger.example.org, *.internal.example, [fd00::1]")
    for host, status in {
        "ledger.example.org": 200,
        "ledger.example.org:443": 200,
        "sub.ledger.example.org": 421,
        "a.b.internal.example": 200,
        "internal.example": 421,
        "[fd00::1]:80": 200,
    }.items():
        assert knock(settings, ("Host", host), method="GET")[0] == status, host


def test_an_address_is_as_good_as_the_host_where_the_service_listens_on_all() -> None:
    everywhere = Settings(host="0.0.0.0", api_key=KEY)
    assert knock(everywhere, ("Host", "10.0.0.7:8080"), method="GET")[0] == 200
    assert knock(everywhere, ("Host", "attacker.example"), method="GET")[0] == 421
    named = Settings(host="ledger.example.org", api_key=KEY)
    assert knock(named, ("Host", "Ledger.example.org:8080"), method="GET")[0] == 200
    assert knock(named, ("Host", "10.0.0.7"), method="GET")[0] == 421


@pytest.mark.parametrize("value", ["https://a.example", "a.example:80", "*", "a b", "*.", "a/b"])
def test_a_listed_host_that_is_none_stops_the_start(value: str) -> None:
    with pytest.raises(ValueError, match="allowed_hosts"):
        Settings(allowed_hosts=value)


# --- Origin ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize(
    "header",
    [
        ("Origin", "https://attacker.example"),
        ("Origin", "http://localhost:3000"),
        ("Origin", "http://localhost:8080.attacker.example"),
        ("Origin", "null"),
        ("Origin", ""),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ],
)
def test_a_page_of_another_origin_changes_nothing(method: str, header: tuple[str, str]) -> None:
    for path in ("/api/sessions", "/v1/chat/completions", "//v1/x", "/mcp"):
        assert knock(Settings(), header, method=method, path=path)[0] == 403


def test_a_page_of_our_own_or_of_a_listed_host_does() -> None:
    own = ("Origin", "http://localhost:8080")
    assert knock(Settings(), own, ("Sec-Fetch-Site", "same-origin"))[0] == 200
    assert knock(Settings(), ("Sec-Fetch-Site", "none"))[0] == 200
    listed = Settings(allowed_hosts="app.example.org")
    page = ("Origin", "https://app.example.org")
    assert knock(listed, page, ("Sec-Fetch-Site", "cross-site"))[0] == 200
    assert knock(listed, page, page)[0] == 403


def test_who_is_no_browser_and_who_only_reads_passes() -> None:
    assert knock(Settings())[0] == 200
    assert knock(Settings(), ("Origin", "https://a.example"), method="GET")[0] == 200


VISIT = (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"))


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_origin_makes_us_do_no_work(site: str) -> None:
    """An export reads a whole session: an image of a stranger's page must not cause one."""
    headers = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")]
    for path in ("/export/s-1", "/api/sessions", "/session/s-1", "/", "/v1/models", "/metrics"):
        assert knock(Settings(), *headers, method="GET", path=path)[0] == 403, path
    for path in ("/log/open/checkpoint", "/api/v1/ledgers/open/entries", "/healthz"):
        assert knock(Settings(), *headers, method="GET", path=path)[0] == 200, path


def test_a_page_of_another_origin_may_lead_to_a_page_of_ours() -> None:
    to_page, to_frame = ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Dest", "iframe")
    for path in ("/", "/session/s-1", "/explain/a-1", "/export/s-1/report"):
        assert knock(Settings(), *VISIT, to_page, method="GET", path=path)[0] == 200
        assert knock(Settings(), *VISIT, to_frame, method="GET", path=path)[0] == 403
    for path in ("/api/search", "/metrics", "/v1/models"):
        assert knock(Settings(), *VISIT, to_page, method="GET", path=path)[0] == 403


def test_a_websocket_from_another_origin_is_refused() -> None:
    """WebSockets know no same-origin rule of their own."""
    chosen = {"type": "websocket", "path": "/ws", "method": None}
    assert knock(Settings(), ("Origin", "https://attacker.example"), **chosen)[0] == 1008
    assert knock(Settings(), ("Host", "attacker.example"), **chosen)[0] == 1008
    assert knock(Settings(), ("Origin", "http://localhost:8080"), **chosen)[0] == 101
    assert knock(Settings(), **chosen)[0] == 101


def test_nothing_is_judged_by_what_a_proxy_forwards() -> None:
    forged = [("X-Forwarded-Host", "localhost"), ("Forwarded", "host=localhost;for=127.0.0.1")]
    assert knock(Settings(), ("Host", "attacker.example"), *forged)[0] == 421
    local = [("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "127.0.0.1")]
    assert knock(Settings(), *local, server=("10.0.0.7", 8080))[0] == 403


# --- content types ---------------------------------------------------------------


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
     "text/plain;application/json", "application/jsonp", "x/y, application/json"],
)  # fmt: skip
def test_our_own_api_takes_nothing_that_a_form_could_send(media_type: str) -> None:
    headers = [("Content-Type", media_type), ("Content-Length", "2")]
    assert knock(Settings(), *headers)[0] == 415
    assert knock(Settings(), *headers, path="/mcp")[0] == 415
    assert knock(Settings(), *headers, path="/v1/files")[0] == 200


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "Application/JSON; charset=utf-8", "application/x-ndjson",
     "application/vnd.ledgergrid.record+json"],
)  # fmt: skip
def test_our_own_api_takes_json(media_type: str) -> None:
    assert knock(Settings(), ("Content-Type", media_type), ("Content-Length", "2"))[0] == 200


def test_who_names_no_content_type_passes_unless_it_is_a_browser() -> None:
    length = ("Content-Length", "2")
    assert knock(Settings(), length)[0] == 200
    assert knock(Settings(), length, ("Origin", "http://localhost:8080"))[0] == 415
    chunked = ("Transfer-Encoding", "chunked")
    assert knock(Settings(), chunked, ("Sec-Fetch-Site", "same-origin"))[0] == 415


# --- answers ---------------------------------------------------------------------


def test_browsers_are_told_what_they_may_do_with_a_page() -> None:
    _, seen = knock(Settings(), method="GET")
    answered = seen["answered"]
    assert answered[b"x-content-type-options"] == b"nosniff"
    assert answered[b"referrer-policy"] == b"no-referrer"
    assert answered[b"cross-origin-resource-policy"] == b"same-origin"
    policy = answered[b"content-security-policy"]
    for rule in (b"default-src 'self'", b"script-src 'self'", b"frame-ancestors 'none'"):
        assert rule in policy


def test_what_the_proxy_relays_is_not_touched() -> None:
    plain = {b"content-type": b"text/html"}
    assert knock(Settings(), path="/v1/chat/completions")[1]["answered"] == plain
    assert knock(Settings(), path="/other", **{PROXIED: True})[1]["answered"] == plain


def test_every_answer_of_ours_is_dressed_refusals_too(embedded: Live) -> None:
    with embedded.http() as http:
        health = http.get("/healthz")
        missing = http.get("/nothing")
        refused = http.post(f"{ROUTE}/main/records", content=b"{}", headers={"Host": "a.example"})
        crossed = http.post(f"{ROUTE}/main/records", headers={"Origin": "https://a.example"})
        form = http.post(ROUTE, data={"name": "x"})
    assert problem(refused) == (421, "misdirected")
    assert problem(crossed) == (403, "cross-site")
    assert problem(form) == (415, "media-type")
    for answer in (health, missing, refused, crossed, form):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]
        assert "access-control-allow-origin" not in answer.headers


def test_a_public_log_is_audited_by_browsers_of_every_origin(embedded: Live) -> None:
    embedded.service.ledgers.create("open", kind="public")
    with embedded.http() as http:
        public = http.get("/log/open/checkpoint", headers={"Origin": "https://monitor.example"})
        hidden = http.get("/log/main/checkpoint", headers={"Origin": "https://monitor.example"})
    assert (public.status_code, hidden.status_code) == (200, 401)
    assert public.headers["access-control-allow-origin"] == "*"
    with embedded.http("reader") as http:
        shown = http.get("/log/main/checkpoint")
    assert shown.status_code == 200
    assert "access-control-allow-origin" not in shown.headers


# --- the key in a query ----------------------------------------------------------


def test_a_key_in_the_query_is_taken_out_of_it_where_that_is_set() -> None:
    query = {"query_string": b"q=a+b&api_key=s%2Bx&limit=3", "method": "GET"}
    _, seen = knock(Settings(api_key_in_query=True), **query)
    assert (seen["query_string"], seen[QUERY_KEY]) == (b"q=a+b&limit=3", "s+x")
    _, seen = knock(Settings(), **query)
    assert QUERY_KEY not in seen
    _, seen = knock(Settings(api_key_in_query=True), **query, path="/v1/models")
    assert seen["query_string"] == query["query_string"]


def test_a_host_is_read_out_of_an_authority_in_one_way() -> None:
    assert name_in(b"A.Example.:80") == "a.example"
    assert name_in(b"[::1]") == "::1"
    assert name_in(b".") is None
    assert name_in(b"a.example:") is None
