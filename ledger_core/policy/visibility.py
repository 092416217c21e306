"""Visibility: which payloads a reader may see. Entries themselves follow the ledger's kind."""

from __future__ import annotations

from ledger_core.errors import UnknownTypeError
from ledger_core.records.model import Audience
from ledger_core.records.registry import find_type

_RANK: dict[Audience, int] = {"public": 0, "members": 1, "operator": 2}


def may_see_payload(type_name: str, reader: Audience) -> bool:
    """Say whether a reader of this standing may see the payload of a record type.

    A type this version does not know is shown to operators only.
    """
    try:
        audience = find_type(type_name).audience
    except UnknownTypeError:
        audience = "operator"
    return _RANK[reader] >= _RANK[audience]
