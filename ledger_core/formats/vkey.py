"""Keys of logs and witnesses as text, and what their signature lines mean.

::

    example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k   public
    PRIVATE+KEY+example.com/foo+530d903a+AX…                                private

``name+keyID+base64(type || key)``; key id = SHA-256(name || 0x0A || type || public key)[:4].
A private key has the id of its public one and holds the seed.

=====  =====================================================================================
0x01   a log's Ed25519 key: signs a note's text
0x04   a witness's Ed25519 key: signs ``cosignature/v1``, ``time <s>`` and the text
0x06   a witness's ML-DSA-44 key: signs :func:`subtree_message`, which holds its own name
=====  =====================================================================================

A cosignature's blob is its time (uint64, seconds) before the signature.

A log may be *named by its key*: ``sigsum.org/v1/tree/`` and the hex SHA-256 of its public key, the
only origin that Sigsum's witnesses cosign.

Sources: https://c2sp.org/signed-note "Signatures", https://c2sp.org/tlog-cosignature, and for names
``SigsumCheckpointOrigin`` in https://pkg.go.dev/sigsum.org/sigsum-go/pkg/types
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from ledger_core import ids
from ledger_core.errors import MalformedError, SignatureError
from ledger_core.formats import ed25519, mldsa44
from ledger_core.formats.checkpoint import Checkpoint, parse_checkpoint
from ledger_core.formats.note import KEY_ID_BYTES, NoteSignature, check_key_name

ED25519 = 0x01
COSIGNATURE_ED25519 = 0x04
COSIGNATURE_ML_DSA_44 = 0x06
_PRIVATE = "PRIVATE+KEY+"
_TIME_BYTES = 8
_NAME_BYTES = 255
"""C2SP tlog-cosignature: name and origin have one byte for their length."""

_NAMED_BY_KEY = "sigsum.org/v1/tree/"


def compute_key_id(name: str, algorithm: int, public_key: bytes) -> bytes:
    """Return the 4-byte key id (signed-note "Signatures")."""
    return _compute_digest(name, algorithm, public_key)[:KEY_ID_BYTES]


def _compute_digest(name: str, algorithm: int, public_key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + public_key).digest()


def cosigned_message(text: bytes, time_s: int) -> bytes:
    """Return what a type 0x04 cosigner signs for a checkpoint's text."""
    return b"cosignature/v1\ntime %d\n" % time_s + text


def subtree_message(name: str, checkpoint: Checkpoint, time_s: int) -> bytes:
    """Return what the type 0x06 cosigner called ``name`` signs: the subtree from 0 to the size."""
    numbers = (0).to_bytes(8) + checkpoint.size.to_bytes(8)
    origin = _prefix(checkpoint.origin)
    return (
        b"subtree/v1\n\0" + _prefix(name) + time_s.to_bytes(8) + origin + numbers + checkpoint.root
    )


def _prefix(name: str) -> bytes:
    raw = name.encode()
    if len(raw) > _NAME_BYTES:
        raise MalformedError(f"name {name[:80]!r} is longer than {_NAME_BYTES} bytes")
    return bytes([len(raw)]) + raw


# --- public keys -------------------------------------------------------------------


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
        message = cosigned_message(text, cosigned_at(blob))
        ed25519.verify(self.public_key, message, blob[_TIME_BYTES:])


@dataclass(frozen=True)
class MldsaWitnessKey:
    """A witness's public key: timestamped ML-DSA-44 cosignatures (type 0x06)."""

    name: str
    public_key: bytes
    algorithm = COSIGNATURE_ML_DSA_44

    @property
    def key_id(self) -> bytes:
        return compute_key_id(self.name, self.algorithm, self.public_key)

    def verify(self, text: bytes, blob: bytes) -> None:
        message = subtree_message(self.name, parse_checkpoint(text), cosigned_at(blob))
        mldsa44.verify(self.public_key, message, blob[_TIME_BYTES:])


AnyWitnessKey = WitnessKey | MldsaWitnessKey
PublicKey = LogKey | WitnessKey | MldsaWitnessKey


def key_digest(key: PublicKey) -> bytes:
    """Return the 32 bytes that the key id is cut from: nobody makes another key with them."""
    return _compute_digest(key.name, key.algorithm, key.public_key)


def make_key_name(public_key: bytes) -> str:
    """Return the name of a log that is named by this key."""
    return _NAMED_BY_KEY + sha256(public_key).hexdigest()


def check_named_by_key(key: LogKey) -> None:
    """Raise if the name says which key the log has, and it is not this one."""
    if key.name.startswith(_NAMED_BY_KEY) and key.name != make_key_name(key.public_key):
        raise MalformedError(f"{key.name[:200]} names another key than it has")


def cosigned_at(blob: bytes) -> int:
    """Return the time in a cosignature's blob, in seconds since the Unix epoch.

    A time of 0 is for those who do not say that they saw no larger tree: no witness.
    """
    time_s = int.from_bytes(blob[:_TIME_BYTES])
    if len(blob) <= _TIME_BYTES or not 0 < time_s < 2**63:
        raise SignatureError("cosignature is not a time and a signature")
    return time_s


# --- as text -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Kind:
    """A type of key: what it is for, how long it is, and who says whether it can be one."""

    of: type[LogKey] | type[WitnessKey] | type[MldsaWitnessKey]
    key_bytes: int


_KINDS = {
    ED25519: _Kind(LogKey, ed25519.PUBLIC_KEY_BYTES),
    COSIGNATURE_ED25519: _Kind(WitnessKey, ed25519.PUBLIC_KEY_BYTES),
    COSIGNATURE_ML_DSA_44: _Kind(MldsaWitnessKey, mldsa44.PUBLIC_KEY_BYTES),
}


def format_vkey(key: PublicKey) -> str:
    return _format(key.name, key.key_id, key.algorithm, key.public_key)


def parse_vkey(text: str) -> PublicKey:
    """Parse a vkey of type 0x01, 0x04 or 0x06; the key id must be the right one."""
    name, key_id, algorithm, public_key = _parse(text)
    kind = _KINDS[algorithm]
    if len(public_key) != kind.key_bytes:
        raise MalformedError(f"key of {name} is not {kind.key_bytes} bytes long")
    key = kind.of(name, public_key)
    if key.key_id != key_id:
        raise MalformedError(f"vkey of {name} has a key id that is not its key's")
    if isinstance(key, MldsaWitnessKey):
        _prefix(name)
        mldsa44.check_public_key(public_key)
    else:
        ed25519.check_public_key(public_key)
    return key


# --- private keys --------------------------------------------------------------------


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
        blob = time_s.to_bytes(_TIME_BYTES) + signature
        return NoteSignature(self.name, self.public.key_id, blob)


@dataclass(frozen=True)
class MldsaWitnessSigner:
    """A named private key that makes cosignature lines of type 0x06."""

    name: str
    private: mldsa44.PrivateKey

    @property
    def public(self) -> MldsaWitnessKey:
        return MldsaWitnessKey(self.name, self.private.public_key)

    def cosign(self, text: bytes, time_s: int) -> NoteSignature:
        """Cosign a checkpoint's text at ``time_s`` seconds since the Unix epoch."""
        message = subtree_message(self.name, parse_checkpoint(text), time_s)
        blob = time_s.to_bytes(_TIME_BYTES) + self.private.sign(message)
        return NoteSignature(self.name, self.public.key_id, blob)


AnyWitnessSigner = WitnessSigner | MldsaWitnessSigner
AnySigner = NoteSigner | WitnessSigner | MldsaWitnessSigner


def format_skey(signer: AnySigner) -> str:
    public = signer.public
    return _PRIVATE + _format(signer.name, public.key_id, public.algorithm, signer.private.seed)


def parse_skey(text: str) -> AnySigner:
    """Parse a private key of type 0x01, 0x04 or 0x06. Errors never repeat the text."""
    if not text.startswith(_PRIVATE):
        raise MalformedError(f"private key does not begin with {_PRIVATE}")
    try:
        name, key_id, algorithm, seed = _parse(text[len(_PRIVATE) :])
        signer = _make_signer(name, algorithm, seed)
    except MalformedError:
        raise MalformedError("private key is not PRIVATE+KEY+name+keyID+base64") from None
    if signer.public.key_id != key_id:
        raise MalformedError("private key has a key id that is not its own")
    return signer


def _make_signer(name: str, algorithm: int, seed: bytes) -> AnySigner:
    if len(seed) != ed25519.SEED_BYTES:
        raise MalformedError("seed has another length")
    if algorithm == COSIGNATURE_ML_DSA_44:
        _prefix(name)
        return MldsaWitnessSigner(name, mldsa44.PrivateKey(seed))
    private = ed25519.PrivateKey(seed)
    return NoteSigner(name, private) if algorithm == ED25519 else WitnessSigner(name, private)


def _format(name: str, key_id: bytes, algorithm: int, key: bytes) -> str:
    return f"{name}+{key_id.hex()}+{ids.encode_base64(bytes([algorithm]) + key)}"


def _parse(text: str) -> tuple[str, bytes, int, bytes]:
    name, _, rest = text.partition("+")
    check_key_name(name)
    id_hex, plus, encoded = rest.partition("+")
    if not plus or len(id_hex) != 8 or not all(c in "0123456789abcdef" for c in id_hex):
        raise MalformedError("key is not name+keyID+base64 with eight lower-case hex digits")
    raw = ids.decode_base64(encoded)
    if not raw or raw[0] not in _KINDS:
        raise MalformedError(f"key of {name} is not of a supported type (0x01, 0x04, 0x06)")
    return name, bytes.fromhex(id_hex), raw[0], raw[1:]
