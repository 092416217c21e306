"""Epochs as an archive shows them: what was lost, why, and who agreed."""

from __future__ import annotations

from dataclasses import dataclass

from ledger_core import ids
from ledger_core.policy.constitution import Constitution
from ledger_core.records.types.epoch import Epoch, Statement
from verifier.evidence import Kept
from verifier.findings import Likely, refute


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


# --- what is checked of them (docs/spec/verification.md has the numbers) --------------


def check_fork(index: int, statement: Statement, root: bytes) -> None:
    """7: an epoch begins on just the tree that its statement names."""
    found = ids.format_digest(root)
    if statement.fork.root != found:
        refute(7, "fork", statement.fork.root, found, Likely.REWRITTEN, index=index)


def check_followed(left: OpenedEpoch | None) -> None:
    """4: trust in a log ends where an epoch left it, unless the user goes on."""
    if left is not None:
        new = left.statement.new_origin
        found = f"{new}, opened by entry {left.index}; to follow it: --accept-epoch {new}"
        expected = "the log of the policy"
        refute(4, "checkpoint", expected, found, Likely.LOST, index=left.index)


def note_lost(kept: Kept, epoch: OpenedEpoch) -> None:
    """14: what was kept lies in a range that an epoch left behind; always raises.

    That is a note, unless it contradicts what those who agreed said was known.
    """
    signed, statement = kept.checkpoint, epoch.statement
    known = {each.origin: each for each in statement.known}.get(signed.origin)
    field = f"{kept.name}: size {signed.size} of {signed.origin}"
    expected, found = "a size this history has", f"lost in the epoch of entry {epoch.index}"
    if known is not None and known.size == signed.size:
        if known.root != ids.format_digest(signed.root):
            found = "another root than the one that was known"
            refute(14, field, known.root, found, Likely.REWRITTEN)
    elif known is None or known.size < signed.size:
        found += f", which knew of size {known.size if known else 0} as the last"
    refute(14, field, expected, found, Likely.LOST, level="warn")
