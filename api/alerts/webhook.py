"""Sends one alert to the webhook: a few tries, with pauses between, and no redirects.

How long a try may take is bounded as a whole, however slowly the other side drips; so is what
is read of its answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from api.alerts.payloads import Format, guess_format, shape
from api.alerts.targets import Address, Again, LookUp, Target, Undelivered, look_up, resolve

_TRIES = 4
_ANSWER_BYTES = 64 * 1024
_LONGEST_PAUSE_S = 30.0
_PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Pace:
    """How long one try may take, and the first pause between two."""

    try_s: float = 10.0
    pause_s: float = 1.0


class Webhook:
    """Where alerts go. Used from one event loop."""

    def __init__(
        self,
        target: Target,
        form: Format | None = None,
        pagerduty_key: str = "",
        pace: Pace | None = None,
        *,
        look_up: LookUp = look_up,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._target = target
        self._form = form or guess_format(target.host)
        self._pagerduty_key = pagerduty_key
        self._pace = pace or Pace()
        # It would write whole URLs into the log.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._look_up = look_up
        self._tls = tls or httpx.create_ssl_context(trust_env=False)

    async def deliver(self, plain: dict[str, Any], key: str, tries: int = _TRIES) -> None:
        """Send; raises :class:`Undelivered` when it is time to give up."""
        body = shape(plain, self._form, key, self._pagerduty_key)
        content = json.dumps(body, ensure_ascii=False).encode()
        for tried in range(tries):
            try:
                await self._try(content, tried)
                return
            except Again as error:
                if tried + 1 == tries:
                    raise
                pause_s = self._pace.pause_s * 2**tried * random.uniform(0.5, 1.5)
                await asyncio.sleep(min(max(pause_s, error.after_s or 0), _LONGEST_PAUSE_S))

    async def _try(self, content: bytes, tried: int) -> None:
        try:
            async with asyncio.timeout(self._pace.try_s):
                addresses = await resolve(self._target, self._look_up)
                await self._post(content, _turn(addresses, tried))
        except TimeoutError:
            raise Again(f"{self._target.host} took longer than {self._pace.try_s:g} s") from None
        except httpx.HTTPError as error:
            raise Again(f"{self._target.host}: {type(error).__name__}") from None

    async def _post(self, content: bytes, address: Address) -> None:
        """Post to the very address that was judged, under the name that it goes by."""
        url = self._target.url
        request = httpx.Request(
            "POST",
            url.copy_with(host=str(address)),
            content=content,
            headers={
                "Host": url.netloc.decode("ascii"),
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "ledgergrid",
            },
            extensions={
                "sni_hostname": url.raw_host.decode("ascii"),
                "timeout": httpx.Timeout(self._pace.try_s).as_dict(),
            },
        )
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            answer = await transport.handle_async_request(request)
            try:
                await self._check(answer)
            finally:
                await answer.aclose()

    async def _check(self, answer: httpx.Response) -> None:
        status, read = answer.status_code, 0
        async for chunk in answer.aiter_raw():
            read += len(chunk)
            if read > _ANSWER_BYTES:
                break
        if 200 <= status < 300:
            return
        if status >= 500 or status in _PASSING:
            raise Again(f"{self._target.host} answered {status}", _retry_after(answer))
        raise Undelivered(f"{self._target.host} answered {status}")


def _turn(addresses: Sequence[Address], tried: int) -> Address:
    return addresses[tried % len(addresses)]


def _retry_after(answer: httpx.Response) -> float | None:
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else None
