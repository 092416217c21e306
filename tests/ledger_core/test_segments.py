"""Sealed segments in real ledgers: sealed, found, erased by schedule, and still proven."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from ledger_core import clock, ids
from ledger_core.errors import PayloadError
from ledger_core.formats.segment import check_item, format_items, prove_item, root_of
from ledger_core.formats.submission import Submission
from ledger_core.records.model import JSON, decode_part
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.types.charter import Founding
from ledger_core.records.types.retention import Retention
from ledger_core.records.types.segment import SEGMENT_1, Segment
from ledger_core.storage.erasures import Erased
from ledger_core.storage.search import EntryQuery
from tests.support.invariants import check_everything
from tests.support.ledgers import (
    START_MS,
    Author,
    Service,
    appended,
    checked_receipt,
    refused,
    register,
)

TICKS = [b'{"node":"n%d","cpu":%d}' % (number, number % 7) for number in range(1_000)]
HOUR = clock.format_time(START_MS - 3_600_000), clock.format_time(START_MS)
KEPT = MutabilitySetting(type="segment/1", keep_s={"items": 60})


def seal(author: Author, items: Sequence[bytes], *, root: bytes | None = None) -> Submission:
    named = ids.format_digest(root or root_of(items))
    body = Segment(root=named, count=len(items), kind="ticks", from_=HOUR[0], to=HOUR[1])
    parts = {"body": msgspec.json.encode(body), "items": format_items(items)}
    return author.seal("segment/1", parts, media_types={"items": "application/octet-stream"})


def test_a_tick_is_proven_though_the_schedule_erased_all_of_them(
    service: Service, tmp_path: Path
) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main", founding=Founding(mutability=(KEPT,)))
    placed = appended(ledger.append([seal(register(ledger), TICKS)])[0])
    proof = prove_item(TICKS, 17)

    service.clock.now_ms += 61_000
    before = clock.format_time(service.clock.now_ms - 60_000)
    order = msgspec.json.encode(Retention("segment/1", "items", before))
    gone = ledger.append_as_operator("retention/1", order)
    replica.ledgers.eraser.close()

    entry = ledger.entry(placed.index)
    assert entry.gone == {"items": Erased(gone.index)}
    body: Segment = decode_part(SEGMENT_1, "body", JSON, entry.parts["body"].data)
    checked_receipt(ledger, placed.index, placed.receipt)
    check_item(TICKS[17], 17, body.count, ids.parse_digest(body.root), proof)
    check_everything(replica, ledger, tmp_path)


def test_segments_are_found_by_what_they_hold_and_how_much(service: Service) -> None:
    ledger = service.open().ledgers.create("main")
    author = register(ledger)
    sealed = [seal(author, TICKS[:count]) for count in (10, 20)]
    places = [appended(outcome).index for outcome in ledger.append(sealed)]
    ledger.wait_until_searchable(ledger.size(), 30)
    found = ledger.search(EntryQuery(type="segment/1", columns={"kind": "ticks", "count": 20}))
    assert found.indexes == places[1:]


def test_a_segment_whose_root_is_not_its_items_is_refused(service: Service) -> None:
    ledger = service.open().ledgers.create("main")
    sealed = seal(register(ledger), TICKS, root=root_of(TICKS[:-1]))
    error = refused(ledger.append([sealed])[0])
    assert isinstance(error, PayloadError)
    assert "root" in str(error)
