"""Verifies a session's export offline: that its calls are on the record, and are told rightly.

Every claim below is checked for every entry or call; the report names the first that fails. What
an export cannot prove is said in docs/spec/session-export.md: above all that it is complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from hashlib import sha256
from itertools import pairwise, starmap
from pathlib import Path
from typing import Any

import msgspec

from ledger_core import ids, limits
from ledger_core.errors import (
    CommitmentError,
    LedgerGridError,
    MalformedError,
    PayloadError,
    ProofError,
    SettingsError,
)
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.entry import parse_entry
from ledger_core.formats.receipt import check_receipt, parse_receipt
from ledger_core.formats.record import (
    Part,
    Record,
    SignedRecord,
    check_part,
    parse_record,
    verify_record,
)
from ledger_core.formats.session_export import (
    SessionExport,
    ShownEntry,
    parse_session,
)
from ledger_core.formats.trust_policy import TrustPolicy, verify_trusted
from ledger_core.llm import frames
from ledger_core.llm.model import Answered, Asked
from ledger_core.llm.wire import parse_request, parse_response
from ledger_core.merkle.tree import leaf_hash
from ledger_core.records.model import decode_part
from ledger_core.records.registry import find_type

CLAIMS = {
    "checkpoint": "every receipt ends in a checkpoint of a log you trust, with your quorum",
    "inclusion": "every entry lies in the log where its receipt says",
    "signature": "every record is signed by the key it names",
    "commitment": "every part shown is what its record commits to, and follows its type",
    "entries": "calls and entries name each other, and none is left over",
    "answers": "every end answers the start that its call names, by the same author",
    "bytes": "requests and responses are those whose digests were recorded",
    "reading": "tokens, model, stop reason and content are what the raw bytes say",
    "telling": "every call is told as its signed entries say",
}
NOT_PROVEN = (
    "that the session has no other calls: the archive of the ledger shows all of them",
    "that the authors' keys had standing, and who they are: the archive shows that too",
    "what an erased, redacted or withheld part said",
)
_NUMBERS = ("tokens_in", "tokens_out", "tokens_cached", "tokens_cache_write", "tokens_reasoning")
_TOLD = (
    "action_id", "timestamp", "session_id", "user_id", "agent_name", "app_id", "provider",
    "model_id", "parent_action_id", "handoff_from", "handoff_to", "status_code", "latency_ms",
    "first_token_ms", *_NUMBERS, "tokens_audio", "cost_microusd", "stop_reason", "response_id",
    "response_model", "service_tier", "error_type", "reason", "temperature", "max_tokens",
)  # fmt: skip
_PART = {
    "llm.start/1": "start", "llm.call/1": "call", "llm.call/2": "call", "llm.refused/1": "refusal",
}  # fmt: skip


class Entry(msgspec.Struct, frozen=True):
    """An entry that was checked, with the parts that are shown."""

    index: int
    leaf_hash: bytes
    record: Record
    parts: Mapping[str, bytes]
    gone: Mapping[str, str]

    def said(self) -> Mapping[str, Any] | None:
        data = self.parts.get(_PART[self.record.type])
        found: Mapping[str, Any] | None = None if data is None else msgspec.json.decode(data)
        return found


class Verdict(msgspec.Struct):
    """How often each claim was checked; where one does not hold, ``failed`` says which and why."""

    session_id: str
    origin: str = ""
    size: int = 0
    calls: int = 0
    entries: int = 0
    checked: dict[str, int] = {}
    unread: list[str] = []
    failed: str | None = None
    reason: str | None = None

    def note(self, claim: str) -> None:
        self.checked[claim] = self.checked.get(claim, 0) + 1


def read_export(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limits.SESSION_EXPORT_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None


def verify_session(raw: bytes, policy: TrustPolicy) -> Verdict:
    """Check every claim; raises :class:`MalformedError` for what is no export at all."""
    export = parse_session(raw)
    verdict = Verdict(str(export.session.get("session_id", ""))[:200])
    try:
        for claim in _check(export, policy, verdict):
            verdict.note(claim)
    except _FailedError as error:
        verdict.failed, verdict.reason = error.claim, error.reason
    return verdict


class _FailedError(Exception):
    def __init__(self, claim: str, where: str, reason: object) -> None:
        super().__init__(f"{where}: {reason}")
        self.claim, self.reason = claim, str(self)


def _try(claim: str, where: str, check: Callable[[], Any]) -> Any:
    """Run one check; what it raises is told as the claim that does not hold."""
    try:
        return check()
    except (LedgerGridError, msgspec.DecodeError, UnicodeError) as error:
        raise _FailedError(claim, where, error) from None


def _check(export: SessionExport, policy: TrustPolicy, verdict: Verdict) -> Iterator[str]:
    trusted: dict[bytes, Checkpoint] = {}
    entries: dict[int, Entry] = {}
    for shown in export.proofs.entries:
        entry = yield from _check_entry(shown, policy, trusted, verdict)
        if entry.index in entries:
            raise _FailedError("entries", f"entry {entry.index}", "stands twice")
        entries[entry.index] = entry
    verdict.entries = len(entries)
    named: set[int] = set()
    by_hash = {each.leaf_hash: each for each in entries.values()}
    for call in export.calls:
        where = f"call {str(call.get('action_id'))[:80]!r}"
        start, end = _find(call, entries, where)
        named |= {each.index for each in (start, end) if each is not None}
        yield "entries"
        yield from _check_call(call, start, end, by_hash, where, verdict)
        verdict.calls += 1
    if named != entries.keys():
        left = min(entries.keys() - named)
        raise _FailedError("entries", f"entry {left}", "belongs to no call of the export")


# --- entries -------------------------------------------------------------------------


def _check_entry(
    shown: ShownEntry,
    policy: TrustPolicy,
    trusted: dict[bytes, Checkpoint],
    verdict: Verdict,
) -> Generator[str, None, Entry]:
    where = f"entry {shown.index}"
    leaf = _try("inclusion", where, lambda: ids.decode_base64(shown.leaf))
    receipt = _try("inclusion", where, lambda: parse_receipt(shown.receipt.encode()))
    note = receipt.checkpoint
    if note not in trusted:
        trusted[note] = _try("checkpoint", where, lambda: _trust(note, policy))
    checkpoint = trusted[note]
    verdict.origin, verdict.size = checkpoint.origin, max(verdict.size, checkpoint.size)
    yield "checkpoint"
    _try("inclusion", where, lambda: check_receipt(receipt, leaf, checkpoint))
    parsed = _try("inclusion", where, lambda: parse_entry(leaf))
    record = _try("signature", where, lambda: parse_record(parsed.record))
    header = parsed.header
    named = (record.ledger, header.origin, checkpoint.origin)
    if header.index != receipt.index or header.index != shown.index:
        raise _FailedError("inclusion", where, "leaf and receipt name another index")
    if not all(starmap(ids.is_origin_up_to, pairwise(named))):
        raise _FailedError("inclusion", where, "record, entry and log name different origins")
    yield "inclusion"
    signed = SignedRecord(record, parsed.record, header.signature)
    _try("signature", where, lambda: verify_record(signed))
    yield "signature"
    parts = _try("commitment", where, lambda: _check_parts(shown, record))
    yield "commitment"
    gone = {name: part.status for name, part in shown.parts.items() if part.status != "present"}
    return Entry(shown.index, leaf_hash(leaf), record, parts, gone)


def _trust(note: bytes, policy: TrustPolicy) -> Checkpoint:
    trusted = verify_trusted(note, policy)
    if not trusted.quorum_met:
        raise ProofError("the checkpoint has not the witnesses that the trust policy asks for")
    return trusted.checkpoint


def _check_parts(shown: ShownEntry, record: Record) -> dict[str, bytes]:
    if record.type not in _PART:
        raise PayloadError(f"{record.type} is no record of a call")
    if shown.parts.keys() != record.payload.keys():
        raise CommitmentError("its parts are not those that its record commits to")
    kind = find_type(record.type)
    found: dict[str, bytes] = {}
    for name, part in shown.parts.items():
        if part.status != "present":
            continue
        if part.data is None or part.salt is None:
            raise MalformedError(f"part {name} is present, and not there")
        data, salt = ids.decode_base64(part.data), ids.decode_base64(part.salt, 32)
        check_part(name, record.payload[name], Part(salt, data))
        decode_part(kind, name, record.payload[name].media_type, data)
        found[name] = data
    return found


# --- calls ---------------------------------------------------------------------------


def _find(
    call: Mapping[str, Any], entries: Mapping[int, Entry], where: str
) -> tuple[Entry | None, Entry | None]:
    """Return the start and the end of a call; what stands alone is an end, unless it began."""
    index, end_index = call.get("index"), call.get("end_index")
    for each in (index, end_index):
        if each is not None and (not isinstance(each, int) or each not in entries):
            raise _FailedError("entries", where, f"its entry {each} is not in the export")
    if index is None:
        raise _FailedError("entries", where, "it names no entry")
    start = None if index == end_index else entries[index]
    end = None if end_index is None else entries[end_index]
    is_started = start is not None and start.record.type == "llm.start/1"
    is_ended = end is None or end.record.type != "llm.start/1"
    if (start is not None and not is_started) or not is_ended:
        raise _FailedError("entries", where, "its entries are not a start and an end")
    return start, end


def _check_call(
    call: Mapping[str, Any],
    start: Entry | None,
    end: Entry | None,
    by_hash: Mapping[bytes, Entry],
    where: str,
    verdict: Verdict,
) -> Iterator[str]:
    if start is not None and end is not None:
        _check_answers(start, end, where)
        yield "answers"
    speaking = end or start
    said = None if speaking is None else speaking.said()
    if said is None:
        verdict.unread.append(f"{where}: what it says of itself is not shown")
        return
    _check_told(call, said, where)
    yield "telling"
    asked = _read_request(start or end, by_hash, where, verdict)
    if isinstance(asked, Asked):
        yield "bytes"
        _compare(call, {"messages": asked.messages, "system_prompt": asked.system_prompt}, where)
        yield "reading"
    answered = _read_response(end, said, where, verdict)
    if isinstance(answered, Answered):
        yield "bytes"
        if not answered.parse_error:
            _check_read(call, said, answered, where)
            yield "reading"


def _check_answers(start: Entry, end: Entry, where: str) -> None:
    answered = [ref.to for ref in end.record.refs if ref.rel == "answers"]
    if answered != [ids.format_digest(start.leaf_hash)]:
        raise _FailedError("answers", where, "its end does not answer its start")
    if start.record.author != end.record.author or start.index >= end.index:
        raise _FailedError("answers", where, "start and end have not one author, or not this order")


def _check_told(call: Mapping[str, Any], said: Mapping[str, Any], where: str) -> None:
    for name in _TOLD:
        if call.get(name) != said.get(name):
            raise _FailedError("telling", where, f"{name} is not what its entry says")
    cost = said.get("cost_microusd")
    if call.get("cost_usd") != (None if cost is None else cost / 1_000_000):
        raise _FailedError("telling", where, "cost_usd is not what its entry says")


def _read_request(
    entry: Entry | None, by_hash: Mapping[bytes, Entry], where: str, verdict: Verdict
) -> Asked | None:
    """Return what was asked, after checking that these are the bytes that were recorded."""
    raw = None if entry is None else entry.parts.get("request")
    said = None if entry is None else entry.said()
    if entry is None or raw is None or said is None:
        return None

    def fetch(wanted: bytes) -> frames.Stored:
        base = by_hash.get(wanted)
        if base is None or "request" not in base.parts:
            raise _MissingBaseError(ids.format_digest(wanted))
        return base.record.payload["request"].media_type, base.parts["request"]

    stored = entry.record.payload["request"].media_type, raw
    try:
        whole: bytes = _try("bytes", where, lambda: frames.decode(stored, fetch))
    except _MissingBaseError as error:
        verdict.unread.append(f"{where}: its request builds on {error}, which is not shown")
        return None
    _check_digest(said, "request", whole, where, verdict)
    media = said.get("media_type") or said.get("request_media_type")
    coding = said.get("content_encoding") or said.get("request_encoding")
    return parse_request(said.get("wire", "other"), whole, media, coding)


class _MissingBaseError(Exception):
    """A request builds on one that the export does not show."""


def _read_response(
    end: Entry | None, said: Mapping[str, Any], where: str, verdict: Verdict
) -> Answered | None:
    raw = None if end is None else end.parts.get("response")
    if raw is None:
        return None
    _check_digest(said, "response", raw, where, verdict)
    media, coding = said.get("response_media_type"), said.get("response_encoding")
    status = said.get("status_code") or 200
    return parse_response(said.get("wire", "other"), status, raw, media, coding)


def _check_digest(
    said: Mapping[str, Any], part: str, whole: bytes, where: str, verdict: Verdict
) -> None:
    digest = said.get(f"{part}_sha256")
    if digest is None or sha256(whole).hexdigest() == digest:
        return
    if said.get("redactions"):
        verdict.unread.append(f"{where}: a redactor changed the stored {part}")
        return
    raise _FailedError("bytes", where, f"its {part} is not the one whose digest was recorded")


def _check_read(
    call: Mapping[str, Any], said: Mapping[str, Any], answered: Answered, where: str
) -> None:
    """Compare what the entry and the export say with what the bytes say."""
    if said.get("cost_basis") != "estimated" and answered.usage is not None:
        for name in _NUMBERS:
            read = getattr(answered.usage, name)
            if read is not None and said.get(name) is not None and read != said[name]:
                raise _FailedError("reading", where, f"{name} is not what the response says")
    pairs = (("stop_reason", answered.stop_reason), ("response_model", answered.model))
    for name, read in (*pairs, ("response_id", answered.response_id)):
        if read is not None and said.get(name) is not None and said[name] != read:
            raise _FailedError("reading", where, f"{name} is not what the response says")
    _compare(call, {"content": answered.content, "reasoning": answered.reasoning}, where)


def _compare(call: Mapping[str, Any], read: Mapping[str, Any], where: str) -> None:
    for name, value in read.items():
        if _plain(call.get(name)) != _plain(value):
            raise _FailedError("reading", where, f"{name} is not what its bytes say")


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers are compared as they are written."""
    return json.loads(msgspec.json.encode(value))


# --- in words ------------------------------------------------------------------------


def describe(verdict: Verdict) -> list[str]:
    """Say what was checked, and what no export proves."""
    lines = [
        f"session   {verdict.session_id}",
        f"log       {verdict.origin}, {verdict.size} entries",
        f"shown     {verdict.calls} calls, {verdict.entries} entries",
    ]
    for claim, meaning in CLAIMS.items():
        if claim == verdict.failed:
            lines.append(f"FAILED    {claim}: {verdict.reason}")
        else:
            lines.append(f"{verdict.checked.get(claim, 0):>6}    {claim}: {meaning}")
    lines += [f"unread    {each}" for each in verdict.unread[:20]]
    if len(verdict.unread) > 20:
        lines.append(f"unread    and {len(verdict.unread) - 20} more")
    lines += [f"unproven  {each}" for each in NOT_PROVEN]
    lines.append("FAIL" if verdict.failed else "PASS")
    return lines


def to_json(verdict: Verdict) -> str:
    told = msgspec.to_builtins(verdict) | {"not_proven": NOT_PROVEN, "passed": not verdict.failed}
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()
