"""Reply classes: what an answer of the world says about the sender of a message."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from outbound_guard.reply import Reply

_NO_SUCH_USER = re.compile(
    r"user.{0,20}unknown|unknown.{0,20}(?:user|recipient|mailbox|address)"
    r"|no such (?:user|mailbox|recipient|address|person)"
    r"|(?:does not|doesn't|not) exist|mailbox (?:unavailable|not found)|recipient (?:rejected|not found|unknown)"
    r"|(?:have|has) an? (?:\S+ )?account|account.{0,30}(?:disabled|inactive|closed)"
    r"|invalid (?:recipient|mailbox|address)",
    re.I,
)
_OUR_ADDRESS = re.compile(
    r"block ?list|black ?list|listed (?:at|by|in|on)|\bdnsbl\b|\brbl\b|spamhaus|sender.{0,20}ip\b"
    r"|\bip\b.{0,40}(?:reputation|blocked)|client host.{0,40}blocked|part of their network",
    re.I,
)
_ABUSE = re.compile(
    r"spam|unsolicited|bulk|content|virus|phish|malware|policy|abuse|reputation|complaints?|suspicious"
    r"|rate.?limited|too many",
    re.I,
)
_FULL = re.compile(r"full|quota|storage|over.?limit", re.I)


def outcome_of(reply: Reply) -> str:
    """What a reply says about the sender: one of reputation.OUTCOMES.

    Temporary answers count as "later" unless they name abuse; a full mailbox says nothing about the sender either.
    """
    if reply.accepted:
        return "delivered"
    about_user = reply.enhanced.startswith(("5.1.", "5.5.0"))
    if reply.permanent and not _FULL.search(reply.text) and (about_user or _NO_SUCH_USER.search(reply.text)):
        return "unknown_user"
    if _OUR_ADDRESS.search(reply.text):
        return "our_address"
    if _ABUSE.search(reply.text) and not _FULL.search(reply.text):
        return "refused"
    return "later"


def outcomes_of(replies: Iterable[Reply]) -> list[tuple[str, int]]:
    """The classes of some replies, and how often each came."""
    return list(Counter([outcome_of(reply) for reply in replies]).items())
