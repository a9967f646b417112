"""Who takes a connection that several processes wait for."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator

import pytest

from outbound_guard.edge.listening import Listening
from outbound_guard.supervisor.sockets import bind
from tests.live_edge import until


class Taken(asyncio.Protocol):
    """A session that only is there."""

    def __init__(self, sessions: list[Taken]) -> None:
        self.sessions = sessions

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.sessions.append(self)
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"220\r\n")


class Process:
    """A process that listens beside others, with some sessions already."""

    def __init__(self, listening: socket.socket, sessions: int = 0) -> None:
        self.taken: list[Taken] = []
        self.sessions: list[object] = [None] * sessions
        self.door = Listening(listening.dup(), lambda: Taken(self.taken), self)

    def __len__(self) -> int:
        return len(self.sessions) + len(self.taken)

    def close(self) -> None:
        self.door.close()
        for one in self.taken:
            one.transport.abort()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with bind("127.0.0.1:0") as one:
        yield one


async def connected(listening: socket.socket) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    async with asyncio.timeout(10):
        assert await reader.readline() == b"220\r\n"
    return writer


async def test_who_has_fewer_sessions_takes_the_next(listening: socket.socket) -> None:
    busy, idle = Process(listening, sessions=40), Process(listening)
    clients = []
    for _ in range(4):
        # One that has waited for a connection that is gone takes the next.
        await until(lambda: busy.door._waiting is None)
        clients.append(await connected(listening))
    assert (len(busy.taken), len(idle.taken)) == (0, 4)
    for one in (busy, idle):
        one.close()
    for client in clients:
        client.close()


async def test_one_that_is_alone_takes_all_however_many_it_has(listening: socket.socket) -> None:
    gone, alone = Process(listening), Process(listening, sessions=5000)
    gone.close()
    clients = await asyncio.gather(*(connected(listening) for _ in range(20)))
    assert len(alone.taken) == 20
    alone.close()
    for client in clients:
        client.close()


async def test_what_nobody_has_taken_stays_for_the_others(listening: socket.socket) -> None:
    first = Process(listening, sessions=5000)
    waiting = asyncio.create_task(connected(listening))
    await until(lambda: first.door._waiting is not None)
    first.close()
    second = Process(listening)
    client = await waiting
    assert (len(first.taken), len(second.taken)) == (0, 1)
    second.close()
    client.close()


async def test_without_descriptors_it_is_tried_again_and_does_not_spin(
    listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(listening)
    client = socket.socket()
    client.setblocking(False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(BlockingIOError):
            client.connect(listening.getsockname())
        await until(lambda: "no connection can be taken for now" in caplog.text)
        for _ in range(50):
            await asyncio.sleep(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caplog.text.count("no connection can be taken") == 1
    await until(lambda: len(process.taken) == 1)
    process.close()
    client.close()
