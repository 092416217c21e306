"""The process that gets killed while it changes entries: every change there is, over and over.

    python -m tests.crash.change '{"database_url": …, "memory_url": …, "folder": …, "name": …}'

It keeps the same diary as ``tests.crash.load``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import msgspec

from ledger_core import ids
from ledger_core.formats.submission import Submission, format_submission
from ledger_core.ledger import Ledger
from ledger_core.records.targets import Parts
from ledger_core.records.types.erasure import Erasure
from ledger_core.records.types.hold import Hold
from ledger_core.records.types.redaction import Redact, Unredact
from ledger_core.records.types.rollback import Rollback
from ledger_core.sequencer import Appended
from tests.crash.load import AUTHOR, LEDGER, Diary, Work
from tests.support.ledgers import Author, Replica, appended


class Changer:
    """Hands records in one by one, and writes down what is acknowledged."""

    def __init__(self, ledger: Ledger, diary: Diary) -> None:
        self._ledger, self._diary = ledger, diary
        self._author = Author(ledger.origin, AUTHOR)

    def note(self, text: str, amends: Appended | None = None) -> Appended:
        refs = [("amends", amends.leaf_hash)] if amends is not None else []
        return self._hand_in(self._author.note(text, refs=refs))  # type: ignore[arg-type]

    def change(self, type_name: str, body: object) -> Appended:
        sealed = self._author.seal(type_name, {"body": msgspec.json.encode(body)})
        return self._hand_in(sealed)

    def _hand_in(self, sealed: Submission) -> Appended:
        record_id = sealed.signed.record.id
        raw = format_submission(sealed).decode()
        self._diary.write("sent", {"id": record_id, "submission": raw})
        place = appended(self._ledger.append([sealed])[0])
        self._diary.write(
            "acked",
            {
                "id": record_id,
                "index": place.index,
                "leaf_hash": ids.format_digest(place.leaf_hash),
                "receipt": place.receipt.decode(),
            },
        )
        return place


def change_once(changer: Changer) -> Iterator[Appended]:
    """Do to one note whatever can be done."""
    first = changer.note("first")
    second = changer.note("second", amends=first)
    named = (ids.format_digest(first.leaf_hash),)
    parts = (Parts(named[0], ("body",)),)
    back = changer.change("rollback/1", Rollback(named, second.index))
    yield changer.change("rollback/1", Rollback(named, back.index))
    yield changer.change("redaction/1", Redact(parts))
    yield changer.change("redaction/1", Unredact(parts))
    for action in ("hold", "release"):
        yield changer.change("hold/1", {"action": action, "targets": named, "case": "case-1"})
    yield changer.change("hold/1", Hold("hold", named, "case-2"))
    changed = (Parts(ids.format_digest(second.leaf_hash), ("body",)),)
    yield changer.change("erasure/1", Erasure(changed, "request"))


def main(work: Work) -> None:
    replica = Replica(work.database_url, work.memory_url)
    replica.ledgers.eraser.close()  # Places are reached by what is counted here, and no more.
    changer = Changer(replica.ledgers.get(LEDGER), Diary(work))
    while True:
        for _ in change_once(changer):
            pass


if __name__ == "__main__":
    main(Work(**json.loads(sys.argv[1])))
