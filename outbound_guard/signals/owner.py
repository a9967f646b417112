"""Is it the owner who writes? What the checks that ask this say is put together here, for a mailbox.

An owner changes, too: a new telephone, another provider, a tool that writes in the owner's name. Several checks find
something new in one such change, which is not several proofs. And where somebody else does have the password, the owner
goes on writing beside the thief, and is not the thief.
"""

from __future__ import annotations

import msgspec

from outbound_guard.mail import Signal
from outbound_guard.signals import clients, content, copies, from_address, manner, neighbours, refusals, software
from outbound_guard.signals.view import View

_NEW = frozenset((clients.NAME, from_address.NAME, software.NAME, manner.NAME))
WHO = _NEW | {copies.NAME}
"""Checks that find out whether somebody else writes."""
_ELSE = frozenset((content.NAME, neighbours.NAME, refusals.NAME))
"""Text, company and answers: what can speak against a sender whoever it is."""
_ASIDE = 0.25
"""The part that counts of what is new, beside the newest of it, if nothing else speaks against the sender..."""
_PLAIN = 1.0
"""... and the nats of something else from which on all of it counts."""
_ONE_ANSWER = 2.0
"""Nats of answers that are nothing yet: of the best list, too, somebody is gone."""
_OWNERS = ("network", "software", "zone", "from", "name")
"""What somebody who writes from elsewhere can hardly have all as the owner has it."""
_OFTEN = 10.0
"""Messages with a network from which on an owner's way of writing is known."""


def as_ever(view: View) -> bool:
    """True if a message is written as its mailbox's owner writes: no trait of `_OWNERS` is new, and they are known."""
    memory = view.memory
    return (
        view.sender.kind == "mailbox"
        and memory.available
        and memory.has("network")
        and memory.habit("network")[0] >= _OFTEN
        and not any(memory.is_new(trait) for trait in _OWNERS if memory.has(trait))
    )


def one_change(signals: list[Signal], *, elsewhere: bool = False) -> list[Signal]:
    """`signals`, where of what is new about a sender the strongest counts whole and the rest in part.

    The more something else speaks against it, the more each of them is a further proof. `elsewhere`: the answers are to
    go to another domain, or From names one (from_address.py). No new telephone does that: it counts whole.
    """
    one = _NEW - {from_address.NAME} if elsewhere else _NEW
    new = [signal for signal in signals if signal.weight > 0 and not signal.shadow and signal.name in one]
    if len(new) < 2:
        return signals
    against = max([_speaks(signal) for signal in signals if not signal.shadow and signal.name in _ELSE], default=0.0)
    part = _ASIDE + (1.0 - _ASIDE) * min(max(against, 0.0) / _PLAIN, 1.0)
    if part == 1.0:
        return signals
    strongest = max(new, key=lambda signal: signal.weight)
    return [
        msgspec.structs.replace(
            signal, weight=signal.weight * part, reason=f"{signal.reason} (beside {strongest.name}: {part:.0%} of it)"
        )
        if signal in new and signal is not strongest
        else signal
        for signal in signals
    ]


def _speaks(signal: Signal) -> float:
    return signal.weight - _ONE_ANSWER if signal.name == refusals.NAME else signal.weight
