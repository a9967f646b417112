"""Three relay hosts, each with a data directory of its own, on one Redis: what one of them decides holds on all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.product import Hops, Product, message, until
from tests.stateservers import Servers

WHO = "anna@customer.test"


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_suspension_here_holds_there(tmp_path: Path) -> None:
    with Servers(tmp_path) as servers, Hops() as hops:
        hop = hops.start()
        more = f'[state]\nurl = "redis://127.0.0.1:{servers.node().port}"\n'
        made = [
            Product.made(tmp_path / name, smarthosts=[hop.address], relays=1, more=more)
            for name in ("one", "two", "three")
        ]
        with made[0] as one, made[1] as two, made[2] as three:
            for host in (one, two, three):
                assert _answer(host).startswith("250 ")
            one.guard("account", "suspend", "--sender", WHO, "--reason", "its owner asked for it")
            for host in (three, two):
                until(lambda host=host: _answer(host).startswith("550 "), "it holds here too")
            two.guard("account", "resume", "--sender", WHO)
            for host in (one, three):
                until(lambda host=host: _answer(host).startswith("250 "), "it does not hold any more")


def _answer(host: Product) -> str:
    """The reply to one more message of the sender."""
    with host.client() as client:
        return client.submit(WHO, ["bob@there.test"], message("Minutes of Tuesday", From=f"<{WHO}>"))
