"""Vectors of the entry (docs/spec/entry.md)."""

from __future__ import annotations

from base64 import b64encode

from ledger_core import limits
from ledger_core.merkle import tree
from tests.vectors.build import ORIGIN, Case, accept, make_signed, refuse, show

ABOUT = "Entries: a signed record in its place"
PAGE = "entry.md"

SIGNED = make_signed()
ZEROS = "A" * 43 + "="
SIGNATURE = b64encode(SIGNED.signature).decode()
LINES = ("ledgergrid/entry@v1", ORIGIN, "0", ZEROS, "2026-08-01T10:11:12.400Z", SIGNATURE)


def leaf(*lines: str, record: bytes = SIGNED.raw) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode() + b"\n" + record


def _changed(line: int, text: str) -> bytes:
    return leaf(*LINES[:line], text, *LINES[line + 1 :])


def _fields() -> Case:
    return {
        "origin": ORIGIN,
        "index": 0,
        "previous": "00" * 32,
        "received_at_ms": 1_785_579_072_400,
        "signature": SIGNED.signature.hex(),
        "record": show(SIGNED.raw),
        "leaf_hash": tree.leaf_hash(leaf(*LINES)).hex(),
    }


def _good() -> list[Case]:
    good = {
        "first entry": leaf(*LINES),
        "entry far on": _changed(2, str(2**63 - 1)),
        "entry after another": _changed(3, "/" * 42 + "8="),
    }
    cases = [accept(name, "parse_entry", {"leaf": show(raw)}) for name, raw in good.items()]
    return [
        *cases,
        accept("fields of an entry", "entry fields", {"leaf": show(leaf(*LINES))}, _fields()),
    ]


def _headers() -> list[Case]:
    """A header alone, as a receipt carries it."""
    raw = leaf(*LINES, record=b"")
    bad = {
        "nothing": b"",
        "no blank line": raw[:-1],
        "two lines for the blank one": raw[:-1] + b"more\nlines",
        "a line for the blank one": raw[:-1] + b"more\n",
        "something after its blank line": raw + b"{",
        "two blank lines": raw + b"\n",
    }
    return [
        accept("header of an entry", "parse_header", {"header": show(raw)}),
        *(
            refuse(f"header with {name}", "parse_header", {"header": show(each)})
            for name, each in bad.items()
        ),
    ]


def cases() -> list[Case]:
    raw = leaf(*LINES)
    bad = {
        "nothing": b"",
        "record alone": SIGNED.raw,
        "another version": _changed(0, "ledgergrid/entry@v2"),
        "carriage returns": raw.replace(b"\n", b"\r\n"),
        "blank line before": b"\n" + raw,
        "blank line in the header": raw.replace(b"\n0\n", b"\n0\n\n"),
        "no blank line": raw.replace(b"\n\n", b"\n"),
        "header line missing": leaf(*LINES[:5]),
        "header line too many": leaf(*LINES, "more"),
        "header line that is not ASCII": _changed(1, "exämple.com"),
        "space after the origin": _changed(1, ORIGIN + " "),
        "origin that is empty": _changed(1, ""),
        "index with a zero before": _changed(2, "00"),
        "index with a sign": _changed(2, "+1"),
        "index below zero": _changed(2, "-1"),
        "index with an underscore": _changed(2, "1_0"),
        "index of 2**63": _changed(2, str(2**63)),
        "index in digits of another script": _changed(2, "٤١"),
        "previous without padding": _changed(3, ZEROS[:-1]),
        "previous with spare bits set": _changed(3, ZEROS[:-2] + "B="),
        "previous of 31 bytes": _changed(3, "A" * 42 + "=="),
        "previous in base64url": _changed(3, "_" * 42 + "8="),
        "time without milliseconds": _changed(4, "2026-08-01T10:11:12Z"),
        "time with an offset": _changed(4, "2026-08-01T10:11:12.400+00:00"),
        "signature of 63 bytes": _changed(5, "A" * 84),
        "signature with a space": _changed(5, " " + SIGNATURE),
    }
    endless = {"utf8": "a", "repeat": limits.ENTRY_BYTES}
    return [
        *_good(),
        *_headers(),
        *(refuse(name, "parse_entry", {"leaf": show(raw)}) for name, raw in bad.items()),
        refuse(
            "more bytes than an entry may have",
            "parse_entry",
            {"leaf": {"utf8": "ledgergrid/entry@v1\n", "after": endless}},
            "too-large",
        ),
    ]
