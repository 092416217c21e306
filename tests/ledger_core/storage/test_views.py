"""Views: found by every filter, page by page; thrown away and filled again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from ledger_core import ids
from ledger_core.errors import IntegrityError, MalformedError
from ledger_core.ledger import Ledger
from ledger_core.policy.visibility import NOBODY, OPERATOR, Reader
from ledger_core.records.rules import MutabilitySetting
from ledger_core.records.types.charter import Founding
from ledger_core.records.types.hold import Hold
from ledger_core.storage.search import EntryQuery
from ledger_core.storage.view_tables import SCHEMA
from tests.support.ledgers import (
    START_MS,
    Author,
    Replica,
    Service,
    a_service,
    append_notes,
    appended,
    register,
)
from tests.support.tampering import drop_guards


def found(ledger: Ledger, **query: Any) -> list[int]:
    """Search once the views have caught up."""
    size = ledger.size()
    assert ledger.wait_until_searchable(size, 30) >= size
    page = ledger.search(EntryQuery(**query))
    assert page.size >= size
    return list(page.indexes)


def call(author: Author, model: str, cost: int) -> Any:
    body = {
        "action_id": f"call-{cost}",
        "timestamp": "2026-08-01T10:11:12.345Z",
        "provider": "openai",
        "model_id": model,
        "cost_microusd": cost,
    }
    return author.seal("llm.call/1", {"call": msgspec.json.encode(body)})


def test_entries_are_found_by_each_filter_and_by_all_of_them(
    service: Service, ledger: Ledger, author: Author
) -> None:
    other = register(ledger)
    first = appended(ledger.append([author.note("a", stream=("run-1", 0))])[0])
    service.clock.now_ms += 1_000
    ledger.append([other.note("b", stream=("run-2", 0)), other.note("c", stream=("run-1", 1))])
    refers = author.note("d", refs=[("causes", first.leaf_hash), ("answers", first.leaf_hash)])
    ledger.append([refers])
    assert found(ledger, type="note/1") == [3, 4, 5, 6]
    assert found(ledger, type="key/1") == [1, 2]
    assert found(ledger, author=other.name) == [4, 5]
    assert found(ledger, stream="run-1") == [3, 5]
    assert found(ledger, stream="run-1", author=author.name, type="note/1") == [3]
    assert found(ledger, leaf_hash=first.leaf_hash) == [3]
    assert found(ledger, ref=first.leaf_hash) == [6]
    assert found(ledger, received_from=START_MS + 1) == [4, 5, 6]
    assert found(ledger, received_to=START_MS + 1) == [0, 1, 2, 3]
    assert found(ledger, received_from=START_MS, received_to=START_MS) == []
    assert found(ledger, type="nothing/1") == []


def test_entries_are_found_by_the_columns_of_their_type(ledger: Ledger, author: Author) -> None:
    ledger.append([call(author, "small", 5), call(author, "large", 7), call(author, "small", 7)])
    assert found(ledger, type="llm.call/1", columns={"model_id": "small"}) == [2, 4]
    assert found(ledger, type="llm.call/1", columns={"cost_microusd": 7}) == [3, 4]
    both: dict[str, str | int] = {"model_id": "small", "cost_microusd": 7}
    assert found(ledger, type="llm.call/1", columns=both) == [4]


@pytest.mark.parametrize(
    ("type_name", "column"),
    [(None, "model_id"), ("note/1", "model_id"), ("llm.call/1", "index"), ("llm.call/1", "x; --")],
)
def test_a_column_that_no_view_has_is_refused(
    ledger: Ledger, type_name: str | None, column: str
) -> None:
    with pytest.raises(MalformedError):
        ledger.search(EntryQuery(type=type_name, columns={column: 1}))


@pytest.mark.parametrize("descending", [False, True])
def test_pages_follow_each_other_and_stay_where_they_were_when_the_log_grows(
    ledger: Ledger, author: Author, descending: bool
) -> None:
    append_notes(ledger, author, 20)
    expected = found(ledger, type="note/1", descending=descending, limit=100)
    assert expected == sorted(range(2, 22), reverse=descending)
    seen: list[int] = []
    after: int | None = None
    while True:
        page = ledger.search(EntryQuery(type="note/1", after=after, limit=7, descending=descending))
        seen += page.indexes
        after = page.next
        if after is None:
            break
        assert after == page.indexes[-1]
        if len(seen) == 7 and descending:
            append_notes(ledger, author, 3)
    assert seen == expected


def about(ledger: Ledger, subject: str, reader: Reader = OPERATOR, **page: Any) -> list[int]:
    size = ledger.size()
    assert ledger.wait_until_searchable(size, 30) >= size
    given = {"after": None, "limit": 100} | page
    return list(ledger.search_subject(subject, reader, **given).indexes)


def test_entries_are_found_by_what_they_are_about(ledger: Ledger, author: Author) -> None:
    body = {"decision": "route", "chosen": "north", "session_id": "s1"}
    long, unseen = "x" * 513, "order:\u202e7"
    ledger.append(
        [
            author.note({"subject": "order:7"}),
            author.note({"subject": 7}),
            author.note("order:7"),
            author.note({"subject": long}),
            author.note({"subject": unseen}),
            author.seal("agent.decision/1", {"body": msgspec.json.encode(body)}),
            author.note({"subject": "order:7"}),
        ]
    )
    assert about(ledger, "order:7") == [2, 8]
    assert about(ledger, "order:7", after=2) == [8]
    assert about(ledger, "order:7", limit=1) == [2]
    assert about(ledger, "session:s1") == [7]
    assert about(ledger, long) == about(ledger, unseen) == about(ledger, "7") == []
    assert about(ledger, "order:7", NOBODY) == []


def test_the_register_has_changes_by_kind_and_by_what_they_name(service: Service) -> None:
    setting = MutabilitySetting(type="note/1", amend=("author",), hold=("author",))
    ledger = service.open().ledgers.create("main", founding=Founding(mutability=(setting,)))
    author = register(ledger)
    first = appended(ledger.append([author.note("a")])[0])
    ledger.append([author.note("b", refs=[("amends", first.leaf_hash)])])
    hold = msgspec.json.encode(Hold("hold", (ids.format_digest(first.leaf_hash),), "case-1"))
    ledger.append([author.seal("hold/1", {"body": hold})])
    assert ledger.wait_until_searchable(ledger.size(), 30)

    def changes(kind: str | None = None, target: bytes | None = None) -> list[int]:
        page = ledger.search_changes(kind, target, OPERATOR, after=None, limit=100)
        return list(page.indexes)

    assert changes() == changes(target=first.leaf_hash) == [3, 4]
    assert (changes("amendment"), changes("hold"), changes("erasure")) == ([3], [4], [])
    assert changes(target=bytes(32)) == []
    # Amendments have the audience of their type, other changes are governance.
    page = ledger.search_changes(None, None, NOBODY, after=None, limit=100)
    assert list(page.indexes) == [4]


def test_another_definition_of_the_views_makes_them_anew(service: Service) -> None:
    replica = service.open()
    ledger = replica.ledgers.create("main")
    append_notes(ledger, register(ledger), 5)
    assert found(ledger, type="note/1") == [2, 3, 4, 5, 6]
    forget_version(replica)
    ledger = service.reopen().ledgers.get("main")
    assert found(ledger, type="note/1") == [2, 3, 4, 5, 6]


def forget_version(replica: Replica) -> None:
    """Make the views look like another version's, with a table that this one does not have."""
    prefix = f"{SCHEMA}." if replica.database.dialect.name == "postgresql" else ""
    with replica.database.use_views(write=True) as tx:
        tx.execute(text(f"UPDATE {prefix}version SET version = 'of yesterday'"))
        tx.execute(text(f"CREATE TABLE {prefix}yesterday (n INTEGER)"))
        tx.execute(text(f"DELETE FROM {prefix}entry_view"))


def test_views_of_a_longer_history_than_the_log_are_filled_again(service: Service) -> None:
    """As after a restored backup: the views beside it know entries that never were."""
    replica = service.open()
    for name in ("one", "two"):
        ledger = replica.ledgers.create(name)
        append_notes(ledger, register(ledger), 5)
        assert found(ledger, type="note/1") == [2, 3, 4, 5, 6]
    prefix = f"{SCHEMA}." if replica.database.dialect.name == "postgresql" else ""
    service.close()
    replica = service.open()
    with replica.database.use_views(write=True) as tx:
        tx.execute(text(f"UPDATE {prefix}progress SET size = 1000"))
        tx.execute(text(f'UPDATE {prefix}entry_view SET "index" = "index" + 500'))
    replica = service.reopen()
    for name in ("one", "two"):
        assert found(replica.ledgers.get(name), type="note/1") == [2, 3, 4, 5, 6]


def test_a_ledger_whose_payload_was_changed_holds_up_no_other_ledgers_views(
    service: Service,
) -> None:
    replica = service.open()
    bad, good = replica.ledgers.create("bad"), replica.ledgers.create("good")
    replica.ledgers.close()
    author = register(bad)
    bad.append([call(author, "small", 1)])
    append_notes(good, register(good), 3)
    with replica.database.write() as tx:
        drop_guards(tx)
        cut = 'UPDATE entries SET leaf = substr(leaf, 1, 100) WHERE "index" = 2 AND ledger_id = 1'
        tx.execute(text(cut))
    replica = service.reopen()
    assert found(replica.ledgers.get("good"), type="note/1") == [2, 3, 4]
    assert replica.ledgers.follower.failure is not None


def test_a_damaged_file_of_views_is_made_anew(sqlite_url: str, tmp_path: Path) -> None:
    with a_service(sqlite_url, tmp_path) as service:
        replica = service.open()
        ledger = replica.ledgers.create("main")
        append_notes(ledger, register(ledger), 3)
        path = Path(str(replica.database.views.url.database))
        service.close()
        path.write_bytes(b"no database" * 1000)
        again = service.open().ledgers.get("main")
        assert found(again, type="note/1") == [2, 3, 4]


def test_a_ledger_whose_kind_was_changed_by_hand_is_not_opened(
    service: Service, ledger: Ledger
) -> None:
    replica = service.open()
    with replica.database.write() as tx:
        drop_guards(tx)
        tx.execute(text("UPDATE ledgers SET kind = 'public'"))
    with pytest.raises(IntegrityError, match="charter says otherwise"):
        service.reopen().ledgers.get(ledger.name)
