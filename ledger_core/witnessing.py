"""Sends new checkpoints of all ledgers to the witnesses, and stores what they cosigned.

::

    follower hears of growth --> plan: which ledgers, which witnesses are idle and due
      --> prepare: the newest checkpoint, with the log's signature alone
      --> ask every such witness for the same checkpoint, a few at a time each
      --> outcomes of many ledgers --> ONE TRANSACTION: verified lines, quorums, errors

Every process has one; a lock lets one of them at a time ask, for a minute, then whoever comes
first. Nothing here is in the way of an append: a witness that is slow, silent or wrong shows as
*not witnessed since*, and what was missed is caught up by the next checkpoint it cosigns.

A ledger's checkpoints are sent at most once an interval; how one witness is asked, and when it is
left alone, is in asking.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue

import httpx

from ledger_core.asking import Outcome, Pace, Witness
from ledger_core.clock import Clock, now_ms
from ledger_core.errors import LedgerGridError, WitnessError
from ledger_core.formats.trust_policy import TrustPolicy
from ledger_core.formats.vkey import AnyWitnessKey
from ledger_core.ledger import Ledger
from ledger_core.ledgers import Ledgers
from ledger_core.storage import cosignatures
from ledger_core.storage.cosignatures import Cosignature, Trouble
from ledger_core.storage.database import Database, Transaction
from ledger_core.witness_client import WitnessClient

_PREPARERS = 2
_POLL_S = 0.1
_TERM_S = 60.0


class Witnessing:
    """The thread that asks. All state but the queue belongs to it alone."""

    def __init__(
        self,
        ledgers: Ledgers,
        database: Database,
        policy: TrustPolicy,
        pace: Pace | None = None,
        clock: Clock = now_ms,
        on_failure: Callable[[LedgerGridError], None] = lambda error: None,
    ) -> None:
        self._ledgers = ledgers
        self._database = database
        self._clock = clock
        self._on_failure = on_failure
        self._pace = pace or Pace()
        self._http = httpx.Client(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            headers={"User-Agent": "ledgergrid"},
        )
        self._witnesses = [self._meet(url, keys) for url, keys in _by_url(policy).items()]
        self._preparers = ThreadPoolExecutor(_PREPARERS, "witness-prepare")
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self._seen: dict[int, int] = {}
        self._pending: set[int] = set()
        self._next_s: dict[int, float] = {}
        self._errors: dict[tuple[int, bytes], str] = {}
        self._is_rebuilt = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="witnessing", daemon=True)
        self.failure: LedgerGridError | None = None

    def _meet(self, url: str, keys: dict[str, AnyWitnessKey]) -> Witness:
        client = WitnessClient(url, keys, self._http, self._clock, self._pace.timeout_s)
        return Witness(client, self._pace)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop asking; what is under way ends first, within its time-out."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        for witness in self._witnesses:
            witness.pool.shutdown(cancel_futures=True)
        self._preparers.shutdown(cancel_futures=True)
        self._http.close()

    # --- the thread --------------------------------------------------------------

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                with self._database.witnessing() as is_ours:
                    if is_ours:
                        self._serve_term()
                self.failure = None
            except LedgerGridError as error:
                # The next term begins from what is stored.
                self.failure = error
                self._on_failure(error)
            self._closing.wait(self._pace.interval_s)

    def _serve_term(self) -> None:
        """Ask for a while, then finish what is under way, so that another process may."""
        self._begin()
        end_s = time.monotonic() + _TERM_S
        while not self._closing.is_set() and time.monotonic() < end_s:
            self._plan()
            self._closing.wait(_POLL_S)
            self._store()
        while any(witness.asked for witness in self._witnesses):
            time.sleep(_POLL_S)
            self._store()

    def _begin(self) -> None:
        """Learn from the database what was cosigned, by whichever process asked."""
        with self._database.read() as tx:
            progress = cosignatures.read_progress(tx)
            errors = cosignatures.read_errors(tx)
        self._errors = {(each.ledger_id, each.witness): each.error for each in errors}
        for witness in self._witnesses:
            witness.recall(progress)
        self._seen.clear()
        self._rebuild()

    def _rebuild(self) -> None:
        """Count again, once a process, what reached the quorum before the policy was this one."""
        if self._is_rebuilt:
            return
        witnessed = self._ledgers.witnessed
        with self._database.read() as tx:
            ledger_ids = cosignatures.list_cosigned(tx) if witnessed.has_quorum else []
        for ledger_id in ledger_ids:
            with self._database.read() as tx:
                newest = witnessed.newest(tx, ledger_id) or 0
                sizes = cosignatures.read_sizes(tx, ledger_id, newest)
                met = [size for size, by in sizes if witnessed.is_met_by(by)]
            if met:
                with self._database.write() as tx:
                    for size in met:
                        cosignatures.add_witnessed(tx, ledger_id, witnessed.digest, size)
        self._is_rebuilt = True

    # --- planning ----------------------------------------------------------------

    def _plan(self) -> None:
        """Begin a round for every ledger that is due and has an idle witness behind it."""
        sizes = self._ledgers.follower.sizes()
        self._pending |= {x for x, size in sizes.items() if size > self._seen.get(x, 0)}
        self._seen = sizes
        now_s = time.monotonic()
        open_ = [witness for witness in self._witnesses if witness.patience.is_over]
        for ledger_id in list(self._pending):
            size = sizes.get(ledger_id, 0)
            behind = [w for w in self._witnesses if w.done(ledger_id) < size]
            if not behind:
                self._pending.discard(ledger_id)
                continue
            due = [w for w in behind if w in open_ and w.is_idle(ledger_id)]
            if due and now_s >= self._next_s.get(ledger_id, 0.0):
                self._next_s[ledger_id] = now_s + self._pace.interval_s
                self._begin_round(ledger_id, due)

    def _begin_round(self, ledger_id: int, due: list[Witness]) -> None:
        for witness in due:
            witness.asked.add(ledger_id)
        future = self._preparers.submit(self._prepare, ledger_id, due)
        future.add_done_callback(lambda done: self._raise_mistake(done, ledger_id, due))

    def _prepare(self, ledger_id: int, due: list[Witness]) -> None:
        """Make one checkpoint for all of them, so that a quorum forms on one size."""
        try:
            ledger = self._ledgers.find(ledger_id)
            size, note = ledger.own_checkpoint()
        except LedgerGridError as error:
            for witness in due:
                self._outcomes.put(Outcome(ledger_id, witness, error=error))
            return
        for witness in due:
            old = witness.done(ledger_id)
            future = witness.pool.submit(self._ask, ledger, ledger_id, witness, old, size, note)
            future.add_done_callback(
                lambda done, witness=witness: self._raise_mistake(  # type: ignore[misc]
                    done, ledger_id, [witness]
                )
            )

    def _raise_mistake(self, done: Future[None], ledger_id: int, asked: Iterable[Witness]) -> None:
        """A mistake of ours in a worker must not leave a ledger waiting for ever, unsaid."""
        mistake = None if done.cancelled() else done.exception()
        if mistake is not None or done.cancelled():
            error = WitnessError(f"asking it failed here: {type(mistake).__name__}: {mistake}")
            for witness in asked:
                self._outcomes.put(Outcome(ledger_id, witness, error=error))

    # --- asking ------------------------------------------------------------------

    def _ask(
        self, ledger: Ledger, ledger_id: int, witness: Witness, old: int, size: int, note: bytes
    ) -> None:
        outcome = Outcome(ledger_id, witness)
        # Many wait behind one that does not answer: they need not find out one by one.
        if witness.patience.is_over and not self._closing.is_set():
            outcome = witness.ask(ledger, ledger_id, old, size, note)
        self._outcomes.put(outcome)

    # --- storing -----------------------------------------------------------------

    def _store(self) -> None:
        """Store what came in, whatever the ledgers, in one transaction."""
        outcomes: list[Outcome] = []
        while True:
            try:
                outcomes.append(self._outcomes.get_nowait())
            except Empty:
                break
        if not outcomes:
            return
        try:
            troubles = self._troubles(outcomes)
            lines = [line for each in outcomes for line in each.lines()]
            if lines or troubles:
                with self._database.write() as tx:
                    self._write(tx, lines, troubles)
            for each in troubles:
                self._errors[each.ledger_id, each.witness] = each.error
        finally:
            for outcome in outcomes:
                outcome.witness.asked.discard(outcome.ledger_id)
        for outcome in outcomes:
            outcome.witness.learn(outcome)

    def _write(self, tx: Transaction, lines: list[Cosignature], troubles: list[Trouble]) -> None:
        cosignatures.add(tx, lines)
        witnessed = self._ledgers.witnessed
        for ledger_id, size in sorted({(each.ledger_id, each.size) for each in lines}):
            if witnessed.is_met_by(cosignatures.read_witnesses(tx, ledger_id, size)):
                cosignatures.add_witnessed(tx, ledger_id, witnessed.digest, size)
        for trouble in troubles:
            cosignatures.put_error(tx, trouble)

    def _troubles(self, outcomes: list[Outcome]) -> list[Trouble]:
        """Return what is new to say of the witnesses, errors and their ends."""
        said: dict[tuple[int, bytes], str] = {}
        for outcome in outcomes:
            said |= outcome.troubles()
        now = self._clock()
        return [
            Trouble(ledger_id, digest, error, now)
            for (ledger_id, digest), error in said.items()
            if error != self._errors.get((ledger_id, digest), "")
        ]


def _by_url(policy: TrustPolicy) -> dict[str, dict[str, AnyWitnessKey]]:
    """One witness may have two keys: it is asked once, and answers with both lines."""
    found: dict[str, dict[str, AnyWitnessKey]] = {}
    for name, key in policy.witnesses.items():
        found.setdefault(policy.urls[name].rstrip("/"), {})[name] = key
    return found
