"""Vectors of the archive's own files (docs/spec/archive.md)."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

from ledger_core import limits
from ledger_core.merkle import tree
from tests.vectors.build import (
    MADE_AT,
    OPERATOR,
    ORIGIN,
    SALT,
    Case,
    accept,
    number_id,
    refuse,
    show,
)
from tests.vectors.record import DIGEST

ABOUT = "Archives: payload frames, registers, range proofs, manifests and their signatures"
PAGE = "archive.md"

LEAVES = [tree.leaf_hash(b"entry %d" % n) for n in range(11)]


def frame(
    index: int, name: bytes, salt: bytes = b"", data: bytes | None = None, hidden: int = 2
) -> bytes:
    """Write a frame by hand."""
    status = hidden if data is None else 1
    head = struct.pack(">QBB", index, status, len(name)) + name
    return head if data is None else head + salt + struct.pack(">I", len(data)) + data


def _frames() -> list[Case]:
    present, withheld = frame(7, b"body", SALT, b"{}"), frame(8, b"request")
    good = {
        "no frame": (b"", []),
        "present part": (present, [[7, "body", SALT.hex(), "7b7d"]]),
        "withheld part": (withheld, [[8, "request", None, None]]),
        "redacted part": (frame(8, b"request", hidden=3), [[8, "request", "redacted", None]]),
        "empty part": (frame(0, b"body", SALT, b""), [[0, "body", SALT.hex(), ""]]),
        "two parts": (
            present + withheld,
            [[7, "body", SALT.hex(), "7b7d"], [8, "request", None, None]],
        ),
    }
    bad = {
        "cut in its head": present[:5],
        "cut in its name": present[:12],
        "cut in its salt": present[:40],
        "cut in its size": present[:48],
        "cut in its data": present[:-1],
        "with status 0": present.replace(b"\x01\x04body", b"\x00\x04body"),
        "with status 4": present.replace(b"\x01\x04body", b"\x04\x04body"),
        "with a name that is not ASCII": frame(7, "böd".encode(), SALT, b"{}"),
        "with something after": present + b"\x00",
    }
    huge = struct.pack(">QBB", 7, 1, 4) + b"body" + SALT
    return [
        *(
            accept(f"frames: {name}", "read_frames", {"frames": {"hex": raw.hex()}}, parsed)
            for name, (raw, parsed) in good.items()
        ),
        *(
            refuse(f"frame {name}", "read_frames", {"frames": {"hex": raw.hex()}})
            for name, raw in bad.items()
        ),
        refuse(
            "frame larger than a part may be",
            "read_frames",
            {"frames": {"hex": (huge + struct.pack(">I", limits.PAYLOAD_PART_BYTES + 1)).hex()}},
            "too-large",
        ),
    ]


_HEADER = "index,change,target,parts,author,status,since,agreed,detail\n"


def _registers() -> list[Case]:
    author = "ed25519:" + _base64url(OPERATOR.public_key)
    amendment = f"8,amendment,5,,{author},in-force,8,0,\n"
    good: dict[str, tuple[str, list[list[Any]]]] = {
        "nothing in it": ("", []),
        "an amendment": (
            amendment,
            [[8, "amendment", 5, [], author, "in-force", 8, 0, ""]],
        ),
        "a redaction of two parts": (
            f"11,redact,5,body call,{author},in-force,13,2,auditor\n",
            [[11, "redact", 5, ["body", "call"], author, "in-force", 13, 2, "auditor"]],
        ),
        "an erasure that waits": (
            f"14,erasure,6,body,{author},waiting,,1,request\n",
            [[14, "erasure", 6, ["body"], author, "waiting", None, 1, "request"]],
        ),
        "a refusal": (
            f"19,refusal,,,{author},refused,,0,no-standing hold/1\n",
            [[19, "refusal", None, [], author, "refused", None, 0, "no-standing hold/1"]],
        ),
    }
    bad = {
        "another change": amendment.replace("amendment", "deletion"),
        "another status": amendment.replace("in-force", "confirmed"),
        "a cell missing": amendment.replace(",,", ","),
        "a cell too many": amendment.replace("\n", ",\n"),
        "a quoted cell": amendment.replace("amendment", '"amendment"'),
        "a formula": amendment.replace(",0,\n", ",0,=1+1\n"),
        "a formula for an author": amendment.replace(author, "@author"),
        "a zero before a number": amendment.replace("8,", "08,", 1),
        "a sign": amendment.replace("8,", "+8,", 1),
        "two spaces": f"11,redact,5,body  call,{author},in-force,13,2,auditor\n",
        "no newline at the end": amendment[:-1],
        "carriage returns": amendment.replace("\n", "\r\n"),
        "a line too long": amendment.replace(",0,\n", f",0,{'x' * 4096}\n"),
    }
    texts = {
        **{name: _HEADER + text for name, text in bad.items()},
        "no header": amendment,
        "another header": _HEADER.replace("target", "entry") + amendment,
        "nothing at all": "",
    }
    return [
        *(
            accept(
                f"register with {name}",
                "read_mutations",
                {"register": {"utf8": _HEADER + text}},
                lines,
            )
            for name, (text, lines) in good.items()
        ),
        *(
            refuse(f"register with {name}", "read_mutations", {"register": {"utf8": text}})
            for name, text in texts.items()
        ),
    ]


def _hashes(*ranges: tuple[int, int]) -> list[bytes]:
    return [tree.root(LEAVES[start:end]) for start, end in ranges]


def _write_proof(start: int, end: int, size: int, hashes: list[bytes]) -> bytes:
    lines = ["ledgergrid/range-proof@v1", str(start), str(end), str(size)]
    lines += [b64encode(each).decode() for each in hashes]
    return "".join(f"{line}\n" for line in lines).encode()


def _range_proofs() -> list[Case]:
    good = {
        "all of it": (0, 11, _hashes()),
        "the beginning": (0, 4, _hashes((4, 8), (8, 10), (10, 11))),
        "the end": (8, 11, _hashes((0, 8))),
        "the middle": (5, 7, _hashes((0, 4), (4, 5), (7, 8), (8, 10), (10, 11))),
        "one entry": (10, 11, _hashes((0, 8), (8, 10))),
    }
    start, end, hashes = good["the middle"]
    middle = _write_proof(start, end, 11, hashes)
    bad = {
        "nothing": b"",
        "another version": middle.replace(b"@v1", b"@v2"),
        "no final newline": middle[:-1],
        "a blank line": middle + b"\n",
        "carriage returns": middle.replace(b"\n", b"\r\n"),
        "a zero before a number": middle.replace(b"\n5\n", b"\n05\n"),
        "a number missing": middle.replace(b"\n11\n", b"\n"),
        "an empty range": _write_proof(5, 5, 11, hashes),
        "a range backwards": _write_proof(7, 5, 11, hashes),
        "a range beyond the tree": _write_proof(5, 12, 11, hashes),
        "a hash missing": _write_proof(5, 7, 11, hashes[:-1]),
        "a hash too many": _write_proof(5, 7, 11, [*hashes, LEAVES[0]]),
        "a hash of 31 bytes": _write_proof(5, 7, 11, [*hashes[:-1], bytes(31)]),
        "a hash without padding": middle.replace(b"=\n", b"\n", 1),
    }
    wrong = {
        "two hashes exchanged": (5, 7, [hashes[1], hashes[0], *hashes[2:]]),
        "the range moved by one": (4, 6, _hashes((0, 4), (6, 8), (8, 10), (10, 11))),
        "a hash of another node": (5, 7, [*hashes[:-1], LEAVES[0]]),
    }
    root = tree.root(LEAVES).hex()
    leaves = [each.hex() for each in LEAVES]
    cases = [
        accept(
            f"range proof of {name}",
            "range root",
            {
                "proof": show(_write_proof(first, last, 11, proof)),
                "leaf_hashes": leaves[first:last],
            },
            root,
        )
        for name, (first, last, proof) in good.items()
    ]
    cases += [
        refuse(f"range proof with {name}", "parse_range_proof", {"proof": show(raw)})
        for name, raw in bad.items()
    ]
    return cases + [
        refuse(
            f"range proof with {name}",
            "range root",
            {
                "proof": show(_write_proof(first, last, 11, proof)),
                "leaf_hashes": leaves[5:7],
                "root": root,
            },
            "another root",
        )
        for name, (first, last, proof) in wrong.items()
    ]


def make_manifest(**fields: Any) -> dict[str, Any]:
    files = [{"digest": DIGEST, "name": "checkpoint", "size": 1}]
    return {
        "v": 1,
        "origin": ORIGIN,
        "charter": DIGEST,
        "scope": {"start": 0, "end": 11, "size": 11, "root": DIGEST},
        "counts": {
            "entries": 11,
            "context": 0,
            "parts_present": 11,
            "parts_withheld": 0,
            "by_type": {"charter/1": 1, "note/1": 10},
        },
        "exported_by": "ed25519:" + _base64url(OPERATOR.public_key),
        "exported_at": MADE_AT,
        "export_id": number_id(9),
        "files": files,
        **fields,
    }


def spell(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _manifests() -> list[Case]:
    def named(*names: str) -> dict[str, Any]:
        return {"files": [{"digest": DIGEST, "name": name, "size": 1} for name in names]}

    good: dict[str, dict[str, Any]] = {
        "one file": {},
        "redacted and erased parts": {
            "counts": {**make_manifest()["counts"], "parts_redacted": 2, "parts_erased": 1}
        },
        "no file": named(),
        "files in folders": named(
            "checkpoint", "entries/000000000000.bundle", "schemas/a.b-1.json"
        ),
    }
    bad: dict[str, dict[str, Any]] = {
        "version 2": {"v": 2},
        "an unknown field": {"trust": LEAVES[0].hex()},
        "files out of order": named("b", "a"),
        "a file twice": named("a", "a"),
        "a negative count": {"counts": {**make_manifest()["counts"], "entries": -1}},
        "a float": {"counts": {**make_manifest()["counts"], "entries": 1.5}},
        "null": {"charter": None},
        **{
            f"a file named {name!r}": named(name)
            for name in (
                "", "/etc/passwd", "../up", "a/../b", "a/./b", "a//b", "a/", ".hidden", "a/.b",
                "C:\\a", "a\\b", "a b", "a\nb", "a\x00b", "ä", "~a", "a:b",
            )
        },
    }  # fmt: skip
    raw = spell(make_manifest())
    good_bytes = {name: spell(make_manifest(**change)) for name, change in good.items()}
    bad_bytes = {name: spell(make_manifest(**change)) for name, change in bad.items()}
    bad_bytes |= {"a space": raw.replace(b'"v":1', b'"v": 1'), "a newline": raw + b"\n"}
    return [
        *(
            accept(f"manifest with {n}", "parse_manifest", {"manifest": show(x)})
            for n, x in good_bytes.items()
        ),
        *(
            refuse(f"manifest with {n}", "parse_manifest", {"manifest": show(x)})
            for n, x in bad_bytes.items()
        ),
    ]


def _manifest_signatures() -> list[Case]:
    raw = spell(make_manifest())
    kind = b"application/vnd.ledgergrid.manifest+json"
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(raw), raw)
    key = "ed25519:" + _base64url(OPERATOR.public_key)
    sig = b64encode(OPERATOR.sign(signed)).decode()
    text = f"ledgergrid/manifest-signature@v1\n{key}\n{sig}\n"
    given = {"manifest": show(raw), "signature": {"utf8": text}}
    bad = {
        "another version": text.replace("@v1", "@v2"),
        "no final newline": text[:-1],
        "a line too many": text + "more\n",
        "two lines": text.rpartition(sig)[0],
        "carriage returns": text.replace("\n", "\r\n"),
        "a key in padded base64": text.replace(key, key + "="),
    }
    bare = b64encode(OPERATOR.sign(raw)).decode()
    return [
        accept("signed manifest", "verify_manifest", given, key),
        *(
            refuse(f"manifest.sig with {n}", "verify_manifest", {**given, "signature": {"utf8": x}})
            for n, x in bad.items()
        ),
        refuse(
            "manifest.sig of another manifest",
            "verify_manifest",
            {**given, "manifest": show(raw.replace(b'"entries":11', b'"entries":12'))},
            "bad-signature",
        ),
        refuse(
            "manifest.sig over the bare manifest",
            "verify_manifest",
            {**given, "signature": {"utf8": text.replace(sig, bare)}},
            "bad-signature",
        ),
    ]


def _base64url(raw: bytes) -> str:
    return b64encode(raw, altchars=b"-_").decode().rstrip("=")


def cases() -> list[Case]:
    return [*_frames(), *_registers(), *_range_proofs(), *_manifests(), *_manifest_signatures()]
