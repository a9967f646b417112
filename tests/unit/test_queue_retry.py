"""What a try leads to: the arithmetic of the queue."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.config import Delivery
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.retry import recipients_left, settle
from outbound_guard.mail import Envelope
from outbound_guard.reply import NO_NEXT_HOP, Reply
from outbound_guard.spool import Entry, Progress

NOW = 1_800_000_000.0
OK, LATER, NEVER = Reply(250, "2.0.0", "ok"), Reply(451, "4.3.0", "later"), Reply(550, "5.1.1", "never")
DELIVERY = Delivery(retry=(5, 30, 120, 600, 1800, 3600), expiry=10_000)


def entry(*recipients: str) -> Entry:
    return Entry("id", NOW, Envelope("a@example.com", recipients), bounce_to="a@example.com")


def no_jitter() -> float:
    return 0.0


def test_the_schedule_is_followed_its_last_step_repeats_and_it_ends_at_expiry() -> None:
    message, progress, now, waits = entry("b"), Progress(), NOW, []
    while recipients_left(message, progress):
        progress, [outcome] = settle(message, progress, Result((LATER,), "mx:25"), now, DELIVERY, no_jitter)
        if not outcome.final:
            assert progress.due is not None
            waits.append(progress.due - now)
            now = progress.due
    # 5 + 30 + 120 + 600 + 1800 + 3600 + 3600 = 9755; the last try is at the end of the time, not after it.
    assert waits == [5, 30, 120, 600, 1800, 3600, 3600, 245]
    assert now == NOW + DELIVERY.expiry
    [failure] = progress.failed
    assert (failure.recipient, failure.reply.enhanced, failure.peer) == ("b", "4.4.7", "mx:25")
    assert failure.reply.temporary
    assert str(LATER) in failure.reply.text


def test_each_recipient_has_its_own_fate() -> None:
    message = entry("b", "c", "d")
    progress, outcomes = settle(message, Progress(), Result((OK, LATER, NEVER), "mx:25"), NOW, DELIVERY, no_jitter)
    assert [(o.recipient, o.final) for o in outcomes] == [("b", True), ("c", False), ("d", True)]
    assert progress.remaining == ("c",)
    assert progress.replies == {"c": LATER}
    assert [f.recipient for f in progress.failed] == ["d"]
    progress, _ = settle(message, progress, Result((OK,), "mx:25"), NOW, DELIVERY, no_jitter)
    assert progress.remaining == ()


def test_only_2xx_is_delivered_only_5xx_is_refused_and_a_missing_reply_is_neither() -> None:
    replies = (Reply(354, "", "go"), Reply(0, "", ""), Reply(600, "", "?"), Reply(199, "", "?"))
    message = entry("a", "b", "c", "d", "e")
    progress, outcomes = settle(message, Progress(), Result(replies, ""), NOW, DELIVERY, no_jitter)
    assert recipients_left(message, progress) == message.envelope.recipients
    assert [o.final for o in outcomes] == [False] * 5
    assert progress.failed == ()


def test_a_try_made_before_the_spool_counts() -> None:
    message = msgspec.structs.replace(entry("b"), attempts=1)
    progress, _ = settle(message, Progress(), Result((LATER,), ""), NOW, DELIVERY, no_jitter)
    assert (progress.attempts, progress.due) == (2, NOW + 30)


def test_an_outage_of_the_next_hop_does_not_stretch_the_waits() -> None:
    message = entry("b")
    result = Result((LATER,), "", reached=False)
    progress, _ = settle(message, Progress(attempts=9), result, NOW, DELIVERY, no_jitter)
    assert progress.due == NOW + 60


def test_expiry_counts_from_the_release_of_a_held_message() -> None:
    message, progress = entry("b"), Progress(since=NOW + 50_000)
    progress, [outcome] = settle(message, progress, Result((LATER,), ""), NOW + 50_001, DELIVERY, no_jitter)
    assert not outcome.final
    assert progress.since == NOW + 50_000


replies = st.sampled_from([OK, LATER, NEVER, Reply(421, "", "bye"), Reply(299, "", "odd"), Reply(354, "", "odd")])


@given(
    st.lists(st.lists(replies, max_size=6), min_size=1, max_size=12), st.integers(1, 5), st.booleans(), st.floats(0, 1)
)
def test_every_recipient_ends_exactly_once(tries: list[list[Reply]], count: int, reached: bool, jitter: float) -> None:
    recipients = tuple(f"r{i}" for i in range(count))
    message, progress, now = entry(*recipients), Progress(), NOW
    ended: list[str] = []
    for said in tries:
        left = recipients_left(message, progress)
        if not left:
            break
        result = Result(tuple(said[: len(left)]), "mx:25", reached)
        progress, outcomes = settle(message, progress, result, now, DELIVERY, lambda: jitter)
        assert [o.recipient for o in outcomes] == list(left)
        ended += [o.recipient for o in outcomes if o.final]
        given_up = {f.recipient for f in progress.failed}
        assert given_up == {o.recipient for o in outcomes if o.final and not o.reply.accepted} | (given_up & set(ended))
        assert sorted([*ended, *recipients_left(message, progress)]) == sorted(recipients)
        if recipients_left(message, progress):
            assert progress.due is not None
            assert now < progress.due <= NOW + DELIVERY.expiry
            now = progress.due


def test_whoever_was_answered_by_another_next_hop_is_told_so() -> None:
    message = entry("b", "c")
    result = Result((NEVER, NEVER), "second:25", True, ("first:25", "second:25"))
    progress, outcomes = settle(message, Progress(), result, NOW, DELIVERY, no_jitter)
    assert [outcome.peer for outcome in outcomes] == ["first:25", "second:25"]
    assert [failure.peer for failure in progress.failed] == ["first:25", "second:25"]


def test_who_is_told_when_to_come_has_not_been_tried() -> None:
    paced = Reply(451, "4.7.0", "OG-PACE not before 7200 s")
    result = Result((paced,), "", reached=False, wait=7200.0, keep=True)
    progress, _ = settle(entry("a@y.test"), Progress(), result, NOW, DELIVERY, no_jitter)
    assert (progress.attempts, progress.due) == (0, NOW + 7200.0)


def test_one_of_the_worlds_servers_is_tried_ever_more_seldom() -> None:
    away = Result((NO_NEXT_HOP,), "", reached=False, keep=True)
    progress, _ = settle(entry("a@y.test"), Progress(attempts=20), away, NOW, DELIVERY, no_jitter)
    assert progress.due == NOW + 3600.0
