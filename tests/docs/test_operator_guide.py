"""docs/guides/operator.md is true where it can cost somebody a ledger: the restricted role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import psycopg
import pytest
from sqlalchemy.engine import make_url

from ledger_core.backups import back_up, restore
from ledger_core.cosigner import Cosigner
from ledger_core.errors import InconsistentError
from ledger_core.keyring import Keyring
from ledger_core.keystore.database import DatabaseKeyStore
from ledger_core.ledgers import Ledgers
from ledger_core.storage import cosignatures
from ledger_core.storage.cosignatures import NO_LEDGER, Trouble
from ledger_core.storage.database import open_database
from ledger_core.storage.guards import check_guards
from ledger_core.storage.signer_memory import Signed, SignerMemory
from ledger_core.storage.tokens import Tokens
from tests.docs.pages import blocks, read
from tests.support.backups import begin_epoch
from tests.support.ledgers import SECRET, a_service, append_notes, register
from tests.support.logs import OtherLog
from tests.support.postgresql import Server, installations

PAGE: Final = read("docs/guides/operator.md")
(GRANTS,) = [each.text for each in blocks(PAGE) if each.language == "sql"]
ROLE: Final = "ledgergrid_service"
HISTORY: Final = (
    "UPDATE entries SET leaf = ''",
    "DELETE FROM entries",
    "DELETE FROM payloads",
    "UPDATE payloads SET data = ''",
    "UPDATE tiles SET hashes = ''",
    "DELETE FROM checkpoints",
    "UPDATE ledgers SET name = 'other'",
    "DELETE FROM heads",
    "UPDATE heads SET size = size - 1",
    "TRUNCATE entries",
    "ALTER TABLE entries DISABLE TRIGGER ALL",
    "DROP TABLE payloads",
    "DROP FUNCTION refuse_change CASCADE",
)

WITNESSED: Final = (
    "UPDATE cosignatures SET line = ''",
    "DELETE FROM cosignatures",
    "DELETE FROM witnessed",
    "UPDATE cosigned SET size = 1",
    "DELETE FROM cosigned",
    "DELETE FROM equivocations",
    "TRUNCATE cosigned",
)


@pytest.fixture
def restricted_url(postgresql_server: Server) -> Iterator[str]:
    """Make the tables as their owner, and give the URL of the guide's role."""
    name = postgresql_server.create_database()
    with closing(open_database(postgresql_server.url(name))) as owner:
        owner.migrate()
    with postgresql_server.connect(name) as connection:
        connection.autocommit = True
        for statement in GRANTS.replace("DATABASE ledgergrid", f"DATABASE {name}").split(";\n"):
            connection.execute(statement.encode())
    url = make_url(postgresql_server.url(name)).set(username=ROLE, password="choose-one")
    yield url.render_as_string(hide_password=False)
    with postgresql_server.connect(name) as connection:
        connection.execute(f"DROP OWNED BY {ROLE} CASCADE".encode())
        connection.execute(f"DROP ROLE {ROLE}".encode())
    postgresql_server.drop_database(name)


def test_the_restricted_role_serves_and_cannot_rewrite_history(
    restricted_url: str, tmp_path: Path
) -> None:
    with (
        closing(open_database(restricted_url)) as database,
        closing(open_database(f"sqlite:///{tmp_path / 'signer.db'}")) as memory,
        closing(
            Ledgers(
                database,
                SignerMemory(memory),
                Keyring(SECRET),
                DatabaseKeyStore(f"sqlite:///{tmp_path / 'keys.db'}"),
            )
        ) as ledgers,
    ):
        database.migrate()
        ledgers.start()
        ledger = ledgers.create("main")
        append_notes(ledger, register(ledger), 300)
        assert ledger.wait_until_searchable(302, 10) == 302
        assert b"".join(ledger.export(0, None, "an auditor"))
        Tokens(database).create("reader", "reader")
        Tokens(database).revoke("reader")
        check_guards(database)
        assert [attempt for attempt in HISTORY if succeeds(attempt, restricted_url)] == []


def test_the_restricted_role_can_be_a_witness_and_be_witnessed(restricted_url: str) -> None:
    log = OtherLog()
    signers = Keyring(SECRET).witness_signers("witness.example")
    with closing(open_database(restricted_url)) as database:
        witness = Cosigner(database, signers, {log.origin: [log.key]})
        witness.add_checkpoint(log.request(0, 5))
        witness.add_checkpoint(log.request(5, 9))
        with pytest.raises(InconsistentError):
            witness.add_checkpoint(OtherLog(fork_at=3).request(9, 9))
        assert len(witness.equivocations()) == 1
        for error in ("away", ""):
            with database.write() as tx:
                cosignatures.put_error(tx, Trouble(NO_LEDGER, bytes(32), error, 1))
        assert [attempt for attempt in WITNESSED if succeeds(attempt, restricted_url)] == []


def test_the_restricted_role_backs_up_and_opens_an_epoch(
    restricted_url: str,
    postgresql_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(next(installations())), prepend=":")
    with a_service(restricted_url, tmp_path) as service:
        replica = service.open()
        ledger = replica.ledgers.create("main")
        append_notes(ledger, register(ledger), 2)
        back_up(replica.database, tmp_path / "backup", service.clock)
        origin, size = ledger.origin, ledger.size()
        ledger.checkpoint()
        known = replica.memory.recall(origin)
        assert replica.memory.advance(origin, known, Signed(size + 3, bytes(32)))
        _, ledger = begin_epoch(service)
        assert ledger.origin == f"{origin}/epoch/2"
    name = postgresql_server.create_database()
    restore(tmp_path / "backup", postgresql_server.url(name))
    postgresql_server.drop_database(name)


def succeeds(statement: str, url: str) -> bool:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        try:
            connection.execute(statement.encode())
        except psycopg.Error:
            return False
        finally:
            connection.rollback()
    return True


def test_every_metric_and_path_named_is_there() -> None:
    sources = read("api/metrics.py") + read("api/routes/health.py")
    names = re.findall(r"`ledgergrid_([a-z_]+?)(?:_total)?(?:\{\w+\})?`", PAGE)
    assert [name for name in names if name != "views" and f'"{name}"' not in sources] == []
    assert [
        path for path in ("/healthz", "/readyz", "/metrics") if f'"{path}"' not in sources
    ] == []
