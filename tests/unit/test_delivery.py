"""The one door for mail that leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from outbound_guard import config
from outbound_guard.clock import SystemClock
from outbound_guard.delivery import Delivery, Result
from outbound_guard.delivery.carrying import BROKEN
from outbound_guard.mail import Asked, Envelope
from outbound_guard.reply import Reply
from tests.nexthop import NextHop

StartHop = Callable[..., Awaitable[NextHop]]
StartDelivery = Callable[..., Delivery]

ONE = Envelope("from@x.test", ("to@y.test",))
TWO = Envelope("from@x.test", ("one@y.test", "two@y.test"))
CONTENT = [b"Subject: hello\r\n\r\nA line.\r\n"]
ACCEPTED = Reply(250, "2.0.0", "Ok: queued as TEST")
LISTED = "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.example"


def door(path: Path, **settings: object) -> Delivery:
    whole = config.Config(
        delivery=config.Delivery(**settings), server=config.Server(data_dir="data"), path=str(path / "config.toml")
    )
    return Delivery(whole, hostname="guard.test", clock=SystemClock(), count=lambda *_: None)


async def test_pools_are_chosen_by_name(next_hop: Callable[..., Awaitable[NextHop]], tmp_path: Path) -> None:
    first, default = await next_hop(), await next_hop()
    pools = tuple(
        config.Pool(name=name, smarthosts=(hop.address,)) for name, hop in (("first", first), ("default", default))
    )
    delivery = door(tmp_path, pool=pools)
    for name, hop in (("first", first), ("default", default), ("", default), ("unheard of", default)):
        result = await delivery.send(ONE, [b"x\r\n"], name)
        assert result.peer == hop.address
        assert result.replies[0].accepted
    assert [health.host for health in delivery.health()["first"]] == [first.address]
    assert delivery.healthy() == {"first": True, "default": True}
    await delivery.close()


async def test_without_a_default_the_first_pool_is_it(
    next_hop: Callable[..., Awaitable[NextHop]], tmp_path: Path
) -> None:
    hop = await next_hop()
    delivery = door(tmp_path, pool=(config.Pool(name="empty"), config.Pool(name="b", smarthosts=(hop.address,))))
    assert (await delivery.send(ONE, [b"x\r\n"])).peer == hop.address
    await delivery.close()


async def test_a_sink_only_when_said_so(tmp_path: Path) -> None:
    delivery = door(tmp_path, mode="sink")
    result = await delivery.send(ONE, [b"Subject: x\r\n\r\n", b"y\r\n"])
    assert result.replies[0].accepted
    [file] = (tmp_path / "data/sink").glob("*.eml")
    assert file.read_bytes().endswith(b"Subject: x\r\n\r\ny\r\n")
    assert delivery.healthy() == {}
    await delivery.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pool": ()}, "no smarthost"),
        ({"pool": (config.Pool(smarthosts=("h:1",)), config.Pool(smarthosts=("h:2",)))}, "two with the name"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(settings: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=said):
        door(tmp_path, **settings)


def test_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    pool = config.Pool(smarthosts=("h:1",), user="u", password_file="password")
    assert door(tmp_path, pool=(pool,)).healthy() == {"default": True}


@pytest.fixture
async def pools(tmp_path: Path) -> AsyncIterator[StartDelivery]:
    """Pools by name, of some next hops each."""
    started = []

    def start(**pools: tuple[NextHop, ...]) -> Delivery:
        named = tuple(
            config.Pool(name=name, smarthosts=tuple(hop.address for hop in hops)) for name, hops in pools.items()
        )
        started.append(door(tmp_path, pool=named))
        return started[-1]

    yield start
    for one in started:
        await one.close()


def refused(result: Result, *places: int) -> None:
    """These recipients, and no others, are left because of our address."""
    assert (result.listed, result.reached) == (places, True)
    assert all(result.replies[place].text.startswith("OG-LISTED ") for place in places)


def got(hop: NextHop) -> list[str]:
    """Whom a next hop has accepted mail for."""
    return [recipient for message in hop.messages for recipient in message.recipients]


class TestOurAddressIsRefused:
    """By the whole pool; what happens within one is shown in tests/integration/test_delivery_own_address.py."""

    async def test_they_are_tried_in_their_order(self, next_hop: StartHop, pools: StartDelivery) -> None:
        first, chosen, third, fourth = [await next_hop() for _ in range(4)]
        for hop in (first, chosen):
            hop.answer("RCPT", LISTED, when="two@", times=None)
        door = pools(first=(first,), default=(chosen,), third=(third,), fourth=(fourth,))
        result = await door.send(TWO, CONTENT)
        assert (result.replies, result.listed) == ((ACCEPTED, ACCEPTED), ())
        assert result.peers == (chosen.address, third.address)
        assert [got(hop) for hop in (first, chosen, third, fourth)] == [[], ["one@y.test"], ["two@y.test"], []]
        assert [len(hop.sessions) for hop in (first, chosen, third, fourth)] == [1, 1, 1, 0]

    async def test_if_all_refuse_it_is_temporary(self, next_hop: StartHop, pools: StartDelivery) -> None:
        hops = [await next_hop() for _ in range(3)]
        for hop in hops:
            hop.answer("MAIL", LISTED, times=None)
        door = pools(a=(hops[0], hops[1]), b=(hops[2],))
        result = await door.send(TWO, CONTENT)
        refused(result, 0, 1)
        assert result.peers == (hops[2].address,) * 2
        for hop in hops:
            hop.forget()
        assert (await door.send(TWO, CONTENT)).replies == (ACCEPTED, ACCEPTED)

    async def test_another_pool_that_is_down_changes_nothing(self, next_hop: StartHop, pools: StartDelivery) -> None:
        refusing, gone, willing = [await next_hop() for _ in range(3)]
        refusing.answer(".", LISTED, times=None)
        await gone.stop()
        refused(await pools(a=(refusing,), b=(gone,)).send(TWO, CONTENT), 0, 1)
        result = await pools(a=(refusing,), b=(gone,), c=(willing,)).send(TWO, CONTENT)
        assert result.replies == (ACCEPTED, ACCEPTED)

    async def test_what_another_pool_answers_counts(self, next_hop: StartHop, pools: StartDelivery) -> None:
        refusing, knowing, third = [await next_hop() for _ in range(3)]
        refusing.answer("MAIL", LISTED, times=None)
        knowing.answer("RCPT", "550 5.1.1 unknown user", when="two@")
        result = await pools(a=(refusing,), b=(knowing,), c=(third,)).send(TWO, CONTENT)
        assert result.replies == (ACCEPTED, Reply(550, "5.1.1", "unknown user"))
        assert third.sessions == []

    async def test_nobody_is_offered_it_again_who_may_have_it(self, next_hop: StartHop, pools: StartDelivery) -> None:
        refusing, breaking, third = [await next_hop() for _ in range(3)]
        refusing.answer("MAIL", LISTED, times=None)
        breaking.answer(".", NextHop.CLOSE)
        result = await pools(a=(refusing,), b=(breaking,), c=(third,)).send(TWO, CONTENT)
        assert (result.replies, result.reached, result.listed) == ((BROKEN, BROKEN), False, ())
        assert third.sessions == []


SUCCESS = {to: Asked(("SUCCESS", "FAILURE")) for to in TWO.recipients}


async def test_who_reports_success_is_known_for_each_recipient(
    next_hop: Callable[..., Awaitable[NextHop]], tmp_path: Path
) -> None:
    """RFC 3461 5.2.1 and 5.2.2: a next hop that knows DSN does it; where none does, it is for us."""
    knows, does_not = await next_hop(extensions=("8BITMIME", "DSN")), await next_hop()
    asked = Envelope("from@x.test", TWO.recipients, asked=SUCCESS)
    once = Envelope("from@x.test", TWO.recipients, asked={"two@y.test": Asked(("SUCCESS",))})
    for hop, envelope, relayed in (
        (knows, asked, ()),
        (does_not, asked, (0, 1)),
        (does_not, once, (1,)),
        (does_not, TWO, ()),
    ):
        delivery = door(tmp_path, pool=(config.Pool(smarthosts=(hop.address,)),))
        assert (await delivery.send(envelope, CONTENT)).relayed == relayed
        await delivery.close()
    # Who was refused has not been relayed to.
    does_not.answer("RCPT", "550 5.1.1 no", when="one@y.test")
    delivery = door(tmp_path, pool=(config.Pool(smarthosts=(does_not.address,)),))
    assert (await delivery.send(asked, CONTENT)).relayed == (1,)
    await delivery.close()


async def test_success_after_our_address_was_refused_elsewhere(
    next_hop: Callable[..., Awaitable[NextHop]], tmp_path: Path
) -> None:
    refuses, knows, does_not = await next_hop(), await next_hop(extensions=("DSN",)), await next_hop()
    asked = Envelope("from@x.test", TWO.recipients, asked=SUCCESS)
    for other, relayed in ((does_not, (1,)), (knows, ())):
        refuses.answer("RCPT", LISTED, when="two@y.test")
        pools = tuple(config.Pool(name=hop.address, smarthosts=(hop.address,)) for hop in (refuses, other))
        delivery = door(tmp_path, pool=pools)
        result = await delivery.send(asked, CONTENT, refuses.address)
        assert [reply.accepted for reply in result.replies] == [True, True]
        # The first of them was taken by the next hop that does not report.
        assert tuple(sorted(result.relayed)) == tuple(sorted({0, *relayed}))
        await delivery.close()


async def test_a_sink_reports_nothing(tmp_path: Path) -> None:
    delivery = door(tmp_path, mode="sink")
    assert (await delivery.send(Envelope("from@x.test", TWO.recipients, asked=SUCCESS), CONTENT)).relayed == (0, 1)
    assert (await delivery.send(TWO, CONTENT)).relayed == ()
    await delivery.close()
