"""The pace towards one receiver: its words make us slower, silence makes us faster again."""

from __future__ import annotations

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.delivery.pace import EASING, LONGEST, Pace, _rules
from outbound_guard.reply import Reply, parse

OK = Reply(250, "2.0.0", "Ok")
RATE = Reply(421, "4.7.0", "too many messages from you, rate limited, slow down")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_000_000.0)


@pytest.fixture
def pace(clock: VirtualClock) -> Pace:
    return Pace("there.test", clock)


def say(pace: Pace, reply: Reply, times: int = 1) -> None:
    for _ in range(times):
        assert pace.enter() == 0.0
        pace.leave([reply])


def test_without_complaints_there_is_no_limit(pace: Pace) -> None:
    assert [pace.enter() for _ in range(1000)] == [0.0] * 1000
    for _ in range(1000):
        pace.leave([OK, Reply(550, "5.1.1", "no such user"), Reply(450, "4.2.0", "greylisted")])
    assert pace.free


@pytest.mark.parametrize(
    ("said", "times", "seconds"),
    [
        ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints", 2, 7200),
        ("421 4.7.1 [TSS05] All messages from 192.0.2.1 will be deferred", 2, 14_400),
        ("553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1", 2, 7200),
        ("550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service "
         "provider since part of their network is on our block list (S3150).", 2, 7200),
        ("451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.", 3, 1800),
        ("421-4.7.28 Gmail has detected that this message is likely unsolicited mail", 5, 3600),
        ("554 5.7.1 Reject due to policy restrictions.", 3, 7200),
    ],
)  # fmt: skip
def test_words_that_ask_for_a_pause(pace: Pace, clock: VirtualClock, said: str, times: int, seconds: float) -> None:
    reply = parse(int(said[:3]), said[4:])
    say(pace, reply, times - 1)
    assert pace.enter() == 0.0  # Once is no habit.
    pace.leave([reply])
    assert seconds <= pace.enter() <= seconds + 2
    clock.advance(seconds - 1.0)
    assert pace.enter() > 0.0
    clock.advance(1.1)
    assert pace.enter() == 0.0


def test_old_complaints_do_not_count(pace: Pace, clock: VirtualClock) -> None:
    reply = Reply(421, "4.7.0", "[TSS04] deferred")
    say(pace, reply)
    clock.advance(3601.0)
    say(pace, reply)
    assert pace.enter() == 0.0


@pytest.mark.parametrize(
    ("said", "between", "lasting"),
    [
        ("[TS02] deferred", 60.0, 1800.0),
        ("[TS03] deferred", 6.0, 1800.0),
        ("Our system has detected an unusual rate of unsolicited mail", 6.0, 1800.0),
    ],
)
def test_words_that_ask_for_a_rate(pace: Pace, clock: VirtualClock, said: str, between: float, lasting: float) -> None:
    say(pace, Reply(421, "4.7.0", said))
    clock.advance(between)
    assert pace.enter() == 0.0
    pace.leave([OK])
    # Those who come too early are told a moment each.
    times = [pace.enter() for _ in range(3)]
    assert times == pytest.approx([2 * between, 3 * between, 4 * between])
    clock.advance(between)
    assert pace.enter() == 0.0
    pace.leave([OK])
    for _ in range(12):
        clock.advance(lasting)
        pace.enter()
        pace.leave([OK])
    assert pace.free


def test_one_connection(pace: Pace, clock: VirtualClock) -> None:
    say(pace, Reply(421, "4.7.0", "The mail server has exceeded the maximum number of connections"))
    assert pace.enter() == 0.0
    assert pace.enter() > 0.0
    pace.leave([OK])
    assert pace.enter() == 0.0
    pace.leave([OK])
    clock.advance(3601.0)
    assert [pace.enter() for _ in range(5)] == [0.0] * 5


def test_any_other_complaint_halves_and_doubles(pace: Pace, clock: VirtualClock) -> None:
    assert [pace.enter() for _ in range(8)] == [0.0] * 8
    for _ in range(8):
        pace.leave([RATE])  # They come together, and are one.
    clock.advance(1.0)
    assert [pace.enter() > 0.0 for _ in range(2)] == [False, True]  # Half a second between two.
    for _ in range(20):
        clock.advance(LONGEST + 5.0)
        if pace.busy == 0:
            assert pace.enter() == 0.0
        pace.leave([RATE])
    assert pace.enter() <= 2 * LONGEST  # It does not grow for ever.
    for _ in range(20):
        clock.advance(EASING)
        if pace.enter() == 0.0:
            pace.leave([OK])
    assert pace.free


@pytest.mark.parametrize("said", ["too many messages from you, rate limited", "[TS02] deferred", "[TSS04] deferred"])
def test_a_receiver_that_nobody_writes_to_any_more_is_forgotten(pace: Pace, clock: VirtualClock, said: str) -> None:
    say(pace, Reply(421, "4.7.0", said))
    assert not pace.free
    for _ in range(30):
        clock.advance(EASING)
        if pace.free:
            break
    assert pace.free


def test_a_rule_that_lasts_does_not_hide_other_complaints(pace: Pace, clock: VirtualClock) -> None:
    say(pace, Reply(421, "4.7.0", "[TS03] deferred"))  # Six seconds between two, for half an hour.
    clock.advance(6.0)
    say(pace, RATE)
    assert pace.enter() == pytest.approx(6.0 + 12.0)


def test_our_own_words_are_no_complaints(pace: Pace) -> None:
    say(pace, Reply(451, "4.7.0", "OG-PACE there.test has asked us to be slower, rate limited"))
    assert pace.free


def test_each_rule_does_something() -> None:
    for ready in _rules():
        rule = ready.rule
        assert rule.pause or rule.per_minute or rule.connections
        assert bool(rule.lasting) == bool(rule.per_minute or rule.connections)
