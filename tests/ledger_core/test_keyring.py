"""The keyring: one secret, kept by its owner alone, and every ledger's keys from it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger_core.errors import SettingsError
from ledger_core.keyring import Keyring, open_keyring


def test_the_same_secret_gives_the_same_keys_and_every_ledger_and_purpose_its_own() -> None:
    one, again, other = Keyring(b"\x01" * 32), Keyring(b"\x01" * 32), Keyring(b"\x02" * 32)
    assert one.log_signer("a").public == again.log_signer("a").public
    keys = {
        ring.operator(origin).public_key for ring in (one, other) for origin in ("a", "b", "a\n")
    }
    keys |= {ring.log_signer(o).public.public_key for ring in (one, other) for o in ("a", "b")}
    assert len(keys) == 10
    assert one.service_name() == again.service_name() != other.service_name()


def test_derivation_never_changes_because_ledgers_live_longer_than_versions() -> None:
    ring = Keyring(bytes(range(32)))
    assert ring.operator("ledgergrid.example/log1").public_key.hex()[:16] == "39b9ef4c2556868c"
    assert (
        ring.log_signer("ledgergrid.example/log1").public.public_key.hex()[:16]
        == "6cf7e6d84f873b68"
    )
    assert ring.service_name() == "2ea3d58c"


def test_a_secret_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    first = open_keyring(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_keyring(path).service_name() == first.service_name()
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_processes_that_start_together_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        rings = list(threads.map(lambda _: open_keyring(tmp_path / "secret"), range(8)))
    assert len({ring.service_name() for ring in rings}) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    open_keyring(tmp_path / "secret")
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        open_keyring(tmp_path / "secret")


@pytest.mark.parametrize("content", ["", "short", "A" * 44, "\x00" * 32])
def test_a_file_that_holds_no_secret_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError) as error:
        open_keyring(path)
    assert not content or content not in str(error.value)


def test_a_secret_of_another_length_is_refused() -> None:
    with pytest.raises(SettingsError):
        Keyring(b"\x01" * 31)
