"""An account is erased on several hosts: each removes its own files twice, and only then it is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.desk.accounts.erasure import AGAIN, carry_out
from outbound_guard.ledger import account_erasing, nodes
from outbound_guard.ledger.nodes import Here
from outbound_guard.ledger.records import Erasure
from outbound_guard.reputation import Reputation
from outbound_guard.spool import Spool
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer
from tests.records import Books, books, entry

NOW = 1_700_000_000.0


class Hosts:
    """Two hosts with one ledger, of which alpha leads."""

    def __init__(self, opened: Books, memory: Reputation, clock: VirtualClock, folder: Path) -> None:
        self.opened, self.memory, self.clock = opened, memory, clock
        self.spools = {name: Spool(folder / name, clock, 0) for name in ("alpha", "beta")}

    async def erase(self, name: str, *, settled: bool = True) -> int:
        """What this host does about orders now and then; how many were finished."""
        return await carry_out(
            self.opened.ledger,
            self.spools[name],
            self.memory,
            self.opened.journal,
            self.clock,
            lambda: settled,
            node=name,
            leads=name == "alpha",
        )

    async def hold(self, name: str, id_: str) -> None:
        """A held message in a host's spool."""
        await self.spools[name].put(entry(id_, account="gone.test"), [b"Subject: x\r\n\r\n"], "held")

    @property
    def state(self) -> str:
        """How far the only order has come."""
        order = account_erasing.order_one(self.opened.ledger, "e1")
        assert order is not None
        return order.state


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[Hosts]:
    server = EmbeddedServer(tmp_path / "state", persist=False)
    assert await server.start()
    state = await State.connect(server.url, timeout=30.0, count=lambda *_, **__: None)
    clock = VirtualClock(NOW)
    with books(tmp_path, clock) as opened:
        opened.keep(Erasure("e1", NOW, "gone.test", "ann"))
        for name in ("alpha", "beta"):
            nodes.enter(opened.ledger, Here(name=name, identity=name))
        hosts = Hosts(opened, Reputation(state), clock, tmp_path)
        yield hosts
        for spool in hosts.spools.values():
            spool.close()
    await state.close()
    await server.stop()


async def test_it_is_done_when_each_host_has_removed_its_files_twice(hosts: Hosts) -> None:
    await hosts.hold("beta", "m1")
    assert await hosts.erase("alpha") == 0
    assert hosts.state == "waiting"
    assert await hosts.erase("beta") == 0
    assert await hosts.spools["beta"].ids("held") == []
    assert await hosts.erase("alpha") == 0
    assert hosts.state == "once"
    # This was under way, and is in no record yet.
    await hosts.hold("beta", "m2")
    hosts.clock.advance(AGAIN + 1)
    for _ in range(2):
        assert await hosts.erase("beta", settled=False) == 0
        assert await hosts.erase("alpha") == 0
        assert hosts.state == "once"
        assert await hosts.spools["beta"].ids("held") == ["m2"]
    assert await hosts.erase("beta") == 0
    assert await hosts.spools["beta"].ids("held") == []
    assert await hosts.erase("alpha") == 1
    assert hosts.state == "done"
