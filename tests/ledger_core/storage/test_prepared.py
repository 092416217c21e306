"""Prepared statements: the driver runs them, in SQLAlchemy's transactions and with its errors."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from ledger_core.errors import StorageError
from ledger_core.storage import store
from ledger_core.storage import tables as t
from ledger_core.storage.database import Database, Transaction
from ledger_core.storage.prepared import Among, Prepared, query_all, sent_at_once
from tests.support.ledgers import Service

_c = t.tokens.c
ADD = Prepared(insert(t.tokens))
FIND = Prepared(
    select(_c.name).where(Among(_c.name, "names"), _c.role == bindparam("of")).order_by(_c.name),
    lists=["names"],
)

REVOKE = Prepared(update(t.tokens).where(_c.name == bindparam("of")).values(role=bindparam("to")))


@pytest.fixture
def database(service: Service) -> Database:
    return service.open().database


def put(tx: Transaction, name: str, digest: bytes | None = None) -> int:
    values = {"role": "reader", "ledger": None, "created_at": 0, "revoked_at": None, "party": None}
    return ADD.run(tx, name=name, digest=digest or name.encode(), **values)


def add(database: Database, *names: str) -> None:
    with database.write() as tx:
        for name in names:
            assert put(tx, name) == 1


def find(database: Database, *names: str) -> list[str]:
    with database.read() as tx:
        return [row[0] for row in FIND.rows(tx, names=list(names), of="reader")]


def test_lists_of_any_length_are_looked_up_and_few_lengths_are_compiled(
    database: Database,
) -> None:
    everyone = [f"{number:03d}" for number in range(40)]
    add(database, *everyone)
    assert find(database) == []
    for count in range(1, 41):
        assert find(database, *everyone[:count], "nobody") == everyone[:count]
    compiled = [key for key in FIND._compiled if key[0] == database.dialect.name]
    assert len(compiled) <= 8


def test_what_is_changed_before_an_error_is_taken_back(database: Database) -> None:
    def fail() -> None:
        with database.write() as tx:
            put(tx, "a")
            raise StorageError("no")

    with pytest.raises(StorageError):
        fail()
    assert find(database, "a") == []


def test_what_the_database_refuses_is_told_like_any_other_error(database: Database) -> None:
    def fail(together: bool) -> None:
        with database.write() as tx:
            if not together:
                put(tx, "b", b"a")
            with sent_at_once(tx):
                put(tx, "b", b"a")
                put(tx, "c")

    add(database, "a")
    for together in (False, True):
        with pytest.raises(StorageError) as error:
            fail(together)
        assert isinstance(error.value.__cause__, IntegrityError)
    assert find(database, "a", "b", "c") == ["a"]


def test_changes_sent_at_once_are_all_made_and_none_of_a_block_that_was_left(
    database: Database,
) -> None:
    add(database, "a", "b")
    with database.write() as tx:
        with sent_at_once(tx):
            pass
        with sent_at_once(tx):
            put(tx, "c")
        with sent_at_once(tx):
            put(tx, "d")
            REVOKE.run(tx, of="a", to="none")
            put(tx, "e")
            REVOKE.run(tx, of="b", to="none")
        put(tx, "f")
    assert find(database, *"abcdef") == [*"cdef"]

    def leave() -> None:
        with database.write() as tx:
            put(tx, "g")
            with sent_at_once(tx):
                put(tx, "h")
                raise StorageError("no")

    with pytest.raises(StorageError):
        leave()
    add(database, "i")
    assert find(database, *"cghi") == ["c", "i"]


def test_queries_sent_at_once_answer_in_order_and_an_error_is_told(database: Database) -> None:
    add(database, "a", "b")
    with database.read() as tx:
        asked = [FIND.bind(tx, names=[name], of="reader") for name in ("b", "nobody", "a")]
        assert query_all(tx, asked) == [[("b",)], [], [("a",)]]
        assert FIND.row(tx, names=["b"], of="reader") == ("b",)
        assert FIND.row(tx, names=["b"], of="admin") is None
    with pytest.raises(StorageError), database.read() as tx:
        query_all(tx, [FIND.bind(tx, names=["a"], of="reader"), ("SELECT nothing FROM no", ())])


def test_connections_that_the_server_closed_cost_one_error(database: Database) -> None:
    if database.dialect.name != "postgresql":
        pytest.skip("SQLite has no server")
    add(database, "a")
    end_all = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with database.read(), database.read():
        pass
    with database.engine.connect() as ender:
        ender.exec_driver_sql(end_all)
        with pytest.raises(StorageError):
            find(database, "a")
        assert [find(database, "a") for _ in range(5)] == [["a"]] * 5


def test_a_query_by_itself_sees_what_was_committed_last_and_holds_nothing(
    database: Database,
) -> None:
    add(database, "a")
    assert database.look(FIND, names=["a", "b"], of="reader") == [("a",)]
    add(database, "b")
    found = database.look(FIND, names=["a", "b"], of="reader")
    assert sorted(found) == [("a",), ("b",)]
    assert database.dialect.name != "sqlite" or database.empty_log()


def test_a_query_by_itself_whose_connection_the_server_closed_costs_one_error(
    database: Database,
) -> None:
    if database.dialect.name != "postgresql":
        pytest.skip("SQLite has no server")
    add(database, "a")
    assert database.look(FIND, names=["a"], of="reader") == [("a",)]
    with database.engine.connect() as ender:
        ender.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(StorageError):
            database.look(FIND, names=["a"], of="reader")
        for _ in range(3):
            assert database.look(FIND, names=["a"], of="reader") == [("a",)]


def test_looking_up_a_list_reads_an_index_and_not_all_of_a_table(database: Database) -> None:
    """Found when a planner was given ``… IN (…) = 1`` and read every entry for every batch."""
    record_ids = [bytes([n]) * 16 for n in range(3)]
    with database.read() as tx:
        text, values = store._FIND_RECORDS.bind(tx, ledger=1, record_ids=record_ids)
        if tx.dialect.name == "postgresql":
            tx.exec_driver_sql("SET enable_seqscan = off")
            plan = query_all(tx, [(f"EXPLAIN {text}", values)])[0]
            assert "record_id = ANY" in str([row for row in plan if "Index Cond" in row[0]])
        else:
            plan = query_all(tx, [(f"EXPLAIN QUERY PLAN {text}", values)])[0]
            assert "(ledger_id=? AND record_id=?)" in plan[0][-1]
