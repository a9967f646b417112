"""A process of the product is killed: it is started again, and no message is lost by it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.flow import Flow
from tests.nexthop import NextHop
from tests.product import Hops, Product, message, until


class House:
    """The product and its next hop."""

    def __init__(self, hops: Hops, product: Product, hop: NextHop) -> None:
        self.hops, self.product, self.hop = hops, product, hop

    def killed(self, slot: str) -> None:
        """Kill a process and return when another is in its place and ready."""
        role = slot.partition("-")[0]
        before = self.product.metric("restarts_total", role=role)
        old = self.product.kill(slot)
        until(lambda: self.product.processes().get(slot, old) != old, f"{slot} is started again")
        until(lambda: self.product.get("/readyz") == (200, "ready\n"), lambda: self.product.get("/readyz"))
        until(lambda: self.product.metric("restarts_total", role=role) == before + 1, "it is counted")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Hops() as hops:
        hop = hops.start()
        with Product.made(tmp_path_factory.mktemp("killed"), smarthosts=[hop.address]) as product:
            yield House(hops, product, hop)


def test_a_relay_is_killed(house: House) -> None:
    flow = Flow(house.hops, house.product, house.hop)
    flow.goes_on()
    for slot in ("relay-0", "relay-1"):
        house.killed(slot)
        flow.goes_on()
    flow.end(killed=True)


def test_the_delivery_process_is_killed(house: House) -> None:
    with house.hops.away(house.hop), house.product.client() as client:
        for number in range(20):
            said = client.submit("anna@customer.test", [f"r{number}@there.test"], message("before the kill"))
            assert said.startswith("250 2.0.0 Ok: queued as"), said
        house.killed("delivery-0")

    def arrived() -> list[str]:
        return [one.recipients[0] for one in house.hop.messages if b"Subject: before the kill\r\n" in one.content]

    until(lambda: len(arrived()) == 20, lambda: (len(arrived()), house.product.said()))
    until(lambda: not list((house.product.data / "spool/queue").iterdir()), "nothing is left")
    assert sorted(arrived()) == sorted(f"r{number}@there.test" for number in range(20))


@pytest.mark.long
def test_the_console_is_killed(house: House) -> None:
    with house.product.client() as client:
        for number in range(20):
            assert client.submit("carl@console.test", ["r@there.test"], message(f"{number}")).startswith("250 ")
            if number == 10:
                house.killed("console-0")

    def decided() -> object:
        return json.loads(house.product.guard("account", "show", "console.test", "--json"))["day"]

    until(lambda: decided() == {"relay": 20}, decided)


@pytest.mark.long
def test_the_supervisor_is_killed(house: House) -> None:
    """Its children end with it, and it starts again, even while they are still ending."""
    flow = Flow(house.hops, house.product, house.hop)
    flow.goes_on()
    before = house.product.tree()
    house.product.kill_supervisor()
    house.product.start()
    assert not before & house.product.tree()
    flow.goes_on()
    flow.end(killed=True)
