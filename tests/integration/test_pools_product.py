"""The whole product with pools by class of sender: who leaves from which address, greeting as whom, and what shows."""

from __future__ import annotations

import datetime
import functools
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.nexthop import Message, NextHop
from tests.product import Hops, Product, message, until
from tests.webconsole import signed_in

pytestmark = pytest.mark.long

POOLS = """
[[delivery.pool]]
name = "good"
smarthosts = ["{hop}"]
tls = "none"
classes = ["trusted", "normal"]
source_addresses = ["127.0.9.1"]
helo = "good.guard.test"
[[delivery.pool]]
name = "fresh"
smarthosts = ["{hop}"]
tls = "none"
classes = ["new"]
source_addresses = ["127.0.9.2", "127.0.9.3"]
[[delivery.pool]]
name = "bad"
smarthosts = ["{hop}"]
tls = "none"
classes = ["doubtful", "forwarded"]
source_addresses = ["127.0.9.4"]
[[delivery.pool]]
name = "reports"
smarthosts = ["{hop}"]
tls = "none"
classes = ["bounces"]
source_addresses = ["127.0.9.5"]
[[delivery.pool]]
name = "young"
smarthosts = ["{hop}"]
tls = "none"
source_addresses = ["127.0.9.6"]
otherwise = []
[[delivery.address]]
address = "127.0.9.2"
helo = "two.guard.test"
weight = 4.0
[[delivery.address]]
address = "127.0.9.3"
helo = "three.guard.test"
[[delivery.address]]
address = "127.0.9.6"
warm_up = "{today}"
schedule = [6, 6]
"""
LISTED = "554 5.7.1 Service unavailable; Client host [{0}] blocked using zen.example"


RELAYED = re.compile(r"250 2\.0\.0 Ok: queued as TEST \([0-9a-z]{16}\)")
QUEUED = re.compile(r"250 2\.0\.0 Ok: queued as [0-9a-z]{16}")


class House:
    """The product and the one next hop of all its pools, which sees who comes from where and as whom."""

    def __init__(self, product: Product, hop: NextHop) -> None:
        self.product, self.hop = product, hop

    def submit(self, subject: str, sender: str, *recipients: str) -> str:
        with self.product.client() as client:
            return client.submit(sender, recipients or ["r@there.test"], message(subject, From=f"<{sender}>"))

    def got(self, subject: str) -> list[Message]:
        mark = f"Subject: {subject}\r\n".encode()
        return [one for one in list(self.hop.messages) if mark in one.content]

    def left(self, subject: str, sender: str) -> tuple[str, str]:
        """The address that a message leaves from while its client waits, and what was said in EHLO there."""
        assert RELAYED.fullmatch(self.submit(subject, sender))
        [found] = self.got(subject)
        return found.session.source[0], found.session.commands[0]

    def leaves_from(self, sender: str, *addresses: str) -> None:
        """Return when mail of this sender leaves from one of these: the relay hears of decisions in a second or two."""
        numbers = itertools.count()

        def leaves() -> bool:
            subject = f"of {sender} to {addresses[0]}, {next(numbers)}"
            relayed = RELAYED.fullmatch(self.submit(subject, sender))
            return bool(relayed) and self.got(subject)[0].session.source[0] in addresses

        until(leaves)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Hops() as hops:
        hop = hops.start()
        folder = tmp_path_factory.mktemp("pools")
        product = Product.made(folder, smarthosts=[hop.address], relays=1)
        config = folder / "guard.toml"
        text = re.sub(r"\[\[delivery.pool\]\].*?(?=\[policy\])", "", config.read_text(), flags=re.S)
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        config.write_text(text + POOLS.format(hop=hop.address, today=today))
        with product:
            yield House(product, hop)


@pytest.fixture(autouse=True)
def afresh(house: House) -> None:
    house.hop.forget()
    house.hop.messages.clear()


def test_each_class_leaves_by_its_pool_and_says_its_name(house: House) -> None:
    fresh = {("127.0.9.2", "EHLO two.guard.test"), ("127.0.9.3", "EHLO three.guard.test")}
    assert house.left("of a new sender", "new@new.test") in fresh
    house.product.event(account="new.test", **{"class": "new"})

    # Whoever is on probation is doubtful, and the ledger tells the relay that he is.
    for act in ("suspend", "resume"):
        house.product.guard("account", act, "once.test", "--reason", "was stolen")
    house.leaves_from("anna@once.test", "127.0.9.4")
    assert house.left("of a doubtful sender", "anna@once.test") == ("127.0.9.4", "EHLO guard.test")

    # A report about what was refused for good has the null sender.
    house.hop.answer("RCPT", "550 5.1.1 unknown", when="gone@")
    assert QUEUED.fullmatch(house.submit("for two", "new@new.test", "gone@there.test", "r@there.test"))
    [report] = until(lambda: [one for one in list(house.hop.messages) if not one.mail_from], house.product.said)
    assert report.recipients == ["new@new.test"]
    assert (report.session.source[0], report.session.commands[0]) == ("127.0.9.5", "EHLO guard.test")

    for labels in (
        {"pool": "fresh", "class": "new"},
        {"pool": "bad", "class": "doubtful"},
        {"pool": "reports", "class": "bounces"},
    ):
        until(functools.partial(house.product.metric, "pool_messages_total", **labels), labels)


def test_a_change_of_class_is_on_record_with_its_reason(house: House) -> None:
    house.left("the first", "ben@twice.test")
    for act in ("suspend", "resume"):
        house.product.guard("account", act, "ben@twice.test", "--sender", "--reason", "was stolen")
    house.leaves_from("ben@twice.test", "127.0.9.4")

    def shown() -> dict[str, Any]:
        return dict(json.loads(house.product.guard("account", "show", "ben@twice.test", "--sender", "--json")))

    view = until(lambda: (found := shown())["mail_class"]["class"] == "doubtful" and found)
    last, *_, first = view["changes"]
    assert (first["class_from"], first["class_to"]) == ("", "new")
    assert (last["class_to"], last["reason"]) == ("doubtful", "It is on probation after a suspension.")
    assert view["mail_class"]["time"] == last["time"]
    assert "probation ends by itself" in view["way_back"]


def test_a_pin_comes_before_the_class_until_it_is_taken_back(house: House) -> None:
    said = house.product.guard("account", "pin", "shop.test", "good", code=2)
    assert "a pin needs --reason" in said
    said = house.product.guard("account", "pin", "shop.test", "best", "--reason", "contract", code=1)
    assert said == "outbound-guard: there is no pool 'best'; there are good, fresh, bad, reports, young\n"
    said = house.product.guard("account", "pin", "shop.test", "good", "--reason", "contract")
    assert said == "account shop.test pinned to pool good\n"
    house.leaves_from("carl@shop.test", "127.0.9.1")
    assert house.left("pinned", "carl@shop.test") == ("127.0.9.1", "EHLO good.guard.test")
    until(lambda: "pinned to:" in house.product.guard("account", "show", "shop.test"))
    house.product.guard("account", "unpin", "shop.test", "--reason", "over")
    house.leaves_from("carl@shop.test", "127.0.9.2", "127.0.9.3")


def test_from_a_refused_address_mail_goes_by_another_and_doubtful_mail_waits(house: House) -> None:
    house.hop.answer("MAIL", LISTED.format("127.0.9.2"), times=None, source="127.0.9.2")
    assert {house.left(f"one address {number}", "new@new.test")[0] for number in range(8)} == {"127.0.9.3"}
    # The pool has none left: it goes by one that carries such mail already, or worse.
    house.hop.answer("MAIL", LISTED.format("127.0.9.3"), times=None, source="127.0.9.3")
    assert house.left("the whole pool", "new@new.test")[0] == "127.0.9.1"
    until(lambda: house.product.metric("pool_moves_total", pool="fresh", to="good"))
    assert "pool fresh cannot carry its mail now, since its addresses are refused: mail goes by pool good" in (
        house.product.said()
    )

    for act in ("suspend", "resume"):
        house.product.guard("account", act, "dora@once.test", "--sender", "--reason", "was stolen")
    # The relay may have heard of the first and not yet of the second.
    until(lambda: RELAYED.fullmatch(house.submit("free again", "dora@once.test")), house.product.said)
    house.leaves_from("dora@once.test", "127.0.9.4")
    house.hop.answer("MAIL", LISTED.format("127.0.9.4"), times=None, source="127.0.9.4")
    assert QUEUED.fullmatch(house.submit("doubtful and refused", "dora@once.test"))
    until(lambda: house.product.metric("pool_moves_total", pool="bad", to="") >= 2, house.product.said)
    assert house.got("doubtful and refused") == []
    house.hop.forget()
    [found] = until(lambda: house.got("doubtful and refused"), house.product.said)
    assert found.session.source[0] == "127.0.9.4"


def test_an_address_that_is_warming_up_sends_so_much_and_the_rest_waits(house: House) -> None:
    house.product.guard("account", "pin", "slow.test", "young", "--reason", "first days")
    house.leaves_from("emil@slow.test", "127.0.9.6")
    answers = [house.submit(f"young {number}", "emil@slow.test") for number in range(8)]
    assert QUEUED.fullmatch(answers[-1])

    def sent() -> int:
        """From both processes, as the store has it."""
        return 6 - int(house.product.metric("warm_up_left", source_address="127.0.9.6"))

    # One message may stay with a process that does not need it.
    until(lambda: sent() >= 5, house.product.said)
    seen = [session for session in house.hop.sessions if session.source[0] == "127.0.9.6"]
    assert sum(command.startswith("MAIL") for session in seen for command in session.commands) <= 6
    until(lambda: house.product.metric("pool_addresses", pool="young") == 0)
    assert "pool young cannot carry its mail now, since its addresses have sent what their warm-up allows" in (
        house.product.said()
    )
    assert list((house.product.data / "spool" / "queue").iterdir())


def test_the_console_shows_pools_and_pins(house: House) -> None:
    with signed_in(house.product) as ann:
        items = {one["name"]: one for one in ann.api("GET", "/addresses/pools").json()["items"]}
        assert items["fresh"]["classes"] == ["new"]
        assert items["good"]["classes"] == ["trusted", "normal", "bulk"]
        assert items["bad"]["otherwise"] == {"forwarded": [], "doubtful": []}
        two, three = items["fresh"]["addresses"]
        assert (two["helo"], two["weight"], two["share"], two["most"]) == ("two.guard.test", 4.0, 0.8, -1)
        assert (three["helo"], three["state"]) == ("three.guard.test", "in_use")
        [young] = items["young"]["addresses"]
        assert (young["most"], young["day"]) == (6, 1)
        text = ann.get("/addresses/pools").text
        assert "two.guard.test" in text
        assert "of 6 messages today" in text

        sender = {"scope": "sender", "subject": "fay@pinned.test"}
        asked = {"subjects": [sender], "what": "pin", "pool": "nowhere", "reason": "asked for"}
        assert ann.api("POST", "/accounts/act", asked).status_code == 409
        [done] = ann.api("POST", "/accounts/act", asked | {"pool": "bad"}).json()["items"]
        assert (done["change"], done["pool"]) == ("pinned", "bad")
        ann.get("/accounts/act", what="pin", of="account", subject="pinned.test")
        said = ann.post("/accounts/act", what="pin", scope="account", subject="pinned.test", pool="good", reason="x y")
        assert "Pinned" in said.text
        assert "to pool good" in said.text
        assert "Pinned to pool bad" in re.sub("<[^>]+>", "", ann.get("/accounts/sender", sender="fay@pinned.test").text)
        house.leaves_from("fay@pinned.test", "127.0.9.4")
        house.leaves_from("gus@pinned.test", "127.0.9.1")
        assert "Unpin" in ann.get("/accounts/one", account="pinned.test").text
        assert "pinned to good" in ann.get("/accounts/one", account="pinned.test").text
