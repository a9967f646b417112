"""Whose turn it is among the addresses of a pool."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Address, Pool
from outbound_guard.delivery.pool import Host
from outbound_guard.delivery.sources import AHEAD, Sources, sources_of
from outbound_guard.delivery.warming import Warming
from tests.unit.test_delivery_pool import connection
from tests.unit.test_delivery_warming import Counter as Shared

A, B, C = "192.0.2.1", "192.0.2.2", "2001:db8::1"
FIRST = 20_000 * 86_400.0


def weighted(**weights: float) -> Sources:
    names = {"a": A, "b": B, "c": C}
    return Sources(
        Pool(source_addresses=tuple(names[one] for one in weights)),
        [Address(address=names[one], weight=weight) for one, weight in weights.items()],
    )


def test_turns_by_weight() -> None:
    sources = weighted(a=3.0, b=1.0)
    counted = Counter(sources.next((A, B)) for _ in range(400))
    assert counted == {A: 300, B: 100}


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.integers(50, 500))
def test_whatever_the_weights_the_shares_follow_them(a: float, b: float, number: int) -> None:
    sources = weighted(a=a, b=b)
    counted = Counter(sources.next((A, B)) for _ in range(number))
    assert abs(counted[A] / a - counted[B] / b) <= 1 / a + 1 / b + 1e-6


def test_who_comes_back_does_not_catch_up() -> None:
    sources = weighted(a=1.0, b=1.0)
    for _ in range(1000):
        sources.next((A,))
    assert Counter(sources.next((A, B)) for _ in range(10)) == {A: 5, B: 5}


def test_the_two_kinds_of_address_take_turns_among_themselves() -> None:
    d = "2001:db8::2"
    sources = Sources(Pool(source_addresses=(A, C, d)))
    assert (sources.fitting(4), sources.fitting(6)) == ((A,), (C, d))
    found = []
    for _ in range(6):
        for _ in range(50):
            sources.next((A,))
        found.append(sources.next((C, d)))
    assert found in ([C, d] * 3, [d, C] * 3)


def test_an_open_connection_is_used_again_until_its_address_is_ahead() -> None:
    host = Host("h:25", "h", 25, (A, B), 5, VirtualClock(1000.0), turns=weighted(a=1.0, b=1.0))
    idle = connection(A)
    host.put(idle)
    used = 0
    while host.balanced():
        assert host.take() is idle
        host.put(idle)
        used += 1
        assert used < 100
    assert used == AHEAD + 1
    # The next connection comes from the other one; but if none can be opened, this one will do.
    assert host.source() == B
    assert host.take() is idle


async def test_a_spent_address_is_neither_bound_nor_used_again() -> None:
    table = Address(address=A, warm_up="2024-10-04")
    warming = Warming([table], (2,), FIRST)
    counter = Shared()
    for _ in range(2):
        await warming.sync(FIRST, counter.add)
    host = Host(
        "h:25",
        "h",
        25,
        (A, B),
        5,
        VirtualClock(FIRST),
        turns=sources_of(Pool(source_addresses=(A, B)), [table], warming),
    )
    first, second = connection(A), connection(A)
    # The day's number holds also for sessions that are being set up, unless nothing comes of them.
    table_only = [host.source() for _ in range(2)]
    assert table_only == [A, B]
    host.not_opened(A)
    host.rest(frozenset([B]))
    assert (host.source(), host.spent()) == (A, True)
    host.rest(frozenset())
    host.put(first)
    await warming.sync(FIRST, counter.add)
    assert host.take() is first
    host.put(first)
    host.put(second)
    # Two messages have gone from it.
    assert host.avoids(A)
    assert host.take() is None
    assert {host.source() for _ in range(5)} == {B}
    assert not host.spent()
    host.rest(frozenset([B]))
    assert host.spent()
    assert not host.may_open()
    assert not host.has_address()


def test_special_names_and_wrong_addresses() -> None:
    sources = Sources(
        Pool(source_addresses=(A, "2001:DB8::0:1")), [Address(address=C, helo="six.test"), Address(address=B, helo="b")]
    )
    assert sources.addresses == (A, C)
    assert sources.helo == {C: "six.test"}
    with pytest.raises(ValueError, match="somewhere"):
        Sources(Pool(source_addresses=("somewhere",)))
