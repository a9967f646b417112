"""What is recorded of customers who answer about their held mail; part of `records`."""

from __future__ import annotations

import msgspec


class CustomerLink(msgspec.Struct, frozen=True, omit_defaults=True, tag="customer_link"):
    """A link to the customers' page was made, or revoked."""

    id: str
    """16 hexadecimal digits."""
    time: float
    what: str
    """made | revoked"""
    account: str = ""
    by: str = "system"
    hash: str = ""
    """SHA-256 of its secret, account, end and contact, hexadecimal."""
    contact: str = ""
    """SHA-256 of the address that it was made for, hexadecimal."""
    expires: float = 0.0
    """Unix seconds."""


class CustomerAnswer(msgspec.Struct, frozen=True, omit_defaults=True, tag="customer_answer"):
    """A customer has said, by a link, whose the held mail of a sender is. The latest for a link and sender holds."""

    link: str
    sender: str
    account: str
    time: float
    answer: str
    """me | not_me | undone"""
    messages: int = 0
    """How many were let go with it."""
    bulk: str = ""
    """The decision about these."""


class CustomerOffence(msgspec.Struct, frozen=True, omit_defaults=True, tag="customer_offence"):
    """A sender offended within a day after a customer had let its mail go."""

    link: str
    sender: str
    time: float
    """When it offended (unix seconds)."""
    what: str = ""


class CustomerRelease(msgspec.Struct, frozen=True, omit_defaults=True, tag="customer_release"):
    """From now on the customers of an account may not release mail themselves, or may again."""

    account: str
    time: float
    change: str
    """closed | opened"""
    by: str = "system"
    reason: str = ""
