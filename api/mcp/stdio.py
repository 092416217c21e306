"""``ledgergrid mcp``: hands a running service's tools to a client on standard input and output.

It knows no tools of its own: it asks the service, over streamable HTTP, with the key or token that
it was started with. Each request goes by itself, so a service that was restarted meanwhile is asked
again by the next one, and one that is gone is an error and no silence.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2
import mcp_types as types
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from ledger_core.errors import LedgerGridError

_TIMEOUT_S = 60.0

T = TypeVar("T")


class NoServiceError(LedgerGridError):
    """There is no service, or it serves no tools to this key or token."""

    code = "remote"
    title = "The service did not do it"


class Remote:
    """A service's endpoint for tools."""

    def __init__(self, url: str, secret: str | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    async def ask(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do something with a fresh connection; :class:`NoServiceError` if there is none.

        What the service itself says by the protocol, :class:`MCPError`, is passed on.
        """
        try:
            async with self._connected() as service:
                return await work(service)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._explain(error) from None
        except BaseExceptionGroup as group:
            first = _first(group)
            if isinstance(first, MCPError):
                raise first from None
            if isinstance(first, (httpx2.HTTPError, httpx2.InvalidURL)):
                raise self._explain(first) from None
            raise

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        async with (
            httpx2.AsyncClient(headers=self._headers, timeout=_TIMEOUT_S) as http,
            Client(
                streamable_http_client(f"{self._url}/mcp", http_client=http),
                read_timeout_seconds=_TIMEOUT_S,
            ) as service,
        ):
            yield service

    def _explain(self, error: Exception) -> NoServiceError:
        return NoServiceError(
            f"{self._url} cannot be reached ({type(error).__name__}: {error}): is it the address "
            "of a running `ledgergrid serve`?"
        )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def bridge(url: str, secret: str | None) -> None:
    """Serve standard input and output until it ends."""
    remote = Remote(url, secret)
    server = await remote.ask(lambda service: _describe(remote, service))
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


async def _describe(remote: Remote, service: Client) -> Server[Any]:
    """Return a server whose tools are those of the service."""

    async def list_tools(
        context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        cursor = params.cursor if params else None
        return await _pass_on(remote.ask(lambda asked: asked.list_tools(cursor=cursor)))

    async def call_tool(
        context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return await _pass_on(
            remote.ask(lambda asked: asked.call_tool(params.name, params.arguments))
        )

    await service.list_tools()  # A key that does not count is told now, not at the first tool.
    found = service.server_info
    return Server(
        "ledgergrid",
        title="LedgerGrid",
        version=found.version if found else "",
        instructions=service.instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _pass_on(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except NoServiceError as error:
        raise MCPError(types.INTERNAL_ERROR, str(error)) from None
