"""Calls, from several processes at once and killed in the middle: budgets hold, and add up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ledger_core import ids
from ledger_core.capturing import open_scribe
from ledger_core.formats.entry import parse_entry
from ledger_core.ledger import Ledger
from ledger_core.policy.allowances import Spent
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_start import LlmStart
from tests.crash.calls import BUDGET, LEDGER, RESERVED
from tests.crash.harness import read_lines, start, wait
from tests.crash.load import Work
from tests.support.invariants import check_everything
from tests.support.ledgers import Replica, Service, find_allowances

CALLS = "tests.crash.calls"
POINTS = (
    "sequencer.locked",
    "sequencer.entries-stored",
    "sequencer.allowances-stored",
    "sequencer.before-commit",
    "sequencer.after-commit",
    "sequencer.after-memory",
)


def read_calls(ledger: Ledger) -> tuple[dict[str, LlmStart], dict[str, LlmCall2]]:
    """Return the starts and the ends that answer them, by action id."""
    starts: dict[str, LlmStart] = {}
    ends: dict[str, LlmCall2] = {}
    leaves: dict[str, str] = {}
    for entry in ledger.entries(range(ledger.size())):
        record = parse_entry(entry.leaf).signed_record().record
        if "start" in entry.parts:
            begun = msgspec.json.decode(entry.parts["start"].data, type=LlmStart)
            starts[begun.action_id] = begun
            leaves[ids.format_digest(entry.leaf_hash)] = begun.action_id
        elif "call" in entry.parts:
            ended = msgspec.json.decode(entry.parts["call"].data, type=LlmCall2)
            assert [leaves[ref.to] for ref in record.refs] == [ended.action_id]
            ends[ended.action_id] = ended
    return starts, ends


def used_before_starts(ledger: Ledger) -> Iterator[int]:
    """Yield, from the log alone, what was used of the budget before each start."""
    used = 0
    for entry in ledger.entries(range(ledger.size())):
        if "start" in entry.parts:
            yield used
            used += RESERVED
        elif "call" in entry.parts:
            ended = msgspec.json.decode(entry.parts["call"].data, type=LlmCall2)
            used += (ended.cost_microusd or 0) - RESERVED


def used(replica: Replica, ledger: Ledger) -> int:
    key = b"b" + open_scribe(replica.ledgers, LEDGER).allowance_key("session", "shared")
    with replica.database.read() as tx:
        state = find_allowances(tx, ledger.ledger_id, [key])[key]
    assert isinstance(state, Spent)
    return state.microusd


def check_told(ledger: Ledger, work: Work) -> int:
    """Check that what was told to be durable is there; return how much that is."""
    told = list(read_lines(work.file("acked")))
    for line in told:
        assert ids.format_digest(ledger.entry(int(line["index"])).leaf_hash) == line["leaf_hash"]
        assert int(line["size"]) > int(line["index"])
    return len(told)


def test_sixty_calls_at_once_from_two_processes_overshoot_a_budget_by_one_call_at_most(
    service: Service, tmp_path: Path
) -> None:
    works = [
        Work(service.database_url, service.memory_url, str(tmp_path), f"caller-{n}", count=60)
        for n in range(2)
    ]
    service.open()
    service.close()
    processes = [start(work, module=CALLS) for work in works]
    assert [wait(process) for process in processes] == [0, 0]

    replica = service.open()
    ledger = replica.ledgers.get(LEDGER)
    starts, ends = read_calls(ledger)
    refusals = [line for work in works for line in read_lines(work.file("sent"))]
    assert starts.keys() == ends.keys()
    assert refusals and len(starts) + len(refusals) == 120
    spent = sum(end.cost_microusd or 0 for end in ends.values())
    assert used(replica, ledger) == spent
    assert spent < BUDGET + RESERVED
    assert all(before < BUDGET for before in used_before_starts(ledger))
    assert all(int(line["refused"]) >= BUDGET for line in refusals)
    assert sum(check_told(ledger, work) for work in works) == 2 * len(starts)
    check_everything(replica, ledger, tmp_path)


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_what_was_told_is_there_and_open_calls_stay_reserved(
    point: str, service: Service, tmp_path: Path
) -> None:
    work = Work(service.database_url, service.memory_url, str(tmp_path), "caller")
    open_scribe(service.open().ledgers, LEDGER)
    service.close()
    nth = ":3" if point == "sequencer.after-memory" else ":9"
    assert wait(start(work, point + nth, CALLS)) == -signal.SIGKILL

    replica = service.open()
    ledger = replica.ledgers.get(LEDGER)
    assert replica.ledgers.check_signed() == []
    starts, ends = read_calls(ledger)
    assert ends.keys() <= starts.keys()
    costs = [ends[name].cost_microusd or 0 if name in ends else RESERVED for name in starts]
    assert used(replica, ledger) == sum(costs)
    assert check_told(ledger, work) <= len(starts) + len(ends)
    check_everything(replica, ledger, tmp_path)
