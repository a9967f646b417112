"""Processes change while mail flows: a rolling restart and a drain lose nothing and double nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.flow import Flow
from tests.loadclient import reconcile
from tests.product import GUARD, Hops, Product, message, until

pytestmark = pytest.mark.long


def test_a_rolling_restart_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        with Product.made(tmp_path, smarthosts=[hop.address]) as product:
            flow = Flow(hops, product, hop)
            flow.goes_on()
            before = product.processes()
            assert "has been told" in product.guard("restart")
            until(lambda: "rolling restart done" in product.said(), product.said, 120)
            flow.goes_on()
            after = product.processes()
            changed = {slot for slot in before if after.get(slot) != before[slot]}
            assert {"delivery-0", "console-0"} <= changed
            assert not {pid for slot, pid in before.items() if "relay" in slot} & set(after.values())
            answered = flow.end(killed=True)
            assert reconcile(answered, hop.messages).duplicated == {}
            assert product.metric("restarts_total") == 0


def test_a_drain_delivers_what_is_queued_and_ends(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        with Product.made(tmp_path, smarthosts=[hop.address]) as product:
            with hops.away(hop):
                with product.client() as client:
                    for number in range(20):
                        said = client.submit("anna@customer.test", [f"r{number}@there.test"], message("queued"))
                        assert said.startswith("250 2.0.0 Ok: queued as"), said
                drain = subprocess.Popen([GUARD, "drain", "--wait", "--config", product.config], stdout=subprocess.PIPE)
                until(lambda: product.get("/readyz") == (503, "draining\n"), "it says so")
                until(lambda: product.metric("draining") == 20, "it says how much is left")
            assert drain.communicate(timeout=120)[0] == b"it has stopped\n"
            assert product.wait() == 0
            assert sorted(one.recipients[0] for one in hop.messages) == sorted(f"r{n}@there.test" for n in range(20))
            assert "nothing runs on" in product.guard("reload", code=1)
