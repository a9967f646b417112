"""The same text from many senders: snowshoe, a botnet's run, or a text that people have judged already."""

from __future__ import annotations

from math import log1p

import msgspec

from outbound_guard.signals.view import Finding, View

NAME = "campaign"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = False
HABIT = False
LOW, HIGH = -6.0, 6.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.campaign]"""

    hot: float = 1.5
    """Nats for each factor e of other senders of the text that are under suspicion."""
    most: float = 3.5
    confirmed: float = 6.0
    """Nats if people have confirmed the text as abuse; as many against if they have released it."""


def look(view: View, settings: Settings) -> Finding | None:
    """What the other senders of this text are like, and what people said of it."""
    campaign = view.memory.campaign
    if campaign is None:
        return None
    if campaign.bad > campaign.good:
        return settings.confirmed, f"this text was confirmed as abuse {campaign.bad} times"
    if campaign.good > campaign.bad:
        return -settings.confirmed, f"this text was released {campaign.good} times"
    if view.sender.kind == "forwarder":
        return None
    # Forwarders and shops with one template share texts too: what counts is that its senders are suspects.
    near, which = view.memory.near, "this text"
    if near is not None and near.hot > campaign.hot:
        campaign, which = near, "nearly this text"
    if campaign.hot >= 2 and campaign.hot * 2 >= campaign.senders - 1:
        weight = min(settings.most, settings.hot * log1p(campaign.hot))
        return weight, f"{campaign.hot} of {campaign.senders - 1} other senders of {which} are under suspicion"
    return None
