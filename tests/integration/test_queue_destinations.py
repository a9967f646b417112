"""The queue and the servers it delivers to: who hangs, is away, or asks for a pause is no trouble for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outbound_guard import config
from outbound_guard.clock import SystemClock
from outbound_guard.delivery import Delivery, Result
from outbound_guard.delivery.queue import Queue
from outbound_guard.mail import Envelope, Verdict, new_id
from outbound_guard.spool import Entry, Spool
from tests.nexthop import NextHop
from tests.world import StartHop, World


class House:
    """A queue that runs, in front of the world."""

    def __init__(self, world: World, folder: Path, **settings: object) -> None:
        self.clock = SystemClock()
        self.spool = Spool(folder / "spool", self.clock, 0)
        self.delivery: Delivery = world.delivery(**settings)
        self.tries: list[str] = []
        self.tried = asyncio.Event()
        """Somebody has been tried for in vain."""
        self.queue = Queue(
            self.spool,
            self.send,
            delivery=config.Delivery(retry=(3600.0,)),
            hold_expiry=1e6,
            clock=self.clock,
            hostname="guard.test",
            review=self.review,
            destination=lambda entry, left: self.delivery.destination(left),
            outlook=self.delivery.outlook,
            concurrency=20,
        )
        self.running = asyncio.create_task(self.queue.run())

    async def send(self, envelope: Envelope, content: object) -> Result:
        self.tries.append(envelope.recipients[0])
        result = await self.delivery.send(envelope, [b"Subject: x\r\n\r\nhello\r\n"])
        if not result.reached:
            self.tried.set()
        return result

    async def review(self, entry: Entry, content: bytes) -> Verdict:
        raise AssertionError("nothing is held here")

    async def put(self, account: str, recipient: str, number: int = 1) -> None:
        now = self.clock.now()
        for _ in range(number):
            entry = Entry(new_id(now), now, Envelope(f"a@{account}", (recipient,)), account=account, due=now)
            await self.spool.put(entry, [b"Subject: x\r\n\r\nhello\r\n"], "incoming")
        self.queue.nudge()

    async def empty(self, seconds: float = 60.0) -> None:
        """Return when nothing is left in the spool."""
        async with asyncio.timeout(seconds):
            while any((await self.spool.counts()).values()):  # noqa: ASYNC110 -- The spool tells nobody.
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.spool.close()


@pytest.fixture
async def world(next_hop: StartHop, tmp_path: Path) -> AsyncIterator[World]:
    async with World(next_hop, tmp_path) as one:
        yield one


async def domain(world: World, name: str) -> NextHop:
    hop = await world.server(f"mx.{name}")
    world.domain(name, (10, f"mx.{name}"))
    return hop


async def test_destinations_that_hang_do_not_keep_others_waiting(world: World, tmp_path: Path) -> None:
    fine = await domain(world, "fine.test")
    for name in ("hangs.test", "hangstoo.test"):
        (await domain(world, name)).answer("MAIL", NextHop.HANG, times=None)
    house = House(world, tmp_path, pool=config.Pool(reply_seconds=600.0))
    try:
        for name in ("hangs.test", "hangstoo.test"):
            for number in range(10):
                await house.put(f"account{number}.test", f"r@{name}", 3)
        await house.put("other.test", "r@fine.test", 40)
        assert len(await fine.received(40, 60.0)) == 40
        # One address has the connections that a destination may have, and no place of the queue beyond its share.
        assert house.tries.count("r@hangs.test") < 10
        assert house.tries.count("r@hangstoo.test") < 10
    finally:
        await house.close()


async def test_what_waits_for_a_server_is_not_tried_meanwhile_and_goes_when_it_is_back(
    world: World, tmp_path: Path
) -> None:
    hop = await domain(world, "there.test")
    await hop.stop()
    house = House(world, tmp_path)
    try:
        await house.put("one.test", "r@there.test", 100)
        await house.put("two.test", "r@there.test")
        async with asyncio.timeout(60):
            await house.tried.wait()
        # Whoever had tried in vain would come again in an hour only, by itself.
        await hop.start()
        assert len(await hop.received(101, 60.0)) == 101
        assert len(house.tries) < 101 + 30
        await house.empty()
        assert "two.test" in [one.mail_from.partition("@")[2] for one in hop.messages[:60]]
    finally:
        await house.close()


async def test_after_a_complaint_about_our_pace_none_is_tried_before_its_time(world: World, tmp_path: Path) -> None:
    hop = await domain(world, "there.test")
    hop.answer("MAIL", "450 4.7.1 too many messages, slow down", times=1)
    house = House(world, tmp_path)
    try:
        await house.put("one.test", "r@there.test", 6)
        # One is refused and comes again later; the others go one after the other, and none is sent away by ourselves.
        assert len(await hop.received(5, 60.0)) == 5
        assert len(house.tries) == 6
        assert "paced" not in world.counted
    finally:
        await house.close()
