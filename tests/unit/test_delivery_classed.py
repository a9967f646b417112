"""Delivery by class of sender and by pin, over real next hops: which pool, what moves, what waits."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from outbound_guard import config
from outbound_guard.clock import VirtualClock
from outbound_guard.delivery import Delivery
from outbound_guard.delivery.hops import SPENT
from outbound_guard.mail import Envelope
from tests.nexthop import NextHop
from tests.unit.test_delivery_warming import Counter as Shared

FIRST = 20_000 * 86_400.0
"""2024-10-04."""
ONE = Envelope("from@x.test", ("one@y.test",))
CONTENT = [b"Subject: x\r\n\r\ny\r\n"]
LISTED = "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.example"


class House:
    """A next hop that all pools use, and what was counted."""

    def __init__(self, folder: Path, hop: NextHop) -> None:
        self.folder, self.hop = folder, hop
        self.counted: Counter[tuple[str, ...]] = Counter()
        self.clock = VirtualClock(FIRST)
        self.opened: list[Delivery] = []

    def delivery(self, *pools: config.Pool, **settings: object) -> Delivery:
        named = tuple(
            config.Pool(
                **{name: getattr(pool, name) for name in pool.__struct_fields__} | {"smarthosts": (self.hop.address,)}
            )
            for pool in pools
        )
        whole = config.Config(
            delivery=config.Delivery(pool=named, **settings),
            server=config.Server(data_dir="data"),
            path=str(self.folder / "config.toml"),
        )
        self.opened.append(
            Delivery(
                whole,
                hostname="guard.test",
                clock=self.clock,
                count=lambda *labels: self.counted.update([labels]),
                processes=1,
            )
        )
        return self.opened[-1]

    @property
    def last(self) -> tuple[str, str]:
        """The address that the last message came from, and how it greeted."""
        session = self.hop.messages[-1].session
        return session.source[0], session.commands[0]


@pytest.fixture
async def house(next_hop: Callable[..., Awaitable[NextHop]], tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path, await next_hop())
    yield house
    for one in house.opened:
        await one.close()


def pool(name: str, *classes: str, address: str, otherwise: tuple[str, ...] = ("*",), helo: str = "") -> config.Pool:
    return config.Pool(name=name, classes=classes, source_addresses=(address,), otherwise=otherwise, helo=helo)  # type: ignore[arg-type]


GOOD = pool("good", "trusted", "normal", address="127.0.0.2", helo="good.test")
BAD = pool("bad", "doubtful", address="127.0.0.3")


async def test_class_and_pin_choose_the_pool(house: House, caplog: pytest.LogCaptureFixture) -> None:
    delivery = house.delivery(GOOD, BAD)
    for words, seen in (
        (("", "normal"), ("127.0.0.2", "EHLO good.test")),
        (("", "doubtful"), ("127.0.0.3", "EHLO guard.test")),
        (("bad", "trusted"), ("127.0.0.3", "EHLO guard.test")),
        (("gone", "doubtful"), ("127.0.0.3", "EHLO guard.test")),
    ):
        assert (await delivery.send(ONE, CONTENT, *words)).replies[0].accepted
        assert house.last == seen
    assert house.counted["pool_messages_total", "bad", "doubtful"] == 2
    assert house.counted["pool_messages_total", "bad", "trusted"] == 1
    assert house.counted["pins_lost_total",] == 1
    assert [one.message for one in caplog.records if "pinned" in one.message] == [
        "mail is pinned to pool gone, which does not exist; it goes by its class"
    ]


async def test_doubtful_mail_waits_where_good_mail_goes_on(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    spare = pool("spare", "bulk", address="127.0.0.4")
    delivery = house.delivery(GOOD, BAD, spare)
    for refused in ("127.0.0.2", "127.0.0.3"):
        house.hop.answer("MAIL", LISTED, times=None, source=refused)
    assert (await delivery.send(ONE, CONTENT, "", "normal")).replies[0].accepted
    assert house.last[0] == "127.0.0.4"
    for _ in range(2):
        result = await delivery.send(ONE, CONTENT, "", "doubtful")
        assert result.listed == (0,)
    assert {one.session.source[0] for one in house.hop.messages} == {"127.0.0.4"}
    assert house.counted["pool_moves_total", "good", "spare"] == 1
    assert house.counted["pool_moves_total", "bad", ""] == 2
    said = [one.message for one in caplog.records if "cannot carry" in one.message]
    assert said == [
        "pool good cannot carry its mail now, since its addresses are refused: mail goes by pool spare",
        "pool bad cannot carry its mail now, since its addresses are refused: mail waits in the queue",
    ]


async def test_the_operator_may_say_otherwise(house: House) -> None:
    delivery = house.delivery(GOOD, pool("bad", "doubtful", address="127.0.0.3", otherwise=("good",)))
    house.hop.answer("MAIL", LISTED, times=None, source="127.0.0.3")
    assert (await delivery.send(ONE, CONTENT, "", "doubtful")).replies[0].accepted
    assert house.last[0] == "127.0.0.2"


def table(address: str, **fields: object) -> config.Address:
    return config.Address(address=address, **fields)


async def test_an_address_that_has_sent_enough_leaves_the_rest_to_the_others(house: House) -> None:
    both = config.Pool(source_addresses=("127.0.0.2", "127.0.0.3"))
    young = table("127.0.0.3", warm_up="2024-10-04", schedule=(3, 100), weight=100.0)
    delivery, shared = house.delivery(both, address=(young,)), Shared()
    assert delivery.usable() == {"default": 1}
    for _ in range(20):
        await delivery.warming.sync(house.clock.now(), shared.add)
        assert (await delivery.send(ONE, CONTENT)).replies[0].accepted
    assert Counter(one.session.source[0] for one in house.hop.messages) == {"127.0.0.2": 17, "127.0.0.3": 3}
    assert delivery.usable() == {"default": 1}
    house.clock.advance(86_400.0)
    await delivery.warming.sync(house.clock.now(), shared.add)
    assert delivery.usable() == {"default": 2}
    for _ in range(20):
        await delivery.warming.sync(house.clock.now(), shared.add)
        assert (await delivery.send(ONE, CONTENT)).replies[0].accepted
    assert house.last[0] == "127.0.0.3"


async def test_if_all_have_sent_enough_mail_moves_on_or_waits(house: House, caplog: pytest.LogCaptureFixture) -> None:
    tables = tuple(table(f"127.0.0.{number}", warm_up="2024-10-04", schedule=(1,)) for number in (2, 3))
    delivery, shared = house.delivery(GOOD, BAD, address=tables), Shared()
    await delivery.warming.sync(FIRST, shared.add)
    assert delivery.usable() == {"good": 1, "bad": 1}
    assert (await delivery.send(ONE, CONTENT, "", "doubtful")).replies[0].accepted
    await delivery.warming.sync(FIRST, shared.add)
    assert delivery.usable() == {"good": 1, "bad": 0}
    result = await delivery.send(ONE, CONTENT, "", "doubtful")
    assert (result.replies, result.reached, result.listed, result.wait) == ((SPENT,), False, (0,), 1800.0)
    assert "its addresses have sent what their warm-up allows: mail waits in the queue" in caplog.text
    assert house.counted["pool_moves_total", "bad", ""] == 1
    # Idle connections from it are not used either, and one that a person lets go that way moves on.
    otherwise = house.delivery(GOOD, pool("bad", "doubtful", address="127.0.0.3", otherwise=("good",)), address=tables)
    shared.sent.pop(("taken:127.0.0.2", 20_000))
    await otherwise.warming.sync(FIRST, shared.add)
    assert (await otherwise.send(ONE, CONTENT, "", "doubtful")).replies[0].accepted
    assert house.last[0] == "127.0.0.2"


async def test_weights_hold_for_messages_over_open_connections(house: House) -> None:
    both = config.Pool(source_addresses=("127.0.0.2", "127.0.0.3"))
    delivery = house.delivery(both, address=(table("127.0.0.3", weight=3.0, helo="three.test"),))
    for _ in range(200):
        assert (await delivery.send(ONE, CONTENT)).replies[0].accepted
    counted = Counter(one.session.source[0] for one in house.hop.messages)
    assert abs(counted["127.0.0.3"] - 150) <= 30
    assert {(one.source[0], one.commands[0]) for one in house.hop.sessions} == {
        ("127.0.0.2", "EHLO guard.test"),
        ("127.0.0.3", "EHLO three.test"),
    }
    # It does not cost a connection for each message.
    assert len(house.hop.sessions) == 2


async def test_a_resting_address_leaves_its_share_to_the_others(house: House) -> None:
    both = config.Pool(source_addresses=("127.0.0.2", "127.0.0.3"))
    delivery = house.delivery(both)
    delivery.rest({"default": frozenset({"127.0.0.3"})})
    assert delivery.usable() == {"default": 1}
    for _ in range(30):
        await delivery.send(ONE, CONTENT)
    assert {one.session.source[0] for one in house.hop.messages} == {"127.0.0.2"}
    delivery.rest({})
    house.hop.messages.clear()
    for _ in range(30):
        await delivery.send(ONE, CONTENT)
    # It begins where the other is, and does not get all until it has caught up.
    assert 10 <= Counter(one.session.source[0] for one in house.hop.messages)["127.0.0.3"] <= 25
