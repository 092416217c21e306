"""The upstream: the model provider, or the gateway in front of several, that calls go on to.

Bytes go out and come back as they are: nothing is decompressed, no redirect is followed, no
cookie is kept, no proxy is taken from the environment. A request is sent once and never again:
whether a provider saw one that broke off is not known, and calls cost money.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from api.settings import Settings

_LINE_BYTES = 64 * 1024
_HEADERS = 512
_READ_BYTES = 128 * 1024
_LARGE_BYTES = 256 * 1024
"""A body from here on is written in slices, so that others are served in between."""

_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ADDRESS = re.compile(r"(https?://)([^\s/?#'\"]*)[^\s'\"]*")

_SET_BY_AIOHTTP = frozenset({"Accept", "Accept-Encoding", "User-Agent", "Content-Type"})

Response = aiohttp.ClientResponse
BROKEN = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
"""What a request or an answer may break off with."""
UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""What a request breaks off with before the upstream has seen anything of it."""


class NoAnswerError(aiohttp.ClientError):
    """What came back is nothing that HTTP lets anybody pass on."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a call's path is put behind; ``host`` and ``port`` are those of ``url``."""

    url: str
    host: str
    port: int


def _check_head(response: Response) -> None:
    if not 200 <= response.status < 600:
        raise NoAnswerError(f"the answer's status is {response.status}")
    if _CONTROLS.search(b"".join([value for _, value in response.raw_headers])):
        raise NoAnswerError("a header of the answer holds controls")


def tell(error: Exception) -> str:
    """Return what an error says, without the address: names and keys may stand in it."""
    return f"{type(error).__name__}: {_ADDRESS.sub(_shorten, str(error))}"[:500]


def _shorten(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2].rpartition('@')[2]}"


def parse_base(url: str) -> Base:
    """Read an upstream's URL; calls' paths begin with ``/v1`` themselves."""
    trimmed = url.rstrip("/").removesuffix("/v1")
    parts = urlsplit(trimmed)
    return Base(
        trimmed, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    )


OPENAI, ANTHROPIC = parse_base("https://api.openai.com"), parse_base("https://api.anthropic.com")


class Upstream:
    """Belongs to one event loop; its connections are made when needed and kept for a while."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pinned = parse_base(settings.upstream_url) if settings.upstream_url else None
        self._session: aiohttp.ClientSession | None = None

    def base(self, *, is_anthropics: bool) -> Base:
        """Return where calls go that are, or are not, in one of Anthropic's wire formats."""
        if self._pinned is not None:
            return self._pinned
        return ANTHROPIC if is_anthropics else OPENAI

    async def send(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Response:
        """Send a request and return its answer, of which no byte of the body was read yet."""
        if self._session is None:
            self._session = self._open()
        data = io.BytesIO(body) if len(body) >= _LARGE_BYTES else body or None
        response = await self._session.request(
            method,
            URL(url, encoded=True),
            headers=CIMultiDict(headers),
            data=data,
            allow_redirects=False,
        )
        try:
            _check_head(response)
        except NoAnswerError:
            response.close()
            raise
        if response.connection is not None and response.connection.protocol is not None:
            # Its clock goes on while a slow client keeps us from reading; ours (`read`) does not.
            response.connection.protocol.read_timeout = None
        return response

    async def read(self, response: Response) -> bytes:
        """Return what came next of an answer's body; ``b""`` at its end.

        Raises one of ``BROKEN``: :class:`TimeoutError` if nothing came for as long as the upstream
        may be silent. What a client takes to read is not counted.
        """
        async with asyncio.timeout(self._settings.upstream_silence_s):
            return await response.content.readany()

    def _open(self) -> aiohttp.ClientSession:
        settings = self._settings
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_SET_BY_AIOHTTP,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            max_headers=_HEADERS,
            read_bufsize=_READ_BYTES,
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=settings.upstream_connect_s,
                sock_read=settings.upstream_silence_s,
            ),
        )
        # It would send GET, PUT and DELETE again where a kept connection breaks.
        session._retry_connection = False
        return session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
