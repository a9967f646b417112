"""Round after round, in virtual time: when lists are asked, what is found when, and what refusals lead to."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from outbound_guard.blocklist.asking import Asking
from outbound_guard.blocklist.lists import Dnsbl, Lists
from outbound_guard.blocklist.watch import RECHECK_SECONDS, Watch
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Blocklist
from outbound_guard.dns import Questions
from outbound_guard.ledger import listing_queries as queries
from outbound_guard.ledger.database import LedgerError
from outbound_guard.ledger.records import Delivered
from tests.listserver import ListServer, Zone, list_server
from tests.records import BOTH_LONG, Books, books

LEDGERS = BOTH_LONG

ONE, TWO, EXTRA = "192.0.2.1", "192.0.2.2", "192.0.2.3"
INTERVAL = 3600.0
CODE = ["127.0.0.2"]


class House:
    """A watch with its ledger, lists and clock."""

    def __init__(self, kept: Books, server: ListServer, clock: VirtualClock) -> None:
        self.books, self.server, self.clock = kept, server, clock
        self.listings: list[dict[str, Any]] = []
        self.addresses: list[tuple[str, str]] = []

    def watch(
        self,
        *subjects: str,
        zones: tuple[str, ...] = ("list.test",),
        interval: float = INTERVAL,
        pools: Mapping[str, tuple[str, ...]] = MappingProxyType({"default": (ONE, TWO)}),
    ) -> Watch:
        """One as it is made when the process starts."""
        lists = Lists(tuple(Dnsbl(zone=zone, weight=3.0) for zone in zones))
        questions = Questions([self.server.address])
        return Watch(
            Asking(lists, questions, self.clock, per_second=5000, per_second_per_list=5000),
            subjects or (ONE, TWO, EXTRA),
            pools,
            self.books.ledger,
            self.clock,
            Blocklist(interval=interval),
            count=lambda *_, **__: None,
            listing_changed=self.listings.append,
            address_changed=lambda row: self.addresses.append((row["address"], row["state"])),
        )

    def answered(self, text: str, code: int = 554) -> None:
        """A next hop has said this."""
        self.books.keep(Delivered("m1", self.clock.now(), "r@there.test", code, "5.7.1", text, "hop:25"))


@pytest.fixture
async def server() -> AsyncIterator[ListServer]:
    async with list_server() as server:
        server.zones["list.test"] = Zone()
        yield server


@pytest.fixture
def house(tmp_path: Path, server: ListServer) -> Iterator[House]:
    clock = VirtualClock(100_000.0)
    with books(tmp_path, clock) as kept:
        kept.ledger.migrate()
        yield House(kept, server, clock)


async def test_a_listing_is_found_within_one_interval(house: House) -> None:
    watch = house.watch()
    assert await watch.seconds_until_due() == 0
    await watch.round()
    for round_ in range(20):
        # Listed or delisted right after it was asked about, which is the worst moment.
        listed = round_ % 2 == 0
        house.server.zones["list.test"].listed = {ONE: CODE} if listed else {}
        since = house.clock.now()
        wait = await watch.seconds_until_due()
        assert 0.9 * INTERVAL <= wait <= INTERVAL
        house.clock.advance(wait)
        await watch.round()
        change = house.listings[-1]
        assert (change["subject"], change["state"]) == (ONE, "listed" if listed else "clean")
        assert 0 < change["time"] - since <= INTERVAL


async def test_an_address_rests_at_once_and_returns_after_a_while(house: House) -> None:
    watch = house.watch()
    house.server.zones["list.test"].listed = {ONE: CODE}
    await watch.round()
    assert house.addresses == [(ONE, "resting")]
    assert queries.resting(house.books.ledger, -1) == (1, {"default": frozenset([ONE])})
    house.server.zones["list.test"].listed = {}
    house.clock.advance(INTERVAL)
    await watch.round()
    house.clock.advance(86_399)
    await watch.react()
    assert house.addresses == [(ONE, "resting")]
    house.clock.advance(1)
    await watch.react()
    assert house.addresses[1:] == [(ONE, "in_use")]
    read = queries.resting(house.books.ledger, 1)
    assert read is not None
    assert read[1] == {}


async def test_an_address_of_no_pool_any_more_does_not_rest(house: House) -> None:
    house.server.zones["list.test"].listed = {ONE: CODE}
    await house.watch().round()
    assert queries.resting(house.books.ledger, -1) == (1, {"default": frozenset([ONE])})
    await house.watch(pools={}).react()
    assert queries.own_addresses(house.books.ledger) == []


@pytest.mark.sqlite
async def test_what_a_locked_ledger_would_not_take_is_kept_later(house: House) -> None:
    watch = house.watch()
    await watch.round()
    house.server.zones["list.test"].listed = {ONE: CODE}
    house.clock.advance(INTERVAL)
    with contextlib.closing(sqlite3.connect(house.books.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError):
            await watch.round()
        assert house.listings == []
    await watch.keep_waiting()
    assert [(row["subject"], row["state"]) for row in house.listings] == [(ONE, "listed")]
    assert house.addresses == [(ONE, "resting")]
    await watch.keep_waiting()
    assert len(house.listings) == 1


async def test_a_list_that_breaks_changes_nothing(house: House) -> None:
    watch = house.watch()
    zone = house.server.zones["list.test"]
    zone.listed = {ONE: CODE}
    await watch.round()
    for zone.wildcard, zone.tests in (([], False), (["127.0.0.2"], True), (["127.255.255.254"], False)):
        house.clock.advance(INTERVAL)
        await watch.round()
    assert [(row["subject"], row["state"]) for row in house.listings] == [(ONE, "listed"), (ONE, "unknown")]
    assert house.addresses == [(ONE, "resting")]


async def test_a_restart_does_not_ask_again_before_the_time(house: House) -> None:
    await house.watch().round()
    house.clock.advance(1000)
    again = house.watch()
    assert 0.9 * INTERVAL - 1000 <= await again.seconds_until_due() <= INTERVAL - 1000
    # Something new is asked about at once.
    assert await house.watch(ONE, TWO, EXTRA, "192.0.2.4").seconds_until_due() == 0
    assert await house.watch(zones=("list.test", "new.test")).seconds_until_due() == 0
    house.clock.advance(10_000)
    assert await again.seconds_until_due() == 0
    # A clock that was set back does not stop the watch.
    house.clock.set(1000.0)
    assert await again.seconds_until_due() <= INTERVAL


async def test_a_listing_that_ends_while_nobody_watches_is_seen_to_end(house: House) -> None:
    house.server.zones["list.test"].listed = {ONE: CODE}
    await house.watch().round()
    house.server.zones["list.test"].listed = {}
    house.clock.advance(10 * INTERVAL)
    again = house.watch()
    await again.react()
    assert house.addresses == [(ONE, "resting")]
    await again.round()
    assert [(row["subject"], row["state"]) for row in house.listings] == [(ONE, "listed"), (ONE, "clean")]
    house.clock.advance(86_400)
    await again.react()
    assert house.addresses[1:] == [(ONE, "in_use")]


async def test_each_round_has_the_same_order(house: House) -> None:
    subjects = [f"192.0.2.{number}" for number in range(50)]
    first, second = house.watch(*subjects), house.watch(*reversed(subjects))
    assert first.subjects == second.subjects
    assert sorted(first.subjects) == sorted(subjects)
    assert list(first.subjects) != subjects


async def test_what_is_not_ours_any_more_is_forgotten(house: House) -> None:
    await house.watch().round()
    await house.watch(ONE).round()
    assert [row["subject"] for row in queries.listings(house.books.ledger)] == [ONE]


async def test_refusals_lead_to_questions(house: House) -> None:
    watch = house.watch()
    house.answered(f"Client host [{EXTRA}] blocked using x.test")
    assert await watch.refused() == []  # It was refused before we started.
    house.answered("message looks like spam")
    house.answered("no such user", 550)
    house.answered("delivered", 250)
    assert await watch.refused() == []

    house.answered(f"Client host [{EXTRA}] blocked using x.test; see 198.51.100.7")
    assert await watch.refused() == [EXTRA]
    # It names none of ours: it may be each of those that mail leaves from.
    house.answered("your IP is listed by somebody")
    assert await watch.refused() == [ONE, TWO]

    house.server.zones["list.test"].listed = {ONE: CODE, EXTRA: CODE}
    await watch.recheck([ONE, TWO, "192.0.2.99"])
    assert [row["subject"] for row in house.listings] == [ONE]
    assert house.addresses == [(ONE, "resting")]
    assert house.server.asked["99.2.0.192.list.test"] == 0
    house.answered("your IP is listed by somebody")
    assert await watch.refused() == []
    house.clock.advance(RECHECK_SECONDS)
    house.answered("your IP is listed by somebody")
    assert await watch.refused() == [ONE, TWO]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Client host [192.0.2.3] blocked", "192.0.2.3"),
        ("192.0.2.3:25 is listed", "192.0.2.3"),
        ("refused, see https://x.test/?ip=192.0.2.3.", "192.0.2.3"),
        ("[IPv6:2001:DB8::3] is listed", "2001:db8::3"),
        ("host 2001:db8:0:0::3, listed", "2001:db8::3"),
        ("at 12:30:45 of 192.0.2.33", ""),
    ],
)
async def test_the_address_that_a_refusal_names(house: House, text: str, named: str) -> None:
    watch = house.watch(ONE, EXTRA, "2001:db8::3", pools={})
    await watch.refused()
    house.answered(f"our IP is on a blocklist: {text}")
    assert await watch.refused() == ([named] if named else [])
