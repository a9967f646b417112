"""The whole life of a case, driven by commands over a data directory, with the work of the console process between."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.ledger.tables import audit
from tests.casehouse import DAY, House, opened


@pytest.fixture
def house(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with opened(tmp_path, capfd, monkeypatch) as one:
        yield one


def test_from_a_listing_to_its_summary(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.refused(3, "anna@there.test", "Message looks like spam")
    house.clock.advance(600)
    for zone in ("zen.example.org", "second.example.org", "third.example"):
        house.listed("192.0.2.10", zone)
    house.work.once()

    # Verify: one case, though three lists have it; what the machine can find is found.
    (case,) = house.cases
    id_ = case["id"]
    assert (case["stage"], case["pool"], case["title"]) == ("verify", "main", "192.0.2.10 on zen.example.org")
    assert {s["source"] for s in case["subjects"]} == {"zen.example.org", "second.example.org", "third.example"}
    items = house.items(id_)
    assert items["lists"]["state"] == items["scope"]["state"] == items["traffic"]["state"] == "done"
    assert "third.example lists 192.0.2.10" in items["lists"]["evidence"]
    assert "shop.example: 3 messages" in items["traffic"]["evidence"]
    house.case("take", id_, "--by", "ann")
    assert "resolvers, ours still open" in house.run("case", "advance", id_, code=1)
    house.case("check", id_, "resolvers", "--evidence", "two resolvers of ours and one outside say the same")
    house.case("check", id_, "ours", "--evidence", "ours since 2019, not shared")
    house.case("advance", id_)

    # Investigate. Nothing may be filed yet, by whatever command.
    for words in (
        ("draft", id_, "appeal"),
        ("contact", id_, "list:zen.example.org", "--channel", "https://lookup.example/removal"),
    ):
        assert "not ready to file: the cause is not known yet" in house.run("case", *words, code=1)
    house.case("check", id_, "cause", "--finding", "caused", "--cause", "password", "--account", "shop.example",
               "--evidence", "account shop.example sent 3 messages that were refused as spam")  # fmt: skip
    house.case("answer", id_, "customer:shop.example", "--channel", "telephone", "--outcome", "acknowledged")
    house.case("check", id_, "customer", "--evidence", "the password was a simple one")
    assert "not contained yet" in house.run("case", "draft", id_, "appeal", code=1)
    assert "only if the finding is false" in house.run("case", "check", id_, "contained", "--not-needed", "x", code=1)
    house.case("advance", id_)

    # Contain: the suspension that a colleague has made is the evidence.
    assert "contained still open" in house.run("case", "advance", id_, code=1)
    house.clock.advance(600)
    house.run("account", "suspend", "shop.example", "--reason", "stolen password", "--by", "ann")
    house.work.once()
    contained = house.items(id_)["contained"]
    assert contained["state"] == "done"
    assert "account shop.example suspended by ann (stolen password)" in contained["evidence"]
    house.case("advance", id_)
    # Lifted too early, it contains nothing; in force again, it does.
    house.clock.advance(1)
    house.run("account", "resume", "shop.example", "--by", "ben")
    house.work.once()
    assert "nothing is in force against shop.example" in house.items(id_)["contained"]["evidence"]
    assert "not contained yet" in house.run("case", "draft", id_, "appeal", code=1)
    house.clock.advance(1)
    house.run("account", "suspend", "shop.example", "--reason", "stolen password", "--by", "ann")
    house.clock.advance(60)
    house.work.once()
    assert house.items(id_)["contained"]["state"] == "done"

    # Notify.
    (notice,) = house.case("draft", id_, "notice")
    assert notice["to"] == "customer:shop.example"
    assert "second factor" in notice["body"]
    assert "$" not in notice["body"]
    assert "informed still open" in house.run("case", "advance", id_, code=1)
    letter = b"Dear Jane,\nplease call me, John Doe, +49 30 1234567, john.doe@provider.example.\nabuse@example.net\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(letter)))
    told = house.case("contact", id_, "customer:shop.example", "--channel", "control panel", "--file", "-")
    assert "1234567" not in told["text"]
    assert "john.doe@" not in told["text"]
    house.case("advance", id_)

    # Appeal: one letter a list, without the customer's name.
    drafts = house.case("draft", id_, "appeal")
    assert [draft["to"] for draft in drafts] == [
        "list:second.example.org",
        "list:third.example",
        "list:zen.example.org",
    ]
    for draft in drafts:
        assert "shop.example" not in draft["body"] + draft["subject"]
        assert "192.0.2.10" in draft["subject"]
        assert "a stolen or guessed password" in draft["body"]
        assert "the account was suspended on 2026-09-" in draft["body"]
        assert "by ann" not in draft["body"]
    assert "filed still open" in house.run("case", "advance", id_, code=1)
    for draft in drafts:
        house.case("contact", id_, draft["to"], "--channel", "https://lookup.example/removal")
    house.case("advance", id_)

    # Watch: the operator answers, time passes, the listings end.
    house.case("answer", id_, "list:zen.example.org", "--channel", "form", "--outcome", "removed")
    house.clock.advance(6 * DAY)
    house.work.once()
    escalation = [event for event in house.case("show", id_)["history"] if event["what"] == "escalation"]
    assert len(escalation) == 1
    assert "second.example.org" in escalation[0]["text"]
    (second,) = house.case("draft", id_, "escalation", "--to", "second.example.org")
    assert "2026-09-" in second["body"]
    for zone in ("zen.example.org", "second.example.org"):
        house.clean("192.0.2.10", zone)
    house.work.once()
    assert "gone still open" in house.run("case", "advance", id_, code=1)
    house.clean("192.0.2.10", "third.example")
    house.work.once()
    house.case("advance", id_)

    # Confirm: three days, and not a minute less.
    assert "stays still open" in house.run("case", "advance", id_, code=1)
    house.clock.advance(3 * DAY - 60)
    assert "stays still open" in house.run("case", "advance", id_, code=1)
    house.clock.advance(60)
    house.case("advance", id_)

    # Prevent, and the end.
    (advice,) = house.case("draft", id_, "advice")
    assert "an address of your own" in " ".join(advice["body"].split())
    house.work.once()
    assert "for example: a limit for the mailboxes" in house.items(id_)["ours_to_do"]["evidence"]
    house.case("check", id_, "advice", "--evidence", "sent by the control panel")
    assert "not finished" in house.run("case", "close", id_, "--summary", "All is well.", code=1)
    house.case("check", id_, "ours_to_do", "--evidence", "limit of 100 an hour for new mailboxes")
    house.case("close", id_, "--summary", "A stolen password; listed for six days at three lists.")
    shown = house.case("show", id_)
    assert (shown["state"], shown["summary"][:17]) == ("closed", "A stolen password")
    words = [event["what"] for event in shown["history"]]
    assert words[0] == "opened"
    assert words[-1] == "closed"
    assert {"seen", "found", "checked", "stage", "contact", "answer", "escalation", "cleared"} <= set(words)

    # Who did what stands in the audit as well.
    with house.books.ledger.connection() as connection:
        done = [row.what for row in connection.execute(audit.select().where(audit.c.subject == id_))]
    assert {"case.taken", "case.checked", "case.stage", "case.contact", "case.answer", "case.closed"} <= set(done)

    numbers = house.case("numbers")
    assert numbers["cases"] == 1
    assert numbers["containment"]["cases"] == 1
    assert numbers["containment"]["median"] == 600.0
    assert numbers["removal"]["median"] == 6 * DAY + 662.0
    assert numbers["listings"] == [{"pool": "main", "cause": "password", "listings": 3}]
    assert numbers["relisting_rate"] == 0.0
