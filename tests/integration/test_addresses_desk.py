"""The matrix of own addresses by lists, from a ledger: what is said first, what is counted, what is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from outbound_guard.blocklist import findings
from outbound_guard.blocklist.identity import Identity
from outbound_guard.blocklist.keeping import put
from outbound_guard.blocklist.listing import Listing
from outbound_guard.blocklist.wanted import Wanted
from outbound_guard.blocklist.watch import Watch
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config, load
from outbound_guard.desk.addresses import matrix as addresses
from outbound_guard.desk.addresses.matrix import Filters
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger.case_queries import write
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.listing_queries import put_own_addresses
from outbound_guard.ledger.records import CaseEvent, CaseSubject

CONFIG = """
[server]
data_dir = "data"
[[delivery.pool]]
name = "main"
smarthosts = ["127.0.0.1:10025"]
source_addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.10"]
[[delivery.pool]]
name = "bulk"
smarthosts = ["127.0.0.1:10025"]
source_addresses = ["192.0.2.2", "2001:db8::1"]
[blocklist]
file = "lists.toml"
domains = ["ours.example"]
customers = { "shop.example" = ["203.0.113.7"] }
"""


class Desk:
    def __init__(self, folder: Path) -> None:
        (folder / "guard.toml").write_text(CONFIG)
        (folder / "lists.toml").write_text("".join(f'[[list]]\nzone = "{zone}.test"\n' for zone in "abcd"))
        (folder / "data").mkdir()
        self.config: Config = load(folder / "guard.toml")
        self.writer = Ledger(url_of("embedded", self.config.data_dir), writer=True)
        self.writer.migrate()
        self.ledger = Ledger(url_of("embedded", self.config.data_dir))

    def said(self, now: float, subject: str, zone: str, state: str, code: str = "", reason: str = "") -> None:
        codes = tuple(code.split())
        one = Listing(subject=subject, zone=f"{zone}.test", state=state, codes=codes, reason=reason, weight=1.0)
        put(self.writer, [one], now)

    async def rows(self, **filters: str) -> list[tuple[str, str]]:
        found = await addresses.matrix(self.ledger, self.config, Filters(**filters))
        assert found.total == len(found.rows)
        return [(row.subject, row.state) for row in found.rows]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.writer.close()
    made.ledger.close()


async def test_before_anything_was_asked(desk: Desk) -> None:
    found = await addresses.matrix(desk.ledger, desk.config)
    assert found.counts == {"not_asked": 6}
    assert found.columns == ()
    assert [(pool.pool, pool.in_use) for pool in found.pools] == [("main", 3), ("bulk", 2)]
    # By pool, and then in the order of numbers: .10 is behind .1, and would be before .2 in the same pools.
    assert [row.subject for row in found.rows] == [
        "203.0.113.7",
        "ours.example",
        "2001:db8::1",
        "192.0.2.1",
        "192.0.2.10",
        "192.0.2.2",
    ]


async def test_what_says_something_comes_first(desk: Desk) -> None:
    for subject in ("192.0.2.1", "192.0.2.2", "192.0.2.10", "203.0.113.7"):
        for zone in "abc":
            desk.said(1000.0, subject, zone, "clean")
        # A list that says nothing of anybody says nothing of these, and is no column.
        desk.said(1000.0, subject, "d", "unknown", reason="refused to answer")
    desk.said(2000.0, "192.0.2.10", "b", "listed", "127.0.0.2", "spam")
    desk.said(2000.0, "203.0.113.7", "b", "listed", "127.0.0.2")
    desk.said(3000.0, "203.0.113.7", "b", "unknown", "10.0.0.1")
    desk.said(3000.0, "192.0.2.1", "c", "unknown")
    row = {"pool": "bulk", "address": "192.0.2.2", "state": "kept", "since": 2500.0, "reason": "listed until of late"}
    put_own_addresses(desk.writer, [row])
    seen = Identity(address="2001:db8::1", names=(), confirmed=False, helo="x", helo_leads_here=False, spf={},
                    problems=("it has no reverse name (PTR)",), unknown=())  # fmt: skip
    findings.keep(desk.config.data_dir, findings.merged(findings.Findings(), [seen], 2600.0))

    found = await addresses.matrix(desk.ledger, desk.config)
    assert [(row.subject, row.state) for row in found.rows] == [
        ("192.0.2.10", "listed"),
        ("203.0.113.7", "was_listed"),
        ("192.0.2.2", "resting"),
        ("2001:db8::1", "objectionable"),
        ("192.0.2.1", "unknown"),
        ("ours.example", "not_asked"),
    ]
    assert found.columns == ("b.test", "c.test")
    first = found.rows[0]
    assert (first.listed, first.clean, first.unknown, first.checked) == (1, 2, 0, 2000.0)
    assert [(cell.zone, cell.state, cell.codes) for cell in first.cells if cell.state == "listed"] == [
        ("b.test", "listed", ("127.0.0.2",))
    ]
    assert [(place.pool, place.state) for place in found.rows[2].pools] == [("main", ""), ("bulk", "kept")]
    assert found.rows[1].account == "shop.example"
    (silent,) = [one for one in found.lists if one.silent]
    assert (silent.zone, silent.unknown, silent.reason) == ("d.test", 4, "refused to answer")
    assert [(pool.pool, pool.kept, pool.listed) for pool in found.pools] == [("main", 0, 1), ("bulk", 1, 0)]
    assert found.identity_time == 2600.0

    assert await desk.rows(state="listed") == [("192.0.2.10", "listed")]
    assert await desk.rows(state="objectionable") == [("2001:db8::1", "objectionable")]
    assert await desk.rows(pool="bulk") == [("192.0.2.2", "resting"), ("2001:db8::1", "objectionable")]
    assert await desk.rows(account="shop.example") == [("203.0.113.7", "was_listed")]
    assert await desk.rows(zone="c.test") == [("192.0.2.1", "unknown")]
    assert await desk.rows(text="192.0.2.0/29") == [("192.0.2.2", "resting"), ("192.0.2.1", "unknown")]
    assert await desk.rows(text="OURS") == [("ours.example", "not_asked")]
    assert await desk.rows(text="nonsense/33") == []
    with pytest.raises(DeskError, match="no state"):
        await desk.rows(state="bogus")
    second = await addresses.matrix(desk.ledger, desk.config, limit=2, offset=2)
    assert ([row.subject for row in second.rows], second.total) == (["192.0.2.2", "2001:db8::1"], 6)


async def test_everything_about_one_and_about_a_list(desk: Desk) -> None:
    for zone in "abc":
        desk.said(1000.0, "192.0.2.1", zone, "clean")
    desk.said(2000.0, "192.0.2.1", "c", "listed", "127.0.0.2", "spam")
    about = CaseSubject(subject="192.0.2.1", source="c.test", state="listed")
    fields = {"state": "open", "stage": "verify", "opened": 2000.0}
    write(
        desk.writer,
        [CaseEvent(id="e", case="20260101-abcd", time=1.0, what="opened", fields=fields, subjects=(about,))],
    )
    one, times, identity = await addresses.subject_shown(desk.ledger, desk.config, " 192.0.2.1 ")
    assert [cell.zone for cell in one.cells] == ["c.test", "a.test", "b.test"]
    assert one.cases == (("20260101-abcd", "verify"),)
    assert [(time.zone, time.since, time.until) for time in times] == [("c.test", 2000.0, 0.0)]
    assert identity is None
    desk.said(3000.0, "192.0.2.1", "c", "clean")
    said, listed, total = await addresses.list_shown(desk.ledger, desk.config, "C.test.")
    assert (said.zone, said.listed, said.clean, said.checked, total) == ("c.test", 0, 1, 3000.0, 1)
    assert [(time.subject, time.since, time.until) for time in listed] == [("192.0.2.1", 2000.0, 3000.0)]
    assert (await addresses.times(desk.ledger))[1] == 1
    assert await addresses.identities(desk.config) == ([], 0)
    for text, why in (("nothing", "no address and no domain"), ("198.51.100.1", "it is not watched")):
        with pytest.raises(DeskError, match=why):
            await addresses.subject_shown(desk.ledger, desk.config, text)
    with pytest.raises(DeskError, match=r"no list z\.test"):
        await addresses.list_shown(desk.ledger, desk.config, "z.test")


def test_without_a_watch_nobody_is_asked(desk: Desk, tmp_path: Path) -> None:
    clock = VirtualClock(1000.0)
    journal = Journal(tmp_path / "journal", "test", clock)
    with pytest.raises(DeskError, match=r"not watched: blocklist\.interval is 0"):
        addresses.recheck(None, journal, clock, ["192.0.2.1"], by="console:ann")
    journal.close()


def test_nobody_is_asked_before_it_is_written_down(tmp_path: Path) -> None:
    clock = VirtualClock(1000.0)
    (tmp_path / "journal").write_text("in the way")
    journal = Journal(tmp_path / "journal", "test", clock)
    watch = cast(Watch, SimpleNamespace(wanted=Wanted(["192.0.2.1"], clock)))
    with pytest.raises(DeskError, match="nothing was done"):
        addresses.recheck(watch, journal, clock, ["192.0.2.1"], by="console:ann")
    assert watch.wanted.waiting == ()
