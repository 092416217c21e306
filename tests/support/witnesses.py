"""Witnesses for tests, over real HTTP: one that keeps the rules, and one that says as told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from ledger_core.clock import now_ms
from ledger_core.errors import ProofError
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.note import parse_note
from ledger_core.formats.trust_policy import TrustPolicy, parse_witness_policy
from ledger_core.formats.vkey import AnyWitnessSigner, WitnessSigner, format_vkey
from ledger_core.formats.witness import (
    SIZE_MEDIA_TYPE,
    AddCheckpoint,
    format_cosignatures,
    format_size,
    parse_add_checkpoint,
)
from ledger_core.merkle import tree


class Said(NamedTuple):
    """An answer of a witness."""

    status: int
    body: bytes = b""
    media_type: str = "text/plain"
    drip_s: float = 0.0
    """How long each byte of the body takes."""
    encoding: str = ""


Answer = Callable[["FakeWitness", AddCheckpoint, Checkpoint], Said]


def keep_the_rules(witness: FakeWitness, request: AddCheckpoint, new: Checkpoint) -> Said:
    """Answer as the specification says; whoever signed is believed."""
    known = witness.known.get(new.origin, Checkpoint(new.origin, 0, tree.EMPTY_ROOT))
    if request.old_size != known.size:
        return Said(409, format_size(known.size), SIZE_MEDIA_TYPE)
    if known.size:
        try:
            tree.check_consistency(known.size, new.size, known.root, new.root, request.proof)
        except ProofError:
            return Said(422, b"bad consistency proof")
    witness.known[new.origin] = new
    return witness.cosign(request)


class FakeWitness:
    """A witness at ``url``; ``answer`` may be exchanged while it runs."""

    def __init__(self, name: str, seed: int) -> None:
        self.signers: list[AnyWitnessSigner] = [WitnessSigner(name, PrivateKey(bytes([seed]) * 32))]
        self.answer: Answer = keep_the_rules
        self.known: dict[str, Checkpoint] = {}
        self.asked: list[AddCheckpoint] = []
        self.url = ""
        self.lock = threading.Lock()

    @property
    def vkey(self) -> str:
        return format_vkey(self.signers[0].public)

    def cosign(self, request: AddCheckpoint, time_s: int | None = None) -> Said:
        text = parse_note(request.checkpoint).text
        time_s = now_ms() // 1000 if time_s is None else time_s
        lines = tuple(signer.cosign(text, time_s) for signer in self.signers)
        return Said(200, format_cosignatures(lines))

    def respond(self, raw: bytes) -> Said:
        request = parse_add_checkpoint(raw)
        new = parse_checkpoint(parse_note(request.checkpoint).text)
        with self.lock:
            self.asked.append(request)
            return self.answer(self, request, new)


@contextmanager
def serving(witness: FakeWitness, port: int = 0) -> Iterator[FakeWitness]:
    """Let a witness answer on 127.0.0.1 until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            said = witness.respond(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(said.status)
            self.send_header("Content-Type", said.media_type)
            self.send_header("Content-Length", str(len(said.body)))
            if said.encoding:
                self.send_header("Content-Encoding", said.encoding)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):
                for at in range(0, len(said.body), 1 if said.drip_s else len(said.body) or 1):
                    self.wfile.write(said.body[at : at + 1] if said.drip_s else said.body)
                    self.wfile.flush()
                    time.sleep(said.drip_s)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    witness.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield witness
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def policy_text(*witnesses: FakeWitness, quorum: str = "all") -> str:
    """Write the policy of a service that asks these witnesses, called w0, w1, …"""
    lines = [f"witness w{n} {x.vkey} {x.url}" for n, x in enumerate(witnesses)]
    names = " ".join(f"w{n}" for n in range(len(witnesses)))
    return "\n".join([*lines, f"group g {quorum} {names}", "quorum g", ""])


def policy_of(*witnesses: FakeWitness, quorum: str = "all") -> TrustPolicy:
    return parse_witness_policy(policy_text(*witnesses, quorum=quorum).encode())
