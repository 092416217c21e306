"""LedgerGrid for agents: append signed records, get receipts that were verified.

>>> from ledgergrid import Ledger, Signer
>>> ledger = Ledger("http://127.0.0.1:8080", ledger="main", signer=Signer.load("agent.key"))
... # doctest: +SKIP
>>> receipt = ledger.append("note/1", {"hello": "world"})  # doctest: +SKIP
"""

from ledger_core.errors import ConflictError, HeadMovedError, LedgerGridError, RefusedError
from ledger_core.records.rules import MutabilitySetting
from ledgergrid import (
    delivery,
    entries,
    epochs,
    governing,
    memory,
    receipts,
    told,
    trust,
    wire,
)
from ledgergrid.async_client import AsyncLedger
from ledgergrid.client import Ledger
from ledgergrid.epochs import NewEpoch
from ledgergrid.errors import (
    DistrustError,
    ForgedEntryError,
    ForgedReceiptError,
    ForkedLedgerError,
    NewEpochError,
    PendingError,
    StillOpenError,
    StrangeLogKeyError,
    UnreachableError,
)
from ledgergrid.learning import learn
from ledgergrid.proposals import Proposal, ProposalOutcome
from ledgergrid.receipts import Receipt
from ledgergrid.sealing import Draft
from ledgergrid.signer import Signer

learn(delivery, entries, epochs, governing, memory, receipts, told, trust, wire)

__all__ = [
    "AsyncLedger",
    "ConflictError",
    "DistrustError",
    "Draft",
    "ForgedEntryError",
    "ForgedReceiptError",
    "ForkedLedgerError",
    "HeadMovedError",
    "Ledger",
    "LedgerGridError",
    "MutabilitySetting",
    "NewEpoch",
    "NewEpochError",
    "PendingError",
    "Proposal",
    "ProposalOutcome",
    "Receipt",
    "RefusedError",
    "Signer",
    "StillOpenError",
    "StrangeLogKeyError",
    "UnreachableError",
]
