"""Why a message met the verdict it did: what decided, how near the next threshold is, what would have had to differ.

Nothing here judges. Every claim about another verdict is tried out with `verdict.decide`: the signals named are taken
away (or counted, if they are on trial), or the suspension, allow rule or limit is, and what comes out is what is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

import msgspec

from outbound_guard.config import Policy
from outbound_guard.mail import Sender, Signal, Verdict
from outbound_guard.reputation import Memory
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC
from outbound_guard.verdict import (
    ALLOWED,
    HOLD,
    LIMIT,
    SUSPENDED,
    Circumstances,
    caution,
    decide,
    in_doubt,
    may_suspend,
)

VOLUME = "volume"
SUSPEND = "suspend"
"""The outcome beyond quarantine: the sender is suspended as well."""
DONE = {
    "relay": "relayed",
    "defer": "deferred",
    "hold": "held",
    "quarantine": "quarantined",
    "reject": "refused",
    SUSPEND: "quarantined and its sender suspended",
}
_MARKED = {
    "watch": "is watched",
    "hold": "is held",
    "quarantine": "is quarantined",
    SUSPEND: "has its sender suspended",
}
_MOST_SIGNALS = 10
"""So many are tried out in all combinations: the strongest."""
_SHOWN = 2
"""Sets of signals named for one outcome."""
_ONLY_NEW = "Its login is used in a new way, and nothing else speaks against it: that suspends nobody."
_FORWARDED = "It forwards what others write: that suspends nobody."
_PROBATION = "The sender or its account was on probation after a suspension: its thresholds were lower."

Try = Callable[[tuple[Signal, ...]], str]


class Mark(msgspec.Struct, frozen=True):
    """A threshold, and how far the evidence is from it (nats)."""

    name: str
    """watch | hold | quarantine | suspend"""
    at: float
    """Where it lies for this sender: corrections by people raise it."""
    evidence: float
    """The sum that is compared with it: for quarantine and suspend without what is about volume alone."""
    distance: float
    """`evidence` less `at`: not negative if it was passed."""


class Otherwise(msgspec.Struct, frozen=True):
    """What would have had to differ, and what would have been done then."""

    change: str
    """without | counted (signals on trial) | not suspended | not allowed | not limited"""
    signals: tuple[str, ...]
    weight: float
    """What they contribute together, in nats."""
    outcome: str


class Why(msgspec.Struct, frozen=True):
    """The explanation of a verdict."""

    outcome: str
    """relay | defer | hold | quarantine | suspend"""
    decided_by: str
    """score | volume (a score that would not do without what is about volume alone) | suspended | allowed | limit"""
    below: Mark | None
    """The nearest threshold that was passed."""
    above: Mark | None
    """The nearest that was not."""
    otherwise: tuple[Otherwise, ...]
    sentences: tuple[str, ...]


def outcome(verdict: Verdict) -> str:
    """What a verdict does, in one word."""
    return SUSPEND if verdict.suspend else verdict.action


def why(sender: Sender, signals: tuple[Signal, ...], memory: Memory, policy: Policy, now_is: Circumstances) -> Why:
    """Explain what `verdict.decide` says of the same."""

    def judge(of: tuple[Signal, ...], around: Circumstances = now_is) -> str:
        return outcome(decide(sender, of, memory, policy, around))

    verdict = decide(sender, signals, memory, policy, now_is)
    now = outcome(verdict)
    decided_by = verdict.code if verdict.code in (SUSPENDED, ALLOWED, LIMIT) else "score"
    careful = caution(memory, policy, now_is)
    effective = [signal for signal in signals if not signal.shadow]
    suspendable = may_suspend(sender, effective, memory, policy)
    marks = _marks(effective, policy, careful, suspendable)
    if decided_by == "score" and now == HOLD and judge(tuple(s for s in signals if not s.volume)) != HOLD:
        decided_by = VOLUME
    passed = [mark for mark in marks if mark.distance >= 0]
    missed = [mark for mark in marks if mark.distance < 0]
    otherwise = [*_circumstances(judge, signals, now_is, decided_by), *_signals(judge, signals, now)]
    found = Why(
        now,
        decided_by,
        min(passed, key=lambda mark: mark.distance, default=None),
        max(missed, key=lambda mark: mark.distance, default=None),
        tuple(otherwise),
        (),
    )
    corrected = careful / policy.probation.thresholds if now_is.probation else careful
    # What good answers have to outweigh before it goes out in slices.
    doubt = in_doubt(sender, signals, memory, policy, now_is) if now == HOLD else None
    sentences = [*_sentences(found, verdict, policy, corrected, doubt), *([_PROBATION] if now_is.probation else [])]
    convicting = next(mark.evidence for mark in marks if mark.name == "quarantine")
    if decided_by == "score" and not suspendable and convicting >= policy.threshold.suspend * careful and not doubt:
        sentences.append(_FORWARDED if sender.kind == "forwarder" else _ONLY_NEW)
    return msgspec.structs.replace(found, sentences=tuple(sentences))


def of_decision(decision: dict[str, Any], policy: Policy, *, probation: bool = False) -> Why | None:
    """Explain a decision of the ledger (`queries.decision_one`) by a policy, the one in force.

    `probation`: the sender or its account was on probation then. None if by this policy, and as far as the ledger
    tells, the verdict would be another: the policy has changed since, or the sender's thresholds were higher after
    corrections.
    """
    signals = tuple(msgspec.convert(decision["signals"], list[Signal]))
    sender = Sender(decision["account"], decision["sender"], decision["sender_kind"], decision["source"])
    told = {SUSPENDED: "suspended", ALLOWED: "allowed", LIMIT: "over_limit"}.get(decision["code"])
    around = Circumstances(**{told: decision["reason"] or decision["code"]}) if told else Circumstances()
    # What was held although its score convicts was a mailing of which its recipients are asked.
    now_is = msgspec.structs.replace(around, probation=probation, mailing=decision["action"] == HOLD)
    memory = Memory(NO_PROFILE, NO_PROFILE, NO_TRAFFIC, NO_TRAFFIC)
    if decide(sender, signals, memory, policy, now_is).action != decision["action"]:
        return None
    return why(sender, signals, memory, policy, now_is)


def _marks(effective: Sequence[Signal], policy: Policy, careful: float, suspendable: bool) -> list[Mark]:
    score = sum([signal.weight for signal in effective])
    convicting = sum([signal.weight for signal in effective if not signal.volume])
    threshold = policy.threshold
    places = [
        ("watch", threshold.watch, score),
        ("hold", threshold.hold * careful, score),
        ("quarantine", threshold.quarantine * careful, convicting),
    ]
    if suspendable:
        places.append((SUSPEND, threshold.suspend * careful, convicting))
    return [Mark(name, at, evidence, evidence - at) for name, at, evidence in places]


def _circumstances(
    judge: Callable[[tuple[Signal, ...], Circumstances], str],
    signals: tuple[Signal, ...],
    now_is: Circumstances,
    decided_by: str,
) -> Iterable[Otherwise]:
    taken = {
        SUSPENDED: ("not suspended", {"suspended": ""}),
        ALLOWED: ("not allowed", {"allowed": ""}),
        LIMIT: ("not limited", {"over_limit": ""}),
    }.get(decided_by)
    if taken:
        change, fields = taken
        yield Otherwise(change, (), 0.0, judge(signals, msgspec.structs.replace(now_is, **fields)))


def _signals(judge: Try, signals: tuple[Signal, ...], now: str) -> Iterable[Otherwise]:
    effective = [signal for signal in signals if not signal.shadow]
    for against in (True, False):
        # Without what speaks against the sender a verdict can only be milder, without what speaks for it only sterner.
        of = [signal for signal in effective if (signal.weight > 0 if against else signal.weight < 0)]
        of = sorted(of, key=lambda signal: -abs(signal.weight))[:_MOST_SIGNALS]
        for found, sets in _smallest(judge, signals, of, now).items():
            for taken in sorted(sets, key=_weight if against else lambda taken: -_weight(taken))[:_SHOWN]:
                yield Otherwise("without", tuple(signal.name for signal in taken), _weight(taken), found)
    for tried in signals:
        if tried.shadow:
            counted = tuple(msgspec.structs.replace(s, shadow=s.shadow and s is not tried) for s in signals)
            if (then := judge(counted)) != now:
                yield Otherwise("counted", (tried.name,), tried.weight, then)


def _smallest(
    judge: Try, signals: tuple[Signal, ...], of: Sequence[Signal], now: str
) -> dict[str, list[tuple[Signal, ...]]]:
    """By other outcome: the smallest sets of signals without which it would have come about."""
    found: dict[str, list[tuple[Signal, ...]]] = {}
    for size in range(1, len(of) + 1):
        for taken in combinations(of, size):
            then = judge(tuple(signal for signal in signals if not any(signal is one for one in taken)))
            if then != now and (then not in found or len(found[then][0]) == size):
                found.setdefault(then, []).append(taken)
    return found


def _weight(signals: Iterable[Signal]) -> float:
    return sum([signal.weight for signal in signals])


def _sentences(found: Why, verdict: Verdict, policy: Policy, careful: float, doubt: float | None) -> Iterable[str]:
    if found.decided_by == SUSPENDED:
        yield f"The sender or its account is suspended ({verdict.reason}): whatever the message is like, it is kept."
    elif found.decided_by == ALLOWED:
        yield f"An exemption decided ({verdict.reason}): signals and limits were not asked."
    elif found.decided_by == LIMIT:
        yield f"A limit decided ({verdict.reason}), not the score."
    elif found.decided_by == VOLUME:
        hours = policy.hold.longest / 3600
        yield f"Volume decided: the rest is not enough to hold it, so it goes out by itself after {hours:.4g} hours."
        if doubt == 0:
            yield f"It may go sooner: {policy.hold.first_slice} such messages first, and more if they are taken well."
    if doubt and found.decided_by in ("score", VOLUME):
        yield (
            "Its text, its company or its list speak against it, and nothing that its sender did: so it is held, not "
            "quarantined, until its recipients have answered."
        )
        yield (
            f"Of a mailing {policy.hold.first_slice} messages go out first, and the rest as soon as their good answers "
            f"outweigh {doubt:.2f}; bad answers keep it."
        )
    for mark in (found.below, found.above):
        if mark:
            yield _of_mark(mark, verdict.score)
    if careful > 1:
        yield f"People have corrected verdicts on this sender before: its thresholds are {careful - 1:.0%} higher."
    for one in found.otherwise:
        if one.change in ("without", "counted"):
            names = _listed([f"`{name}`" for name in one.signals])
            together = " together" if len(one.signals) > 1 else ""
            word = f"Without {names}" if one.change == "without" else f"Were {names} not on trial"
            yield f"{word} ({one.weight:+.2f}{together}) it would have been {DONE[one.outcome]}."
        else:
            if_not = {"not suspended": "the suspension", "not allowed": "the exemption", "not limited": "the limit"}
            also = "also " if one.outcome == found.outcome else ""
            yield f"Without {if_not[one.change]} it would {also}have been {DONE[one.outcome]}."


def _of_mark(mark: Mark, score: float) -> str:
    # Where volume does not count, it is said which sum is meant.
    sum_ = f"the score without volume, {mark.evidence:.2f}," if abs(mark.evidence - score) >= 0.005 else "the score"
    side = f"{mark.distance:.2f} above" if mark.distance >= 0 else f"{-mark.distance:.2f} below"
    return f"From {mark.at:.2f} on (`{mark.name}`) mail {_MARKED[mark.name]}: {sum_} is {side}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
