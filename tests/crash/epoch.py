"""The process that gets killed while it opens an epoch: ``python -m tests.crash.epoch URL URL``."""

from __future__ import annotations

import sys
from pathlib import Path

from ledger_core.epochs import open_epoch
from ledger_core.records.types.epoch import parse_statement, sign_statement
from tests.support.backups import operator_key, standstill
from tests.support.ledgers import Replica


def main(database_url: str, memory_url: str, file: Path) -> None:
    replica = Replica(database_url, memory_url)
    statement = parse_statement(file.read_bytes())
    key = operator_key(replica.ledgers.get("main"))
    open_epoch(standstill(replica), "main", statement, [sign_statement(statement, key)])
    replica.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
