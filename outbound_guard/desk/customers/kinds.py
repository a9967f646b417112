"""What kind of thing a message is held for, as far as a customer is told, and which kinds they may release themselves.

The names of signals, their weights and their sentences stay here: they would tell a thief how to write the next one,
and may name others. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from outbound_guard.mail import Signal
from outbound_guard.verdict import LIMIT

Kind = Literal["volume", "recipients", "habit", "content", "pretence", "danger", "campaign", "unknown"]
RELEASABLE: tuple[Kind, ...] = ("volume", "recipients", "habit", "content")
"""Kinds that a configuration may let customers release (customers.release). The others never."""

# From the mildest to the gravest: what a message is held for is the gravest of what spoke against it.
_ORDER: tuple[Kind, ...] = ("volume", "recipients", "habit", "content", "campaign", "pretence", "danger")
_OF: dict[str, Kind] = {
    "rate": "volume",
    "recipients": "recipients",
    "refusals": "recipients",
    "clients": "habit",
    "software": "habit",
    "manner": "habit",
    "copies": "habit",
    "content": "content",
    "script": "danger",
    "structure": "danger",
    "scanners": "pretence",
    "from_address": "pretence",
    "neighbours": "campaign",
    "campaign": "campaign",
}
_SPEAKS = 0.5
"""Nats from which on a signal is a reason."""
_MALFORMED = 1.5
"""Nats up to which what is odd about the form of a message is no danger by itself."""


def gravest(kinds: Sequence[Kind]) -> Kind:
    """The kind that decides. `unknown`: it is not known what a message is held for; the desk alone releases it."""
    return "unknown" if not kinds or "unknown" in kinds else max(kinds, key=_ORDER.index)


def kinds_of(signals: Sequence[Signal], code: str = "") -> tuple[Kind, ...]:
    """All kinds of what spoke against a message, each once, the strongest first. `code`: the word of its verdict."""
    against = sorted((one for one in signals if one.weight >= _SPEAKS and not one.shadow), key=lambda one: -one.weight)
    limited: list[Kind] = ["volume"] if code == LIMIT else []
    kinds = limited + [_kind(signal) for signal in against]
    return tuple(dict.fromkeys(kinds))


def _kind(signal: Signal) -> Kind:
    if signal.name == "structure" and signal.weight < _MALFORMED:
        return "content"
    if signal.name == "scanners" and "virus" in signal.reason:
        return "danger"
    if signal.volume:
        return "volume"
    # A signal that is added later is nobody's to release until it stands above.
    return _OF.get(signal.name, "unknown")
