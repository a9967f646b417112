"""A script that never sent mail in this account, or that lies where no program should."""

from __future__ import annotations

import re

import msgspec

from outbound_guard.signals import novelty
from outbound_guard.signals.view import Finding, View

NAME = "script"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = True
HABIT = True
LOW, HIGH = -0.5, 5.0

# Places for uploads, pictures and style sheets; code made at run time; files with a hidden or double name.
_ODD_PLACE = re.compile(
    r"eval\(\)'d code|/uploads?/|/images?/|/img/|/css/|/fonts?/|/cache/|/te?mp/|/\.[^/]"
    r"|\.(?:jpe?g|png|gif|ico|txt|css)\.php",
    re.I,
)


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.script]"""

    stranger: float = 0.8
    """How often an intruder's script is new to the account."""
    prior: float = 0.1
    """How often an owner's is."""
    odd_place: float = 1.5
    """Nats for a place where no program should lie."""


def look(view: View, settings: Settings) -> Finding | None:
    """Novelty of the script within its account, and where it lies."""
    script = view.sender.script
    if view.sender.kind != "script" or not script:
        return None
    memory = view.memory
    seen, new = memory.habit("script")
    is_new = memory.is_new("script")
    weight = novelty.weight(is_new, seen, new, stranger=settings.stranger, prior=settings.prior)
    reason = f"script {script!r} is {'new to' if is_new else 'known in'} account {view.sender.account}"
    path = f"{script} {view.message.headers.get('x-php-script') or ''}"
    if is_new and _ODD_PLACE.search(path):
        weight += settings.odd_place
        reason += ", in a place where no program should lie"
    return weight, reason
