"""What webhooks are sent: names of agents are claims, and mention, link or format nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.alerts.payloads import guess_format, shape, to_plain
from ledger_core.records.types.alert import Alert

ALERT = Alert(
    type="high_cost",
    message="One call cost $1.5000; told from $1.0000 on.",
    timestamp="2026-08-01T10:11:12.345Z",
    value=1_500_000.0,
    threshold=1_000_000.0,
    action_id="act-1",
    session_id="s-1",
    agent_name="@everyone <!channel> [x](http://evil.example) *b*",
)


def test_the_plain_form_has_the_compatible_names_and_dollars() -> None:
    assert to_plain(ALERT) == {
        "type": "high_cost",
        "message": "One call cost $1.5000; told from $1.0000 on.",
        "value": 1.5,
        "threshold": 1.0,
        "action_id": "act-1",
        "session_id": "s-1",
        "agent_name": ALERT.agent_name,
        "timestamp": "2026-08-01T10:11:12.345Z",
    }


def test_times_and_shares_are_as_they_are() -> None:
    slow = Alert(
        type="high_latency", message="m", timestamp=ALERT.timestamp, value=900.0, threshold=500.0
    )
    plain = to_plain(slow)
    assert (plain["value"], plain["threshold"], plain["action_id"]) == (900.0, 500.0, None)


@pytest.mark.parametrize(
    ("host", "form"),
    [
        ("hooks.slack.com", "slack"),
        ("discord.com", "discord"),
        ("ptb.discord.com", "discord"),
        ("events.pagerduty.com", "pagerduty"),
        ("events.eu.pagerduty.com", "pagerduty"),
        ("example.org", "generic"),
        ("notdiscord.com", "generic"),
        ("discord.com.evil.example", "generic"),
    ],
)
def test_the_form_goes_by_the_host(host: str, form: str) -> None:
    assert guess_format(host) == form


def made(form: Any) -> dict[str, Any]:
    return shape(to_plain(ALERT), form, "key-1", "routing")


def test_slack_gets_text_in_which_nothing_is_a_mention() -> None:
    body = made("slack")
    assert "&lt;!channel&gt;" in body["text"]
    assert "<" not in body["text"]
    assert body["blocks"][0]["text"]["type"] == "plain_text"
    assert not body["mrkdwn"] and not body["link_names"]


def test_discord_gets_an_embed_that_mentions_nobody() -> None:
    body = made("discord")
    assert body["allowed_mentions"] == {"parse": []}
    agent = next(x for x in body["embeds"][0]["fields"] if x["name"] == "Agent")["value"]
    assert "\\@everyone" in agent
    assert "](" not in agent
    assert body["embeds"][0]["timestamp"] == ALERT.timestamp


def test_pagerduty_gets_an_event_of_version_2_that_is_one_incident_by_its_key() -> None:
    body = made("pagerduty")
    assert body["routing_key"] == "routing"
    assert body["event_action"] == "trigger"
    assert body["dedup_key"] == "key-1"
    assert body["payload"]["severity"] == "warning"
    assert body["payload"]["custom_details"]["value"] == 1.5
    assert body["payload"]["summary"].startswith("LedgerGrid: Expensive call.")


@pytest.mark.parametrize("form", ["generic", "slack", "discord", "pagerduty"])
def test_every_form_is_json_of_bounded_length(form: str) -> None:
    long = to_plain(ALERT) | {"message": "m" * 10_000, "agent_name": "a" * 500}
    assert len(json.dumps(shape(long, form, "k", "r"))) < 25_000  # type: ignore[arg-type]
