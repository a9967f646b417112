"""The signal that is made of what scanners say, and its place on the path."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.config import Policy
from outbound_guard.content import parse
from outbound_guard.mail import Envelope, Signal, Submission
from outbound_guard.pipeline import Pipeline
from outbound_guard.reputation import SLOTS
from outbound_guard.reputation.memory import NO_PROFILE, NOTHING, Memory
from outbound_guard.scanners import Opinion
from outbound_guard.signals import Panel, View, scanners
from tests.product import message
from tests.scanning import Asking


def view(*opinions: Opinion) -> View:
    sender: Any = SimpleNamespace(kind="mailbox")
    nothing: Any = None
    return View(nothing, sender, nothing, NOTHING, None, 0.0, opinions)


@given(st.lists(st.sampled_from(["clean", "spam", "listed", "virus"]), max_size=6), st.sampled_from(["spam", "virus"]))
def test_more_of_it_never_weighs_less(results: list[Any], one_more: Any) -> None:
    def weight(*said: Any) -> float:
        found = scanners.look(view(*[Opinion("x", result, "") for result in said]), scanners.Settings())
        return found[0] if found else 0.0

    assert weight(*results) <= weight(*results, one_more) <= scanners.HIGH
    if "virus" not in results:
        assert weight(*results) <= 4.5, "not enough to hold a message"


def test_a_virus_never_lightens_what_others_say() -> None:
    settings = scanners.Settings(virus=1.0)
    found = scanners.look(view(Opinion("a", "spam", ""), Opinion("b", "virus", "")), settings)
    assert found is not None
    assert found[0] == 3.0


VIRUS = Opinion("clamav", "virus", "Win.Trojan.Example-1")


class Silent:
    """Scanners that find a virus in everything, and count how often they are asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, *_: object) -> tuple[Opinion, ...]:
        self.asked += 1
        return (VIRUS,)


async def judged(policy: Policy, found: Any, memory: Memory = NOTHING) -> Any:
    """The verdict on a message of a sender of whom nothing is known."""

    async def recall(*_: object, **__: object) -> Any:
        return memory

    sender: Any = SimpleNamespace(kind="mailbox", name="anna@a.test", account="a.test", script=None, client_ip=None)
    reputation: Any = SimpleNamespace(recall=recall, half_life=172_800.0)
    directory: Any = SimpleNamespace(
        suspended=lambda *_: None,
        pool=lambda *_: "",
        limit=lambda *_: policy.limit.sender,
        account_limit=lambda *_: policy.limit.account,
        exempt=lambda *_: None,
        probation=lambda *_: None,
    )
    identifier: Any = SimpleNamespace(identify=lambda *_: sender)
    pipeline = Pipeline(identifier, directory, reputation, policy, model=None, observe=False, scanners=found)
    submission = Submission("1", 1000.0, Envelope("anna@a.test", ("b@b.test",)), message("x"), "192.0.2.1")
    return (await pipeline.judge(submission, 1000.0)).verdict


async def test_a_virus_stays_here_and_its_sender_is_not_suspended_for_it_alone() -> None:
    found = Silent()
    verdict = await judged(Policy(), found)
    assert (verdict.action, verdict.code, verdict.suspend) == ("quarantine", "scanners", None)
    assert verdict.reason == "clamav: virus, Win.Trojan.Example-1"
    assert found.asked == 1


async def test_in_shadow_it_is_recorded_and_has_no_effect() -> None:
    verdict = await judged(Policy(signal={"scanners": {"mode": "shadow"}}), Silent())
    assert verdict.action == "relay"
    assert [(s.name, s.weight, s.shadow) for s in verdict.signals if s.name == "scanners"] == [("scanners", 10.0, True)]


async def test_nobody_is_asked_when_nobody_listens() -> None:
    found = Silent()
    assert (await judged(Policy(signal={"scanners": {"mode": "off"}}), found)).action == "relay"
    assert found.asked == 0
    assert (await judged(Policy(), None)).action == "relay"


async def test_nobody_is_asked_about_mail_of_a_suspended_sender() -> None:
    found = Silent()
    memory = msgspec.structs.replace(NOTHING, sender=NO_PROFILE._replace(suspended=1))
    assert (await judged(Policy(), found, memory)).action == "quarantine"
    assert found.asked == 0


def test_agreement_is_counted_against_what_the_other_signals_say() -> None:
    asking = Asking()
    opinions = (Opinion("a", "clean", ""), Opinion("b", "spam", ""))
    ours, theirs = Signal("content", 4.0, ""), Signal("scanners", 10.0, "")
    shadow = Signal("rate", 9.0, "", shadow=True)
    asking.scanners.compare(opinions, (ours, theirs, shadow), 6.0)
    asking.scanners.compare(opinions, (ours, Signal("clients", 2.0, "")), 6.0)
    value = asking.metrics.value
    assert [value("scanner_agreement_total", "a", word) for word in ("neither", "verdict_only")] == [1, 1]
    assert [value("scanner_agreement_total", "b", word) for word in ("scanner_only", "both")] == [1, 1]


def test_the_panel_shows_the_bounded_weight() -> None:
    signals, evidence = Panel(Policy(signal={"scanners": {"virus": 50.0}})).look(view_of_mail(VIRUS), [0.0] * SLOTS)
    assert [signal.weight for signal in signals if signal.name == "scanners"] == [scanners.HIGH]
    assert evidence == [], "it counts for this message alone"


def view_of_mail(*opinions: Opinion) -> View:
    content = message("x")
    sender: Any = SimpleNamespace(kind="mailbox", name="anna@a.test", account="a.test", script=None, client_ip=None)
    submission = Submission("1", 1000.0, Envelope("anna@a.test", ("b@b.test",)), content, "192.0.2.1")
    return View(submission, sender, parse(content), NOTHING, None, 1000.0, opinions)
