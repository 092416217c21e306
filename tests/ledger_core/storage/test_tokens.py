"""Tokens: shown once, stored as digests, revoked for good."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import text

from ledger_core import ids
from ledger_core.errors import ConflictError, MalformedError, NotFoundError
from ledger_core.formats.ed25519 import PrivateKey
from ledger_core.storage.database import Database, open_database
from ledger_core.storage.tokens import Token, Tokens
from tests.support.ledgers import START_MS, TurnedClock


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(open_database(database_url)) as database:
        database.migrate()
        yield database


@pytest.fixture
def tokens(database: Database) -> Tokens:
    return Tokens(database, TurnedClock())


def test_a_token_speaks_for_a_member_or_a_key_or_for_nobody_in_particular(tokens: Tokens) -> None:
    key = ids.format_key(PrivateKey.generate().public_key)
    for name, party in (("one", "acme"), ("two", key), ("three", None)):
        found = tokens.find(tokens.create(name, "reader", party=party))
        assert found is not None
        assert found.party == party
    for wrong in ("Acme", "", "ed25519:short", "a" * 64):
        with pytest.raises(MalformedError):
            tokens.create("four", "reader", party=wrong)


def test_a_token_is_found_by_its_secret_and_by_nothing_else(tokens: Tokens) -> None:
    secret = tokens.create("reader", "reader", "main")
    assert tokens.find(secret) == Token("reader", "reader", "main", START_MS, None)
    for wrong in ("", "lgt_", secret[:-1], secret + "x", secret.upper(), "reader"):
        assert tokens.find(wrong) is None


def test_a_secret_is_nowhere_in_the_database(database: Database, tokens: Tokens) -> None:
    secret = tokens.create("admin", "admin")
    with database.read() as tx:
        assert secret[4:] not in repr(tx.execute(text("SELECT * FROM tokens")).all())


def test_no_two_tokens_have_one_name_or_one_secret(tokens: Tokens) -> None:
    first = tokens.create("one", "writer")
    with pytest.raises(ConflictError):
        tokens.create("one", "admin")
    assert tokens.create("two", "writer") != first
    assert [token.name for token in tokens.list()] == ["one", "two"]


def test_a_revoked_token_is_worthless_and_stays_listed(tokens: Tokens) -> None:
    secret = tokens.create("one", "writer")
    tokens.revoke("one")
    assert tokens.find(secret) is None
    assert [token.revoked_at for token in tokens.list()] == [START_MS]
    for name in ("one", "nobody"):
        with pytest.raises(NotFoundError):
            tokens.revoke(name)
