"""The class of a sender: which one fits first, and that every one has its reason."""

from __future__ import annotations

from typing import Any

import pytest

from outbound_guard.reputation.classes import CLASSES, Circumstances, class_of, together
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC
from outbound_guard.reputation.portrait import Portrait, class_of_account

CALM = Circumstances()
KNOWN = {"messages": 300.0, "delivered": 250.0}


def classed(suspicion: float = 0.0, day_peak: float = 0.0, now_is: Circumstances = CALM, **profile: Any) -> str:
    found = class_of(NO_PROFILE._replace(**profile), NO_TRAFFIC._replace(day_peak=day_peak), suspicion, now_is)
    assert found.reason.endswith(".")
    assert found.name in CLASSES
    return found.name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "new"),
        ({"messages": 19.0}, "new"),
        ({"messages": 20.0}, "normal"),
        (KNOWN, "trusted"),
        ({**KNOWN, "refused": 3.0}, "normal"),
        ({**KNOWN, "refused": 40.0}, "doubtful"),
        ({"messages": 300.0, "delivered": 10.0, "refused": 5.0}, "normal"),
        ({**KNOWN, "day_peak": 1000.0}, "bulk"),
        ({**KNOWN, "suspicion": 3.0}, "doubtful"),
        ({**KNOWN, "suspicion": 3.0, "trust": 1.0}, "trusted"),
        ({**KNOWN, "suspicion": 4.5, "trust": 1.0}, "doubtful"),
        ({**KNOWN, "suspended": 1.0}, "suspended"),
        ({**KNOWN, "now_is": Circumstances(suspended="stolen")}, "suspended"),
        ({**KNOWN, "now_is": Circumstances(probation=True)}, "doubtful"),
        ({**KNOWN, "suspicion": 9.0, "now_is": Circumstances(kind="forwarder")}, "forwarded"),
        ({**KNOWN, "now_is": Circumstances(kind="forwarder", null_sender=True)}, "bounces"),
        ({"suspicion": 9.0, "now_is": Circumstances(suspended="x", null_sender=True)}, "suspended"),
    ],
)
def test_the_first_that_fits(given: dict[str, Any], expected: str) -> None:
    assert classed(**given) == expected


def test_many_recipients_at_a_time_are_bulk() -> None:
    profile = NO_PROFILE._replace(messages=50.0)
    traffic = NO_TRAFFIC._replace(day_messages=10.0, day_recipients=300.0, day_peak=250.0)
    assert class_of(profile, traffic, 0.0, Circumstances()).name == "bulk"
    assert class_of(profile, traffic._replace(day_peak=150.0), 0.0, Circumstances()).name == "normal"


def test_an_account_is_as_good_as_its_senders_and_as_bad_as_the_worst() -> None:
    def one(**profile: float) -> Portrait:
        return Portrait(NO_PROFILE._replace(**profile), NO_TRAFFIC)

    own = one()
    assert class_of_account(own, [one(), one()], 0.0, 1.0, Circumstances()).name == "new"
    calm = [one(messages=150.0, delivered=120.0), one(messages=150.0, delivered=100.0)]
    assert class_of_account(own, calm, 0.0, 1.0, Circumstances()).name == "trusted"
    assert class_of_account(own, [*calm, one(sum2=3.5)], 0.0, 1.0, Circumstances()).name == "doubtful"
    assert together([calm[0].profile, calm[1].profile], own.profile).messages == 300.0
