"""Data keys wrapped by HashiCorp Vault's transit engine; OpenBao has the same one.

::

    POST /v1/transit/encrypt/NAME   {"batch_input":[{"plaintext":"<base64>"},…]}
    200                             {"data":{"batch_results":[{"ciphertext":"vault:v1:…"},…]}}
    POST /v1/transit/decrypt/NAME   {"batch_input":[{"ciphertext":"vault:v1:…"},…]}
    200                             {"data":{"batch_results":[{"plaintext":"<base64>"},…]}}

The token is read from its file for every request, so whoever renews it (Vault's agent) need not
tell us. Neither token, nor keys, nor what Vault says in words get into an error.

Source: https://developer.hashicorp.com/vault/api-docs/secret/transit
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from ledger_core import ids, limits
from ledger_core.errors import MalformedError, SettingsError, StorageError
from ledger_core.formats.sealed import KEY_BYTES

_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class VaultPlace:
    """Where Vault is, which key of its transit engine wraps, and the file the token is in."""

    url: str
    key: str
    token_file: Path
    mount: str = "transit"
    namespace: str = ""
    timeout_s: float = 5.0


class _Item(msgspec.Struct, omit_defaults=True):
    plaintext: str = ""
    ciphertext: str = ""
    error: str = ""


class _Request(msgspec.Struct):
    batch_input: list[_Item]


class _Data(msgspec.Struct):
    batch_results: list[_Item]


class _Answer(msgspec.Struct):
    data: _Data


_ANSWER = msgspec.json.Decoder(_Answer)


class VaultTransit:
    """A :class:`Wrapper`: keys leave this process only wrapped, or on their way to be."""

    def __init__(self, place: VaultPlace) -> None:
        self._place = place
        url = httpx.URL(place.url)
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query:
            raise SettingsError("Vault's URL must be https://host…, without a user or a query")
        if url.scheme == "http" and url.host not in _LOCAL:
            raise SettingsError("Vault must be asked by https: keys and token are on the way")
        self._http = httpx.Client(timeout=place.timeout_s, follow_redirects=False)

    def wrap(self, keys: Sequence[bytes]) -> list[bytes]:
        asked = [_Item(plaintext=ids.encode_base64(key)) for key in keys]
        return self._ask("encrypt", asked, _read_wrapped)

    def unwrap(self, wrapped: Sequence[bytes]) -> list[bytes]:
        asked = [_Item(ciphertext=each.decode("ascii", "replace")) for each in wrapped]
        return self._ask("decrypt", asked, _read_key)

    def close(self) -> None:
        self._http.close()

    def _ask(self, verb: str, items: list[_Item], read: Callable[[_Item], bytes]) -> list[bytes]:
        """Have all items done in one request; one that Vault refuses is an error."""
        place = self._place
        path = f"v1/{place.mount}/{verb}/{place.key}"
        body = self._post(path, msgspec.json.encode(_Request(items)))
        try:
            results = _ANSWER.decode(body).data.batch_results
            if len(results) != len(items):
                raise MalformedError("not as many answers as questions")
            return [read(result) for result in results]
        except (msgspec.DecodeError, UnicodeDecodeError, MalformedError):
            # What it says may hold keys: none of it is repeated.
            raise StorageError(f"Vault did not {verb} every key with {place.key}") from None

    def _post(self, path: str, content: bytes) -> bytes:
        body = b""
        end_s = time.monotonic() + self._place.timeout_s
        try:
            url = f"{self._place.url.rstrip('/')}/{path}"
            with self._http.stream("POST", url, content=content, headers=self._headers()) as answer:
                if answer.status_code != 200:
                    raise StorageError(f"Vault answered {answer.status_code} to {path}")
                for chunk in answer.iter_raw():
                    body += chunk
                    if len(body) > limits.VAULT_ANSWER_BYTES or time.monotonic() > end_s:
                        raise StorageError(f"Vault's answer to {path} is too long in coming")
        except httpx.HTTPError as error:
            raise StorageError(f"Vault did not answer: {type(error).__name__}") from None
        return body

    def _headers(self) -> dict[str, str]:
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        headers |= {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._place.namespace:
            headers["X-Vault-Namespace"] = self._place.namespace
        return headers

    def _token(self) -> str:
        path = self._place.token_file
        try:
            with path.open("rb") as file:
                raw = file.read(limits.VAULT_TOKEN_BYTES).strip()
        except OSError as error:
            raise StorageError(f"Vault's token: cannot read {path}: {error.strerror}") from None
        if not raw or not raw.isascii() or not raw.decode("ascii").isprintable():
            raise StorageError(f"Vault's token: {path} does not hold one")
        return raw.decode("ascii")


def _read_wrapped(item: _Item) -> bytes:
    if item.error or not item.ciphertext.startswith("vault:"):
        raise MalformedError("no ciphertext")
    return item.ciphertext.encode("ascii")


def _read_key(item: _Item) -> bytes:
    if item.error:
        raise MalformedError("no plaintext")
    return ids.decode_base64(item.plaintext, KEY_BYTES)
