"""What of a judgement becomes a habit."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from outbound_guard.config import Policy
from outbound_guard.content import parse
from outbound_guard.learning import Learning
from outbound_guard.mail import Envelope, Sender, Submission, Verdict
from outbound_guard.reputation import TRAITS, Company, Memory, Observation, Reputation
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC
from outbound_guard.signals import Panel
from outbound_guard.verdict import Judgement

ANNA = Sender("example.com", "anna@example.com", "mailbox", "sasl", "192.0.2.1")
SUBMISSION = Submission("i", 0.0, Envelope("anna@example.com", ("b@example.net",)), b"\r\n", "192.0.2.1")
MEMORY = Memory(NO_PROFILE, NO_PROFILE, NO_TRAFFIC, NO_TRAFFIC)


class Notes:
    """Keeps what is to be learned."""

    def __init__(self) -> None:
        self.learned: dict[str, Any] = {}

    def learn(self, seen: Observation, memory: Memory, evidence: object, **what: object) -> None:
        self.learned = what


@pytest.mark.parametrize(
    ("times", "new", "copy"),
    [(3, (), True), (2, (), False), (300, (), True), (3, ("network",), False), (3, ("software",), True)],
)
def test_to_repeat_a_text_is_a_habit_where_the_sender_always_is(times: int, new: tuple[str, ...], copy: bool) -> None:
    notes, policy = Notes(), Policy()
    memory = msgspec.structs.replace(
        MEMORY, campaign=Company(times=times), new_traits=tuple(trait in new for trait in TRAITS)
    )
    seen = Observation(0.0, ANNA, SUBMISSION.envelope.recipients, (None,) * len(TRAITS), 7)
    learning = Learning(cast(Reputation, notes), Panel(policy), policy, observe=False)
    verdict = Verdict("relay", 0.0, "clean", ())
    learning.judged(Judgement(SUBMISSION, parse(b"\r\n"), ANNA, seen, memory, verdict))
    assert (notes.learned["copy"], notes.learned["habit"]) == (copy, True)
