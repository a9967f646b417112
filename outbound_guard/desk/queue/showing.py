"""One queued message: for whom it waits, why, what is done next, and when it is given up."""

from __future__ import annotations

import asyncio

import msgspec

from outbound_guard.config import Delivery
from outbound_guard.delivery.answers import meaning_of
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.queue.acts import QUEUED
from outbound_guard.desk.queue.waiting import Waiting, waiting
from outbound_guard.ledger import message_queries
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.reply import Reply
from outbound_guard.spool import Entry, NotInSpool, Progress, Spool, last_reply


class LastAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Where a recipient stands. Texts are what other servers wrote."""

    recipient: str
    state: str
    """waiting, or settled: delivered or given up before"""
    answer: str
    """The last one, on one line; empty: none is known."""
    class_: str = msgspec.field(name="class")
    """What it means; empty if there is no answer."""
    side: str
    """Whose side its cause lies on: provider | customer | recipient | receiver; empty if there is no answer."""
    advice: str
    """What can be done about it; empty: nothing but to wait."""
    peer: str
    """The next hop that said so, as far as the ledger knows it."""
    time: float
    """When (unix seconds); 0: not known."""


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipient was answered once."""

    time: float
    """Unix seconds."""
    recipient: str
    code: int
    enhanced: str
    text: str
    peer: str
    """The next hop that said so; empty: it was our own answer."""
    source_address: str
    """The address of ours from which it was tried, where that is known."""


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did with the message."""

    time: float
    """Unix seconds."""
    by: str
    what: str
    detail: str


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about a queued message but its content. Times are unix seconds."""

    message: Waiting
    expires: float
    """When it is given up if nobody takes it."""
    action: str
    score: float
    reasons: tuple[str, ...]
    client_ip: str
    report_to: str
    """Who is told if it is given up; empty: nobody."""
    about: str
    """Of a report of our own: the message that it is about."""
    recipients: tuple[LastAnswer, ...]
    """All of the envelope, in its order."""
    tries: tuple[Try, ...]
    """The answers that the ledger knows, the newest first."""
    audit: tuple[Done, ...]
    """What people did with it."""


_TRIES = 50


async def show(spool: Spool, ledger: Ledger | None, delivery: Delivery, id_: str) -> Queued:
    """A queued message, as of now. Without a ledger, or if it cannot be read, its history is left out.

    Raises DeskError if it is not queued or its file cannot be read.
    """
    try:
        entry, progress, state = await spool.find(id_)
    except NotInSpool:
        raise DeskError(f"no queued message {id_} in this machine's spool") from None
    except OSError as error:
        raise DeskError(f"{id_} cannot be read: {error.strerror or error}") from error
    if state not in QUEUED:
        raise DeskError(f"{id_} is not queued: it is {'held' if state == 'held' else 'in quarantine'}")
    tries, done = await asyncio.to_thread(_history, ledger, id_) if ledger else ([], [])
    return _queued(entry, progress, delivery, tries, done)


def _history(ledger: Ledger, id_: str) -> tuple[list[Try], list[Done]]:
    try:
        known = message_queries.history(ledger, id_)
    except LedgerError:
        # The queue is the spool's; what the ledger would add is not worth an error.
        return [], []
    return (
        [Try(**{name: row[name] for name in Try.__struct_fields__}) for row in known.deliveries],
        [Done(**{name: row[name] for name in Done.__struct_fields__}) for row in known.audit],
    )


def _queued(entry: Entry, progress: Progress, delivery: Delivery, tries: list[Try], done: list[Done]) -> Queued:
    whole = waiting(entry, progress, most=0)
    left = set(whole.recipients)
    last = {one.recipient: one for one in tries}
    return Queued(
        message=whole,
        expires=whole.since + delivery.expiry,
        action=entry.action,
        score=entry.score,
        reasons=entry.reasons,
        client_ip=entry.client_ip,
        report_to=entry.bounce_to if whole.returnable else "",
        about=entry.meta.get("about", "") if whole.report else "",
        recipients=tuple(
            _last(recipient, recipient in left, last_reply(entry, progress, recipient), last.get(recipient))
            for recipient in dict.fromkeys(entry.envelope.recipients)
        ),
        tries=tuple(reversed(tries[-_TRIES:])),
        audit=tuple(done),
    )


def _last(recipient: str, left: bool, said: Reply | None, known: Try | None) -> LastAnswer:
    if said is None and known is not None:
        said = Reply(known.code, known.enhanced, known.text)
    meaning = meaning_of(said) if said and not said.accepted else None
    return LastAnswer(
        recipient=recipient,
        state="waiting" if left else "settled",
        answer=" ".join(str(said).split()) if said else "",
        class_=meaning.class_ if meaning else "",
        side=meaning.side if meaning else "",
        advice=meaning.advice if meaning else "",
        peer=known.peer if known else "",
        time=known.time if known else 0.0,
    )
