"""``ledgergrid mcp``: the tools of a running service for a client that starts a program."""

from __future__ import annotations

import os

import anyio

from api.commands.options import DEFAULT_URL, TokenFile, Url
from api.commands.remote import RemoteError, read_token
from ledger_core.errors import SettingsError


def mcp(url: Url = DEFAULT_URL, token_file: TokenFile = None) -> None:
    """Speak MCP on standard input and output, with the tools of the service at --url.

    Presents LEDGERGRID_TOKEN, the token file's, or LEDGERGRID_API_KEY.
    """
    # Not before it is asked for: the other commands are quick.
    from mcp.shared.exceptions import MCPError

    from api.mcp.stdio import bridge

    secret = read_token(token_file) or os.environ.get("LEDGERGRID_API_KEY", "").strip() or None
    if secret is not None and not secret.isascii():
        raise SettingsError("the token is not ASCII text")
    try:
        anyio.run(bridge, url, secret)
    except MCPError as error:
        raise RemoteError(
            f"{url} serves no tools to this command ({error.message}): does the token or key count "
            "there?"
        ) from None
