"""Where a case may come from: the mail that left from its address, as far as that is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.ledger.records import Delivered
from tests.casehouse import DAY, House, opened

TWO_POOLS = """
[server]
hostname = "guard.example.net"
data_dir = "./data"
[[delivery.pool]]
name = "main"
smarthosts = ["127.0.0.1:10025"]
source_addresses = ["192.0.2.10", "192.0.2.11"]
[[delivery.pool]]
name = "second"
smarthosts = ["127.0.0.1:10026"]
source_addresses = ["198.51.100.1", "2001:db8:1::5"]
[cases]
refusals = 5
"""
BAD = "Service unavailable; Client host blocked"


@pytest.fixture
def house(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with opened(tmp_path, capfd, monkeypatch, TWO_POOLS) as one:
        yield one


def traffic(house: House, subject: str) -> str:
    """What is found of the mail that went out through an address."""
    id_ = house.case("open", subject, "--list", "zen.spamhaus.org")["id"]
    house.case("check", id_, "--again")
    return str(house.items(id_)["traffic"]["evidence"])


def test_what_left_from_another_address_is_left_out(house: House) -> None:
    house.sent("m1", "mine.example", "192.0.2.10", score=9.0, subject="offer")
    house.sent("m2", "mine.example", "192.0.2.10", score=9.0, subject="offer")
    house.sent("m3", "theirs.example", "192.0.2.11", score=9.0, subject="theirs")
    house.refused(2, "r@there.test", "looks like spam", account="theirs.example", source="192.0.2.11")
    # Held and let go later: only the row of its delivery says from where.
    house.sent("m4", "later.example", action="hold", score=5.0)
    house.keep(Delivered("m4", house.clock.now(), "r@there.test", 250, peer="hop:25", source_address="192.0.2.10"))
    # Tried from one address, then from another: both have seen it.
    house.sent("m5", "both.example", "192.0.2.11", score=4.0)
    house.keep(Delivered("m5", house.clock.now(), "r@there.test", 250, peer="hop:25", source_address="192.0.2.10"))
    house.sent("m6", "stopped.example", action="quarantine", score=20.0)
    found = traffic(house, "192.0.2.10")
    assert found.startswith("4 messages through 192.0.2.10, of 3 accounts from ")
    assert "mine.example: 2 messages" in found
    assert "later.example: 1 message" in found
    assert "both.example: 1 message" in found
    assert "campaign “offer”: 2 suspicious messages from 1 account" in found
    assert "theirs" not in found
    # It was stopped, so that it cannot have brought the address onto a list.
    assert "stopped.example" not in found


def test_what_is_not_known_stays_in(house: House) -> None:
    house.sent("m1", "mine.example", "192.0.2.10", score=9.0)
    house.sent("m2", "old.example", score=9.0)
    found = traffic(house, "192.0.2.10")
    assert found.startswith("1 message through 192.0.2.10, of 2 accounts from ")
    assert "1 more of these accounts that may not have left, or from where is not known" in found
    assert "old.example: 1 message" in found


def test_where_nothing_is_known_the_time_and_the_next_hops_decide(house: House) -> None:
    house.refused(2, "r@there.test", "looks like spam", account="old.example")
    house.keep(Delivered("old.example-x", house.clock.now(), "r@x.test", 550, "5.7.1", "spam", "127.0.0.1:10026"))
    found = traffic(house, "192.0.2.10")
    assert found.startswith("2 messages of 1 account from ")
    assert "none of them is known to have left from 192.0.2.10" in found
    assert "old.example: 2 messages of 1 sender, 2 refused as abuse" in found
    # The other pool has another next hop, which has refused none of this mail.
    assert "refused as abuse" not in traffic(house, "198.51.100.1")


def test_a_network_means_the_addresses_in_it(house: House) -> None:
    house.sent("m1", "mine.example", "2001:db8:1::5", score=9.0)
    house.sent("m2", "theirs.example", "192.0.2.10", score=9.0)
    found = traffic(house, "2001:db8:1::/48")
    assert found.startswith("1 message through 2001:db8:1::5, of 1 account from ")
    house.listed("2001:db8:1::5", "other.example.net")
    house.work.once()
    (case,) = house.cases
    assert {subject["subject"] for subject in case["subjects"]} == {"2001:db8:1::/48", "2001:db8:1::5"}


def test_refusals_whose_mail_went_another_way_open_a_case(house: House) -> None:
    for minutes in (0, 16):
        house.clock.advance(minutes * 60)
        house.noted("mx.there.test:25", "192.0.2.10", BAD)
        house.work.once()
    assert house.cases == []
    house.clock.advance(16 * 60)
    house.noted("mx.there.test:25", "192.0.2.10", BAD)
    house.work.once()
    (case,) = house.cases
    assert (case["kind"], case["title"], case["pool"]) == ("refusals", "mx.there.test refuses 192.0.2.10", "main")
    (opening, *_) = house.case("show", case["id"])["history"]
    assert opening["text"] == (
        "mx.there.test refused 192.0.2.10 3 times, the mail going another way, within 60 minutes, at last saying: "
        f"554 5.7.1 {BAD}"
    )
    # It lasts while it is refused, and is over after a day without.
    house.clock.advance(DAY)
    house.work.once()
    assert house.cases[0]["removed"] > 0


def test_refusals_of_several_addresses_by_one_receiver_are_one_pattern(house: House) -> None:
    for number in range(5):
        source = ("192.0.2.10", "192.0.2.11")[number % 2]
        house.clock.advance(1)
        house.refused(1, "r@there.test", BAD, source=source)
        house.noted("127.0.0.1:10025", source, BAD)
    house.work.once()
    found = {case["title"] for case in house.cases}
    assert "there.test refuses 192.0.2.10" in found
    subjects = [s for case in house.cases for s in case["subjects"] if s["source"] == "there.test"]
    assert {s["subject"] for s in subjects} == {"192.0.2.10", "192.0.2.11"}
    assert len(found) == 1
