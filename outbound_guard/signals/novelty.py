"""How much something new, or something usual, says about who holds the account.

A stolen account is used by somebody else: from another network, with another program, to other people. For each
trait (the client's network, the From address, ...) the sender's own calm past tells how often a new value is normal:
p = P(new | owner). A stranger brings a new value with probability q; the owner goes on writing beside the stranger,
so of a stolen account's mail half is still the owner's. The weight of seeing a new value is then log((q+p)/2p), of a
usual one log(((1-q)+(1-p))/2(1-p)), never below log(1/2): usual mail does not prove that nobody else is there. A
sender that always has new recipients (a shop) is thus not suspected for one more; a mailbox that has written to the
same ten people for a year is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log

from outbound_guard.reputation import Memory
from outbound_guard.reputation.memory import places_of

_STRENGTH = 4.0
"""The prior counts as much as so many observations."""

_LEAST, _MOST = 0.02, 0.97


def own_rate(seen: float, new: float, prior: float) -> float:
    """P(new | owner): the share of new values among `seen`, with `prior` for a sender of whom little is known."""
    return min(_MOST, max(_LEAST, (new + prior * _STRENGTH) / (seen + _STRENGTH)))


def reliance(seen: float) -> float:
    """How far the past can be relied on, 0 (nothing known: everything is new, which says nothing) to 1."""
    return seen / (seen + 3.0)


def weight(is_new: bool, seen: float, new: float, stranger: float, prior: float) -> float:
    """Weight of evidence (nats) of one observation; `stranger` is q, `prior` the expected p of an unknown owner."""
    # `ratio` of `own_rate` times `reliance`, written out: this is asked six times a message.
    p = (new + prior * _STRENGTH) / (seen + _STRENGTH)
    p = _LEAST if p < _LEAST else _MOST if p > _MOST else p
    said = log((stranger + p) / (2 * p)) if is_new else log((2 - stranger - p) / (2 * (1 - p)))
    return said * (seen / (seen + 3.0))


def ratio(is_new: bool, p: float, stranger: float) -> float:
    """The log-likelihood ratio (nats) of one new or usual value; p = P(new | owner), `stranger` is q."""
    if is_new:
        return log((stranger + p) / (2 * p))
    return log((2 - stranger - p) / (2 * (1 - p)))


Asked = Sequence[tuple[int, int, str]]
"""Traits that are asked for together: where each stands in a memory and in a profile, and words for it."""


def asked(traits: Iterable[tuple[str, str]]) -> Asked:
    """Traits, each by its name and with words for it, made ready for `of_traits`."""
    return [(*places_of(trait), words) for trait, words in traits]


def of_traits(memory: Memory, traits: Asked, *, stranger: float, prior: float) -> tuple[float, list[str]]:
    """What several traits say together: nats, and the words of those that are new.

    A trait that a message does not show is left out: it is not usual either.
    """
    total, new_ones = 0.0, []
    profile, shows, are_new = memory.keeper, memory.shows, memory.new_traits
    for at, place, words in traits:
        if shows[at]:
            is_new, seen = are_new[at], profile[place]
            total += weight(is_new, seen, profile[place + 1], stranger, prior)
            if is_new and seen:
                new_ones.append(words)
    return total, new_ones
