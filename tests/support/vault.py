"""A transit engine for tests, over real HTTP: it wraps as Vault does, or says as told."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger_core.keystore.vault import VaultPlace

TOKEN = "hvs.a-token-that-nobody-may-see"
Said = tuple[int, bytes]
Answer = Callable[["FakeVault", str, list[dict[str, str]]], Said]


def keep_the_rules(vault: FakeVault, verb: str, items: list[dict[str, str]]) -> Said:
    """Wrap or unwrap every item."""
    results = [vault.encrypt(x) if verb == "encrypt" else vault.decrypt(x) for x in items]
    return 200, json.dumps({"request_id": "1", "data": {"batch_results": results}}).encode()


class FakeVault:
    """One transit key at ``url``; ``answer`` may be exchanged while it runs."""

    def __init__(self) -> None:
        self._key = AESGCM(os.urandom(32))
        self.answer: Answer = keep_the_rules
        self.token = TOKEN
        self.asked: list[tuple[str, int]] = []
        """The paths that were asked, and for how many keys."""
        self.url = ""

    def encrypt(self, item: dict[str, str]) -> dict[str, Any]:
        nonce = os.urandom(12)
        sealed = nonce + self._key.encrypt(nonce, base64.b64decode(item["plaintext"]), None)
        return {"ciphertext": f"vault:v1:{base64.b64encode(sealed).decode()}", "key_version": 1}

    def decrypt(self, item: dict[str, str]) -> dict[str, Any]:
        raw = base64.b64decode(item["ciphertext"].removeprefix("vault:v1:"))
        key = self._key.decrypt(raw[:12], raw[12:], None)
        return {"plaintext": base64.b64encode(key).decode()}

    def take(self, path: str, token: str, body: bytes) -> Said:
        if token != self.token:
            return 403, b'{"errors":["permission denied"]}'
        items = json.loads(body)["batch_input"]
        self.asked.append((path, len(items)))
        return self.answer(self, path.split("/")[-2], items)


@contextmanager
def a_vault() -> Iterator[FakeVault]:
    """Run a Vault for as long as the block lasts."""
    vault = FakeVault()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = vault.take(self.path, self.headers.get("X-Vault-Token", ""), body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    vault.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield vault
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def place_of(vault: FakeVault, folder: Path, *, timeout_s: float = 5.0) -> VaultPlace:
    """Write the token to a file, as an agent of Vault's does; say where everything is."""
    file = folder / "vault-token"
    file.write_text(f"{vault.token}\n")
    return VaultPlace(vault.url, "ledgergrid", file, timeout_s=timeout_s)
