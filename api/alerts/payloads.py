"""What a webhook is sent: the plain form, or that of a service that has its own.

Names of agents and sessions are claims, and end up in somebody's chat: whatever would mention,
link or format there is taken out of its meaning.
"""

from __future__ import annotations

from typing import Any, Literal

from ledger_core.records.types.alert import Alert

Format = Literal["generic", "slack", "discord", "pagerduty"]

_MICROUSD = 1_000_000
_IN_MICROUSD = frozenset({"high_cost", "daily_spend", "budget_exceeded"})
_TITLES = {
    "high_cost": "Expensive call",
    "high_latency": "Slow call",
    "high_error_rate": "Many calls fail",
    "daily_spend": "Spending today",
    "budget_exceeded": "Budget used up",
    "test": "Test",
}
_SEVERITIES = {"high_error_rate": "error", "budget_exceeded": "error", "test": "info"}
_HOSTS: tuple[tuple[str, Format], ...] = (
    ("hooks.slack.com", "slack"),
    ("hooks.slack-gov.com", "slack"),
    ("discord.com", "discord"),
    ("discordapp.com", "discord"),
    ("pagerduty.com", "pagerduty"),
)
_SUMMARY_CHARS = 1000


def guess_format(host: str) -> Format:
    """Return the form that a webhook at this host takes."""
    for name, form in _HOSTS:
        if host == name or host.endswith(f".{name}"):
            return form
    return "generic"


def to_plain(alert: Alert) -> dict[str, Any]:
    """Return the plain form: money in US dollars, where a record has micro-USD."""
    unit = _MICROUSD if alert.type in _IN_MICROUSD else 1
    return {
        "type": alert.type,
        "message": alert.message,
        "value": alert.value / unit,
        "threshold": alert.threshold / unit,
        "action_id": alert.action_id,
        "session_id": alert.session_id,
        "agent_name": alert.agent_name,
        "timestamp": alert.timestamp,
    }


def shape(plain: dict[str, Any], form: Format, key: str, pagerduty_key: str = "") -> dict[str, Any]:
    """Return the body to send. ``key``: two of one are one incident, where that is known."""
    if form == "slack":
        return _slack(plain)
    if form == "discord":
        return _discord(plain)
    if form == "pagerduty":
        return _pagerduty(plain, key, pagerduty_key)
    return plain


def _title(plain: dict[str, Any]) -> str:
    return f"LedgerGrid: {_TITLES[plain['type']]}"


def _details(plain: dict[str, Any]) -> list[tuple[str, str]]:
    named = (("Agent", "agent_name"), ("Session", "session_id"), ("Call", "action_id"))
    return [(title, str(plain[name])) for title, name in named if plain[name]]


def _slack(plain: dict[str, Any]) -> dict[str, Any]:
    def escape(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    lines = [f"{_title(plain)}. {plain['message']}"]
    lines += [f"{title}: {value}" for title, value in _details(plain)]
    # As plain text nothing in it is a link, a mention or a format.
    text = escape("\n".join(lines))[: _SUMMARY_CHARS * 2]
    section = {"type": "plain_text", "text": "\n".join(lines)[: _SUMMARY_CHARS * 2], "emoji": False}
    return {
        "text": text,
        "mrkdwn": False,
        "link_names": False,
        "unfurl_links": False,
        "blocks": [{"type": "section", "text": section}],
    }


def _discord(plain: dict[str, Any]) -> dict[str, Any]:
    def escape(text: str) -> str:
        return "".join(f"\\{char}" if char in "\\*_~`|>[]()#@<:-" else char for char in text)

    fields = [
        {"name": title, "value": escape(value)[:_SUMMARY_CHARS], "inline": True}
        for title, value in _details(plain)
    ]
    embed = {
        "title": _title(plain),
        "description": escape(plain["message"])[:_SUMMARY_CHARS],
        "timestamp": plain["timestamp"],
        "fields": fields,
    }
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _pagerduty(plain: dict[str, Any], key: str, pagerduty_key: str) -> dict[str, Any]:
    return {
        "routing_key": pagerduty_key,
        "event_action": "trigger",
        "dedup_key": key,
        "payload": {
            "summary": f"{_title(plain)}. {plain['message']}"[:_SUMMARY_CHARS],
            "source": "ledgergrid",
            "severity": _SEVERITIES.get(plain["type"], "warning"),
            "timestamp": plain["timestamp"],
            "custom_details": plain,
        },
    }
