"""What the table `held` says of a message by itself, so that lists need no decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from outbound_guard.mail import Signal, owned

OPEN = ("held", "quarantine")
"""The states of a message that still waits."""
SHOWN = (
    "mail_from",
    "recipients",
    "recipient_count",
    "subject",
    "action",
    "score",
    "size",
    "text",
    "returnable",
    "signals",
    "search",
)
RECIPIENTS = 10
"""So many recipients of a message are shown and searched; each of them is found by its whole address."""
_SUBJECT, _SEARCHED = 200, 500
"""Characters of the subject, and in all, that are searched: a subject can be longer than a book, an index entry not."""
_json = msgspec.json.Encoder().encode


def shown_of(
    account: str, sender: str, mail_from: str, recipients: Sequence[str], subject: str, signals: Sequence[Signal]
) -> dict[str, Any]:
    """Those of SHOWN that are made from others."""
    first = recipients[:RECIPIENTS]
    against = sorted(
        (signal for signal in signals if not signal.shadow and signal.weight > 0), key=lambda signal: -signal.weight
    )
    return {
        "mail_from": mail_from,
        "recipients": _json(first).decode(),
        "recipient_count": len(recipients),
        "subject": subject,
        "returnable": owned(mail_from, account, sender),
        "signals": "".join(f" {signal.name}" for signal in against) + " " * bool(against),
        "search": folded("\n".join((subject[:_SUBJECT], mail_from, sender, *first)))[:_SEARCHED],
    }


def folded(text: str) -> str:
    """A text for comparison: upper and lower case are one."""
    return text.casefold()
