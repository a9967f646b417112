"""First slices of held mail: how much goes out before there are answers, and what the answers lead to."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.config import Hold
from outbound_guard.mail import Sender
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC, Memory
from outbound_guard.reputation.slices import Slices

NOW = 1_800_000_000.0
SHOP = Sender("shop.example", "news@shop.example", "mailbox", "sasl")
HOLD = Hold()


def knows(new: float = 1.0, **answers: float) -> Memory:
    """What is remembered after these answers; `new`: the share of the message's recipients that are new."""
    profile = NO_PROFILE._replace(outcomes_at=NOW, **answers)
    return Memory(profile, NO_PROFILE, NO_TRAFFIC, NO_TRAFFIC, recipients=100, new_recipients=round(100 * new))


def let_out(
    slices: Slices,
    memory: Memory,
    recipients: int,
    now: float,
    *,
    most: int = 1000,
    against: float = 0.0,
    sender: Sender = SHOP,
) -> int:
    """How many messages to so many recipients have room; they go out."""
    for number in range(most):
        if not slices.room(sender, memory, recipients, now, against):
            return number
        slices.let_out(sender, memory, recipients, now)
    return most


def test_the_first_slice_is_a_few_messages_to_a_hundred_recipients_at_most() -> None:
    assert let_out(Slices(HOLD), knows(), 1, NOW) == 3
    assert let_out(Slices(HOLD), knows(), 50, NOW) == 2
    assert let_out(Slices(HOLD), knows(), 101, NOW) == 0
    assert let_out(Slices(Hold(first_slice=0)), knows(), 1, NOW) == 0
    assert let_out(Slices(HOLD), msgspec.structs.replace(knows(), available=False), 1, NOW) == 0


def test_without_answers_nothing_follows_for_hours() -> None:
    slices = Slices(HOLD)
    assert let_out(slices, knows(), 1, NOW) == 3
    assert [let_out(slices, knows(), 1, NOW + later) for later in (60, 600, 21_600)] == [0, 0, 0]
    assert let_out(slices, knows(), 1, NOW + 21_601) == 3, "another one begins"


def test_a_list_that_is_taken_well_is_out_in_a_handful_of_slices() -> None:
    slices, now, out, sizes = Slices(HOLD), NOW, 0, []
    while out < 200:
        sizes.append(let_out(slices, knows(reached=25 * out), 25, now, most=200 - out))
        out += sizes[-1]
        if out < 200:
            assert let_out(slices, knows(reached=25 * out), 25, now + 59) == 0, "answers alone do not hurry it"
        now += 60
    assert sizes == [3, 9, 36, 144, 8]


def test_few_answers_let_a_few_more_go() -> None:
    slices = Slices(HOLD)
    assert let_out(slices, knows(), 1, NOW) == 3
    assert let_out(slices, knows(reached=3), 1, NOW + 60) == 3
    assert let_out(slices, knows(reached=5, unknown_user=1), 1, NOW + 120) == 3
    # Sure is three nats: sixteen good answers, or twenty-seven against a bad one.
    assert let_out(slices, knows(reached=26, unknown_user=1), 1, NOW + 180) == 3
    assert let_out(slices, knows(reached=27, unknown_user=1), 1, NOW + 240) == 4 * 28 - 12


def test_a_list_that_is_taken_for_a_good_one_gets_no_less_than_one_of_which_nobody_knows() -> None:
    # The fifteenth good answer makes three nats, and twice fifteen are only six more than have got it.
    for good in (14, 15):
        slices = Slices(HOLD)
        assert let_out(slices, knows(), 8, NOW, against=3.0) == 3
        assert let_out(slices, knows(reached=good), 8, NOW + 60, against=3.0) == 3


@pytest.mark.parametrize("answers", [{"unknown_user": 2}, {"refused": 2}, {"complaint": 1, "unknown_user": 1}])
def test_a_list_that_is_taken_badly_stays(answers: dict[str, float]) -> None:
    slices = Slices(HOLD)
    assert let_out(slices, knows(), 1, NOW) == 3
    assert [let_out(slices, knows(reached=1, **answers), 1, NOW + later) for later in (60, 600, 21_600)] == [0, 0, 0]


def test_what_was_answered_before_is_no_excuse() -> None:
    slices = Slices(HOLD)
    past = {"reached": 5000.0, "delivered": 5000.0}
    assert let_out(slices, knows(**past), 1, NOW) == 3
    assert let_out(slices, knows(**past), 1, NOW + 60) == 0
    # Old answers fade meanwhile; that is not taken for bad news, nor hidden by it that there is good one.
    faded = 5000 * 0.5 ** (3600 / 604_800)
    later = NO_PROFILE._replace(outcomes_at=NOW + 3600, reached=faded + 20, delivered=faded + 20)
    assert let_out(slices, msgspec.structs.replace(knows(), sender=later), 1, NOW + 3600) == 4 * 20 - 3


def test_who_writes_to_known_people_has_their_deliveries_for_it() -> None:
    for memory, more in ((knows(new=0.0, delivered=40), 4 * 40 - 3), (knows(new=1.0, delivered=40), 0)):
        slices = Slices(HOLD)
        assert let_out(slices, knows(), 1, NOW) == 3
        assert let_out(slices, memory, 1, NOW + 60) == more


def test_where_the_text_speaks_against_it_good_answers_must_outweigh_that() -> None:
    slices, now, sizes = Slices(HOLD), NOW, []
    for good in (0, 3, 12, 39, 40, 90):
        sizes.append(let_out(slices, knows(reached=good), 1, now, against=8.0))
        now += 60
    # Forty good answers are eight nats; from then on twice as many as have answered, not four times.
    assert sizes == [3, 3, 3, 3, 2 * 40 - 12, 2 * 90 - 80]
    assert let_out(slices, knows(reached=90, unknown_user=6), 1, now, against=8.0) == 0
    sliced = Slices(HOLD)
    assert let_out(sliced, knows(), 1, NOW, against=8.0) == 3
    assert let_out(sliced, knows(reached=1, refused=2), 1, NOW + 60, against=8.0) == 0, "bad ones end it as ever"


def test_that_the_friends_of_a_mailbox_exist_says_nothing_for_its_text() -> None:
    friends, strangers = knows(new=0.0, delivered=200), knows(delivered=200)
    slices = Slices(HOLD)
    assert let_out(slices, knows(new=0.0), 1, NOW, against=8.0) == 0
    assert let_out(slices, knows(), 1, NOW, against=8.0) == 3
    assert let_out(slices, friends, 1, NOW + 60, against=8.0) == 0
    assert let_out(slices, strangers, 1, NOW + 60, against=8.0) == 0, "and these were not its list's"
    # Once those of its list are good, the friends get theirs as well.
    assert let_out(slices, knows(new=0.0, reached=40), 1, NOW + 120, against=8.0) == 2 * 40 - 3
    # A newsletter's program has no friends.
    program = msgspec.structs.replace(SHOP, kind="script")
    slices = Slices(HOLD)
    assert let_out(slices, knows(new=0.0), 1, NOW, against=8.0, sender=program) == 3
    assert let_out(slices, friends, 1, NOW + 60, against=8.0, sender=program) == 2 * 200 - 3


def test_what_was_good_enough_for_volume_is_not_for_a_text() -> None:
    slices = Slices(HOLD)
    assert let_out(slices, knows(), 1, NOW) == 3
    assert let_out(slices, knows(reached=20), 1, NOW + 60, most=5) == 5
    assert let_out(slices, knows(reached=25), 1, NOW + 120, against=8.0) == 0
    assert let_out(slices, knows(reached=25), 1, NOW + 120, most=5) == 5


def test_each_sender_has_its_own() -> None:
    slices = Slices(HOLD)
    assert let_out(slices, knows(), 1, NOW) == 3
    assert slices.room(msgspec.structs.replace(SHOP, name="bert@shop.example"), knows(), 1, NOW)


def test_the_reason_has_its_numbers() -> None:
    slices = Slices(HOLD)
    let_out(slices, knows(), 25, NOW)
    assert slices.room(SHOP, knows(reached=74, unknown_user=1), 25, NOW + 60) == (
        "held for its volume alone: 3 messages to 75 recipients were let out, and of 75 answers since 74 were good"
    )


@given(
    good=st.integers(0, 200),
    bad=st.integers(0, 20),
    more=st.integers(1, 20),
    out=st.integers(0, 30),
    recipients=st.integers(1, 100),
    against=st.floats(3, 15),
)
def test_more_bad_answers_or_evidence_never_make_room(
    good: int, bad: int, more: int, out: int, recipients: int, against: float
) -> None:
    def room(unknown: int, well: int, against: float = 0.0) -> int:
        slices = Slices(HOLD)
        for _ in range(out):
            slices.let_out(SHOP, knows(), recipients, NOW)
        return let_out(slices, knows(reached=well, unknown_user=unknown), recipients, NOW + 60, against=against)

    # Of the same number of answers more are bad.
    assert room(min(bad + more, bad + good), max(0, good - more)) <= room(bad, good)
    assert room(bad, good, against + more) <= room(bad, good, against) <= room(bad, good)


@pytest.mark.parametrize(
    ("share", "recipients", "stopped", "median"),
    [(0.02, 25, (0.0, 0.02), None), (0.02, 1, (0.0, 0.05), None), (0.2, 25, (0.99, 1.0), 4), (0.2, 1, (0.99, 1.0), 10)],
)
def test_good_lists_pass_and_bought_ones_stop_as_the_documentation_says(
    share: float, recipients: int, stopped: tuple[float, float], median: int | None
) -> None:
    dice, lists, out = random.Random(1), 400, []
    for _ in range(lists):
        slices, now, sent = Slices(HOLD), NOW, 0
        answers: dict[str, Any] = {"reached": 0, "unknown_user": 0}
        while sent < 1000 and (new := let_out(slices, knows(**answers), recipients, now, most=1000 - sent)):
            bad = sum(dice.random() < share for _ in range(new * recipients))
            answers["unknown_user"] += bad
            answers["reached"] += new * recipients - bad
            sent += new
            now += 60
        out.append(sent)
    short = sorted(sent for sent in out if sent < 1000)
    assert stopped[0] <= len(short) / lists <= stopped[1]
    if median:
        assert short[len(short) // 2] <= median
