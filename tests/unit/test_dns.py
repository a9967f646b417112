"""Questions to the DNS: what is answered, what is kept, and what is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from outbound_guard import dns as product_dns
from outbound_guard.clock import VirtualClock
from outbound_guard.dns import Lookup, NoAnswer
from tests.dnsstub import DnsStub, dns_stub

EVENT_LOOPS = ("asyncio", "uvloop")


@pytest.fixture
async def stub() -> AsyncIterator[DnsStub]:
    async with dns_stub() as stub:
        yield stub


@pytest.fixture
async def lookup(stub: DnsStub) -> AsyncIterator[Lookup]:
    lookup = Lookup([stub.address], VirtualClock(1000.0))
    yield lookup
    await lookup.close()


async def test_addresses(stub: DnsStub, lookup: Lookup) -> None:
    stub.names["a.list.test"] = ["127.0.0.2", "127.0.0.4"]
    stub.names["empty.list.test"] = []
    assert sorted(await lookup.addresses("a.list.test")) == ["127.0.0.2", "127.0.0.4"]
    assert await lookup.addresses("b.list.test") == ()
    assert await lookup.addresses("empty.list.test") == ()


@pytest.mark.parametrize(
    ("ttl", "listed", "kept"), [(5, True, 60), (600, True, 600), (86_400, True, 3600), (86_400, False, 300)]
)
async def test_answers_are_kept_as_long_as_they_say_within_bounds(
    stub: DnsStub, ttl: int, listed: bool, kept: int
) -> None:
    clock = VirtualClock(1000.0)
    lookup = Lookup([stub.address], clock)
    stub.ttl = ttl
    if listed:
        stub.names["a.list.test"] = ["127.0.0.2"]
    for _ in range(3):
        await lookup.addresses("a.list.test")
    clock.advance(kept - 1)
    await lookup.addresses("a.list.test")
    assert len(stub.asked) == 1
    clock.advance(2)
    await lookup.addresses("a.list.test")
    assert len(stub.asked) == 2


async def test_one_question_at_a_time_for_one_name(stub: DnsStub, lookup: Lookup) -> None:
    stub.names["a.list.test"] = ["127.0.0.2"]
    answers = await asyncio.gather(*[lookup.addresses("a.list.test") for _ in range(20)])
    assert set(answers) == {("127.0.0.2",)}
    assert stub.asked == ["a.list.test"]


async def test_who_stops_waiting_leaves_the_answer_to_the_next(stub: DnsStub, lookup: Lookup) -> None:
    stub.names["a.list.test"] = ["127.0.0.2"]
    impatient = asyncio.create_task(lookup.addresses("a.list.test"))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert await lookup.addresses("a.list.test") == ("127.0.0.2",)
    assert stub.asked == ["a.list.test"]


async def test_one_who_stops_waiting_stops_nobody_else(stub: DnsStub, lookup: Lookup) -> None:
    stub.names["a.list.test"] = ["127.0.0.2"]
    impatient, other = (asyncio.create_task(lookup.addresses("a.list.test")) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await other == ("127.0.0.2",)


async def test_only_so_many_answers_are_kept(stub: DnsStub) -> None:
    clock = VirtualClock(1000.0)
    lookup = Lookup([stub.address], clock, cached=3)
    for name in "abcddba":
        await lookup.addresses(f"{name}.list.test")
    assert "".join(name[0] for name in stub.asked) == "abcda"
    clock.advance(301.0)
    for name in "caeca":
        await lookup.addresses(f"{name}.list.test")
    assert "".join(name[0] for name in stub.asked) == "abcdacae", "what was asked for last is kept"


async def test_failures_are_told_and_not_kept(stub: DnsStub, lookup: Lookup, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.failing = True
    with pytest.raises(NoAnswer, match="SERVFAIL"):
        await lookup.addresses("a.list.test")
    stub.failing, stub.silent = False, True
    monkeypatch.setattr(product_dns, "_SERVER_SECONDS", 0.05)
    monkeypatch.setattr(product_dns, "_LIFETIME", 0.1)
    impatient = Lookup([stub.address], VirtualClock(1000.0))
    with pytest.raises(NoAnswer, match="Timeout"):
        await impatient.addresses("a.list.test")
    stub.silent, stub.garbage = False, True
    with pytest.raises(NoAnswer):
        await impatient.addresses("a.list.test")
    stub.garbage = False
    assert await lookup.addresses("a.list.test") == ()


@pytest.mark.parametrize("name", ["a..list.test", f"{'a' * 64}.list.test", f"{'a.' * 127}list.test"])
async def test_what_can_be_no_name_is_no_answer(name: str, stub: DnsStub, lookup: Lookup) -> None:
    with pytest.raises(NoAnswer):
        await lookup.addresses(name)
    assert stub.asked == []


async def test_without_a_resolver_there_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> None:
        raise product_dns.dns.resolver.NoResolverConfiguration("no /etc/resolv.conf")

    monkeypatch.setattr(product_dns, "_resolver", none)
    with pytest.raises(NoAnswer, match="NoResolverConfiguration"):
        await Lookup([], VirtualClock()).addresses("a.list.test")


async def test_closing_gives_up_what_is_asked(stub: DnsStub) -> None:
    stub.silent = True
    lookup = Lookup([stub.address], VirtualClock(1000.0))
    asking = asyncio.create_task(lookup.addresses("a.list.test"))
    await asyncio.sleep(0)
    await lookup.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
