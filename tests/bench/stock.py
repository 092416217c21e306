"""Sealed records in stock, made before any clock starts: about 520 bytes and 190 of payload.

They are kept as submissions, a line each, in files of ``SHARD`` lines. All ledgers of a run have
the same origin and the same agent, so that one stock serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from ledger_core import clock, ids
from ledger_core.formats import record as records
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.formats.record import Record, Saw
from ledger_core.formats.submission import Submission, format_submission

ORIGIN_PREFIX: Final = "ledgers.example.com/operations/benchmark"
LEDGER: Final = "main"
ORIGIN: Final = f"{ORIGIN_PREFIX}/{LEDGER}"
SHARD: Final = 10_000
_STREAM: Final = "invoice-matching.session.019ac0de-5a00-7000-8000-00000000b42d"


@dataclass(frozen=True)
class Stock:
    """So many sealed records in ``folder``, by one agent; ``bytes_each`` is record + payload."""

    folder: Path
    seed: bytes
    count: int
    bytes_each: float

    @property
    def agent(self) -> PrivateKey:
        return PrivateKey(self.seed)

    def lines(self, start: int, count: int) -> Iterator[bytes]:
        """Yield the submissions ``[start, start + count)``."""
        if start + count > self.count:
            raise ValueError(f"the stock has {self.count} records, not {start + count}")
        while count > 0:
            shard, offset = divmod(start, SHARD)
            with _shard(self.folder, shard).open("rb") as file:
                taken = 0
                for line in islice(file, offset, offset + count):
                    yield line.rstrip(b"\n")
                    taken += 1
            start, count = start + taken, count - taken


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.ndjson"


def make_stock(folder: Path, count: int, pool: ProcessPoolExecutor) -> Stock:
    """Seal so many records, in the pool's processes."""
    folder.mkdir()
    seed = PrivateKey.generate().seed
    starts = range(0, count, SHARD)
    futures = [pool.submit(_seal, folder, seed, at, min(SHARD, count - at)) for at in starts]
    size = sum(future.result() for future in futures)
    return Stock(folder, seed, count, size / count)


def _seal(folder: Path, seed: bytes, start: int, count: int) -> int:
    """Write one shard; return the bytes of records and payloads in it."""
    key = PrivateKey(seed)
    size = 0
    with _shard(folder, start // SHARD).open("wb") as file:
        for number in range(start, start + count):
            sealed = _action(key, number)
            size += len(sealed.signed.raw) + len(sealed.parts["body"].data)
            file.write(format_submission(sealed) + b"\n")
    return size


def _action(key: PrivateKey, number: int) -> Submission:
    """Seal an action as agents record them: in a stream, having seen a checkpoint."""
    action = {
        "action": "match_invoice",
        "status": "succeeded",
        "session_id": f"session-{number // 50}",
        "tool": "erp",
        "input": {"invoice": f"INV-{number:08}", "supplier": f"S-{number % 997:04}"},
        "output": {"order": f"PO-{number:08}", "difference_cent": number % 100},
    }
    part_ref, part = records.make_part(msgspec.json.encode(action), "application/json")
    record = Record(
        v=1,
        ledger=ORIGIN,
        id=ids.new_record_id(),
        type="agent.action/1",
        author=ids.format_key(key.public_key),
        made_at=clock.format_time(clock.now_ms()),
        payload={"body": part_ref},
        stream=_STREAM,
        n=number,
        saw=Saw(root=ids.format_digest(part.salt), size=number + 1),
    )
    return Submission(records.seal(record, key), {"body": part})
