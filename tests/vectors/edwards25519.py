"""The curve of Ed25519 in plain numbers (RFC 8032 section 5.1), to craft bad keys and signatures.

Slow and leaky: for vectors only. Points are affine (x, y).
"""

from __future__ import annotations

from hashlib import sha512

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Order of the main subgroup; the whole curve has eight times as many points."""

_D = -121665 * pow(121666, -1, P) % P
_ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def recover(y: int, sign: int) -> Point:
    """Find the point with this y and this lowest bit of x; ValueError if there is none."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * _ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P:
        raise ValueError("no point has this y")
    return (x if x & 1 == sign else (P - x) % P), y


def add(one: Point, other: Point) -> Point:
    (a, b), (c, d) = one, other
    t = _D * a * b * c * d % P
    return (a * d + b * c) * pow(1 + t, -1, P) % P, (b * d + a * c) * pow(1 - t, -1, P) % P


def multiply(scalar: int, point: Point) -> Point:
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def challenge(commitment: bytes, public_key: bytes, message: bytes) -> int:
    return int.from_bytes(sha512(commitment + public_key + message).digest(), "little") % ORDER


def _find_torsion() -> Point:
    """Find a point of order eight: what stays of any point outside the main subgroup."""
    for y in range(2, 100):
        try:
            candidate = multiply(ORDER, recover(y, 0))
        except ValueError:
            continue
        if multiply(4, candidate) != IDENTITY:
            return candidate
    raise AssertionError("a quarter of all points would do")


BASE = recover(4 * pow(5, -1, P) % P, 0)
TORSION = _find_torsion()
