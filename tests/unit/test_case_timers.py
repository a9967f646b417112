"""What time brings about in a case, with the time as an argument."""

from __future__ import annotations

from typing import Any

import msgspec

from outbound_guard.config import Config
from outbound_guard.desk.cases import timers
from outbound_guard.desk.cases.stages import CAUSES, DAY, OURS_TO_DO, entering
from outbound_guard.ledger.case_queries import Case, Event
from outbound_guard.ledger.case_storing import EMPTY
from outbound_guard.ledger.records import CaseEvent, CaseSubject

NOW = 1_790_000_000.0
CONFIG = Config()
LISTED = CaseSubject("192.0.2.10", "zen.spamhaus.org", since=NOW, seen=NOW)


def case(stage: str = "verify", *, subjects: tuple[CaseSubject, ...] = (LISTED,), **other: Any) -> Case:
    """A case whose stage begins at NOW."""
    fields = EMPTY | {"id": "c", "state": "open", "opened": NOW, "accounts": ()} | entering(stage, NOW) | other
    return Case(**fields, subjects=subjects)


def after(given: Case, seconds: float, history: list[Event] | None = None) -> list[CaseEvent]:
    """What is due so long after its stage began."""
    return list(timers.due(given, history or [], CONFIG, NOW + seconds))


def with_(given: Case, event: CaseEvent) -> Case:
    """The case after an event."""
    return msgspec.structs.replace(given, **event.fields)


def test_a_stage_that_takes_too_long_is_reminded_of_once_a_day() -> None:
    one = case()
    assert after(one, 4 * 3600 - 1) == []
    (event,) = after(one, 4 * 3600)
    assert (event.what, event.fields) == ("reminder", {"reminded": NOW + 4 * 3600})
    assert "verify" in event.text
    assert "nobody owns it" in event.text
    one = with_(one, event)
    assert after(one, 4 * 3600 + DAY - 1) == []
    (again,) = after(one, 4 * 3600 + DAY)
    assert again.id != event.id


def test_an_operator_that_does_not_answer_leads_to_escalation_and_a_new_waiting_time() -> None:
    one = case("watch")
    late = one.due - NOW
    assert after(one, late - 1) == []
    (event,) = after(one, late)
    assert event.what == "escalation"
    assert "zen.spamhaus.org" in event.text
    one = with_(one, event)
    assert one.due > NOW + late + DAY
    assert after(one, late + DAY) == []
    # When it is gone there is nobody to ask, but the stage has to be ended.
    clean = msgspec.structs.replace(case("watch"), subjects=(msgspec.structs.replace(LISTED, state="clean"),))
    assert [event.what for event in after(clean, late)] == ["reminder"]


def test_each_operator_has_its_own_waiting_time() -> None:
    slow = CaseSubject("192.0.2.10", "Google", kind="receiver", since=NOW, seen=NOW + 100 * DAY)
    one = case("watch", subjects=(LISTED, slow), due=NOW + 2 * DAY)
    history: list[Event] = []

    def escalated(one: Case, days: float) -> tuple[Case, list[str]]:
        (event,) = after(one, days * DAY, history)
        history.append(Event(id=event.id, time=event.time, by="system", what=event.what, text="", data=event.data))
        return with_(one, event), event.data.get("sources", [])

    one, sources = escalated(one, 2)
    assert (sources, one.due) == (["zen.spamhaus.org"], NOW + 4 * DAY)
    # It was asked once more, so its time begins with that.
    asked = {"with": "list:zen.spamhaus.org", "about": "escalation"}
    history.append(Event(id="e", time=NOW + 3 * DAY, by="ann", what="contact", text="", data=asked))
    one, sources = escalated(one, 4)
    assert (sources, one.due) == ([], NOW + 5 * DAY)
    one, sources = escalated(one, 5)
    assert sources == ["zen.spamhaus.org"]
    one, sources = escalated(msgspec.structs.replace(one, due=NOW + 14 * DAY), 14)
    assert sources == ["Google", "zen.spamhaus.org"]


def test_a_receiver_that_is_quiet_for_a_day_is_clean_and_a_list_is_not() -> None:
    refusing = CaseSubject("receiver", "Google", kind="receiver", since=NOW, seen=NOW, count=12)
    one = case("contain", subjects=(refusing,))
    assert not [event for event in after(one, DAY - 1) if event.what == "cleared"]
    (cleared,) = [event for event in after(one, DAY) if event.what == "cleared"]
    assert cleared.subjects[0].state == "clean"
    assert cleared.fields == {"removed": NOW + DAY}
    both = case("contain", subjects=(refusing, LISTED))
    (cleared,) = [event for event in after(both, DAY) if event.what == "cleared"]
    assert cleared.fields == {}


def test_customers_who_wait_are_remembered_every_three_days() -> None:
    told = Event(id="e", time=NOW, by="ann", what="contact", text="", data={"with": "customer:shop.example"})
    one = case("confirm")
    assert after(one, 3 * DAY - 1, [told]) == []
    (event,) = after(one, 3 * DAY, [told])
    assert event.data == {"of": "update"}
    reminded = Event(id=event.id, time=event.time, by="system", what="reminder", text="", data=event.data)
    assert after(one, 3 * DAY + 60, [told, reminded]) == []
    assert len(after(one, 6 * DAY, [told, reminded])) == 1
    assert after(case("confirm"), 4 * DAY) == []


def test_confirming_lasts_as_long_as_the_setting_says() -> None:
    assert entering("confirm", NOW, 3)["due"] == NOW + 4 * DAY


def test_there_is_a_suggestion_for_every_cause() -> None:
    assert OURS_TO_DO.keys() == CAUSES.keys()
