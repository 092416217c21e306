"""What the first eleven migrations make, to the letter: steps that were taken never change.

Tables, keys, indexes, triggers and functions, as the database itself tells them. A later migration
adds nothing here: this is about those that databases out there went through.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from alembic import command
from sqlalchemy import Connection, text

from ledger_core.storage.database import _alembic_config, open_database

LAST = "0011"

_SQLITE = "SELECT type || ' ' || name || ': ' || sql FROM sqlite_master WHERE sql IS NOT NULL"
_POSTGRESQL = """
SELECT 'column ' || c.relname || '.' || a.attname || ': ' || format_type(a.atttypid, a.atttypmod)
    || ' ' || a.attnotnull || ' ' || a.attstorage::text || a.attidentity::text
    || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT 'constraint ' || conname || ': ' || conrelid::regclass || ' '
    || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
UNION ALL SELECT 'index ' || indexname || ': ' || indexdef
FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'trigger ' || tgname || ': ' || pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function ' || proname || ': ' || pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


def read_schema(connection: Connection) -> str:
    query = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    return "\n".join(sorted(connection.scalars(text(query)))) + "\n"


def test_the_schema_is_what_it_always_was(empty_database_url: str) -> None:
    with closing(open_database(empty_database_url)) as database, database.engine.connect() as found:
        config = _alembic_config()
        config.attributes["connection"] = found
        command.upgrade(config, LAST)
        kept = Path(__file__).parent / f"schema-{LAST}-{database.dialect.name}.txt"
        assert read_schema(found) == kept.read_text()
