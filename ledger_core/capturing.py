"""Capturing: makes the records of calls that the service itself signs, and founds their ledger.

An agent's request passes through the service, which puts it on record on the agent's behalf: with
a key of its own (:meth:`Keyring.proxy`), registered like any agent's. What it signs needs no
verifying again; what it writes is checked against its schema all the same, because the ends of
calls hold what providers said, and nothing that a provider says may keep a call off the record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec

from ledger_core import clock, ids, limits
from ledger_core.admission import Admitted
from ledger_core.errors import ConflictError, NotFoundError, StandingError, TooLargeError
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.record import (
    Part,
    PartRef,
    Record,
    Ref,
    SignedRecord,
    format_record,
    make_part,
    pre_authentication_encoding,
)
from ledger_core.ledger import Ledger
from ledger_core.ledgers import Ledgers
from ledger_core.policy.allowances import Draw, Rate, allowance_key
from ledger_core.records.calls import NAME_CHARS, PATH_CHARS, QUERY_CHARS, TEXT_CHARS, Identity
from ledger_core.records.model import JSON, RecordType
from ledger_core.records.possession import prove_possession
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.types.alert import ALERT_1
from ledger_core.records.types.charter import Founding
from ledger_core.records.types.key import KEY_1, Register
from ledger_core.records.types.llm_call import LLM_CALL_1, LLM_CALL_2, LlmCall2
from ledger_core.records.types.llm_refused import LLM_REFUSED_1, LlmRefused
from ledger_core.records.types.llm_start import LLM_START_1, LlmStart

BYTES: Final = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")
_CHARSET = re.compile(r"charset=\"?([a-z0-9-]+)\"?")

Call = TypeVar("Call", bound=Identity)


class Scribe:
    """Makes records of calls for one ledger. Thread-safe: it holds nothing that changes."""

    def __init__(
        self, ledger: Ledger, key: PrivateKey, secret: bytes, now: clock.Clock = clock.now_ms
    ) -> None:
        self.ledger = ledger
        self._key = key
        self._author = ids.format_key(key.public_key)
        self._secret = secret
        self._clock = now

    def allowance_key(self, kind: str, name: str, day: int | None = None) -> bytes:
        """Name an allowance: the same in every process of the service, and to nobody else."""
        return allowance_key(self._secret, kind, name, day)

    def start(
        self,
        start: LlmStart,
        request: bytes | None = None,
        media_type: str = BYTES,
        draws: tuple[Draw, ...] = (),
        rates: tuple[Rate, ...] = (),
        *,
        is_late: bool = False,
        record_id: str | None = None,
    ) -> Admitted:
        """Make the start of a call. ``request``: its bytes, or a frame of them.

        While all calls are stopped it is refused, unless ``is_late``: the call was forwarded
        already, when the ledger could not be asked. ``record_id``: one that was given before.
        """
        parts = _Parts(LLM_START_1)
        parts.put_json("start", start)
        if request is not None:
            parts.put("request", request, media_type)
        return self._seal(parts, (), draws, rates, may_be_stopped=not is_late, record_id=record_id)

    def end(
        self,
        call: LlmCall2,
        answers: bytes | None = None,
        response: bytes | None = None,
        media_type: str = BYTES,
        draws: tuple[Draw, ...] = (),
        *,
        record_id: str | None = None,
    ) -> Admitted:
        """Make the end of a call. ``answers``: the leaf hash of its start."""
        parts = _Parts(LLM_CALL_2)
        parts.put_json("call", call)
        if response is not None:
            parts.put("response", response, media_type)
        named = () if answers is None else (answers,)
        return self._seal(parts, named, draws, record_id=record_id)

    def refused(self, refusal: LlmRefused) -> Admitted:
        """Make the record that a call was refused."""
        parts = _Parts(LLM_REFUSED_1)
        parts.put_json("refusal", refusal)
        return self._seal(parts, ())

    def _seal(
        self,
        parts: _Parts,
        answers: tuple[bytes, ...],
        draws: tuple[Draw, ...] = (),
        rates: tuple[Rate, ...] = (),
        *,
        may_be_stopped: bool = False,
        record_id: str | None = None,
    ) -> Admitted:
        record_id = record_id or ids.new_record_id()
        record = Record(
            v=1,
            ledger=self.ledger.origin,
            id=record_id,
            type=parts.kind.name,
            author=self._author,
            made_at=clock.format_time(self._clock()),
            payload=parts.refs,
            refs=tuple([Ref("answers", ids.format_digest(each)) for each in answers]),
        )
        parts.kind.rule(record, parts.payload)
        raw = format_record(record)
        signature = self._key.sign(pre_authentication_encoding(raw))
        return Admitted(
            SignedRecord(record, raw, signature),
            ids.parse_record_id(record_id),
            parts.kind,
            parts.parts,
            parts.payload,
            answers,
            draws=draws,
            rates=rates,
            may_be_stopped=may_be_stopped,
        )


@dataclass
class _Parts:
    """The parts of a record in the making, each committed to."""

    kind: RecordType

    def __post_init__(self) -> None:
        self.refs: dict[str, PartRef] = {}
        self.parts: dict[str, Part] = {}
        self.payload: dict[str, Any] = {}

    def put_json(self, name: str, call: Identity) -> None:
        """Add a JSON part, as its schema has it."""
        decoder = self.kind.parts[name].decoder
        try:
            data = msgspec.json.encode(call)
            self.payload[name] = decoder.decode(data)
        except (msgspec.ValidationError, UnicodeEncodeError, OverflowError):
            data = msgspec.json.encode(tidy(call))
            self.payload[name] = decoder.decode(data)
        self.refs[name], self.parts[name] = make_part(data, JSON)

    def put(self, name: str, data: bytes, media_type: str) -> None:
        if len(data) > limits.PAYLOAD_PART_BYTES:
            raise TooLargeError(f"part {name} is larger than {limits.PAYLOAD_PART_BYTES} bytes")
        self.payload[name] = data
        self.refs[name], self.parts[name] = make_part(data, plain_media_type(media_type))


@lru_cache(maxsize=1024)
def plain_media_type(text: str) -> str:
    """Return a media type as records spell it; what is none is plain bytes.

    >>> plain_media_type('Application/JSON; charset="utf-8"; odata=none')
    'application/json;charset=utf-8'
    """
    kind, *parameters = text.lower().split(";")
    kind = kind.strip()
    if not _MEDIA_TYPE.fullmatch(kind):
        return BYTES
    charsets = [found for each in parameters if (found := _CHARSET.fullmatch(each.strip()))]
    plain = f"{kind};charset={charsets[0][1]}" if charsets else kind
    if len(plain) <= limits.MEDIA_TYPE_CHARS:
        return plain
    return kind if len(kind) <= limits.MEDIA_TYPE_CHARS else BYTES


# --- what does not fit -----------------------------------------------------------------

_LONG: Final[Mapping[str, int]] = {
    "path": PATH_CHARS,
    "query": QUERY_CHARS,
    "message": TEXT_CHARS,
    "error_detail": TEXT_CHARS,
    "parse_error": TEXT_CHARS,
}
_TOOL_NAMES, _TAGS = 1_000, 64


def tidy(call: Call) -> Call:
    """Return a call's fields cut down to what their schema takes.

    Text is cut and told apart by a digest, zero bytes and lone surrogates are spelled out, and a
    number that cannot be is unknown.
    """
    fit = {x: _fit(x, getattr(call, x)) for x in type(call).__struct_fields__}
    if fit.get("cost_microusd", 0) is None:
        fit["cost_basis"] = "unknown"
    return msgspec.structs.replace(call, **fit)


def _fit(name: str, value: Any) -> Any:
    match value:
        case str():
            return _fit_text(value, _LONG.get(name, NAME_CHARS))
        case bool():
            return value
        case int():
            highest = 999 if name == "status_code" else limits.MAX_INTEGER
            is_needed = name in ("request_bytes", "redactions", "choices", "status_code")
            if 0 <= value <= highest:
                return value
            return min(max(0, value), highest) if is_needed else None
        case tuple() | list():
            return tuple(_fit_text(str(each), NAME_CHARS) for each in value[:_TOOL_NAMES])
        case dict():
            pairs = [*value.items()][:_TAGS]
            return {_fit_text(str(k), NAME_CHARS): _fit_text(str(v), NAME_CHARS) for k, v in pairs}
        case _:
            return value


def _fit_text(text: str, most: int) -> str:
    told = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    if len(told) <= most:
        return told
    mark = sha256(told.encode()).hexdigest()[:16]
    return f"{told[: most - len(mark) - 1]}~{mark}"


# --- the ledger of calls ----------------------------------------------------------------

_CAPTURED = (LLM_START_1.name, LLM_CALL_2.name, LLM_REFUSED_1.name, LLM_CALL_1.name, ALERT_1.name)
FOUNDING: Final = Founding(
    mutability=tuple(
        MutabilitySetting(
            type=name,
            redact=("author", "operator"),
            erase=("author", "operator"),
            hold=("operator",),
        )
        for name in _CAPTURED
    )
)
"""What a ledger of calls is founded with: people's prompts can be erased from it."""


def open_capture_ledger(ledgers: Ledgers, name: str) -> Ledger:
    """Return the ledger that calls are captured in; found it if there is none.

    Of several processes that find none, one founds it. The proxy's key is registered in it,
    unless it is or was. Blocking.
    """
    try:
        ledger = ledgers.get(name)
    except NotFoundError:
        ledger = _found(ledgers, name)
    proxy = ledgers.keyring.proxy(ledger.origins[0])
    key = ids.format_key(proxy.public_key)
    if key not in ledger.constitution().keys:
        _register(ledger, proxy, key)
    return ledger


def open_scribe(ledgers: Ledgers, name: str) -> Scribe:
    """Return what writes into the ledger that calls are captured in. Blocking."""
    ledger = open_capture_ledger(ledgers, name)
    key = ledgers.keyring.proxy(ledger.origins[0])
    return Scribe(ledger, key, ledgers.keyring.allowance_secret(), ledgers.clock)


def _found(ledgers: Ledgers, name: str) -> Ledger:
    try:
        return ledgers.create(name, kind="private", founding=FOUNDING)
    except ConflictError:
        return ledgers.get(name)


def _register(ledger: Ledger, proxy: PrivateKey, key: str) -> None:
    body = msgspec.json.encode(Register(key, ("agent",), prove_possession(ledger.origin, proxy)))
    try:
        ledger.append_as_operator(KEY_1.name, body)
    except StandingError:
        if key not in ledger.constitution().keys:
            raise
