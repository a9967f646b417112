"""What other filters say: rspamd, SpamAssassin, ClamAV, blocklists of domains, as far as they are configured.

A thief tries his text on the very filters that everybody has, and these know nothing of the sender: that they find
nothing says nothing. Where they do speak they are right more often than not, but they are wrong about the same
senders again and again (newsletters, invoices), so what they say counts for the one message and is not added up; and
they are wrong together, so that a second one adds half. All of them cannot hold a message without other evidence. A
virus is another matter: a signature that matches is a fact, and the message stays here. Its sender is not suspended
for that alone, since people pass such mail on to those who are to look at it.
"""

from __future__ import annotations

import msgspec

from outbound_guard.scanners import NAME as _NAME
from outbound_guard.signals.view import Finding, View

NAME = _NAME
VOLUME = False
NEEDS_MEMORY = False
ADDS_UP = False
HABIT = False
LOW, HIGH = 0.0, 12.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.scanners]: nats for what one scanner says."""

    spam: float = 3.0
    """It calls the message spam."""
    listed: float = 2.5
    """A domain in its links is on a blocklist."""
    second: float = 0.5
    """Part of its weight that each one but the strongest adds: they are wrong together."""
    most: float = 4.5
    """What all of them add at most, but for a virus."""
    virus: float = 10.0


def look(view: View, settings: Settings) -> Finding | None:
    """The strongest opinion, and a part of the others."""
    if not view.opinions:
        return None
    bad = [opinion for opinion in view.opinions if opinion.result != "clean"]
    if not bad:
        return None
    why = "; ".join([f"{opinion.scanner}: {opinion.result}, {opinion.reason}" for opinion in bad])
    weights = sorted([getattr(settings, opinion.result) for opinion in bad if opinion.result != "virus"], reverse=True)
    weight = min(weights[0] + settings.second * sum(weights[1:]), settings.most) if weights else 0.0
    if view.sender.kind == "forwarder":
        weight *= 0.5  # Its author is somebody else.
    if any(opinion.result == "virus" for opinion in bad):
        weight = max(weight, settings.virus)
    return weight, why
