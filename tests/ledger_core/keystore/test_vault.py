"""Vault wraps keys: many in a request, and whatever it does wrong is an error without secrets."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ledger_core.errors import SettingsError, StorageError
from ledger_core.keystore.model import make_keys
from ledger_core.keystore.vault import VaultPlace, VaultTransit
from tests.support.vault import TOKEN, Answer, FakeVault, a_vault, keep_the_rules, place_of

KEYS = [key.key for key in make_keys(7)]


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with a_vault() as vault:
        yield vault


@pytest.fixture
def place(vault: FakeVault, tmp_path: Path) -> VaultPlace:
    return place_of(vault, tmp_path)


@pytest.fixture
def transit(place: VaultPlace) -> Iterator[VaultTransit]:
    with closing(VaultTransit(place)) as transit:
        yield transit


def test_keys_come_back_in_order_and_each_way_is_one_request(
    transit: VaultTransit, vault: FakeVault
) -> None:
    wrapped = transit.wrap(KEYS)
    assert all(each.startswith(b"vault:v1:") for each in wrapped)
    assert transit.unwrap(wrapped) == KEYS
    assert vault.asked == [
        ("/v1/transit/encrypt/ledgergrid", 7),
        ("/v1/transit/decrypt/ledgergrid", 7),
    ]


def test_another_mount_and_key_can_be_named(vault: FakeVault, place: VaultPlace) -> None:
    with closing(VaultTransit(replace(place, mount="kms/eu", key="books"))) as transit:
        transit.wrap(KEYS[:1])
    assert vault.asked == [("/v1/kms/eu/encrypt/books", 1)]


def test_a_token_that_was_renewed_is_used_at_once(
    transit: VaultTransit, vault: FakeVault, place: VaultPlace
) -> None:
    vault.token = "hvs.renewed"
    with pytest.raises(StorageError, match="answered 403"):
        transit.wrap(KEYS)
    place.token_file.write_text("hvs.renewed")
    assert len(transit.wrap(KEYS)) == 7


def results(*items: dict[str, str]) -> Answer:
    body = json.dumps({"data": {"batch_results": items}}).encode()
    return lambda vault, verb, asked: (200, body)


def _said(status: int, body: bytes) -> Answer:
    return lambda vault, verb, asked: (status, body)


def _slowly(vault: FakeVault, verb: str, asked: list[dict[str, str]]) -> tuple[int, bytes]:
    time.sleep(1.0)
    return keep_the_rules(vault, verb, asked)


SECRET = base64.b64encode(KEYS[0]).decode()
WRONG: dict[str, Answer] = {
    "no JSON": _said(200, b"<html>"),
    "another JSON": _said(200, b'{"data":{}}'),
    "no UTF-8": _said(200, b'{"data":{"batch_results":[{"plaintext":"\xff"}]}}'),
    "too few": results(),
    "too many": results({"plaintext": SECRET}, {"plaintext": SECRET}),
    "an error among them": results({"error": f"bad {SECRET}"}),
    "a key of another length": results({"plaintext": "AAAA"}),
    "no base64": results({"plaintext": "%%%"}),
    "refused": _said(400, json.dumps({"errors": [f"bad {SECRET}"]}).encode()),
    "sealed": _said(503, b'{"errors":["Vault is sealed"]}'),
    "elsewhere": _said(307, b""),
    "endless": _said(200, b" " * (5 * 1024 * 1024)),
    "slowly": _slowly,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_answer_that_is_wrong_is_an_error_that_tells_no_secret(
    wrong: str, vault: FakeVault, tmp_path: Path
) -> None:
    with closing(VaultTransit(place_of(vault, tmp_path, timeout_s=0.5))) as transit:
        wrapped = transit.wrap(KEYS[:1])
        vault.answer = WRONG[wrong]
        with pytest.raises(StorageError) as caught:
            transit.unwrap(wrapped)
        assert SECRET not in str(caught.value)
        assert TOKEN not in str(caught.value)
        with pytest.raises(StorageError):
            transit.wrap(KEYS[:1])


def test_nobody_there_is_an_error_that_says_so(place: VaultPlace) -> None:
    with (
        closing(VaultTransit(replace(place, url="http://127.0.0.1:9"))) as transit,
        pytest.raises(StorageError, match="did not answer: ConnectError"),
    ):
        transit.wrap(KEYS)


@pytest.mark.parametrize("token", ["", "\n", "two\nlines", "\x00", "ünicode"])
def test_a_file_that_holds_no_token_is_named_and_not_shown(
    token: str, transit: VaultTransit, place: VaultPlace
) -> None:
    place.token_file.write_text(token)
    with pytest.raises(StorageError, match="does not hold one"):
        transit.wrap(KEYS)


def test_a_token_file_that_is_not_there_is_named(transit: VaultTransit, place: VaultPlace) -> None:
    place.token_file.unlink()
    with pytest.raises(StorageError, match="vault-token: No such file"):
        transit.wrap(KEYS)


@pytest.mark.parametrize(
    "url",
    [
        "vault.example:8200",
        "ftp://vault.example",
        "https://",
        "https://user:password@vault.example",
        "https://vault.example/?token=x",
        "http://vault.example:8200",
    ],
)
def test_a_url_that_would_give_secrets_away_is_refused_unshown(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        VaultTransit(VaultPlace(url, "ledgergrid", tmp_path / "token"))
    assert "password" not in str(caught.value)
