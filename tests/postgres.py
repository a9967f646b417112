"""A real PostgreSQL server of our own: in a temporary folder, on a unix socket, nothing of it kept.

    with Server() as server:
        url = server.database()        # an empty one of its own
        server.stop(); server.start()  # as after a restart of its machine

As root it runs as `nobody`, since PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from outbound_guard.ledger.database import Ledger

USER = "nobody"
_SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "listen_addresses=",
    "max_connections=200",
    "shared_buffers=32MB",
    "autovacuum=off",
)


def binaries() -> Path | None:
    """Where the server's programs lie, the newest version's; None: it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).parent if there else None


def needed() -> None:
    """Skip the test where there is no PostgreSQL."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql-15)")


class Server:
    """A server; it may be stopped and started again. Needs `needed()`."""

    def __init__(self, *, settings: Sequence[str] = _SETTINGS) -> None:
        """`settings` are NAME=VALUE; by default those that make tests quick and care for nothing."""
        found = binaries()
        assert found is not None
        self._programs, self._settings = found, settings
        # A unix socket's path must be short, and the server's user must get there.
        self.folder = Path(tempfile.mkdtemp(prefix="og-pg-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        self._template = False
        if os.geteuid() == 0:
            user = pwd.getpwnam(USER)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        try:
            # Texts in the order of their characters, as SQLite has them.
            self._as_user(
                "initdb", "--no-sync", "--auth=trust", "--username=guard", "--encoding=UTF8", "--no-locale", "data"
            )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it and return when it answers."""
        settings = [
            word for setting in (*self._settings, f"unix_socket_directories={self.folder}") for word in ("-c", setting)
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._words("postgres", "-D", "data", *settings),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < end, "PostgreSQL does not answer"
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, as an impatient administrator does: every connection is cut (SIGINT, fast shutdown)."""
        if self._process is None:
            return
        self._as_user("pg_ctl", "-D", "data", "-m", "fast", "-w", "stop")
        self._process.wait(60)
        self._process = None

    @property
    def pid(self) -> int:
        """The process that was started; those that answer are its children."""
        assert self._process is not None, "it is not running"
        return self._process.pid

    def database(self, *, migrated: bool = False) -> str:
        """The URL of a new database: an empty one, or one with the schema, which is quicker than to make that anew."""
        template = self._migrated() if migrated else "template1"
        return self._made(f"t{secrets.token_hex(6)}", template)

    def _made(self, name: str, template: str) -> str:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def _migrated(self) -> str:
        if not self._template:
            ledger = Ledger(self._made("migrated", "template1"), writer=True)
            ledger.migrate()
            ledger.close()
            self._template = True
        return "migrated"

    def forget(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        name = url.partition("?")[0].rpartition("/")[2]
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url(self, name: str) -> str:
        """The URL of a database."""
        return f"postgresql://guard@/{name}?host={quote(str(self.folder), safe='')}"

    def _as_user(self, program: str, *words: str) -> None:
        done = subprocess.run(self._words(program, *words), cwd=self.folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()

    def _words(self, program: str, *words: str) -> list[str]:
        as_user = (
            ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups", "--pdeathsig=INT"]
            if os.geteuid() == 0
            else []
        )
        return [*as_user, str(self._programs / program), *words]
