"""Fixtures that the tests of delivery to next hops share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Pool
from outbound_guard.delivery.smarthost import Smarthosts
from tests.nexthop import NextHop

StartPool = Callable[..., Smarthosts]


@pytest.fixture(params=[True, False], ids=["pipelined", "lock-step"])
def pipelining(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_000_000.0)


@pytest.fixture
def counted() -> list[str]:
    """The events that were counted."""
    return []


@pytest.fixture
async def smarthosts(clock: VirtualClock, counted: list[str]) -> AsyncIterator[StartPool]:
    started = []

    def start(*hops: NextHop | str, wait_seconds: float = 20.0, **settings: Any) -> Smarthosts:
        names = tuple(hop if isinstance(hop, str) else hop.address for hop in hops)
        settings = {"connect_seconds": 5.0, "reply_seconds": 20.0, **settings}
        pool = Pool(smarthosts=names, **settings)
        started.append(
            Smarthosts(
                pool,
                hostname="guard.test",
                clock=clock,
                count=lambda _, event: counted.append(event),
                wait_seconds=wait_seconds,
            )
        )
        return started[-1]

    yield start
    for one in started:
        await one.close()
