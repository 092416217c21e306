"""Alerts of a running service: settings, calls that go by, the log, the webhook, the routes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from api.settings import Settings, load_settings, to_environment
from ledger_core.capturing import open_capture_ledger
from ledger_core.clock import format_time, now_ms
from ledger_core.errors import SettingsError
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.submission import format_submission
from ledger_core.ledger import Ledger
from ledger_core.subjects import erase_subject
from tests.api.live import Author as Registered
from tests.api.live import Live, problem, running
from tests.support.ended import make_call, make_ended
from tests.support.ledgers import Author
from tests.support.otlp import receiving
from tests.support.webhooks import Hook, hooked
from verifier.audit import Options, verify

ALERTS = "/api/v1/alerts"


@contextmanager
def alerting(folder: Path, hook: Hook | None = None, **chosen: Any) -> Iterator[Live]:
    """Run a service that tells of dear calls, with the ledger that calls are captured in."""
    url = f"http://127.0.0.1:{hook.port}/T0/SECRET" if hook else ""
    settings = Settings(
        data=folder / "data",
        alert_allow_private=True,
        alert_webhook_url=SecretStr(url),
        alert_cost_per_call="0.5",  # type: ignore[arg-type]
        **chosen,
    )
    with running(settings) as live:
        open_capture_ledger(live.service.ledgers, "calls")
        yield live


def wait_for_alerts(live: Live, count: int) -> list[dict[str, Any]]:
    end_s = time.monotonic() + 10
    found: list[dict[str, Any]] = []
    with live.http() as http:
        while len(found) < count and time.monotonic() < end_s:
            found = http.get(ALERTS).json()["alerts"]
            time.sleep(0.05)
    assert len(found) == count
    return found


def test_a_dear_call_is_told_to_the_webhook_and_listed(tmp_path: Path) -> None:
    with hooked() as hook, alerting(tmp_path, hook) as live:
        live.service.feed.publish(make_ended(cost_microusd=600_000))
        (body,) = hook.wait_for(1)
        (listed,) = wait_for_alerts(live, 1)
        with live.http() as http:
            text = http.get("/metrics").text
    assert listed == {"index": listed["index"], **body}
    assert (body["type"], body["value"], body["threshold"]) == ("high_cost", 0.6, 0.5)
    assert 'ledgergrid_alerts_total{outcome="delivered",type="high_cost"} 1.0' in text
    assert 'ledgergrid_calls_total{model="gpt-5",provider="openai",status="2xx"} 1.0' in text


def test_an_archive_with_alerts_in_it_verifies_offline(tmp_path: Path) -> None:
    path = tmp_path / "calls.zip"
    with alerting(tmp_path) as live:
        live.service.feed.publish(make_ended(cost_microusd=600_000))
        wait_for_alerts(live, 1)
        path.write_bytes(b"".join(live.service.ledgers.get("calls").export(0, None, "auditor")))
    verdict = verify(Options(archive=path))
    assert verdict.findings.first() is None


def test_an_alert_that_was_erased_is_listed_by_its_entry_alone(tmp_path: Path) -> None:
    with alerting(tmp_path) as live:
        ledger = live.service.ledgers.get("calls")
        live.service.feed.publish(make_ended(cost_microusd=600_000))
        wait_for_alerts(live, 1)
        erase_subject(ledger, "session:s-1")
        end_s = time.monotonic() + 20
        listed = wait_for_alerts(live, 1)[0]
        while listed["type"] is not None and time.monotonic() < end_s:
            time.sleep(0.1)
            (listed,) = wait_for_alerts(live, 1)
    assert listed == dict.fromkeys(listed) | {"index": listed["index"]}


def test_alerts_are_listed_page_by_page_the_newest_first(tmp_path: Path) -> None:
    with alerting(tmp_path) as live:
        for n in range(5):
            live.service.feed.publish(make_ended(cost_microusd=600_000, agent_name=f"a-{n}"))
        wait_for_alerts(live, 5)
        with live.http() as http:
            first = http.get(ALERTS, params={"limit": 3}).json()
            rest = http.get(ALERTS, params={"limit": 3, "cursor": first["next"]}).json()
    assert [each["agent_name"] for each in first["alerts"]] == ["a-4", "a-3", "a-2"]
    assert [each["agent_name"] for each in rest["alerts"]] == ["a-1", "a-0"]
    assert rest["next"] is None


def test_what_is_spent_in_a_day_is_read_from_all_calls_in_the_log(tmp_path: Path) -> None:
    with alerting(tmp_path, alert_daily_spend="1") as live:
        ledger = live.service.ledgers.get("calls")
        agent = live.register(Registered(ledger))
        # Three calls that another process served: this one hears only of a cheap one.
        for n in range(3):
            record_call(ledger, agent.private, f"act-{n}", 400_000)
        ledger.wait_until_searchable(ledger.size(), 10)
        live.service.feed.publish(make_ended())
        (listed,) = wait_for_alerts(live, 1)
    assert (listed["type"], listed["value"], listed["threshold"]) == ("daily_spend", 1.2, 1.0)


def record_call(ledger: Ledger, key: PrivateKey, action_id: str, microusd: int) -> None:
    call = make_call(action_id=action_id, cost_microusd=microusd, timestamp=format_time(now_ms()))
    sealed = Author(ledger.origin, key).seal("llm.call/2", {"call": msgspec.json.encode(call)})
    outcome = ledger.append([sealed])[0]
    assert not isinstance(outcome, Exception), (outcome, format_submission(sealed))


def test_before_the_first_call_there_are_no_alerts(embedded: Live) -> None:
    with embedded.http() as http:
        assert http.get(ALERTS).json() == {"alerts": [], "next": None}


def test_a_stranger_reads_no_alerts_where_there_is_a_key(tmp_path: Path) -> None:
    with alerting(tmp_path, api_key=SecretStr("k" * 32)) as live, live.http() as http:
        assert problem(http.get(ALERTS)) == (401, "unauthorized")
        headers = {"x-agentledger-api-key": "k" * 32}
        assert http.get(ALERTS, headers=headers).status_code == 200


def test_an_admin_may_try_the_webhook(tmp_path: Path) -> None:
    with hooked() as hook, alerting(tmp_path, hook) as live:
        size = live.service.ledgers.get("calls").size()
        with live.http("admin") as admin, live.http("reader") as reader, live.http() as nobody:
            assert admin.post(f"{ALERTS}/test").json() == {"delivered": True, "reason": None}
            hook.statuses = [410]
            failed = admin.post(f"{ALERTS}/test")
            assert problem(reader.post(f"{ALERTS}/test")) == (403, "forbidden")
            assert problem(nobody.post(f"{ALERTS}/test")) == (401, "unauthorized")
        assert live.service.ledgers.get("calls").size() == size
    assert hook.bodies[0]["type"] == "test"
    assert failed.json() == {"delivered": False, "reason": "127.0.0.1 answered 410"}
    assert "SECRET" not in failed.text


def test_without_a_webhook_there_is_nothing_to_try(embedded: Live) -> None:
    with embedded.http("admin") as http:
        assert problem(http.post(f"{ALERTS}/test")) == (404, "not-found")


def test_a_service_sends_spans_and_stops_though_the_collector_hangs(tmp_path: Path) -> None:
    with receiving() as receiver:
        settings = Settings(data=tmp_path / "data", otel_endpoint=receiver.url, otel_timeout_s=20)
        with running(settings) as live:
            live.service.feed.publish(make_ended())
            receiver.wait_for(1)
            with live.http() as http:
                text = http.get("/metrics").text
            receiver.hang_s = 30
            live.service.feed.publish(make_ended(action_id="act-2"))
            stopping_s = time.monotonic()
        assert time.monotonic() - stopping_s < 12
    assert 'ledgergrid_spans_total{outcome="sent"} 1.0' in text


# --- settings ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_ENDPOINT", "localhost:4318"),
        ("OTEL_ENDPOINT", "http://user:sesame@localhost:4318"),
        ("OTEL_HEADERS", "authorization"),
        ("OTEL_HEADERS", "authorization=sesame%0d%0ax-evil: 1"),
        ("ALERT_WEBHOOK_URL", "http://hooks.example/sesame"),
        ("ALERT_WEBHOOK_URL", "ftp://hooks.example/sesame"),
        ("ALERT_ERROR_RATE", "50"),
        ("ALERT_COST_PER_CALL", "-1"),
    ],
)
def test_settings_that_cannot_work_are_named_and_secrets_in_them_are_not_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"LEDGERGRID_{name}", value)
    with pytest.raises(SettingsError, match=f"LEDGERGRID_{name}") as caught:
        load_settings()
    assert "sesame" not in str(caught.value)


def test_setups_of_other_tools_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTLEDGER_OTEL_ENDPOINT", "http://collector:4318/")
    monkeypatch.setenv("AGENTLEDGER_OTEL_HEADERS", "x-team=abc==, authorization=Bearer%20b")
    monkeypatch.setenv("AGENTLEDGER_ALERT_WEBHOOK_URL", "https://hooks.slack.com/services/T/B/x")
    monkeypatch.setenv("AGENTLEDGER_ALERT_COST_PER_CALL", "0.50")
    monkeypatch.setenv("AGENTLEDGER_ALERT_ERROR_RATE", "")
    settings = load_settings()
    assert settings.otel_traces_url == "http://collector:4318/v1/traces"
    assert settings.otel_header_fields == {"x-team": "abc==", "authorization": "Bearer b"}
    assert str(settings.alert_cost_per_call) == "0.50"
    assert settings.alert_error_rate is None
    assert "hooks.slack.com" not in repr(settings)
    for name, value in to_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
