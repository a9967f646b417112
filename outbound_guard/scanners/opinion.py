"""What a scanner says of a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from outbound_guard.config import Scanner
from outbound_guard.content import Message
from outbound_guard.mail import Submission

Result = Literal["clean", "spam", "virus", "listed"]
Said = tuple[Result, str]
"""A result, and the scanner's own words for it."""


class Opinion(msgspec.Struct, frozen=True):
    """One scanner's answer."""

    scanner: str
    """Its name in the configuration."""
    result: Result
    """spam: a filter says so; virus: a signature matched; listed: a domain in it is on a blocklist."""
    reason: str
    """What the scanner found, in its own words; at most 200 characters."""


class Nonsense(Exception):  # noqa: N818 -- The fault is the scanner's.
    """The answer is none that the protocol knows."""


Ask = Callable[[Scanner, Submission, Message], Awaitable[Said | None]]
"""Asks one scanner. None: there is nothing in the message that it could be asked about.

Raises Nonsense, and OSError if it cannot be reached. It sets no time limit of its own.
"""
