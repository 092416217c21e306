"""Migrations that fill what they make: from entries that were there before."""

from __future__ import annotations

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import select, text

from ledger_core.storage import tables as t
from migrations.versions import v0008_streams
from tests.support.ledgers import Author, Replica, Service, appended, register


def counters(replica: Replica) -> list[tuple[int, bytes, int]]:
    c = t.counters.c
    with replica.database.read() as tx:
        rows = tx.execute(select(c.ledger_id, c.counter, c.index).order_by(c.ledger_id, c.index))
        return [(ledger, bytes(counter), index) for ledger, counter, index in rows]


def test_numbers_given_before_there_were_counters_are_noted_at_their_first_entry(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v0008_streams, "_AT_ONCE", 3)
    replica = service.open()
    for name in ("main", "other"):
        ledger = replica.ledgers.create(name)
        author = register(ledger)
        ledger.append([author.note(stream=("run", n)) for n in (1, 2, 1, 2**53 - 1)])
        ledger.append([author.note('"stream":'), author.note(stream=("walk", 1))])
        operator, body = register(ledger, "operator"), Author(ledger.origin).registration()
        appended(ledger.append([operator.seal("key/1", {"body": body}, stream=("run", 9))])[0])
    before = counters(replica)
    assert len(before) == 8
    with replica.database.engine.begin() as connection:
        connection.execute(text("DROP TABLE counters"))
        with Operations.context(MigrationContext.configure(connection)):
            v0008_streams.upgrade()
    assert counters(replica) == before
