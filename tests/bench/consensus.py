"""What agreement costs: endorsed records a second, and plain ones beside members and policies."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from api.sight import Sight
from ledger_core.formats.submission import format_submission
from ledger_core.ledger import Ledger
from ledger_core.policy.visibility import OPERATOR, find_reader
from ledger_core.records.rules import AudienceSetting
from ledger_core.sequencer import Appended
from ledger_core.storage.search import EntryQuery
from tests.bench import ceilings, filling
from tests.bench.figures import Ceiling, Figure, percentile
from tests.bench.place import Place, found, opened
from tests.bench.run import Run
from tests.bench.stock import LEDGER
from tests.support.assemblies import make_policy, two_of_three
from tests.support.consortium import Consortium, endorse
from tests.support.ledgers import Author

_BATCH: Final = 100
_SIGNATURES: Final = 3
"""Of an endorsed record: its author's and two endorsers'; the outcome's is made, not checked."""

_MEMBERS: Final = 300
_PAGE: Final = 100
_PAGES: Final = 200
_DECISION: Final = {"decision": "route", "chosen": "north", "options": ["north", "south"]}


def measure(run: Run, store: str) -> None:
    """Measure in process, one thread, in batches of 100, the way the service appends."""
    section = f"consensus, {store}"
    run.report.heading(section)
    place = found(store, run.folder / f"consensus-{store}", run.server_of(store), run.stock)
    count = run.sizes.endorsed
    verify = ceilings.measure_verify_rates(run.pool, run.cores).one_core
    endorsed = _endorsed(place, count)
    ceiling = Ceiling("PyNaCl, one core, 3 signatures", verify.value / _SIGNATURES)
    name = "proposed, endorsed by two, confirmed"
    run.report.add(Figure(section, name, endorsed, "rec/s", ceiling, note="in process, one thread"))
    plain = _plain(run, place, count)
    run.report.add(Figure(section, "plain records, no members", plain, "rec/s"))
    beside = _beside(place, count)
    name = f"plain records, {_MEMBERS} members, a policy for another type"
    run.report.add(Figure(section, name, beside, "rec/s", Ceiling("no members", plain)))
    whole, own = _pages(place, count)
    name = f"a page of {_PAGE} entries, p50: "
    run.report.add(Figure(section, f"{name}operator, sees all", whole, "ms"))
    ceiling = Ceiling("operator", whole)
    run.report.add(Figure(section, f"{name}a party, sees its own", own, "ms", ceiling))


def _endorsed(place: Place, count: int) -> float:
    """Propose and endorse twice; what authors and endorsers do in between is not timed."""
    policy = make_policy("agent.decision/1", author_counts=False, ttl_s=86_400)
    with opened(place) as ledgers:
        shared = Consortium(ledgers, make_policy("member/1", "policy/1"), policy)
        ledger, took_s = shared.ledger, 0.0
        for _ in range(count // _BATCH):
            lines = _decisions(shared.agents["acme"], _BATCH)
            proposed, spent_s = _append(ledger, lines)
            took_s += spent_s
            proposals = [ledger.proposal(each.leaf_hash) for each in proposed]
            for member in ("birch", "cobalt"):
                agent = shared.agents[member]
                votes = [format_submission(endorse(each, agent)) for each in proposals]
                took_s += _append(ledger, votes)[1]
        if ledger.count_proposals() != {"confirmed": count // _BATCH * _BATCH}:
            raise ValueError("not every proposal was confirmed")
    return count // _BATCH * _BATCH / took_s


def _plain(run: Run, place: Place, count: int) -> float:
    with opened(place) as ledgers:
        ledger = ledgers.get(LEDGER)
        chunks = list(filling.chunks(run.stock.lines(0, count), _BATCH))
        return count / sum(_append(ledger, chunk)[1] for chunk in chunks)


def _beside(place: Place, count: int) -> float:
    """Append what no policy governs, in a ledger of many members where one governs other types."""
    names = ("acme", *(f"member-{n}" for n in range(_MEMBERS - 1)))
    policies = (
        make_policy("member/1", "policy/1", rule=two_of_three(names[:3])),
        make_policy("note/1", rule=two_of_three(names[:3])),
    )
    with opened(place) as ledgers:
        own = AudienceSetting(type="agent.decision/1", entry="parties")
        crowd = Consortium(ledgers, *policies, name="crowd", members=names, audiences=(own,))
        lines = list(_decisions(crowd.agents["acme"], count))
        chunks = [lines[at : at + _BATCH] for at in range(0, count, _BATCH)]
        return count / sum(_append(crowd.ledger, chunk)[1] for chunk in chunks)


def _pages(place: Place, count: int) -> tuple[float, float]:
    """Search the ledger of many members as its operator and as the party of every record."""
    with opened(place) as ledgers:
        ledger = ledgers.get("crowd")
        ledgers.follower.catch_up()
        medians = []
        for reader in (OPERATOR, find_reader(ledger.constitution(), "acme")):
            sight = Sight(ledger, reader)

            def page(number: int, sight: Sight = sight) -> None:
                found = sight.search(EntryQuery(after=number * 17 % (count - _PAGE), limit=_PAGE))
                if len(sight.entries(found.indexes)) != _PAGE:
                    raise ValueError("a page is not full")

            medians.append(percentile(ceilings.time_each(_PAGES, page), 0.5))
    return medians[0], medians[1]


def _decisions(author: Author, count: int) -> Iterator[bytes]:
    body = msgspec.json.encode(_DECISION)
    for _ in range(count):
        yield format_submission(author.seal("agent.decision/1", {"body": body}))


def _append(
    ledger: Ledger, lines: Iterator[bytes] | Sequence[bytes]
) -> tuple[list[Appended], float]:
    lines = list(lines)
    began = time.perf_counter()
    outcomes = ledger.sequence([ledger.admit(line) for line in lines])
    spent_s = time.perf_counter() - began
    done = [each for each in outcomes if isinstance(each, Appended)]
    if len(done) != len(lines):
        raise ValueError("a record was refused")
    return done, spent_s
