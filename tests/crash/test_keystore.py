"""kill -9 while keys are destroyed: doing it again finishes it, and nothing comes back."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import pytest

from ledger_core.fail_points import DESTRUCTION_FAIL_POINTS
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.keystore.model import make_keys
from tests.crash.harness import begin, wait

ORDER = bytes(range(32))
COMMITMENTS = [bytes([n]) * 32 for n in range(3)]
SCRIPT = """
import sys
from tests.crash.test_keystore import destroy
destroy(sys.argv[1], [bytes.fromhex(each) for each in sys.argv[2:]])
"""


def destroy(url: str, ids: list[bytes]) -> None:
    with closing(DatabaseKeyStore(url)) as store:
        store.destroy(dict(zip(COMMITMENTS, ids, strict=True)), ORDER)


def destroy_and_die(url: str, ids: list[bytes], point: str) -> int:
    return wait(begin(["-c", SCRIPT, url, *(each.hex() for each in ids)], point))


@pytest.mark.parametrize("point", DESTRUCTION_FAIL_POINTS)
def test_a_destruction_that_was_killed_is_finished_by_doing_it_again(
    point: str, empty_database_url: str, tmp_path: Path
) -> None:
    url = empty_database_url
    keys = make_keys(400)
    lost, kept = keys[::150], [key for n, key in enumerate(keys) if n % 150]
    ids = [key.id for key in lost]
    with closing(DatabaseKeyStore(url)) as store:
        store.add(keys)
    assert destroy_and_die(url, ids, point) == -signal.SIGKILL

    with closing(DatabaseKeyStore(url)) as store:
        is_done = point == "keystore.destroyed"
        assert len(store.find(ids)) == (0 if is_done else 3)
        assert len(store.find_destroyed(COMMITMENTS)) == (3 if is_done else 0)
    destroy(url, ids)
    with closing(DatabaseKeyStore(url)) as store:
        assert store.find([key.id for key in keys]) == {key.id: key.key for key in kept}
        assert store.find_destroyed(COMMITMENTS) == dict.fromkeys(COMMITMENTS, ORDER)
        files = [file.read_bytes() for file in tmp_path.iterdir()]
        assert not any(key.key in raw for key in lost for raw in files)
