"""The whole product opens cases by itself: of listings, verified with two resolvers, and of refusals of real mail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.listserver import ListServer, Zone, list_server_in_thread
from tests.product import Hops, Product, message, until

pytestmark = pytest.mark.long

ONE, TWO = "127.0.0.11", "127.0.0.12"
SETTINGS = """
[blocklist]
file = "lists.toml"
interval = 1
per_second = 2000
per_second_per_list = 500
rest_weight = 0
resolvers = ["{one}", "{two}"]
[cases]
refusals = 1
"""


@pytest.fixture
def hops() -> Iterator[Hops]:
    with Hops() as hops:
        yield hops


@pytest.fixture
def servers() -> Iterator[tuple[ListServer, ListServer]]:
    with list_server_in_thread() as one, list_server_in_thread() as two:
        yield one, two


def cases(product: Product) -> list[dict[str, Any]]:
    """The open cases, the newest first."""
    found: list[dict[str, Any]] = json.loads(product.guard("case", "list", "--json"))
    return found


@pytest.mark.slow
def test_a_listing_and_refusals_become_cases(
    tmp_path: Path, hops: Hops, servers: tuple[ListServer, ListServer]
) -> None:
    three = [hops.start() for _ in range(3)]
    zones = ("heavy.test", "light.test", "third.example")
    for server in servers:
        server.zones |= {zone: Zone(listed={ONE: ["127.0.0.2"]}) for zone in zones}
    (tmp_path / "lists.toml").write_text("".join(f'[[list]]\nzone = "{zone}"\n' for zone in zones))
    more = SETTINGS.format(one=servers[0].address, two=servers[1].address)
    product = Product.made(tmp_path, smarthosts=[hop.address for hop in three], relays=1, more=more)
    text = product.config.read_text()
    product.config.write_text(
        text.replace(
            "[[delivery.pool]]\n", f'[[delivery.pool]]\nname = "main"\nsource_addresses = ["{ONE}", "{TWO}"]\n'
        )
    )
    with product:
        until(lambda: len(cases(product)) == 1 and len(cases(product)[0]["subjects"]) == 3, product.said)
        (case,) = cases(product)
        assert (case["stage"], case["pool"]) == ("verify", "main")

        def item(name: str) -> dict[str, Any]:
            shown = json.loads(product.guard("case", "show", case["id"], "--json"))
            return next(one for one in shown["checklist"] if one["item"] == name)

        resolvers = until(lambda: (found := item("resolvers"))["state"] == "done" and found, product.said)
        for server in servers:
            assert f"resolver {server.address}: {ONE} on heavy.test: listed (127.0.0.2)" in resolvers["evidence"]

        # One address is refused, with a text that does not name it, and the mail goes out from the other: that is a
        # case of its own, about the address that was refused, and with the mail that did go out through it.
        refusal = "550 5.7.1 The IP you're using to send mail is not authorized; it has a very low reputation. gsmtp"
        for hop in three:
            hop.answer("RCPT", refusal, times=None, when="gmail", source=TWO)
        with product.client() as client:
            for number in range(3):
                answer = client.submit("anna@customer.test", ["r@there.test"], message(f"number {number}"))
                assert answer.startswith("250 "), answer
            for number in range(3):
                answer = client.submit("bert@other.test", ["r@gmail.com"], message(f"refused {number}"))
                assert answer.startswith("250 "), answer
        until(lambda: len(cases(product)) == 2, lambda: product.guard("case", "list", "--json"))
        (refused,) = [one for one in cases(product) if one["kind"] == "refusals"]
        assert (refused["title"], refused["pool"]) == (f"Google refuses {TWO}", "main")
        product.guard("case", "check", refused["id"], "--again")
        shown = json.loads(product.guard("case", "show", refused["id"], "--json"))
        traffic = next(one["evidence"] for one in shown["checklist"] if one["item"] == "traffic")
        went = sum(one.session.source[0] == TWO for hop in three for one in hop.messages)
        assert traffic.startswith(f"{went} message{'s' * (went > 1)} through {TWO}, of 1 account"), traffic
        until(lambda: product.metric("cases_open", stage="verify") == 2, product.said)
        assert product.metric("cases_overdue") == 0

        # A command acts while the service runs, and the next one sees it; a death of the console loses nothing.
        product.guard("case", "take", case["id"], "--by", "ann")
        product.kill("console-0")
        until(lambda: [c["owner"] for c in cases(product) if c["id"] == case["id"]] == ["ann"], product.said)
        for server in servers:
            server.zones |= {zone: Zone() for zone in zones}
        until(lambda: next(c for c in cases(product) if c["id"] == case["id"])["removed"] > 0, product.said)
        assert len(cases(product)) == 2
