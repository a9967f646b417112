"""DAY ONE: the logs of an existing mail server tell what each sender's usual mail is, before the first message comes.

    files -> lines (files.py) -> deliveries (exim.py, postfix.py) -> senders and hours (learning.py) -> reputation

A log says who logged in, or which system user handed a message in, and what the world answered for each recipient. It
does not say what was written, nor From, nor the mail program: those stay unknown, and what is unknown says nothing.
"""

from __future__ import annotations

import msgspec

from outbound_guard.reply import Reply


class HistoryError(Exception):
    """A log that cannot be used; the text says why."""


class Origin(msgspec.Struct, frozen=True):
    """What a log says of who sent a message."""

    mail_from: str = ""
    login: str = ""
    """The SASL login."""
    client_ip: str = ""
    """Where the login came from."""
    user: str = ""
    """The system user of the program that handed it in."""
    uid: int = -1
    """The same as a number."""


class Delivery(msgspec.Struct, frozen=True):
    """One answer of the world for one recipient."""

    time: float
    """Unix seconds."""
    origin: Origin
    recipient: str
    reply: Reply
    new_message: bool
    """The first answer for any recipient of this message."""
    new_recipient: bool
    """The first answer for this recipient of this message."""


class Open(msgspec.Struct):
    """A message that the log has not closed yet."""

    origin: Origin
    answered: set[str] = msgspec.field(default_factory=set)

    def delivery(self, time: float, recipient: str, reply: Reply) -> Delivery | None:
        """The delivery that an answer is; None for one more refusal for now of the same recipient."""
        recipient = recipient.lower()
        new_message, new_recipient = not self.answered, recipient not in self.answered
        if reply.temporary and not new_recipient:
            return None
        self.answered.add(recipient)
        return Delivery(time, self.origin, recipient, reply, new_message, new_recipient)


MOST_OPEN = 200_000
"""Messages without an end that are kept in mind; the oldest are forgotten."""


def make_room(messages: dict[str, Open]) -> None:
    """Forget the oldest of too many open messages."""
    while len(messages) >= MOST_OPEN:
        del messages[next(iter(messages))]
