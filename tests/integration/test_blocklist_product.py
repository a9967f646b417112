"""The whole product watches its addresses: a listed one is found, rests, and returns; mail goes on from the others."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.listing_queries import own_addresses
from tests.listserver import ListServer, Zone, list_server_in_thread
from tests.product import Hops, Product, message, until

pytestmark = pytest.mark.long

ONE, TWO = "127.0.0.11", "127.0.0.12"
LISTS = """
[[list]]
zone = "heavy.test"
codes = { "127.0.0.2" = "spam" }
weight = 3.0
[[list]]
zone = "light.test"
codes = { "127.0.0.2" = "trap" }
weight = 1.0
[[list]]
zone = "range.test"
scope = "range"
weight = 1.0
[[list]]
zone = "network.test"
scope = "network"
weight = 3.0
"""
SETTINGS = """
[dns]
resolvers = ["{server}"]
[blocklist]
file = "lists.toml"
interval = {interval}
per_second = 2000
per_second_per_list = 500
rest_clean = 2
domains = ["customer.test"]
"""


class House:
    """The product with one next hop and two addresses to reach it from."""

    def __init__(self, folder: Path, hops: Hops, server: ListServer, interval: float) -> None:
        self.hop, self.server, self.sent = hops.start(), server, 0
        for zone in ("heavy.test", "light.test", "range.test", "network.test"):
            server.zones[zone] = Zone()
        server.records = {
            ("customer.test", "TXT"): [f'"v=spf1 ip4:{ONE} -all"'],
            ("11.0.0.127.in-addr.arpa", "PTR"): ["guard.test."],
            ("guard.test", "A"): [ONE],
        }
        (folder / "lists.toml").write_text(LISTS)
        self.product = Product.made(
            folder,
            smarthosts=[self.hop.address],
            relays=1,
            more=SETTINGS.format(server=server.address, interval=interval),
        )
        text = self.product.config.read_text()
        self.product.config.write_text(
            text.replace("[[delivery.pool]]\n", f'[[delivery.pool]]\nsource_addresses = ["{ONE}", "{TWO}"]\n')
        )

    def list(self, zone: str, *subjects: str, code: str = "127.0.0.2") -> None:
        self.server.zones[zone].listed = {subject: [code] for subject in subjects}

    def sources(self) -> set[str]:
        """Where four sessions that are held at once come from."""
        before = len(self.hop.sessions)
        for _ in range(4):
            with self.product.client() as client:
                self.sent += 1
                answer = client.submit("anna@customer.test", ["r@there.test"], message(f"number {self.sent}"))
                assert answer.startswith("250 "), answer
        return {session.source[0] for session in self.hop.sessions[before:]}

    def addresses(self, state: str) -> float:
        return self.product.metric("own_addresses", pool="default", state=state)


@pytest.fixture
def hops() -> Iterator[Hops]:
    with Hops() as hops:
        yield hops


@pytest.fixture
def server() -> Iterator[ListServer]:
    with list_server_in_thread() as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_listed_address_leaves_its_pool_and_returns(tmp_path: Path, hops: Hops, server: ListServer) -> None:
    house = House(tmp_path, hops, server, interval=1)
    with house.product as product:
        until(lambda: product.metric("blocklist_subjects", state="clean") == 2 * 4, product.said)
        house.sources()
        # One has all that receivers ask for.
        until(lambda: product.metric("own_addresses_objectionable") == 1, product.said)
        assert f"a receiver could object to address {TWO}: it has no reverse name (PTR); SPF of" in product.said()

        # A list of little weight, a range and a network are known of, and nobody rests for them.
        house.list("light.test", ONE)
        house.list("range.test", ONE, TWO)
        house.list("network.test", ONE, TWO)
        until(lambda: len(product.events("Listing")) == 5, product.said)
        house.list("heavy.test", ONE)
        product.event("Address", address=ONE, state="resting")
        assert product.event("Listing", subject=ONE, zone="heavy.test")["state"] == "listed"
        # A connection is used for many messages, so that each of these begins with none that is idle.
        until(lambda: (hops.call(house.hop.stop()), hops.call(house.hop.start()), house.sources())[2] == {TWO})

        # The last one stays, and is not silent about it.
        house.list("heavy.test", ONE, TWO)
        product.event("Address", address=TWO, state="kept")
        until(lambda: (house.addresses("kept"), house.addresses("resting")) == (1, 1), product.said)
        assert "should rest and stays in use, since the pool has no other" in product.said()
        house.sources()
        assert [(row["address"], row["state"], row["reason"]) for row in product.events("Address")] == [
            (ONE, "resting", "listed by heavy.test (weight 3), light.test (weight 1)"),
            (TWO, "kept", "listed by heavy.test (weight 3)"),
        ]

        for zone in house.server.zones:
            house.list(zone)
        product.event("Address", address=ONE, state="in_use")
        product.event("Address", address=TWO, state="in_use")
        history = json.loads(product.guard("blocklist", "show", "--json"))["history"]
        heavy = [row["state"] for row in history if (row["subject"], row["zone"]) == (ONE, "heavy.test")]
        assert heavy == ["clean", "listed"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_when_receivers_begin_to_refuse_lists_are_asked_at_once(tmp_path: Path, hops: Hops, server: ListServer) -> None:
    house = House(tmp_path, hops, server, interval=86_400)
    with house.product as product:
        until(lambda: product.metric("blocklist_subjects", state="clean") == 2 * 4, product.said)
        console = product.processes()["console-0"]
        product.signal(signal.SIGHUP)
        house.list("heavy.test", TWO)
        house.hop.answer("MAIL", f"554 5.7.1 Client host [{TWO}] blocked using heavy.test", times=None, source=TWO)
        until(lambda: (house.sources(), product.events("Address"))[1], product.said)
        assert product.event("Address")["state"] == "resting"
        # The other address, which nobody refuses, was not asked about again.
        assert server.asked["11.0.0.127.heavy.test"] == 1
        assert "policy reloaded" in product.said()
        assert product.processes()["console-0"] == console

    # With an interval of 0 nobody is asked, and what rests returns: nobody would see when it may.
    server.asked.clear()
    text = product.config.read_text()
    product.config.write_text(text.replace("interval = 86400", "interval = 0"))
    with house.product as product, contextlib.closing(Ledger(url_of("embedded", product.data))) as ledger:
        until(lambda: not own_addresses(ledger), product.said)
        house.sources()
    assert not server.asked
