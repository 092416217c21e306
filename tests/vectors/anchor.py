"""Vectors of the anchored receipt (docs/spec/anchor.md)."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from ledger_core import ids, limits
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.record import SignedRecord
from ledger_core.formats.vkey import NoteSigner
from ledger_core.merkle import tree
from tests.vectors import entry
from tests.vectors.build import (
    LOG,
    OPERATOR,
    ORIGIN,
    RECEIVED_AT_MS,
    SALT,
    Case,
    accept,
    make_signed,
    part_ref,
    refuse,
    show,
)
from tests.vectors.tree import reader

ABOUT = "Anchored receipts: from an entry of a local ledger to its parent's checkpoint"
PAGE = "anchor.md"

LOCAL = "ledgergrid.example/deal"
LOCAL_LOG = NoteSigner(LOCAL, PrivateKey(b"\x0b" * 32))
AT = "2026-08-01T10:11:12.400Z"
assert RECEIVED_AT_MS % 1000 == 400


def place(origin: str, index: int, signed: SignedRecord) -> bytes:
    """Give a record its place, behind nothing in particular."""
    signature = b64encode(signed.signature).decode()
    lines = ("ledgergrid/entry@v1", origin, str(index), entry.ZEROS, AT, signature)
    return entry.leaf(*lines, record=signed.raw)


LEAVES = [place(LOCAL, n, make_signed(n + 1, ledger=LOCAL)) for n in range(3)]
HASHES = [tree.leaf_hash(each) for each in LEAVES]
CHARTER = ids.format_digest(HASHES[0])
ROOT = tree.root(HASHES)

ANCHOR = {"charter": CHARTER, "origin": LOCAL, "root": ids.format_digest(ROOT), "size": 3}


def spell(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def anchor_record(body: bytes, kind: str = "anchor/1", ledger: str = ORIGIN) -> SignedRecord:
    payload = {"body": part_ref(body)}
    return make_signed(9, key=OPERATOR, kind=kind, ledger=ledger, payload=payload)


def write_receipt(
    leaves: list[bytes], index: int, log: NoteSigner, root: bytes | None = None
) -> str:
    """Write a tlog-proof by hand."""
    hashes = [tree.leaf_hash(each) for each in leaves]
    path = tree.prove_inclusion(index, len(hashes), reader(hashes))
    header = leaves[index].partition(b"\n\n")[0] + b"\n\n"
    lines = ["c2sp.org/tlog-proof@v1", f"extra {b64encode(header).decode()}", f"index {index}"]
    lines += [b64encode(each).decode() for each in path]
    checkpoint = Checkpoint(log.name, len(hashes), root or tree.root(hashes))
    return "\n".join(lines) + "\n\n" + sign_checkpoint(checkpoint, log).decode()


def make(index: int = 1, body: bytes = spell(ANCHOR), **changed: Any) -> dict[str, Any]:
    """Make an anchored receipt as JSON, good or not."""
    signed = changed.pop("signed", None) or anchor_record(body)
    parent = [b"a charter", place(changed.pop("says", ORIGIN), 1, signed)]
    charter = tree.prove_inclusion(0, 3, reader(HASHES))
    return {
        "anchor": {
            "body": b64encode(body).decode(),
            "record": b64encode(signed.raw).decode(),
            "salt": b64encode(SALT).decode(),
        },
        "charter": [b64encode(each).decode() for each in charter],
        "format": "ledgergrid/anchored-receipt@v1",
        "local": write_receipt(LEAVES, index, LOCAL_LOG),
        "parent": write_receipt(parent, 1, LOG),
    } | changed


RECEIPT = spell(make()) + b"\n"


def check(name: str, made: dict[str, Any], leaf: bytes, code: str | None = None) -> Case:
    given = {"receipt": show(spell(made) + b"\n"), "leaf": show(leaf)}
    if code is not None:
        return refuse(name, "check_anchored", given, code)
    return accept(name, "check_anchored", given, {"origin": LOCAL, "size": 3, "charter": CHARTER})


def _unproven() -> list[Case]:
    good, other = make(), make(2)
    elsewhere = make(says="ledgergrid.example/log2")
    foreign = anchor_record(spell(ANCHOR), ledger="ledgergrid.example/log2")
    note = anchor_record(spell(ANCHOR), kind="note/1")
    larger = spell(ANCHOR | {"size": 4})
    another_root = spell(ANCHOR | {"root": ids.format_digest(bytes(32))})
    another_charter = spell(ANCHOR | {"charter": ids.format_digest(HASHES[1])})
    bad: dict[str, tuple[dict[str, Any], bytes, str]] = {
        "another entry": (good, LEAVES[2], "bad-proof"),
        "another entry's path": (good | {"local": other["local"]}, LEAVES[1], "bad-proof"),
        "another size in the anchor": (make(body=larger), LEAVES[1], "bad-proof"),
        "another root in the anchor": (make(body=another_root), LEAVES[1], "bad-proof"),
        "another charter in the anchor": (make(body=another_charter), LEAVES[1], "bad-proof"),
        "no path of the charter": (good | {"charter": []}, LEAVES[1], "bad-proof"),
        "the parent's receipt as the local one": (
            good | {"local": good["parent"]},
            LEAVES[1],
            "bad-proof",
        ),
        "a note in the anchor's place": (make(signed=note), LEAVES[1], "bad-proof"),
        "an anchor in another log": (elsewhere, LEAVES[1], "bad-proof"),
        "an anchor meant for another log": (make(signed=foreign), LEAVES[1], "bad-proof"),
        "another payload": (
            good | {"anchor": good["anchor"] | {"body": b64encode(larger).decode()}},
            LEAVES[1],
            "bad-commitment",
        ),
        "an anchor of its own log": (
            make(body=spell(ANCHOR | {"origin": ORIGIN})),
            LEAVES[1],
            "bad-payload",
        ),
        "an anchor that somebody else signed": (
            make(signed=_signed_by_another()),
            LEAVES[1],
            "bad-signature",
        ),
    }
    return [check(f"anchored receipt with {n}", *of) for n, of in bad.items()]


def _signed_by_another() -> SignedRecord:
    signed = anchor_record(spell(ANCHOR))
    return SignedRecord(signed.record, signed.raw, make_signed().signature)


def cases() -> list[Case]:
    good = make()
    bad = {
        "nothing": b"",
        "a receipt": good["local"].encode(),
        "without its line end": RECEIPT.rstrip(b"\n"),
        "with two line ends": RECEIPT + b"\n",
        "indented": json.dumps(good, indent=1, ensure_ascii=False).encode() + b"\n",
        "in another order": json.dumps(dict(reversed(good.items())), separators=(",", ":")).encode()
        + b"\n",
        "without the anchor": spell({k: v for k, v in good.items() if k != "anchor"}) + b"\n",
        "with one thing more": spell(good | {"more": 1}) + b"\n",
        "of another version": RECEIPT.replace(b"receipt@v1", b"receipt@v2"),
        "with a hash of 31 bytes": spell(good | {"charter": [b64encode(bytes(31)).decode()]})
        + b"\n",
        "with base64 without padding": RECEIPT.replace(b'=","', b'","'),
    }
    many = spell(good | {"charter": [b64encode(bytes(32)).decode()] * (limits.PROOF_HASHES + 1)})
    return [
        *(check(f"anchored receipt of entry {n}", make(n), LEAVES[n]) for n in range(3)),
        *_unproven(),
        *(
            refuse(f"anchored receipt {name}", "parse_anchored", {"receipt": show(raw)})
            for name, raw in bad.items()
        ),
        refuse(
            "anchored receipt with 64 hashes",
            "parse_anchored",
            {"receipt": show(many + b"\n")},
            "too-large",
        ),
    ]
