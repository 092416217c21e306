"""``llm.start/1``: a call of a language model began; durable before its request went out.

Its end is the ``llm.call/2`` that answers it. While there is none the call is started, outcome
unknown. Part ``request`` holds the request's bytes as they came, or a frame that says how they
differ from an earlier request (docs/spec/capture.md).
"""

from ledger_core.errors import PayloadError
from ledger_core.formats.record import Count, Record
from ledger_core.records.calls import (
    COLUMNS,
    Identity,
    Level,
    Name,
    Sha256,
    check_identity,
    make_row,
    name_subjects,
)
from ledger_core.records.model import PartType, Payload, RecordType

_COLUMNS = {name: COLUMNS[name] for name in ("action_id", "session_id")}


class LlmStart(Identity, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """``request_bytes`` and ``request_sha256`` are of the whole body, as it came.

    ``reserved_microusd``: what budgets were drawn by until the end settles it. ``redactions``:
    places that a redactor changed in the stored copy.
    """

    request_bytes: Count
    request_sha256: Sha256
    reserved_microusd: Count | None = None
    media_type: Name | None = None
    content_encoding: Name | None = None
    level: Level = "full"
    redactions: Count = 0


def _rule(record: Record, payload: Payload) -> None:
    start: LlmStart = payload["start"]
    check_identity(start)
    if any(ref.rel == "answers" for ref in record.refs):
        raise PayloadError("the start of a call answers nothing")
    if start.level == "metadata" and "request" in payload:
        raise PayloadError("a start of level `metadata` holds no request")


def _row(payload: Payload) -> dict[str, str | int | None]:
    return make_row(_COLUMNS, payload["start"])


def _subjects(payload: Payload) -> tuple[str, ...]:
    start: LlmStart = payload["start"]
    return name_subjects(start.user_id, start.session_id)


LLM_START_1 = RecordType(
    name="llm.start/1",
    summary="A call of a language model began: who asked which model, and with what.",
    parts={"start": PartType(LlmStart), "request": PartType(bytes, required=False)},
    writers=frozenset({"agent", "operator"}),
    rule=_rule,
    columns=_COLUMNS,
    row=_row,
    subjects=_subjects,
)
