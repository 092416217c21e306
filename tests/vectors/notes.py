"""Vectors of keys, notes, checkpoints and cosignatures (docs/spec/note-and-checkpoint.md)."""

from __future__ import annotations

from base64 import b64encode

from ledger_core import limits
from ledger_core.formats import mldsa44, vkey
from ledger_core.formats.checkpoint import Checkpoint, sign_checkpoint
from ledger_core.formats.vkey import WitnessSigner
from tests.vectors.build import LOG, ORIGIN, WITNESS, Case, accept, refuse, show
from tests.vectors.post_quantum import (
    LOG_SEED_KEY_ID,
    PQ_KEY_ID,
    PQ_SIGNATURE,
    PQ_WITNESS,
)
from tests.vectors.tree import PUBLISHED_ROOTS, TALL_ROOT, TALL_SIZE

ABOUT = "Keys of logs and witnesses, signed notes, checkpoints, cosignatures"
PAGE = "note-and-checkpoint.md"

LOG_VKEY = "ledgergrid.example/log1+c61e0fa5+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
WITNESS_VKEY = "witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU"
"""Published by an independent program for seeds 01×32 and 02×32."""

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
C2SP_EXAMPLE = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb"
    "6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33W"
    "Wd1RvMc+QQ=\n"
)
"""Text, keys and lines as golang.org/x/mod/sumdb/note publishes them."""

SIGSUM_ORIGIN = (
    "sigsum.org/v1/tree/e796172b92befd62d9dc67e41c2f5bc9d3100a3023b20b1ca40288dd1c679e69"
)
SIGSUM_PUBLIC = "66e0b858e462a609e66fe71370c816d8846ff103d5499a22a7fec37fdbc424a7"
SIGSUM_VKEY = f"{SIGSUM_ORIGIN}+809da1a3+AWbguFjkYqYJ5m/nE3DIFtiEb/ED1UmaIqf+w3/bxCSn"
SIGSUM_PRIVATE = (
    f"PRIVATE+KEY+{SIGSUM_ORIGIN}+809da1a3+AREAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)
SIGSUM_ROOT = "1c0e47" + "00" * 29
SIGSUM_NOTE = (
    f"{SIGSUM_ORIGIN}\n10\nHA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— {SIGSUM_ORIGIN} "
    "gJ2ho0n8F8olcerUF1FFdv235A/5as/coWrpLrtE7ovMeP5whgwouYExowG/lTznxu6OUGjjt5yJQ6bXtTcf718MqAQ=\n"
).encode()
"""A log named by its key, and a checkpoint of it, as sigsum.org/sigsum-go publishes them."""

TALL = Checkpoint(ORIGIN, TALL_SIZE, bytes.fromhex(TALL_ROOT))
TALL_NOTE = sign_checkpoint(TALL, LOG)
TALL_TEXT = TALL_NOTE.partition(b"\n\n")[0] + b"\n"
TIME_S = 1_785_579_073


PQ_VKEY = (
    f"witness.example/pq1+{PQ_KEY_ID}+"
    f"{b64encode(bytes([6]) + PQ_WITNESS.private.public_key).decode()}"
)
PQ_BLOB = TIME_S.to_bytes(8) + PQ_SIGNATURE
PQ_LINE = f"— witness.example/pq1 {b64encode(bytes.fromhex(PQ_KEY_ID) + PQ_BLOB).decode()}\n"


def cosign(note: bytes, *witnesses: WitnessSigner, time_s: int = TIME_S) -> bytes:
    """Add cosignature lines to a signed checkpoint."""
    text = note.partition(b"\n\n")[0] + b"\n"
    for witness in witnesses:
        made = witness.cosign(text, time_s)
        note += f"— {made.name} {b64encode(made.key_id + made.blob).decode()}\n".encode()
    return note


def _keys() -> list[Case]:
    good = {
        "key of the log": (LOG_VKEY, 1),
        "key of the witness": (WITNESS_VKEY, 4),
        "key of the ML-DSA-44 witness": (PQ_VKEY, 6),
        "ML-DSA-44 key of the log's name": (
            f"{ORIGIN}+{LOG_SEED_KEY_ID}+"
            + b64encode(bytes([6]) + mldsa44.PrivateKey(b"\x04" * 32).public_key).decode(),
            6,
        ),
        "key of the C2SP example": (C2SP_EXAMPLE, 1),
        "key of Peter Neumann": (PETER, 1),
        "key of Enoch Root": (ENOCH, 1),
    }
    name, key_id, encoded = LOG_VKEY.split("+", 2)
    raw = bytes([1]) + LOG.public.public_key

    def with_right_id(name: str, algorithm: int, public_key: bytes) -> str:
        right = vkey.compute_key_id(name, algorithm, public_key).hex()
        return f"{name}+{right}+{b64encode(bytes([algorithm]) + public_key).decode()}"

    witness_encoded = b64encode(bytes([4]) + raw[1:]).decode()
    bad = {
        "nothing": "",
        "name alone": name,
        "no key": f"{name}+{key_id}",
        "no name": f"+{key_id}+{encoded}",
        "a name with a space": with_right_id("my log", 1, raw[1:]),
        "a name with a no-break space": with_right_id("my\u00a0log", 1, raw[1:]),
        "a name with a line separator": with_right_id("my\u2028log", 1, raw[1:]),
        "a name with a next line": with_right_id("my\u0085log", 1, raw[1:]),
        "a name with a newline": with_right_id("my\nlog", 1, raw[1:]),
        "a name with a zero byte": with_right_id("my\x00log", 1, raw[1:]),
        "another name": f"other.example/log+{key_id}+{encoded}",
        "another key id": f"{name}+c61e0fa6+{encoded}",
        "a key id in capitals": f"{name}+{key_id.upper()}+{encoded}",
        "a key id of seven digits": f"{name}+{key_id[1:]}+{encoded}",
        "a space after": LOG_VKEY + " ",
        "a newline after": LOG_VKEY + "\n",
        "base64url": LOG_VKEY.replace("/VLb", "_VLb"),
        "padding too many": LOG_VKEY + "====",
        "a byte missing": with_right_id(name, 1, raw[1:-1]),
        "a byte too many": with_right_id(name, 1, raw[1:] + b"\x00"),
        "type 0x02": with_right_id(name, 2, raw[1:]),
        "type 0x05": with_right_id(name, 5, raw[1:]),
        "type 0x06 and an Ed25519 key": with_right_id(name, 6, raw[1:]),
        "type 0x04 and an ML-DSA-44 key": with_right_id(name, 4, PQ_WITNESS.private.public_key),
        "type 0x06 and a byte missing": with_right_id(name, 6, PQ_WITNESS.private.public_key[1:]),
        "type 0x06 and a name of 256 bytes": with_right_id(
            "x" * 256, 6, PQ_WITNESS.private.public_key
        ),
        "no type": f"{name}+{key_id}+",
        "the id of another type": f"{name}+{key_id}+{witness_encoded}",
        "Peter's name and a wrong length": (
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=="
        ),
        "Peter's name and an unknown algorithm": (
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        ),
    }
    small = with_right_id(name, 1, b"\x01" + bytes(31))
    return [
        *(
            accept(name, "parse_vkey", {"vkey": text}, algorithm)
            for name, (text, algorithm) in good.items()
        ),
        *(refuse(f"vkey with {name}", "parse_vkey", {"vkey": text}) for name, text in bad.items()),
        refuse("vkey of small order", "parse_vkey", {"vkey": small}, "bad-signature"),
        accept("private key and its vkey", "parse_skey", {"skey": PETER_PRIVATE}, PETER),
        accept(
            "private key of Sigsum's example", "parse_skey", {"skey": SIGSUM_PRIVATE}, SIGSUM_VKEY
        ),
        accept("log named by its key", "make_key_name", {"key": SIGSUM_PUBLIC}, SIGSUM_ORIGIN),
        accept("key of a log named by it", "check_named_by_key", {"vkey": SIGSUM_VKEY}),
        accept("key of a log that is not", "check_named_by_key", {"vkey": LOG_VKEY}),
        refuse(
            "key of a log named by another",
            "check_named_by_key",
            {"vkey": with_right_id(SIGSUM_ORIGIN, 1, raw[1:])},
        ),
        *(
            accept(f"private key of {whose}", "parse_skey", {"skey": skey}, public)
            for whose, skey, public in (
                ("a witness", _private(WITNESS.name, "df1c0a35", 4, 2), WITNESS_VKEY),
                ("an ML-DSA-44 witness", _private(PQ_WITNESS.name, PQ_KEY_ID, 6, 3), PQ_VKEY),
            )
        ),
        refuse(
            "private key of a witness with the id of a log",
            "parse_skey",
            {"skey": _private(ORIGIN, "c61e0fa5", 4, 1)},
        ),
        refuse(
            "private key with the id of another",
            "parse_skey",
            {"skey": PETER_PRIVATE.replace("c74f", "c74e")},
        ),
        refuse("public key given as a private one", "parse_skey", {"skey": PETER}),
    ]


def _private(name: str, key_id: str, algorithm: int, seed: int) -> str:
    key = b64encode(bytes([algorithm]) + bytes([seed]) * 32).decode()
    return f"PRIVATE+KEY+{name}+{key_id}+{key}"


def _notes() -> list[Case]:
    whole = TEXT + "\n" + PETER_LINE + ENOCH_LINE
    good = {
        "one known signer": (whole, [PETER], [PETER]),
        "two known signers": (whole, [PETER, ENOCH], [PETER, ENOCH]),
        "no known signer": (whole, [], []),
        "the same line twice": (TEXT + "\n" + PETER_LINE * 2, [PETER], [PETER]),
        "a blank line in its text": (TEXT + "\n" + TEXT + "\n" + PETER_LINE, [], []),
        "a text of one blank line": ("\n\n" + PETER_LINE, [], []),
        "a hundred lines": (TEXT + "\n" + PETER_LINE * limits.NOTE_SIGNATURES, [], []),
        "a line by a namesake": (
            TEXT + "\n" + PETER_LINE + PETER_LINE.replace("x08g", "xxxx"),
            [PETER],
            [PETER],
        ),
    }
    bad = {
        "text alone": TEXT,
        "no lines": TEXT + "\n",
        "no blank line": TEXT + PETER_LINE,
        "no final newline": (TEXT + "\n" + PETER_LINE)[:-1],
        "no text": "\n" + PETER_LINE,
        "a control character": "\x01" + TEXT + "\n" + PETER_LINE,
        "a tab": "\t" + TEXT + "\n" + PETER_LINE,
        "carriage returns": whole.replace("\n", "\r\n"),
        "a line that is no signature": TEXT + "\n" + PETER_LINE + "Unexpected line.\n",
        "a hyphen for the dash": TEXT + "\n" + PETER_LINE.replace("—", "-"),
        "two spaces": TEXT + "\n" + PETER_LINE.replace("— ", "—  "),
        "a space in a name": TEXT + "\n" + PETER_LINE.replace("PeterN", "Peter N"),
        "a plus in a name": TEXT + "\n" + PETER_LINE.replace("PeterN", "Peter+N"),
        "a line separator in a name": TEXT + "\n" + PETER_LINE.replace("PeterN", "Peter\u2028N"),
        "no name": TEXT + "\n" + PETER_LINE.replace("PeterNeumann ", ""),
        "spare bits set": TEXT + "\n" + PETER_LINE.replace("nAM=", "nAN="),
        "no padding": TEXT + "\n" + PETER_LINE.replace("=", ""),
        "a signature of no bytes": TEXT + "\n— PeterNeumann x08gow==\n",
        "a blank line after": whole + "\n",
    }
    broken = PETER_LINE[:60] + "ABCD" + PETER_LINE[60:]
    sunk = {
        "a broken line of a known key": TEXT + "\n" + broken,
        "a broken line after a good one": TEXT + "\n" + PETER_LINE + broken,
        "another text": TEXT.replace("problem", "Problem") + "\n" + PETER_LINE,
    }
    return [
        *(
            accept(f"note with {n}", "verify_note", {"note": show(x.encode()), "keys": k}, by)
            for n, (x, k, by) in good.items()
        ),
        *(
            refuse(f"note with {n}", "parse_note", {"note": show(x.encode())})
            for n, x in bad.items()
        ),
        *(
            refuse(
                f"note with {n}",
                "verify_note",
                {"note": show(x.encode()), "keys": [PETER]},
                "bad-signature",
            )
            for n, x in sunk.items()
        ),
        refuse(
            "note verified with one key twice",
            "verify_note",
            {"note": show(whole.encode()), "keys": [ENOCH, PETER, ENOCH]},
            "bad-signature",
        ),
        refuse(
            "note with a byte that is not UTF-8",
            "parse_note",
            {"note": {"hex": "ff" + whole.encode().hex()}},
        ),
        refuse(
            "note with more than a hundred lines",
            "parse_note",
            {"note": show((TEXT + "\n" + PETER_LINE * 101).encode())},
            "too-large",
        ),
    ]


def _checkpoints() -> list[Case]:
    good = {
        "70,000 entries": (TALL_TEXT, [ORIGIN, TALL_SIZE, TALL_ROOT]),
        "no entry": (
            f"{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".encode(),
            [ORIGIN, 0, PUBLISHED_ROOTS[0]],
        ),
    }
    text = TALL_TEXT
    root = b64encode(TALL.root)
    spare = root[:-2] + bytes([root[-2] + 1]) + b"="
    bad = {
        "an extension line": text + b"more\n",
        "no final newline": text[:-1],
        "a blank line after": text + b"\n",
        "no root": b"".join(text.splitlines(keepends=True)[:2]),
        "no origin": text.replace(ORIGIN.encode(), b""),
        "a space in its origin": text.replace(b"/log1", b"/log 1"),
        "a plus in its origin": text.replace(b"/log1", b"/log+1"),
        "an origin that is not ASCII": text.replace(b"log1", "lög".encode()),
        "a zero before its size": text.replace(b"70000", b"070000"),
        "a sign before its size": text.replace(b"70000", b"+70000"),
        "a size below zero": text.replace(b"70000", b"-1"),
        "a size of 2**63": text.replace(b"70000", b"9223372036854775808"),
        "a size with an underscore": text.replace(b"70000", b"70_000"),
        "a size in hex": text.replace(b"70000", b"0x11170"),
        "a space after its size": text.replace(b"70000", b"70000 "),
        "a root without padding": text.replace(b"=", b""),
        "a root with spare bits set": text.replace(root, spare),
        "a root of 31 bytes": text.replace(root, b64encode(TALL.root[:-1])),
        "a root in hex": text.replace(root, TALL_ROOT.encode()),
        "carriage returns": text.replace(b"\n", b"\r\n"),
    }
    return [
        *(
            accept(f"checkpoint of {n}", "parse_checkpoint", {"text": show(x)}, fields)
            for n, (x, fields) in good.items()
        ),
        *(
            refuse(f"checkpoint with {n}", "parse_checkpoint", {"text": show(x)})
            for n, x in bad.items()
        ),
    ]


def _signed_checkpoints() -> list[Case]:
    given = {"note": show(TALL_NOTE), "key": LOG_VKEY}
    renamed = vkey.format_vkey(vkey.LogKey("other.example/log", LOG.public.public_key))
    foreign = sign_checkpoint(TALL, vkey.NoteSigner("other.example/log", LOG.private))
    changed = TALL_NOTE.replace(b"70000", b"70001")
    return [
        accept("signed checkpoint", "verify_checkpoint", given, [ORIGIN, TALL_SIZE, TALL_ROOT]),
        accept(
            "signed checkpoint of Sigsum's example",
            "verify_checkpoint",
            {"note": show(SIGSUM_NOTE), "key": SIGSUM_VKEY},
            [SIGSUM_ORIGIN, 10, SIGSUM_ROOT],
        ),
        accept(
            "signed checkpoint with a cosignature",
            "verify_checkpoint",
            {**given, "note": show(cosign(TALL_NOTE, WITNESS))},
            [ORIGIN, TALL_SIZE, TALL_ROOT],
        ),
        refuse(
            "signed checkpoint changed",
            "verify_checkpoint",
            {**given, "note": show(changed)},
            "bad-signature",
        ),
        refuse("checkpoint of another log", "verify_checkpoint", {**given, "key": renamed}),
        refuse(
            "checkpoint signed under another name",
            "verify_checkpoint",
            {**given, "note": show(foreign)},
            "bad-signature",
        ),
    ]


def _cosignatures() -> list[Case]:
    made = WITNESS.cosign(TALL_TEXT, TIME_S)
    given = {"key": WITNESS_VKEY, "text": show(TALL_TEXT), "blob": made.blob.hex()}
    blob = made.blob
    bare = WITNESS.private.sign(TALL_TEXT)
    zero = bytes(8) + WITNESS.private.sign(b"cosignature/v1\ntime 0\n" + TALL_TEXT)
    late = 2**63
    after = late.to_bytes(8) + WITNESS.private.sign(b"cosignature/v1\ntime %d\n" % late + TALL_TEXT)
    bad = {
        "an hour later": (TIME_S + 3600).to_bytes(8) + blob[8:],
        "time zero": zero,
        "time 2**63": after,
        "no time": bare,
        "a signature over the bare text": blob[:8] + bare,
        "a byte missing": blob[:-1],
        "a byte too many": blob + b"\x00",
        "nothing": b"",
    }
    message = f"cosignature/v1\ntime {TIME_S}\n{TALL_TEXT.decode()}"
    return [
        accept(
            "what a witness signs",
            "cosigned_message",
            {"text": show(TALL_TEXT), "time_s": TIME_S},
            message,
        ),
        accept("cosignature", "verify_cosignature", given, TIME_S),
        *(
            refuse(
                f"cosignature with {name}",
                "verify_cosignature",
                {**given, "blob": x.hex()},
                "bad-signature",
            )
            for name, x in bad.items()
        ),
    ]


def _post_quantum_cosignatures() -> list[Case]:
    name, origin = b"witness.example/pq1", ORIGIN.encode()
    message = b"".join(
        [
            b"subtree/v1\n\x00",
            bytes([len(name)]) + name,
            TIME_S.to_bytes(8),
            bytes([len(origin)]) + origin,
            bytes(8),
            TALL_SIZE.to_bytes(8),
            bytes.fromhex(TALL_ROOT),
        ]
    )
    given = {"key": PQ_VKEY, "text": show(TALL_TEXT), "blob": PQ_BLOB.hex()}
    renamed = vkey.format_vkey(vkey.MldsaWitnessKey("w.example", PQ_WITNESS.private.public_key))
    bad: dict[str, Case] = {
        "an hour later": {"blob": ((TIME_S + 3600).to_bytes(8) + PQ_SIGNATURE).hex()},
        "time zero": {"blob": (bytes(8) + PQ_SIGNATURE).hex()},
        "no time": {"blob": PQ_SIGNATURE.hex()},
        "a byte missing": {"blob": PQ_BLOB[:-1].hex()},
        "a byte too many": {"blob": PQ_BLOB.hex() + "00"},
        "another size": {"text": show(TALL_TEXT.replace(b"70000", b"70001"))},
        "another origin": {"text": show(TALL_TEXT.replace(b"log1", b"log2"))},
        "another name": {"key": renamed},
    }
    return [
        accept(
            "what an ML-DSA-44 witness signs",
            "subtree_message",
            {"text": show(TALL_TEXT), "time_s": TIME_S, "name": name.decode()},
            message.hex(),
        ),
        accept("ML-DSA-44 cosignature", "verify_cosignature", given, TIME_S),
        *(
            refuse(
                f"ML-DSA-44 cosignature with {name}",
                "verify_cosignature",
                {**given, **changed},
                "bad-signature",
            )
            for name, changed in bad.items()
        ),
        refuse(
            "ML-DSA-44 cosignature of what is no checkpoint",
            "verify_cosignature",
            {**given, "text": show(TEXT.encode())},
        ),
    ]


def cases() -> list[Case]:
    return [
        *_keys(),
        *_notes(),
        *_checkpoints(),
        *_signed_checkpoints(),
        *_cosignatures(),
        *_post_quantum_cosignatures(),
    ]
