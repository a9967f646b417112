"""Decisions: pure, so every row of the table can be tried."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.config import Allow, Hold, Limit, Policy
from outbound_guard.content import parse
from outbound_guard.mail import Envelope, Sender, Signal, Submission
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC, Company, Memory
from outbound_guard.verdict import (
    ACTIONS,
    Circumstances,
    allowed,
    decide,
    in_doubt,
    is_filled_in,
    is_mailing,
    over_limit,
)

POLICY = Policy()
NOTHING_KNOWN = Memory(NO_PROFILE, NO_PROFILE, NO_TRAFFIC, NO_TRAFFIC)
ANNA = Sender("example.com", "anna@example.com", "mailbox", "sasl")
FORWARDER = msgspec.structs.replace(ANNA, kind="forwarder")


def signal(weight: float, *, volume: bool = False, shadow: bool = False, name: str = "recipients") -> Signal:
    return Signal("rate" if volume else name, weight, "because", volume, shadow)


@pytest.mark.parametrize(
    ("weights", "action", "suspends"),
    [
        ([], "relay", False),
        ([2.9], "relay", False),
        ([4.9], "relay", False),
        ([5.0], "hold", False),
        ([7.9], "hold", False),
        ([8.0], "quarantine", False),
        ([11.0], "quarantine", True),
        ([8.5, -4.0], "relay", False),
    ],
)
def test_the_sum_of_the_evidence_decides(weights: list[float], action: str, suspends: bool) -> None:
    signals = tuple(signal(w, name="structure") for w in weights)
    verdict = decide(ANNA, signals, NOTHING_KNOWN, POLICY, Circumstances())
    assert (verdict.action, verdict.suspend) == (action, ANNA.name if suspends else None)
    assert verdict.score == pytest.approx(sum(weights))


def test_volume_alone_holds_but_never_convicts_and_drains_in_the_end() -> None:
    signals = (signal(50.0, volume=True),)
    verdict = decide(ANNA, signals, NOTHING_KNOWN, POLICY, Circumstances())
    assert (verdict.action, verdict.suspend, verdict.wait) == ("hold", None, POLICY.hold.wait)
    # What did not clear soon is looked at less and less often.
    times = (200, 600, 1200, 4000, 21_000, 21_599.9)
    waits = [decide(ANNA, signals, NOTHING_KNOWN, POLICY, Circumstances(held_for=s)).wait for s in times]
    assert waits == [60, 150, 300, 1000, 600, 1], "a slice may have room soon, and it drains when its time is over"
    whole = msgspec.structs.replace(POLICY, hold=Hold(first_slice=0))
    assert decide(ANNA, signals, NOTHING_KNOWN, whole, Circumstances(held_for=600)).wait == 300
    assert decide(ANNA, (signal(7.0),), NOTHING_KNOWN, POLICY, Circumstances(held_for=600)).wait == 300
    late = Circumstances(held_for=POLICY.hold.longest)
    assert decide(ANNA, signals, NOTHING_KNOWN, POLICY, late).action == "relay"


def test_of_what_is_held_for_volume_alone_a_slice_goes_out() -> None:
    room = Circumstances(held_for=300.0, slice_="to see what is answered")
    verdict = decide(ANNA, (signal(6.0, volume=True), signal(4.9)), NOTHING_KNOWN, POLICY, room)
    assert (verdict.action, verdict.code, verdict.reason) == ("relay", "slice", "to see what is answered")
    assert verdict.score == pytest.approx(10.9)
    for weights in ([5.0], [6.0, 5.0]):  # The other signals hold it by themselves.
        signals = tuple(signal(weight, volume=weight == 6.0) for weight in weights)
        assert decide(ANNA, signals, NOTHING_KNOWN, POLICY, room).action == "hold"
    # What is said of who writes, or of what is written to single people, cannot be answered by recipients.
    for weight, action in ((2.9, "relay"), (3.0, "hold")):
        signals = (signal(6.0, volume=True), signal(weight, name="content"), signal(-0.5, name="script"))
        assert decide(ANNA, signals, NOTHING_KNOWN, POLICY, room).action == action
    # What has just come in is held first.
    fresh = msgspec.structs.replace(room, held_for=None)
    assert decide(ANNA, (signal(6.0, volume=True),), NOTHING_KNOWN, POLICY, fresh).action == "hold"
    stopped = msgspec.structs.replace(room, suspended="stolen password")
    assert decide(ANNA, (signal(6.0, volume=True),), NOTHING_KNOWN, POLICY, stopped).action == "quarantine"


MAILING = Circumstances(mailing=True)


@pytest.mark.parametrize("name", ["content", "neighbours", "recipients"])
def test_a_mailing_that_only_its_text_company_and_list_speak_against_is_held_and_its_recipients_asked(
    name: str,
) -> None:
    signals = (signal(6.0, name="content"), signal(6.0, name=name), signal(1.4, name="from_address"))
    verdict = decide(ANNA, signals, NOTHING_KNOWN, POLICY, MAILING)
    assert (verdict.action, verdict.suspend, verdict.wait) == ("hold", None, POLICY.hold.wait)
    room = msgspec.structs.replace(MAILING, held_for=300.0, slice_="to see what is answered")
    verdict = decide(ANNA, signals, NOTHING_KNOWN, POLICY, room)
    assert (verdict.action, verdict.code) == ("relay", "slice")
    without_room = msgspec.structs.replace(room, slice_="")
    assert decide(ANNA, signals, NOTHING_KNOWN, POLICY, without_room).action == "hold"
    late = msgspec.structs.replace(without_room, held_for=POLICY.hold.longest)
    assert decide(ANNA, signals, NOTHING_KNOWN, POLICY, late).wait == 0, "it waits for a person, and never drains"


@pytest.mark.parametrize(
    ("weight", "name"),
    [(1.5, "clients"), (1.5, "script"), (1.5, "copies"), (1.5, "structure"), (6.0, "campaign"), (3.0, "refusals")],
)
def test_anything_that_its_sender_did_convicts_it(weight: float, name: str) -> None:
    signals = (signal(8.0, name="content"), signal(weight, name=name))
    assert decide(ANNA, signals, NOTHING_KNOWN, POLICY, MAILING).action == "quarantine"
    trial = (signals[0], msgspec.structs.replace(signals[1], shadow=True))
    assert decide(ANNA, trial, NOTHING_KNOWN, POLICY, MAILING).action == "hold"


def test_a_mailing_from_elsewhere_whose_text_does_not_speak_against_it_is_asked_about() -> None:
    signals = (signal(5.3, name="clients"), signal(2.5, name="copies"), signal(2.0, name="recipients"))
    text = signal(-1.0, name="content")
    verdict = decide(ANNA, (*signals, text), NOTHING_KNOWN, POLICY, MAILING)
    assert (verdict.action, verdict.suspend, verdict.wait) == ("hold", None, POLICY.hold.wait)
    assert in_doubt(ANNA, (*signals, text), NOTHING_KNOWN, POLICY, MAILING) == pytest.approx(8.8)
    # By another program: a tool that writes for its owner.
    assert decide(ANNA, (*signals, text, signal(1.5, name="software")), NOTHING_KNOWN, POLICY, MAILING).action == "hold"
    for said in ((), (signal(1.2, name="content"),)):
        assert decide(ANNA, (*signals, *said), NOTHING_KNOWN, POLICY, MAILING).action == "hold"
    # A text that speaks against it, or suspects beside it, or another name, and it is a stranger's.
    for more in (
        (signal(1.3, name="content"),),
        (text, signal(0.5, name="neighbours")),
        (text, signal(2.0, name="from_address")),
    ):
        assert decide(ANNA, (*signals, *more), NOTHING_KNOWN, POLICY, MAILING).action == "quarantine"
    botnet = msgspec.structs.replace(NOTHING_KNOWN, networks=4)
    assert decide(ANNA, (*signals, text), botnet, POLICY, MAILING).action == "quarantine"


NEW = tuple(
    signal(4.0, name=name) for name in ("clients", "software", "from_address", "copies", "manner", "recipients")
)


NOVEL = ("clients", "software", "from_address", "copies", "manner", "recipients")


def test_that_a_login_is_used_in_a_new_way_suspends_nobody_by_itself() -> None:
    def suspended(*more: Signal, kind: str = "mailbox") -> bool:
        sender, new = msgspec.structs.replace(ANNA, kind=kind), [signal(4.0, name=name) for name in NOVEL]
        verdict = decide(sender, (*new, *more), NOTHING_KNOWN, POLICY, Circumstances())
        assert verdict.action == "quarantine"
        return verdict.suspend is not None

    assert not suspended()
    assert not suspended(signal(9.0, volume=True), signal(1.0, name="content"))
    for name in ("content", "refusals", "neighbours", "structure", "campaign", "scanners"):
        assert suspended(signal(POLICY.threshold.watch / 2, name=name))
    # A script that is new in its account, and is in nobody's hands but who put it there.
    assert suspended(kind="script")


def test_whose_answers_say_nothing_of_it_is_convicted_as_ever() -> None:
    signals = (signal(7.0, name="content"), signal(4.0, name="neighbours"))
    for now in (Circumstances(), Circumstances(mailing=True, probation=True)):
        verdict = decide(ANNA, signals, NOTHING_KNOWN, POLICY, now)
        assert (verdict.action, verdict.suspend) == ("quarantine", ANNA.name)
    whole = msgspec.structs.replace(POLICY, hold=Hold(first_slice=0))
    assert decide(ANNA, signals, NOTHING_KNOWN, whole, MAILING).action == "quarantine"


def test_good_answers_have_to_outweigh_all_that_speaks_against_it() -> None:
    def weighs(*signals: Signal, now: Circumstances = MAILING) -> float | None:
        return in_doubt(ANNA, signals, NOTHING_KNOWN, POLICY, now)

    rate = signal(6.0, volume=True)
    assert weighs(rate, signal(2.9, name="content")) == 0.0
    assert weighs(rate, signal(3.5, name="content"), signal(-1.0)) == POLICY.threshold.watch
    assert weighs(rate, signal(6.0, name="content"), signal(4.0)) == 10.0
    assert weighs(rate, signal(3.5, name="content"), now=Circumstances()) is None


LIST = b"List-Unsubscribe: <https://shop.example/u>\r\n"


@pytest.mark.parametrize(
    ("kind", "headers", "held", "times", "recipients", "mailing"),
    [
        ("mailbox", b"", False, 1, 1, True),
        ("mailbox", b"", True, 2, 9, False),
        ("mailbox", b"", True, 3, 1, True),
        ("mailbox", b"", True, 1, 10, True),
        ("script", b"", False, 50, 50, False),
        ("script", LIST, False, 1, 1, True),
        ("script", LIST, True, 1, 1, True),
        ("forwarder", LIST, True, 50, 50, False),
    ],
)
def test_what_a_mailing_is(kind: str, headers: bytes, held: bool, times: int, recipients: int, mailing: bool) -> None:
    sender = msgspec.structs.replace(ANNA, kind=kind)
    memory = msgspec.structs.replace(NOTHING_KNOWN, campaign=Company(times=times), recipients=recipients)
    assert is_mailing(sender, parse(headers + b"Subject: Spring\r\n\r\nSeeds.\r\n"), memory, held=held) is mailing


def test_what_a_tool_fills_in_is_asked_about_unless_it_reads_like_spam() -> None:
    third = msgspec.structs.replace(NOTHING_KNOWN, campaign=Company(times=1), near=Company(times=3))
    script = msgspec.structs.replace(ANNA, kind="script")
    message = parse(b"From: <anna@example.com>\r\n\r\nYour paper: https://papers.example.com/7\r\n")
    away = parse(b"From: <anna@example.com>\r\n\r\nYour paper: https://papers.example.net/7\r\n")
    from_anna = b"From: <anna@example.com>\r\nContent-Type: "
    page = from_anna + b"text/html\r\n\r\n"
    away_too = (
        from_anna + b"text/calendar\r\n\r\nBEGIN:VCALENDAR\r\n",
        from_anna + b"application/ics\r\n\r\nBEGIN:VCALENDAR\r\n",
        from_anna + b"application/octet-stream; name=invite.ics\r\n\r\nBEGIN:VCALENDAR\r\n",
        page + b"<a href=//papers.example.net/7>Your paper</a>",
        page + b'<a href="https:&#47;&#47;papers.example.net/7">Your paper</a>',
    )
    twice = msgspec.structs.replace(third, near=Company(times=2))
    assert is_filled_in(ANNA, message, third)
    assert not is_filled_in(ANNA, message, twice)
    assert not is_filled_in(ANNA, message, NOTHING_KNOWN)
    assert not is_filled_in(script, message, third)
    assert not is_filled_in(ANNA, away, third)
    for content in away_too:
        assert not is_filled_in(ANNA, parse(content), third), content
    now, elsewhere = Circumstances(held_for=300.0, filled_in=True), signal(6.0, name="clients")
    for text, asked in ((-1.0, True), (1.2, True), (1.3, False), (4.0, False)):
        doubt = in_doubt(ANNA, (elsewhere, signal(text, name="content")), third, POLICY, now)
        assert (doubt is not None) is asked
    assert in_doubt(ANNA, (elsewhere,), third, POLICY, msgspec.structs.replace(now, probation=True)) is None


def test_a_hold_about_more_than_volume_waits_for_a_person_in_the_end() -> None:
    late = Circumstances(held_for=POLICY.hold.longest)
    verdict = decide(ANNA, (signal(7.0),), NOTHING_KNOWN, POLICY, late)
    assert (verdict.action, verdict.wait) == ("hold", 0.0)


def test_a_signal_on_trial_changes_nothing() -> None:
    verdict = decide(ANNA, (signal(50.0, shadow=True), signal(1.0)), NOTHING_KNOWN, POLICY, Circumstances())
    assert (verdict.action, verdict.score) == ("relay", 1.0)


def test_a_forwarder_is_never_suspended_for_what_others_wrote() -> None:
    verdict = decide(FORWARDER, (signal(30.0),), NOTHING_KNOWN, POLICY, Circumstances())
    assert (verdict.action, verdict.suspend) == ("quarantine", None)


def test_mistakes_of_ours_make_us_careful() -> None:
    trusted = msgspec.structs.replace(NOTHING_KNOWN, sender=NO_PROFILE._replace(trust=1.0))
    assert decide(ANNA, (signal(7.0),), NOTHING_KNOWN, POLICY, Circumstances()).action == "hold"
    assert decide(ANNA, (signal(7.0),), trusted, POLICY, Circumstances()).action == "relay"


def test_a_suspension_comes_before_an_allow_rule_and_that_before_evidence() -> None:
    both = Circumstances(suspended="stolen password", allowed="agreed")
    assert decide(ANNA, (), NOTHING_KNOWN, POLICY, both).code == "suspended"
    assert decide(ANNA, (signal(50.0),), NOTHING_KNOWN, POLICY, Circumstances(allowed="agreed")).action == "relay"


def test_a_limit_defers_and_is_not_applied_again_to_held_mail() -> None:
    over = Circumstances(over_limit="rate limit")
    verdict = decide(ANNA, (), NOTHING_KNOWN, POLICY, over)
    assert (verdict.action, verdict.code, verdict.wait) == ("defer", "limit", POLICY.defer.retry_after)
    assert decide(ANNA, (), NOTHING_KNOWN, POLICY, Circumstances(over_limit="x", held_for=60.0)).action == "relay"


def test_limits_name_what_is_exceeded() -> None:
    traffic = NO_TRAFFIC._replace(hour=10, hour_messages=6, hour_recipients=60)
    memory = Memory(NO_PROFILE, NO_PROFILE, traffic, NO_TRAFFIC)
    assert over_limit(memory, Limit(recipients_per_hour=60), Limit(), 36_000.0) == ""
    text = over_limit(memory, Limit(recipients_per_hour=59), Limit(), 36_000.0)
    assert text == "rate limit of this sender: 60 of 59 recipients in a hour"


def submission(received: float = 1_800_000_000.0) -> Submission:
    return Submission("i", received, Envelope("anna@example.com", ("b@example.net",)), b"", "192.0.2.1")


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        (Allow(reason="r", until="2030-01-01", sender="anna@*"), True),
        (Allow(reason="r", until="2027-01-14", sender="anna@*"), False),
        (Allow(reason="r", until="2027-01-15", sender="anna@*"), True),
        (Allow(reason="r", until="2030-01-01", sender="anna@*", account="other"), False),
        (Allow(reason="r", until="2030-01-01", mail_from="*@example.com", account="example.com"), True),
    ],
)
def test_allow_rules_need_all_their_conditions_and_end(rule: Allow, fits: bool) -> None:
    assert bool(allowed((rule,), ANNA, submission())) is fits


@given(
    weights=st.lists(st.floats(-5, 15), max_size=6),
    more=st.floats(0, 10),
    volume=st.floats(0, 10),
    held_for=st.one_of(st.none(), st.floats(0, 1e6)),
    room=st.sampled_from(("", "room")),
    name=st.sampled_from(("recipients", "content", "neighbours", "refusals", "clients")),
    mailing=st.booleans(),
)
def test_more_evidence_of_abuse_never_softens_a_verdict(
    weights: list[float],
    more: float,
    volume: float,
    held_for: float | None,
    room: str,
    name: str,
    mailing: bool,
) -> None:
    now = Circumstances(held_for=held_for, slice_=room, mailing=mailing)
    names = ("content", "recipients", "neighbours", "script")
    signals = (signal(volume, volume=True), *(signal(w, name=names[n % 4]) for n, w in enumerate(weights)))
    before = decide(ANNA, signals, NOTHING_KNOWN, POLICY, now)
    after = decide(ANNA, (*signals, signal(more, name=name)), NOTHING_KNOWN, POLICY, now)
    assert ACTIONS.index(after.action) >= ACTIONS.index(before.action)
    assert bool(after.suspend) >= bool(before.suspend)
    # Nor do fewer good answers make room for it.
    doubts = [in_doubt(ANNA, of, NOTHING_KNOWN, POLICY, now) for of in (signals, (*signals, signal(more, name=name)))]
    assert doubts[1] is None or (doubts[0] is not None and doubts[0] <= doubts[1])
