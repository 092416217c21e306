"""The process that gets killed, or competes, while it captures calls: start, work, end.

    python -m tests.crash.calls '{"database_url": …, "memory_url": …, "folder": …, "name": …}'

Each call reserves :data:`RESERVED` of one budget, and costs less. ``<name>.acked`` has a line for
each record that was told to be durable, ``<name>.sent`` one for each refusal.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from ledger_core import clock, ids
from ledger_core.admission import Admitted
from ledger_core.capturing import Scribe, open_scribe
from ledger_core.errors import AllowanceError, LedgerGridError
from ledger_core.policy.allowances import Draw, Rate
from ledger_core.pool import Pool, PreparedJob
from ledger_core.records.types.llm_call import LlmCall2
from ledger_core.records.types.llm_start import LlmStart
from ledger_core.sequencer import Committed
from tests.crash.load import Diary, Work
from tests.support.ledgers import Replica

LEDGER: Final = "calls"
AT_ONCE: Final = 30
RESERVED: Final = 1_000
BUDGET: Final = 20_000
"""Of a process that is to be refused; one that runs until it is killed has no limit."""


class Caller:
    def __init__(self, scribe: Scribe, pool: Pool, diary: Diary, limit: int | None) -> None:
        self._scribe, self._pool, self._diary = scribe, pool, diary
        self._key, self._limit = scribe.allowance_key("session", "shared"), limit
        self._rate = Rate(scribe.allowance_key("rate:total", ""), 10**6, "all calls")

    def call(self, number: int) -> None:
        """Make one call; write down what was answered."""
        action_id = ids.new_record_id()
        started_at = clock.format_time(clock.now_ms())
        names: dict[str, Any] = {
            "action_id": action_id,
            "timestamp": started_at,
            "provider": "test",
            "session_id": "shared",
        }
        start = LlmStart(
            **names, request_bytes=2, request_sha256="0" * 64, reserved_microusd=RESERVED
        )
        draw = Draw(self._key, RESERVED, self._limit, "session shared")
        outcome = self._wait(
            lambda: self._scribe.start(start, b"{}", draws=(draw,), rates=(self._rate,))
        )
        if isinstance(outcome, AllowanceError):
            self._diary.write("sent", {"refused": outcome.used})
            return
        started = self._note(outcome)
        cost = random.Random(number).randrange(RESERVED)
        end = LlmCall2(**names, cost_microusd=cost, cost_basis="provider", status_code=200)
        back = Draw(self._key, cost - RESERVED, None, "session shared")
        self._note(self._wait(lambda: self._scribe.end(end, started.leaf_hash, draws=(back,))))

    def _wait(self, make: Callable[[], Admitted]) -> Committed | LedgerGridError:
        answer: Future[Any] = Future()
        self._pool.take([PreparedJob(self._scribe.ledger, [make], answer.set_result)])
        result = answer.result(60)
        if isinstance(result, BaseException):
            raise result
        outcome: Committed | LedgerGridError = result[0]
        return outcome

    def _note(self, outcome: Committed | LedgerGridError) -> Committed:
        if isinstance(outcome, LedgerGridError):
            raise outcome
        place = {"index": outcome.index, "leaf_hash": ids.format_digest(outcome.leaf_hash)}
        self._diary.write("acked", {"id": outcome.record_id, "size": outcome.size, **place})
        return outcome


def main(work: Work) -> None:
    replica = Replica(work.database_url, work.memory_url)
    scribe = open_scribe(replica.ledgers, LEDGER)
    pool = Pool()
    pool.start()
    caller = Caller(scribe, pool, Diary(work), BUDGET if work.count else None)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for done in threads.map(caller.call, range(work.count or 100_000)):
            assert done is None
    pool.close()
    replica.close()


if __name__ == "__main__":
    main(Work(**json.loads(sys.argv[1])))
