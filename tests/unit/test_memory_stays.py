"""What must be gone when it is over, without waiting for the collector: in a relay it comes by rarely."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiosmtplib
import msgspec
import pytest

from outbound_guard.app.addresses import refusal_notes
from outbound_guard.app.parts import Parts
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config
from outbound_guard.delivery import Delivery
from outbound_guard.delivery.connection import Broken, Connection
from outbound_guard.delivery.wire import Mail
from outbound_guard.ledger.records import Record
from outbound_guard.mail import Envelope
from outbound_guard.reply import Reply
from outbound_guard.scanners.opinion import Nonsense
from outbound_guard.scanners.wire import exchange
from outbound_guard.spool.together import Together
from outbound_guard.supervisor.child import Setting
from tests.nexthop import NextHop

ROUNDS = 5
KEPT = (Broken, Connection, Mail, aiosmtplib.SMTP)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The collector stays away."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def there() -> Counter[str]:
    """How many there are of what a delivery is made of."""
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, KEPT))


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("place", ["CONNECT", "MAIL", "RCPT", "."])
async def test_of_a_transaction_that_breaks_nothing_stays(
    place: str, next_hop: Callable[[], Awaitable[NextHop]]
) -> None:
    hop = await next_hop()
    pool = {"name": "default", "smarthosts": [hop.address], "tls": "none", "reply_seconds": 5}
    config = msgspec.convert({"path": "outbound-guard.toml", "delivery": {"pool": [pool]}}, Config)
    clock = VirtualClock(1_700_000_000.0)
    delivery = Delivery(config, hostname="guard.test", clock=clock, count=lambda *_, **__: None)
    before = there()
    for _ in range(ROUNDS):
        hop.answer(place, NextHop.CLOSE)
        # By then it is tried again, whatever happened before.
        clock.advance(1000.0)
        result = await delivery.send(Envelope("a@here.test", ("b@there.test",)), [b"Subject: x\r\n\r\nhello\r\n"])
        assert [reply.code for reply in result.replies] == [451]
    await delivery.close()
    # The loop tells of the connections' ends in its next turns.
    for _ in range(10):
        await asyncio.sleep(0)
    left = there() - before
    if place == "CONNECT":
        # What the library fails in itself is left to the collector.
        del left["SMTP"]
    assert left == Counter()


@pytest.mark.usefixtures("uncollected")
async def test_of_a_message_that_the_spool_could_not_keep_nothing_stays() -> None:
    class Content:
        """So large as it likes."""

    def work(asked: object) -> list[Content | Exception]:
        return [OSError("no space left")]

    with ThreadPoolExecutor(1) as threads:
        together: Together[Content, Content] = Together(threads, work)
        contents = [Content() for _ in range(ROUNDS)]
        known = [weakref.ref(content) for content in contents]
        while contents:
            with pytest.raises(OSError, match="no space left"):
                await together.call(contents.pop())
        # The loop forgets in its next turn what it did in this one.
        await asyncio.sleep(0)
    assert [content() for content in known] == [None] * ROUNDS


def test_refusals_of_the_whole_world_are_not_remembered() -> None:
    records: list[Record] = []
    clock = VirtualClock(1_700_000_000.0)
    parts = SimpleNamespace(clock=clock, journal=SimpleNamespace(append=records.append))
    note = refusal_notes(cast(Parts, parts))
    for number in range(25_000):
        note(f"mx{number}.test:25", "192.0.2.1", Reply(550, "5.7.1", "listed"))
    assert len(records) == 25_000
    note("mx24999.test:25", "192.0.2.1", Reply(550, "5.7.1", "listed"))
    assert len(records) == 25_000
    assert len(inspect.getclosurevars(note).nonlocals["noted"]) <= 10_000


@pytest.mark.parametrize(("own", "told"), [("", "1"), ("7", "7")])
def test_a_process_has_one_heap_unless_told_otherwise(own: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = lambda *_: None  # noqa: E731
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    if own:
        monkeypatch.setenv("MALLOC_ARENA_MAX", own)
    setting = Setting(("guard",), Path("x.toml"), Path("run"), {}, "", nothing, nothing)
    environment = setting.environment("relay", "relay-0", 3)
    assert environment["MALLOC_ARENA_MAX"] == told
    assert environment["MALLOC_TRIM_THRESHOLD_"] == environment["MALLOC_MMAP_THRESHOLD_"] == "4194304"


@pytest.mark.usefixtures("uncollected")
async def test_of_a_message_that_a_scanner_breaks_off_nothing_stays() -> None:
    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        # More than anybody has to say about a message.
        writer.write(b"x" * 2_000_000)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answered, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for _ in range(ROUNDS):
        with pytest.raises(Nonsense):
            await exchange(address, b"mail")
    server.close()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not [one for one in gc.get_objects() if isinstance(one, Nonsense)]
