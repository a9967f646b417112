"""What a check may look at. A check looks, it never acts."""

from __future__ import annotations

import msgspec

from outbound_guard.content import Message
from outbound_guard.mail import Sender, Submission
from outbound_guard.reputation import Memory
from outbound_guard.scanners import Opinion


class View(msgspec.Struct, frozen=True):
    """One submission, who sent it, and what is remembered of that sender."""

    submission: Submission
    sender: Sender
    message: Message
    memory: Memory
    opinion: tuple[float, str] | None
    """What the content model says: weight of evidence (nats) and a sentence; None without a model."""
    now: float
    """Unix seconds."""
    opinions: tuple[Opinion, ...] = ()
    """What scanners say, as far as any are configured and have answered."""


Finding = tuple[float, str]
"""A check's result: fresh evidence (a log-likelihood ratio in nats) and a sentence with its numbers."""
