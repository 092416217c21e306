"""Good and bad payloads of ``epoch/1`` (docs/spec/epochs.md), signed without our own code."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from hashlib import sha256

from ledger_core import ids
from ledger_core.formats import ed25519
from tests.vectors.build import AGENT, EPOCH_ORIGIN, LOG, OPERATOR, ORIGIN
from tests.vectors.governance_types import OTHER, Body, make_vkey
from tests.vectors.notes import LOG_VKEY, WITNESS_VKEY

EPOCH_LOG = ed25519.PrivateKey(b"\x0c" * 32)
FORK_ROOT, KNOWN_ROOT = sha256(b"fork").digest(), sha256(b"known").digest()


def name_root(root: bytes) -> str:
    return "sha256:" + ids.encode_base64url(root)


STATEMENT: Body = {
    "fork": {"root": name_root(FORK_ROOT), "size": 80},
    "known": [{"origin": ORIGIN, "root": name_root(KNOWN_ROOT), "size": 100}],
    "log_key": make_vkey(EPOCH_LOG, EPOCH_ORIGIN),
    "new_origin": EPOCH_ORIGIN,
    "old_origin": ORIGIN,
    "reason": "disk lost, backup of 02:00 restored",
}


def spell(statement: Body) -> str:
    """Spell a statement as it is signed."""
    return json.dumps(statement, separators=(",", ":"), sort_keys=True)


def encode(statement: Body) -> bytes:
    """Encode a statement for its signature (DSSE protocol, "PAE")."""
    kind, raw = "application/vnd.ledgergrid.epoch+json", spell(statement).encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(raw), raw)


def agree(key: ed25519.PrivateKey, statement: Body = STATEMENT) -> Body:
    signature = ids.encode_base64url(key.sign(encode(statement)))
    return {"key": ids.format_key(key.public_key), "signature": signature}


def sign_fork(
    origin: str = ORIGIN, size: int = 80, root: bytes = FORK_ROOT, signs: str = ORIGIN
) -> str:
    """Spell the note of a checkpoint, signed by the log."""
    text = f"{origin}\n{size}\n{b64encode(root).decode()}\n"
    key_id = sha256(signs.encode() + b"\n" + b64decode(LOG_VKEY.rpartition("+")[2])).digest()[:4]
    blob = b64encode(key_id + LOG.private.sign(text.encode())).decode()
    return f"{text}\n— {signs} {blob}\n"


def epoch(statement: Body = STATEMENT, *signers: ed25519.PrivateKey, fork: str = "") -> Body:
    signed = [agree(key, statement) for key in signers or (OPERATOR,)]
    return {
        "statement": statement,
        "fork_checkpoint": fork or sign_fork(),
        "signatures": sorted(signed, key=lambda each: str(each["key"])),
    }


def changed(**fields: object) -> Body:
    """Make an epoch of a changed statement, signed anew."""
    return epoch({**STATEMENT, **fields})


EPOCHS: dict[str, Body] = {
    "epoch": epoch(),
    "epoch that three agreed to": epoch(STATEMENT, OPERATOR, AGENT, OTHER),
}

_ONE = EPOCHS["epoch"]
_THREE = EPOCHS["epoch that three agreed to"]
_KNOWN: Body = STATEMENT["known"][0]

BAD_EPOCHS: dict[str, Body] = {
    "no signature": {**_ONE, "signatures": []},
    "a signature over another statement": {
        **_ONE,
        "signatures": [agree(OPERATOR, {**STATEMENT, "reason": "another"})],
    },
    "a signature over the statement alone": {
        **_ONE,
        "signatures": [
            {
                **agree(OPERATOR),
                "signature": ids.encode_base64url(OPERATOR.sign(spell(STATEMENT).encode())),
            }
        ],
    },
    "a signature by another key": {
        **_ONE,
        "signatures": [{**agree(AGENT), "key": agree(OPERATOR)["key"]}],
    },
    "a key that signed twice": {**_ONE, "signatures": [agree(OPERATOR), agree(OPERATOR)]},
    "signatures out of order": {**_THREE, "signatures": _THREE["signatures"][::-1]},
    "a new origin of another ledger": changed(new_origin="other.example/epoch/2"),
    "an epoch that does not come later": changed(new_origin=ORIGIN),
    "an epoch spelt with a zero": changed(new_origin=f"{ORIGIN}/epoch/02"),
    "a log key of the old origin": changed(log_key=LOG_VKEY),
    "a witness's key as log key": changed(log_key=WITNESS_VKEY),
    "nothing known": changed(known=[]),
    "what is known twice": changed(known=[_KNOWN, _KNOWN]),
    "what is known of another ledger": changed(known=[{**_KNOWN, "origin": "other.example"}]),
    "what is known of the new epoch": changed(known=[{**_KNOWN, "origin": EPOCH_ORIGIN}]),
    "a root that is no digest": changed(fork={"root": "80", "size": 80}),
    "a fork of nothing": changed(fork={**STATEMENT["fork"], "size": 0}),
    "no reason": changed(reason=""),
    "a reason of two lines": changed(reason="disk lost\n"),
    "a reason too long": changed(reason="x" * 501),
    "a field unknown": changed(lost=20),
    "another checkpoint of the fork": epoch(fork=sign_fork(size=79)),
    "a checkpoint of another root": epoch(fork=sign_fork(root=KNOWN_ROOT)),
    "a checkpoint of another log": epoch(fork=sign_fork(origin=EPOCH_ORIGIN)),
    "a checkpoint without a signature": epoch(fork=sign_fork().partition("\n\n")[0] + "\n"),
    "no checkpoint": {k: v for k, v in _ONE.items() if k != "fork_checkpoint"},
}
