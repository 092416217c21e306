"""Vectors of Ed25519 as this ledger accepts it (docs/spec/signatures.md)."""

from __future__ import annotations

from ledger_core.formats import ed25519
from tests.vectors import edwards25519 as curve
from tests.vectors.build import Case, accept, refuse

ABOUT = "Ed25519: which keys and signatures are accepted, crafted cases among them"
PAGE = "signatures.md"

MESSAGE = b"LedgerGrid"
SECRET, NONCE = 2**200 + 12_345, 2**201 + 67_890
PUBLIC = curve.multiply(SECRET, curve.BASE)
COMMITMENT = curve.encode(curve.multiply(NONCE, curve.BASE))

RFC_8032 = {
    "RFC 8032 section 7.1, test 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "RFC 8032 section 7.1, test 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "RFC 8032 section 7.1, test 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
}


def _given(public_key: bytes, commitment: bytes, scalar: int, message: bytes = MESSAGE) -> Case:
    signature = commitment + scalar.to_bytes(32, "little")
    return {
        "public_key": public_key.hex(),
        "message": message.hex(),
        "signature": signature.hex(),
    }


def _sign(public_key: bytes, commitment: bytes, nonce: int, message: bytes = MESSAGE) -> Case:
    """Sign with the shared secret, as if ``public_key`` and ``commitment`` were right for it."""
    scalar = (nonce + curve.challenge(commitment, public_key, message) * SECRET) % curve.ORDER
    return _given(public_key, commitment, scalar, message)


def _published() -> list[Case]:
    cases = []
    for name, (seed, public_key, message, signature) in RFC_8032.items():
        given = {"public_key": public_key, "message": message, "signature": signature}
        cases.append(accept(name, "verify", given))
        cases.append(accept(f"{name}, made", "sign", {"seed": seed, "message": message}, signature))
    return cases


def _plain_forgeries() -> list[Case]:
    key = ed25519.PrivateKey(b"\x05" * 32)
    given = {
        "public_key": key.public_key.hex(),
        "message": MESSAGE.hex(),
        "signature": key.sign(MESSAGE).hex(),
    }
    half = len(given["signature"]) // 2
    first, second = given["signature"][:half], given["signature"][half:]
    changes = {
        "another message": {"message": (MESSAGE + b"!").hex()},
        "no message": {"message": ""},
        "another key": {"public_key": curve.encode(PUBLIC).hex()},
        "halves exchanged": {"signature": second + first},
        "nothing but zeros": {"signature": "00" * 64},
        "a byte missing": {"signature": given["signature"][:-2]},
        "a byte too many": {"signature": given["signature"] + "00"},
        "no signature": {"signature": ""},
        "a key of 31 bytes": {"public_key": given["public_key"][:-2]},
        "a key of 33 bytes": {"public_key": given["public_key"] + "00"},
        "no key": {"public_key": ""},
    }
    return [accept("plain signature", "verify", given)] + [
        refuse(f"plain signature with {name}", "verify", {**given, **change}, "bad-signature")
        for name, change in changes.items()
    ]


def _crafted() -> list[Case]:
    """Signatures on whose validity libraries disagree; here all but the first are refused."""
    key = curve.encode(PUBLIC)
    torsion, moved_key = curve.TORSION, curve.encode(curve.add(PUBLIC, curve.TORSION))
    moved = curve.encode(curve.add(curve.multiply(NONCE, curve.BASE), torsion))
    honest = _sign(key, COMMITMENT, NONCE)
    scalar = int.from_bytes(bytes.fromhex(honest["signature"])[32:], "little")
    lucky = next(
        message
        for message in (b"try %d" % n for n in range(1000))
        if curve.challenge(COMMITMENT, moved_key, message) % 8 == 0
    )
    identity = curve.encode(curve.IDENTITY)
    odd_identity = (curve.P + 1).to_bytes(32, "little")
    crafted = {
        "S one order too large": _given(key, COMMITMENT, scalar + curve.ORDER),
        "S with its top bits set": _given(key, COMMITMENT, scalar | 7 << 253),
        "R of order one": _sign(key, identity, 0),
        "R of order one, not canonical": _sign(key, odd_identity, 0),
        "R of order eight": _sign(key, curve.encode(torsion), 0),
        "R outside the main subgroup": _sign(key, moved, NONCE),
        "R that is no point": _given(key, b"\x02" + bytes(31), scalar),
        "key outside the main subgroup": _sign(moved_key, COMMITMENT, NONCE),
        "key outside the main subgroup, lucky": _sign(moved_key, COMMITMENT, NONCE, lucky),
        "key of order one": _given(identity, COMMITMENT, NONCE),
        "key of order one, not canonical": _given(odd_identity, COMMITMENT, NONCE),
        "key that is no point": _given(b"\x02" + bytes(31), COMMITMENT, scalar),
        "key with y = p": _given(curve.P.to_bytes(32, "little"), COMMITMENT, NONCE),
        "key with every bit set": _given(b"\xff" * 32, COMMITMENT, NONCE),
    }
    return [accept("signature made from the curve's equations", "verify", honest)] + [
        refuse(name, "verify", given, "bad-signature") for name, given in crafted.items()
    ]


def _keys() -> list[Case]:
    """All points of small order, in every encoding, and points that are not in the subgroup."""
    small = {curve.encode(curve.multiply(n, curve.TORSION)) for n in range(8)}
    # The y of a small point is 0, 1, p - 1 or one of two others. Where y + p still fits into
    # 255 bits there is a second encoding; where x is 0 the sign bit makes another.
    again = {(y + k * curve.P).to_bytes(32, "little") for y in (0, 1) for k in (0, 1)}
    again |= {bytes([*each[:31], each[31] ^ 0x80]) for each in small | again}
    good = curve.encode(PUBLIC)
    return [
        accept("key in the main subgroup", "check_public_key", {"public_key": good.hex()}),
        *(
            refuse(
                f"key of small order {each.hex()}",
                "check_public_key",
                {"public_key": each.hex()},
                "bad-signature",
            )
            for each in sorted(small | again)
        ),
    ]


def cases() -> list[Case]:
    return [*_published(), *_plain_forgeries(), *_crafted(), *_keys()]
