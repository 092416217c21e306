"""An author's key in its file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ledger_core import ids
from ledger_core.errors import MalformedError, SettingsError
from ledger_core.formats import ed25519
from ledger_core.formats.vkey import parse_skey
from ledger_core.records.possession import possession_message
from ledgergrid import Signer


def test_a_key_comes_back_from_its_file(tmp_path: Path) -> None:
    made = Signer.make("robot-7")
    path = made.save(tmp_path / "keys" / "agent.key")
    loaded = Signer.load(path)
    assert (loaded.key, loaded.name) == (made.key, "robot-7")
    assert parse_skey(path.read_text().removesuffix("\n")).name == "robot-7"


def test_only_its_owner_can_read_a_key(tmp_path: Path) -> None:
    path = Signer.make().save(tmp_path / "agent.key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    path = Signer.make().save(tmp_path / "agent.key")
    before = path.read_text()
    with pytest.raises(SettingsError, match="never replaced"):
        Signer.make().save(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_that_anyone_can_read_is_refused(tmp_path: Path) -> None:
    path = Signer.make().save(tmp_path / "agent.key")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        Signer.load(path)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Signer\.make\(\)\.save"):
        Signer.load(tmp_path / "agent.key")


def test_neither_errors_nor_repr_show_a_private_key(tmp_path: Path) -> None:
    path = Signer.make().save(tmp_path / "agent.key")
    secret = path.read_text().rstrip().rpartition("+")[2]
    assert secret not in repr(Signer.load(path))
    path.write_text(path.read_text().replace("+agent+", "+agent+0"))
    with pytest.raises(MalformedError) as error:
        Signer.load(path)
    assert secret not in str(error.value)


def test_possession_of_a_key_is_proven_for_one_ledger() -> None:
    signer = Signer.make()
    signature = ids.decode_base64url(signer.prove_possession("a.example/log"), 64)
    message = possession_message("a.example/log", signer.key)
    ed25519.verify(ids.parse_key(signer.key), message, signature)
