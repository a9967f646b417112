"""Direct delivery from the addresses of a pool: their names, their turns over many destinations, their first days."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outbound_guard import config
from outbound_guard.clock import VirtualClock
from outbound_guard.mail import Envelope
from tests.unit.test_delivery_warming import Counter as Shared
from tests.world import StartHop, World

CONTENT = [b"From: a@x.test\r\nSubject: hello\r\n\r\nhello\r\n"]
FIRST = 20_000 * 86_400.0
"""2024-10-04."""
ONE, TWO = "127.0.8.1", "127.0.8.2"
POOL = config.Pool(source_addresses=(ONE, TWO), helo="pool.test", reply_seconds=10.0)


@pytest.fixture
async def world(next_hop: StartHop, tmp_path: Path) -> AsyncIterator[World]:
    async with World(next_hop, tmp_path) as one:
        yield one


async def test_addresses_take_turns_over_all_destinations_each_with_its_name(world: World) -> None:
    hops = []
    for number in range(8):
        hops.append(await world.server(f"mx.d{number}.test"))
        world.domain(f"d{number}.test", (10, f"mx.d{number}.test"))
    table = config.Address(address=TWO, helo="two.test", weight=3.0)
    delivery = world.delivery(POOL, address=(table,))
    for number in range(8):
        result = await delivery.send(Envelope("a@x.test", (f"b@d{number}.test",)), CONTENT)
        assert result.replies[0].accepted
    # Eight messages to eight destinations: the shares are those of the pool, not of each destination.
    seen = [(hop.sessions[0].source[0], hop.sessions[0].commands[0]) for hop in hops]
    assert Counter(seen) == {(ONE, "EHLO pool.test"): 2, (TWO, "EHLO two.test"): 6}


async def test_a_new_address_leaves_the_rest_to_the_other_and_alone_it_waits(world: World) -> None:
    hop = await world.server("mx.there.test")
    world.domain("there.test", (10, "mx.there.test"))
    clock, shared = VirtualClock(FIRST), Shared()
    table = config.Address(address=TWO, warm_up="2024-10-04", schedule=(2,))
    delivery = world.delivery(POOL, address=(table,), clock=clock)
    for _ in range(30):
        await delivery.warming.sync(FIRST, shared.add)
        assert (await delivery.send(Envelope("a@x.test", ("b@there.test",)), CONTENT)).replies[0].accepted
    assert Counter(one.session.source[0] for one in hop.messages) == {ONE: 28, TWO: 2}
    delivery.rest({"default": frozenset({ONE})})
    await delivery.warming.sync(FIRST, shared.add)
    result = await delivery.send(Envelope("a@x.test", ("b@there.test", "c@there.test")), CONTENT)
    assert [reply.text.partition(" ")[0] for reply in result.replies] == ["OG-WARMUP"] * 2
    assert (result.reached, result.listed, result.wait, result.keep) == (False, (0, 1), 1800.0, True)
    assert len(hop.messages) == 30


GONE = "192.0.2.77"
"""An address that no machine has (RFC 5737)."""


async def test_an_address_that_the_machine_has_not_leaves_all_to_the_other(world: World) -> None:
    hop = await world.server("mx.d0.test")
    delivery = world.delivery(config.Pool(source_addresses=(GONE, TWO), reply_seconds=10.0))
    for number in range(6):
        world.dns.names[f"mx.d{number}.test"] = [hop.host]
        world.domain(f"d{number}.test", (10, f"mx.d{number}.test"))
        result = await delivery.send(Envelope("a@x.test", (f"b@d{number}.test",)), CONTENT)
        assert result.replies[0].accepted
    assert {one.source[0] for one in hop.sessions} == {TWO}
    assert delivery.usable() == {"default": 1}
    assert world.counted.count("source") == 1


async def test_a_pool_without_any_address_says_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.server("mx.there.test")
    world.domain("there.test", (10, "mx.there.test"))
    delivery = world.delivery(config.Pool(source_addresses=(GONE,), reply_seconds=10.0))
    result = await delivery.send(Envelope("a@x.test", ("b@there.test",)), CONTENT)
    assert [reply.text.partition(" ")[0] for reply in result.replies] == ["OG-SOURCE"]
    assert (result.reached, result.listed, result.keep) == (False, (0,), True)
    assert delivery.usable() == {"default": 0}
    assert f"source address {GONE} cannot be used" in caplog.text
    assert "pool default cannot carry its mail now, since this machine has not its addresses" in caplog.text
