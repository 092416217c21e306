"""Governance at the client: propose, endorse, wait; the flows behind each method (see wire.py).

:class:`Governing` and :class:`AsyncGoverning` are what :class:`~ledgergrid.client.Ledger` and
:class:`~ledgergrid.async_client.AsyncLedger` can do beside appending.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, TypeVar, Unpack

import msgspec

from ledger_core.errors import StandingError
from ledger_core.records.possession import HeldKey
from ledger_core.records.types.endorsement import ENDORSEMENT_1, Decision
from ledger_core.records.types.key import KEY_1, Register, Revoke
from ledger_core.records.types.key_rotation import KEY_ROTATION_1, KeyRotation
from ledger_core.records.types.policy import POLICY_1
from ledgergrid import told
from ledgergrid.errors import StillOpenError
from ledgergrid.patience import patiently
from ledgergrid.proposals import (
    Proposal,
    ProposalLike,
    ProposalOutcome,
    check_signable,
    leaf_hash_of,
    read_outcome,
    read_proposal,
)
from ledgergrid.receipts import Receipt
from ledgergrid.sealing import JSON, Draft, Options
from ledgergrid.session import Session
from ledgergrid.signer import Signer
from ledgergrid.told import MOST, MemberList, PolicyInfo, ProposalInfo, State
from ledgergrid.wire import Flow, pause

T = TypeVar("T")

RevocationReason = Literal["retired", "lost", "compromised"]

_FIRST_LOOK_S = 0.05
_LONGEST_LOOK_S = 2.0


def propose(session: Session, draft: Draft) -> Flow[Receipt]:
    """Append a record of a governed type; refuse, unsigned, what would take effect at once."""
    yield from session.learn()
    if draft.type != POLICY_1.name:
        policies = yield from patiently(told.ask_policies, session.patience_s)
        if not any(draft.type in each.governs for each in policies):
            raise StandingError(
                f"no policy governs {draft.type} here: it would take effect at once; "
                "append it if that is meant"
            )
    return (yield from session.append(draft))


def look_at(session: Session, target: ProposalLike) -> Flow[Proposal]:
    """Read a proposal and check everything that an endorsement of it would sign."""
    leaf_hash = leaf_hash_of(target)
    yield from session.learn()
    return (
        yield from patiently(lambda: read_proposal(session.trust, leaf_hash), session.patience_s)
    )


def endorse(
    session: Session, target: ProposalLike, decision: Decision, role: str | None
) -> Flow[Receipt]:
    """Sign for or against a proposal that was verified, here if not before."""
    origin = yield from session.learn()
    proposal = target if isinstance(target, Proposal) else (yield from look_at(session, target))
    check_signable(proposal, origin)
    body = msgspec.json.encode(proposal.endorsement(decision, role))
    options = Options(refs=[("endorses", proposal.leaf_hash)])
    return (yield from session.append(Draft(ENDORSEMENT_1.name, (JSON, body), options)))


def wait_for_outcome(
    session: Session, target: ProposalLike, timeout_s: float
) -> Flow[ProposalOutcome]:
    """Look again and again until the proposal has ended; return its outcome, verified."""
    leaf_hash = leaf_hash_of(target)
    yield from session.learn()
    until, pause_s = time.monotonic() + timeout_s, _FIRST_LOOK_S
    while True:
        found = yield from patiently(lambda: told.ask_proposal(leaf_hash), session.patience_s)
        if found.state != "open":
            break
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise StillOpenError(f"{leaf_hash} is open still; it ends at {found.ends_at}")
        yield from pause(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_LOOK_S)
    return (
        yield from patiently(
            lambda: read_outcome(session.trust, leaf_hash, found), session.patience_s
        )
    )


def ask(session: Session, question: Callable[[], Flow[T]]) -> Flow[T]:
    """Ask the ledger something, patiently."""
    return patiently(question, session.patience_s)


def rotate_key(session: Session, successor: Signer) -> Flow[Receipt]:
    """Hand over to another key; once that is durable, go on with it."""
    origin = yield from session.learn()
    body = KeyRotation(successor.key, successor.prove_possession(origin))
    receipt = yield from session.append(Draft(KEY_ROTATION_1.name, _json(body)))
    session.hand_over(successor)
    return receipt


def withdrawal_of(target: ProposalLike) -> Draft:
    return Draft("withdrawal/1", {"proposal": leaf_hash_of(target)})


def bundle_of(targets: Iterable[ProposalLike]) -> Draft:
    return Draft("bundle/1", {"proposals": [leaf_hash_of(target) for target in targets]})


def registration_of(held: HeldKey, member: str | None) -> Draft:
    return Draft(KEY_1.name, _json(Register(held.key, held.roles, held.possession, member)))


def revocation_of(key: str, reason: RevocationReason, suspect_since: int | None) -> Draft:
    return Draft(KEY_1.name, _json(Revoke(key, reason, suspect_since)))


def _json(body: msgspec.Struct) -> tuple[str, bytes]:
    return JSON, msgspec.json.encode(body)


class Governing(ABC):
    """What a ledger's author can do about agreements, members and keys."""

    _session: Session

    @abstractmethod
    def _run(self, flow: Flow[T]) -> T: ...

    def origin(self) -> str:
        """Return the ledger's origin: what keys prove their possession for."""
        return self._run(self._session.learn())

    def propose(self, type: str, payload: object = None, **options: Unpack[Options]) -> Receipt:
        """Append a record that takes effect only when those concerned agree.

        As :meth:`Ledger.append`, but :class:`~ledger_core.errors.StandingError` is raised, and
        nothing signed, if no policy governs the type. The receipt proves the proposal's place,
        not that anybody agreed: :meth:`wait_for_outcome` does.
        """
        return self._run(propose(self._session, Draft(type, payload, options)))

    def proposal(self, target: ProposalLike) -> Proposal:
        """Read a proposal and verify all that an endorsement of it would sign.

        Raises :class:`ForgedEntryError` if anything in it is not what it is said to be, or if
        part of the payload is not shown.
        """
        return self._run(look_at(self._session, target))

    def endorse(self, target: ProposalLike, *, role: str | None = None) -> Receipt:
        """Agree to a proposal. It is read and verified first, unless :meth:`proposal` did."""
        return self._run(endorse(self._session, target, "approve", role))

    def reject(self, target: ProposalLike, *, role: str | None = None) -> Receipt:
        """Refuse a proposal, as :meth:`endorse` agrees to one."""
        return self._run(endorse(self._session, target, "reject", role))

    def withdraw(self, target: ProposalLike) -> Receipt:
        """Take a proposal back while it is open."""
        return self._run(self._session.append(withdrawal_of(target)))

    def bundle(self, targets: Iterable[ProposalLike]) -> Receipt:
        """Join open proposals of one's own: from here on the bundle is what is endorsed."""
        return self._run(self._session.append(bundle_of(targets)))

    def wait_for_outcome(self, target: ProposalLike, timeout_s: float = 60.0) -> ProposalOutcome:
        """Wait until a proposal has ended; return its outcome, verified like a receipt.

        Raises :class:`StillOpenError` after ``timeout_s``.
        """
        return self._run(wait_for_outcome(self._session, target, timeout_s))

    def members(self) -> MemberList:
        """List members and keys with their histories, as the ledger tells them."""
        return self._run(ask(self._session, told.ask_members))

    def policies(self) -> tuple[PolicyInfo, ...]:
        """List all policies, and what each governs now, as the ledger tells them."""
        return self._run(ask(self._session, told.ask_policies))

    def proposals(self, state: State = "open", *, limit: int = MOST) -> list[ProposalInfo]:
        """List proposals in one state, oldest first, as the ledger tells them."""
        return self._run(ask(self._session, partial(told.ask_proposals, state, limit)))

    def pending(self, member: str, *, limit: int = MOST) -> list[ProposalInfo]:
        """List open proposals that a member's word would still count for."""
        return self._run(ask(self._session, partial(told.ask_pending, member, limit)))

    def register_key(self, held: HeldKey, *, member: str | None = None) -> Receipt:
        """Register a key that :meth:`Signer.hold` offered: a steward for its own member."""
        return self._run(self._session.append(registration_of(held, member)))

    def revoke_key(
        self, key: str, reason: RevocationReason, *, suspect_since: int | None = None
    ) -> Receipt:
        """Revoke a key for ever. ``suspect_since``: the index from which on it is doubted."""
        return self._run(self._session.append(revocation_of(key, reason, suspect_since)))

    def rotate_key(self, successor: Signer) -> Receipt:
        """Hand this author's standing over to another key, and go on with that one.

        Save the successor first: from the receipt on the old key writes nothing.
        """
        return self._run(rotate_key(self._session, successor))


class AsyncGoverning(ABC):
    """:class:`Governing` for asyncio: the same methods, awaited."""

    _session: Session

    @abstractmethod
    async def _run(self, flow: Flow[T]) -> T: ...

    async def origin(self) -> str:
        """As :meth:`Governing.origin`."""
        return await self._run(self._session.learn())

    async def propose(
        self, type: str, payload: object = None, **options: Unpack[Options]
    ) -> Receipt:
        """As :meth:`Governing.propose`."""
        return await self._run(propose(self._session, Draft(type, payload, options)))

    async def proposal(self, target: ProposalLike) -> Proposal:
        """As :meth:`Governing.proposal`."""
        return await self._run(look_at(self._session, target))

    async def endorse(self, target: ProposalLike, *, role: str | None = None) -> Receipt:
        """As :meth:`Governing.endorse`."""
        return await self._run(endorse(self._session, target, "approve", role))

    async def reject(self, target: ProposalLike, *, role: str | None = None) -> Receipt:
        """As :meth:`Governing.reject`."""
        return await self._run(endorse(self._session, target, "reject", role))

    async def withdraw(self, target: ProposalLike) -> Receipt:
        """As :meth:`Governing.withdraw`."""
        return await self._run(self._session.append(withdrawal_of(target)))

    async def bundle(self, targets: Iterable[ProposalLike]) -> Receipt:
        """As :meth:`Governing.bundle`."""
        return await self._run(self._session.append(bundle_of(targets)))

    async def wait_for_outcome(
        self, target: ProposalLike, timeout_s: float = 60.0
    ) -> ProposalOutcome:
        """As :meth:`Governing.wait_for_outcome`."""
        return await self._run(wait_for_outcome(self._session, target, timeout_s))

    async def members(self) -> MemberList:
        """As :meth:`Governing.members`."""
        return await self._run(ask(self._session, told.ask_members))

    async def policies(self) -> tuple[PolicyInfo, ...]:
        """As :meth:`Governing.policies`."""
        return await self._run(ask(self._session, told.ask_policies))

    async def proposals(self, state: State = "open", *, limit: int = MOST) -> list[ProposalInfo]:
        """As :meth:`Governing.proposals`."""
        return await self._run(ask(self._session, partial(told.ask_proposals, state, limit)))

    async def pending(self, member: str, *, limit: int = MOST) -> list[ProposalInfo]:
        """As :meth:`Governing.pending`."""
        return await self._run(ask(self._session, partial(told.ask_pending, member, limit)))

    async def register_key(self, held: HeldKey, *, member: str | None = None) -> Receipt:
        """As :meth:`Governing.register_key`."""
        return await self._run(self._session.append(registration_of(held, member)))

    async def revoke_key(
        self, key: str, reason: RevocationReason, *, suspect_since: int | None = None
    ) -> Receipt:
        """As :meth:`Governing.revoke_key`."""
        return await self._run(self._session.append(revocation_of(key, reason, suspect_since)))

    async def rotate_key(self, successor: Signer) -> Receipt:
        """As :meth:`Governing.rotate_key`."""
        return await self._run(rotate_key(self._session, successor))
