"""A client that is killed loses nothing it had begun to send."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ledgergrid import Ledger, Receipt, Signer
from tests.sdk.conftest import outbox_of
from tests.support import forking
from tests.support.peer import Fault, Peer

CLIENT = """
import sys
from ledgergrid import Ledger, Signer
url, folder, count = sys.argv[1:]
ledger = Ledger(url, ledger="main", signer=Signer.load(folder + "/agent.key"), state_dir=folder)
if count == "1":
    ledger.append("note/1", "killed in mid-air")
else:
    ledger.append_many([("note/1", number) for number in range(int(count))])
"""


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("is_stored", [True, False])
def test_a_client_killed_before_its_answer_loses_nothing(
    peer: Peer, tmp_path: Path, is_stored: bool, count: int
) -> None:
    """Killed with SIGKILL: between outbox and answer, the ledger having stored or not."""
    signer = Signer.make()
    signer.save(tmp_path / "agent.key")
    # Without a patience to wait for: the server holds the answer, or answers "busy" for long.
    peer.always = Fault(stall_s=30.0) if is_stored else Fault(status=503, retry_after="30")
    client = forking.start(
        ["-c", CLIENT, peer.url, str(tmp_path), str(count)],
        env={**os.environ, "PYTHONPATH": forking.PATHS},
    )
    _wait_for(lambda: any(path.startswith("POST") for path in peer.seen))
    _wait_for(lambda: len(peer.stored) == (count if is_stored else 0))
    client.send_signal(signal.SIGKILL)
    assert client.wait(timeout=10) == -signal.SIGKILL
    peer.always = None
    with Ledger(peer.url, ledger="main", signer=signer, state_dir=tmp_path) as ledger:
        assert len(outbox_of(ledger)) == 1
        receipts = [each for each in ledger.flush() if isinstance(each, Receipt)]
        assert outbox_of(ledger) == []
    assert len(peer.stored) == len(receipts) == count


def _wait_for(condition: object) -> None:
    assert callable(condition)
    until = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)
