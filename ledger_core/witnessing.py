"""Sends new checkpoints of all ledgers to the witnesses, and stores what they cosigned.

::

    follower hears of growth --> plan: which ledgers, which witnesses are idle and due
      --> prepare: the newest checkpoint, with the log's signature alone
      --> ask every such witness for the same checkpoint, a few at a time each
      --> outcomes of many ledgers --> ONE TRANSACTION: verified lines, quorums, errors

Every process has one; a lock lets one of them at a time ask, for a minute, then whoever comes
first. Nothing here is in the way of an append: a witness that is slow, silent or wrong shows as
*not witnessed since*, and what was missed is caught up by the next checkpoint it cosigns.

A ledger's checkpoints are sent at most once an interval. A witness that does not answer is left
alone for twice as long each time, up to five minutes; one that refuses, or whose answer is worth
nothing, is not asked again about that ledger for at least a minute, up to an hour.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import httpx

from ledger_core.clock import Clock, now_ms
from ledger_core.errors import LedgerGridError, UnreachableError, WitnessError
from ledger_core.formats.trust_policy import TrustPolicy
from ledger_core.formats.vkey import AnyWitnessKey
from ledger_core.formats.witness import AddCheckpoint
from ledger_core.ledger import Ledger
from ledger_core.ledgers import Ledgers
from ledger_core.storage import cosignatures
from ledger_core.storage.cosignatures import NO_LEDGER, Cosignature, Trouble
from ledger_core.storage.database import Database, Transaction
from ledger_core.witness_client import Behind, Cosigned, WitnessClient

_AT_ONCE = 4
"""Requests under way at one witness."""

_PREPARERS = 2
_POLL_S = 0.1
_TERM_S = 60.0
_TRIES = 3
_ERROR_CHARS = 500


@dataclass(frozen=True)
class Pace:
    """How often witnesses are asked, and how long they are left alone (seconds)."""

    interval_s: float = 1.0
    timeout_s: float = 10.0
    retry_s: float = 1.0
    longest_retry_s: float = 300.0
    refused_s: float = 60.0
    longest_refused_s: float = 3600.0


class _Patience:
    """How long somebody is left alone after failing; grows with each time, and varies."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._lock = threading.Lock()
        self._failures = 0
        self._due_s = 0.0

    def fail(self) -> None:
        """Begin to wait, unless somebody who asked at the same time has said so already."""
        with self._lock:
            if not self.is_over:
                return
            wait_s = min(self._longest_s, self._first_s * 2**self._failures)
            self._failures = min(self._failures + 1, 30)
            # Those who failed together do not come back together.
            self._due_s = time.monotonic() + wait_s * random.uniform(0.75, 1.25)

    def recover(self) -> None:
        with self._lock:
            self._failures, self._due_s = 0, 0.0

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._due_s


@dataclass(eq=False)
class _Witness:
    """One witness and what this process knows of it. ``patience`` has a lock, ``pool`` too; the
    rest belongs to the planning thread."""

    client: WitnessClient
    patience: _Patience
    pool: ThreadPoolExecutor
    done: dict[int, int] = field(default_factory=dict)
    """The size it cosigned last, by ledger id."""
    refusals: dict[int, _Patience] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    """Ledgers with a request under way."""


@dataclass(frozen=True)
class _Outcome:
    """What came of asking one witness about one ledger; nothing, if it was not asked after all."""

    ledger_id: int
    witness: _Witness
    size: int = 0
    cosigned: Cosigned | None = None
    error: LedgerGridError | None = None


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
        self._outcomes: SimpleQueue[_Outcome] = SimpleQueue()
        self._seen: dict[int, int] = {}
        self._pending: set[int] = set()
        self._next_s: dict[int, float] = {}
        self._errors: dict[tuple[int, bytes], str] = {}
        self._is_rebuilt = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="witnessing", daemon=True)
        self.failure: LedgerGridError | None = None

    def _meet(self, url: str, keys: dict[str, AnyWitnessKey]) -> _Witness:
        client = WitnessClient(url, keys, self._http, self._clock, self._pace.timeout_s)
        patience = _Patience(self._pace.retry_s, self._pace.longest_retry_s)
        return _Witness(client, patience, ThreadPoolExecutor(_AT_ONCE, "witness"))

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
            witness.asked.clear()
            witness.done.clear()
        by_digest = {digest: w for w in self._witnesses for digest in w.client.digests}
        lags: dict[tuple[int, int], list[int]] = {}
        for (ledger_id, digest), size in progress.items():
            if digest in by_digest:
                at = self._witnesses.index(by_digest[digest])
                lags.setdefault((ledger_id, at), []).append(size)
        for (ledger_id, at), sizes in lags.items():
            if len(sizes) == len(self._witnesses[at].client.digests):
                self._witnesses[at].done[ledger_id] = min(sizes)
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
            behind = [w for w in self._witnesses if w.done.get(ledger_id, 0) < size]
            if not behind:
                self._pending.discard(ledger_id)
                continue
            due = [w for w in behind if w in open_ and _is_idle(w, ledger_id)]
            if due and now_s >= self._next_s.get(ledger_id, 0.0):
                self._next_s[ledger_id] = now_s + self._pace.interval_s
                self._begin_round(ledger_id, due)

    def _begin_round(self, ledger_id: int, due: list[_Witness]) -> None:
        for witness in due:
            witness.asked.add(ledger_id)
        future = self._preparers.submit(self._prepare, ledger_id, due)
        future.add_done_callback(lambda done: self._raise_mistake(done, ledger_id, due))

    def _prepare(self, ledger_id: int, due: list[_Witness]) -> None:
        """Make one checkpoint for all of them, so that a quorum forms on one size."""
        try:
            ledger = self._ledgers.find(ledger_id)
            size, note = ledger.own_checkpoint()
        except LedgerGridError as error:
            for witness in due:
                self._outcomes.put(_Outcome(ledger_id, witness, error=error))
            return
        for witness in due:
            old = witness.done.get(ledger_id, 0)
            future = witness.pool.submit(self._ask, ledger, ledger_id, witness, old, size, note)
            future.add_done_callback(
                lambda done, witness=witness: self._raise_mistake(  # type: ignore[misc]
                    done, ledger_id, [witness]
                )
            )

    def _raise_mistake(self, done: Future[None], ledger_id: int, asked: Iterable[_Witness]) -> None:
        """A mistake of ours in a worker must not leave a ledger waiting for ever, unsaid."""
        mistake = None if done.cancelled() else done.exception()
        if mistake is not None or done.cancelled():
            error = WitnessError(f"asking it failed here: {type(mistake).__name__}: {mistake}")
            for witness in asked:
                self._outcomes.put(_Outcome(ledger_id, witness, error=error))

    # --- asking ------------------------------------------------------------------

    def _ask(
        self, ledger: Ledger, ledger_id: int, witness: _Witness, old: int, size: int, note: bytes
    ) -> None:
        outcome = _Outcome(ledger_id, witness)
        try:
            # Many wait behind one that does not answer: they need not find out one by one.
            if witness.patience.is_over and not self._closing.is_set():
                cosigned = _ask_from(ledger, witness.client, old, size, note)
                outcome = _Outcome(ledger_id, witness, size, cosigned)
        except LedgerGridError as error:
            if isinstance(error, UnreachableError):
                witness.patience.fail()
            outcome = _Outcome(ledger_id, witness, error=error)
        self._outcomes.put(outcome)

    # --- storing -----------------------------------------------------------------

    def _store(self) -> None:
        """Store what came in, whatever the ledgers, in one transaction."""
        outcomes: list[_Outcome] = []
        while True:
            try:
                outcomes.append(self._outcomes.get_nowait())
            except Empty:
                break
        if not outcomes:
            return
        try:
            troubles = self._troubles(outcomes)
            lines = [line for each in outcomes for line in _lines_of(each)]
            if lines or troubles:
                with self._database.write() as tx:
                    self._write(tx, lines, troubles)
            for each in troubles:
                self._errors[each.ledger_id, each.witness] = each.error
        finally:
            for outcome in outcomes:
                outcome.witness.asked.discard(outcome.ledger_id)
        for outcome in outcomes:
            self._learn(outcome)

    def _write(self, tx: Transaction, lines: list[Cosignature], troubles: list[Trouble]) -> None:
        cosignatures.add(tx, lines)
        witnessed = self._ledgers.witnessed
        for ledger_id, size in sorted({(each.ledger_id, each.size) for each in lines}):
            if witnessed.is_met_by(cosignatures.read_witnesses(tx, ledger_id, size)):
                cosignatures.add_witnessed(tx, ledger_id, witnessed.digest, size)
        for trouble in troubles:
            cosignatures.put_error(tx, trouble)

    def _learn(self, outcome: _Outcome) -> None:
        """Remember how far a witness is, or that it is to be left alone."""
        witness, ledger_id = outcome.witness, outcome.ledger_id
        if outcome.cosigned is not None:
            witness.patience.recover()
        refused = outcome.error is not None and not isinstance(outcome.error, UnreachableError)
        if refused or (outcome.cosigned is not None and outcome.cosigned.missing):
            patience = witness.refusals.setdefault(
                ledger_id, _Patience(self._pace.refused_s, self._pace.longest_refused_s)
            )
            patience.fail()
        elif outcome.cosigned is not None:
            witness.refusals.pop(ledger_id, None)
            witness.done[ledger_id] = max(outcome.size, witness.done.get(ledger_id, 0))

    def _troubles(self, outcomes: list[_Outcome]) -> list[Trouble]:
        """Return what is new to say of the witnesses, errors and their ends."""
        said: dict[tuple[int, bytes], str] = {}
        for outcome in outcomes:
            client = outcome.witness.client
            if outcome.cosigned is not None:
                missing = set(outcome.cosigned.missing)
                for name, digest in zip(client.keys, client.digests, strict=True):
                    error = "its answer has no line by this key" if name in missing else ""
                    said[outcome.ledger_id, digest] = error
                    said[NO_LEDGER, digest] = ""
            elif outcome.error is not None:
                is_silent = isinstance(outcome.error, UnreachableError)
                about = NO_LEDGER if is_silent else outcome.ledger_id
                for digest in client.digests:
                    said[about, digest] = str(outcome.error)[:_ERROR_CHARS]
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


def _is_idle(witness: _Witness, ledger_id: int) -> bool:
    refusal = witness.refusals.get(ledger_id)
    return ledger_id not in witness.asked and (refusal is None or refusal.is_over)


def _lines_of(outcome: _Outcome) -> list[Cosignature]:
    lines = outcome.cosigned.lines if outcome.cosigned is not None else ()
    return [
        Cosignature(outcome.ledger_id, outcome.size, x.witness, x.cosigned_at, x.line)
        for x in lines
    ]


def _ask_from(
    ledger: Ledger, client: WitnessClient, old: int, size: int, note: bytes
) -> Cosigned | None:
    """Ask for a cosignature on a checkpoint, from the size the witness has, which it may tell."""
    for _ in range(_TRIES):
        proof = ledger.prove_consistency(old, size).hashes if 0 < old < size else ()
        answer = client.add_checkpoint(AddCheckpoint(old, tuple(proof), note))
        if isinstance(answer, Cosigned):
            return answer
        _check_known(ledger, answer, old)
        if answer.size > size:
            return None  # It cosigned a newer one meanwhile, for another process.
        old = answer.size
    raise WitnessError(f"answered 409 {_TRIES} times, with another size each time")


def _check_known(ledger: Ledger, answer: Behind, old: int) -> None:
    """Raise unless what the witness says it cosigned is a size of this ledger."""
    if answer.size == old:
        raise WitnessError(f"answered 409 to size {old}, which it says it cosigned last")
    newest = ledger.size()
    if answer.size > newest:
        raise WitnessError(
            f"it cosigned size {answer.size} of {ledger.origin}, which has {newest} entries: "
            "this ledger lost its newest entries, or is a fork of what the witness saw"
        )
