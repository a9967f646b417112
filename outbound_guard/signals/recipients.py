"""Recipients, and domains of recipients, this sender has never written to, against how often that is normal for it."""

from __future__ import annotations

import msgspec

from outbound_guard.signals.novelty import own_rate, ratio
from outbound_guard.signals.view import Finding, View

NAME = "recipients"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = True
HABIT = True
LOW, HIGH = -1.0, 4.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.recipients]"""

    stranger: float = 0.97
    """Share of new recipients in the mail of somebody else."""
    prior: float = 0.5
    """Share of new recipients of an owner of whom nothing is known."""
    domain_stranger: float = 0.7
    """Share of new domains among the recipients of somebody else."""
    domain_prior: float = 0.3
    """The same of an owner of whom nothing is known."""
    domain_share: float = 0.5
    """Part of the evidence of a new domain that counts: its recipient is new as well."""
    counted: int = 3
    """Recipients of one message that count: they were not chosen independently."""


def look(view: View, settings: Settings) -> Finding | None:
    """The log-likelihood ratio of this message's new and known recipients, and of their domains."""
    if view.sender.kind == "forwarder":
        return None
    memory = view.memory
    in_all = len(view.submission.envelope.recipients)
    new = min(memory.new_recipients, in_all)
    keeper = memory.keeper
    p = own_rate(keeper.recipients, keeper.new, settings.prior)
    reliance = keeper.messages / (keeper.messages + 5.0)
    said = 0.0
    if new:
        said = min(new, settings.counted) * ratio(True, p, settings.stranger)
    if in_all > new:
        said += min(in_all - new, settings.counted) * ratio(False, p, settings.stranger)
    weight = reliance * said
    reason = f"{new} of {in_all} recipients are new to this sender (usually {p:.0%})"
    if memory.new_domains:
        p_domain = own_rate(keeper.domains, keeper.domains_new, settings.domain_prior)
        fresh = min(memory.new_domains, settings.counted) * ratio(True, p_domain, settings.domain_stranger)
        weight += reliance * settings.domain_share * fresh
        reason += f", {memory.new_domains} of {memory.domains} domains (usually {p_domain:.0%})"
    return weight, reason
