"""A client that sends exactly these bytes and shows exactly what came back."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Got:
    """One response, byte for byte; ``body`` has no chunk framing. ``is_whole``: it has its end."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    is_whole: bool

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.headers if each.lower() == name]


def exchange(address: tuple[str, int], request: bytes, timeout_s: float = 20) -> Got:
    """Send a request, say that the connection is to be closed behind the answer, and read it."""
    with socket.create_connection(address, timeout=timeout_s) as connection:
        connection.sendall(request)
        data = b""
        is_head = request.startswith(b"HEAD ")
        while not _is_whole(data, is_head):
            try:
                piece = connection.recv(65536)
            except ConnectionResetError:
                break
            if not piece:
                break
            data += piece
    return parse(data, is_head)


def request(
    address: tuple[str, int],
    target: str,
    body: bytes = b"",
    method: str = "POST",
    headers: list[tuple[str, str]] | None = None,
) -> bytes:
    """Spell a request."""
    lines = [f"{method} {target} HTTP/1.1", f"host: {address[0]}:{address[1]}"]
    lines += [f"{name}: {value}" for name, value in headers or []]
    if body or method == "POST":
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def parse(data: bytes, is_head: bool = False) -> Got:
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    pairs = [(name, value) for name, _, value in (line.partition(b": ") for line in lines[1:])]
    named = {name.lower(): value for name, value in pairs}
    if named.get(b"transfer-encoding") == b"chunked":
        body, is_whole = _unchunk(rest)
    else:
        body, is_whole = rest, is_head or len(rest) == int(named.get(b"content-length", b"0"))
    return Got(int(lines[0].split(b" ")[1]), pairs, body, is_whole)


def _is_whole(data: bytes, is_head: bool) -> bool:
    return b"\r\n\r\n" in data and parse(data, is_head).is_whole


def _unchunk(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while True:
        size, found, rest = data.partition(b"\r\n")
        if not found:
            return body, False
        length = int(size, 16)
        if length == 0:
            return body, rest.startswith(b"\r\n")
        if len(rest) < length + 2:
            return body + rest[:length], False
        body, data = body + rest[:length], rest[length + 2 :]
