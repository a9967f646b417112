"""Parsing a message once, safely; the trained model."""

from __future__ import annotations

from outbound_guard.content.attachment import Attachment
from outbound_guard.content.body import Bodies
from outbound_guard.content.html import Link
from outbound_guard.content.message import Message

__all__ = ["Attachment", "Bodies", "Link", "Message", "parse"]


def parse(content: bytes, bodies: Bodies | None = None) -> Message:
    """Read a message with CRLF line ends; never raises, whatever it is, and its work is bounded.

    The header is read now; text, links, attachments and defects are read when they are first asked for,
    and taken from `bodies` where they are known.
    """
    return Message(content, bodies)
