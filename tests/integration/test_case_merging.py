"""Two open cases that turn out to be one go on as one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.casehouse import DAY, House, opened


@pytest.fixture
def house(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with opened(tmp_path, capfd, monkeypatch) as one:
        yield one


def test_the_other_case_takes_over_what_it_is_about_and_its_letters(house: House) -> None:
    house.listed("192.0.2.10", "zen.example.org")
    house.listed("192.0.2.11", "other.example", codes="127.0.0.9")
    house.work.once()
    two, one = (case["id"] for case in house.cases)
    titles = {case["id"]: case["title"] for case in house.cases}
    first = next(id_ for id_, title in titles.items() if "192.0.2.10" in title)
    second = two if first == one else one
    house.clock.advance(60)
    house.case("contact", second, "customer:shop.example", "--channel", "telephone")
    assert "cannot be merged with itself" in house.run("case", "merge", first, first, code=1)
    assert "no case nothing" in house.run("case", "merge", second, "nothing", code=1)
    house.clock.advance(60)
    assert house.case("merge", second, first)["what"] == "merged"

    shown = house.case("show", first)
    assert {(s["subject"], s["source"]) for s in shown["subjects"]} == {
        ("192.0.2.10", "zen.example.org"),
        ("192.0.2.11", "other.example"),
    }
    (paper,) = shown["papers"]
    assert (paper["with"], paper["channel"]) == ("customer:shop.example", "telephone")
    closed = house.case("show", second)
    assert (closed["state"], closed["summary"], closed["next"]["act"]) == (
        "closed",
        f"the same as case {first}",
        "none",
    )
    assert "goes on there" in house.run("case", "reopen", second, "--reason", "x", code=1)
    assert "is closed" in house.run("case", "merge", second, first, code=1)

    # What comes later belongs to the one that goes on, also when that has ended; figures count one case.
    house.clean("192.0.2.11", "other.example")
    house.clean("192.0.2.10", "zen.example.org")
    house.work.once()
    assert house.case("show", first)["removed"]
    assert not house.case("show", second)["removed"]
    house.case("close", first, "--summary", "over", "--unfinished", "a test")
    house.clock.advance(DAY)
    house.listed("192.0.2.11", "other.example", codes="127.0.0.9")
    house.work.once()
    assert [case["id"] for case in house.case("list")] == [first]
    numbers = house.case("numbers")
    assert (numbers["cases"], numbers["listings"][0]["listings"]) == (1, 2)


def test_a_case_that_has_filed_already_asks_the_new_list_too(house: House) -> None:
    house.listed("192.0.2.10", "zen.example.org")
    house.listed("192.0.2.11", "other.example", codes="127.0.0.9")
    house.work.once()
    ids = {case["title"].partition(" ")[0]: case["id"] for case in house.cases}
    first, second = ids["192.0.2.10"], ids["192.0.2.11"]
    for item in ("resolvers", "ours", "customer"):
        house.case("check", first, item, "--evidence", "asked")
    house.case("advance", first)
    house.case("check", first, "cause", "--finding", "false", "--cause", "mistake", "--evidence", "not ours")
    for _ in ("contain", "notify", "appeal"):
        house.case("advance", first)
    house.case("contact", first, "list:zen.example.org", "--channel", "form")
    house.case("advance", first)
    assert house.case("show", first)["stage"] == "watch"
    house.clock.advance(60)
    house.case("merge", second, first)
    shown = house.case("show", first)
    assert (shown["stage"], shown["finding"]) == ("appeal", "false")
    assert "filed still open" in house.run("case", "advance", first, code=1)
    house.case("contact", first, "list:other.example", "--channel", "form")
    house.case("advance", first)
    assert house.case("show", first)["stage"] == "watch"
