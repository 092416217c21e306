"""Vectors of the certificate of erasure (docs/spec/certificate.md)."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from ledger_core import ids
from ledger_core.formats.record import SignedRecord
from ledger_core.merkle import tree
from tests.vectors.anchor import place, spell, write_receipt
from tests.vectors.build import (
    LOG,
    OPERATOR,
    ORIGIN,
    SALT,
    Case,
    accept,
    make_signed,
    part_ref,
    refuse,
    show,
)

ABOUT = "Certificates of erasure: an order and the record that it is done, each with its receipt"
PAGE = "certificate.md"

TARGET = {"entry": ids.format_digest(bytes(32)), "parts": ["body"]}
ORDER = {"reason": "subject", "targets": [TARGET]}


def record(number: int, kind: str, body: bytes, ledger: str = ORIGIN) -> SignedRecord:
    payload = {"body": part_ref(body)}
    return make_signed(number, key=OPERATOR, kind=kind, ledger=ledger, payload=payload)


ORDERED = record(11, "erasure/1", spell(ORDER))
FIRST = [b"a charter", place(ORIGIN, 1, ORDERED)]
DONE = {
    "backups_until": "2026-09-01T00:00:00.000Z",
    "order": ids.format_digest(tree.leaf_hash(FIRST[1])),
    "parts": 1,
    "stores": ["keys", "payloads", "views"],
}


def shown(leaves: list[bytes], index: int, signed: SignedRecord, body: bytes) -> dict[str, str]:
    return {
        "body": b64encode(body).decode(),
        "receipt": write_receipt(leaves, index, LOG),
        "record": b64encode(signed.raw).decode(),
        "salt": b64encode(SALT).decode(),
    }


def make(
    done: dict[str, Any] | None = None,
    *,
    kind: str = "erasure.done/1",
    says: str = ORIGIN,
    **changed: Any,
) -> dict[str, Any]:
    """Make a certificate as JSON, good or not."""
    body = spell(DONE | (done or {}))
    signed = record(12, kind, body)
    leaves = [*FIRST, place(says, 2, signed)]
    erased = {
        "done": shown(leaves, 2, signed, body),
        "order": shown(leaves, 1, ORDERED, spell(ORDER)),
    }
    return {
        "erasures": [erased],
        "format": "ledgergrid/erasure-certificate@v1",
        "issued_at": "2026-08-02T00:00:00.000Z",
    } | changed


CERTIFICATE = spell(make()) + b"\n"


def check(name: str, made: dict[str, Any], code: str | None = None) -> Case:
    given = {"certificate": show(spell(made) + b"\n")}
    if code is not None:
        return refuse(name, "check_certificate", given, code)
    proved = {"origin": ORIGIN, "order": 1, "done": 2, "entries": 1, "parts": 1}
    return accept(name, "check_certificate", given, {"erasures": [proved]})


def _unproven() -> list[Case]:
    good = make()
    (erased,) = good["erasures"]
    other = spell(DONE | {"parts": 7})
    bad: dict[str, tuple[dict[str, Any], str]] = {
        "what was done upon another order": (make({"order": TARGET["entry"]}), "bad-proof"),
        "the order twice": (
            good | {"erasures": [{"order": erased["order"], "done": erased["order"]}]},
            "bad-proof",
        ),
        "order and done record changed over": (
            good | {"erasures": [{"order": erased["done"], "done": erased["order"]}]},
            "bad-proof",
        ),
        "a done record in another log": (make(says="ledgergrid.example/log2"), "bad-proof"),
        "another count": (
            good
            | {
                "erasures": [
                    erased | {"done": erased["done"] | {"body": b64encode(other).decode()}}
                ]
            },
            "bad-commitment",
        ),
        "another entry's receipt": (
            good
            | {
                "erasures": [
                    erased | {"done": erased["done"] | {"receipt": erased["order"]["receipt"]}}
                ]
            },
            "bad-proof",
        ),
        "a store without a name": (make({"stores": [""]}), "bad-payload"),
    }
    return [check(f"certificate with {n}", *of) for n, of in bad.items()]


def cases() -> list[Case]:
    good = make()
    twice = good | {"erasures": good["erasures"] * 2}
    bad = {
        "nothing": b"",
        "without its line end": CERTIFICATE.rstrip(b"\n"),
        "with two line ends": CERTIFICATE + b"\n",
        "indented": json.dumps(good, indent=1, ensure_ascii=False).encode() + b"\n",
        "of another version": CERTIFICATE.replace(b"certificate@v1", b"certificate@v2"),
        "of nothing": spell(good | {"erasures": []}) + b"\n",
        "with one thing more": spell(good | {"subject": "user:42"}) + b"\n",
        "issued at no time": spell(good | {"issued_at": "today"}) + b"\n",
    }
    return [
        check("a certificate of one order", good),
        *_unproven(),
        accept(
            "a certificate that says the same twice",
            "parse_certificate",
            {"certificate": show(spell(twice) + b"\n")},
            None,
        ),
        *(
            refuse(f"certificate {name}", "parse_certificate", {"certificate": show(raw)})
            for name, raw in bad.items()
        ),
    ]
