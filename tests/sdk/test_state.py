"""What lies on disk: written whole or not at all, shared by threads and processes."""

from __future__ import annotations

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.errors import BusyError, IntegrityError, RefusedError
from ledgergrid.files import read_bounded, sweep, write_durably
from ledgergrid.memory import Evidence, Memory
from ledgergrid.numbers import Numbers
from ledgergrid.outbox import Outbox
from ledgergrid.patience import Patience
from ledgergrid.sealing import Draft, Sealed, Sealer
from ledgergrid.signer import Signer

SEALER = Sealer(Signer.make(), lambda: 0, Numbers(Path("nowhere")))


def seal(payload: object = 1) -> Sealed:
    return SEALER.seal(Draft("note/1", payload), "ledger.example/main", None)


def open_outbox(folder: Path, limit_bytes: int = 1_000_000) -> Outbox:
    return Outbox(folder, limit_bytes=limit_bytes)


# --- files ---------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")
    with pytest.raises(FileExistsError):
        write_durably(path, b"new", replace=False)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_litter_of_writers_killed_long_ago_is_swept_and_fresh_files_are_not(tmp_path: Path) -> None:
    old, fresh, other = (tmp_path / name for name in (".a.tmp", ".b.tmp", "c.ndjson"))
    for path in (old, fresh, other):
        path.write_bytes(b"")
    long_ago_s = time.time() - 7200
    os.utime(old, (long_ago_s, long_ago_s))
    os.utime(other, (long_ago_s, long_ago_s))
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == [fresh, other]


def test_a_file_larger_than_its_bound_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bounded(tmp_path / "file", 5) == b"12345"
    with pytest.raises(IntegrityError, match="larger than 4"):
        read_bounded(tmp_path / "file", 4)


# --- outbox --------------------------------------------------------------------


def test_what_was_put_is_found_by_the_next_process_in_order_and_unchanged(tmp_path: Path) -> None:
    batches = [[seal(), seal()], [seal()]]
    first = open_outbox(tmp_path)
    for batch in batches:
        first.put(batch)
    assert list(first.left_over()) == [], "a process does not send twice what it is sending"
    assert list(open_outbox(tmp_path).left_over()) == batches


def test_a_segment_goes_when_its_last_record_is_settled(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    one, two = seal(), seal()
    outbox.put([one, two])
    outbox.settle(one.id)
    assert not outbox.is_empty()
    outbox.settle(two.id)
    assert outbox.is_empty()
    outbox.settle(two.id)


def test_what_is_given_back_is_left_over_again(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    batch = [seal(), seal()]
    outbox.put(batch)
    outbox.settle(batch[0].id)
    assert outbox.release(batch)
    assert list(outbox.left_over()) == [batch], "a repetition costs nothing"
    for sealed in batch:
        outbox.settle(sealed.id)
    assert not outbox.release(batch)


def test_two_processes_may_settle_the_same_record(tmp_path: Path) -> None:
    mine, theirs = open_outbox(tmp_path), open_outbox(tmp_path)
    sealed = seal()
    mine.put([sealed])
    assert list(theirs.left_over()) == [[sealed]]
    theirs.settle(sealed.id)
    mine.settle(sealed.id)
    assert mine.is_empty()


def test_the_outbox_is_bounded_and_room_comes_back(tmp_path: Path) -> None:
    one, two = seal("x" * 3000), seal("x" * 3000)
    outbox = open_outbox(tmp_path, limit_bytes=6000)
    outbox.put([one])
    with pytest.raises(BusyError):
        outbox.put([two])
    with pytest.raises(BusyError):
        open_outbox(tmp_path, limit_bytes=6000).put([two])
    outbox.settle(one.id)
    outbox.put([two])


def test_a_refused_record_moved_back_is_sent_again(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    sealed = seal()
    outbox.put([sealed])
    outbox.refuse(sealed, RefusedError("not today"))
    assert outbox.is_empty()
    (outbox.refused / f"{sealed.id}.json").rename(outbox.folder / f"{sealed.id}.ndjson")
    assert list(outbox.left_over()) == [[sealed]]


def test_only_its_owner_can_read_what_waits(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path / "state")
    outbox.put([seal()])
    [path] = outbox.folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(outbox.folder.stat().st_mode) == 0o700


# --- memory --------------------------------------------------------------------


def test_of_many_writers_that_saw_the_same_checkpoint_one_wins(tmp_path: Path) -> None:
    Memory(tmp_path).replace_checkpoint(None, b"0")

    def replace(number: int) -> bool:
        return Memory(tmp_path).replace_checkpoint(b"0", b"%d" % number)

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(replace, range(1, 30)))
    assert won.count(True) == 1
    assert Memory(tmp_path).checkpoint() == b"%d" % (won.index(True) + 1)


def test_evidence_does_not_fill_the_disk(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    for number in range(120):
        path = memory.keep_evidence(Evidence("why", "", (), "", str(number), ""))
        assert path.exists()
    assert len(list((tmp_path / "evidence").iterdir())) == 100


# --- patience ------------------------------------------------------------------


@given(st.floats(0, 1000), st.floats(0, 10_000))
def test_no_pause_is_shorter_than_the_ledger_asked_or_ends_after_patience(
    patience_s: float, retry_after_s: float
) -> None:
    pause_s = Patience(patience_s).next_pause_s(retry_after_s)
    if pause_s is None:
        assert max(retry_after_s, 0.1) >= patience_s - 1
    else:
        assert retry_after_s <= pause_s <= patience_s


def test_pauses_double_up_to_a_bound() -> None:
    patience = Patience(1e9)
    pauses_s = [patience.next_pause_s(0.0) for _ in range(12)]
    for number, pause_s in enumerate(pauses_s):
        assert pause_s is not None
        ceiling_s = min(0.1 * 2**number, 10.0)
        assert ceiling_s / 2 <= pause_s <= ceiling_s
