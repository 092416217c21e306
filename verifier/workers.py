"""Checks segments and large files on as many cores as wanted; gives segments back in order."""

from __future__ import annotations

import multiprocessing
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final

from ledger_core.formats.archive import File
from verifier.findings import Findings
from verifier.reading import Source, open_source
from verifier.segments import Outcome, Task, check_files, check_segment

AHEAD: Final = 2
"""Segments given out for each process before the first is taken back: bounds what waits."""

_opened: list[Source] = []
"""A worker process's own view of the archive, opened once."""


def run_tasks(
    path: Path, source: Source, files: list[File], tasks: list[Task], jobs: int
) -> Iterator[Outcome | Findings]:
    """Yield the outcome of each task, in order, and once the findings on other files.

    All in this process if there is little to do.
    """
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        yield check_files(source, files)
        yield from (check_segment(source, task) for task in tasks)
        return
    # Linux forks: nothing is imported again, and no thread runs yet. Elsewhere forking is unsafe.
    # Neither way opens a socket ("forkserver" would).
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_open, initargs=(path,)) as pool:
        findings = pool.submit(_check_files, files)
        yield from _in_order(pool, tasks, AHEAD * jobs)
        yield findings.result()


def _in_order(pool: ProcessPoolExecutor, tasks: Iterable[Task], ahead: int) -> Iterator[Outcome]:
    remaining = iter(tasks)
    waiting: deque[Future[Outcome]] = deque(
        pool.submit(_check_segment, task) for task in islice(remaining, ahead)
    )
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(_check_segment, task) for task in islice(remaining, 1))


def _open(path: Path) -> None:
    _opened.append(open_source(path))


def _check_segment(task: Task) -> Outcome:
    return check_segment(_opened[0], task)


def _check_files(files: list[File]) -> Findings:
    return check_files(_opened[0], files)
