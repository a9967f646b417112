"""Explanations: what is said of another verdict is what `verdict.decide` gives for it."""

from __future__ import annotations

from itertools import combinations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.config import Policy, Thresholds
from outbound_guard.desk.policy.why import DONE, Why, of_decision, outcome, why
from outbound_guard.mail import Sender, Signal
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC, Memory
from outbound_guard.verdict import ACTIONS, Circumstances, caution, decide
from tests.records import decision

POLICY = Policy(threshold=Thresholds(watch=3.0, hold=6.0, quarantine=9.0, suspend=12.0))
NOTHING_KNOWN = Memory(NO_PROFILE, NO_PROFILE, NO_TRAFFIC, NO_TRAFFIC)
ANNA = Sender("example.com", "anna@example.com", "mailbox", "sasl")
CALM = Circumstances()
STEPS = (*ACTIONS[:4], "suspend")

signals_ = st.lists(
    st.tuples(st.floats(-6, 12), st.booleans(), st.sampled_from([False, False, False, True])), max_size=7
).map(
    lambda drawn: tuple(
        # That little is sent speaks for nobody: what is about volume has no negative weight.
        Signal(f"s{n}", abs(weight) if volume else weight, "because", volume, shadow)
        for n, (weight, volume, shadow) in enumerate(drawn)
    )
)
circumstances_ = st.builds(
    Circumstances,
    suspended=st.sampled_from(["", "", "stolen"]),
    allowed=st.sampled_from(["", "", "agreed"]),
    over_limit=st.sampled_from(["", "rate limit"]),
)
senders_ = st.sampled_from([ANNA, msgspec.structs.replace(ANNA, kind="forwarder")])


def explain(*weights: float, now_is: Circumstances = CALM, trust: float = 0.0, volume: tuple[int, ...] = ()) -> Why:
    signals = tuple(Signal(f"s{n}", w, "because", n in volume) for n, w in enumerate(weights))
    memory = msgspec.structs.replace(NOTHING_KNOWN, sender=NO_PROFILE._replace(trust=trust))
    return why(ANNA, signals, memory, POLICY, now_is)


@given(sender=senders_, signals=signals_, trust=st.sampled_from([0.0, 1.0]), now_is=circumstances_)
def test_what_is_said_would_really_have_come_about_and_with_less_it_would_not(
    sender: Sender, signals: tuple[Signal, ...], trust: float, now_is: Circumstances
) -> None:
    memory = msgspec.structs.replace(NOTHING_KNOWN, account=NO_PROFILE._replace(trust=trust))

    def judge(of: tuple[Signal, ...], around: Circumstances = now_is) -> str:
        return outcome(decide(sender, of, memory, POLICY, around))

    found = why(sender, signals, memory, POLICY, now_is)
    assert found.outcome == judge(signals)
    for one in found.otherwise:
        by_name = {signal.name: signal for signal in signals}
        named = [by_name[name] for name in one.signals]
        if one.change == "without":
            assert judge(tuple(s for s in signals if s not in named)) == one.outcome != found.outcome
            assert one.weight == pytest.approx(sum(s.weight for s in named))
            for size in range(len(named)):
                for fewer in combinations(named, size):
                    assert judge(tuple(s for s in signals if s not in fewer)) != one.outcome
            milder = STEPS.index(one.outcome) < STEPS.index(found.outcome)
            assert milder == (one.weight > 0)
        elif one.change == "counted":
            (tried,) = named
            assert tried.shadow
            counted = tuple(msgspec.structs.replace(s, shadow=s.shadow and s != tried) for s in signals)
            assert judge(counted) == one.outcome != found.outcome
        else:
            field = {"not suspended": "suspended", "not allowed": "allowed", "not limited": "over_limit"}[one.change]
            assert getattr(now_is, field)
            assert judge(signals, msgspec.structs.replace(now_is, **{field: ""})) == one.outcome
    # Whatever other verdict fewer signals would give is named; at most that of all of one side together is needed.
    if found.decided_by in ("score", "volume"):
        calm = tuple(s for s in signals if s.weight <= 0 or s.shadow)
        assert judge(calm) in {found.outcome, *(one.outcome for one in found.otherwise)}


@given(sender=senders_, signals=signals_, trust=st.sampled_from([0.0, 1.0]))
def test_the_nearest_thresholds_are_those_at_which_the_verdict_changes(
    sender: Sender, signals: tuple[Signal, ...], trust: float
) -> None:
    memory = msgspec.structs.replace(NOTHING_KNOWN, sender=NO_PROFILE._replace(trust=trust))
    found = why(sender, signals, memory, POLICY, CALM)
    for mark in (found.below, found.above):
        if mark is None:
            continue
        assert mark.distance == pytest.approx(mark.evidence - mark.at)
        if mark.name == "watch":
            continue

        # One more signal that bridges the distance, and a hair, is enough; a hair less is not.
        def with_more(nats: float) -> str:
            more = Signal("more", nats, "because")
            return outcome(decide(sender, (*signals, more), memory, POLICY, CALM))

        at, short = with_more(-mark.distance + 1e-6), with_more(-mark.distance - 1e-6)
        assert STEPS.index(short) < STEPS.index(mark.name) <= STEPS.index(at)
    assert found.below is None or found.below.distance >= 0
    assert found.above is None or found.above.distance < 0
    assert caution(memory, POLICY, Circumstances()) == 1 + 0.5 * trust


def test_a_held_message_is_told_what_it_takes() -> None:
    found = explain(5.1, 2.1)
    assert (found.outcome, found.decided_by) == ("hold", "score")
    assert found.sentences == (
        "From 6.00 on (`hold`) mail is held: the score is 1.20 above.",
        "From 9.00 on (`quarantine`) mail is quarantined: the score is 1.80 below.",
        "Without `s1` (+2.10) it would have been relayed.",
        "Without `s0` (+5.10) it would have been relayed.",
    )


def test_several_together_and_what_spoke_for_the_sender() -> None:
    found = explain(5.0, 4.0, 4.0, 3.0, -1.0)
    assert found.outcome == "suspend"
    said = " ".join(found.sentences)
    assert "Without `s1` (+4.00) it would have been quarantined." in said
    assert "Without `s1` and `s3` (+7.00 together) it would have been held." in said
    assert "Without `s4`" not in said
    found = explain(6.5, -1.0)
    assert found.sentences[-1] == "Without `s1` (-1.00) it would have been held."


def test_where_volume_does_not_count_the_sum_is_named() -> None:
    found = explain(3.0, 7.0, volume=(1,))
    assert (found.outcome, found.decided_by) == ("hold", "volume")
    decided = "Volume decided: the rest is not enough to hold it, so it goes out by itself after 6 hours."
    sooner = "It may go sooner: 3 such messages first, and more if they are taken well."
    assert found.sentences[0] == decided
    assert sooner not in found.sentences, "one of the others is a suspicion by itself"
    assert explain(1.5, 1.5, 7.0, volume=(2,)).sentences[:2] == (decided, sooner)
    assert explain(6.5, 7.0, volume=(1,)).decided_by == "score"
    assert found.above is not None
    assert found.above.name == "quarantine"
    assert (
        "From 9.00 on (`quarantine`) mail is quarantined: the score without volume, 3.00, is 6.00 below."
        in found.sentences
    )


def test_why_a_mailing_is_held_rather_than_quarantined_is_said() -> None:
    signals = (Signal("content", 7.0, "because"), Signal("neighbours", 3.0, "because"))
    found = why(ANNA, signals, NOTHING_KNOWN, POLICY, Circumstances(mailing=True))
    assert (found.outcome, found.decided_by) == ("hold", "score")
    assert found.sentences[:2] == (
        "Its text, its company or its list speak against it, and nothing that its sender did: so it is held, not "
        "quarantined, until its recipients have answered.",
        "Of a mailing 3 messages go out first, and the rest as soon as their good answers outweigh 10.00; bad answers "
        "keep it.",
    )
    row = msgspec.to_builtins(decision(code="content", signals=signals)) | {"sender_kind": "mailbox", "source": "sasl"}
    told = of_decision(row, POLICY)
    assert told is not None
    assert told.sentences[:2] == found.sentences[:2]
    found = why(ANNA, signals, NOTHING_KNOWN, POLICY, CALM)
    assert found.outcome == "quarantine"
    assert "recipients have answered" not in " ".join(found.sentences)


def test_that_novelty_suspends_nobody_is_said() -> None:
    only = "Its login is used in a new way, and nothing else speaks against it: that suspends nobody."
    new = tuple(Signal(name, 7.0, "because") for name in ("clients", "recipients"))
    found = why(ANNA, new, NOTHING_KNOWN, POLICY, CALM)
    assert (found.outcome, found.sentences[-1]) == ("quarantine", only)
    assert all(mark.name != "suspend" for mark in (found.below, found.above) if mark)
    for signals in ((*new[:1], Signal("recipients", 2.5, "because")), (*new, Signal("content", 1.5, "because"))):
        assert only not in why(ANNA, signals, NOTHING_KNOWN, POLICY, CALM).sentences


def test_a_suspension_an_exemption_a_limit() -> None:
    found = explain(1.0, now_is=Circumstances(suspended="stolen password", allowed="agreed"))
    assert (found.outcome, found.decided_by) == ("quarantine", "suspended")
    assert found.sentences[0].startswith("The sender or its account is suspended (stolen password)")
    assert found.sentences[-1] == "Without the suspension it would have been relayed."
    found = explain(20.0, now_is=Circumstances(allowed="yearly newsletter (until 2027-01-31)"))
    assert (found.outcome, found.decided_by) == ("relay", "allowed")
    assert found.sentences[-1] == "Without the exemption it would have been quarantined and its sender suspended."
    found = explain(1.0, now_is=Circumstances(over_limit="rate limit of this sender: 3 of 2 messages in a hour"))
    assert (found.outcome, found.decided_by) == ("defer", "limit")
    assert found.sentences[-1] == "Without the limit it would have been relayed."
    assert explain(10.0, now_is=Circumstances(over_limit="rate limit")).decided_by == "score"


def test_corrections_raise_the_thresholds_and_are_told() -> None:
    found = explain(7.0, trust=1.0)
    assert found.outcome == "relay"
    assert "From 9.00 on (`hold`) mail is held: the score is 2.00 below." in found.sentences
    assert "People have corrected verdicts on this sender before: its thresholds are 50% higher." in found.sentences


def test_a_signal_on_trial_that_would_decide() -> None:
    signals = (Signal("a", 4.0, ""), Signal("b", 3.0, "", shadow=True), Signal("c", 0.5, "", shadow=True))
    found = why(ANNA, signals, NOTHING_KNOWN, POLICY, CALM)
    assert [(o.change, o.signals, o.outcome) for o in found.otherwise] == [("counted", ("b",), "hold")]
    assert found.sentences[-1] == "Were `b` not on trial (+3.00) it would have been held."


def test_every_outcome_has_its_word() -> None:
    assert set(STEPS) | {"reject"} == set(DONE)


def test_a_decision_of_the_ledger() -> None:
    row = msgspec.to_builtins(decision()) | {"sender_kind": "mailbox", "source": "sasl"}
    found = of_decision(row, POLICY)
    assert found is not None
    assert (found.outcome, found.decided_by) == ("hold", "volume")
    assert "Without `rate` (+2.50) it would have been relayed." in found.sentences
    limited = row | {"action": "defer", "code": "limit", "reason": "rate limit", "signals": []}
    found = of_decision(limited, POLICY)
    assert found is not None
    assert found.decided_by == "limit"
    # What the policy of today would have decided otherwise cannot be explained by it.
    assert of_decision(row | {"action": "relay"}, POLICY) is None
