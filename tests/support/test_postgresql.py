"""The PostgreSQL that tests run on is a real one, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from tests.support.postgresql import Server, copy_programs, installations, postgresql


def value(server: Server, database: str, query: str) -> object:
    with server.connect(database) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


@pytest.mark.parametrize("programs", list(installations()), ids=lambda path: path.parent.name)
def test_every_postgresql_found_here_starts_and_leaves_nothing_behind(programs: Path) -> None:
    with postgresql(programs=programs) as server:
        assert str(value(server, "postgres", "SELECT version()")).startswith("PostgreSQL")
        assert value(server, "postgres", "SHOW listen_addresses") == ""
    assert not server.folder.exists()
    with pytest.raises(psycopg.OperationalError):
        server.connect()


def test_programs_that_only_root_can_reach_are_run_all_the_same(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with postgresql(programs=copy_programs(list(installations())[-1], closed)) as server:
        assert value(server, "postgres", "SELECT 1") == 1


def test_a_database_is_real_and_fresh(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mark (n INTEGER)"))
        connection.execute(text("INSERT INTO mark VALUES (42)"))
    with engine.begin() as connection:
        assert connection.execute(text("SELECT n FROM mark")).scalar_one() == 42
    engine.dispose()


def test_two_databases_do_not_see_each_other(postgresql_server: Server) -> None:
    one, two = postgresql_server.create_database(), postgresql_server.create_database()
    with postgresql_server.connect(one) as connection:
        connection.execute("CREATE TABLE mark (n INTEGER)")
    assert value(postgresql_server, two, "SELECT to_regclass('mark')") is None
    copy = postgresql_server.create_database(template=one)
    assert value(postgresql_server, copy, "SELECT to_regclass('mark')") == "mark"
    for name in (one, two, copy):
        postgresql_server.drop_database(name)


def test_a_database_is_dropped_from_under_open_connections(postgresql_server: Server) -> None:
    name = postgresql_server.create_database()
    with postgresql_server.connect(name) as left_open:
        postgresql_server.drop_database(name)
        with pytest.raises(psycopg.OperationalError):
            left_open.execute("SELECT 1")


def test_a_durable_server_keeps_what_was_committed_before_a_crash() -> None:
    with postgresql(fsync=True) as server:
        assert value(server, "postgres", "SHOW fsync") == "on"
        assert value(server, "postgres", "SHOW synchronous_commit") == "on"
        with server.connect() as connection:
            connection.execute("CREATE TABLE mark (n INTEGER)")
            connection.execute("INSERT INTO mark VALUES (42)")
        server.crash()
        server.start()
        assert value(server, "postgres", "SELECT n FROM mark") == 42


def test_the_server_ends_with_the_tests_even_when_they_are_killed() -> None:
    script = """
import time
from tests.support.postgresql import postgresql
with postgresql() as server:
    print(server.folder, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().decode().strip())
        assert (folder / "data").is_dir()
        process.kill()
    deadline = time.monotonic() + 30
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
