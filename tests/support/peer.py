"""A ledger's HTTP interface in memory, for clients to talk to; honest, or as bad as a test asks.

Not our service: another party's, that keeps its log with the pure modules and can be told to
lose answers, to stall, to lie. It checks no standing and keeps no disk.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ledger_core import clock, ids
from ledger_core.errors import LedgerGridError
from ledger_core.formats import ed25519
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint
from ledger_core.formats.entry import NO_PREVIOUS, Entry, Header, format_entry
from ledger_core.formats.receipt import Receipt, format_receipt
from ledger_core.formats.record import check_part, verify_record
from ledger_core.formats.submission import Submission, parse_submission
from ledger_core.formats.vkey import NoteSigner, format_vkey
from ledger_core.merkle import tree

ORIGIN = "peer.example/main"
BASE = "/api/v1/ledgers/main"

Line = dict[str, Any]
"""One line of a batch's answer: ``status``, and an acknowledgement or a problem."""


@dataclass
class PeerLog:
    """A log in a list: entry 0 is made up, so that sizes begin at 1 as in a real ledger."""

    signer: NoteSigner = field(
        default_factory=lambda: NoteSigner(ORIGIN, ed25519.PrivateKey.generate())
    )
    leaves: list[bytes] = field(default_factory=lambda: [b"a charter would stand here"])
    placed: dict[str, tuple[Submission, int, int]] = field(default_factory=dict)
    """By record id: the submission, its index, and the log's size when it was acknowledged."""
    origin: str = ORIGIN
    """What its checkpoints say."""

    @property
    def vkey(self) -> str:
        return format_vkey(self.signer.public)

    def branch(self) -> PeerLog:
        """Return a log with the same past and key, free to have another future."""
        return PeerLog(self.signer, list(self.leaves), copy.copy(self.placed))

    def append(self, raw: bytes) -> Line:
        """Take one submission; answer a repetition as the first time."""
        try:
            submission = parse_submission(raw)
            verify_record(submission.signed)
            for name, part in submission.parts.items():
                check_part(name, submission.signed.record.payload[name], part)
        except LedgerGridError as error:
            return make_problem(422, error.code, str(error))
        record_id = submission.signed.record.id
        known = self.placed.get(record_id)
        if known is None:
            index = self._place(submission)
            self.placed[record_id] = (submission, index, index + 1)
            return {"status": 201, **self.acknowledge(record_id)}
        if known[0].signed.raw != submission.signed.raw:
            both = [tree.leaf_hash(each.signed.raw) for each in (known[0], submission)]
            more = dict(zip(("stored", "received"), map(ids.format_digest, both), strict=True))
            return make_problem(409, "conflict", "same id, other bytes", **more)
        return {"status": 200, **self.acknowledge(record_id)}

    def _place(self, submission: Submission) -> int:
        index = len(self.leaves)
        previous = tree.leaf_hash(self.leaves[-1]) if self.leaves else NO_PREVIOUS
        header = Header(ORIGIN, index, previous, clock.now_ms(), submission.signed.signature)
        self.leaves.append(format_entry(Entry(header, submission.signed.raw)))
        return index

    def acknowledge(self, record_id: str, size: int | None = None) -> Line:
        submission, index, first_size = self.placed[record_id]
        leaf = self.leaves[index]
        extra = leaf.removesuffix(submission.signed.raw)
        size = size or first_size
        proof = tree.prove_inclusion(index, size, self.read)
        receipt = Receipt(index, tuple(proof), self.checkpoint(size), extra)
        return {
            "id": record_id,
            "index": index,
            "leaf_hash": ids.format_digest(tree.leaf_hash(leaf)),
            "received_at": leaf.split(b"\n")[4].decode(),
            "receipt": format_receipt(receipt).decode(),
        }

    def checkpoint(self, size: int | None = None) -> bytes:
        size = len(self.leaves) if size is None else size
        return sign_checkpoint(Checkpoint(self.origin, size, self.root(size)), self.signer)

    def root(self, size: int) -> bytes:
        return tree.root_at(size, self.read)

    def read(self, nodes: Sequence[tree.NodeId]) -> list[bytes]:
        return [
            tree.root([tree.leaf_hash(x) for x in self.leaves[p << level : (p + 1) << level]])
            for level, p in nodes
        ]

    def prove_consistency(self, first: int, second: int) -> Line:
        if not 0 < first <= second <= len(self.leaves):
            return make_problem(400, "malformed", "no such sizes")
        return {
            "status": 200,
            "from": first,
            "to": second,
            "root_from": ids.format_digest(self.root(first)),
            "root_to": ids.format_digest(self.root(second)),
            "hashes": [
                ids.format_digest(each) for each in tree.prove_consistency(first, second, self.read)
            ],
        }


def make_problem(status: int, code: str, detail: str, **more: str) -> Line:
    members = {"type": f"/errors#{code}", "title": code, "status": status}
    return {"status": status, "problem": {**members, "detail": detail, "code": code, **more}}


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one append request."""

    status: int = 0
    """Answer with this status and store nothing."""
    retry_after: str = ""
    code: str = "busy"
    lose_request: bool = False
    lose_answer: bool = False
    stall_s: float = 0.0
    """Wait, after storing, before the answer."""
    rewrite: Callable[[list[Line]], list[Line]] | None = None
    """Answer something else than what was done."""
    garbage: bytes = b""
    """Answer 200 with these bytes."""


class Peer(ThreadingHTTPServer):
    """Serves one :class:`PeerLog`; each append takes the next of ``faults``, if there is one."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.log = PeerLog()
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.batch_limit_records = 1000
        self.proof_fault: Callable[[Line], Line] | None = None
        self.lock = threading.Lock()
        self.seen: list[str] = []
        self.tokens: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def stored(self) -> list[str]:
        """Ids of all records stored, in order."""
        return sorted(self.log.placed, key=lambda each: self.log.placed[each][1])

    def next_fault(self) -> Fault:
        if self.always is not None:
            return self.always
        return self.faults.popleft() if self.faults else Fault()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that left: many tests make them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Peer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: pytest shows what matters."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        action = self._note_request()
        lines = [raw] if action == "/records" else raw.removesuffix(b"\n").split(b"\n")
        peer = self.server
        fault = peer.next_fault()
        if fault.lose_request:
            self._hang_up()
        elif fault.status:
            self._refuse(make_problem(fault.status, fault.code, "as told"), fault.retry_after)
        elif len(lines) > peer.batch_limit_records:
            self._refuse(make_problem(413, "too-large", "batch has too many lines"))
        else:
            with peer.lock:
                answers = [peer.log.append(line) for line in lines]
            time.sleep(fault.stall_s)
            if fault.lose_answer:
                self._hang_up()
            else:
                answers = fault.rewrite(answers) if fault.rewrite else answers
                self._answer(answers, is_batch=action != "/records", garbage=fault.garbage)

    def _answer(self, answers: list[Line], *, is_batch: bool, garbage: bytes) -> None:
        if garbage:
            self._send(200, garbage)
        elif is_batch:
            self._send(200, b"".join(json.dumps(x).encode() + b"\n" for x in answers))
        elif "problem" in answers[0]:
            self._refuse(answers[0])
        else:
            self._send(answers[0].pop("status"), json.dumps(answers[0]).encode())

    def do_GET(self) -> None:
        peer, path = self.server, self._note_request()
        with peer.lock:
            if path == "":
                info = {"name": "main", "origin": ORIGIN, "log_key": peer.log.vkey}
                self._send(200, json.dumps(info).encode())
            elif path == "/checkpoint":
                self._send(200, peer.log.checkpoint())
            elif path == "/proofs/consistency":
                query = parse_qs(urlsplit(self.path).query)
                answer = peer.log.prove_consistency(int(query["from"][0]), int(query["to"][0]))
                answer = peer.proof_fault(answer) if peer.proof_fault else answer
                if "problem" in answer:
                    self._refuse(answer)
                else:
                    self._send(200, json.dumps(answer).encode())
            elif match := re.fullmatch(r"/entries/([0-9]+)", path):
                self._send(200, peer.log.leaves[int(match[1])])
            else:
                self._refuse(make_problem(404, "not-found", "nothing here"))

    def _note_request(self) -> str:
        path = urlsplit(self.path).path.removeprefix(BASE)
        self.server.seen.append(f"{self.command} {path}")
        self.server.tokens.append(self.headers.get("Authorization"))
        return path

    def _refuse(self, line: Line, retry_after: str = "") -> None:
        headers = {"Retry-After": retry_after} if retry_after else {}
        self._send(line["status"], json.dumps(line["problem"]).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True


@contextmanager
def serve_peer() -> Iterator[Peer]:
    """Serve until the block ends."""
    peer = Peer()
    thread = threading.Thread(target=peer.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        peer.shutdown()
        thread.join()
        peer.server_close()
