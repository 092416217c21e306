"""One service's database: ground truth, and beside it the views that can be thrown away."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ledger_core.errors import OutcomeUnknownError, ReadOnlyError, SettingsError, StorageError
from ledger_core.storage import postgresql, sqlite
from ledger_core.storage.prepared import Prepared, Row, commit, query_alone

_KEPT_WRITERS = 4
_EMPTY_S = 30.0
_EMPTY_AGAIN_S = 0.02

Transaction = Connection
"""What functions of ``storage`` work in; other rooms pass it on without looking inside."""

Dialect = sqlite.Sqlite | postgresql.Postgresql


class Database:
    """Engines and transactions; on SQLite the views are a file of their own."""

    def __init__(self, engine: Engine, views: Engine, dialect: Dialect) -> None:
        self.engine = engine
        self.views = views
        self.dialect = dialect
        self._broken: ReadOnlyError | None = None
        # Connections that wrote last, kept by themselves. On SQLite it is one, used under the write
        # lock alone: what it has in its page cache stays good, while a connection that others used
        # meanwhile reads all of it again. Taking one out of the pool costs as much as some queries.
        self._writers: list[Connection] = []
        # Guards _looker, and whatever is asked on it.
        self._looking = threading.Lock()
        self._looker: Connection | None = None

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Run reads in one transaction."""
        with telling(), self.engine.connect() as connection:
            yield connection

    def look(self, query: Prepared, **values: Any) -> list[Row]:
        """Run one small query by itself, on a connection that is kept for that.

        To take a connection, begin and end a transaction costs several times what the query does.
        """
        with telling(), self._looking:
            looker = self._looker = self._looker or self._open_looker()
            try:
                return query_alone(looker, *query.bind(looker, **values))
            except BaseException:
                self._looker = None
                looker.close()
                raise

    def _open_looker(self) -> Connection:
        connection = self.engine.connect()
        if self.dialect.has_one_writer:
            return connection  # SQLite's driver begins nothing by itself.
        return connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Run one write transaction; it commits when the block ends without an error.

        Raises :class:`StorageError` if nothing was stored, :class:`OutcomeUnknownError` if the
        commit itself broke off, :class:`ReadOnlyError` after the disk failed in a commit.
        """
        with self.dialect.write_lock(), telling():
            if self._broken is not None:
                raise self._broken
            writer = self._take_writer()
            try:
                self.dialect.begin_write(writer)
                yield writer
                self._commit(writer)
            except BaseException:
                # Whatever went wrong, the next one begins with a connection of its own.
                is_lost = writer.invalidated
                writer.close()
                if is_lost:
                    self._close_writers()
                raise
            if len(self._writers) < _KEPT_WRITERS:
                self._writers.append(writer)
            else:
                writer.close()

    def _take_writer(self) -> Connection:
        try:
            return self._writers.pop()
        except IndexError:
            return self.engine.connect().execution_options(write=True)

    def _close_writers(self) -> None:
        with suppress(IndexError):
            while True:
                writer = self._writers.pop()
                writer.invalidate()
                writer.close()

    @contextmanager
    def use_views(self, *, write: bool = False) -> Iterator[Transaction]:
        """Run one transaction on the views; it commits when the block ends without an error."""
        with telling(), self.views.connect().execution_options(write=write) as connection:
            yield connection
            connection.commit()

    @contextmanager
    def filling(self) -> Iterator[bool]:
        """Say whether this process alone may fill the views meanwhile.

        Spares the others work that only one of them could store; what keeps the views right
        is the transaction that fills them. Whoever dies lets another one go on.
        """
        with telling(), self.dialect.filling(self.views) as is_ours:
            yield is_ours

    @contextmanager
    def indexing(self) -> Iterator[bool]:
        """Say whether this process alone may fill the full text meanwhile.

        Whoever erases holds it as well, so that nothing read before comes in behind that.
        """
        with telling(), self.dialect.indexing(self.views) as is_ours:
            yield is_ours

    @contextmanager
    def witnessing(self) -> Iterator[bool]:
        """Say whether this process alone may ask witnesses meanwhile.

        Spares witnesses the same question from several processes; what keeps their answers right
        is the witness. Whoever dies lets another one go on.
        """
        with telling(), self.dialect.witnessing(self.engine) as is_ours:
            yield is_ours

    @contextmanager
    def erasing(self) -> Iterator[bool]:
        """Say whether this process alone may carry out orders to erase meanwhile.

        Spares the others work that is done anyway; what keeps it right is that every step of it
        can be done again. Whoever dies lets another one go on.
        """
        with telling(), self.dialect.erasing(self.engine) as is_ours:
            yield is_ours

    def _commit(self, connection: Connection) -> None:
        try:
            commit(connection)
        except DBAPIError as error:
            if self.dialect.is_broken_by(error.orig):
                # What a failed fsync left on the disk nobody knows; trying again would hide it.
                self._broken = ReadOnlyError(
                    f"the disk failed in a commit ({error.orig}): see to it, then restart"
                )
            raise OutcomeUnknownError(f"the commit broke off: {error.orig}") from error

    def remove_damaged_views(self, error: StorageError) -> bool:
        """Remove the file of the views if ``error`` says that it is damaged; say whether."""
        path = self.views.url.database
        cause = error.__cause__
        original = cause.orig if isinstance(cause, DBAPIError) else cause
        if self.views is self.engine or path is None or not sqlite.is_damage(original):
            return False
        self.views.dispose()
        for each in (path, f"{path}-wal", f"{path}-shm"):
            Path(each).unlink(missing_ok=True)
        return True

    def migrate(self) -> None:
        """Bring ground truth to the newest schema."""
        with self.dialect.write_lock(), self.engine.connect() as connection:
            config = _alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()

    def check_migrated(self) -> None:
        """Raise :class:`SettingsError` unless the schema is the one this version expects."""
        wanted = ScriptDirectory.from_config(_alembic_config()).get_current_head()
        with self.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        if found != wanted:
            raise SettingsError(f"database schema is {found}, this version needs {wanted}")

    def empty_log(self) -> bool:
        """Write SQLite's write-ahead log back and cut it to nothing; say whether that was done."""
        with self.dialect.write_lock():
            return self._empty(self.engine)

    def rewrite_views(self, tables: Sequence[Table]) -> None:
        """Write views anew without what was deleted from them, in no file of theirs any more.

        On SQLite the whole file; whoever reads from its log keeps that from being emptied, so
        this waits for them.
        """
        if self.dialect.name == "postgresql":
            for table in tables:
                self.vacuum(table, full=True)
            return
        with telling(), self.views.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("VACUUM")
        end_s = time.monotonic() + _EMPTY_S
        while not self._empty(self.views):
            if time.monotonic() > end_s:
                raise StorageError("views were rewritten, but others still read what was there")
            time.sleep(_EMPTY_AGAIN_S)

    def _empty(self, engine: Engine) -> bool:
        with telling(), engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            row = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return bool(row[0] == 0)

    def vacuum(self, table: Table, *, full: bool = False) -> None:
        """Have PostgreSQL free what deleted and changed rows of a table took.

        ``full``: by writing table and indexes anew; the old files are gone then.
        """
        with telling(), self.engine.connect() as connection:
            free = connection.execution_options(isolation_level="AUTOCOMMIT")
            free.exec_driver_sql(f"VACUUM {'FULL ' if full else ''}{table.fullname}")

    def read_schema(self) -> str:
        """Return the revision of the schema; empty if there is none."""
        with telling(), self.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() or ""

    def close(self) -> None:
        self._close_writers()
        if self._looker is not None:
            self._looker.close()
            self._looker = None
        self.engine.dispose()
        self.views.dispose()
        self.dialect.close()


def is_same_place(url: str, other: str) -> bool:
    """Say whether two URLs name the same database, whoever asks and however it is spelled."""
    return _place(make_url(url)) == _place(make_url(other))


def _place(url: URL) -> tuple[str | int | None, ...]:
    if url.get_backend_name() == "sqlite":
        return "sqlite", str(Path(url.database or "").resolve())
    host, port = url.host or str(url.query.get("host", "")), url.port or 5432
    return url.get_backend_name(), host, port, url.database


def open_database(url: str) -> Database:
    """Open ``sqlite:///FILE`` or ``postgresql+psycopg://…`` (also ``postgresql://``)."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sqlite.open_engine(url)
        views_path = Path(str(engine.url.database)).with_suffix(".views.db")
        views = sqlite.open_engine(f"sqlite:///{views_path}", durable=False)
        return Database(engine, views, sqlite.Sqlite(engine))
    if parsed.get_backend_name() == "postgresql":
        url = parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        engine = postgresql.open_engine(url)
        return Database(engine, engine, postgresql.Postgresql())
    raise SettingsError("database URL must begin with sqlite:/// or postgresql://")


def check_schema_known(revision: str) -> None:
    """Raise :class:`SettingsError` for a schema that this version does not know."""
    scripts = ScriptDirectory.from_config(_alembic_config())
    if revision not in {each.revision for each in scripts.walk_revisions()}:
        raise SettingsError(f"database schema {revision[:20]!r} is none that this version knows")


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    config.set_main_option("path_separator", "os")
    return config


class _Telling:
    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, DBAPIError):
            # The statement and its parameters stay out of the message: they hold payloads.
            raise StorageError(f"{type(error.orig).__name__}: {error.orig}") from error
        if isinstance(error, sqlite3.Error | UnicodeDecodeError | PoolTimeoutError):
            # A damaged SQLite file shows when it is opened, and may not even say so in UTF-8.
            raise StorageError(f"{type(error).__name__}: {error}") from error


_TELLING = _Telling()


def telling() -> AbstractContextManager[None]:
    """Turn whatever a database says in the block into :class:`StorageError`."""
    return _TELLING
