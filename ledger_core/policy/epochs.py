"""Epochs: whose agreement it takes to go on from an older backup, and when that may be.

Asked for is, first that applies:

1. the policy in force for ``epoch/1``;
2. the policy in force for ``policy/1``: who may change the rules may also lose their history;
3. in a public or private ledger, one operator; in a local one, every one of its parties;
4. nobody: a consortium always has 2.

All of it as things stand at the fork: entries behind it, whatever they changed, are not there.
"""

from __future__ import annotations

from ledger_core import ids
from ledger_core.errors import LedgerGridError, StandingError
from ledger_core.formats.checkpoint import verify_checkpoint
from ledger_core.formats.vkey import LogKey, parse_vkey
from ledger_core.policy import proposals
from ledger_core.policy.constitution import Constitution
from ledger_core.policy.proposals import Proposal
from ledger_core.records.rules import KeyRule, MemberRule, OutOfRule, Policy
from ledger_core.records.types.epoch import EPOCH_1, Epoch, Statement
from ledger_core.records.types.policy import POLICY_1


def check_epoch(constitution: Constitution, epoch: Epoch, author: str, at: int) -> None:
    """Raise :class:`StandingError` unless the entry at ``at`` may open this epoch.

    That the fork has the root it names is for those who have the tree: service and verifier.
    """
    statement = epoch.statement
    check_fits(constitution, statement, at)
    key = parse_vkey(constitution.log_keys[-1][1])
    try:
        assert isinstance(key, LogKey), "the rules of charters and log keys have asked for one"
        verify_checkpoint(epoch.fork_checkpoint.encode(), key)
    except LedgerGridError as error:
        raise StandingError(f"the log's key did not sign the fork: {error}") from error
    check_agreed(constitution, [each.key for each in epoch.signatures], author, at)


def check_fits(constitution: Constitution, statement: Statement, at: int) -> None:
    """Raise unless the statement speaks of this ledger, as it stands at ``at``."""
    if statement.old_origin != constitution.origin:
        raise StandingError(f"{statement.old_origin} is not the ledger's origin now")
    if statement.fork.size != at:
        raise StandingError(f"the epoch begins at {statement.fork.size}, the ledger ends at {at}")
    own = {origin for _, origin in constitution.origins}
    for known in statement.known:
        if known.origin in own and known.size <= at:
            raise StandingError(f"{known.origin} is not behind size {known.size}: nothing is lost")


def check_agreed(constitution: Constitution, signers: list[str], author: str, at: int) -> None:
    """Raise unless those who signed, as they stand at ``at``, are enough."""
    standing = [key for key in signers if constitution.stands_at(key, at)]
    policy = policy_for_epoch(constitution)
    if policy is None:
        if not any("operator" in constitution.keys[key].roles for key in standing):
            raise StandingError("no operator of this ledger signed the statement")
        return
    proposal = Proposal(at, b"", author, constitution.keys[author].member, EPOCH_1.name, (), 0)
    for key in standing:
        voice = proposals.voice_of(constitution, proposal, key, "approve", at, b"")
        assert voice is not None, "whoever stands has a voice"
        proposal = proposals.hear(proposal, voice)
    if not proposals.agree(policy, proposal):
        raise StandingError(
            f"those who signed and stand here are not the quorum of policy {policy.name}"
        )


def policy_for_epoch(constitution: Constitution) -> Policy | None:
    """Return the policy whose rule must hold; None where one operator suffices."""
    policy = constitution.policy_for(EPOCH_1.name) or constitution.policy_for(POLICY_1.name)
    if policy is None and constitution.kind == "local":
        return _every_party(constitution)
    if policy is None and constitution.kind == "consortium":
        raise StandingError("a consortium without a policy for policy/1 agrees to nothing")
    return policy


def _every_party(constitution: Constitution) -> Policy:
    parties = sorted(constitution.parties)
    rules = [
        KeyRule(each) if each.startswith(ids.KEY_PREFIX) else MemberRule(each) for each in parties
    ]
    return Policy(
        name="every-party",
        governs=(EPOCH_1.name,),
        rule=OutOfRule(len(rules), tuple(rules)),
        count_by="key",
        author_counts=True,
        ttl_s=1,
    )


def origin_at(origins: tuple[tuple[int, str], ...], index: int) -> str:
    """Return the origin that the entry at ``index`` has."""
    return [origin for since, origin in origins if since <= index][-1]
