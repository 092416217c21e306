"""Every record type LedgerGrid knows. A new type is a file in ``types/`` and a line here."""

from __future__ import annotations

import msgspec

from ledger_core.errors import UnknownTypeError
from ledger_core.records.model import RecordType
from ledger_core.records.types.agent_action import AGENT_ACTION_1
from ledger_core.records.types.agent_decision import AGENT_DECISION_1
from ledger_core.records.types.alert import ALERT_1
from ledger_core.records.types.anchor import ANCHOR_1
from ledger_core.records.types.audience import AUDIENCE_1
from ledger_core.records.types.bundle import BUNDLE_1
from ledger_core.records.types.capture_limits import CAPTURE_LIMITS_1
from ledger_core.records.types.capture_stop import CAPTURE_STOP_1
from ledger_core.records.types.charter import CHARTER_1
from ledger_core.records.types.closing import CLOSING_1
from ledger_core.records.types.endorsement import ENDORSEMENT_1
from ledger_core.records.types.epoch import EPOCH_1
from ledger_core.records.types.equivocation import EQUIVOCATION_1
from ledger_core.records.types.erasure import ERASURE_1
from ledger_core.records.types.erasure_done import ERASURE_DONE_1
from ledger_core.records.types.export import EXPORT_1
from ledger_core.records.types.hold import HOLD_1
from ledger_core.records.types.key import KEY_1
from ledger_core.records.types.key_rotation import KEY_ROTATION_1
from ledger_core.records.types.llm_call import LLM_CALL_1, LLM_CALL_2
from ledger_core.records.types.llm_refused import LLM_REFUSED_1
from ledger_core.records.types.llm_start import LLM_START_1
from ledger_core.records.types.log_key import LOG_KEY_1
from ledger_core.records.types.member import MEMBER_1
from ledger_core.records.types.mutability import MUTABILITY_1
from ledger_core.records.types.note import NOTE_1
from ledger_core.records.types.outcome import OUTCOME_1
from ledger_core.records.types.policy import POLICY_1
from ledger_core.records.types.redaction import REDACTION_1
from ledger_core.records.types.refusal import REFUSAL_1
from ledger_core.records.types.retention import RETENTION_1
from ledger_core.records.types.rollback import ROLLBACK_1
from ledger_core.records.types.segment import SEGMENT_1
from ledger_core.records.types.withdrawal import WITHDRAWAL_1

ALL = (
    CHARTER_1,
    KEY_1,
    KEY_ROTATION_1,
    LOG_KEY_1,
    MEMBER_1,
    POLICY_1,
    AUDIENCE_1,
    MUTABILITY_1,
    ENDORSEMENT_1,
    WITHDRAWAL_1,
    BUNDLE_1,
    OUTCOME_1,
    EQUIVOCATION_1,
    ROLLBACK_1,
    REDACTION_1,
    HOLD_1,
    ERASURE_1,
    RETENTION_1,
    ERASURE_DONE_1,
    REFUSAL_1,
    CAPTURE_LIMITS_1,
    CAPTURE_STOP_1,
    EPOCH_1,
    ANCHOR_1,
    CLOSING_1,
    NOTE_1,
    AGENT_ACTION_1,
    AGENT_DECISION_1,
    LLM_CALL_1,
    LLM_START_1,
    LLM_CALL_2,
    LLM_REFUSED_1,
    ALERT_1,
    SEGMENT_1,
    EXPORT_1,
)

_BY_NAME = {kind.name: kind for kind in ALL}


def find_type(name: str) -> RecordType:
    """Return the record type, or raise :class:`UnknownTypeError`."""
    kind = _BY_NAME.get(name)
    if kind is None:
        raise UnknownTypeError(f"no record type {name!r}; known are {', '.join(sorted(_BY_NAME))}")
    return kind


def json_schemas(name: str) -> dict[str, bytes]:
    """Return the JSON Schema (2020-12) of each JSON part of a type."""
    parts = find_type(name).parts.items()
    return {
        part: msgspec.json.format(msgspec.json.encode(msgspec.json.schema(of.schema))) + b"\n"
        for part, of in parts
        if of.is_json
    }
