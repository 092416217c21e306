"""The process that gets killed: appends under load and writes down what was acknowledged.

    python -m tests.crash.load '{"database_url": …, "memory_url": …, "folder": …, "name": …}'

``<name>.sent`` holds every submission before it is handed in, ``<name>.acked`` every
acknowledgement once it came back, a JSON line each. Both outlive the process.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count as count_up
from pathlib import Path
from typing import IO, Final

from ledger_core import ids
from ledger_core.errors import LedgerGridError
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.submission import Submission, format_submission
from ledger_core.ledger import Ledger
from ledger_core.pool import Pool
from tests.support.ledgers import Author, Replica, appended

AUTHOR: Final = PrivateKey(b"\x07" * 32)
LEDGER: Final = "main"
THREADS: Final = 3


@dataclass(frozen=True)
class Work:
    """What one process is to do. ``count`` 0 means: until it is killed."""

    database_url: str
    memory_url: str
    folder: str
    name: str
    count: int = 0
    shared: int = 0
    """How many records every process of the folder hands in alike."""
    task: str = "append"

    def file(self, kind: str) -> Path:
        return Path(self.folder) / f"{self.name}.{kind}"


class Diary:
    """Two files of JSON lines; a line is whole when ``write`` returns, and on disk if it counts."""

    def __init__(self, work: Work) -> None:
        self._files: dict[str, IO[str]] = {
            kind: work.file(kind).open("a") for kind in ("sent", "acked")
        }
        # One for each file: nobody waits with a record for another's acknowledgement to be synced.
        self._locks = {kind: threading.Lock() for kind in self._files}

    def write(self, kind: str, line: dict[str, object]) -> None:
        with self._locks[kind]:
            file = self._files[kind]
            file.write(json.dumps(line) + "\n")
            file.flush()
            if kind == "acked":
                os.fsync(file.fileno())


def main(work: Work) -> None:
    replica = Replica(work.database_url, work.memory_url)
    if work.task == "create":
        for number in range(20):
            replica.ledgers.create(f"more-{number}-{work.name}")
        return
    ledger = replica.ledgers.get(LEDGER)
    diary = Diary(work)
    pool = Pool()
    pool.start()
    with ThreadPoolExecutor(THREADS + 1) as threads:
        running = [
            threads.submit(append, pool, ledger, diary, share, number)
            for number, share in enumerate(shares(work, ledger.origin))
        ]
        if work.task == "export":
            for chunk in ledger.export(0, None, "auditor"):
                assert isinstance(chunk, bytes)
        for each in running:
            each.result()
    pool.close()
    replica.close()


def shares(work: Work, origin: str) -> Iterator[Iterator[Submission]]:
    """Give each thread its part of the records to append."""
    counts = [work.count // THREADS + (n < work.count % THREADS) for n in range(THREADS)]
    author = Author(origin, AUTHOR)
    if work.count == 0:
        yield from (numbered(author, work.name) for _ in counts)
    else:
        yield from (fresh(author, work.name, count) for count in counts)
    yield common(author, work.shared)


def fresh(author: Author, name: str, count: int) -> Iterator[Submission]:
    return (author.note({"from": name, "n": n, "text": "x" * (n % 300)}) for n in range(count))


def numbered(author: Author, name: str) -> Iterator[Submission]:
    """Make notes without end, of which each thread numbers some as the others do."""
    for n in count_up():
        stream = (name, n) if n % 3 == 0 else None
        yield author.note({"from": name, "n": n, "text": "x" * (n % 300)}, stream=stream)


def common(author: Author, count: int) -> Iterator[Submission]:
    """Make the records that every process hands in, the same bytes in each."""
    at = random.Random(1)
    for number in range(count):
        record_id = f"01990b1f-5a00-7000-8000-{number:012x}"
        yield author.note(number, record_id=record_id, salt=at.randbytes(32))


def append(
    pool: Pool, ledger: Ledger, diary: Diary, submissions: Iterator[Submission], number: int
) -> None:
    """Hand records in by small batches, now and then one that was handed in before."""
    at = random.Random(number)
    sent: list[Submission] = []
    while batch := take(submissions, at.randrange(1, 6)):
        if sent and at.random() < 0.5:
            batch.append(at.choice(sent))
        sent = sent[-50:] + batch
        for each in batch:
            raw = format_submission(each).decode()
            diary.write("sent", {"id": each.signed.record.id, "submission": raw})
        raws = [format_submission(each) for each in batch]
        for each, outcome in zip(batch, pool.submit(ledger, raws).result(), strict=True):
            if isinstance(outcome, LedgerGridError):
                raise outcome
            place = appended(outcome)
            diary.write(
                "acked",
                {
                    "id": each.signed.record.id,
                    "index": place.index,
                    "leaf_hash": ids.format_digest(place.leaf_hash),
                    "receipt": place.receipt.decode(),
                },
            )


def take(submissions: Iterator[Submission], count: int) -> list[Submission]:
    return [each for _, each in zip(range(count), submissions, strict=False)]


def describe(work: Work) -> str:
    """Return the command-line argument that stands for ``work``."""
    return json.dumps(asdict(work))


if __name__ == "__main__":
    main(Work(**json.loads(sys.argv[1])))
