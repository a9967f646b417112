"""Strangers beside this one are under suspicion: a bot goes through passwords, an account or a server is taken over.

A stranger comes from a network, or is a script, that is new to its sender, or is a sender of whom little is known. Many
strangers come at once where nothing is wrong: behind one address of a mobile network or VPN, from an account that
moves, on a new server. So it counts only if most of them are suspects, and as what it is: the state of things around a
stranger, the same for each of its messages, and nothing that its later mail carries on.
"""

from __future__ import annotations

from math import log1p

import msgspec

from outbound_guard.signals.view import Finding, View

NAME = "neighbours"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = False
HABIT = False
LOW, HIGH = 0.0, 4.0
_WORDS = {
    "address": "accounts that were used from {ip} for the first time",
    "account": "senders of this account that behave in a new way",
    "server": "accounts on {server} that behave in a new way",
}


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.neighbours]"""

    hot: float = 1.2
    """Nats for each factor e of suspects."""
    most: float = 3.0
    server: int = 3
    """Suspects on a server from which on they count: it has many accounts."""


def look(view: View, settings: Settings) -> Finding | None:
    """What the company is like in which most are suspects."""
    if not view.memory.neighbours or view.sender.kind == "forwarder":
        return None
    found = [
        (company.hot, company.senders - 1, shared)
        for shared, company in view.memory.neighbours.items()
        if company.hot >= (settings.server if shared == "server" else 1) and company.hot * 2 >= company.senders - 1
    ]
    if not found:
        return None
    hot, others, shared = max(found)
    who = _WORDS[shared].format(ip=view.sender.client_ip, server=view.submission.server)
    weight = min(settings.most, settings.hot * log1p(hot))
    return weight, f"{hot} of {others} other {who} within three days are suspects"
