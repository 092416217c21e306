"""Vectors of the receipt (docs/spec/receipt.md)."""

from __future__ import annotations

from base64 import b64encode

from ledger_core import limits
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint
from ledger_core.merkle import tree
from tests.vectors import entry
from tests.vectors.build import LOG, ORIGIN, WITNESS, Case, accept, refuse, show
from tests.vectors.notes import cosign
from tests.vectors.tree import reader

ABOUT = "Receipts: C2SP tlog-proof with the entry's header as extra data"
PAGE = "receipt.md"

LEAF = entry.leaf(*entry.LINES)
HEADER = LEAF.partition(b"\n\n")[0] + b"\n\n"
LEAVES = [LEAF, b"entry 1", b"entry 2", b"entry 3", b"entry 4"]
HASHES = [tree.leaf_hash(each) for each in LEAVES]
NOTE = sign_checkpoint(Checkpoint(ORIGIN, len(LEAVES), tree.root(HASHES)), LOG)


def write(index: int, hashes: list[bytes], *, extra: bytes = HEADER, note: bytes = NOTE) -> bytes:
    """Write a receipt by hand, good or not."""
    lines = ["c2sp.org/tlog-proof@v1"]
    if extra:
        lines.append(f"extra {b64encode(extra).decode()}")
    lines += [f"index {index}", *(b64encode(each).decode() for each in hashes)]
    return "\n".join(lines).encode() + b"\n\n" + note


def path(index: int) -> list[bytes]:
    return tree.prove_inclusion(index, len(LEAVES), reader(HASHES))


RECEIPT = write(0, path(0))


def _good() -> list[Case]:
    alone = sign_checkpoint(Checkpoint(ORIGIN, 1, HASHES[0]), LOG)
    good = {
        "receipt": (RECEIPT, LEAF),
        "receipt with a cosignature": (write(0, path(0), note=cosign(NOTE, WITNESS)), LEAF),
        "receipt without a header": (write(0, path(0), extra=b""), LEAF),
        "receipt of the last entry": (write(4, path(4), extra=b""), LEAVES[4]),
        "receipt of the only entry": (write(0, [], note=alone), LEAF),
    }
    return [
        accept(name, "check_receipt", {"receipt": show(raw), "leaf": show(leaf)})
        for name, (raw, leaf) in good.items()
    ]


def _unproven() -> list[Case]:
    other = sign_checkpoint(Checkpoint(ORIGIN, 5, tree.root(HASHES[::-1])), LOG)
    bad = {
        "another leaf": (RECEIPT, LEAF + b" "),
        "another index": (write(1, path(0)), LEAF),
        "an index beyond the tree": (write(5, path(0)), LEAF),
        "another's path": (write(0, path(2)), LEAF),
        "a hash missing": (write(0, path(0)[:-1]), LEAF),
        "a hash too many": (write(0, [*path(0), HASHES[1]]), LEAF),
        "another root": (write(0, path(0), note=other), LEAF),
    }
    return [
        refuse(
            f"receipt with {name}",
            "check_receipt",
            {"receipt": show(raw), "leaf": show(leaf)},
            "bad-proof",
        )
        for name, (raw, leaf) in bad.items()
    ]


def cases() -> list[Case]:
    encoded = b64encode(HEADER)
    bad = {
        "nothing": b"",
        "checkpoint alone": NOTE,
        "the older format without a first line": RECEIPT.partition(b"\n")[2],
        "another version": RECEIPT.replace(b"@v1", b"@v2"),
        "carriage returns": RECEIPT.replace(b"\n", b"\r\n"),
        "a blank line before": b"\n" + RECEIPT,
        "no blank line": RECEIPT.replace(b"\n\n", b"\n", 1),
        "two blank lines": RECEIPT.replace(b"\n\n", b"\n\n\n", 1),
        "no checkpoint": RECEIPT.partition(b"\n\n")[0] + b"\n\n",
        "an unsigned checkpoint": RECEIPT.rpartition(b"\n\n")[0] + b"\n",
        "a note that is no checkpoint": RECEIPT.replace(b"\n5\n", b"\nfive\n"),
        "extra twice": RECEIPT.replace(b"\nindex", b"\nextra AAAA\nindex"),
        "extra after the index": RECEIPT.replace(
            b"extra " + encoded + b"\nindex 0", b"index 0\nextra AAAA"
        ),
        "extra after the path": RECEIPT.replace(b"\n\n", b"\nextra AAAA\n\n", 1),
        "extra that is empty": RECEIPT.replace(b"extra " + encoded, b"extra "),
        "extra without a space": RECEIPT.replace(b"extra " + encoded, b"extra"),
        "extra without padding": write(0, path(0), extra=b"a").replace(b"YQ==", b"YQ"),
        "extra with spare bits set": write(0, path(0), extra=b"a").replace(b"YQ==", b"YR=="),
        "no index": RECEIPT.replace(b"\nindex 0", b""),
        "index twice": RECEIPT.replace(b"index 0", b"index 0\nindex 0"),
        "index with a zero before": RECEIPT.replace(b"index 0", b"index 00"),
        "index below zero": RECEIPT.replace(b"index 0", b"index -1"),
        "index in capitals": RECEIPT.replace(b"index 0", b"Index 0"),
        "index with two spaces": RECEIPT.replace(b"index 0", b"index  0"),
        "index of 2**63": RECEIPT.replace(b"index 0", b"index 9223372036854775808"),
        "a hash of 31 bytes": write(0, [bytes(31)]),
        "a hash in hex": RECEIPT.replace(b"index 0\n", b"index 0\n" + b"00" * 32 + b"\n"),
        "an unknown line": RECEIPT.replace(b"index 0", b"size 5\nindex 0"),
    }
    many = write(0, [bytes(32)] * (limits.PROOF_HASHES + 1))
    return [
        *_good(),
        *_unproven(),
        *(
            refuse(f"receipt that is: {name}", "parse_receipt", {"receipt": show(raw)})
            for name, raw in bad.items()
        ),
        refuse("receipt with 64 hashes", "parse_receipt", {"receipt": show(many)}, "too-large"),
    ]
