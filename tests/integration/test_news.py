"""What one host decides about a sender holds on the others, though they share nothing but the state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from outbound_guard.accounts.directory import Directory
from outbound_guard.app.news import News
from outbound_guard.clock import VirtualClock
from outbound_guard.ledger.records import Standing
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer


class Host:
    """A relay process as far as it matters here."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.directory = Directory(None, VirtualClock(1e9))
        self.news = News(state, self.directory)
        self.directory.tell = self.news.tell

    def suspends(self) -> bool:
        return self.directory.suspended("anna@a.test", "a.test") is not None


def _standing(change: str, time: float) -> Standing:
    return Standing(time, "sender", "anna@a.test", change, "a.test", "anybody", "because")


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[list[Host]]:
    async with AsyncExitStack() as stack:
        server = EmbeddedServer(tmp_path, max_memory=64 << 20, on_restart=lambda: None)
        assert await server.start()
        stack.push_async_callback(server.stop, 3.0)
        hosts = []
        for _ in range(3):
            hosts.append(Host(await State.connect(server.url, timeout=30, count=lambda *_, **__: None)))
            stack.push_async_callback(hosts[-1].state.close)
        yield hosts


async def _heard(hosts: list[Host], teller: Host) -> list[bool]:
    await teller.state.flush()
    for host in hosts:
        await host.news.look()
    return [host.suspends() for host in hosts]


async def test_a_suspension_and_its_end_reach_the_others(hosts: list[Host]) -> None:
    hosts[0].directory.suspend_now(_standing("suspended", 10.0))
    assert [host.suspends() for host in hosts] == [True, False, False]
    assert await _heard(hosts, hosts[0]) == [True] * 3
    # A desk on another host takes it back; what is older than that changes nothing.
    hosts[1].news.tell(_standing("resumed", 20.0))
    hosts[2].news.tell(_standing("suspended", 15.0))
    await hosts[2].state.flush()
    assert await _heard(hosts, hosts[1]) == [False] * 3
    hosts[2].news.tell(_standing("suspended", 30.0))
    assert await _heard(hosts, hosts[2]) == [True] * 3


async def test_a_process_that_starts_later_hears_it_too(hosts: list[Host]) -> None:
    hosts[0].directory.suspend_now(_standing("suspended", 10.0))
    await hosts[0].state.flush()
    late = Host(hosts[1].state)
    await late.news.look()
    assert late.suspends()


async def test_a_ledger_that_hangs_keeps_no_news_away(hosts: list[Host], monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang() -> bool:
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(hosts[1].directory, "refresh", hang)
    hosts[0].directory.suspend_now(_standing("suspended", 10.0))
    assert await _heard(hosts[:2], hosts[0]) == [True] * 2
    hosts[0].news.tell(_standing("resumed", 20.0))
    assert await _heard(hosts[:2], hosts[0]) == [False] * 2


async def test_what_cannot_be_read_and_a_store_that_counts_anew_do_no_harm(hosts: list[Host]) -> None:
    await hosts[0].state.command("XADD", "news", "*", "record", "{")
    await hosts[0].state.command("XADD", "news", "*", "record", '{"type":"of tomorrow"}')
    hosts[0].news.tell(_standing("suspended", 10.0))
    assert await _heard(hosts[:2], hosts[0]) == [True, True]
    await hosts[0].state.command("DEL", "news")
    await hosts[0].state.command("SET", "news", "no stream")
    assert await _heard(hosts, hosts[0]) == [True, True, False]
    await hosts[0].state.command("DEL", "news")
    await hosts[0].state.command("XADD", "news", "1-1", "record", b"{}")
    hosts[0].news.tell(_standing("resumed", 20.0))
    assert await _heard(hosts, hosts[0]) == [False] * 3
    assert 0 < await hosts[0].state.command("TTL", "news") <= 600
