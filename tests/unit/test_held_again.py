"""A held message that is looked at again: what clears it, and what does not."""

from __future__ import annotations

from collections.abc import Mapping

from outbound_guard.config import Policy
from outbound_guard.content import parse
from outbound_guard.mail import Envelope, Sender, Submission
from outbound_guard.reputation import SLOTS
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC, Memory
from outbound_guard.signals import CHECKS, Panel, View

NOW = 1_800_000_000.0
NAMES = [check.NAME for check in CHECKS]


def weights(sums: Mapping[str, float], again: Mapping[str, float] | None) -> dict[str, float]:
    """The contributions, with these running sums, of a message that says nothing by itself."""
    submission = Submission("i", NOW, Envelope("anna@example.com", ("bob@example.net",)), b"\r\n", "192.0.2.1")
    sender = Sender("example.com", "anna@example.com", "mailbox", "sasl")
    memory = Memory(NO_PROFILE, NO_PROFILE, NO_TRAFFIC, NO_TRAFFIC)
    view = View(submission, sender, parse(submission.content), memory, None, NOW)
    carried = [sums.get(name, 0.0) for name in NAMES] + [0.0] * (SLOTS - len(NAMES))
    signals, _ = Panel(Policy()).look(view, carried, again=again)
    return {signal.name: signal.weight for signal in signals}


def test_the_owners_usual_mail_does_not_clear_a_strangers() -> None:
    then = {"clients": 3.2, "copies": 2.5}
    assert weights({"clients": 0.4}, again=None)["clients"] == 0.4
    now = weights({"clients": 0.4}, again=then)
    assert (now["clients"], now["copies"]) == (3.2, 2.5)


def test_nor_do_the_owners_texts_those_of_a_stranger() -> None:
    assert weights({"content": 1.0}, again=None)["content"] == 1.0
    assert weights({"content": 1.0}, again={"content": 3.4})["content"] == 3.4


def test_answers_of_the_world_do_clear_it_and_less_volume() -> None:
    now = weights({"refusals": 0.5, "recipients": 0.2}, again={"refusals": 4.0, "recipients": 2.0, "rate": 6.0})
    assert (now["refusals"], now["recipients"]) == (0.5, 0.2)
    assert "rate" not in now  # The volume has gone down.


def test_what_has_become_worse_counts() -> None:
    assert weights({"clients": 5.0}, again={"clients": 3.2})["clients"] == 5.0
