"""Settings: from the environment, the command line first, and no secret in an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.proxy.rules import limits_of
from api.settings import PREFIX, Settings, load_settings, to_environment
from ledger_core.errors import SettingsError


def test_the_environment_is_read_and_the_command_line_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LEDGERGRID_PORT", "9000")
    monkeypatch.setenv("LEDGERGRID_WORKERS", "3")
    settings = load_settings(port=9001, workers=None)
    assert (settings.port, settings.workers) == (9001, 3)


def test_an_embedded_service_keeps_everything_in_its_folder() -> None:
    settings = Settings(data=Path("/srv/ledger"))
    assert settings.database_url == "sqlite:////srv/ledger/ledger.db"
    assert settings.sqlite_file == Path("/srv/ledger/ledger.db")
    assert settings.signer_memory_file == Path("/srv/ledger/signer.db")
    assert settings.key_store_file == Path("/srv/ledger/keys.db")


def test_a_service_on_postgresql_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGERGRID_DATABASE", "postgresql://me:secret@db/ledgers")
    settings = load_settings()
    assert settings.sqlite_file is None
    assert "secret" not in repr(settings)


def test_compatible_variables_are_read_where_ours_say_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGENTLEDGER_API_KEY", "theirs")
    monkeypatch.setenv("AGENTICLEDGER_API_KEY", "theirs, too")
    monkeypatch.setenv("AGENTICLEDGER_PORT", "9000")
    monkeypatch.setenv("AGENTLEDGER_DATA", "/nowhere")
    settings = load_settings()
    assert (settings.api_key.get_secret_value(), settings.port) == ("theirs", 9000)
    assert settings.data == Path("data")
    monkeypatch.setenv("LEDGERGRID_API_KEY", "ours")
    assert load_settings(port=9001).port == 9001
    assert load_settings().api_key.get_secret_value() == "ours"
    assert "ours" not in repr(load_settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "with a space"),
        ("API_KEY", "k" * 201),
        ("ALLOWED_HOSTS", "http://x"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("LOG_LEVEL", "loud"),
        ("ORIGIN_PREFIX", "a b"),
    ],
)
def test_a_setting_that_cannot_work_is_named_and_its_value_is_not(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingsError, match=PREFIX + name) as caught:
        load_settings()
    assert value not in str(caught.value)


def test_a_worker_gets_the_settings_of_its_parent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parent = load_settings(
        data=tmp_path, port=9000, workers=2, origin_prefix="log.example", api_key="k" * 32
    )
    for name, value in to_environment(parent).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == parent


def test_variables_made_for_other_proxies_are_read_where_ours_say_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {
        "UPSTREAM_URL": "https://openrouter.ai/api",
        "DSN": "sqlite:////srv/calls.db",
        "EXTRA_PATHS": "v2/chat",
        "BUDGET_SESSION": "1.50",
        "BUDGET_AGENT": "2",
        "BUDGET_DAILY": "3.000001",
        "BUDGET_ACTION": "warn",
        "RATE_LIMIT_RPM": "60",
        "RATE_LIMIT_SESSION_RPM": "",
        "PRICING": '{"mine": [1, 2]}',
    }
    for name, value in told.items():
        monkeypatch.setenv(f"AGENTLEDGER_{name}", value)
    monkeypatch.setenv("LEDGERGRID_BUDGET_AGENT", "5")
    settings = load_settings()
    assert settings.upstream_url == told["UPSTREAM_URL"]
    assert settings.database_url == told["DSN"]
    assert (settings.rate_limit_rpm, settings.rate_limit_session_rpm) == (60, None)
    limits = limits_of(settings)
    assert limits.budget_session_microusd == 1_500_000
    assert limits.budget_agent_microusd == 5_000_000
    assert limits.budget_daily_microusd == 3_000_001
    assert limits.budget_action == "warn"
