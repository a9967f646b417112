"""Fixtures that tests of several folders share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvloop

from tests import postgres, records
from tests.nexthop import NextHop

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that says `LEDGERS = BOTH` (tests/records.py) runs on both databases, but for what is marked sqlite."""
    ledgers = getattr(metafunc.module, "LEDGERS", ())
    if ledgers and metafunc.definition.get_closest_marker("sqlite") is None:
        cases = [
            pytest.param(name.partition(" ")[0], marks=[pytest.mark.long] if name.endswith(" long") else [])
            for name in ledgers
        ]
        metafunc.parametrize("ledger_database", cases, indirect=True)


@pytest.fixture(autouse=True)
def ledger_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """sqlite | postgresql: where `tests.records.Books` keep their ledger."""
    where = getattr(request, "param", "sqlite")
    if where == "sqlite":
        yield where
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    made: dict[Path, str] = {}

    def url_at(directory: Path) -> str:
        if directory not in made:
            made[directory] = server.database(migrated=True)
        return made[directory]

    records.postgresql_at = url_at
    yield where
    records.postgresql_at = None
    for url in made.values():
        server.forget(url)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server for all tests of this process."""
    postgres.needed()
    with postgres.Server() as server:
        yield server
