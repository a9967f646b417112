"""Learning from decisions: what one teaches, what keeps it from bending the judgement, and how it is taken back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Policy
from outbound_guard.content import parse
from outbound_guard.desk import DeskError
from outbound_guard.desk.policy import weights as desk
from outbound_guard.desk.policy.weights import A_DAY, AT_ONCE, LEARNING, Lessons, step
from outbound_guard.ledger import queries, weight_queries
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.records import WeightChange
from outbound_guard.ledger.weight_queries import InForce, Judged
from outbound_guard.mail import Envelope, Sender, Signal, Submission
from outbound_guard.reputation import SLOTS
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC, Memory
from outbound_guard.scanners import Opinion
from outbound_guard.signals import CHECKS, LEAST_FACTOR, MOST_FACTOR, Panel, View
from outbound_guard.verdict import ACTIONS, Circumstances, decide
from tests.records import BOTH_LONG, Books, books, decision, entry

LEDGERS = BOTH_LONG

HOLD = 6.0
SIGNALS = (
    Signal("content", 4.0, "like spam"),
    Signal("recipients", 3.0, "new ones"),
    Signal("clients", -0.5, "the usual network"),
    Signal("rate", 2.0, "many", volume=True),
    Signal("campaign", 1.0, "others too"),
    Signal("software", 1.0, "on trial", shadow=True),
)
SCORE = 9.5
NOW = 1_800_000_000.0

factors_ = st.dictionaries(st.sampled_from([c.NAME for c in CHECKS]), st.floats(LEAST_FACTOR, MOST_FACTOR))
weights_ = st.lists(st.tuples(st.sampled_from(LEARNING), st.floats(-5, 15)), max_size=6)


def judged(*signals: Signal, score: float | None = None) -> Judged:
    return Judged(sum(s.weight for s in signals if not s.shadow) if score is None else score, signals)


def test_a_release_lowers_what_spoke_against_the_sender_and_a_confirmation_raises_it() -> None:
    honest = step(judged(*SIGNALS, score=7.0), {}, HOLD, abuse=False)
    abuse = step(judged(*SIGNALS, score=7.0), {}, HOLD, abuse=True)
    assert honest.keys() == abuse.keys() == {"content", "recipients", "clients"}
    assert honest["content"] < honest["recipients"] < 1 < honest["clients"]
    assert abuse["content"] > abuse["recipients"] > 1 > abuse["clients"]
    # The step is the gradient: the error times the contribution.
    believed = 1 / (1 + math.exp(HOLD - 7.0))
    assert math.log(honest["recipients"]) == pytest.approx(-desk.RATE * believed * 3.0)
    assert math.log(abuse["recipients"]) == pytest.approx(desk.RATE * (1 - believed) * 3.0)


def test_what_the_score_was_sure_of_teaches_nothing_when_it_was_right_and_most_when_it_was_wrong() -> None:
    sure = judged(Signal("content", 20.0, ""))
    assert step(sure, {}, HOLD, abuse=True) == {}
    assert step(sure, {}, HOLD, abuse=False) == {"content": pytest.approx(math.exp(-AT_ONCE))}


@given(weights=weights_, factors=factors_, abuse=st.booleans(), score=st.floats(-1e6, 1e6))
def test_a_decision_moves_each_factor_a_little_within_its_bounds_and_the_judgement_the_right_way(
    weights: list[tuple[str, float]], factors: dict[str, float], abuse: bool, score: float
) -> None:
    signals = [Signal(name, weight, "") for name, weight in weights]
    for name, after in step(judged(*signals, score=score), factors, HOLD, abuse=abuse).items():
        assert LEAST_FACTOR <= after <= MOST_FACTOR
        assert abs(math.log(after / factors.get(name, 1.0))) <= AT_ONCE + 1e-9
        assert name in LEARNING
    one = [Signal(name, weight, "") for name, weight in dict(weights).items()]
    changed = step(judged(*one), factors, HOLD, abuse=abuse)
    shift = sum(s.weight * (changed[s.name] - factors.get(s.name, 1.0)) for s in one if s.name in changed)
    assert shift >= 0 if abuse else shift <= 0


# -- What is learned, over a ledger -----------------------------------------------------------------------------------


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Iterator[Books]:
    with books(tmp_path, clock) as made:
        made.keep(decision("first", received=NOW - 60))
        yield made


def lessons(opened: Books, clock: VirtualClock) -> Lessons:
    return Lessons(opened.ledger, opened.journal, clock, HOLD, by="ann")


async def decide_about(
    opened: Books,
    clock: VirtualClock,
    id_: str,
    *,
    abuse: bool,
    sender: str = "",
    text: str = "",
    at: Lessons | None = None,
) -> list[WeightChange]:
    """A message is held and a person decides; by default nobody and nothing in it was there before."""
    sender = sender or f"{id_}@example.org"
    opened.keep(decision(id_, received=clock.now(), sender=sender, score=SCORE, signals=SIGNALS))
    spooled = entry(id_, sender=sender, meta={"fingerprint": text or id_.encode().hex()})
    found = await (at or lessons(opened, clock)).learn(spooled, abuse=abuse)
    opened.keep()
    return found


async def test_a_decision_is_kept_with_who_when_what_and_is_in_the_audit(opened: Books, clock: VirtualClock) -> None:
    copy = InForce(opened.ledger)
    assert await copy.refresh() is False
    changes = await decide_about(opened, clock, "m1", abuse=False)
    assert {c.signal for c in changes} == {"content", "recipients", "clients"}
    assert await copy.refresh() is True
    assert copy.factors == {c.signal: c.factor_to for c in changes}
    assert await copy.refresh() is False
    (row,) = weight_queries.history(opened.ledger, signal="content")
    assert (row.change, row.by, row.time, row.message, row.finding) == ("learned", "ann", NOW, "m1", "honest")
    assert row.factor_from == 1.0 > row.factor_to
    found = queries.decision_one(opened.ledger, "m1")
    assert found is not None
    (audit,) = found["audit"]
    assert (audit["what"], audit["by"]) == ("weights.learned", "ann")
    assert f"content 1.000 -> {row.factor_to:.3f}" in audit["detail"]


async def test_ten_thousand_messages_of_one_sender_or_of_one_text_are_one_lesson(
    opened: Books, clock: VirtualClock
) -> None:
    one_act = lessons(opened, clock)
    by_sender = [
        await decide_about(opened, clock, f"s{n}", abuse=True, sender="a@example.org", at=one_act) for n in range(20)
    ]
    assert [bool(changes) for changes in by_sender] == [True] + [False] * 19
    by_text = [await decide_about(opened, clock, f"t{n}", abuse=True, text="abc", at=one_act) for n in range(20)]
    assert [bool(changes) for changes in by_text] == [True] + [False] * 19
    # Nor does doing it one by one, in acts of their own, make more of it; a day later it is another lesson.
    assert not await decide_about(opened, clock, "u1", abuse=True, sender="a@example.org")
    assert not await decide_about(opened, clock, "u2", abuse=True, text="abc")
    # The opposite finding is no repetition.
    assert await decide_about(opened, clock, "u3", abuse=False, sender="a@example.org")
    clock.set(NOW + desk.DAY + 1)
    assert await decide_about(opened, clock, "u4", abuse=True, sender="a@example.org")


async def test_a_day_moves_a_factor_by_a_tenth_at_most_and_all_days_within_bounds(
    opened: Books, clock: VirtualClock
) -> None:
    for day in range(8):
        clock.set(NOW + day * (desk.DAY + 60))
        before = weight_queries.factors(opened.ledger).get("content", 1.0)
        for n in range(6):
            await decide_about(opened, clock, f"d{day}n{n}", abuse=False)
        after = weight_queries.factors(opened.ledger)["content"]
        assert abs(math.log(after / before)) <= A_DAY + 1e-9
        if day == 0:
            assert math.log(before / after) == pytest.approx(A_DAY)
    assert weight_queries.factors(opened.ledger)["content"] == pytest.approx(LEAST_FACTOR)


async def test_a_message_that_the_ledger_does_not_know_teaches_nothing(opened: Books, clock: VirtualClock) -> None:
    assert await lessons(opened, clock).learn(entry("unknown"), abuse=True) == []
    assert weight_queries.history(opened.ledger) == []


async def test_undo_takes_back_one_message_and_leaves_the_rest(opened: Books, clock: VirtualClock) -> None:
    await decide_about(opened, clock, "m1", abuse=False)
    one = weight_queries.factors(opened.ledger)
    clock.set(NOW + 10)
    await decide_about(opened, clock, "m2", abuse=False)
    clock.set(NOW + 20)
    desk.weights_undo(opened.ledger, opened.journal, clock, "m2", by="bob", reason="she was wrong")
    opened.keep()
    assert weight_queries.factors(opened.ledger) == pytest.approx(one)
    newest = weight_queries.history(opened.ledger)[0]
    assert (newest.change, newest.by, newest.message, newest.reason) == ("undone", "bob", "m2", "she was wrong")
    for id_, why in (("m2", "undone already"), ("m9", "nothing was learned")):
        with pytest.raises(DeskError, match=why):
            desk.weights_undo(opened.ledger, opened.journal, clock, id_, by="bob")
    shown = {row["signal"]: row for row in desk.weights_show(opened.ledger)}
    assert (shown["content"]["honest"], shown["content"]["abuse"]) == (1, 0)
    assert (shown["rate"]["adapts"], shown["rate"]["factor"]) == (False, 1.0)


async def test_reset_restores_the_policys_weights(opened: Books, clock: VirtualClock) -> None:
    await decide_about(opened, clock, "m1", abuse=False)
    clock.set(NOW + 10)
    (change,) = desk.weights_reset(opened.ledger, opened.journal, clock, "content", by="bob")
    opened.keep()
    factors = weight_queries.factors(opened.ledger)
    assert (change.signal, factors["content"]) == ("content", 1.0)
    assert factors["recipients"] < 1
    clock.set(NOW + 20)
    assert {c.signal for c in desk.weights_reset(opened.ledger, opened.journal, clock, by="bob")} == {
        "recipients",
        "clients",
    }
    opened.keep()
    assert set(weight_queries.factors(opened.ledger).values()) == {1.0}
    assert desk.weights_reset(opened.ledger, opened.journal, clock, by="bob") == []
    with pytest.raises(DeskError, match="reset already"):
        desk.weights_undo(opened.ledger, opened.journal, clock, "m1", by="bob")
    for name in ("rate", "campaign", "nonsense"):
        with pytest.raises(DeskError, match=f"{name}: no signal of that name learns"):
            desk.weights_reset(opened.ledger, opened.journal, clock, name, by="bob")


@pytest.mark.sqlite
async def test_without_its_ledger_a_process_keeps_what_it_knew(opened: Books, clock: VirtualClock) -> None:
    await decide_about(opened, clock, "m1", abuse=False)
    copy = InForce(opened.ledger)
    await copy.refresh()
    known = copy.factors
    opened.ledger.close()
    opened.file.rename(opened.file.with_suffix(".away"))
    gone = Ledger(opened.url)
    copy._ledger = gone
    assert await copy.refresh() is False
    assert copy.factors == known != {}
    with pytest.raises(LedgerError):
        await Lessons(gone, opened.journal, clock, HOLD, by="ann").learn(entry("m1"), abuse=True)
    gone.close()
    opened.file.with_suffix(".away").rename(opened.file)


# -- What it does to the judgement -----------------------------------------------------------------------------------


def view(said: float, *, new: int = 0, networks: int = 0, scanned: int = 0, profile: float = 50.0) -> View:
    known = NO_PROFILE._replace(messages=profile, recipients=profile, network_seen=profile, content_seen=profile)
    memory = Memory(known, known, NO_TRAFFIC, NO_TRAFFIC, new_recipients=new, networks=networks, first_seen=bool(new))
    content = b"From: anna@example.com\r\nTo: b@example.net\r\nSubject: x\r\n\r\ntext\r\n"
    recipients = tuple(f"r{n}@example.net" for n in range(5))
    submission = Submission("i", NOW, Envelope("anna@example.com", recipients), content, "192.0.2.1")
    sender = Sender("example.com", "anna@example.com", "mailbox", "sasl")
    opinions = tuple(Opinion(f"scanner{n}", "spam", "") for n in range(scanned))
    return View(submission, sender, parse(content), memory, (said, "says the model"), NOW, opinions)


@pytest.mark.parametrize("name", ["content", "scanners", "recipients"])
def test_a_factor_multiplies_fresh_evidence_and_never_turns_a_signal_off(name: str) -> None:
    seen = view(2.0, new=3, networks=4, scanned=1)
    plain = {s.name: s.weight for s in Panel(Policy()).look(seen, [0.0] * SLOTS)[0]}
    # What is at its bound already gets no further by a factor above 1, and less by one below.
    most = 1.0 if name == "recipients" else MOST_FACTOR
    for asked, given_ in ((0.9, 0.9), (0.0, LEAST_FACTOR), (-3.0, LEAST_FACTOR), (99.0, most)):
        found = {s.name: s.weight for s in Panel(Policy(), {name: asked}).look(seen, [0.0] * SLOTS)[0]}
        assert found[name] == pytest.approx(plain[name] * given_)
        assert {n: w for n, w in found.items() if n != name} == pytest.approx(
            {n: w for n, w in plain.items() if n != name}
        )


def test_a_factor_of_a_volume_signal_is_not_heeded() -> None:
    policy = Policy()
    volume = [check.NAME for check in CHECKS if check.VOLUME]
    assert volume
    assert set(volume).isdisjoint(LEARNING)
    for armed in Panel(policy, dict.fromkeys(volume, 0.5))._armed:
        assert armed.scale == 1.0


@given(
    factors=factors_,
    said=st.tuples(st.floats(-4, 6), st.floats(0, 6)),
    new=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    scanned=st.tuples(st.integers(0, 3), st.integers(0, 2)),
    sums=st.lists(st.floats(-0.5, 6), min_size=SLOTS, max_size=SLOTS),
)
def test_more_evidence_of_abuse_never_softens_a_verdict_whatever_the_factors(
    factors: dict[str, float],
    said: tuple[float, float],
    new: tuple[int, int],
    scanned: tuple[int, int],
    sums: list[float],
) -> None:
    panel, policy, actions = Panel(Policy(), factors), Policy(), []
    for more in (False, True):
        seen = view(
            said[0] + more * said[1], new=min(5, new[0] + more * new[1]), scanned=scanned[0] + more * scanned[1]
        )
        seen = msgspec.structs.replace(seen, memory=msgspec.structs.replace(seen.memory, first_seen=True))
        signals, _ = panel.look(seen, sums)
        verdict = decide(seen.sender, signals, seen.memory, policy, Circumstances())
        assert verdict.score == pytest.approx(sum(s.weight for s in signals))
        actions.append((ACTIONS.index(verdict.action), bool(verdict.suspend)))
    assert actions[1] >= actions[0]
