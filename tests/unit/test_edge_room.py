"""Room for messages: large ones on disk, their turns, and what is answered when there is no room."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from outbound_guard.edge import room as module
from outbound_guard.edge.data import DataReader
from outbound_guard.edge.room import Full, Room, brought_back
from outbound_guard.mail import LARGE
from tests.live_edge import Client, LiveEdge, until

BEGIN = b"EHLO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\n"
SMALL = {"limits": {"memory": 1_048_576}}


def content(octets: int) -> bytes:
    line = b".a line with a dot\r\n"
    return b"Subject: x\r\n\r\n" + line * (octets // len(line))


def wire(message: bytes) -> bytes:
    return message.replace(b"\r\n.", b"\r\n..") + b".\r\n"


async def begun(edge: LiveEdge, sender: bytes = b"a") -> Client:
    """A client that may send its message."""
    client = await Client.connect(edge)
    client.send(BEGIN.replace(b"<a@", b"<" + sender + b"@") + b"DATA\r\n")
    assert [(await client.reply())[:3] for _ in range(5)] == ["220", "250", "250", "250", "354"]
    return client


@pytest.mark.parametrize("octets", [1_100_000, 5_000_000])
@pytest.mark.parametrize("step", [1_000_000, 65_536, 4_099])
def test_what_went_to_disk_comes_back(tmp_path: Path, octets: int, step: int) -> None:
    room = Room(10_000_000, tmp_path)
    message = content(octets)
    stream = wire(message) + b"QUIT\r\n"
    reader = DataReader(10_000_000, room)
    done = False
    for start in range(0, len(stream), step):
        assert len(reader._content) <= LARGE + step
        if done := reader.feed(stream[start : start + step]):
            break
    assert done
    assert (reader.fault, reader.size) == (None, len(message) + 2)
    assert room.used == 0
    assert room.on_disk == reader.size
    assert list(tmp_path.iterdir()) == []  # It has no name.
    assert reader.from_disk() == message
    reader.close()
    assert (room.used, room.on_disk) == (0, 0)


def test_small_ones_stay_in_memory_and_count_until_they_are_done_with(tmp_path: Path) -> None:
    room = Room(10_000_000, tmp_path)
    reader = DataReader(10_000_000, room)
    assert reader.feed(b"hello\r\n.\r\n")
    assert reader.overflow is None
    assert reader.content() == b"hello\r\n"
    assert room.used == 9
    reader.close()
    reader.close()
    assert room.used == 0


def test_beyond_the_budget_everything_goes_to_disk(tmp_path: Path) -> None:
    room = Room(1000, tmp_path)
    readers = [DataReader(1_000_000, room) for _ in range(10)]
    for _ in range(20):
        for reader in readers:
            assert not reader.feed(b"x" * 98 + b"\r\n")
    assert room.used <= 1000 + 100
    for reader in readers:
        assert reader.feed(b".\r\n")
        assert (reader.from_disk() if reader.overflow else reader.content()) == (b"x" * 98 + b"\r\n") * 20
        reader.close()
    assert (room.used, room.on_disk) == (0, 0)


@pytest.mark.parametrize("fault", ["line_end", "size"])
def test_what_is_refused_is_not_kept(tmp_path: Path, fault: str) -> None:
    room = Room(10_000_000, tmp_path)
    reader = DataReader(LARGE + 200_000, room)
    reader.feed(b"x" * (LARGE + 1))
    assert room.on_disk
    reader.feed(b"\n" if fault == "line_end" else b"x" * 300_000)
    assert (reader.fault, room.used, room.on_disk) == (fault, 0, 0)
    assert reader.feed(b"\r\n.\r\n")
    reader.close()
    assert (room.used, room.on_disk) == (0, 0)


@pytest.mark.parametrize("trouble", ["nearly full", "gone"])
def test_no_room_on_the_disk_is_no_lost_message(tmp_path: Path, trouble: str) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    room = Room(10_000_000, folder, free_bytes=2**60 if trouble == "nearly full" else 0)
    if trouble == "gone":
        folder.rmdir()
    reader = DataReader(10_000_000, room)
    assert not reader.feed(b"x" * (LARGE + 1))
    assert reader.fault == "full"
    assert reader.feed(b"\r\n.\r\nNOOP\r\n")
    assert (reader.fault, reader.rest, room.used) == ("full", b"NOOP\r\n", 0)


async def turns(room: Room, *sizes: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(room.turn(size)) for size in sizes]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_turns_are_taken_in_order_and_none_starves() -> None:
    room = Room(1000)
    first, second, large, small = await turns(room, 100, 200, 5000, 10)
    assert [task.done() for task in (first, second, large, small)] == [True, True, False, False]
    assert room.used == 3 * 300
    room.leave(first.result())
    await asyncio.sleep(0)
    assert not large.done()
    room.leave(second.result())
    # More than the budget: it goes alone.
    assert await large == 15_000
    await asyncio.sleep(0)
    assert not small.done()
    room.leave(15_000)
    room.leave(await small)
    assert room.used == 0


async def test_who_gives_up_makes_way(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(1000)
    first, second, third = await turns(room, 300, 300, 10)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    room.leave(await third)
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    with pytest.raises(Full):
        await room.turn(300)
    room.leave(await first)
    room.leave(await room.turn(300))
    assert (room.used, room._large) == (0, 0)


async def test_one_that_is_given_up_just_as_its_turn_comes_gives_it_back() -> None:
    room = Room(1000)
    first, second = await turns(room, 300, 300)
    room.leave(first.result())
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert (room.used, room._large) == (0, 0)


async def test_one_that_waited_too_long_is_full_also_if_a_place_comes_free_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    loop = asyncio.get_running_loop()
    room = Room(1000)
    cost = await room.turn(900)
    waiting = asyncio.create_task(room.turn(900))
    await asyncio.sleep(0)
    # A turn of the loop that is so long that both are due at its end, the end of the patience first.
    loop.call_later(0.02, time.sleep, 0.1)
    loop.call_later(0.06, room.leave, cost)
    with pytest.raises(Full):
        await waiting
    assert (room.used, room._large, len(room._waiting)) == (0, 0, 0)


async def test_a_file_that_cannot_be_read_is_our_fault(tmp_path: Path) -> None:
    room = Room(10_000_000, tmp_path)
    reader = DataReader(10_000_000, room)
    assert reader.feed(wire(content(1_200_000)))
    assert reader.overflow is not None
    os.ftruncate(reader.overflow._file.fileno(), 1000)
    with pytest.raises(OSError, match="shorter"):
        async with brought_back(reader, room):
            pass
    reader.close()
    assert (room.used, room.on_disk) == (0, 0)


def cut_short(folder: Path) -> None:
    """Every file without a name in this folder, whoever has it open here."""
    for file in Path("/proc/self/fd").iterdir():
        name = os.readlink(file) if file.is_symlink() else ""
        if name.startswith(str(folder)) and name.endswith("(deleted)"):
            os.truncate(file, 1000)


async def test_after_a_fault_the_next_message_has_its_own_recipients(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, SMALL) as edge:
        room = edge.sessions.room
        client = await begun(edge)
        other = await room.turn(300_000)  # Another large message is at work.
        client.send(wire(content(1_200_000)))
        await until(lambda: len(room._waiting) == 1)
        cut_short(tmp_path)
        room.leave(other)
        assert (await client.reply()).startswith("451 4.3.0 ")
        client.send(b"MAIL FROM:<c@example.com>\r\nRCPT TO:<d@example.net>\r\nDATA\r\nx\r\n.\r\n")
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "250", "354", "250"]
        await client.close()
        assert [one.envelope.recipients for one in edge.messages] == [("d@example.net",)]
        assert edge.counts["smtp_faults_total", "message"] == 1
        assert (room.used, room.on_disk) == (0, 0)


async def test_large_messages_are_accepted_one_after_the_other(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, SMALL) as edge:
        clients = [await begun(edge, b"slow") for _ in range(4)]
        messages = [content(1_200_000 + 20 * number) for number in range(4)]
        for client, message in zip(clients, messages, strict=True):
            client.send(wire(message))
        await edge.accepting.wait()
        room = edge.sessions.room
        await until(lambda: len(room._waiting) == 3)
        assert room._large == 1
        edge.release.set()
        for client in clients:
            assert (await client.reply()).startswith("250 ")
            await client.close()
        assert sorted(message.content for message in edge.messages) == sorted(messages)
        assert (room.used, room.on_disk) == (0, 0)


async def test_beyond_the_budget_data_is_put_off(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, SMALL) as edge:
        early = await begun(edge)
        busy = await begun(edge, b"slow")
        busy.send(wire(content(1_200_000)))
        await edge.accepting.wait()
        late = await Client.connect(edge)
        late.send(BEGIN + b"DATA\r\n")
        assert [(await late.reply())[:9] for _ in range(5)][4] == "452 4.3.1"
        # One whose message had begun is heard to its end, by way of the disk.
        early.send(b"x\r\n.\r\n")
        await until(lambda: edge.sessions.room._waiting)
        edge.release.set()
        assert (await early.reply()).startswith("250 ")
        assert (await busy.reply()).startswith("250 ")
        assert edge.messages[-1].content == b"x\r\n"
        late.send(BEGIN[8:] + b"DATA\r\n")
        assert [(await late.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        late.send(b"x\r\n.\r\n")
        assert (await late.reply()).startswith("250 ")
        assert edge.counts["smtp_commands_refused_total", "memory"] == 1
        for client in (early, busy, late):
            await client.close()


async def test_a_client_that_vanishes_leaves_nothing_behind(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, SMALL) as edge:
        client = await begun(edge)
        client.send(content(1_400_000))
        room = edge.sessions.room
        await until(lambda: room.on_disk)
        client.writer.transport.abort()
        await until(lambda: not len(edge.sessions))
        await until(lambda: (room.used, room.on_disk) == (0, 0))


async def test_no_room_on_the_disk_is_said(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, SMALL) as edge:
        edge.sessions.room._free_bytes = 2**60
        client = await begun(edge)
        client.send(wire(content(1_400_000)) + b"NOOP\r\n")
        assert (await client.reply()).startswith("452 4.3.1 ")
        assert (await client.reply()).startswith("250 ")
        assert edge.counts["smtp_messages_refused_total", "full"] == 1
        await client.close()
