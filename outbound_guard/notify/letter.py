"""What a carrier gets to send, and what it says about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from outbound_guard.ledger.outbox_queries import Sending, Told


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """Notices that go out together: one, or several of a group."""

    id: str
    """Given before the first try, and the same at every other: by it a receiver knows what it has already."""
    sendings: tuple[Sending, ...]
    now: float
    """Unix time of this try."""

    @property
    def notices(self) -> tuple[Told, ...]:
        """What is told, oldest first."""
        return tuple(sending.notice for sending in self.sendings)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How a try went."""

    result: Literal["sent", "later", "failed", "left_out", "wait"]
    """later: it did not work and is tried again | failed: it will never work | left_out: there is nobody to tell |
    wait: it was not tried and is, together with what comes until then, after `wait` seconds."""
    text: str
    """For people, in a few words, without personal data."""
    wait: float = 0.0
    """Of later: the other side asks for at least so many seconds."""
    grouped: str = ""
    """Of wait: the group that it waits in from now on; empty: the one it is in."""
    addressee: str = ""
    """Of mail that was sent: the digest of its address."""


Carrier = Callable[[Letter], Awaitable[Answer]]
