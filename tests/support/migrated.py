"""Databases that have our tables already: copies of one that was migrated, which takes longer."""

from __future__ import annotations

import functools
import tempfile
from contextlib import closing
from pathlib import Path

from ledger_core.storage.database import open_database


def migrate(url: str) -> None:
    with closing(open_database(url)) as database:
        database.migrate()


def lay_migrated(file: Path) -> None:
    """Make a SQLite database as it is after its migration."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_bytes(_migrated())
    file.chmod(0o600)


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        migrate(f"sqlite:///{file}")
        assert not file.with_name("ledger.db-wal").exists()
        return file.read_bytes()
