"""What a real browser does to a service on this machine when a stranger's page tells it to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from playwright.sync_api import Page

from tests.api.captured import Captured
from tests.api.live import ROUTE, Live
from tests.support.browsing import browser

STRANGER = "attacker.example"

ATTACK = """
async ([service, ledgers]) => {
  const told = {};
  const send = async (name, path, options) => {
    try {
      const answer = await fetch(service + path, options);
      told[name] = answer.type === "opaque" ? "opaque" : answer.status + " " + await answer.text();
    } catch (error) { told[name] = "blocked"; }
  };
  const json = {"content-type": "application/json"};
  const form = new URLSearchParams({name: "stolen"});
  await send("form", ledgers, {method: "POST", mode: "no-cors", body: form});
  await send("blob", ledgers, {method: "POST", mode: "no-cors", body: new Blob(["{}"])});
  await send("plain", ledgers, {method: "POST", mode: "no-cors", body: '{"name":"stolen"}'});
  await send("json", ledgers, {method: "POST", headers: json, body: '{"name":"stolen"}'});
  await send("tools", "/mcp", {method: "POST", mode: "no-cors", body: "{}"});
  await send("call", "/v1/chat/completions", {method: "POST", mode: "no-cors", body: "{}"});
  await send("erase", "/api/sessions/s", {method: "DELETE"});
  await send("read", "/api/sessions", {});
  await send("peek", "/api/sessions", {mode: "no-cors"});
  await send("export", "/export/s", {mode: "no-cors"});
  await send("log", "/log/open/checkpoint", {});
  told.socket = await new Promise((resolve) => {
    const socket = new WebSocket(service.replace("http", "ws") + "/ws");
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("refused");
  });
  return told;
}
"""


class _Stranger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Nice pictures</title>")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def strangers_page() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def visiting(url: str) -> Iterator[Page]:
    # Names of the stranger's lead to this machine, as after a rebinding.
    with browser(f"--host-resolver-rules=MAP {STRANGER} 127.0.0.1") as started:
        page = started.new_page()
        page.goto(url)
        yield page


def test_a_strangers_page_reads_nothing_and_changes_nothing(embedded: Live) -> None:
    captured = Captured(embedded)
    captured.call("What is the password?", "It is hunter2.", session_id="s")
    captured.settle()
    embedded.service.ledgers.create("open", kind="public")
    names, size = embedded.service.ledgers.names(), captured.ledger.size()
    with strangers_page() as port, visiting(f"http://{STRANGER}:{port}/") as page:
        told = page.evaluate(ATTACK, [embedded.url, ROUTE])
    public = told.pop("log")
    assert public.startswith("200 ")
    assert set(told.values()) <= {"blocked", "opaque", "refused"}, told
    assert told["socket"] == "refused"
    assert embedded.service.ledgers.names() == names
    assert captured.ledger.size() == size


def test_a_name_rebound_to_this_machine_shows_nothing(embedded: Live) -> None:
    captured = Captured(embedded)
    captured.call("What is the password?", "It is hunter2.", session_id="s")
    captured.settle()
    port = embedded.url.rpartition(":")[2]
    with visiting(f"http://{STRANGER}:{port}/api/sessions") as page:
        assert "misdirected" in page.content()
        told = page.evaluate(ATTACK, ["", ROUTE])
    assert told.pop("socket") == "refused"
    assert all(answer.startswith("421 ") or answer == "opaque" for answer in told.values()), told


def test_a_page_of_our_own_host_reads_what_this_machine_reads(embedded: Live) -> None:
    captured = Captured(embedded)
    captured.call("q", "a", session_id="s")
    captured.settle()
    with visiting(f"{embedded.url}/api/sessions") as page:
        told = page.evaluate(ATTACK, ["", ROUTE])
    assert '"session_id":"s"' in told["read"]
    assert told["socket"] == "open"
    assert told["json"].startswith("401 "), "what governs needs a token, here too"
    assert told["erase"].startswith("401 ") or told["erase"].startswith("403 ")
