"""A command's way to a running service: one request, its answer or one clear error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from ledger_core.errors import LedgerGridError, SettingsError

_TIMEOUT_S = 60.0
_ADVICE: dict[int | str, str] = {
    401: "set LEDGERGRID_TOKEN or give --token-file",
    403: "use a token with the role that this needs",
    404: "see `ledgergrid ledger list`; a token may be bound to another ledger",
    503: "try again in a moment",
    "read-only": "the operator's `ledgergrid doctor` says more; trying again does not help",
}


class RemoteError(LedgerGridError):
    """The service refused, or did not answer."""

    code = "remote"
    title = "The service did not do it"


def read_token(token_file: Path | None) -> str | None:
    """Return the token out of its file or the environment."""
    if token_file is not None:
        return token_file.read_text("utf-8").strip()
    return os.environ.get("LEDGERGRID_TOKEN", "").strip() or None


class Remote:
    """One service, as this command may use it."""

    def __init__(self, url: str, token_file: Path | None = None) -> None:
        token = read_token(token_file)
        if token is not None and not token.isascii():
            raise SettingsError("the token is not ASCII text")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url = url
        self._headers = headers

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._ask("GET", path, params=given)

    def post(self, path: str, body: Any) -> httpx.Response:
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._connected() as http:
            response = http.request(method, path, **options)
            _check(response)
        return response

    @contextmanager
    def stream(self, path: str, **parameters: Any) -> Iterator[httpx.Response]:
        given = {name: value for name, value in parameters.items() if value is not None}
        with self._connected() as http, http.stream("GET", path, params=given) as response:
            if response.is_error:
                response.read()
            _check(response)
            yield response

    @contextmanager
    def _connected(self) -> Iterator[httpx.Client]:
        """Give a connection for one request; what goes wrong with it is explained."""
        try:
            with httpx.Client(
                base_url=self._url, headers=self._headers, timeout=_TIMEOUT_S
            ) as http:
                yield http
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise SettingsError(f"{self._url} is no address like http://127.0.0.1:8080") from None
        except httpx.ConnectError:
            raise RemoteError(
                f"nothing answers at {self._url}: start it with `ledgergrid serve`, "
                "or name another with --url"
            ) from None
        except httpx.HTTPError as error:
            raise RemoteError(f"{self._url}: {type(error).__name__} {error}") from None


def _check(response: httpx.Response) -> None:
    if not response.is_error:
        return
    try:
        problem = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        raise RemoteError(f"the service answered {response.status_code}, no JSON") from None
    advice = _ADVICE.get(problem.get("code", "")) or _ADVICE.get(response.status_code)
    text = f"{problem.get('title')}: {problem.get('detail')}"
    raise RemoteError(f"{text} ({advice})" if advice else text)
