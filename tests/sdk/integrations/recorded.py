"""A real service for agents to record at, and what it has of their calls."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger_core import ids
from ledger_core.formats.vkey import format_vkey
from ledgergrid import Ledger, Signer
from tests.api.live import ROUTE, Live


class Call:
    """A call as the service gives it out."""

    def __init__(self, entry: Any) -> None:
        self.index: int = entry["index"]
        self.author: str = entry["record"]["author"]
        self.type: str = entry["record"]["type"]
        self.parts = {
            name: ids.decode_base64(part["data"]) for name, part in entry["parts"].items()
        }
        self.media_types = {
            name: part["media_type"] for name, part in entry["record"]["payload"].items()
        }
        self.facts: dict[str, Any] = json.loads(self.parts.get("call") or self.parts["body"])


class Book:
    """A ledger of one agent's, and a client that writes into it."""

    def __init__(self, live: Live, ledger: Ledger, signer: Signer, name: str) -> None:
        self.live, self.ledger, self.signer, self.name = live, ledger, signer, name

    def calls(self, count: int) -> list[Call]:
        """Wait until so many records of the agent's are entries; return them in order."""
        until = time.monotonic() + 20
        while True:
            with self.live.http("admin") as http:
                got = http.get(f"{ROUTE}/{self.name}/entries").raise_for_status().json()
                mine = [
                    e["index"] for e in got["entries"] if e["record"]["author"] == self.signer.key
                ]
                if len(mine) >= count:
                    assert len(mine) == count
                    return [Call(http.get(f"{ROUTE}/{self.name}/entries/{n}").json()) for n in mine]
            assert time.monotonic() < until, f"{len(mine)} of {count} calls arrived"
            time.sleep(0.02)

    def call(self) -> Call:
        [call] = self.calls(1)
        return call


@contextmanager
def book(live: Live, folder: Path) -> Iterator[Book]:
    """Make a ledger with one agent in it."""
    name = f"calls-{ids.new_record_id()[-12:]}"
    signer = Signer.make()
    core = live.service.ledgers.create(name)
    with live.http("admin") as http:
        possession = signer.prove_possession(core.origin)
        body = {"key": signer.key, "roles": ["agent"], "possession": possession}
        http.post(f"{ROUTE}/{name}/keys", json=body).raise_for_status()
    with Ledger(
        live.url,
        ledger=name,
        signer=signer,
        token=live.tokens["reader"],
        log_key=format_vkey(core.log_key),
        state_dir=folder,
    ) as ledger:
        yield Book(live, ledger, signer, name)
