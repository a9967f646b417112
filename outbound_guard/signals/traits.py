"""What a sender is known by, read from one submission (reputation/memory.py: TRAITS)."""

from __future__ import annotations

from outbound_guard.content import Message
from outbound_guard.content.fingerprint import bands
from outbound_guard.mail import Sender, Submission
from outbound_guard.reputation import TRAITS, Observation

_ORDERED = frozenset(("date", "from", "to", "subject", "message-id", "mime-version", "content-type"))


def observe(submission: Submission, sender: Sender, message: Message, said: float, now: float) -> Observation:
    """What of a submission is looked up and remembered. `said`: its content's weight (nats); `now`: unix seconds."""
    return Observation(
        now,
        sender,
        submission.envelope.recipients,
        traits(sender, message, now),
        message.fingerprint,
        said,
        submission.server or "",
        lambda: bands(message.sketch),
    )


def traits(sender: Sender, message: Message, now: float) -> tuple[str | None, ...]:
    """The values of TRAITS at `now` (unix seconds); None for what the message does not show."""
    if sender.kind == "forwarder":
        return (None,) * len(TRAITS)  # What is forwarded has the habits of others.
    reply_to = message.reply_to
    return (
        network(sender.client_ip) if sender.client_ip else None,
        message.from_address or None,
        message.display_name or None,
        software(message),
        time_zone(message.headers.get("date")),
        sender.script,
        reply_to if reply_to and reply_to != message.from_address else None,
        message.language or None,
        message.charset or None,
        hours(now) if sender.kind == "mailbox" else None,
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


def hours(now: float) -> str:
    """A quarter of a day (UTC), on a working day or at the weekend: people have their hours."""
    day, seconds = divmod(now, 86_400)
    return f"{'weekend' if (day + 3) % 7 > 4 else 'week'} {int(seconds // 21_600)}"  # The first day was a Thursday.
