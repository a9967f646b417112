"""A From address, display name or Reply-To that is not this sender's own or usual one."""

from __future__ import annotations

import msgspec

from outbound_guard.mail import domain_of
from outbound_guard.signals import novelty
from outbound_guard.signals.view import Finding, View

NAME = "from_address"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = True
HABIT = True
LOW, HIGH = -0.5, 4.0
_OFTEN = 10.0
"""Messages with a network from which on a known one is where the sender is at home."""
_ASKED = novelty.asked((("from", "From address"), ("name", "display name"), ("reply", "Reply-To")))


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.from_address]"""

    stranger: float = 0.5
    """How often somebody else uses a new From address or display name."""
    prior: float = 0.05
    """How often an owner does of whom nothing is known."""
    foreign: float = 0.7
    """Nats for a new From address outside the sender's own domain."""
    reply_elsewhere: float = 0.3
    """Nats for a new Reply-To in another domain than From: the answers are to reach somebody else."""
    at_home: float = 0.1
    """Part of what a new address or name of the sender's own domain says, if it comes from where it always writes."""
    imitation: float = 1.5
    """Nats for a display name that shows another address than the one behind it."""


def look(view: View, settings: Settings) -> Finding | None:
    """Novelty of From address, display name and Reply-To, foreign domain, imitation."""
    if view.sender.kind == "forwarder":
        return None
    memory, message = view.memory, view.message
    profile, shows, are_new = memory.keeper, memory.shows, memory.new_traits
    weight, reasons = 0.0, []
    at_home = settings.at_home if _at_home(view) else 1.0
    values = (message.from_address, message.display_name, message.reply_to)
    for value, (at, place, words) in zip(values, _ASKED, strict=True):
        if not (value and shows[at]):
            continue
        is_new = are_new[at]
        elsewhere = words == "Reply-To" and domain_of(value) != message.from_domain
        # A person who has never asked for answers elsewhere could have with each message; of a form it is the purpose.
        seen = profile.messages if elsewhere and view.sender.kind == "mailbox" else profile[place]
        part = novelty.weight(is_new, seen, profile[place + 1], settings.stranger, settings.prior)
        weight += part * at_home if part > 0 and words != "Reply-To" else part
        if is_new and part > 0.05:
            reasons.append(f"{words} {value!r} is new")
            if elsewhere:
                weight += settings.reply_elsewhere
            foreign = (
                words == "From address"
                and view.sender.kind == "mailbox"
                and message.from_domain != domain_of(view.sender.name)
            )
            if foreign:
                weight += settings.foreign
                reasons.append(f"not of {domain_of(view.sender.name)}")
    if "address_in_name" in message.defects:
        weight += settings.imitation
        reasons.append(f"the display name {message.display_name!r} shows another address")
    return weight, ", ".join(reasons) or "usual From address and name"


def elsewhere(view: View) -> bool:
    """True if a mailbox asks for answers at, or writes from, a new address in a domain that is not its own.

    Answers to the domain of From, if that is usual, are not elsewhere.
    """
    memory, message, own = view.memory, view.message, domain_of(view.sender.name)
    answers = message.reply_to and domain_of(message.reply_to) not in (message.from_domain, own)
    return bool(answers and memory.is_new("reply")) or (memory.is_new("from") and message.from_domain != own)


def _at_home(view: View) -> bool:
    """True if a mailbox writes as somebody of its own domain, from a network that it has used since long."""
    memory = view.memory
    return (
        view.sender.kind == "mailbox"
        and view.message.from_domain == domain_of(view.sender.name)
        and memory.has("network")
        and not memory.is_new("network")
        and memory.habit("network")[0] >= _OFTEN
    )
