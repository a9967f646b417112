"""Classes from message to message: no going to and fro, each change on record once, and what the ledger makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from outbound_guard.app.classes import class_news
from outbound_guard.clock import VirtualClock
from outbound_guard.ledger import class_queries, class_storing
from outbound_guard.ledger.records import ClassChange, decode, encode
from outbound_guard.reputation.classes import CLASSES, WAYS, Circumstances, class_of
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC
from outbound_guard.reputation.sender_classes import UNKNOWN, SenderClasses
from tests.records import BOTH_LONG, Books, books

LEDGERS = BOTH_LONG

CALM = Circumstances()
KNOWN = NO_PROFILE._replace(messages=300.0, delivered=250.0)
NOW = 1_700_000_000.0


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path, VirtualClock(NOW)) as opened:
        yield opened


class Watched:
    """The class of one sender's mail, message by message."""

    def __init__(self) -> None:
        self.told: list[ClassChange] = []
        self.classes = SenderClasses(self.told.append)
        self.now = NOW

    def sends(
        self, profile: Any = KNOWN, suspicion: float = 0.0, now_is: Circumstances = CALM, peak: float = 0.0, **how: Any
    ) -> str:
        self.now += 1
        traffic = NO_TRAFFIC._replace(day_peak=peak)
        return self.classes.of(
            "a.test", "x@a.test", profile, traffic, suspicion, now_is, self.now, messages=profile.messages, **how
        )


def test_every_class_has_its_way_out() -> None:
    assert set(WAYS) == set(CLASSES)
    assert all(text.endswith(".") for text in WAYS.values())


def test_whoever_is_in_a_class_stays_until_well_beyond_the_line() -> None:
    watched = Watched()
    assert [watched.sends(suspicion=value) for value in (2.9, 3.0, 2.9, 2.2, 2.0, 2.9, 3.1)] == [
        *("trusted", "doubtful", "doubtful", "doubtful", "trusted", "trusted", "doubtful"),
    ]
    watched = Watched()
    assert [watched.sends(peak=value) for value in (999.0, 1000.0, 990.0, 700.0, 699.0, 999.0)] == [
        *("trusted", "bulk", "bulk", "bulk", "trusted", "trusted"),
    ]
    watched = Watched()
    refused = [NO_PROFILE._replace(messages=300.0, delivered=1000.0 - n, refused=float(n)) for n in (10, 14, 15, 11, 9)]
    assert [watched.sends(profile) for profile in refused] == ["trusted", "trusted", "normal", "normal", "trusted"]


@given(st.lists(st.floats(2.2, 2.99), min_size=2, max_size=50), st.booleans())
def test_nobody_goes_to_and_fro_between_the_lines(suspicions: list[float], doubted: bool) -> None:
    watched = Watched()
    first = watched.sends(suspicion=5.0 if doubted else 0.0)
    assert {watched.sends(suspicion=value) for value in suspicions} == {first}
    assert len(watched.told) == 1


@given(
    st.floats(0, 400),
    st.floats(0, 400),
    st.floats(0, 50),
    st.floats(0, 10),
    st.floats(0, 2000),
    st.sampled_from(CLASSES),
)
def test_a_class_once_given_is_given_again(
    messages: float, delivered: float, refused: float, suspicion: float, peak: float, before: str
) -> None:
    """For the same sender, unchanged, the class does not change any more, whatever it was before."""
    profile = NO_PROFILE._replace(messages=messages, delivered=delivered, refused=refused)
    traffic = NO_TRAFFIC._replace(day_peak=peak)
    found = class_of(profile, traffic, suspicion, CALM, before=before)
    assert class_of(profile, traffic, suspicion, CALM, before=found.name).name == found.name


def test_a_change_is_told_once_with_its_reason_and_bounces_say_nothing() -> None:
    watched = Watched()
    null = Circumstances(null_sender=True)
    assert [watched.sends(), watched.sends(now_is=null), watched.sends(), watched.sends(suspicion=4.0)] == [
        *("trusted", "bounces", "trusted", "doubtful"),
    ]
    assert [(one.class_, one.time) for one in watched.told] == [("trusted", NOW + 1), ("doubtful", NOW + 4)]
    assert watched.told[1].reason == "Its suspicion is 4.0; from 3.0 on a sender is doubtful."
    assert watched.classes.known("a.test", "x@a.test") == "doubtful"


def test_without_memory_a_sender_keeps_its_class() -> None:
    watched = Watched()
    assert watched.sends(NO_PROFILE, available=False) == UNKNOWN
    watched.sends(suspicion=4.0)
    assert watched.sends(NO_PROFILE, available=False) == "doubtful"
    assert watched.sends(NO_PROFILE, available=False, now_is=Circumstances(kind="forwarder")) == "forwarded"
    assert watched.sends(NO_PROFILE, available=False, now_is=Circumstances(null_sender=True)) == "bounces"
    assert [one.class_ for one in watched.told] == ["doubtful"]


def test_what_the_ledger_knows_counts_unless_it_is_older() -> None:
    watched = Watched()
    watched.classes.learn([("a.test", "x@a.test", "doubtful", NOW)])
    assert watched.sends(suspicion=2.5) == "doubtful"
    assert watched.told == []
    watched.sends(suspicion=0.0)
    watched.classes.learn([("a.test", "x@a.test", "doubtful", NOW + 1)])
    assert watched.classes.known("a.test", "x@a.test") == "trusted"


def test_so_many_are_remembered_and_no_more() -> None:
    classes = SenderClasses(most=10)
    classes.learn([("a", str(number), "normal", 1.0) for number in range(25)])
    assert classes.known("a", "24") == "normal"
    assert classes.known("a", "0") == ""
    assert sum(bool(classes.known("a", str(number))) for number in range(25)) <= 10


def change(class_: str, time: float, sender: str = "x@a.test") -> ClassChange:
    return ClassChange(time, "a.test", sender, class_, f"because of {class_}")


def test_the_record_survives_the_journal() -> None:
    record = change("bulk", 5.0)
    assert decode(encode(record)) == record


def test_the_ledger_keeps_the_class_and_its_history(kept: Books) -> None:
    kept.keep(change("new", NOW), change("new", NOW + 1))
    # Two processes tell the same; what is older than what is known is late, and a file may be read twice.
    kept.keep(change("normal", NOW + 5), change("normal", NOW + 6), change("new", NOW + 4, "other@a.test"))
    kept.keep(change("new", NOW), change("doubtful", NOW + 3))
    now = class_queries.class_now(kept.ledger, "a.test", "x@a.test")
    assert now is not None
    assert (now.class_, now.time, now.reason) == ("normal", NOW + 5, "because of normal")
    history = class_queries.changes(kept.ledger, "a.test", "x@a.test")
    assert [(one.class_from, one.class_to, one.time) for one in history] == [
        ("new", "normal", NOW + 5),
        ("", "new", NOW),
    ]
    assert len(class_queries.changes(kept.ledger, "a.test")) == 3
    assert class_queries.class_now(kept.ledger, "a.test", "nobody@a.test") is None


@pytest.mark.sqlite
def test_what_is_known_of_senders_is_found_by_the_key_however_many_there_are(kept: Books) -> None:
    kept.keep(change("new", NOW))  # Makes the tables.
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, values: Any, *___: object) -> None:
        if statement.startswith("SELECT") and "sender_class" in statement:
            asked.append((statement, values))

    with kept.ledger.connection() as connection:
        event.listen(connection, "before_cursor_execute", note)
        class_storing.class_changes(connection, [change("new", NOW, f"m{number}@a.test") for number in range(250)])
        for statement, values in asked:
            plan = [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
            assert not [step for step in plan if step.startswith("SCAN")], plan
    assert len(asked) > 1
    assert len(class_queries.changes(kept.ledger, "a.test", limit=1000)) == 251
    kept.keep(*(change("new", NOW + 1, f"m{number}@a.test") for number in range(250)))
    assert len(class_queries.changes(kept.ledger, "a.test", limit=1000)) == 251, "known, so nothing has changed"


def test_any_number_of_senders_is_asked_about_in_one_statement(kept: Books) -> None:
    """SQLAlchemy keeps each statement it has compiled, and one for each number of them is much memory."""
    kept.keep(change("new", NOW))  # Makes the tables.
    compiled: set[object] = set()

    def note(_: object, __: object, statement: str, ___: object, context: Any, ____: object) -> None:
        if statement.startswith("SELECT") and "sender_class" in statement:
            compiled.add(context.compiled)

    with kept.ledger.connection() as connection:
        event.listen(connection, "before_cursor_execute", note)
        for number in range(1, 45):
            class_storing.class_changes(connection, [change("new", NOW, f"m{n}@a.test") for n in range(number)])
    assert len(compiled) == 1


async def test_a_process_hears_of_what_others_found(kept: Books) -> None:
    classes = SenderClasses()
    look = class_news(kept.ledger, classes)
    await look()
    kept.keep(change("bulk", NOW))
    await look()
    assert classes.known("a.test", "x@a.test") == "bulk"
    anew = SenderClasses()
    look = class_news(kept.ledger, anew)
    await look()
    assert anew.known("a.test", "x@a.test") == "bulk"
    kept.keep(change("trusted", NOW + 1))
    await look()
    assert anew.known("a.test", "x@a.test") == "trusted"


@pytest.mark.parametrize("value", [0.0, math.pi])
def test_a_clock_set_back_changes_nothing(value: float) -> None:
    clock, watched = VirtualClock(NOW), Watched()
    watched.sends(suspicion=4.0)
    watched.now = clock.now() - 100
    watched.sends(suspicion=value)
    assert [one.class_ for one in watched.told] == ["doubtful"]
