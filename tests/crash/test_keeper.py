"""The keeper's end, and that of those it keeps for: nothing is lost, and nobody stays behind."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.crash.test_proxy import (
    DONE,
    STOP,
    TEXT,
    Place,
    call,
    check,
    place,
    wait_for,
)
from tests.support.serving import Serving, serving

__all__ = ["place"]


def children_of(pid: int) -> list[int]:
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def keeper_of(service: Serving) -> int:
    (keeper,) = children_of(service.pid)
    return keeper


def is_there(pid: int) -> bool:
    """Say whether a process lives; one that nobody has waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def is_found(service: Serving, name: str) -> bool:
    asked = {"q": f'"{name}"'}
    return bool(httpx.get(f"{service.url}/api/search", params=asked, trust_env=False).json())


def test_views_of_a_keeper_that_is_killed_under_load_are_filled_by_those_that_serve(
    place: Place, tmp_path: Path
) -> None:
    whole, numbers, is_over = {"before"}, iter(range(10_000)), threading.Event()

    def go_on(_: int) -> None:
        while not is_over.is_set():
            name = f"call{next(numbers)}"
            assert call(service.address, name) == TEXT + STOP + DONE
            whole.add(name)

    with place.serving() as service, ThreadPoolExecutor(4) as threads:
        done = threads.map(go_on, range(4))
        try:
            wait_for(lambda: len(whole) > 20)
            keeper = keeper_of(service)
            os.kill(keeper, signal.SIGKILL)
            wait_for(lambda: not is_there(keeper))
            so_far = len(whole)
            wait_for(lambda: len(whole) > so_far + 20)
        finally:
            is_over.set()
        list(done)
        for name in ("call0", f"call{so_far + 10}", f"call{len(whole) - 2}"):
            wait_for(lambda name=name: is_found(service, name))  # type: ignore[misc]
        assert "the keeper has ended" in service.log.read_text()
    with place.restarted() as proxied:
        check(proxied, tmp_path, whole)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_keeper_ends_with_those_it_keeps_for_however_they_end(
    tmp_path: Path, how: signal.Signals
) -> None:
    with serving(tmp_path) as service:
        keeper = keeper_of(service)
        os.kill(service.pid, how)
        if how == signal.SIGKILL:
            service.wait_killed()
            wait_for(lambda: not is_there(keeper))
        else:
            service.wait_stopped()
            assert not is_there(keeper)


def test_nothing_is_kept_by_another_process_unless_it_is_to(tmp_path: Path) -> None:
    with serving(tmp_path, keeper="thread") as service:
        assert children_of(service.pid) == []
