"""What an answer of the world says about the sender of a message, for its reputation and for the way of delivery."""

from __future__ import annotations

from collections.abc import Iterable

from outbound_guard.delivery.answers import meaning_of
from outbound_guard.reply import SUPPRESSED, Reply


def outcome_of(reply: Reply) -> str:
    """What a reply says about the sender: one of reputation.OUTCOMES. What it means is decided by answers.toml.

    A temporary answer says "later" unless it is about policy (4.7) and names abuse: scanners fail and servers are busy.
    That our own address is refused, or a mailbox is full, says nothing about the sender either.
    """
    if reply.accepted:
        return "delivered"
    meaning = meaning_of(reply)
    match meaning.coarse:
        case "our_address_blocked":
            return "our_address"
        case "mailbox_full":
            return "later"
        case "unknown_user" if not reply.temporary:
            return "unknown_user"
    if meaning.class_ == "dns.recipient" and not reply.temporary:
        return "unknown_user"  # A list has addresses of domains that are gone, too.
    if reply.temporary:
        return "refused" if meaning.abuse == "named" and reply.enhanced.startswith("4.7.") else "later"
    return "later" if meaning.abuse == "no" else "refused"


def refuses_us(reply: Reply) -> bool:
    """True if a reply refuses our own address, whatever the message is."""
    return outcome_of(reply) == "our_address"


def outcomes_of(replies: Iterable[Reply]) -> list[tuple[str, int]]:
    """The classes of some replies, and how often each came; what we have answered for the world is none of it."""
    times: dict[str, int] = {}
    for reply in replies:
        if not reply.text.startswith(SUPPRESSED):
            outcome = outcome_of(reply)
            times[outcome] = times.get(outcome, 0) + 1
    return list(times.items())
