"""Where is my mail: messages by address, id, account or time, and the whole story of one of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import msgspec

from outbound_guard.config import Config
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.messages.fates import Fate, InSpool, Known, fates
from outbound_guard.desk.messages.story import Event, events, notes
from outbound_guard.ledger import message_queries, queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.message_queries import NEWEST, Found, History, Place, Row, Search
from outbound_guard.mail import time_of
from outbound_guard.spool import NotInSpool, Spool

WORDS = {
    "delivered": "delivered",
    "refused": "refused",
    "given_up": "given up",
    "returned": "returned to the sender",
    "deleted": "deleted",
    "with_client": "left with the client, which tries again",
    "trying": "still tried",
    "held": "held",
    "quarantine": "in quarantine",
    "unknown": "not known",
}
"""How the states of recipients are named to people."""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about one message. Times are unix seconds."""

    id: str
    received: float
    account: str
    sender: str
    mail_from: str
    subject: str
    message_id: str
    recipients: tuple[Fate, ...]
    final: bool
    """True if nothing more will be done for any recipient."""
    summary: str
    """What came of it, in one sentence."""
    held: str
    """The state in which it is or was held; empty: it never was."""
    in_spool: str
    """The state it has in this machine's spool; empty: it is not there."""
    signals: tuple[dict[str, Any], ...]
    """What was said about it: name, weight, reason, volume, shadow."""
    score: float
    action: str
    events: tuple[Event, ...]
    unknown: tuple[str, ...]
    """What cannot be told, and why; sentences."""


async def message_search(ledger: Ledger, search: Search) -> Found:
    """A page of messages, newest first. An id of ours in `message_id` finds that message. Raises LedgerError."""
    asked = search.message_id.strip(" \t<>")
    if time_of(asked) is not None and search.after == NEWEST:
        one = await asyncio.to_thread(message_queries.by_id, ledger, asked)
        if one is not None:
            return Found((one,), None, 0.0)
    address = search.address.strip(" \t<>")
    wanted = msgspec.structs.replace(search, message_id=asked, address=address, subject=search.subject.strip())
    return await asyncio.to_thread(message_queries.search, ledger, wanted)


def place_text(place: Place | None) -> str:
    """A place in the order of messages as one word, for addresses of pages and command lines; empty for None."""
    return f"{place[0]!r}-{place[1]}" if place else ""


def place_of(text: str) -> Place:
    """The place that such a word names; empty: the beginning. Raises DeskError."""
    if not text:
        return NEWEST
    received, dash, id_ = text.partition("-")
    try:
        if not dash or not 0 <= float(received) < 1e12:
            raise ValueError
        return float(received), id_
    except ValueError:
        raise DeskError(f"{text!r} is no place to go on from") from None


async def story(ledger: Ledger, spool: Spool, config: Config, id_: str) -> Story:
    """The whole story of one message. Raises DeskError if nothing is known of it, LedgerError."""
    decision, history, again = await asyncio.to_thread(_read, ledger, id_)
    try:
        entry, progress, state = await spool.find(id_)
        in_spool = InSpool(entry, progress, state)
    except (NotInSpool, OSError):
        in_spool = None
    if decision is None and in_spool is None and not (history.held or history.deliveries):
        raise DeskError(_unknown(id_, config.ledger.keep_days))
    known = Known(
        id=id_,
        decision=decision,
        history=history,
        spool=in_spool,
        again=again,
        hold_expiry=config.spool.hold_expiry,
    )
    return _told(known, keep_days=config.ledger.keep_days, alone=config.ledger.url == "embedded")


def _told(known: Known, *, keep_days: int, alone: bool) -> Story:
    came = fates(known)
    decision = known.decision or {}
    entry = known.spool.entry if known.spool else None
    held = known.history.held or {}

    def field(name: str, of_entry: Any) -> Any:
        return decision.get(name) or held.get(name) or (of_entry if entry else "")

    return Story(
        id=known.id,
        received=field("received", entry and entry.received) or time_of(known.id) or 0.0,
        account=field("account", entry and entry.account),
        sender=field("sender", entry and entry.sender),
        mail_from=field("mail_from", entry and entry.envelope.mail_from),
        subject=field("subject", entry and entry.subject),
        message_id=decision.get("message_id", ""),
        recipients=tuple(came),
        final=bool(came) and all(fate.final for fate in came),
        summary=_summary(came),
        held=held.get("state", ""),
        in_spool=known.spool.state if known.spool else "",
        signals=tuple(decision.get("signals", ())),
        score=decision.get("score", entry.score if entry else 0.0),
        action=decision.get("action", entry.action if entry else ""),
        events=tuple(events(known)),
        unknown=tuple(notes(known, came, keep_days=keep_days, alone=alone)),
    )


def _summary(came: list[Fate]) -> str:
    numbers = Counter(fate.state for fate in came)
    if not numbers:
        return "What came of it is not known."
    if len(came) == 1:
        return f"{WORDS[came[0].state].capitalize()}."
    if len(numbers) == 1:
        return f"All {len(came)} recipients: {WORDS[came[0].state]}."
    return f"Of {len(came)} recipients: {', '.join(f'{number} {WORDS[state]}' for state, number in numbers.items())}."


def _read(ledger: Ledger, id_: str) -> tuple[Row | None, History, list[Row]]:
    decision = queries.decision_one(ledger, id_)
    history = message_queries.history(ledger, id_)
    return decision, history, message_queries.again(ledger, decision) if decision else []


def _unknown(id_: str, keep_days: int) -> str:
    received = time_of(id_)
    if received is None:
        return f"no message {id_}: that is no id of ours"
    day = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(received))
    return f"nothing is known of message {id_}, which by its id came in {day}: decisions are kept for {keep_days} days"
