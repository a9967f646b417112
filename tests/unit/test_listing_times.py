"""Single changes of listings, told as times of listing."""

from __future__ import annotations

from typing import Any

from outbound_guard.desk.addresses.times import UNWATCHED, listing_times


def change(time: float, state: str, zone: str = "a.test", *, codes: str = "", reason: str = "") -> dict[str, Any]:
    return {"time": time, "subject": "192.0.2.1", "zone": zone, "state": state, "codes": codes, "reason": reason}


def told(*rows: dict[str, Any]) -> list[tuple[str, float, float, tuple[str, ...], bool]]:
    return [(one.zone, one.since, one.until, one.codes, one.uncertain) for one in listing_times(rows)]


def test_from_listed_to_clean_is_one_time_whatever_comes_between() -> None:
    rows = (
        change(10, "listed", codes="127.0.0.2"),
        change(20, "listed", codes="127.0.0.2 127.0.0.4", reason="worse"),
        change(30, "unknown", reason="no answer"),
        change(40, "listed", codes="127.0.0.4"),
        change(50, "clean"),
    )
    assert told(*rows) == [("a.test", 10, 50, ("127.0.0.2", "127.0.0.4"), False)]


def test_what_lasts_comes_first_and_an_unknown_answer_does_not_end_it() -> None:
    rows = (
        change(10, "listed", "a.test"),
        change(20, "clean", "a.test"),
        change(30, "listed", "b.test"),
        change(40, "listed", "c.test"),
        change(50, "unknown", "c.test", reason="no answer"),
        change(60, "listed", "a.test"),
    )
    assert [(zone, since, until, uncertain) for zone, since, until, _, uncertain in told(*rows)] == [
        ("a.test", 60, 0, False),
        ("c.test", 40, 0, True),
        ("b.test", 30, 0, False),
        ("a.test", 10, 20, False),
    ]


def test_what_nobody_asks_about_any_more_has_ended_uncertainly() -> None:
    assert told(change(10, "listed"), change(20, "unknown", reason=UNWATCHED)) == [("a.test", 10, 20, (), True)]


def test_an_end_without_its_beginning_began_before_what_is_kept() -> None:
    assert told(change(20, "clean"), change(30, "unknown", reason="no answer")) == [("a.test", 0, 20, (), False)]
    assert told() == []


def test_what_lasts_for_longer_than_the_history_is_kept_is_not_forgotten() -> None:
    known = change(0, "listed", "b.test", codes="127.0.0.2") | {"first_seen": 5.0}
    other = change(0, "unknown", "c.test") | {"first_seen": 6.0}
    found = listing_times([change(10, "listed", "a.test")], [known, other, known | {"zone": "a.test"}])
    assert [(one.zone, one.since, one.until, one.uncertain) for one in found] == [
        ("a.test", 10, 0, False),
        ("c.test", 6, 0, True),
        ("b.test", 5, 0, False),
    ]
