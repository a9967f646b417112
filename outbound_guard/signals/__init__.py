"""WHAT: the checks. Each looks at one thing, says what it weighs and why; none acts.

A check is a module with a `Settings` table, `look(view, settings)`, and

    NAME           as in the policy, the log, the metrics and the documentation
    VOLUME         it is about volume alone: it may hold, never convict
    NEEDS_MEMORY   it is not asked while the store is down
    ADDS_UP        what it finds is added up over a sender's messages, fading with time; otherwise it speaks of the
                   state of things, or of this one message, and is found anew each time
    HABIT          it compares with the sender's own habits, to find out whether somebody else is at work
    LOW, HIGH      bounds of its contribution: the same oddity seen a hundred times is not a hundred independent proofs

Nobody else being at work says little about what is done: bought lists are mailed, and contact forms abused, in the
owner's usual way. Together, what speaks for the sender by habit therefore counts as `_USUAL` and no more.

What it finds is a weight of evidence: a log-likelihood ratio in nats, positive for abuse. The sum over all checks is
the score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import msgspec

from outbound_guard.config import ConfigError, Policy
from outbound_guard.mail import Sender, Signal
from outbound_guard.reputation import SLOTS, Evidence, Outcomes
from outbound_guard.signals import (
    campaign,
    clients,
    content,
    copies,
    from_address,
    manner,
    neighbours,
    owner,
    rate,
    recipients,
    refusals,
    scanners,
    script,
    software,
    structure,
)
from outbound_guard.signals.view import Finding, View

__all__ = ["CHECKS", "Panel", "View"]

# The place of a check is the place of its running sum in stored records: add new ones at the end.
CHECKS: tuple[ModuleType, ...] = (
    rate,
    recipients,
    refusals,
    clients,
    from_address,
    script,
    campaign,
    structure,
    software,
    content,
    scanners,
    copies,
    neighbours,
    manner,
)


_REPEATED = 2.5
"""What a finding says at most when it is seen again and again, as a multiple of what it says once."""
_SAME_AGAIN = 1.5
"""The same for checks of habit, if nothing of it is seen for the first time: a network stays new for half a day, and is
one finding however often it is used meanwhile, and to however many new recipients. And for what is said of a text that
is sent again, unless that is much: as many times as it is nats, so that only what reads like spam becomes a proof by
being sent to many."""


_USUAL = -0.5
"""Nats that the checks of habit say together at the least."""


LEAST_FACTOR, MOST_FACTOR = 2 / 3, 3 / 2
"""Bounds of what people's decisions make of a weight: they can neither turn a signal off nor let it decide alone."""


_NOT_WHO = frozenset((recipients.NAME,))
"""Checks of habit that say little about who wrote a message: an owner's first mailing has new recipients as well."""


class _Armed(msgspec.Struct, frozen=True, kw_only=True):
    """A check with its settings."""

    slot: int
    name: str
    look: Callable[[View, Any], Finding | None]
    settings: Any
    scale: float
    shadow: bool
    volume: bool
    needs_memory: bool
    adds_up: bool
    habit: bool
    low: float
    high: float


class Panel:
    """The checks that a policy has in use."""

    def __init__(self, policy: Policy, factors: Mapping[str, float] | None = None) -> None:
        """Arm the checks. Raises ConfigError for an unknown signal or setting, naming it.

        `factors`: what the weights of signals are multiplied by besides `scale`, as this installation has learned from
        people's decisions; at least LEAST_FACTOR and at most MOST_FACTOR, whatever is asked for.
        """
        tables = dict(policy.signal)
        self._armed: list[_Armed] = []
        for slot, check in enumerate(CHECKS):
            learned = (factors or {}).get(check.NAME, 1.0)
            factor = 1.0 if check.VOLUME else min(max(learned, LEAST_FACTOR), MOST_FACTOR)
            armed = _arm(slot, check, tables.pop(check.NAME, {}), factor)
            if armed:
                self._armed.append(armed)
        if tables:
            raise ConfigError(f"policy: signal.{min(tables)}: there is no such signal; known: {', '.join(names())}")
        # Ready to be asked, all of them or those that need no memory; what else they are is looked up for a finding.
        self._asked = [(a.look, a.settings, a) for a in self._armed]
        self._asked_of_nothing = [(a.look, a.settings, a) for a in self._armed if not a.needs_memory]
        self._content = next((a.slot for a in self._armed if a.name == content.NAME), -1)
        self._list = next((a.slot for a in self._armed if a.name == recipients.NAME), -1)
        self._who = tuple(a.slot for a in self._armed if a.name in owner.WHO)
        self._of_habit = frozenset(a.name for a in self._armed if a.habit and not a.shadow)
        self._kept = frozenset(a.name for a in self._armed if a.habit) - _NOT_WHO | {content.NAME}
        """What a held message was held for, whatever its sender has written since."""
        self.reads_content = any(a.name == content.NAME for a in self._armed)
        """True if somebody asks for the content model's opinion."""
        self.reads_opinions = any(a.name == scanners.NAME for a in self._armed)
        """True if somebody asks for the scanners' opinions."""
        self.refusals = next((a for a in self._armed if a.name == refusals.NAME and not a.shadow), None)

    def look(
        self, view: View, sums: list[float], *, again: Mapping[str, float] | None = None
    ) -> tuple[tuple[Signal, ...], list[Evidence]]:
        """Ask every check. `sums` are the sender's running sums by slot (nats).

        `again`: this message was judged before, with these contributions, so what it says is in the sums already. What
        the owner has sent meanwhile in the usual way does not clear a message that was not.

        Returns the signals, whose weights are what each check now contributes to the score (running sum and fresh
        evidence together), and the fresh evidence to be remembered.
        """
        signals: list[Signal] = []
        evidence: list[Evidence] = []
        usual: list[float] = []
        same_text = view.memory.campaign is not None and view.memory.campaign.times > 1
        # That somebody else has been at work is not held against what the owner writes meanwhile, as ever.
        owners = any(sums[slot] > 0 for slot in self._who) and owner.as_ever(view)
        for look, settings, check in self._asked if view.memory.available else self._asked_of_nothing:
            found = look(view, settings)
            if found is None and not check.adds_up:
                continue
            carried = sums[check.slot]
            if owners and check.slot in self._who:
                carried = min(carried, 0.0)
            if again and check.name in self._kept:
                carried = max(carried, again.get(check.name, carried))
            if found is None:
                if carried >= 0.01 or carried <= -0.01:
                    reason = f"nothing new; {carried:+.1f} from earlier mail"
                    signals.append(Signal(check.name, carried, reason, False, check.shadow))
                    if check.habit and not check.shadow:
                        usual.append(carried)
                continue
            fresh, reason = found
            fresh *= check.scale
            if not check.adds_up:
                total = min(max(fresh, check.low), check.high)
            elif again is not None and view.sender.kind != "forwarder":
                # It is in the sum already, unless the store was down when the message came in.
                total = max(carried, min(fresh, check.high))
            else:
                # However often it is seen, a weak oddity does not become a strong one.
                if check.habit:
                    again_so = not view.memory.first_seen
                    if check.slot == self._list:
                        again_so = again_so and not view.memory.new_recipients
                    most = _SAME_AGAIN if again_so else _REPEATED
                elif same_text and check.slot == self._content:
                    most = min(max(fresh, _SAME_AGAIN), _REPEATED)
                else:
                    most = _REPEATED
                high = check.high
                if fresh > 0 and most * fresh < high:
                    high = most * fresh
                total = bounded(carried, fresh, check.low, high)
                if total != carried and not check.shadow:
                    evidence.append(Evidence(check.slot, fresh, check.low, high))
            signals.append(Signal(check.name, total, reason, check.volume, check.shadow))
            if check.habit and not check.shadow:
                usual.append(total)
        if view.sender.kind == "mailbox":
            signals = owner.one_change(signals, elsewhere=from_address.elsewhere(view))
        return tuple(self._usual_at_most(signals, usual)), evidence

    def _usual_at_most(self, signals: list[Signal], weights: list[float]) -> list[Signal]:
        """What speaks for the sender by habit is cut down, all alike, until the checks of habit sum up to `_USUAL`.

        `weights`: of those signals that are about habit.
        """
        too_much = _USUAL - sum(weights)
        if too_much <= 0:
            return signals
        left = 1 + too_much / sum([weight for weight in weights if weight < 0])
        return [
            msgspec.structs.replace(signal, weight=signal.weight * left)
            if signal.weight < 0 and signal.name in self._of_habit
            else signal
            for signal in signals
        ]

    def answered(self, sender: Sender, outcomes: Outcomes, record: Any) -> list[Evidence]:
        """What answers of the world say about the sender, weighed against its memory `record`."""
        check = self.refusals
        # A forwarder answers for what others wrote: that is counted, but says nothing about it.
        if check is None or sender.kind == "forwarder":
            return []
        weight = sum([refusals.weigh(outcome, count, record, check.settings) for outcome, count in outcomes])
        return [Evidence(check.slot, weight * check.scale, check.low, check.high)] if weight else []


def bounded(carried: float, fresh: float, low: float, high: float) -> float:
    """A running sum after one more piece of evidence; the same rule as `add_evidence` in reputation/record.lua."""
    # Without `min` and `max`, which take longer than all the rest: this is asked for most findings.
    reached = carried + fresh
    if fresh > 0:
        reached = high if high < reached else reached
        return reached if reached > carried else carried
    reached = low if low > reached else reached
    return reached if reached < carried else carried


def names() -> list[str]:
    """The names of all signals."""
    return [check.NAME for check in CHECKS]


def _arm(slot: int, check: ModuleType, table: dict[str, Any], factor: float) -> _Armed | None:
    table = dict(table)
    mode = table.pop("mode", "on")
    scale = table.pop("scale", 1.0)
    where = f"policy: signal.{check.NAME}"
    if mode not in ("on", "shadow", "off"):
        raise ConfigError(f'{where}.mode: {mode!r} is none of "on", "shadow", "off"')
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 <= scale <= 10:
        raise ConfigError(f"{where}.scale: {scale!r} is not a number from 0 to 10")
    try:
        settings = msgspec.convert(table, check.Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from error
    if mode == "off":
        return None
    return _Armed(
        slot=slot,
        name=check.NAME,
        look=check.look,
        settings=settings,
        scale=float(scale) * factor,
        shadow=mode == "shadow",
        volume=check.VOLUME,
        needs_memory=check.NEEDS_MEMORY,
        adds_up=check.ADDS_UP,
        habit=check.HABIT,
        # A factor below 1 counts also for what is beyond the bounds; one above 1 does not widen them.
        low=check.LOW * min(factor, 1.0),
        high=check.HIGH * min(factor, 1.0),
    )


assert len(CHECKS) <= SLOTS  # noqa: S101  # A record has room for so many sums.
