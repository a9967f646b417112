"""When a message has its turn, and what a destination can take: what the agenda is told."""

from __future__ import annotations

import math
from typing import NamedTuple

SEVERAL = "*"
"""The destination of a message for several domains."""
_OCTETS = 2_097_152
"""Of content, that one place stands for."""


class Turn(NamedTuple):
    """When a message has its turn, and among whom. Times are unix seconds."""

    due: float
    account: str = ""
    """Who shares one turn; those without a name have no share that ends."""
    destination: str = ""
    """What may be closed or full; without a name it never is."""
    latest: float = math.inf
    """When it is taken up even if its destination is closed or full."""
    stranded: bool = False
    """Its destination was away at its last try: when it answers again, this one is due."""
    places: int = 1
    """How many it takes up while it is under way; see `places_of`."""


class Outlook(NamedTuple):
    """What a destination can take now."""

    wait: float = 0.0
    """Seconds in which it takes nothing; when they have passed this is asked again."""
    most: int = 0
    """Messages at a time, this one included; 0: no limit of its own."""


FINE, ONE = Outlook(), Outlook(most=1)


def places_of(octets: int) -> int:
    """The places that a message of this size takes up. It lies in memory while it is under way, so that large ones
    count as several."""
    return 1 + octets // _OCTETS
