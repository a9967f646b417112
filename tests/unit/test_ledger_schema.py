"""Migrations lead to the schema of tables.py, from nothing and again; the SQL is not SQLite's alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable

from outbound_guard.ledger import directory_queries, tables
from outbound_guard.ledger.database import Ledger, LedgerError, url_of
from tests import postgres


def test_migrations_make_the_schema_and_may_run_again(tmp_path: Path) -> None:
    ledger = Ledger(url_of("embedded", tmp_path / "da%ta"), writer=True)
    ledger.migrate()
    ledger.migrate()
    with ledger.connection() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    ledger.close()


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE revision (something TEXT)")
    connection.commit()
    ledger = Ledger(f"sqlite:///{file}", writer=True)
    with pytest.raises(LedgerError, match="already exists"):
        ledger.migrate()
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    ledger.close()
    assert names == {"revision"}


def test_the_settings_of_a_connection(tmp_path: Path) -> None:
    ledger = Ledger(url_of("embedded", tmp_path), writer=True)
    ledger.migrate()
    with ledger.connection() as connection:
        said = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert said == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 2000}
    assert (tmp_path / "ledger.sqlite3").stat().st_mode & 0o777 == 0o600
    ledger.close()


def test_errors_say_nothing_of_what_was_asked_or_stored(tmp_path: Path) -> None:
    ledger = Ledger(url_of("embedded", tmp_path), writer=True)
    ledger.migrate()
    row = {"account": "shop.test", "time": 1.0, "change": "closed", "by": "console:ann", "reason": None}
    with pytest.raises(IntegrityError) as caught, ledger.connection() as connection:
        connection.execute(tables.customer_release.insert().values(row))
    ledger.close()
    assert "shop.test" not in str(caught.value)


def test_a_reader_neither_makes_nor_changes_the_file(tmp_path: Path) -> None:
    url = url_of("embedded", tmp_path)
    reader = Ledger(url)
    with pytest.raises(LedgerError, match="unable to open"):
        directory_queries.directory_revision(reader)
    assert list(tmp_path.iterdir()) == []
    writer = Ledger(url, writer=True)
    writer.migrate()
    with pytest.raises(LedgerError, match="readonly"), reader.connection() as connection:
        connection.execute(tables.revision.insert(), [{"name": "directory", "number": 1}])
    reader.close()
    writer.close()


def test_a_database_without_its_driver_says_so() -> None:
    with pytest.raises(LedgerError):
        Ledger("nonsense://somewhere/ledger")


def test_the_schema_can_be_said_to_postgresql() -> None:
    dialect = postgresql.dialect()
    for table in tables.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert "CREATE INDEX" in str(CreateIndex(index).compile(dialect=dialect))
    assert "serial BIGSERIAL" in str(CreateTable(tables.audit).compile(dialect=dialect))


def test_migrations_make_the_schema_in_postgresql_and_a_reader_changes_nothing(
    postgres_server: postgres.Server,
) -> None:
    url = postgres_server.database()
    writer, reader = Ledger(url, writer=True), Ledger(url)
    try:
        with pytest.raises(LedgerError, match="does not exist"):
            directory_queries.directory_revision(reader)
        writer.migrate()
        writer.migrate()
        with writer.connection() as connection:
            assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
        assert directory_queries.directory_revision(reader) == 0
        with pytest.raises(LedgerError, match="read-only"), reader.connection() as connection:
            connection.execute(tables.revision.insert(), [{"name": "directory", "number": 1}])
    finally:
        reader.close()
        writer.close()
        postgres_server.forget(url)
