"""What must not break a case: odd words, many words at once, a clock that goes back, a ledger that is away."""

from __future__ import annotations

import asyncio
import io
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.config import load
from outbound_guard.desk.cases import acts
from outbound_guard.desk.cases.person import Person
from outbound_guard.ledger.database import LedgerError
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Delivered
from tests.casehouse import DAY, House, opened


@pytest.fixture
def house(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with opened(tmp_path, capfd, monkeypatch) as one:
        yield one


def started(house: House) -> str:
    """A case of one listing."""
    house.listed("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    return str(house.cases[0]["id"])


def test_a_clock_that_was_set_back_loses_nothing_that_people_do(house: House) -> None:
    id_ = started(house)
    house.clock.advance(600)
    house.case("take", id_, "--by", "ann")
    house.clock.advance(-DAY)
    house.case("take", id_, "--by", "ben")
    house.case("check", id_, "ours", "--evidence", "since 2019")
    house.clean("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    (case,) = house.cases
    assert (case["owner"], case["subjects"][0]["state"]) == ("ben", "clean")
    assert house.items(id_)["ours"]["state"] == "done"
    house.listed("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    assert house.cases[0]["removed"] == 0
    house.case("close", id_, "--summary", "It was nothing.", "--unfinished", "the clock is wrong")
    assert house.cases[0]["state"] == "closed"
    times = [event["time"] for event in house.case("show", id_)["history"]]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("check", "ID", "ours", "--evidence", " "), "evidence is needed"),
        (("check", "ID", "nothing", "--evidence", "x"), "no item 'nothing'"),
        (
            ("check", "ID", "cause", "--finding", "caused", "--cause", "vpn", "--account", " ", "--evidence", "x"),
            "name",
        ),
        (("close", "ID", "--summary", "x", "--unfinished", " "), "is not finished"),
        (("close", "ID", "--summary", " ", "--unfinished", "x"), "a summary is needed"),
        (("advance", "ID", "--to", "prevent"), "cannot leave verify"),
        (("reopen", "ID", "--reason", "x"), "is open"),
        (("take", "ID", "--owner", "\x1b[31mred"), "printable"),
        (("take", "ID", "--owner", "x" * 65), "at most 64"),
        (("contact", "ID", "list:other.example", "--channel", "x"), "nothing to do with other.example"),
        (("contact", "ID", "customer:", "--channel", "x"), "is nobody"),
        (("contact", "ID", "customer:a", "--channel", "\n "), "by which channel?"),
        (("attach", "ID", "-"), "standard input is empty"),
        (("draft", "ID", "notice", "--to", "a", "--language", "../../.."), "is no language"),
        (("draft", "ID", "escalation"), "not ready to file"),
        (("original", "ID", "../../guard", "--by", "x"), "usage"),
        (("show", "%"), "no case %"),
        (("show", "\x1b[31m"), "no case \\x1b[31m"),
        (("note", "*", "x"), "no case *"),
        (("open", "2001:db8::/200"), "does not appear to be"),
        (("open", "192.0.2.10", "--list", "\x1b[31m a"), "the zone of a list is meant"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    house: House, words: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = started(house)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    before = house.case("show", id_)
    said = house.run("case", *(id_ if word == "ID" else word for word in words), code=2 if says == "usage" else 1)
    assert says in said
    if says != "usage":
        assert said.count("\n") == 1
        assert said.isprintable() or said.strip().isprintable()
    assert house.case("show", id_) == before


def test_networks_and_domains_in_other_scripts(house: House) -> None:
    assert house.case("open", "2001:DB8:7::1/48")["what"] == "opened"
    assert house.case("open", "2001:db8:7::25", "--list", "zen.spamhaus.org")["what"] == "seen"
    assert house.case("open", "b\u00fccher.example", "--list", "dbl.spamhaus.org")["what"] == "opened"
    assert house.case("open", "xn--bcher-kva.example", "--list", "dbl.spamhaus.org")["what"] == ""
    titles = {case["title"] for case in house.cases}
    assert titles == {"2001:db8:7::/48", "xn--bcher-kva.example on dbl.spamhaus.org"}


def test_ten_thousand_refusals_at_once_are_one_case(house: House) -> None:
    text = "Service unavailable; Client host [192.0.2.10] blocked using zen.spamhaus.org"
    rows = [
        Delivered(f"m{n}", house.clock.now() + n / 1000, f"r{n}@d{n % 20}.test", 550, "5.7.1", text, "127.0.0.1:10025")
        for n in range(10_000)
    ]
    house.books.keep(*rows)
    house.books.scribe.close()
    house.work.once()
    (case,) = house.cases
    assert len(case["subjects"]) == 20
    # One line for each receiver, not one for each message.
    assert [event["what"] for event in house.case("show", case["id"])["history"]].count("seen") == 19
    assert house.work.once() == 0


def test_a_listing_that_comes_and_goes_stays_one_case_that_is_not_over(house: House) -> None:
    for number in range(21):
        house.clock.advance(60)
        if number % 2:
            house.clean("192.0.2.10", "zen.spamhaus.org")
        else:
            house.listed("192.0.2.10", "zen.spamhaus.org")
        house.work.once()
    (case,) = house.cases
    assert (case["stage"], case["reopened"], case["removed"]) == ("verify", 0, 0)


def test_a_locked_ledger_delays_the_work_and_loses_nothing(house: House) -> None:
    for _ in range(2):
        house.noted("mx.there.test:25", "192.0.2.10", "go away")
    id_ = started(house)
    house.clock.advance(60)
    house.listed("192.0.2.10", "b.barracudacentral.org")
    house.refused(5, "a@gmail.com", "Client host [192.0.2.11] blocked")
    lock = sqlite3.connect(house.config.parent / "data" / "ledger.sqlite3")
    lock.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        with pytest.raises(LedgerError, match="locked"):
            house.work.once()
    assert house.run("case", "list").count("\n") == 2
    lock.rollback()
    lock.close()
    house.work.once()
    found = {(s["subject"], s["source"]) for case in house.cases for s in case["subjects"]}
    assert {("192.0.2.10", "b.barracudacentral.org"), ("192.0.2.11", "gmail.com")} <= found
    # Two refusals whose mail went another way stay two, however often they are read.
    assert "mx.there.test" not in {source for _, source in found}
    assert id_ in {case["id"] for case in house.cases}


def test_two_people_at_once(house: House) -> None:
    id_ = started(house)
    for item in ("resolvers", "ours"):
        house.case("check", id_, item, "--evidence", "seen")
    config = load(house.config)
    journals = [Journal(config.data_dir / "journal", f"cli-{name}", house.clock) for name in ("ann", "ben")]
    people = [
        Person(house.reader, journal, house.clock, config, name)
        for journal, name in zip(journals, ("ann", "ben"), strict=True)
    ]

    async def both() -> None:
        await asyncio.gather(*(acts.advance(person, id_) for person in people))
        await asyncio.gather(*(acts.take(person, id_) for person in people))

    asyncio.run(both())
    for journal in journals:
        journal.close()
    house.case("note", id_, "both were here")
    (case,) = house.cases
    # They went on once, not twice; both stand in the history, and who came last has it.
    history = house.case("show", id_)["history"]
    assert case["stage"] == "investigate"
    assert sorted(event["by"] for event in history if event["what"] == "stage") == ["ann", "ben"]
    assert case["owner"] == [event["by"] for event in history if event["what"] == "taken"][-1]


def test_the_end_of_the_thirty_days_to_the_second(house: House) -> None:
    id_ = started(house)
    house.case("close", id_, "--summary", "A mistake.", "--unfinished", "gone by itself")
    house.clock.advance(30 * DAY)
    house.listed("192.0.2.10", "b.barracudacentral.org")
    house.work.once()
    assert [(case["id"], case["reopened"]) for case in house.cases] == [(id_, 1)]
    house.case("close", id_, "--summary", "A mistake.", "--unfinished", "gone by itself")
    house.clock.advance(30 * DAY + 1)
    house.listed("192.0.2.10", "dnsbl.sorbs.net")
    house.work.once()
    assert [case["state"] for case in house.cases] == ["open", "closed"]


def test_what_people_say_of_a_suspension_is_redacted_as_well(house: House) -> None:
    house.sent("m1", "shop.example", "192.0.2.10", score=9.0)
    house.run("account", "suspend", "shop.example", "--reason", "told by Jane Roe, +49 30 1234 5678")
    id_ = started(house)
    house.case("check", id_, "cause", "--finding", "caused", "--cause", "vpn", "--account", "shop.example",
               "--evidence", "Jane Roe (jane.roe@operator.example) said so")  # fmt: skip
    for item in ("resolvers", "ours", "customer"):
        house.case("check", id_, item, "--evidence", "seen")
    house.case("advance", id_)
    house.case("advance", id_)
    for said in (
        house.run("case", "show", id_, "--history"),
        house.run("case", "show", id_, "--json"),
        house.run("case", "export", id_),
        house.run("case", "export", id_, "--html"),
        house.run("case", "draft", id_, "appeal"),
    ):
        assert "1234 5678" not in said
        assert "Roe" not in said
        assert "jane.roe" not in said
