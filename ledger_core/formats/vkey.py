"""Keys of logs and witnesses as text, and what their signature lines mean.

::

    example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k   public
    PRIVATE+KEY+example.com/foo+530d903a+AX…                                private

``name+keyID+base64(type || key)``; key id = SHA-256(name || 0x0A || type || public key)[:4].
Type 0x01 is an Ed25519 key that signs a note's text (a log). Type 0x04 is an Ed25519 key
that cosigns checkpoints with a time (a witness): it signs ``cosignature/v1``, ``time <s>``
and the text, and its blob is the time (uint64, seconds) before the signature.

Sources: https://c2sp.org/signed-note "Signatures", https://c2sp.org/tlog-cosignature
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from ledger_core import ids
from ledger_core.errors import MalformedError, SignatureError
from ledger_core.formats import ed25519
from ledger_core.formats.note import KEY_ID_BYTES, NoteSignature, check_key_name

ED25519 = 0x01
COSIGNATURE_ED25519 = 0x04
_PRIVATE = "PRIVATE+KEY+"
_TIME_BYTES = 8


def compute_key_id(name: str, algorithm: int, public_key: bytes) -> bytes:
    """Return the 4-byte key id (signed-note "Signatures")."""
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + public_key).digest()[:KEY_ID_BYTES]


def cosigned_message(text: bytes, time_s: int) -> bytes:
    """Return what a type 0x04 cosigner signs for a checkpoint's text."""
    return b"cosignature/v1\ntime %d\n" % time_s + text


@dataclass(frozen=True)
class LogKey:
    """A log's public key: Ed25519 over the note's text (type 0x01)."""

    name: str
    public_key: bytes
    algorithm = ED25519

    @property
    def key_id(self) -> bytes:
        return compute_key_id(self.name, self.algorithm, self.public_key)

    def verify(self, text: bytes, blob: bytes) -> None:
        ed25519.verify(self.public_key, text, blob)


@dataclass(frozen=True)
class WitnessKey:
    """A witness's public key: timestamped Ed25519 cosignatures (type 0x04)."""

    name: str
    public_key: bytes
    algorithm = COSIGNATURE_ED25519

    @property
    def key_id(self) -> bytes:
        return compute_key_id(self.name, self.algorithm, self.public_key)

    def verify(self, text: bytes, blob: bytes) -> None:
        ed25519.verify(
            self.public_key, cosigned_message(text, cosigned_at(blob)), blob[_TIME_BYTES:]
        )


def cosigned_at(blob: bytes) -> int:
    """Return the time in a type 0x04 blob, in seconds since the Unix epoch."""
    time_s = int.from_bytes(blob[:_TIME_BYTES])
    if len(blob) != _TIME_BYTES + ed25519.SIGNATURE_BYTES or not 0 < time_s < 2**63:
        raise SignatureError("cosignature is not a time and an Ed25519 signature")
    return time_s


PublicKey = LogKey | WitnessKey
_KINDS: dict[int, type[LogKey] | type[WitnessKey]] = {
    ED25519: LogKey,
    COSIGNATURE_ED25519: WitnessKey,
}


def format_vkey(key: PublicKey) -> str:
    return _format(key.name, key.key_id, key.algorithm, key.public_key)


def parse_vkey(text: str) -> PublicKey:
    """Parse a vkey of type 0x01 or 0x04; the key id must be the right one."""
    name, key_id, algorithm, public_key = _parse(text)
    key = _KINDS[algorithm](name, public_key)
    if key.key_id != key_id:
        raise MalformedError(f"vkey of {name} has a key id that is not its key's")
    ed25519.check_public_key(public_key)
    return key


@dataclass(frozen=True)
class NoteSigner:
    """A named private key that makes signature lines of type 0x01."""

    name: str
    private: ed25519.PrivateKey

    @property
    def public(self) -> LogKey:
        return LogKey(self.name, self.private.public_key)

    def sign(self, text: bytes) -> NoteSignature:
        return NoteSignature(self.name, self.public.key_id, self.private.sign(text))


@dataclass(frozen=True)
class WitnessSigner:
    """A named private key that makes cosignature lines of type 0x04."""

    name: str
    private: ed25519.PrivateKey

    @property
    def public(self) -> WitnessKey:
        return WitnessKey(self.name, self.private.public_key)

    def cosign(self, text: bytes, time_s: int) -> NoteSignature:
        """Cosign a checkpoint's text at ``time_s`` seconds since the Unix epoch."""
        signature = self.private.sign(cosigned_message(text, time_s))
        return NoteSignature(
            self.name, self.public.key_id, time_s.to_bytes(_TIME_BYTES) + signature
        )


def format_skey(signer: NoteSigner) -> str:
    return _PRIVATE + _format(signer.name, signer.public.key_id, ED25519, signer.private.seed)


def parse_skey(text: str) -> NoteSigner:
    """Parse a private key of type 0x01. Errors never repeat the text."""
    if not text.startswith(_PRIVATE):
        raise MalformedError(f"private key does not begin with {_PRIVATE}")
    try:
        name, key_id, algorithm, seed = _parse(text[len(_PRIVATE) :])
    except MalformedError:
        raise MalformedError("private key is not PRIVATE+KEY+name+keyID+base64") from None
    signer = NoteSigner(name, ed25519.PrivateKey(seed))
    if algorithm != ED25519 or signer.public.key_id != key_id:
        raise MalformedError("private key has a type or key id that is not its own")
    return signer


def _format(name: str, key_id: bytes, algorithm: int, key: bytes) -> str:
    return f"{name}+{key_id.hex()}+{ids.encode_base64(bytes([algorithm]) + key)}"


def _parse(text: str) -> tuple[str, bytes, int, bytes]:
    name, _, rest = text.partition("+")
    check_key_name(name)
    id_hex, plus, encoded = rest.partition("+")
    if not plus or len(id_hex) != 8 or not all(c in "0123456789abcdef" for c in id_hex):
        raise MalformedError("key is not name+keyID+base64 with eight lower-case hex digits")
    raw = ids.decode_base64(encoded)
    if not raw or raw[0] not in _KINDS or len(raw) != 1 + ed25519.PUBLIC_KEY_BYTES:
        raise MalformedError(f"key of {name} is not of a supported type (0x01, 0x04)")
    return name, bytes.fromhex(id_hex), raw[0], raw[1:]
