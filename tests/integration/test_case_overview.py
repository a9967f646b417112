"""What a page about a case is made of: its path, its timers, its letters and papers; and the list with its filters."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.config import load
from outbound_guard.desk.cases.export import as_json
from outbound_guard.desk.cases.originals import Originals
from outbound_guard.desk.cases.overview import NEEDS
from outbound_guard.desk.cases.stages import ITEMS
from tests.casehouse import DAY, START, House, opened


@pytest.fixture
def house(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with opened(tmp_path, capfd, monkeypatch) as one:
        yield one


def started(house: House, address: str = "192.0.2.10", zone: str = "zen.spamhaus.org") -> str:
    house.listed(address, zone)
    house.work.once()
    return str(house.cases[0]["id"])


def timers(house: House, id_: str) -> dict[str, tuple[float, bool]]:
    return {timer["what"]: (timer["time"], timer["over"]) for timer in house.case("show", id_)["timers"]}


def test_every_item_says_how_it_gets_done() -> None:
    assert NEEDS.keys() == ITEMS.keys()


def test_the_path_and_what_comes_next(house: House) -> None:
    id_ = started(house)
    shown = house.case("show", id_)
    assert [(step["stage"], step["state"]) for step in shown["path"]][:2] == [
        ("verify", "now"),
        ("investigate", "later"),
    ]
    assert shown["path"][0]["open"] == 2
    assert shown["next"]["act"] == "work"
    assert [text.partition(":")[0] for text in shown["next"]["hindrances"]] == ["resolvers", "ours"]
    for item in ("resolvers", "ours"):
        house.case("check", id_, item, "--evidence", "seen")
    shown = house.case("show", id_)
    assert (shown["next"]["act"], shown["next"]["to"], shown["next"]["hindrances"]) == ("advance", "investigate", [])
    house.case("advance", id_)
    shown = house.case("show", id_)
    assert [step["state"] for step in shown["path"]] == ["done", "now", *["later"] * 6]
    # The cause is always needed; containing it unless it is none of ours.
    skippable = {item["item"]: item["skippable"] for item in shown["checklist"]}
    assert (skippable["cause"], skippable["contained"], skippable["customer"]) == (False, False, True)
    assert {one["kind"]: bool(one["hindrance"]) for one in shown["letters"]} == {
        "notice": False, "apology": False, "update": False, "advice": False, "appeal": True, "escalation": True,
    }  # fmt: skip
    house.case("check", id_, "cause", "--finding", "false", "--cause", "mistake", "--evidence", "not our mail")
    shown = house.case("show", id_)
    assert not any(one["hindrance"] for one in shown["letters"])
    assert {item["item"]: item["skippable"] for item in shown["checklist"]}["contained"]
    assert "list:zen.spamhaus.org" in shown["parties"]
    house.case("close", id_, "--summary", "over", "--unfinished", "a test")
    shown = house.case("show", id_)
    assert (shown["next"]["act"], shown["timers"]) == ("reopen", [])


def test_timers_say_what_is_due_and_what_is_over(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = started(house)
    assert timers(house, id_) == {"stage": (START + 4 * 3600, False)}
    house.clock.advance(5 * 3600)
    assert timers(house, id_)["stage"] == (START + 4 * 3600, True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Dear Jane Roe, call +49 30 1234 5678\n")))
    told = house.case("contact", id_, "customer:shop.example", "--channel", "panel", "--file", "-")
    now = house.clock.now()
    assert timers(house, id_)["update"] == (now + 3 * DAY, False)
    (paper,) = house.case("show", id_)["papers"]
    assert (paper["what"], paper["with"], paper["about"]) == ("contact", "customer:shop.example", "notice")
    assert (paper["original"], paper["expires"]) == (told["original"], now + 30 * DAY)
    # Each list has its own waiting time, from when it was asked.
    for stage in ("verify", "investigate"):
        for item in [i["item"] for i in house.case("show", id_)["checklist"] if i["stage"] == stage]:
            if item != "cause":
                house.case("check", id_, item, "--evidence", "seen")
        if stage == "verify":
            house.case("advance", id_)
    house.case("check", id_, "cause", "--finding", "false", "--cause", "mistake", "--evidence", "not our mail")
    house.clock.advance(3600)
    # Contained is filled in by the finding; informed and apology likewise, in their stage.
    for _ in ("contain", "notify", "appeal"):
        house.case("advance", id_)
    house.case("contact", id_, "list:zen.spamhaus.org", "--channel", "form")
    house.case("advance", id_)
    asked = house.clock.now()
    waiting = house.case("show", id_)["channels"]["zen.spamhaus.org"]["waiting_days"] or 3.0
    assert timers(house, id_)["answer"] == (asked + waiting * DAY, False)
    house.clean("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    assert timers(house, id_)["clean"] == (asked + 3 * DAY, False)
    # After its time an original is not offered any more.
    house.clock.advance(31 * DAY)
    assert [paper["original"] for paper in house.case("show", id_)["papers"]] == ["", ""]


def test_the_list_by_what_is_looked_for(house: House) -> None:
    one = started(house)
    house.clock.advance(60)
    two = started(house, "192.0.2.11", "second.example.org")
    house.case("take", two, "--by", "ann")

    def found(*words: str) -> list[str]:
        return [case["id"] for case in house.case("list", *words)]

    assert found() == [two, one]
    assert found("--owner", "nobody") == [one]
    assert found("--owner", "ann") == [two]
    assert found("--find", "ZEN.spamhaus") == [one]
    assert found("--find", "192.0.2.11") == [two]
    assert found("--find", one) == [one]
    assert found("--find", "192_0") == []
    assert found("--overdue") == []
    house.clock.advance(4 * 3600 - 60)
    assert found("--overdue") == []
    house.clock.advance(30)
    assert found("--overdue") == [one]
    house.case("close", one, "--summary", "x", "--unfinished", "y")
    assert found("--overdue") == []
    assert found("--state", "closed") == [one]


def test_the_export_for_programs_holds_no_personal_contact_data(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = started(house)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"I am Joe, joe.bloggs@operator.example\n")))
    house.case("answer", id_, "list:zen.spamhaus.org", "--channel", "mail", "--file", "-")
    shown: dict[str, Any] = house.case("show", id_)
    shown["summary"] = "call +49 30 1234 5678 or jane.roe@operator.example, abuse@operator.example \u202e"
    exported = json.dumps(as_json(shown, house.clock.now()), ensure_ascii=False)
    for secret in ("jane.roe@", "joe.bloggs@", "1234 5678", "\u202e", "original"):
        assert secret not in exported
    for kept in (id_, "192.0.2.10", "zen.spamhaus.org", "abuse@operator.example"):
        assert kept in exported
    assert "papers" not in json.loads(exported)


def test_a_login_of_the_machine_is_not_a_user_of_the_console(house: House) -> None:
    originals = Originals(load(house.config))
    assert originals.may_read("cli:dana")
    assert originals.may_read("dana")
    for other in ("console:dana", "token:dana", "cli:console:dana", "cli:ann", ""):
        assert not originals.may_read(other), other
