"""The connection to SQL: SQLite in data_dir, or another database by its URL. Sync; called in threads."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from outbound_guard.ledger import postgresql
from outbound_guard.ledger.segments import give_to_owner

FILE = "ledger.sqlite3"
# What a record brought about, not the database: trying again would not help.
BAD_RECORD = (DataError, IntegrityError, InterfaceError, ValueError, OverflowError, TypeError, LookupError)


class LedgerError(Exception):
    """The ledger cannot be used now: locked, full, down, or not made yet."""


class Ledger:
    """Opens connections. Any number of readers; one transaction at a time writes.

    In SQLite one process alone writes. In PostgreSQL the hosts that share the ledger take turns: whatever was read and
    written in a writer's transaction, no other writer came in between, as in SQLite.
    """

    def __init__(self, url: str, *, writer: bool = False, busy: float = 2.0) -> None:
        """`url` is `sqlite:///PATH` or `postgresql://...`, as libpq takes it.

        `busy`: seconds to wait for a lock of SQLite.

        Raises LedgerError if the URL or its driver cannot be used.
        """
        self.writer = writer
        try:
            if url.startswith("sqlite:///"):
                self._engine = _sqlite(Path(url.removeprefix("sqlite:///")), writer=writer, busy=busy)
            else:
                self._engine = postgresql.engine(url, writer=writer)
        except (SQLAlchemyError, ImportError) as error:
            raise LedgerError(f"ledger: {_plain(error)}") from error

    @property
    def shared(self) -> bool:
        """True if other hosts may have the same ledger."""
        return self._engine.dialect.name != "sqlite"

    @contextlib.contextmanager
    def connection(self, *, overwrite: bool = False, turn: bool = True) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on an error. Raises LedgerError.

        With `overwrite` SQLite writes zeros over what is deleted, instead of leaving it in free room of its file.
        Without `turn` a writer in PostgreSQL does not wait for the others: for a single statement.
        """
        try:
            with self._engine.execution_options(turn=turn).begin() as connection:
                if overwrite and connection.dialect.name == "sqlite":
                    # It stays with the connection, which somebody else uses next.
                    connection.exec_driver_sql("PRAGMA secure_delete = ON")
                    yield connection
                    connection.exec_driver_sql("PRAGMA secure_delete = OFF")
                    return
                yield connection
        except BAD_RECORD:
            raise
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise LedgerError(f"ledger: {_plain(error)}") from error

    def migrate(self) -> None:
        """Bring the schema to this version; changes nothing if it is there. Raises LedgerError."""
        alembic = AlembicConfig()
        # ConfigParser would take a `%` in the path for its own.
        place = str(Path(__file__).parent / "migrations").replace("%", "%%")
        alembic.set_main_option("script_location", place)
        with self.connection() as connection:
            alembic.attributes["connection"] = connection
            command.upgrade(alembic, "head")

    def compact(self, most: int) -> bool:
        """Write SQLite's file anew, without what was deleted in it; False if it has more than `most` octets.

        It takes about a second for each 100 MB, and nobody else can write meanwhile. Another database sees to that by
        itself. Raises LedgerError.
        """
        try:
            connection = self._engine.raw_connection()
            try:
                if self._engine.dialect.name != "sqlite":
                    return True
                cursor = connection.cursor()
                pages, size = (cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
                if pages * size > most:
                    return False
                cursor.execute("VACUUM")
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                return True
            finally:
                connection.close()
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise LedgerError(f"ledger: {_plain(error)}") from error

    def copy_to(self, file: Path) -> None:
        """Copy SQLite's file as it is at one moment, while others read and write, and look through the copy.

        `file` must not exist. Raises LedgerError, also if the copy is damaged.
        """
        try:
            connection = self._engine.raw_connection()
            try:
                _make(file)
                with contextlib.closing(sqlite3.connect(file)) as copy:
                    # In one step: a single reading transaction, for which in WAL mode no writer waits.
                    connection.driver_connection.backup(copy)  # type: ignore[union-attr] # It is sqlite3's.
                    # Not quick_check, which in SQLite 3.40 complains of tables without rowid whose key is reordered.
                    (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
                    copy.execute("PRAGMA journal_mode = DELETE")
            finally:
                connection.close()
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise LedgerError(f"ledger: {_plain(error)}") from error
        if found != "ok":
            raise LedgerError(f"ledger: its copy is damaged: {found}")

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()


def url_of(url: str, data_dir: Path) -> str:
    """The URL to open for the setting `ledger.url`."""
    return f"sqlite:///{data_dir / FILE}" if url == "embedded" else url


def _sqlite(path: Path, *, writer: bool, busy: float) -> Engine:
    def connect() -> sqlite3.Connection:
        if writer:
            _make(path)
        # isolation_level=None: the transactions are SQLAlchemy's (see `begin`), not those sqlite3 begins by itself.
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, timeout=busy, check_same_thread=False, isolation_level=None
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            if writer:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                # KiB. The indexes by account and sender are written all over.
                connection.execute("PRAGMA cache_size = -32768")
                # Pages of 4 KiB. The same pages are written again and again, and go into the file once for all of it.
                connection.execute("PRAGMA wal_autocheckpoint = 4096")
            else:
                connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    # What is asked for is personal data, and errors go to the log.
    # One transaction writes at a time: a second connection would only wait, and fill a page cache of its own.
    pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": busy} if writer else {"pool_size": 2}
    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, hide_parameters=True, **pool)

    def begin(connection: Connection) -> None:
        # A writer asks for the lock at once: a transaction that began by reading could not wait for it.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    event.listen(engine, "begin", begin)
    return engine


def _make(path: Path) -> None:
    """An empty file that only the service may read: the ledger is personal data."""
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            give_to_owner(fd, path.parent)
        finally:
            os.close(fd)


def _plain(error: BaseException) -> str:
    """One line, without SQL and its values, which may be personal data."""
    cause: Any = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__
