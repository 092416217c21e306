"""Epochs as an archive shows them: what was lost, why, and who agreed."""

from __future__ import annotations

from dataclasses import dataclass

from ledger_core.policy.constitution import Constitution
from ledger_core.records.types.epoch import Epoch, Statement


@dataclass(frozen=True)
class Signatory:
    """A key that signed the statement, and the member it stands for, if any."""

    key: str
    member: str | None


@dataclass(frozen=True)
class OpenedEpoch:
    """One epoch. ``is_on_fork``: the archive shows the tree it begins on, and it is the one that
    the log's key before signed."""

    index: int
    statement: Statement
    signatories: tuple[Signatory, ...]
    is_on_fork: bool = False


def describe_epoch(index: int, epoch: Epoch, constitution: Constitution) -> OpenedEpoch:
    """Say who signed, as members stood."""
    found = []
    for each in epoch.signatures:
        key = constitution.keys.get(each.key)
        found.append(Signatory(each.key, key.member if key is not None else None))
    return OpenedEpoch(index, epoch.statement, tuple(found))
