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
    r"\bOG-LISTED\b|block ?list|black ?list|listed (?:at|by|in|on)|\bdnsbl\b|\brbl\b|spamhaus|sender.{0,20}ip\b"
    r"|\bip\b.{0,40}(?:reputation|blocked)|client host.{0,40}blocked|part of their network",
    re.I,
)
_OTHER_LISTED = re.compile(r"\b(?:dbl|surbl|uribl|rhsbl)\b|\b(?:ur[il]|domain)s?\b.{0,60}(?:listed|list\b|block)", re.I)
_AN_ADDRESS = re.compile(
    r"client host|\bips?\b|your (?:mail )?(?:server|host|address)|\b\d{1,3}(?:\.\d{1,3}){3}\b|\[(?:ipv6:)?[0-9a-f:]+\]"
    r"|\bOG-LISTED\b",
    re.I,
)
"""Lists know domains and links too: these are the sender's, unless the text names an address as well."""
_ABUSE = re.compile(
    r"\b(?:dbl|surbl|uribl|rhsbl)\b|spam|unsolicited|bulk|content|virus|phish|malware|policy|abuse|reputation|complaints?|suspicious"
    r"|rate.?limited|too many",
    re.I,
)
_ABUSE_NAMED = re.compile(r"spam|unsolicited|abuse|complaints?|suspicious|reputation", re.I)
_NO_MAILBOX = frozenset(("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"))
"""RFC 3463 3.2: the recipient's address; 5.1.7 and 5.1.8 are about the sender's."""
_FULL = re.compile(r"full|quota|storage|over.?limit", re.I)


def outcome_of(reply: Reply) -> str:
    """What a reply says about the sender: one of reputation.OUTCOMES.

    A temporary answer says "later" unless it is about policy (4.7) and names abuse: scanners fail and servers are busy.
    That our own address is refused, or a mailbox is full, says nothing about the sender either.
    """
    text = reply.text
    if reply.accepted:
        return "delivered"
    if _OUR_ADDRESS.search(text) and (not _OTHER_LISTED.search(text) or _AN_ADDRESS.search(text)):
        return "our_address"
    if _FULL.search(text):
        return "later"
    if reply.temporary:
        return "refused" if reply.enhanced.startswith("4.7.") and _ABUSE_NAMED.search(text) else "later"
    if reply.enhanced in _NO_MAILBOX or _NO_SUCH_USER.search(text):
        return "unknown_user"
    return "refused" if _ABUSE.search(text) else "later"


def refuses_us(reply: Reply) -> bool:
    """True if a reply refuses our own address, whatever the message is."""
    return outcome_of(reply) == "our_address"


def outcomes_of(replies: Iterable[Reply]) -> list[tuple[str, int]]:
    """The classes of some replies, and how often each came."""
    return list(Counter([outcome_of(reply) for reply in replies]).items())
