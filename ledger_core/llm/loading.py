"""JSON from strangers: bounded, lenient where providers are, and pieces of it picked by type.

``load`` takes what servers in the field take: a byte order mark, UTF-16, raw control characters,
NaN, lone surrogates, broken UTF-8. What comes out of it can always be stored: lone surrogates are
U+FFFD, NaN and infinities are None.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, TypeAlias

import msgspec

from ledger_core import limits
from ledger_core.errors import MalformedError, TooLargeError

Object: TypeAlias = dict[str, Any]

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_REASON_CHARS: Final = 200


def load(body: bytes) -> Any:
    """Read JSON; MalformedError or TooLargeError is all that it raises."""
    if len(body) > limits.LLM_BODY_BYTES:
        raise TooLargeError(f"more than {limits.LLM_BODY_BYTES} bytes")
    brackets = body.count(b"[") + body.count(b"{")
    if len(body) > limits.LLM_VALUES and brackets + body.count(b",") > limits.LLM_VALUES:
        raise TooLargeError(f"more than {limits.LLM_VALUES} values")
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        value = _load_leniently(body)
    if brackets > limits.LLM_DEPTH:
        _check_depth(value)
    return value


def load_object(body: bytes) -> Object:
    """Read JSON that has to be an object."""
    value = load(body)
    if not isinstance(value, dict):
        raise MalformedError(f"JSON, but {type(value).__name__} instead of an object")
    return value


def _load_leniently(body: bytes) -> Any:
    try:
        text = body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff")
        value = json.loads(text, strict=False, parse_constant=_nothing, parse_float=_finite)
        clean = _SURROGATES.sub("\ufffd", json.dumps(value, ensure_ascii=False))
        return msgspec.json.decode(clean)
    except RecursionError:
        raise TooLargeError(f"nested deeper than {limits.LLM_DEPTH} levels") from None
    except ValueError as error:
        raise MalformedError(f"not JSON: {str(error)[:_REASON_CHARS]}") from None


def _nothing(_constant: str) -> None:
    return None


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(limits.LLM_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise TooLargeError(f"nested deeper than {limits.LLM_DEPTH} levels")


def objects(value: Any) -> list[Object]:
    """The objects of a list; empty if it is none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def obj(value: Any) -> Object:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str | None:
    """The text if it is one, the empty one included."""
    return value if isinstance(value, str) else None


def name(value: Any) -> str | None:
    """A short text for a column: NUL replaced, cut to size, None if empty or no text."""
    if isinstance(value, str) and value:
        return value[: limits.LLM_NAME_CHARS].replace("\0", "\ufffd")
    return None


def count(value: Any) -> int | None:
    """A number of tokens and the like; None unless whole, not negative and exact."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limits.MAX_INTEGER:
        return value
    return None


def number(value: Any) -> float | None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and abs(value) > limits.MAX_INTEGER:
        return None
    return float(value)


def detail(value: Any) -> str | None:
    """A bounded text of whatever an error says."""
    if value is None or value == "":
        return None
    told = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return told[: limits.LLM_DETAIL_CHARS].replace("\0", "\ufffd")
