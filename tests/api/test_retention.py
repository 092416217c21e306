"""Retention over HTTP and on the command line: the plan, then the orders."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.settings import Settings
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.types.charter import Founding
from tests.api.live import ROUTE, Author, Live, problem, running

SETTING = MutabilitySetting(type="note/1", keep_s={"body": 1})
PATH = f"{ROUTE}/brief/retention"


@pytest.fixture
def brief(live: Live) -> Live:
    """Give a service with a ledger that keeps notes for a second, and two notes in it."""
    ledger = live.service.ledgers.create("brief", founding=Founding(mutability=(SETTING,)))
    author = live.register(Author(ledger))
    with live.http() as http:
        for _ in range(2):
            assert http.post(f"{ROUTE}/brief/records", content=author.line()).status_code == 201
    time.sleep(1.1)
    return live


def test_the_plan_is_shown_and_carried_out_upon_request(brief: Live) -> None:
    with brief.http("admin") as http:
        (due,) = http.get(PATH).json()["due"]
        assert (due["type"], due["part"], due["count"], due["held"]) == ("note/1", "body", 2, 0)
        assert due["oldest"] <= due["newest"] < due["before"]
        done = http.post(PATH, json={})
        assert done.status_code == 201
        (order,) = done.json()["orders"]
        assert order["count"] == 2
        assert http.get(PATH).json() == {"due": []}
        entry = http.get(f"{ROUTE}/brief/entries/2").json()
        assert entry["parts"]["body"]["status"] == "erased"


def test_only_an_admin_may_look_and_order(brief: Live) -> None:
    for method in ("GET", "POST"):
        with brief.http("reader") as http:
            assert problem(http.request(method, PATH)) == (403, "forbidden")
        with brief.http() as http:
            assert problem(http.request(method, PATH))[0] == 401


def test_the_command_tells_the_plan_in_words_and_in_json(
    brief: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGERGRID_TOKEN", brief.tokens["admin"])
    options = ["--ledger", "brief", "--url", brief.url]
    told = CliRunner().invoke(app, ["retention", "plan", *options]).output
    assert "body of note/1: 2 kept longer than 1 s, received 20" in told
    plan = CliRunner().invoke(app, ["retention", "plan", "--json", *options]).output
    assert json.loads(plan)["due"][0]["count"] == 2
    assert "ordered by entry 4" in CliRunner().invoke(app, ["retention", "run", *options]).output
    assert CliRunner().invoke(app, ["retention", "plan", *options]).output == "nothing is due\n"
    assert CliRunner().invoke(app, ["retention", "run", *options]).output == "nothing is due\n"


def test_the_service_erases_by_itself_what_the_schedule_says(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", retention_interval_s=1, key_backup_days=30)
    with running(settings) as live:
        ledger = live.service.ledgers.create("brief", founding=Founding(mutability=(SETTING,)))
        author = live.register(Author(ledger))
        with live.http() as http:
            http.post(f"{ROUTE}/brief/records", content=author.line())
        end_s = time.monotonic() + 30
        while ledger.size() < 5 and time.monotonic() < end_s:
            time.sleep(0.1)
        done = ledger.entry(4).parts["body"].data
        assert b'"parts":1' in done
        assert b'"backups_until":"20' in done
