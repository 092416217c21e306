"""The redactor that the settings ask for, if they ask for one."""

from __future__ import annotations

import msgspec

from api.capture_settings import CaptureSettings, listed
from ledger_core.errors import SettingsError
from ledger_core.llm.patterns import KINDS
from ledger_core.llm.redactor import Redactor

_ALL = "all"


def open_redactor(settings: CaptureSettings) -> Redactor | None:
    """Return what makes texts unreadable; None where nothing is to be.

    Raises :class:`SettingsError` for a kind or a pattern that cannot be looked for.
    """
    kinds = listed(settings.redact)
    own = _parse_patterns(settings.redact_patterns)
    if not kinds and not own:
        return None
    return Redactor(tuple(KINDS) if _ALL in kinds else kinds, own)


def _parse_patterns(text: str) -> list[str]:
    if not text.strip():
        return []
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        raise SettingsError("LEDGERGRID_REDACT_PATTERNS is no JSON list of texts") from None
