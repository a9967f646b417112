"""Scanners that fail in every way: nothing they do is held against the mail, and none is asked in vain for long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.config import Scanner
from outbound_guard.scanners import Opinion
from outbound_guard.scanners.breaker import Breaker
from outbound_guard.scanners.opinion import Nonsense
from outbound_guard.scanners.wire import exchange
from tests.product import message
from tests.scanning import Asking, Talk, hang, saying, server

EVENT_LOOPS = ("asyncio", "uvloop")
OK = b"stream: OK\0"


@pytest.mark.parametrize("kind", ["rspamd", "spamassassin", "clamav"])
@pytest.mark.parametrize(
    ("talk", "result"),
    [
        (saying(b""), "nonsense"),
        (saying(b"\xff\0\r\n" * 10), "nonsense"),
        (saying(b"x" * 3_000_000), "nonsense"),
        (hang, "timeout"),
    ],
    ids=["closes", "garbage", "endless", "hangs"],
)
async def test_what_fails_has_no_opinion(kind: Any, talk: Talk, result: str) -> None:
    async with server(talk) as address:
        asking = Asking(Scanner(kind=kind, address=address, timeout=0.1 if talk is hang else 30.0))
        assert await asking.ask() == []
        assert asking.counted(kind, result) == 1


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with server(endless) as address:
        with pytest.raises(Nonsense, match="very long"):
            await exchange(address, b"?")


async def test_failures_count_in_a_row() -> None:
    answers = iter([b"?", OK, b"?", OK, b"?", b"?"])

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(next(answers))(reader, writer)

    async with server(talk) as address:
        asking = Asking(Scanner(kind="clamav", address=address, timeout=30.0, failures=2))
        assert [len(await asking.ask()) for _ in range(7)] == [0, 1, 0, 1, 0, 0, 0]
        assert (asking.counted("clamav", "nonsense"), asking.counted("clamav", "paused")) == (4, 1)


async def test_what_is_not_there_has_no_opinion(tmp_path: Path) -> None:
    asking = Asking(Scanner(kind="clamav", address=f"unix:{tmp_path}/none", timeout=30.0))
    assert await asking.ask() == []
    assert asking.counted("clamav", "down") == 1


async def test_a_fault_of_ours_has_no_opinion(caplog: pytest.LogCaptureFixture) -> None:
    asking = Asking(Scanner(kind="clamav", address="127.0.0.1:9"))

    async def fails(*_: object) -> None:
        raise ZeroDivisionError

    asking.scanners._asked[0]._ask = fails
    assert await asking.ask() == []
    assert asking.counted("clamav", "fault") == 1
    assert "a fault of ours" in caplog.text


async def test_one_that_hangs_does_not_keep_the_others_from_speaking(tmp_path: Path) -> None:
    # A relative path starts at the folder of the configuration.
    async with server(hang) as hanging, server(saying(OK), tmp_path / "clamd.ctl"):
        asking = Asking(
            Scanner(kind="rspamd", address=hanging, timeout=0.1),
            Scanner(kind="clamav", address="unix:clamd.ctl", timeout=30.0),
            path=str(tmp_path / "guard.toml"),
        )
        assert await asking.ask() == [Opinion("clamav", "clean", "nothing found")]


async def test_all_are_asked_at_once() -> None:
    everybody = asyncio.Barrier(3)

    async def after_the_others(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await everybody.wait()
        await saying(OK)(reader, writer)

    async with server(after_the_others) as address:
        three = [Scanner(kind="clamav", name=name, address=address, timeout=30.0) for name in "abc"]
        assert [opinion.scanner for opinion in await Asking(*three).ask()] == ["a", "b", "c"]


async def test_only_so_many_connections_at_once() -> None:
    open_now, most = 0, 0

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await saying(OK)(reader, writer)
        open_now -= 1

    async with server(counting) as address:
        asking = Asking(Scanner(kind="clamav", address=address, timeout=30.0, connections=2))
        assert len(await asyncio.gather(*[asking.ask() for _ in range(20)])) == 20
    assert most <= 2
    assert asking.counted("clamav", "clean") == 20


async def test_a_large_message_is_not_shown() -> None:
    async with server(saying(OK)) as address:
        asking = Asking(Scanner(kind="clamav", address=address, timeout=30.0, message_size=1000))
        assert await asking.ask(message("large", "x" * 1000)) == []
        assert len(await asking.ask(message("small"))) == 1
        assert asking.counted("clamav", "too_large") == 1


async def test_what_rspamd_is_told() -> None:
    heard = b""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard = await reader.readuntil(b"\r\n\r\n")
        await saying(b'HTTP/1.1 200 OK\r\n\r\n{"action": "reject", "score": 15, "required_score": 15}')(reader, writer)

    content = message("note")
    async with server(listen) as address:
        asking = Asking(Scanner(kind="rspamd", address=address, timeout=30.0))
        opinions = await asking.ask(
            content, ("bob@b.test", "x@y.test\r\nFlags: skip", "jürgen@ü.test", *["more@b.test"] * 60)
        )
    assert [opinion.result for opinion in opinions] == ["spam"]
    assert heard.decode().split("\r\n") == [
        "POST /checkv2 HTTP/1.0",
        f"Content-Length: {len(content)}",
        "From: anna@a.test",
        "Queue-Id: 0001",
        "Rcpt: bob@b.test",
        "Rcpt: x@y.test Flags: skip",
        "Rcpt: jürgen@ü.test",
        *["Rcpt: more@b.test"] * 47,
        "User: outbound",
        "",
        "",
    ]


def test_breaker() -> None:
    breaker = Breaker(2, 60.0)
    assert breaker.admits(0.0)
    assert not breaker.failed(0.0)
    assert not breaker.succeeded()
    assert [breaker.failed(1.0), breaker.failed(2.0)] == [False, True], "in a row"
    assert not breaker.admits(61.0)
    assert breaker.admits(62.0)
    assert not breaker.admits(62.0), "one probe"
    assert not breaker.failed(63.0), "it has been said already"
    assert not breaker.admits(122.0)
    assert breaker.admits(123.0)
    breaker.unsettled()
    assert breaker.admits(123.0), "a probe that nobody waited for is none"
    assert breaker.succeeded()
    assert [breaker.admits(124.0), breaker.admits(124.0)] == [True, True]


def test_a_clock_put_back_does_not_lengthen_the_pause() -> None:
    breaker = Breaker(1, 60.0)
    breaker.failed(1_000_000.0)
    assert breaker.admits(5000.0)


async def test_a_probe_whose_client_has_gone_does_not_close_the_door() -> None:
    async with server(hang) as address:
        asking = Asking(Scanner(kind="clamav", address=address, timeout=0.05, failures=1))
        await asking.ask()
        asking.clock.advance(61.0)
        asking.scanners._asked[0]._scanner = Scanner(kind="clamav", address=address, timeout=30.0)
        probe = asyncio.create_task(asking.ask())
        while asking.scanners._asked[0]._breaker.admits(asking.clock.now()):
            asking.scanners._asked[0]._breaker.unsettled()
            await asyncio.sleep(0)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert asking.scanners._asked[0]._breaker.admits(asking.clock.now())
