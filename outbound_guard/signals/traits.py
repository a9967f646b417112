"""What a sender is known by, read from one submission (reputation/memory.py: TRAITS)."""

from __future__ import annotations

from outbound_guard.content import Message
from outbound_guard.mail import Sender

_ORDERED = frozenset(("date", "from", "to", "subject", "message-id", "mime-version", "content-type"))


def traits(sender: Sender, message: Message) -> tuple[str | None, ...]:
    """Network, From address, display name, software, time zone, script; None for what the message does not show."""
    if sender.kind == "forwarder":
        return (None,) * 6  # What is forwarded has the habits of others.
    return (
        network(sender.client_ip) if sender.client_ip else None,
        message.from_address or None,
        message.display_name or None,
        software(message),
        time_zone(message.headers.get("date")),
        sender.script,
    )


def network(ip: str) -> str:
    """The neighbourhood of an address: an access provider's customers move within a /16, or a /32 of IPv6."""
    if ":" in ip:
        return ":".join(ip.split(":")[:2])
    return ip.rsplit(".", 2)[0]


def software(message: Message) -> str:
    """What wrote the message: its name, and the order of its basic header fields, which programs keep."""
    order = ",".join([name for name, _ in message.headers.fields if name in _ORDERED])
    return f"{message.mailer}|{order}"


def time_zone(date: str | None) -> str | None:
    """The zone of a Date field (RFC 5322 3.3), such as "+0200"; None if there is none."""
    if not date:
        return None
    zone = date.partition(" (")[0].rstrip()[-5:]
    return zone if zone[:1] in ("+", "-") and zone[1:].isdigit() else None
