"""Fixtures that tests of several folders share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
import uvloop

from tests.nexthop import NextHop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """Tests run on asyncio's loop; a module that says `EVENT_LOOPS = ("asyncio", "uvloop")` runs on both."""
    return {name: LOOPS[name] for name in getattr(getattr(item, "module", None), "EVENT_LOOPS", ("asyncio",))}


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
