"""What opens a case, what belongs to one, what opens it again: listings and refusals as the ledger has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.ledger import case_queries
from outbound_guard.ledger.tables import delivery
from tests.casehouse import DAY, House, opened

BLOCKED = "Our system has detected an unusual rate of unsolicited mail originating from your IP address"
SPAMHAUS = "Service unavailable; Client host [192.0.2.10] blocked using zen.spamhaus.org"


@pytest.fixture
def house(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with opened(tmp_path, capfd, monkeypatch) as one:
        yield one


def titles(house: House) -> list[str]:
    """The open cases, oldest first."""
    return [case.title for case in reversed(case_queries.cases(house.books.ledger, state="open"))]


def test_what_has_the_same_reason_is_one_case(house: House) -> None:
    house.listed("192.0.2.10", "zen.spamhaus.org", codes="127.0.0.3")
    house.work.once()
    house.clock.advance(60)
    house.listed("192.0.2.10", "b.barracudacentral.org")  # The same address.
    house.listed("192.0.2.11", "sbl.spamhaus.org", codes="127.0.0.9")  # The same range and operator.
    house.work.once()
    assert titles(house) == ["192.0.2.10 on zen.spamhaus.org"]
    house.listed("198.51.100.1", "zen.spamhaus.org", codes="127.0.0.3")  # Of no pool of ours that is known.
    house.listed("192.0.2.200", "other.example.net")  # The same range, but another operator.
    house.listed("shop.example", "dbl.spamhaus.org", codes="127.0.1.2")
    house.work.once()
    assert sorted(titles(house)) == [
        "192.0.2.10 on zen.spamhaus.org",
        "192.0.2.200 on other.example.net",
        "198.51.100.1 on zen.spamhaus.org",
        "shop.example on dbl.spamhaus.org",
    ]


def test_a_list_that_nobody_heeds_opens_none_and_unknown_is_no_listing(house: House) -> None:
    house.listed("192.0.2.10", "noise.example.org", weight=0.0)
    house.said("192.0.2.10", "zen.spamhaus.org", "unknown", "127.255.255.254", "refuses our resolver", 1.0)
    house.work.once()
    assert titles(house) == []
    house.listed("192.0.2.10", "zen.spamhaus.org")
    house.listed("192.0.2.10", "noise.example.org", weight=0.0)
    house.work.once()
    (case,) = house.cases
    assert [subject["source"] for subject in case["subjects"]] == ["noise.example.org", "zen.spamhaus.org"]


def test_refusals_by_one_receiver_become_a_case_at_the_fifth_message(house: House) -> None:
    for number in range(4):
        house.clock.advance(1)
        house.refused(1, f"a{number}@gmail.com", BLOCKED, code=421)
        house.refused(1, f"a{number}@there.test", "No such user here", account="other.example")
    house.refused(3, "b@web.test", "Message content rejected as spam", account="third.example")
    house.work.once()
    assert titles(house) == []
    house.clock.advance(1)
    house.refused(
        1, "a5@gmail.com", f"OG-LISTED the next hop refuses our address, saying: 421 4.7.28 {BLOCKED}", code=451
    )
    house.work.once()
    (case,) = house.cases
    assert case["kind"] == "refusals"
    assert case["title"] == "Google refuses our mail"
    assert (case["subjects"][0]["count"], case["subjects"][0]["kind"]) == (5, "receiver")
    traffic = house.items(case["id"])["traffic"]["evidence"]
    assert "shop.example: 5 messages of 1 sender, 5 refused for our address" in traffic
    # More of the same is the same case, and no line for each of them.
    for _ in range(20):
        house.clock.advance(10)
        house.refused(1, "b@gmail.com", BLOCKED, code=421)
        house.work.once()
    assert len(house.cases) == 1
    assert [event["what"] for event in house.case("show", case["id"])["history"]].count("seen") == 0


def test_the_same_few_refusals_over_a_long_time_are_no_pattern(house: House) -> None:
    for number in range(12):
        house.clock.advance(1000)
        house.refused(1, f"a{number}@gmail.com", BLOCKED, code=421)
        house.work.once()
    assert titles(house) == []


def test_one_message_tried_again_and_again_is_no_pattern(house: House) -> None:
    from outbound_guard.ledger.records import Delivered

    for _ in range(20):
        house.clock.advance(10)
        house.books.keep(
            Delivered("m1", house.clock.now(), "a@gmail.com", 421, "4.7.28", BLOCKED, "127.0.0.1:10025", final=False)
        )
        house.work.once()
    assert titles(house) == []


def test_refusals_that_name_a_listed_address_or_its_list_belong_to_that_case(house: House) -> None:
    house.listed("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    house.refused(6, "a@there.test", SPAMHAUS)
    house.work.once()
    house.clock.advance(1)
    house.refused(6, "a@elsewhere.test", "Blocked - see zen.spamhaus.org for why your ip is listed")
    house.work.once()
    (case,) = house.cases
    found = {(s["subject"], s["source"], s.get("kind", "list")) for s in case["subjects"]}
    assert ("192.0.2.10", "there.test", "receiver") in found
    assert ("receiver", "elsewhere.test", "receiver") in found
    # A day without refusals, and the receivers have nothing against us any more; the list still has.
    house.clock.advance(DAY)
    house.work.once()
    states = {s["source"]: s.get("state", "listed") for s in house.cases[0]["subjects"]}
    assert states == {"there.test": "clean", "elsewhere.test": "clean", "zen.spamhaus.org": "listed"}
    assert house.cases[0]["removed"] == 0


def finished(house: House) -> str:
    """A case that was closed after its listing had ended."""
    house.listed("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    id_ = str(house.cases[0]["id"])
    house.case("check", id_, "cause", "--finding", "false", "--cause", "mistake", "--evidence", "no mail of ours fits")
    house.clean("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    house.case("close", id_, "--summary", "A mistake of the list.", "--unfinished", "gone by itself")
    return id_


def test_a_listing_within_thirty_days_opens_the_case_again(house: House) -> None:
    id_ = finished(house)
    house.clock.advance(30 * DAY - 60)
    house.listed("192.0.2.10", "b.barracudacentral.org")
    house.work.once()
    (case,) = house.cases
    assert (case["id"], case["state"], case["stage"], case["reopened"]) == (id_, "open", "verify", 1)
    assert (case["finding"], case["summary"]) == ("", "")
    # What was found in the first round does not hold for the second.
    assert house.items(id_)["cause"]["state"] == "open"
    assert "not ready to file" in house.run("case", "draft", id_, "appeal", code=1)
    assert house.case("numbers")["relisting_rate"] == 1.0


def test_a_listing_after_thirty_days_is_a_new_case(house: House) -> None:
    first = finished(house)
    house.clock.advance(30 * DAY + 60)
    house.listed("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    assert [case["state"] for case in house.cases] == ["open", "closed"]
    assert house.cases[1]["id"] == first


def test_refusals_from_before_its_end_do_not_open_a_case_again(house: House) -> None:
    house.refused(6, "a@gmail.com", BLOCKED, code=421)
    house.work.once()
    id_ = house.cases[0]["id"]
    house.clock.advance(60)
    house.case("close", id_, "--summary", "The receiver's own mistake.", "--unfinished", "they said so")
    house.clock.advance(60)
    # A process that has just started reads the last hour again, and one more refusal comes in.
    house.refused(1, "b@gmail.com", BLOCKED, code=421)
    house.working().once()
    assert house.cases[0]["state"] == "closed"


def test_listed_again_while_it_is_watched(house: House) -> None:
    house.listed("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    id_ = house.cases[0]["id"]
    house.case("check", id_, "cause", "--finding", "false", "--cause", "neighbour", "--evidence", "the range, not us")
    for item in ("resolvers", "ours", "customer"):
        house.case("check", id_, item, "--evidence", "seen")
    for _ in range(4):
        house.case("advance", id_)
    house.case("contact", id_, "list:zen.spamhaus.org", "--channel", "https://lookup.example/removal")
    house.case("advance", id_)
    house.clean("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    house.case("advance", id_)
    assert house.cases[0]["stage"] == "confirm"
    house.clock.advance(DAY)
    house.listed("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    (case,) = house.cases
    assert (case["stage"], case["removed"]) == ("appeal", 0)
    # What was found of the cause stands; the list has to be asked again.
    items = house.items(id_)
    assert items["cause"]["state"] == "done"
    assert (items["gone"]["state"], items["stays"]["state"]) == ("open", "open")
    assert "filed still open" in house.run("case", "advance", id_, code=1)


def test_a_case_opened_by_hand_joins_what_is_open(house: House) -> None:
    assert house.case("open", "192.0.2.11", "--list", "private.example")["what"] == "opened"
    id_ = house.cases[0]["id"]
    again = house.case("open", "192.0.2.11", "--list", "private.example")
    assert again == {"id": id_, "what": ""}
    assert house.case("open", "[192.0.2.11]") == {"id": id_, "what": "seen"}
    house.listed("192.0.2.11", "zen.spamhaus.org")
    house.work.once()
    assert len(house.cases) == 1
    assert "is no address" in house.run("case", "open", "192.0.2", code=1)
    assert len(house.cases) == 1


def test_only_a_person_knows_of_the_end_of_what_the_watch_does_not_see(house: House) -> None:
    id_ = house.case("open", "192.0.2.11", "--list", "private.example", "--reason", "told by a customer")["id"]
    house.case("check", id_, "cause", "--finding", "false", "--cause", "mistake", "--evidence", "no mail of ours fits")
    for item in ("lists", "scope", "resolvers", "ours", "customer", "filed"):
        house.case("check", id_, item, "--evidence", "seen")
    house.work.once()
    house.clock.advance(60)
    for _ in range(5):
        house.case("advance", id_)
    house.case("check", id_, "gone", "--evidence", "the form of the list says so")
    house.case("advance", id_)
    (case,) = house.cases
    assert (case["stage"], case["subjects"][0]["state"], case["removed"]) == ("confirm", "clean", house.clock.now())
    house.clock.advance(3 * DAY)
    house.case("advance", id_)
    house.case("check", id_, "ours_to_do", "--not-needed", "it was their mistake")
    house.case("close", id_, "--summary", "A mistake of the list.")
    house.clock.advance(60)
    house.case("reopen", id_, "--reason", "it is back")
    # What ended in the round before is no figure of this one.
    assert house.case("numbers")["removal"] == {"cases": 0}
    # One that the watch does see is over when the watch says so.
    seen = house.case("open", "192.0.2.10", "--list", "other.example.org")["id"]
    house.listed("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    house.case("check", seen, "gone", "--evidence", "the page says so")
    states = {s["source"]: s.get("state", "listed") for s in house.case("show", seen)["subjects"]}
    assert states["zen.spamhaus.org"] == "listed"


def test_a_crash_between_two_steps_loses_nothing_and_doubles_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before each of its writes in turn; the next one goes on where that one was."""

    class Died(BaseException):
        pass

    write = case_queries.write
    left = 0  # Writes until it dies.

    def dying(*arguments: object, **options: object) -> None:
        nonlocal left
        if left == 0:
            raise Died
        left -= 1
        write(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(case_queries, "write", dying)
    for zone in ("zen.spamhaus.org", "b.barracudacentral.org"):
        house.listed("192.0.2.10", zone)
    house.refused(6, "a@gmail.com", BLOCKED, code=421)
    deaths = 0
    while True:
        # Each life gets one write further than nothing.
        left = 1
        try:
            house.working().once()
        except Died:
            deaths += 1
            assert deaths < 50
            continue
        break
    assert deaths > 3
    monkeypatch.setattr(case_queries, "write", write)
    house.work.once()
    assert sorted(titles(house))[0] == "192.0.2.10 on zen.spamhaus.org"
    assert len(titles(house)) == 2
    for case in house.cases:
        history = house.case("show", case["id"])["history"]
        assert [event["what"] for event in history].count("opened") == 1
        assert len({event["id"] for event in history}) == len(history)
    listed = next(case for case in house.cases if case["kind"] == "listing")
    assert len(listed["subjects"]) == 2


def test_it_goes_on_when_everything_old_was_forgotten(house: House) -> None:
    """Without old rows the numbers of deliveries begin anew, below the one that was followed last."""
    house.refused(20, "a@there.test", "no such user")
    house.work.once()
    with house.books.ledger.connection() as connection:
        connection.execute(delivery.delete())
    house.clock.advance(60)
    house.refused(6, "a@gmail.com", BLOCKED, code=421)
    house.work.once()
    assert titles(house) == ["Google refuses our mail"]
    with house.books.ledger.connection() as connection:
        connection.execute(delivery.delete())
    house.clock.advance(60)
    house.refused(5, "a@there.test", SPAMHAUS)
    house.working().once()
    assert len(titles(house)) == 2


def test_another_finding_opens_again_what_followed_from_the_first(house: House) -> None:
    house.listed("192.0.2.10", "zen.spamhaus.org")
    house.work.once()
    id_ = house.cases[0]["id"]
    for item in ("resolvers", "ours", "customer"):
        house.case("check", id_, item, "--evidence", "seen")
    house.case("advance", id_)
    house.case("check", id_, "cause", "--finding", "false", "--cause", "mistake", "--evidence", "no mail of ours fits")
    house.case("advance", id_)
    house.case("advance", id_)
    assert house.items(id_)["contained"]["state"] == "not needed"
    house.clock.advance(60)
    house.case("check", id_, "cause", "--finding", "caused", "--cause", "bulk", "--account", "shop.example",
               "--evidence", "it was theirs after all")  # fmt: skip
    assert house.items(id_)["contained"]["state"] == "open"
    assert "not contained yet" in house.run("case", "check", id_, "filed", "--evidence", "x", code=1)
    assert "not contained yet" in house.run("case", "draft", id_, "appeal", code=1)
    assert "a reason to go back is needed" in house.run("case", "advance", id_, "--to", "contain", code=1)
    house.case("advance", id_, "--to", "contain", "--reason", "it was theirs after all")
    assert house.cases[0]["stage"] == "contain"
    house.case("check", id_, "cause", "--open", "not sure any more")
    assert house.cases[0]["finding"] == ""
