"""What a plain and an asyncio ledger share: settings, state, and the flows behind each method."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

import httpx

from ledger_core import ids
from ledger_core.clock import Clock, now_ms
from ledger_core.errors import LedgerGridError, SettingsError
from ledger_core.formats.checkpoint import Checkpoint
from ledger_core.formats.trust_policy import TrustPolicy
from ledgergrid import epochs
from ledgergrid.delivery import Delivery, Outcome, has_pending
from ledgergrid.epochs import NewEpoch
from ledgergrid.errors import DistrustError, UnreachableError
from ledgergrid.memory import Memory
from ledgergrid.numbers import Numbers
from ledgergrid.outbox import Outbox
from ledgergrid.patience import patiently
from ledgergrid.receipts import Receipt
from ledgergrid.sealing import Draft, Sealed, Sealer, parse_sealed
from ledgergrid.signer import Signer
from ledgergrid.trust import Trust, policy_of
from ledgergrid.wire import Flow

DraftLike = Draft | tuple[str, object]
"""A draft, or type and payload alone."""

OUTBOX_BYTES = 1024 * 1024 * 1024

BATCH_RECORDS = 500
BATCH_BYTES = 8 * 1024 * 1024
"""Well within what a ledger takes, so that one lost batch costs little to repeat."""


class Settings(TypedDict, total=False):
    """What may be said of a ledger beside its address and the author's key."""

    log_key: str
    """The log's key to believe, a vkey. Without it, or ``trust``: trust on first use."""
    trust: TrustPolicy
    """A whole trust policy, in place of ``log_key``."""
    token: str
    """Bearer token, where reading is restricted."""
    state_dir: str | Path
    """Where memory and outbox are kept, in a folder a ledger; ``~/.local/share/ledgergrid``."""
    timeout_s: float
    """Bounds one request; 30."""
    patience_s: float
    """Bounds one call with all its attempts; 60."""
    saw: bool
    """Note in each record the last checkpoint verified, so that a rollback is seen; ``True``."""
    outbox_bytes: int
    """Most that may wait in the outbox; 1 GiB."""
    clock: Clock
    """Tells the time that records claim; the machine's."""


class Session:
    """One author at one ledger: state opened, nothing sent yet."""

    def __init__(self, url: str, ledger: str, signer: Signer, settings: Settings) -> None:
        if "log_key" in settings and "trust" in settings:
            raise SettingsError("give log_key or trust, not both: a policy names its logs")
        ids.check_ledger_name(ledger)
        base = _parse_url(url)
        self.url = f"{base}/api/v1/ledgers/{ledger}"
        self.headers = _make_headers(settings.get("token"))
        self.timeout_s = settings.get("timeout_s", 30.0)
        self.patience_s = settings.get("patience_s", 60.0)
        self._saw = settings.get("saw", True)
        self._is_cut_off = False  # The worker's alone.
        clock = settings.get("clock", now_ms)
        state_dir = settings["state_dir"] if "state_dir" in settings else _default_state_dir()
        root = Path(state_dir).expanduser()
        server = base.partition("://")[2]
        memory = self._memory = Memory(root / quote(server, safe="") / ledger)
        self.state_dir = memory.folder
        self.trust = Trust(memory, _given_policy(settings), clock)
        numbers = Numbers(memory.folder)
        self._sealer = Sealer(signer, clock, numbers)
        limit_bytes = settings.get("outbox_bytes", OUTBOX_BYTES)
        outbox = Outbox(memory.folder, limit_bytes=limit_bytes, prepare=numbers.make_durable)
        self._delivery = Delivery(outbox, self.trust)

    def learn(self) -> Flow[str]:
        """Settle whom to believe, before anything is sealed; return the ledger's origin."""
        return patiently(self.trust.learn, self.patience_s)

    def seal(self, draft: Draft) -> Sealed:
        """Seal one draft; :meth:`learn` comes first."""
        saw = self.trust.last_checkpoint() if self._saw else None
        return self._sealer.seal(draft, self.trust.origin, saw)

    def hand_over(self, successor: Signer) -> None:
        """Seal with another key from here on."""
        self._sealer.hand_over(successor)

    def append(self, draft: Draft) -> Flow[Receipt]:
        """Append one record and return its verified receipt."""
        yield from self.learn()
        [outcome] = yield from self._delivery.send([self.seal(draft)], self.patience_s)
        if isinstance(outcome, LedgerGridError):
            raise outcome
        return outcome

    def keep(self, draft: Draft) -> Flow[str]:
        """Seal one record and put it into the outbox, to be sent by :meth:`flush`; return its id.

        Nothing is asked of the ledger but, once and for all, who it is.
        """
        yield from self.learn()
        sealed = self.seal(draft)
        self._delivery.keep([sealed])
        return sealed.id

    def append_many(self, drafts: Iterable[DraftLike]) -> Flow[list[Outcome]]:
        """Append records in batches; each draft has a receipt or an error, in order."""
        yield from self.learn()
        outcomes: list[Outcome] = []
        is_cut_off = False
        for group in _group(self._seal_each(drafts)):
            batch = [each for each in group if isinstance(each, Sealed)]
            sent: list[Outcome] = []
            if batch and is_cut_off:
                sent = self._delivery.keep(batch)
            elif batch:
                sent = yield from self._delivery.send(batch, self.patience_s)
            is_cut_off = has_pending(sent)
            in_order = iter(sent)
            outcomes += [next(in_order) if isinstance(x, Sealed) else x for x in group]
        return outcomes

    def send(self, batch: list[Sealed], is_closing: bool) -> Flow[list[Outcome]]:
        """Deliver what the background worker gathered.

        After a batch without an answer the next gets one attempt, and at closing none, so
        that a ledger out of reach does not hold up its clients batch by batch.
        """
        if self._is_cut_off and is_closing:
            return self._delivery.keep(batch)
        patience_s = 0.0 if self._is_cut_off else self.patience_s
        outcomes = yield from self._delivery.send(batch, patience_s)
        self._is_cut_off = has_pending(outcomes)
        return outcomes

    def flush(self) -> Flow[list[Outcome]]:
        """Deliver what is left in the outbox."""
        yield from self.learn()
        return (yield from self._delivery.flush(patience_s=self.patience_s))

    def deliver(self) -> Flow[bool]:
        """Try once to deliver what is in the outbox; say whether all of it has its answer."""
        yield from self.learn()
        outcomes = yield from self._delivery.flush(patience_s=0.0)
        return not any(isinstance(each, UnreachableError | DistrustError) for each in outcomes)

    def checkpoint(self) -> Flow[Checkpoint]:
        """Fetch and verify the newest checkpoint."""
        yield from self.learn()
        return (yield from patiently(self.trust.refresh, self.patience_s))

    def read_epoch(self, origin: str) -> Flow[list[NewEpoch]]:
        """Read and check the epochs up to ``origin``, without following them."""
        yield from self.learn()
        return (
            yield from patiently(lambda: epochs.read_epochs(self.trust, origin), self.patience_s)
        )

    def accept_epoch(self, origin: str) -> Flow[list[NewEpoch]]:
        """Follow the log into an epoch."""
        yield from self.learn()
        if origin == self.trust.origin:
            return []
        return (
            yield from patiently(
                lambda: epochs.accept_epochs(self.trust, self._memory, origin), self.patience_s
            )
        )

    def resubmit(self, lines: Iterable[bytes]) -> Flow[list[Outcome]]:
        """Deliver records that were sealed before, as they are."""
        yield from self.learn()
        outcomes: list[Outcome] = []
        for group in _group(parse_sealed(line) for line in lines):
            batch = [each for each in group if isinstance(each, Sealed)]
            outcomes += yield from self._delivery.send(batch, self.patience_s)
        return outcomes

    def _seal_each(self, drafts: Iterable[DraftLike]) -> Iterator[Sealed | LedgerGridError]:
        for draft in drafts:
            try:
                yield self.seal(draft if isinstance(draft, Draft) else Draft(*draft))
            except LedgerGridError as error:
                yield error


def _group(
    sealed: Iterable[Sealed | LedgerGridError],
) -> Iterator[list[Sealed | LedgerGridError]]:
    group: list[Sealed | LedgerGridError] = []
    size_bytes = 0
    for each in sealed:
        more_bytes = len(each.line) + 1 if isinstance(each, Sealed) else 0
        if group and (len(group) >= BATCH_RECORDS or size_bytes + more_bytes > BATCH_BYTES):
            yield group
            group, size_bytes = [], 0
        group.append(each)
        size_bytes += more_bytes
    if group:
        yield group


def _given_policy(settings: Settings) -> TrustPolicy | None:
    if "log_key" in settings:
        return policy_of(settings["log_key"])
    return settings.get("trust")


def _make_headers(token: str | None) -> dict[str, str]:
    # Answers are read within a bound, so nothing that swells when it is unpacked.
    headers = {"Accept-Encoding": "identity", "User-Agent": "ledgergrid-sdk"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _parse_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"url is not a URL: {error}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise SettingsError("url must be like https://ledger.example")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise SettingsError("url carries no password, query or fragment; give token= instead")
    return f"{parsed.scheme}://{parsed.netloc.decode()}{parsed.path.rstrip('/')}"


def _default_state_dir() -> Path:
    try:
        data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    except RuntimeError:
        raise SettingsError("no home folder to keep the outbox in; give state_dir=") from None
    return Path(data_home) / "ledgergrid"
