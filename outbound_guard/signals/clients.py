"""A login used from a network it was never used from, or from many at once."""

from __future__ import annotations

import msgspec

from outbound_guard.signals import novelty
from outbound_guard.signals.view import Finding, View

NAME = "clients"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = True
HABIT = True
LOW, HIGH = -0.5, 6.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.clients]"""

    stranger: float = 0.9
    """How often somebody else comes from a network new to the sender."""
    prior: float = 0.15
    """How often an owner of whom nothing is known does."""
    many: float = 3.0
    """New networks within two hours that a traveller may have."""
    each: float = 0.8
    """Nats for each one beyond."""


def look(view: View, settings: Settings) -> Finding | None:
    """Novelty of the client's network, and the number of new ones of late."""
    if view.sender.client_ip is None or view.sender.kind != "mailbox":
        return None
    memory = view.memory
    seen, new = memory.habit("network")
    is_new = memory.is_new("network")
    weight = novelty.weight(is_new, seen, new, stranger=settings.stranger, prior=settings.prior)
    networks = memory.networks
    reason = f"from a {'new' if is_new else 'known'} network ({view.sender.client_ip})"
    if is_new and networks > settings.many:
        weight += settings.each * (networks - settings.many)
        reason += f", one of {networks:.0f} new ones within two hours"
    return weight, reason
