"""Twenty proposals at once, endorsed, rejected and expiring over two workers: one outcome each."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from ledger_core.formats.entry import parse_entry
from ledger_core.formats.submission import format_submission
from ledger_core.keyring import open_keyring
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.ledgers import Ledgers
from ledger_core.records.types.endorsement import Decision
from ledger_core.records.types.outcome import Outcome
from ledger_core.storage.database import open_database
from ledger_core.storage.signer_memory import SignerMemory
from tests.bench.place import Place, serving
from tests.support.assemblies import MEMBERS, make_policy
from tests.support.consortium import Consortium, endorse
from tests.support.invariants import verify_export

pytestmark = pytest.mark.campaign
PROPOSALS, TTL_S, ROUNDS = 20, 4, 3


@contextmanager
def opened(place: Place) -> Iterator[Ledgers]:
    """Open the ledgers beside the service, as a third process would."""
    place.data.mkdir(parents=True, exist_ok=True)
    with (
        closing(open_database(place.database_url)) as database,
        closing(open_database(f"sqlite:///{place.data / 'signer.db'}")) as memory,
    ):
        database.migrate()
        keys = DatabaseKeyStore(f"sqlite:///{place.data / 'keys.db'}")
        keyring = open_keyring(place.data / "keyring")
        ledgers = Ledgers(database, SignerMemory(memory), keyring, keys)
        ledgers.views.ensure()
        yield ledgers


def test_racing_endorsements_and_expiry_leave_exactly_one_outcome_each(
    postgresql_url: str, tmp_path: Path
) -> None:
    place = Place("postgresql", tmp_path, postgresql_url)
    with opened(place) as ledgers:
        policy = make_policy("agent.decision/1", ttl_s=TTL_S)
        shared = Consortium(ledgers, make_policy("member/1", "policy/1"), policy)
        with serving(place, workers=2) as served:
            for number in range(ROUNDS):
                race(shared, f"http://127.0.0.1:{served.port}", random.Random(number))
        counts = Counter(each.proposal for each in outcomes(shared))
        assert set(counts.values()) == {1}
        assert len(counts) == ROUNDS * PROPOSALS
        verdicts = shared.ledger.count_proposals()
        print(f"{ROUNDS} rounds of {PROPOSALS} proposals: {verdicts}")
        assert set(verdicts) == {"confirmed", "rejected", "expired"}
        assert verify_export(shared.ledger, tmp_path) == 0


def race(shared: Consortium, url: str, chance: random.Random) -> None:
    """Propose twenty at once, let everybody speak at random, and wait until all have ended."""
    proposed = [shared.decide() for _ in range(PROPOSALS)]
    lines = [
        (chance.uniform(0, TTL_S * 1.3), format_submission(endorse(proposal, agent, decision)))
        for proposal in (shared.ledger.proposal(each.leaf_hash) for each in proposed)
        for member in MEMBERS[1:]
        for agent in (shared.agents[member], shared.stewards[member])
        for decision in [_choose(chance)]
    ]
    began = time.monotonic()
    with httpx.Client(base_url=url, timeout=30) as http, ThreadPoolExecutor(16) as threads:

        def speak(when: tuple[float, bytes]) -> int:
            delay_s, line = when
            time.sleep(max(0.0, began + delay_s - time.monotonic()))
            return http.post("/api/v1/ledgers/shared/records", content=line).status_code

        assert set(threads.map(speak, sorted(lines))) == {201}
    deadline = time.monotonic() + 30
    while shared.ledger.count_proposals().get(None):
        assert time.monotonic() < deadline, "a proposal never ended"
        time.sleep(0.1)


def _choose(chance: random.Random) -> Decision:
    return "approve" if chance.random() < 0.5 else "reject"


def outcomes(shared: Consortium) -> Iterator[Outcome]:
    ledger = shared.ledger
    for entry in ledger.entries(range(ledger.size())):
        if parse_entry(entry.leaf).signed_record().record.type == "outcome/1":
            yield msgspec.json.decode(entry.parts["body"].data, type=Outcome)
