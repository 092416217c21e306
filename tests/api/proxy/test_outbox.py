"""The outbox after crashes: what a dead process left is delivered, and nothing twice."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest

from api.proxy.outbox import Item, Outbox
from ledger_core import ids
from ledger_core.errors import BusyError
from tests.api.live import running
from tests.api.proxy.conftest import Proxied, Proxying
from tests.api.proxy.test_unavailable import ANSWER, ask, close_ledger, items, open_ledger, until
from tests.support.raw_upstream import response


def an_item(size: int = 10) -> Item:
    return Item("start", ids.new_record_id(), b"{}", b"x" * size, "text/plain")


def test_what_a_dead_process_left_is_taken_over_and_what_a_live_one_has_is_not(
    tmp_path: Path,
) -> None:
    dead, live, mine = (Outbox(tmp_path, 10_000) for _ in range(3))
    left = [an_item(), an_item()]
    for item in left:
        dead.put(item)
    live.put(an_item())
    dead.close()
    found = mine.items()
    assert [mine.read(path) for path in found] == left
    assert len(live.items()) == 1
    for path in found:
        mine.settle(path)
    assert mine.items() == []
    live.close()
    mine.close()


def test_nobody_takes_over_a_folder_that_is_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = Outbox(tmp_path, 10_000), Outbox(tmp_path, 10_000)
    lock = fcntl.flock

    def lock_late(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        other.items()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    mine.put(an_item())
    assert len(mine.items()) == 1
    mine.close()
    other.close()


def test_an_outbox_is_bounded_in_bytes_and_settling_makes_room(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, 2_000)
    outbox.put(an_item(1_500))
    with pytest.raises(BusyError):
        outbox.put(an_item(1_500))
    outbox.settle(outbox.items()[0])
    outbox.put(an_item(1_500))
    outbox.close()


def test_a_damaged_item_is_put_aside_and_holds_nobody_up(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, 10_000)
    outbox.put(an_item())
    outbox.put(an_item())
    first, second = outbox.items()
    first.write_bytes(b"\x00damaged")
    assert outbox.read(first) is None
    assert outbox.items() == [second]
    assert len(list((tmp_path / "refused").iterdir())) == 1
    outbox.close()


def test_an_item_delivered_before_a_crash_is_not_delivered_twice(
    proxying_with: Proxying, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    with proxying_with(capture_unavailable="queue") as proxied:
        proxied.upstream.answer = lambda seen: [response(ANSWER)]
        assert ask(proxied).status == 200
        close_ledger(proxied)
        assert ask(proxied).status == 200
        kept.mkdir()
        for path in items(proxied):
            shutil.copy(path, kept / path.name)
        open_ledger(proxied)
        until(lambda: not items(proxied))
        settings = proxied.live.service.settings
    # As if the process had died between delivering and removing them.
    folder = settings.data / "outbox" / ids.new_record_id()
    folder.mkdir()
    (folder / "lock").touch()
    for path in kept.iterdir():
        shutil.copy(path, folder / path.name)
    with running(settings) as live:
        again = Proxied(live, proxied.upstream)
        until(lambda: not items(again))
        assert (len(again.starts()), len(again.ends())) == (2, 2)
        leaf = ids.format_digest(again.starts()[1].entry.leaf_hash)
        assert again.ends()[1].record.refs[0].to == leaf
