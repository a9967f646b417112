"""What a command that works on the data directory needs, opened and closed."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from outbound_guard import config
from outbound_guard.clock import Clock, SystemClock

if TYPE_CHECKING:
    from outbound_guard.desk.held.teaching import Teaching
    from outbound_guard.ledger.database import Ledger
    from outbound_guard.ledger.journal import Journal
    from outbound_guard.ledger.records import Standing
    from outbound_guard.reputation import Reputation
    from outbound_guard.spool import Spool
    from outbound_guard.state import State

SETTLE_SECONDS = 3.0


class Room:
    """The configuration, and doors to journal, ledger and spool. `by` is who acts."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Raises ConfigError."""
        self.config = configuration(arguments)
        self.clock: Clock = SystemClock()
        self.by = getattr(arguments, "by", None) or _login()

    @property
    def journal_dir(self) -> Path:
        """Where the journal's segments lie."""
        return self.config.data_dir / "journal"

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger to read. Raises LedgerError."""
        from outbound_guard.ledger.database import Ledger, LedgerError

        if not self.config.data_dir.is_dir():
            raise LedgerError(f"no ledger yet: {self.config.data_dir} does not exist")
        self._catch_up()
        ledger = Ledger(self._url())
        try:
            yield ledger
        finally:
            ledger.close()

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """A journal of this process; at the end the ledger has what was written, unless it cannot be had."""
        from outbound_guard.ledger.journal import Journal
        from outbound_guard.ledger.segments import COMMAND

        slot = f"{COMMAND}{os.getpid()}"
        journal = Journal(self.journal_dir, slot, self.clock)
        try:
            yield journal
        finally:
            journal.close()
        self._settle(slot)

    @contextmanager
    def spool(self) -> Iterator[Spool]:
        """The spool of this machine. Raises OSError."""
        from outbound_guard.spool import Spool

        spool = Spool(self.config.data_dir / "spool", self.clock, self.config.spool.free_bytes, threads=1)
        try:
            yield spool
        finally:
            spool.close()

    async def forget(self, sender: str, account: str, *, mistake: bool) -> None:
        """Clear the suspicion of a sender; `mistake`: it was ours, so the sender is trusted more from now on.

        If that fails this says so: what was asked for is done all the same.
        """
        from outbound_guard.desk.held.teaching import Teaching

        await Teaching(self.memory, None, self.clock, note).forget(sender, account, mistake=mistake)

    @contextmanager
    def teaching(self, journal: Journal) -> Iterator[Teaching]:
        """What an act teaches, as far as the configuration wants that; says so if something cannot be taught."""
        from outbound_guard.desk.held.teaching import Teaching
        from outbound_guard.desk.policy.weights import Lessons

        with contextlib.ExitStack() as stack:

            def lessons() -> Lessons:
                hold = config.policy_of(self.config).threshold.hold
                return Lessons(stack.enter_context(self.ledger()), journal, self.clock, hold, by=self.by)

            yield Teaching(self.memory, lessons if self.config.policy.learn else None, self.clock, note)

    @asynccontextmanager
    async def memory(self) -> AsyncIterator[Reputation]:
        """The memory of the relays; what it was told is there at the end. Raises StateDown, ConfigError."""
        from outbound_guard.reputation import Reputation

        async with self._state() as state:
            yield Reputation(state)

    async def tell(self, standings: Sequence[Standing]) -> None:
        """Let every process of all hosts know now what was decided, also while the ledger is away.

        If the state cannot be reached either, they hear of it from the ledger.
        """
        from outbound_guard.app.news import News
        from outbound_guard.state import StateDown

        with contextlib.suppress(StateDown, config.ConfigError):
            async with self._state() as state:
                news = News(state)
                for standing in standings:
                    news.tell(standing)

    @asynccontextmanager
    async def _state(self) -> AsyncIterator[State]:
        """The state; what it was told is there at the end. Raises StateDown, ConfigError."""
        from outbound_guard.state import State
        from outbound_guard.state.embedded import socket_path

        settings = self.config.state
        embedded = settings.url == "embedded"
        url = f"unix://{socket_path(self.config.data_dir)}" if embedded else config.state_url(self.config)
        state = await State.connect(url, timeout=max(settings.timeout, 2.0), count=lambda *_, **__: None)
        try:
            yield state
            await state.flush()
        finally:
            await state.close()

    def _settle(self, slot: str) -> None:
        """So that the next command sees what this one did: wait a little for the scribe, or do its work."""
        from outbound_guard.ledger.scribe import running
        from outbound_guard.ledger.segments import sealed, slot_of

        end = time.monotonic() + SETTLE_SECONDS
        while any(slot_of(path.name) == slot for path in sealed(self.journal_dir)) and time.monotonic() < end:
            if not running(self.journal_dir):
                self._catch_up()
                return
            time.sleep(0.05)

    def _catch_up(self) -> None:
        """If no service is running, do for a moment what its scribe would do."""
        from outbound_guard.ledger.database import Ledger, LedgerError
        from outbound_guard.ledger.nodes import here
        from outbound_guard.ledger.scribe import Scribe, running

        if running(self.journal_dir):
            return
        # A ledger that cannot be written can often still be read, and the journal waits.
        with contextlib.suppress(LedgerError):
            writer = Ledger(self._url(), writer=True)
            scribe = Scribe(self.journal_dir, writer, self.clock, here=here(self.config))
            try:
                scribe.once()
            finally:
                scribe.close()
                writer.close()

    def _url(self) -> str:
        from outbound_guard.ledger.database import url_of

        return url_of(self.config.ledger.url, self.config.data_dir)


def configuration(arguments: argparse.Namespace) -> config.Config:
    """The configuration that the arguments or the environment name. Raises ConfigError."""
    path = config.find(arguments.config)
    if path is None:
        raise config.ConfigError(
            "no configuration found: name one with --config, or write one with `outbound-guard init`"
        )
    return config.load(path)


def note(text: str) -> None:
    """Something besides the result, for people."""
    from outbound_guard.cli.terminal import harmless

    print(f"outbound-guard: {harmless(text)}", file=sys.stderr)


def _login() -> str:
    """Who types: behind sudo it is not root."""
    name = os.environ.get("SUDO_USER")
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            name = str(os.getuid())
    return f"cli:{name}"
