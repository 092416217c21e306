"""Settings: what cannot work is refused at once, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger_core.errors import MalformedError, SettingsError
from ledger_core.formats import ed25519
from ledger_core.formats.trust_policy import parse_trust_policy
from ledger_core.formats.vkey import LogKey, WitnessKey, format_vkey
from ledgergrid import Ledger, Signer, StrangeLogKeyError
from tests.support.peer import ORIGIN, Peer

SIGNER = Signer.make()


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://ledger.example",
        "https://",
        "https://agent:password@ledger.example",
        "https://ledger.example?token=1",
        "https://ledger.example#main",
        "https://[::1",
    ],
)
def test_an_address_that_cannot_be_a_ledgers_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="url"):
        Ledger(url, ledger="main", signer=SIGNER, state_dir=tmp_path)


@pytest.mark.parametrize("name", ["", "Main", "../main", "main/records"])
def test_a_name_that_cannot_be_a_ledgers_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(MalformedError):
        Ledger("https://ledger.example", ledger=name, signer=SIGNER, state_dir=tmp_path)


def test_each_ledger_has_a_folder_of_its_own_under_the_servers(tmp_path: Path) -> None:
    addresses = [
        ("https://ledger.example", "a"),
        ("https://ledger.example", "b"),
        ("https://ledger.example/under", "a"),
        ("https://ledger.example:8443", "a"),
    ]
    folders = set()
    for url, name in addresses:
        with Ledger(f"{url}/", ledger=name, signer=SIGNER, state_dir=tmp_path) as ledger:
            folders.add(ledger.state_dir)
            assert ledger.state_dir.is_relative_to(tmp_path)
    assert len(folders) == 4


def test_state_lies_in_the_users_data_folder_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with Ledger("https://ledger.example", ledger="main", signer=SIGNER) as ledger:
        assert ledger.state_dir == tmp_path / "ledgergrid" / "ledger.example" / "main"


def test_a_key_and_a_policy_at_once_are_refused(tmp_path: Path, peer: Peer) -> None:
    policy = parse_trust_policy(f"log {peer.log.vkey}\nquorum none\n".encode())
    with pytest.raises(SettingsError, match="not both"):
        Ledger(peer.url, ledger="main", signer=SIGNER, log_key=peer.log.vkey, trust=policy)


def test_a_witness_is_no_log(tmp_path: Path) -> None:
    key = format_vkey(WitnessKey("w.example", ed25519.PrivateKey.generate().public_key))
    with pytest.raises(SettingsError, match="witness"):
        Ledger("https://ledger.example", ledger="main", signer=SIGNER, log_key=key)


def test_a_policy_of_several_logs_is_settled_by_the_ledgers_own_name(
    tmp_path: Path, peer: Peer
) -> None:
    other = format_vkey(LogKey("other.example/log", ed25519.PrivateKey.generate().public_key))
    text = f"log {other}\nlog {peer.log.vkey}\nquorum none\n"
    with Ledger(
        peer.url,
        ledger="main",
        signer=SIGNER,
        state_dir=tmp_path,
        trust=parse_trust_policy(text.encode()),
    ) as ledger:
        assert ledger.append("note/1", 1).checkpoint.origin == ORIGIN


def test_a_ledger_outside_the_policy_is_refused(tmp_path: Path, peer: Peer) -> None:
    keys = [ed25519.PrivateKey.generate().public_key for _ in range(2)]
    vkeys = [format_vkey(LogKey(f"{n}.example/log", key)) for n, key in enumerate(keys)]
    text = "".join(f"log {vkey}\n" for vkey in vkeys) + "quorum none\n"
    with (
        Ledger(
            peer.url,
            ledger="main",
            signer=SIGNER,
            state_dir=tmp_path,
            trust=parse_trust_policy(text.encode()),
        ) as ledger,
        pytest.raises(StrangeLogKeyError),
    ):
        ledger.append("note/1", 1)
