"""What vector files are made of: cases, bytes as JSON, and the keys and records they share.

A case says what is done (``does``), with what (``given``), and what must come of it: a
result (``gives``) or the code of an error (``refused``). Generators state verdicts; they
never ask the code that is to be judged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ledger_core import ids
from ledger_core.formats import ed25519, record
from ledger_core.formats.record import PartRef, Record, SignedRecord
from ledger_core.formats.vkey import NoteSigner, WitnessSigner

FOLDER = Path(__file__).parent
Case = dict[str, Any]

ORIGIN = "ledgergrid.example/log1"
EPOCH_ORIGIN = f"{ORIGIN}/epoch/2"
LOG = NoteSigner(ORIGIN, ed25519.PrivateKey(b"\x01" * 32))
WITNESS = WitnessSigner("witness.example/w1", ed25519.PrivateKey(b"\x02" * 32))
WITNESS_2 = WitnessSigner("witness.example/w2", ed25519.PrivateKey(b"\x07" * 32))
WITNESS_3 = WitnessSigner("witness.example/w3", ed25519.PrivateKey(b"\x08" * 32))
AGENT = ed25519.PrivateKey(b"\x05" * 32)
OPERATOR = ed25519.PrivateKey(b"\x06" * 32)
SALT = bytes(range(32))
MADE_AT = "2026-08-01T10:11:12.345Z"
RECEIVED_AT_MS = 1_785_579_072_400


def show(raw: bytes) -> dict[str, str]:
    """Write bytes for people where they are text, in hex where they are not."""
    try:
        return {"utf8": raw.decode()}
    except UnicodeDecodeError:
        return {"hex": raw.hex()}


def read(shown: dict[str, Any]) -> bytes:
    """Undo :func:`show`; ``repeat`` and ``after`` keep vectors for large inputs small."""
    raw: bytes = shown["utf8"].encode() if "utf8" in shown else bytes.fromhex(shown["hex"])
    raw *= shown.get("repeat", 1)
    return raw + read(shown["after"]) if "after" in shown else raw


def accept(name: str, does: str, given: Case, gives: Any = None) -> Case:
    case = {"name": name, "does": does, "given": given}
    return case if gives is None else {**case, "gives": gives}


def refuse(name: str, does: str, given: Case, code: str = "malformed") -> Case:
    return {"name": name, "does": does, "given": given, "refused": code}


def number_id(number: int) -> str:
    return f"01990b1f-5a00-7000-8000-{number:012d}"


def make_record(
    number: int = 1,
    data: bytes = b'{"hello":"world"}',
    key: ed25519.PrivateKey = AGENT,
    kind: str = "note/1",
    **fields: Any,
) -> Record:
    """Make a record with one part, ``body``, under the shared salt."""
    ref, _ = record.make_part(data, "application/json", SALT)
    ledger = EPOCH_ORIGIN if kind == "epoch/1" else ORIGIN
    fields = {"payload": {"body": ref}, "made_at": MADE_AT, "ledger": ledger, **fields}
    return Record(
        v=1, id=number_id(number), type=kind, author=ids.format_key(key.public_key), **fields
    )


def make_signed(number: int = 1, **fields: Any) -> SignedRecord:
    return record.seal(make_record(number, **fields), fields.get("key", AGENT))


def part_ref(data: bytes, media_type: str = "application/json") -> PartRef:
    return record.make_part(data, media_type, SALT)[0]


def format_file(about: str, page: str, cases: list[Case]) -> str:
    """Format a vector file: the same cases always give the same bytes."""
    names = [case["name"] for case in cases]
    assert len(set(names)) == len(names), "two cases share a name"
    head = {"about": about, "page": f"docs/spec/{page}", "made_by": "python -m tests.vectors"}
    return json.dumps({**head, "cases": cases}, indent=1) + "\n"
