"""Fixtures that tests of several folders share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.nexthop import NextHop


@pytest.fixture
async def next_hop() -> AsyncIterator[Callable[..., Awaitable[NextHop]]]:
    """Starts recording next hops: `hop = await next_hop()`; all are stopped at the end of the test."""
    started: list[NextHop] = []

    async def start(**options: Any) -> NextHop:
        hop = NextHop(**options)
        started.append(hop)
        return await hop.start()

    yield start
    for hop in started:
        await hop.stop()
        assert not hop.errors
