"""A session as an attachment: the object that tools of this kind export, and its proofs."""

from __future__ import annotations

from collections.abc import Sequence

from api.calls.contents import Json, Seen
from api.calls.reading import CallReader
from api.sight import Sight
from ledger_core import clock, ids, limits
from ledger_core.errors import NotFoundError, TooLargeError
from ledger_core.formats.session_export import (
    FORMAT,
    Proofs,
    SessionExport,
    ShownEntry,
    ShownPart,
)
from ledger_core.formats.vkey import format_vkey

CALLS = 10_000
"""Calls of one session that are exported in one piece."""


def export_session(reader: CallReader, session_id: str, now_ms: int) -> SessionExport:
    """Put a session together with the receipts of all its entries; blocking."""
    sight = reader.sight
    rows = reader.rows_of_session(session_id, limit=CALLS + 1)
    if not rows or sight is None:
        raise NotFoundError("no such session")
    if len(rows) > CALLS:
        raise TooLargeError(f"a session of more than {CALLS} calls: export the ledger's archive")
    calls: list[Json] = []
    seen: dict[int, Seen] = {}
    size = 0
    for call, entries in reader.open(rows):
        calls.append(call)
        seen |= {each.entry.index: each for each in entries}
        size += sum(len(part.data) for each in entries for part in each.entry.parts.values())
        if size > limits.POOL_BYTES:
            raise TooLargeError("the session is too large for one file: export the archive")
    if not calls:
        raise NotFoundError("no such session")
    return SessionExport(
        format=FORMAT,
        export={
            "generated_at": clock.format_time(now_ms),
            "generator": "LedgerGrid",
            "integrity": {
                "scheme": FORMAT,
                "verify": "ledgergrid-verify session FILE --trust POLICY",
            },
        },
        session=summarise(session_id, calls),
        calls=calls,
        proofs=_prove(sight, [seen[index] for index in sorted(seen)]),
    )


def summarise(session_id: str, calls: Sequence[Json]) -> Json:
    """Sum calls up as tools of this kind do."""
    costs = [each["cost_microusd"] for each in calls if each["cost_microusd"] is not None]
    times = [each["timestamp"] for each in calls if each["timestamp"] is not None]
    return {
        "session_id": session_id,
        "started_at": min(times, default=None),
        "ended_at": max(times, default=None),
        "call_count": len(calls),
        "error_count": sum(each["is_error"] for each in calls),
        "blocked_count": sum(each["status"] == "refused" for each in calls),
        "started_count": sum(each["status"] == "started" for each in calls),
        "models": _names(calls, "model_id"),
        "agents": _names(calls, "agent_name"),
        "users": _names(calls, "user_id"),
        "total_tokens_in": sum(each["tokens_in"] or 0 for each in calls),
        "total_tokens_out": sum(each["tokens_out"] or 0 for each in calls),
        "total_latency_ms": sum(each["latency_ms"] or 0 for each in calls),
        "total_cost_usd": sum(costs) / 1_000_000 if costs else None,
        "total_cost_microusd": sum(costs) if costs else None,
    }


def _names(calls: Sequence[Json], name: str) -> list[str]:
    return sorted({each[name] for each in calls if each[name]})


def _prove(sight: Sight, entries: Sequence[Seen]) -> Proofs:
    """Give every entry its receipt, all at the newest checkpoint."""
    ledger = sight.ledger
    size, _ = ledger.own_checkpoint()
    shown = tuple(
        ShownEntry(
            index=each.entry.index,
            leaf=ids.encode_base64(each.entry.leaf),
            receipt=ledger.receipt(each.entry.index, size).decode(),
            parts={name: _show_part(each, name) for name in sorted(each.parts)},
        )
        for each in entries
    )
    checkpoint = shown[0].receipt.partition("\n\n")[2]
    return Proofs(ledger.name, format_vkey(ledger.log_key), checkpoint, shown)


def _show_part(seen: Seen, name: str) -> ShownPart:
    status = seen.status_of(name)
    part = seen.entry.parts.get(name)
    if status != "present" or part is None:
        return ShownPart(status)  # type: ignore[arg-type]
    return ShownPart("present", ids.encode_base64(part.data), ids.encode_base64(part.salt))
