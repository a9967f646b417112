"""Decisions about many held messages at once: what they would do, placing them, taking them back, how far they are.

A decision is placed with the messages it is about, and is due a little later; until then it may be undone. The console
process carries it out (`bulk_work`). A message that is in one decision already is left out of the next, and that is
said. Two that were placed within the same second can share one: then the first that comes to it has it, and the other
reports that it was gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.held.acts import DONE, Act
from outbound_guard.ledger import bulk_queries, user_queries
from outbound_guard.ledger.bulk_queries import Bulk, BulkSummary
from outbound_guard.ledger.bulk_storing import PENDING, take_back
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.held_queries import Search
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, BulkChange, BulkPlaced, Record
from outbound_guard.mail import new_id

DELAY = 30.0
"""Seconds in which a decision can be undone, unless it is said otherwise."""
LONGEST_DELAY = 86_400.0
MOST = 100_000
"""Messages in one decision."""
MOST_NAMED = 10_000
"""Messages that are named one by one."""

Meant = Search | tuple[str, ...]
"""Which messages: all that a search finds, or these ids."""


class Eyes(msgspec.Struct, frozen=True):
    """From how many messages on a decision needs a second person."""

    most: int = 0
    """So many one person decides about; 0: any number."""
    seconds: float = 86_400.0
    """So long a decision waits for the second person; then it expires."""

    def needed(self, number: int) -> bool:
        """True if a decision about so many messages waits."""
        return 0 < self.most < number


NO_EYES = Eyes()


class LeftOut(msgspec.Struct, frozen=True):
    """Messages to which it cannot be done."""

    number: int
    why: str


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision would do."""

    act: str
    """release | delete | return"""
    teach: bool
    meant: str
    """Which messages are meant, in words."""
    number: int
    """Messages to which it would be done."""
    left_out: tuple[LeftOut, ...]
    summary: BulkSummary
    """Of all that are meant and wait."""
    consequences: tuple[str, ...]
    """What it comes to, one sentence each."""


async def preview(reader: Ledger, meant: Meant, act: Act, *, teach: bool = False) -> Preview:
    """What would be done to which messages. Changes nothing. Raises DeskError, LedgerError."""
    check(meant, act, teach=teach)
    found = await asyncio.to_thread(bulk_queries.summary, reader, meant)
    out = []
    if not isinstance(meant, Search) and found.number < len(set(meant)):
        out.append(LeftOut(len(set(meant)) - found.number, "not held any more"))
    if found.engaged:
        out.append(LeftOut(found.engaged, "in another decision that is not carried out yet"))
    if act == "return" and found.returnable < found.number:
        why = "the account does not own the sender's address: a report to it would be backscatter, so they stay"
        out.append(LeftOut(found.number - found.returnable, why))
    free = found.number - found.engaged
    return Preview(
        act=act,
        teach=teach,
        meant=described(meant),
        # What is in another decision may be the very mail that cannot be returned.
        number=min(free, found.returnable) if act == "return" else free,
        left_out=tuple(out),
        summary=found,
        consequences=tuple(_consequences(act, teach, found)),
    )


async def place(
    reader: Ledger,
    journal: Journal,
    clock: Clock,
    meant: Meant,
    act: Act,
    *,
    teach: bool = False,
    by: str,
    reason: str = "",
    delay: float = DELAY,
    person: str = "",
    eyes: Eyes = NO_EYES,
    beside: Callable[[BulkPlaced], Sequence[Record]] = lambda placed: (),
) -> Bulk:
    """Decide. It is carried out `delay` seconds from now, 0: at once. Raises DeskError, LedgerError.

    If it is about more messages than `eyes` lets one person decide about, it waits for a second one; `person` is who
    decides, by the name that a token of theirs does not change. What `beside` makes is recorded in one piece with it.
    """
    check(meant, act, teach=teach)
    if not 0 <= delay <= LONGEST_DELAY:
        raise DeskError(f"a decision is carried out after 0 to {LONGEST_DELAY:.0f} seconds")
    ids = await asyncio.to_thread(bulk_queries.meant_ids, reader, meant, MOST)
    if not ids:
        raise DeskError("nothing that is held fits, or all of it is in another decision already")
    if len(ids) > MOST:
        raise DeskError(f"more than {MOST} messages at once: say more closely which")
    now = clock.now()
    waits = eyes.needed(len(ids))
    placed = BulkPlaced(
        id=new_id(now),
        time=now,
        act=act,
        ids=tuple(ids),
        by=by,
        reason=reason,
        teach=teach,
        due=now + (eyes.seconds if waits else delay),
        meant=described(meant),
        person=(person or by) if waits else "",
        delay=delay if waits else 0.0,
    )
    detail = f"{len(ids)} messages: {placed.meant}" + (f"; {reason}" if reason else "")
    detail += "; waits for a second person" if waits else ""
    what = f"bulk.{act}" + (".teach" if teach else "")
    audit = Audit(time=now, by=by, what=what, subject=placed.id, detail=detail)
    on_disk(journal, placed, audit, *beside(placed))
    return _as_placed(placed)


async def confirm(reader: Ledger, journal: Journal, clock: Clock, id_: str, *, person: str, by: str) -> Bulk:
    """Be the second person: it is carried out after its delay. Raises DeskError, LedgerError."""
    found = await progress(reader, id_)
    if person == found.person:
        raise DeskError(f"{id_} waits for somebody else: who has decided cannot be the second person")
    # One person may have a user with a password and one of the OpenID Connect provider; two of a kind are two people.
    known = await asyncio.to_thread(user_queries.identities, reader, person, found.person)
    if len({bool(issuer) for issuer, _ in known.values()}) > 1:
        raise DeskError(
            f"{id_} waits for somebody else: of {person} and {found.person} one signs in with a password and one at "
            "the provider, so that they may be one person"
        )
    # An admin's stolen session could make its own second person: add one, or take somebody's place by a new password.
    if any(user.changed >= found.time for user in await asyncio.to_thread(user_queries.users, reader, person)):
        raise DeskError(f"{id_} waits for somebody else: {person} was added or changed after it was decided")
    now = clock.now()
    _check_waits(found, now)
    change = BulkChange(id=id_, time=now, state="placed", by=by, due=now + found.delay)
    on_disk(journal, change, Audit(time=now, by=by, what="bulk.confirmed", subject=id_, detail=found.meant))
    return msgspec.structs.replace(found, state="placed", due=change.due, changed=now, changed_by=by, confirmed_by=by)


async def refuse(reader: Ledger, journal: Journal, clock: Clock, id_: str, *, by: str, reason: str = "") -> Bulk:
    """Refuse what waits for a second person; every message stays where it is. Raises DeskError, LedgerError."""
    found = await progress(reader, id_)
    now = clock.now()
    _check_waits(found, now)
    change = BulkChange(id=id_, time=now, state="refused", by=by, due=found.due)
    detail = f"{found.meant}; {reason}" if reason else found.meant
    on_disk(journal, change, Audit(time=now, by=by, what="bulk.refused", subject=id_, detail=detail))
    return msgspec.structs.replace(found, state="refused", changed=now, changed_by=by)


def _check_waits(found: Bulk, now: float) -> None:
    # Nothing is awaited between this look at the time and the journal: who lets it expire looks there first.
    if found.state != bulk_queries.WAITING:
        raise DeskError(f"{found.id} does not wait for a second person: it is {found.state}")
    if now >= found.due:
        raise DeskError(f"too late: {found.id} has expired")


async def undo(
    reader: Ledger, journal: Journal, clock: Clock, id_: str, *, by: str, writer: Ledger | None = None
) -> Bulk:
    """Take a decision back before it is carried out. Raises DeskError (it is too late, or no such), LedgerError.

    `writer` is the ledger's, needed if other hosts share it: there it is settled whether one of them has begun.
    """
    found = await progress(reader, id_)
    now = clock.now()
    # Nothing is awaited between this look at the time and the journal: who carries it out looks there first.
    if found.state not in ("placed", bulk_queries.WAITING) or now >= found.due:
        over = found.state in ("undone", "refused", "expired")
        raise DeskError(f"too late: {id_} is {found.state if over else 'being carried out'} already")
    if writer is not None and writer.shared and not await asyncio.to_thread(take_back, writer, id_, now, by):
        raise DeskError(f"too late: {id_} is being carried out already")
    change = BulkChange(id=id_, time=now, state="undone", by=by)
    on_disk(journal, change, Audit(time=now, by=by, what="bulk.undone", subject=id_, detail=found.meant))
    return msgspec.structs.replace(found, state="undone", changed=now, changed_by=by)


async def progress(reader: Ledger, id_: str) -> Bulk:
    """A decision and how far it has come. Raises DeskError if there is none, LedgerError."""
    found = await asyncio.to_thread(bulk_queries.one, reader, id_)
    if found is None:
        raise DeskError(f"no decision {id_}")
    return found


def check(meant: Meant, act: Act, *, teach: bool) -> None:
    """Refuse what cannot be meant. Raises DeskError."""
    if act not in DONE:
        raise DeskError(f"no such act: {act}")
    if teach and act == "return":
        raise DeskError("to return mail says nothing about it that could be learned")
    if isinstance(meant, Search):
        if meant.empty:
            # Whoever forgets the condition must not let everything go.
            raise DeskError("say which messages: by account, sender, campaign, words or any other condition")
    elif not meant:
        raise DeskError("no message is selected")
    elif len(meant) > MOST_NAMED:
        raise DeskError(f"more than {MOST_NAMED} messages by name: say by a condition which are meant")


def described(meant: Meant) -> str:
    """Which messages are meant, in words."""
    if not isinstance(meant, Search):
        return meant[0] if len(meant) == 1 else f"{len(meant)} selected messages"
    words = {
        "state": "state",
        "account": "account",
        "sender": "sender",
        "recipient": "to",
        "text": "campaign",
        "words": "with",
        "action": "action",
        "signal": "signal",
        "score_from": "score from",
        "score_to": "score to",
    }
    told = [f"{word} {value}" for name, word in words.items() if (value := getattr(meant, name)) not in ("", None)]
    return ", ".join(told) or "received lately"


def _as_placed(placed: BulkPlaced) -> Bulk:
    """As the ledger will have it, which may not know it yet."""
    return Bulk(
        id=placed.id,
        time=placed.time,
        by=placed.by,
        act=placed.act,
        teach=placed.teach,
        reason=placed.reason,
        meant=placed.meant,
        number=len(placed.ids),
        due=placed.due,
        state=bulk_queries.WAITING if placed.person else "placed",
        changed=placed.time,
        changed_by=placed.by,
        remarks=(),
        person=placed.person,
        delay=placed.delay,
        counts={PENDING: len(placed.ids)},
    )


def _consequences(act: Act, teach: bool, found: BulkSummary) -> Sequence[str]:
    told = {
        "release": [
            "They are delivered as soon as the delivery process sees them; what is sent cannot be called back."
        ],
        "delete": ["They are deleted for good, and nobody is told."],
        "return": ["Each goes back to its sender with a report (a bounce), and is deleted here."],
    }[act]
    if teach and act == "release":
        told.append(
            f"What speaks against {_counted(found.senders, 'sender')} is cleared as a mistake of ours, and a "
            "suspension by the score ends."
        )
    if teach and found.texts:
        then = "passes" if act == "release" else "is stopped from everybody"
        told.append(f"{_counted(found.texts, 'text')} marked as {_MARKS[act]}: the same text {then} from now on.")
    if teach:
        told.append("The weights of the signals move a little, once for each sender and text.")
    return told


_MARKS = {"release": "honest", "delete": "abuse"}


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
