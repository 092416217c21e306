"""Copies of a whole database: taken while it is in use, loaded into an empty place.

SQLite copies itself, page by page, as of one moment. PostgreSQL's own programs do it: pg_dump in a
snapshot that this process holds, so that what is read here is what is written there.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from psycopg.conninfo import make_conninfo
from sqlalchemy import inspect

from ledger_core.errors import IntegrityError, NotFoundError, SettingsError, StorageError
from ledger_core.storage.database import Database, Transaction, telling
from ledger_core.storage.tables import metadata
from ledger_core.storage.view_tables import SCHEMA

_PAGES_AT_ONCE = 1_000
_COMPLAINT_CHARS = 500

Kind = Literal["sqlite", "postgresql"]


def kind_of(database: Database) -> Kind:
    return "sqlite" if database.dialect.name == "sqlite" else "postgresql"


def check_empty(database: Database) -> None:
    """Raise :class:`SettingsError` if there is anything in a database already."""
    if database.dialect.name == "sqlite":
        file = Path(str(database.engine.url.database))
        views = Path(str(database.views.url.database))
        for path in (file, Path(f"{file}-wal"), views):
            if path.exists():
                raise SettingsError(f"{path} is there already: a backup is restored where none is")
        return
    with telling(), database.engine.connect() as connection:
        look = inspect(connection)
        if look.get_table_names() or SCHEMA in look.get_schema_names():
            raise SettingsError("this database has tables: a backup is restored into an empty one")


# --- SQLite ------------------------------------------------------------------------


def copy_sqlite(database: Database, target: Path) -> None:
    """Copy the database as of one moment, while others write to it; check what was written."""
    with (
        telling(),
        closing(sqlite3.connect(str(database.engine.url.database))) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy, pages=_PAGES_AT_ONCE)
        [found] = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise IntegrityError(f"the copy of the database is damaged: {found}")


def load_sqlite(file: Path, database: Database) -> None:
    """Put a copy where the database belongs, whole and durable before it has its name."""
    target = Path(str(database.engine.url.database))
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unnamed = target.with_name(f"{target.name}.restoring")
    shutil.copyfile(file, unnamed)
    unnamed.chmod(0o600)
    sync(unnamed)
    unnamed.rename(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Have a file or folder on disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- PostgreSQL --------------------------------------------------------------------


@contextmanager
def snapshot(database: Database) -> Iterator[tuple[Transaction, str]]:
    """Hold a snapshot that pg_dump can share; give it and its name."""
    engine = database.engine.execution_options(isolation_level="REPEATABLE READ")
    with telling(), engine.connect() as tx:
        yield tx, str(tx.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one())


def dump_postgresql(tx: Transaction, snapshot_name: str, target: Path) -> None:
    """Write ground truth, as of a snapshot, in pg_dump's own format; list what was written."""
    _run(
        "pg_dump",
        tx,
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        f"--snapshot={snapshot_name}",
        f"--exclude-schema={SCHEMA}",
        f"--file={target}",
    )
    listed = _run("pg_restore", None, "--list", str(target))
    missing = [name for name in metadata.tables if f" TABLE DATA public {name} " not in listed]
    if missing:
        raise IntegrityError(f"the dump has no table {missing[0]}")


def load_postgresql(file: Path, database: Database) -> None:
    """Load a dump in one transaction."""
    with telling(), database.engine.connect() as tx:
        _run(
            "pg_restore",
            tx,
            "--no-owner",
            "--no-privileges",
            "--exit-on-error",
            "--single-transaction",
            str(file),
        )


def _run(program: str, tx: Transaction | None, *arguments: str) -> str:
    """Run one of PostgreSQL's programs; the password goes by the environment."""
    found = shutil.which(program)
    if found is None:
        raise NotFoundError(f"{program} is not on the PATH: install PostgreSQL's client programs")
    environment = dict(os.environ)
    options: list[str] = []
    if tx is not None:
        url = tx.engine.url
        parameters = url.translate_connect_args(username="user", database="dbname")
        password = parameters.pop("password", None)
        options = [f"--dbname={make_conninfo(**(parameters | dict(url.query)))}"]
        if password is not None:
            environment["PGPASSWORD"] = password
    done = subprocess.run(
        [found, *options, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
        raise StorageError(f"{program}: {complaint[:_COMPLAINT_CHARS]}")
    return done.stdout.decode(errors="replace")
