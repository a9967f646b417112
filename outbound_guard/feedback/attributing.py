"""Whose message a report is about, and whether that is proven.

Proof is our seal: only who has had the message can show its token, and it leads to that message alone. A report from a
source that the configuration trusts is believed as well. Everything else (our id in a Received field, the Message-ID,
the recipient) is enough to show people what was said, and to nothing more: anybody could have made it up.
"""

from __future__ import annotations

import msgspec

from outbound_guard.accounts.token import Tokens
from outbound_guard.feedback.report import Original, Report
from outbound_guard.ledger import feedback_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.feedback_queries import Message
from outbound_guard.mail import time_of

DAY = 86_400.0
MESSAGE_ID_DAYS = 14
"""Days after which a Message-ID leads to no message any more."""
RECIPIENT_DAYS = 3
"""The same of a recipient alone, which leads to a message only if all it got in that time came from one sender."""


class Attribution(msgspec.Struct, frozen=True):
    """The message that a report is about."""

    message: Message | None = None
    proof: str = ""
    """seal | received | message_id | recipient; empty if there is none."""
    sealed: str = ""
    """Our id out of a token whose seal is right, whether the ledger knows that message or not."""


def attribute(report: Report, ledger: Ledger, tokens: Tokens, now: float) -> Attribution:
    """Find the message; `now` in unix seconds. Raises LedgerError."""
    original = report.original
    sealed = [id_ for token in original.tokens if (id_ := tokens.verify(token))]
    if sealed:
        found = feedback_queries.by_ids(ledger, sealed[:1])
        return Attribution(found[0] if found else None, "seal", sealed[0])
    ids = [id_ for id_ in original.ids if time_of(id_) is not None]
    if ids and (found := feedback_queries.by_ids(ledger, ids)):
        return Attribution(found[0], "received")
    named = [fate.recipient for fate in report.fates] + [fate.also for fate in report.fates] + list(report.recipients)
    wanted = {address.lower() for address in named if address}
    if (message := _by_message_id(original, ledger, wanted, now)) is not None:
        return Attribution(message, "message_id")
    if report.kind == "bounce" and (message := _by_recipient(report, ledger, now)) is not None:
        return Attribution(message, "recipient")
    return Attribution()


def recipient_of(message: Message, *said: str) -> str:
    """Which recipient of the message is meant, in the spelling of its envelope; empty if none of it is."""
    known = {address.lower(): address for address in message.recipients}
    for address in said:
        if address.lower() in known:
            return known[address.lower()]
    # A report that names nobody of the message may have been passed on, or be blacked out.
    return message.recipients[0] if len(message.recipients) == 1 else ""


def _by_message_id(original: Original, ledger: Ledger, wanted: set[str], now: float) -> Message | None:
    since = now - MESSAGE_ID_DAYS * DAY
    for message_id in original.message_ids[:5]:
        found = feedback_queries.by_message_id(ledger, message_id, since)
        if wanted:
            to_them = [message for message in found if wanted & {address.lower() for address in message.recipients}]
            found = to_them or found
        # The client may have sent it again after a 4xx: the newest is the one that was taken.
        if found and len({(message.account, message.sender) for message in found}) == 1:
            return found[0]
    return None


def _by_recipient(report: Report, ledger: Ledger, now: float) -> Message | None:
    for fate in report.fates[:5]:
        for address in dict.fromkeys((fate.also, fate.recipient)):
            found = feedback_queries.by_recipient(ledger, address, now - RECIPIENT_DAYS * DAY) if address else []
            if found and len({(message.account, message.sender) for message in found}) == 1:
                return found[0]
    return None
