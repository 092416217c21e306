"""Random histories of a ledger, and what holds after every step of each of them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger_core.errors import ConflictError, DanglingReferenceError, StandingError
from ledger_core.formats.checkpoint import Checkpoint, verify_checkpoint
from ledger_core.formats.submission import Submission
from ledger_core.ledger import Ledger
from ledger_core.merkle import tree
from ledger_core.sequencer import Appended
from tests.support.invariants import check_chain, check_everything, check_views
from tests.support.ledgers import (
    Author,
    Replica,
    Service,
    appended,
    checked_receipt,
    refused,
    register,
)


class History(RuleBasedStateMachine):
    """Append, repeat, refuse, revoke, reopen, prove, export; two replicas on one database."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.service = Service(f"sqlite:///{self.folder / 'ledger.db'}", self.folder)
        self.replicas: list[Replica] = []
        self.authors: list[Author] = []
        self.done: list[tuple[Submission, Appended]] = []
        self.checkpoints: list[Checkpoint] = []

    @initialize()
    def found(self) -> None:
        self.replicas = [self.service.open(), self.service.open()]
        self.authors = [register(self.replicas[0].ledgers.create("main"))]

    def ledger(self, replica: int) -> Ledger:
        return self.replicas[replica].ledgers.get("main")

    def keep(self, sealed: Submission, place: Appended) -> None:
        checkpoint = checked_receipt(self.ledger(0), place.index, place.receipt)
        self.done.append((sealed, place))
        self.checkpoints.append(checkpoint)

    @rule(
        replica=st.integers(0, 1),
        sizes=st.lists(st.integers(0, 300), min_size=1, max_size=8),
        turn_ms=st.integers(-5_000, 5_000),
    )
    def append(self, replica: int, sizes: list[int], turn_ms: int) -> None:
        self.service.clock.now_ms += turn_ms
        author = self.authors[-1]
        batch = [author.note("x" * size) for size in sizes]
        for sealed, outcome in zip(batch, self.ledger(replica).append(batch), strict=True):
            assert appended(outcome).is_new
            self.keep(sealed, appended(outcome))

    @rule(replica=st.integers(0, 1), count=st.sampled_from([100, 250, 300]))
    def append_many(self, replica: int, count: int) -> None:
        author = self.authors[-1]
        batch = [author.note(n) for n in range(count)]
        outcomes = self.ledger(replica).append(batch)
        self.keep(batch[-1], appended(outcomes[-1]))

    @precondition(lambda self: self.done)
    @rule(replica=st.integers(0, 1), which=st.integers(0), is_alone=st.booleans())
    def repeat(self, replica: int, which: int, is_alone: bool) -> None:
        sealed, first = self.done[which % len(self.done)]
        batch = [sealed] if is_alone else [self.authors[-1].note("between"), sealed]
        again = appended(self.ledger(replica).append(batch)[-1])
        assert (again.index, again.receipt, again.is_new) == (first.index, first.receipt, False)

    @precondition(lambda self: self.done)
    @rule(replica=st.integers(0, 1), which=st.integers(0))
    def refuse(self, replica: int, which: int) -> None:
        """Take nothing of: an id that is taken, a stranger, a reference into nowhere."""
        sealed, _ = self.done[which % len(self.done)]
        author, ledger = self.authors[-1], self.ledger(replica)
        size = ledger.size()
        outcomes = ledger.append(
            [
                author.note("other bytes", record_id=sealed.signed.record.id),
                Author(ledger.origin).note("who am I?"),
                author.note("see there", refs=[("causes", tree.leaf_hash(b"nowhere"))]),
            ]
        )
        expected = [ConflictError, StandingError, DanglingReferenceError]
        assert [type(refused(each)) for each in outcomes] == expected
        assert ledger.size() == size

    @rule(replica=st.integers(0, 1))
    def change_author(self, replica: int) -> None:
        ledger, gone = self.ledger(replica), self.authors[-1]
        self.authors.append(register(ledger))
        ledger.append_as_operator("key/1", gone.revocation())
        assert isinstance(refused(self.ledger(1 - replica).append([gone.note()])[0]), StandingError)

    @rule()
    def reopen(self) -> None:
        self.service.close()
        self.replicas = [self.service.open(), self.service.open()]

    @precondition(lambda self: self.checkpoints)
    @rule(replica=st.integers(0, 1), which=st.integers(0))
    def prove(self, replica: int, which: int) -> None:
        """Every checkpoint ever handed out is a prefix of the log as it stands."""
        ledger, old = self.ledger(replica), self.checkpoints[which % len(self.checkpoints)]
        now = verify_checkpoint(ledger.checkpoint(), ledger.log_key)
        proof = ledger.prove_consistency(old.size, now.size)
        tree.check_consistency(old.size, now.size, old.root, now.root, proof.hashes)
        _, place = self.done[which % len(self.done)]
        made = ledger.prove_inclusion(place.index, now.size)
        tree.check_inclusion(place.index, now.size, place.leaf_hash, made.hashes, now.root)
        assert ledger.receipt(place.index) == place.receipt

    @rule(replica=st.integers(0, 1))
    def rebuild_views(self, replica: int) -> None:
        self.replicas[replica].ledgers.views.rebuild()
        self.reopen()
        check_views(self.ledger(replica), check_chain(self.ledger(replica)))

    @rule(replica=st.integers(0, 1))
    def export(self, replica: int) -> None:
        check_everything(self.replicas[replica], self.ledger(replica), self.folder)

    @invariant()
    def both_replicas_say_the_same(self) -> None:
        if self.replicas:
            assert self.ledger(0).checkpoint() == self.ledger(1).checkpoint()
            assert all(replica.ledgers.check_signed() == [] for replica in self.replicas)

    def teardown(self) -> None:
        if self.replicas:
            check_everything(self.replicas[0], self.ledger(0), self.folder)
        self.service.close()
        shutil.rmtree(self.folder)


def test_every_history_keeps_its_promises() -> None:
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=6,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
