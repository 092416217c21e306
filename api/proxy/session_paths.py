"""A session named in the address, for clients that can be given a base URL and no header.

::

    /s/run-17/v1/chat/completions  =  /v1/chat/completions, x-ledgergrid-session-id: run-17

The outermost layer rewrites the request, so that whatever judges, records or forwards it sees the
path alone. A header that names a session counts over the address; a session is a name, and never a
secret. Only what is below ``/v1/`` is reached this way.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

SESSION_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}"
_NAMED: Final = re.compile(rb"/s/(%s)(/v1/.*)" % SESSION_NAME.encode(), re.IGNORECASE | re.DOTALL)


class SessionPaths:
    """Takes a session out of the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope["path"].startswith(("/s/", "/S/")):
            scope = _rewrite(scope)
        await self._app(scope, receive, send)


def _rewrite(scope: Scope) -> Scope:
    found = _NAMED.fullmatch(scope.get("raw_path") or scope["path"].encode())
    if found is None:
        return scope
    named, rest = found[1], found[2]
    # The prefix has nothing escaped in it: it is as long in the path as in its raw form.
    path = scope["path"][len("/s/") + len(named) :]
    headers = [*scope["headers"], (b"x-ledgergrid-session-id", named)]
    return {**scope, "path": path, "raw_path": rest, "headers": headers}
