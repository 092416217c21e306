"""Vectors of what witnesses are asked, and answer (docs/spec/witness.md)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from ledger_core import limits
from tests.vectors.build import ORIGIN, WITNESS, Case, accept, refuse, show
from tests.vectors.notes import PQ_LINE, TALL, TALL_NOTE, cosign

ABOUT = "Witnesses: the add-checkpoint request, its answers, where a log is shown"
PAGE = "witness.md"

HASHES = [b64encode(bytes([number]) * 32).decode() for number in range(1, 65)]


def ask(old: str, hashes: list[str], note: bytes = TALL_NOTE) -> bytes:
    return "\n".join([f"old {old}", *hashes, "", ""]).encode() + note


REQUEST = ask("65536", HASHES[:3])


def _requests() -> list[Case]:
    good = {
        "of three hashes": (REQUEST, [65536, 3]),
        "without a proof": (ask("0", []), [0, 0]),
        "of 63 hashes": (ask("1", HASHES[:63]), [1, 63]),
        "with an old size beyond the new one": (ask("70001", []), [70001, 0]),
        "with a cosignature": (ask("0", [], cosign(TALL_NOTE, WITNESS)), [0, 0]),
    }
    bad = {
        "nothing": b"",
        "no old size": b"\n" + TALL_NOTE,
        "the checkpoint alone": TALL_NOTE,
        "no blank line": b"old 0\n" + TALL_NOTE,
        "no checkpoint": b"old 0\n\n",
        "an old size with a zero before": ask("02", []),
        "an old size with a sign": ask("+2", []),
        "an old size below zero": ask("-2", []),
        "an old size in another script": ask("٢", []),
        "two spaces": ask(" 2", []),
        "a space after": ask("2 ", []),
        "an empty old size": ask("", []),
        "an old size of 2**63": ask(str(2**63), []),
        "a word in capitals": ask("1", []).replace(b"old", b"Old"),
        "a hash of 31 bytes": ask("1", [b64encode(bytes(31)).decode()]),
        "a hash of 33 bytes": ask("1", [b64encode(bytes(33)).decode()]),
        "a hash in hex": ask("1", [TALL.root.hex()]),
        "a hash without padding": ask("1", [HASHES[0].rstrip("=")]),
        "a hash with a space": ask("1", [HASHES[0] + " "]),
        "carriage returns": REQUEST.replace(b"\n", b"\r\n"),
        "an extension line": REQUEST.replace(
            b64encode(TALL.root) + b"\n", b64encode(TALL.root) + b"\nmore\n"
        ),
        "a checkpoint without signatures": ask("0", [], TALL_NOTE.partition(b"\n\n")[0] + b"\n\n"),
        "a byte that is not ASCII": ask("1", ["é"]),
    }
    too_large = ask("1", HASHES[:64])
    big = {"utf8": "old 0\n", "after": {"utf8": "x", "repeat": limits.ADD_CHECKPOINT_BYTES}}
    return [
        *(
            accept(f"request {n}", "parse_add_checkpoint", {"request": show(x)}, gives)
            for n, (x, gives) in good.items()
        ),
        *(
            refuse(f"request with {n}", "parse_add_checkpoint", {"request": show(x)})
            for n, x in bad.items()
        ),
        refuse(
            "request of 64 hashes",
            "parse_add_checkpoint",
            {"request": show(too_large)},
            "too-large",
        ),
        refuse("request too large", "parse_add_checkpoint", {"request": big}, "too-large"),
    ]


def _answers() -> list[Case]:
    line = cosign(TALL_NOTE, WITNESS)[len(TALL_NOTE) :].decode()
    good = {
        "one line": (line, 1),
        "two lines": (line + PQ_LINE, 2),
        "the same line twice": (line * 2, 2),
    }
    bad = {
        "nothing": "",
        "a newline": "\n",
        "no final newline": line[:-1],
        "a blank line before": "\n" + line,
        "a blank line after": line + "\n",
        "a hyphen for the dash": line.replace("—", "-"),
        "a whole note": TALL_NOTE.decode(),
        "carriage returns": line.replace("\n", "\r\n"),
    }
    many = {"utf8": line, "repeat": limits.NOTE_SIGNATURES + 1}
    large = {"utf8": "x", "repeat": limits.COSIGNATURES_BYTES + 1}
    does = "parse_cosignatures"
    return [
        *(
            accept(f"answer of {n}", does, {"answer": show(x.encode())}, count)
            for n, (x, count) in good.items()
        ),
        *(refuse(f"answer with {n}", does, {"answer": show(x.encode())}) for n, x in bad.items()),
        refuse("answer with a byte that is not UTF-8", does, {"answer": {"hex": "ff0a"}}),
        refuse("answer with more than a hundred lines", does, {"answer": many}, "too-large"),
        refuse("answer too large", does, {"answer": large}, "too-large"),
    ]


def _sizes() -> list[Case]:
    good = {"0\n": 0, "70000\n": 70000, f"{2**63 - 1}\n": 2**63 - 1}
    bad = ["", "\n", "70000", "070000\n", "+7\n", "-1\n", "7 \n", " 7\n", "7\r\n", "7\n\n", "٧\n"]
    return [
        *(
            accept(f"size {text!r}", "parse_size", {"answer": show(text.encode())}, size)
            for text, size in good.items()
        ),
        *(refuse(f"size {text!r}", "parse_size", {"answer": show(text.encode())}) for text in bad),
    ]


def cases() -> list[Case]:
    shown = sha256(ORIGIN.encode()).hexdigest()
    where = accept("where a log is shown", "origin_digest", {"origin": ORIGIN}, shown)
    return [*_requests(), *_answers(), *_sizes(), where]
