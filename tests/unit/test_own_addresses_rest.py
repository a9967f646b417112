"""A source address that rests is not used by a pool, and a pool is never left without one."""

from __future__ import annotations

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.delivery.pool import Host
from tests.unit.test_delivery_pool import FakeConnection, connection

A, B = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def host() -> Host:
    return Host("h:25", "h", 25, (A, B), 5, VirtualClock(1000.0))


def sources(host: Host) -> set[str | None]:
    return {host.source() for _ in range(6)}


def test_an_address_that_rests_is_not_used_and_its_connections_go(host: Host) -> None:
    idle = [connection(A), connection(B)]
    for one in idle:
        host.put(one)
    host.rest(frozenset([A]))
    assert sources(host) == {B}
    assert [one.left for one in idle if isinstance(one, FakeConnection)] == [True, False]
    assert host.avoids(A)
    assert not host.avoids(B)
    assert host.take() is idle[1]
    # One that was under way comes back later.
    host.put(connection(A))
    assert host.take() is None


def test_it_is_used_again_afterwards(host: Host) -> None:
    host.rest(frozenset([A]))
    host.rest(frozenset())
    assert sources(host) == {A, B}
    assert not host.avoids(A)


def test_the_last_ones_are_used_all_the_same(host: Host) -> None:
    host.rest(frozenset([A, B, "192.0.2.99"]))
    assert sources(host) == {A, B}
    assert not host.avoids(A)
    one = connection(A)
    host.put(one)
    assert host.take() is one


def test_what_a_host_has_refused_stays_refused(host: Host) -> None:
    host.refuses(B, "no")
    host.rest(frozenset([A]))
    # The one in use was refused here: it is the host's word against the rule's, and the rule is for all hosts.
    assert sources(host) == {B}
    assert not host.has_address()
    host.rest(frozenset())
    assert sources(host) == {A}


def test_without_addresses_of_its_own_nothing_changes() -> None:
    host = Host("h:25", "h", 25, (), 5, VirtualClock(1000.0))
    host.rest(frozenset([A]))
    assert host.source() is None
    assert not host.avoids(None)
