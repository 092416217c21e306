"""``ledgergrid mcp``: hands a running service's tools to a client on standard input and output.

It knows no tools of its own: it asks the service, over streamable HTTP, with the key or token that
it was started with.
"""

from __future__ import annotations

from typing import Any

import httpx2
import mcp_types as types
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

_TIMEOUT_S = 60.0


async def bridge(url: str, secret: str | None) -> None:
    """Serve standard input and output until it ends."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=_TIMEOUT_S) as http,
        Client(streamable_http_client(f"{url.rstrip('/')}/mcp", http_client=http)) as service,
    ):
        server = relay(service)
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())


def relay(service: Client) -> Server[Any]:
    """Return a server whose tools are those of the service behind ``service``."""

    async def list_tools(
        context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return await service.list_tools(cursor=params.cursor if params else None)

    async def call_tool(
        context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return await service.call_tool(params.name, params.arguments)

    found = service.server_info
    return Server(
        "ledgergrid",
        title="LedgerGrid",
        version=found.version if found else "",
        instructions=service.instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
