"""Wrong passwords are counted over all processes that share a store; while it is down, each goes by its own."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Auth
from outbound_guard.edge.guesses import Guesses
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer

AUTH = Auth(tries_per_address=100, tries_per_login=6, tries_seconds=600)
CLOCK = VirtualClock(1_700_000_000.0)


class Processes:
    """What two relay processes and their store have of it."""

    def __init__(self, server: EmbeddedServer, states: list[State]) -> None:
        self.server, self.states = server, states
        self.one, self.two = (Guesses(AUTH, b"key", CLOCK, state) for state in states)

    async def settle(self) -> None:
        """Let all that was written behind arrive, and its answers."""
        for guesses in (self.one, self.two):
            await asyncio.gather(*guesses._asked)
        for state in self.states:
            await state.flush()


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("run", "state"):
            (Path(folder) / name).mkdir()
        server = EmbeddedServer(Path(folder), max_memory=50_000_000)
        assert await server.start()
        states = [await State.connect(server.url, timeout=30, count=lambda *_, **__: None) for _ in range(2)]
        yield Processes(server, states)
        for state in states:
            await state.close()
        await server.stop()


async def test_processes_count_together(processes: Processes) -> None:
    one, two = processes.one, processes.two
    for number in range(3):
        one.wrong(f"192.0.2.{number}", "alice")
        two.wrong(f"198.51.100.{number}", "alice")
        await processes.settle()
    # The last one to count knows at once; the other has one try more.
    assert await two.refuses("203.0.113.1", "alice") == "throttled_login"
    assert await one.refuses("203.0.113.1", "alice") == ""
    one.wrong("203.0.113.1", "alice")
    await processes.settle()
    assert await one.refuses("203.0.113.1", "alice") == "throttled_login"
    assert await one.refuses("203.0.113.1", "bob") == ""


async def test_an_owner_is_known_to_all(processes: Processes) -> None:
    processes.one.right("192.0.2.1", "alice")
    for number in range(10):
        processes.two.wrong(f"198.51.100.{number}", "alice")
    await processes.settle()
    assert await processes.two.refuses("192.0.2.1", "alice") == ""
    assert await processes.two.refuses("192.0.2.2", "alice") == "throttled_login"


async def test_the_store_keeps_neither_logins_nor_addresses(processes: Processes) -> None:
    processes.one.right("192.0.2.1", "alice")
    processes.one.wrong("198.51.100.1", "alice")
    await processes.settle()
    keys = await processes.states[0].command("KEYS", "*")
    assert len(keys) == 3
    assert all(key.startswith((b"guess:", b"auth:")) for key in keys)
    assert min([await processes.states[0].command("TTL", key) for key in keys]) > 0
    assert not any(word in b"".join(keys) for word in (b"alice", b"192.0.2", b"198.51"))


async def test_without_the_store_each_counts_for_itself(processes: Processes) -> None:
    await processes.server.stop()
    one, two = processes.one, processes.two
    for number in range(6):
        assert await one.refuses(f"192.0.2.{number}", "alice") == ""
        one.wrong(f"192.0.2.{number}", "alice")
    assert await one.refuses("203.0.113.1", "alice") == "throttled_login"
    assert await two.refuses("203.0.113.1", "alice") == ""
