"""kill -9 while a witness cosigns: nothing it said is taken back, and asking again helps."""

from __future__ import annotations

import signal
from contextlib import closing

import pytest

from ledger_core.cosigner import Cosigner
from ledger_core.errors import StaleError
from ledger_core.fail_points import COSIGNER_FAIL_POINTS
from ledger_core.keyring import Keyring
from ledger_core.storage.database import open_database
from tests.crash.harness import begin, wait
from tests.support.ledgers import SECRET
from tests.support.logs import OtherLog

SCRIPT = """
import sys
from tests.crash.test_cosigner import ask
ask(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""


def ask(database_url: str, old: int, size: int) -> None:
    log = OtherLog()
    with closing(open_database(database_url)) as database:
        database.migrate()
        signers = Keyring(SECRET).witness_signers("witness.example/us")
        Cosigner(database, signers, {log.origin: [log.key]}).add_checkpoint(log.request(old, size))


def ask_and_die(database_url: str, old: int, size: int, point: str) -> int:
    return wait(begin(["-c", SCRIPT, database_url, str(old), str(size)], point))


@pytest.mark.parametrize("point", COSIGNER_FAIL_POINTS)
def test_a_witness_killed_while_it_cosigns_goes_on_from_what_is_durable(
    point: str, database_url: str
) -> None:
    ask(database_url, 0, 5)
    assert ask_and_die(database_url, 5, 9, point) == -signal.SIGKILL
    known = 9 if point == "cosigner.after-commit" else 5
    with pytest.raises(StaleError) as caught:
        ask(database_url, 0, 20)
    assert caught.value.size == known
    ask(database_url, known, 9)
    ask(database_url, 9, 20)
