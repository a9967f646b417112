"""One smarthost's back-off and health, in virtual time."""

from __future__ import annotations

from typing import Any, cast

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.delivery.connection import Connection
from outbound_guard.delivery.pool import IDLE_SECONDS, REFUSED_SECONDS, Host


class FakeConnection:
    """Stands for a connection; nothing is sent."""

    def __init__(self, source: str | None = None) -> None:
        self.source = source
        self.ready = True
        self.idle_since = 0.0
        self.left = False

    def quit(self) -> None:
        self.left = True

    def check(self, now: float) -> None:
        pass


def connection(source: str | None = None) -> Connection:
    return cast(Any, FakeConnection(source))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1000.0)


@pytest.fixture
def host(clock: VirtualClock) -> Host:
    return Host("h:25", "h", 25, (), 2, clock)


def waited(host: Host, clock: VirtualClock) -> float:
    """Seconds until a new connection may be tried, to a tenth."""
    start = clock.now()
    while not host.may_open():
        clock.advance(0.1)
    return clock.now() - start


def test_the_wait_grows_from_one_second_to_sixty(host: Host, clock: VirtualClock) -> None:
    waits = []
    for _ in range(9):
        host.fails("connect", "refused")
        waits.append(waited(host, clock))
    for wait, least in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert least <= wait + 1e-6
        assert wait <= min(60, least * 1.25) + 0.2


def test_failures_at_the_same_time_are_one(host: Host, clock: VirtualClock) -> None:
    for _ in range(20):
        host.fails("broken", "")
    assert host.failures == 1
    assert waited(host, clock) < 1.5


def test_only_one_probes_a_host_that_failed(host: Host, clock: VirtualClock) -> None:
    host.fails("connect", "")
    waited(host, clock)
    host.probing = True
    assert not host.may_open()
    host.works()
    assert host.may_open()
    assert host.healthy()


def test_a_clock_set_back_does_not_make_the_wait_longer(host: Host, clock: VirtualClock) -> None:
    host.fails("connect", "")
    clock.set(10.0)
    assert host.may_open()


def test_a_failed_host_is_healthy_while_connections_live(host: Host) -> None:
    alive = connection()
    host.connections.add(alive)
    host.fails("greeting", "421 too many connections")
    assert host.healthy()
    assert not host.may_open()
    host.forget(alive)
    assert not host.healthy()
    assert host.health().failures == 1


def test_no_more_connections_than_allowed(host: Host) -> None:
    host.opening = 1
    host.connections.add(connection())
    assert not host.may_open()


def test_the_connection_used_last_is_taken_first_and_old_ones_are_closed(host: Host, clock: VirtualClock) -> None:
    old, new = connection(), connection()
    host.connections |= {old, new}
    host.put(old)
    clock.advance(IDLE_SECONDS)
    host.put(new)
    host.sweep(0.0)
    assert cast(Any, old).left
    assert not cast(Any, new).left
    assert host.take() is new
    assert host.take() is None


def test_a_connection_that_closed_while_idle_is_not_taken(host: Host) -> None:
    gone, good = connection(), connection()
    host.put(good)
    host.put(gone)
    cast(Any, gone).ready = False
    assert host.take() is good


def test_source_addresses_take_turns(clock: VirtualClock) -> None:
    host = Host("h:25", "h", 25, ("127.0.0.2", "127.0.0.3"), 2, clock)
    assert {host.source(), host.source()} == {"127.0.0.2", "127.0.0.3"}
    assert Host("h:25", "h", 25, (), 2, clock).source() is None


@pytest.fixture
def three(clock: VirtualClock) -> Host:
    """A host with three addresses to come from."""
    return Host("h:25", "h", 25, ("127.0.0.1", "127.0.0.2", "127.0.0.3"), 9, clock)


def taken(host: Host) -> set[str | None]:
    """The addresses that are bound next."""
    return {host.source() for _ in range(6)}


def test_a_refused_address_is_left_out_for_a_while(three: Host, clock: VirtualClock) -> None:
    assert three.refuses("127.0.0.2", "listed")
    assert taken(three) == {"127.0.0.1", "127.0.0.3"}
    clock.advance(REFUSED_SECONDS - 1)
    assert three.refuses("127.0.0.3", "listed")
    assert taken(three) == {"127.0.0.1"}
    clock.advance(1)
    assert taken(three) == {"127.0.0.1", "127.0.0.2"}
    assert not three.avoids("127.0.0.2")
    assert three.avoids("127.0.0.3")


def test_if_all_are_refused_none_is_left_out_and_the_one_refused_first_is_next(
    three: Host, clock: VirtualClock
) -> None:
    answers = []
    for last in (2, 3, 1):
        answers.append(three.refuses(f"127.0.0.{last}", "listed"))
        clock.advance(1)
    assert answers == [True, True, False]
    assert not three.avoids("127.0.0.2")
    assert taken(three) == {"127.0.0.2"}
    assert not three.refuses("127.0.0.2", "still listed")
    assert taken(three) == {"127.0.0.3"}


@pytest.mark.parametrize("sources", [(), ("127.0.0.1",)])
def test_the_only_address_stays_in_use(clock: VirtualClock, sources: tuple[str, ...]) -> None:
    host = Host("h:25", "h", 25, sources, 2, clock)
    source = host.source()
    idle = connection(source)
    host.put(idle)
    assert not host.refuses(source, "listed")
    assert host.source() == source
    assert not host.avoids(source)
    assert host.take() is idle


def test_idle_connections_from_a_refused_address_are_closed(three: Host, clock: VirtualClock) -> None:
    bad, good = connection("127.0.0.1"), connection("127.0.0.2")
    three.put(bad)
    three.put(good)
    three.refuses("127.0.0.1", "listed")
    assert [cast(Any, one).left for one in (bad, good)] == [True, False]
    assert three.take() is good


def test_an_idle_connection_is_not_taken_once_another_address_may_be_used_again(
    three: Host, clock: VirtualClock
) -> None:
    for last in (1, 2, 3):
        three.refuses(f"127.0.0.{last}", "listed")
        clock.advance(REFUSED_SECONDS / 3)
    idle = connection("127.0.0.3")  # Put back while all were refused.
    three.put(idle)
    clock.advance(1)
    assert three.take() is None
    assert cast(Any, idle).left


def test_a_clock_set_back_does_not_leave_an_address_out_for_longer(three: Host, clock: VirtualClock) -> None:
    three.refuses("127.0.0.2", "listed")
    clock.set(10.0)
    assert "127.0.0.2" in taken(three)
