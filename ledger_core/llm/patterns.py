"""What the redactor looks for: e-mail addresses, cards, social security numbers, IPs, keys.

Every search here takes time by the length of the text and no more: each begins at a sign that must
be there (``@``, a digit that no digit precedes, a key's prefix) and looks no further than a bound.
Patterns of one's own are held to the same by :func:`compile_own`.
"""

from __future__ import annotations

import importlib
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from ledger_core import limits
from ledger_core.errors import SettingsError

Span = tuple[int, int]
Find = Callable[[str], Iterator[Span]]

SIGNS: Final = re.compile(r"[0-9@:]")
KEY_CHARS: Final = 15
"""A text with none of the signs and fewer characters has nothing of any kind in it."""

_LOCAL_CHARS: Final = 64
_ESCAPES: Final = 1_000
"""Of so many backslashes in a row it is known whether their number is even."""
_DOMAIN: Final = re.compile(r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_NOT_LOCAL: Final = re.compile(r"[^\w.!#$%&'*+/=?^`{|}~-]")
_DIGIT: Final = re.compile(r"[0-9]")
# Each begins with a digit and then looks back: that is ten times as fast as looking back first.
_CARD: Final = re.compile(r"[0-9](?<![0-9]{2})(?:[ -]?[0-9]){12,18}(?![0-9])")
_SSN: Final = re.compile(
    r"[0-8](?<![0-9-].)[0-9]{2}(?<!000)(?<!666)-"
    r"(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9-])"
)
_IPV4: Final = re.compile(r"[0-9](?<![0-9.].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![0-9]|\.[0-9])")
_IN_A_WORD: Final = re.compile(r"[\w:.]")
_BEFORE_COLON: Final = re.compile(r"[0-9A-Fa-f]{0,4}$")
_IPV6: Final = re.compile(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?![\w:])")
_KEYS: Final = {
    "sk-": r"sk-[A-Za-z0-9_-]{16,250}",
    "sk_": r"sk_(?:live|test)_[A-Za-z0-9]{10,250}",
    "rk_": r"rk_(?:live|test)_[A-Za-z0-9]{10,250}",
    "AKIA": r"AKIA[0-9A-Z]{16}(?![0-9A-Z])",
    "ASIA": r"ASIA[0-9A-Z]{16}(?![0-9A-Z])",
    "gh": r"gh[oprsu]_[A-Za-z0-9]{36,255}",
    "github_pat_": r"github_pat_[A-Za-z0-9_]{22,255}",
    "glpat-": r"glpat-[A-Za-z0-9_-]{20,100}",
    "xox": r"xox[abeoprs]-[A-Za-z0-9-]{10,250}",
    "AIza": r"AIza[A-Za-z0-9_-]{35}",
    "hf_": r"hf_[A-Za-z0-9]{30,100}",
    "eyJ": r"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,4000}",
    "-----BEGIN ": r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{1,20000}"
    r"(?:-----END [A-Z ]{0,30}KEY-----)?",
    "Bearer ": r"Bearer [A-Za-z0-9._~+/-]{20,4000}={0,2}",
}
_BEFORE_KEY: Final = re.compile(r"[A-Za-z0-9_]")


def emails(text: str) -> Iterator[Span]:
    """Find e-mail addresses: from each ``@`` backwards and forwards."""
    at = text.find("@")
    done = 0
    while at >= 0:
        domain = _DOMAIN.match(text, at)
        if domain:
            start = _local_start(text, max(done, at - _LOCAL_CHARS), at)
            if start < at:
                yield max(start, done), domain.end()
                done = domain.end()
        at = text.find("@", max(at + 1, done))


def _local_start(text: str, start: int, at: int) -> int:
    for found in _NOT_LOCAL.finditer(text, start, at):
        start = found.end()
    # In JSON within a text the first sign may be one half of an escape; then the other half goes
    # as well, so that what is left stays JSON.
    before = text[max(0, start - _ESCAPES) : start]
    return start - (len(before) - len(before.rstrip("\\"))) % 2


def cards(text: str) -> Iterator[Span]:
    """Find payment card numbers: 13 to 19 digits with a right Luhn check digit."""
    for found in _CARD.finditer(text) if _DIGIT.search(text) else ():
        digits = [int(each) for each in found.group() if each.isdigit()]
        if len(set(digits)) > 1 and _luhn(digits) % 10 == 0:
            yield found.span()


def _luhn(digits: list[int]) -> int:
    doubled = (sum(divmod(2 * each, 10)) for each in digits[-2::-2])
    return sum(digits[-1::-2]) + sum(doubled)


def social_security_numbers(text: str) -> Iterator[Span]:
    """Find US social security numbers, with their hyphens."""
    for found in _SSN.finditer(text) if _DIGIT.search(text) else ():
        yield found.span()


def ip_addresses(text: str) -> Iterator[Span]:
    """Find IPv4 and IPv6 addresses."""
    for found in _IPV4.finditer(text) if _DIGIT.search(text) else ():
        if all(int(each) <= 255 for each in found.group().split(".")):
            yield found.span()
    at = text.find(":")
    while at >= 0:
        group = _BEFORE_COLON.search(text, max(0, at - 4), at)
        start = group.start() if group else at
        found6 = None if _IN_A_WORD.match(text[start - 1 : start]) else _IPV6.match(text, start)
        if found6 and _is_ipv6(found6.group()):
            yield found6.span()
        at = text.find(":", found6.end() if found6 else at + 1)


def _is_ipv6(text: str) -> bool:
    if not any(each.isdigit() for each in text):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def keys(text: str) -> Iterator[Span]:
    """Find API keys, tokens and private keys, by the prefixes that their issuers gave them."""
    for prefix, pattern in _COMPILED_KEYS.items():
        at = text.find(prefix)
        while at >= 0:
            begins = not at or not _BEFORE_KEY.match(text[at - 1])
            found = pattern.match(text, at) if begins else None
            if found:
                yield found.span()
            at = text.find(prefix, found.end() if found else at + 1)


_COMPILED_KEYS: Final = {prefix: re.compile(pattern) for prefix, pattern in _KEYS.items()}

KINDS: Final[dict[str, Find]] = {
    "key": keys,
    "email": emails,
    "card": cards,
    "ssn": social_security_numbers,
    "ip": ip_addresses,
}


def compile_own(pattern: str) -> Find:
    """Make a pattern of one's own; raise :class:`SettingsError` for one that may take too long.

    Every repetition needs a bound, and what a search may try at one place has one: the number of
    ways to match (the ranges of all repetitions multiplied, possessive ones, ``{1,9}+``, left out)
    times the longest match, at most ``limits.PATTERN_STEPS``. Back references are refused, and what
    matches nothing.
    """
    if len(pattern) > limits.PATTERN_CHARS:
        raise SettingsError(f"pattern longer than {limits.PATTERN_CHARS} characters")
    try:
        compiled = re.compile(pattern)
        parsed: Any = importlib.import_module("re._parser").parse(pattern)
        shortest, longest = parsed.getwidth()
    except (re.error, OverflowError, RecursionError) as error:
        raise SettingsError(f"pattern {pattern[:80]!r}: {error}") from None
    if not shortest:
        raise SettingsError(f"pattern {pattern[:80]!r} matches nothing at all")
    ways = _ways(parsed, pattern)
    if ways * longest > limits.PATTERN_STEPS:
        raise SettingsError(
            f"pattern {pattern[:80]!r} may take {ways * longest} steps at one place:"
            f" at most {limits.PATTERN_STEPS}; give its repetitions lower bounds"
        )

    def find(text: str) -> Iterator[Span]:
        for found in compiled.finditer(text):
            yield found.span()

    return find


def _ways(parsed: Any, pattern: str) -> int:
    """In how many ways a parsed pattern may match at one place."""
    ways = 1
    for operation, argument in parsed:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, repeated = argument
            if int(most) > limits.PATTERN_STEPS:
                raise SettingsError(f"pattern {pattern[:80]!r} repeats without a bound")
            is_free = name[0] != "P" and least != most
            within = _ways(repeated, pattern)
            ways *= within ** int(most) * (int(most) - int(least) + 1 if is_free else 1)
        elif name == "BRANCH":
            ways *= sum(_ways(each, pattern) for each in argument[1])
        elif name in ("SUBPATTERN", "ATOMIC_GROUP", "ASSERT", "ASSERT_NOT"):
            inner = argument[-1] if isinstance(argument, tuple) else argument
            ways *= _ways(inner, pattern)
        elif name.startswith("GROUPREF"):
            raise SettingsError(f"pattern {pattern[:80]!r} refers back to a group")
        if ways > limits.PATTERN_STEPS:
            raise SettingsError(f"pattern {pattern[:80]!r} may match in too many ways at one place")
    return ways
