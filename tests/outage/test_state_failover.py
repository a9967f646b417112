"""Masters of the store die while mail flows: another one takes over, nothing is lost, and nobody waits for it.

Whoever waited for a master that hangs would be answered never, and offer its message again: each is answered at its
first try. How long that takes at most is measured by `python -m benchmarks.hosts`; a busy machine proves nothing here.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flow import Flow
from tests.product import Hops, Product, until
from tests.stateservers import Server, Servers

LATEST = 150.0
"""Seconds within which a part is found anew. Sentinels that a busy machine lets sleep do nothing for half a minute."""


def _through(folder: Path, servers: Servers, url: str, away: Callable[[], None], after: Server) -> None:
    """Mail flows before, while and after `away` takes a master away; `after` is the one that comes in its place."""
    with Hops() as hops:
        hop = hops.start()
        more = f'[state]\nurl = "{url}"\n'
        with Product.made(folder / "guard", smarthosts=[hop.address], more=more) as product:
            flow = Flow(hops, product, hop)
            flow.goes_on()
            # On a busy machine it may have been late for a moment just now.
            until(lambda: product.metric("state_up") == 1, product.said, LATEST)
            away()
            flow.goes_on()
            until(lambda: after.say("ROLE")[0] == "master", "another one is the master", LATEST)
            until(lambda: product.metric("state_errors_total") > 0, "it was noticed", LATEST)
            until(lambda: product.metric("state_up") == 1, product.said, LATEST)
            until(lambda: product.get("/readyz") == (200, "ready\n"), "all is well again", LATEST)
            flow.goes_on(200)
            until(lambda: _counted(after) > 0, "the new master counts", LATEST)
            flow.end()


def _counted(server: Server) -> int:
    """Senders that a server has counted since it became the master."""
    return int(server.say("EVAL", "return #redis.call('KEYS', 's:*')", 0))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six servers, or five, and the product start at a time."""
    monkeypatch.setattr("tests.product.START_SECONDS", 240.0)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_master_of_sentinels_dies_or_hangs(tmp_path: Path, how: signal.Signals) -> None:
    with Servers(tmp_path) as servers:
        master = servers.watched(replicas=1, sentinels=3)
        _through(tmp_path, servers, servers.sentinel_url, lambda: master.signal(how), servers.nodes[1])


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_master_of_six_dies_or_hangs(tmp_path: Path, how: signal.Signals) -> None:
    with Servers(tmp_path) as servers:
        nodes = servers.cluster(masters=3, replicas=1)
        _through(tmp_path, servers, servers.cluster_url, lambda: nodes[1].signal(how), nodes[4])
