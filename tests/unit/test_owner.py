"""Is it the owner who writes? One change is one proof, and the owner is not held for a thief."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.config import Policy
from outbound_guard.content import parse
from outbound_guard.mail import Envelope, Sender, Signal, Submission
from outbound_guard.reputation import SLOTS, TRAITS, Company, Memory
from outbound_guard.reputation.forwarding import believed
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC, NOTHING
from outbound_guard.signals import CHECKS, Panel, View
from outbound_guard.signals.from_address import elsewhere
from outbound_guard.signals.owner import one_change

NOW = 1_800_000_000.0
NAMES = [check.NAME for check in CHECKS]
ANNA = Sender("example.com", "anna@example.com", "mailbox", "sasl", "192.0.2.1")
KNOWN = {f"{trait}_seen": 50.0 for trait in TRAITS} | {"messages": 50.0, "recipients": 50.0, "content_seen": 50.0}
LEFT = {"clients": 6.0, "from_address": 4.0, "software": 2.5, "manner": 2.0, "copies": 2.5}


def weights(
    left: dict[str, float],
    *,
    new: tuple[str, ...] = (),
    sender: Sender = ANNA,
    known: float = 50.0,
    said: float = 0.0,
    **memory: object,
) -> dict[str, float]:
    """What each signal contributes for a message, where earlier mail has left these sums."""
    profile = NO_PROFILE._replace(**KNOWN | {"network_seen": known})
    remembered = Memory(profile, profile, NO_TRAFFIC, NO_TRAFFIC, new_traits=tuple(t in new for t in TRAITS))
    content = b"From: Anna <anna@example.com>\r\nTo: b@example.net\r\n\r\nHello.\r\n"
    submission = Submission("i", NOW, Envelope("anna@example.com", ("b@example.net",)), content, "192.0.2.1")
    opinion = (said, "like spam") if said else None
    view = View(submission, sender, parse(content), msgspec.structs.replace(remembered, **memory), opinion, NOW)
    sums = [left.get(name, 0.0) for name in NAMES] + [0.0] * (SLOTS - len(NAMES))
    signals, _ = Panel(Policy()).look(view, sums)
    return {signal.name: signal.weight for signal in signals}


def test_the_owner_writes_as_ever_beside_a_thief() -> None:
    found = weights(LEFT)
    assert all(found.get(name, 0.0) <= 0 for name in LEFT)
    # What earlier mail says of the list and of the text is the account's, whoever writes.
    assert weights(LEFT | {"content": 3.0, "recipients": 2.0}).items() >= {"content": 3.0}.items()


@pytest.mark.parametrize("trait", ["network", "software", "zone", "from", "name"])
def test_a_thief_is_not_the_owner(trait: str) -> None:
    assert weights(LEFT, new=(trait,))["clients"] > 4


def test_who_is_not_known_or_comes_from_nowhere_is_not_taken_for_the_owner() -> None:
    assert weights(LEFT, known=9.0)["clients"] > 4
    webmail = tuple(trait != "network" for trait in TRAITS)
    assert weights(LEFT, shows=webmail, new=("network",))["clients"] > 4
    script = msgspec.structs.replace(ANNA, kind="script", client_ip=None)
    assert weights({"software": 2.5}, sender=script)["software"] > 1.5


@pytest.mark.parametrize(("said", "most"), [(0.5, 0.75), (1.0, 1.5), (2.0, 4.0), (3.0, 7.0)])
def test_only_what_reads_like_spam_becomes_a_proof_by_being_sent_to_many(said: float, most: float) -> None:
    def after(left: float, times: int) -> float:
        return weights({"content": left}, said=said, campaign=Company(times=times))["content"]

    assert after(6.9, 2) == pytest.approx(max(6.9, most))  # Other texts have left that.
    assert after(most - 0.1, 2) == pytest.approx(most)
    assert after(said, 1) == pytest.approx(2 * said)


def test_a_new_network_is_one_finding_to_however_many_new_people() -> None:
    def after(left: float, *, first_seen: bool) -> float:
        return weights({"clients": left}, new=("network",), first_seen=first_seen, recipients=1, new_recipients=1)[
            "clients"
        ]

    once = after(0.0, first_seen=True)
    assert after(once, first_seen=False) == pytest.approx(1.5 * once)
    assert after(once, first_seen=True) == pytest.approx(2 * once)
    # Of the recipients each is one.
    said = weights({}, recipients=1, new_recipients=1)["recipients"]
    assert weights({"recipients": said}, recipients=1, new_recipients=1)["recipients"] > 1.6 * said


def test_one_change_is_one_proof() -> None:
    def total(*others: Signal) -> float:
        new = [Signal("clients", 3.0, ""), Signal("software", 2.0, ""), Signal("manner", -0.5, "")]
        return sum(signal.weight for signal in one_change([*new, *others]) if not signal.shadow)

    assert total() == pytest.approx(3.0 + 0.5 - 0.5)
    assert total(Signal("content", -1.0, "")) == pytest.approx(3.0 + 0.5 - 0.5 - 1.0)
    assert total(Signal("content", 0.5, "")) == pytest.approx(3.0 + 2.0 * 0.625 - 0.5 + 0.5)
    for name in ("content", "neighbours"):
        assert total(Signal(name, 1.0, "")) == pytest.approx(3.0 + 2.0 - 0.5 + 1.0)
    # Of answers: one address that is gone is nothing yet, several are.
    assert total(Signal("refusals", 1.8, "")) == pytest.approx(3.0 + 0.5 - 0.5 + 1.8)
    assert total(Signal("refusals", 3.0, "")) == pytest.approx(3.0 + 2.0 - 0.5 + 3.0)
    assert total(Signal("content", 3.0, "", shadow=True)) == pytest.approx(3.0)
    assert total(Signal("recipients", 3.0, "")) == pytest.approx(6.0)


def test_no_telephone_sends_the_answers_elsewhere() -> None:
    def total(*, elsewhere: bool) -> float:
        new = [Signal("clients", 3.0, ""), Signal("from_address", 2.0, ""), Signal("software", 2.0, "")]
        return sum(signal.weight for signal in one_change(new, elsewhere=elsewhere))

    assert total(elsewhere=False) == pytest.approx(3.0 + 0.5 + 0.5)
    assert total(elsewhere=True) == pytest.approx(3.0 + 2.0 + 0.5)


@pytest.mark.parametrize(
    ("header", "new", "is_elsewhere"),
    [
        (b"Reply-To: boss@example.com", ("reply",), False),
        (b"Reply-To: boss@example.net", ("reply",), True),
        (b"Reply-To: anna@example.com, boss@example.net", ("reply",), True),
        (b"Reply-To: boss@example.net", (), False),
        (b"From: anna@alias.example.net\r\nReply-To: boss@example.com", ("reply",), False),
        (b"Subject: Hello", ("from",), False),
        (b"From: boss@example.net", ("from",), True),
        (b"From: boss@example.net", (), False),
    ],
)
def test_what_is_elsewhere(header: bytes, new: tuple[str, ...], is_elsewhere: bool) -> None:
    author = b"" if header.startswith(b"From") else b"From: Anna <anna@example.com>\r\n"
    memory = Memory(NO_PROFILE, NO_PROFILE, NO_TRAFFIC, NO_TRAFFIC, new_traits=tuple(t in new for t in TRAITS))
    content = author + header + b"\r\n\r\nHello.\r\n"
    submission = Submission("i", NOW, Envelope("anna@example.com", ("b@example.net",)), content, "192.0.2.1")
    assert elsewhere(View(submission, ANNA, parse(content), memory, None, NOW)) is is_elsewhere


KINDS = ("clients", "from_address", "software", "manner", "copies", "recipients", "content", "refusals", "neighbours")
NATS = st.floats(-1.0, 6.0, allow_nan=False)


@given(st.lists(NATS, min_size=len(KINDS), max_size=len(KINDS)), st.integers(0, len(KINDS) - 1), st.floats(0.0, 5.0))
def test_more_that_speaks_against_it_never_makes_it_less(nats: list[float], which: int, more: float) -> None:
    def total(values: list[float]) -> float:
        signals = [Signal(name, value, "") for name, value in zip(KINDS, values, strict=True)]
        return sum(signal.weight for signal in one_change(signals))

    higher = [value + more * (place == which) for place, value in enumerate(nats)]
    assert total(higher) >= total(nats) - 1e-9


def test_who_writes_to_ever_new_people_forwards_nothing() -> None:
    forwarder = Sender("example.com", "web1/forwarder:example.com", "forwarder", "mail_from")

    def kind(recipients: float, new: float, sender: Sender = forwarder, **memory: object) -> str:
        profile = NO_PROFILE._replace(recipients=recipients, new=new)
        remembered = Memory(profile, profile, NO_TRAFFIC, NO_TRAFFIC, recipients=1, new_recipients=1)
        return believed(sender, msgspec.structs.replace(remembered, **memory)).kind

    assert kind(50, 50) == "forwarder"  # The mailboxes that forward, when nothing is known yet.
    assert kind(5000, 900) == "forwarder"
    assert kind(100, 100) == "address"
    assert kind(100, 100, available=False) == "forwarder"
    assert believed(forwarder, NOTHING).kind == "forwarder"
    assert kind(100, 100, ANNA) == "mailbox"
