"""What can be done with a queued message, step by step: take it, write it down, do it.

retry: try it now; when it expires stays as it was. hold: keep it until a person decides, as other held mail. bounce:
give its recipients up; its sender is told, if the account owns the address (RFC 5321 6.1: no backscatter).
"""

from __future__ import annotations

import asyncio
from typing import Literal

import msgspec

from outbound_guard import reply
from outbound_guard.delivery.bounce import CODE, write_bounce
from outbound_guard.delivery.retry import recipients_left
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.queue.waiting import Fit, waiting
from outbound_guard.ledger.records import Delivered, HeldChange, Record
from outbound_guard.spool import Busy, Entry, Failure, Lease, NotInSpool, Progress, Spool, last_reply

Act = Literal["retry", "hold", "bounce"]
DONE = {"retry": "tried again", "hold": "held", "bounce": "given up"}
"""What a message is after that was done."""
QUEUED = ("incoming", "queue")
_TRIES = 5
_PAUSE = 0.2
"""Seconds until a message is asked for again that is being delivered, or has just moved."""


class InHand(DeskError):  # noqa: N818 - the name says what the message is
    """It is being delivered right now; a little later it can be done, if it is still needed."""


class Gone(DeskError):  # noqa: N818 - the name says what the message is
    """The message is not queued any more, or not any more as it was meant."""


async def take(spool: Spool, id_: str, act: Act, tries: int = _TRIES, pause: float = _PAUSE) -> Lease:
    """A queued message that nobody else can touch until it is closed. Raises DeskError."""
    for attempt in range(tries):
        if attempt:
            await asyncio.sleep(pause)
        try:
            _, _, state = await spool.find(id_)
        except NotInSpool:
            raise Gone(f"no queued message {id_} in this machine's spool") from None
        except OSError as error:
            raise DeskError(f"{id_} cannot be read: {error.strerror or error}") from error
        if state not in QUEUED:
            raise Gone(f"{id_} is not queued: it is {'held' if state == 'held' else 'in quarantine'}")
        try:
            message = await spool.lease(id_, state)
        except (NotInSpool, Busy):
            # It is being delivered, or was taken in between the two looks.
            continue
        except OSError as error:
            raise DeskError(f"{id_} cannot be read: {error.strerror or error}") from error
        return _usable(message, act)
    raise InHand(f"{id_} is being delivered right now; try again")


def _usable(message: Lease, act: Act) -> Lease:
    id_, entry = message.entry.id, message.entry
    if act == "hold" and entry.code == CODE:
        message.close()
        raise DeskError(f"{id_} is a report of our own: it can be tried or given up, not held")
    if (act == "hold" and message.progress.failed) or (act != "retry" and message.progress.relayed):
        message.close()
        raise InHand(f"the report about {id_} is still to be written; try again")
    return message


def recipients_meant(message: Lease, fit: Fit | None) -> tuple[str, ...]:
    """Its recipients that are meant, as they are now. Raises Gone if there are none any more."""
    known = waiting(message.entry, message.progress, most=0)
    meant = known.recipients if fit is None else fit.recipients(known) if fit.message(known) else ()
    if not meant:
        raise Gone(f"{message.entry.id} does not fit any more")
    return meant


def records(act: Act, message: Lease, meant: tuple[str, ...], now: float, by: str, reason: str) -> list[Record]:
    """What is written down before it is done, besides the audit of the decision. `now`: unix seconds."""
    id_ = message.entry.id
    if act == "hold":
        return [HeldChange(id=id_, time=now, to="held", by=by, reason=reason or "taken out of the queue")]
    if act == "bounce":
        return [
            Delivered(id_, now, failure.recipient, failure.reply.code, failure.reply.enhanced, failure.reply.text)
            for failure in _failures(message, meant, now, reason)
        ]
    return []


async def perform(
    act: Act, spool: Spool, message: Lease, meant: tuple[str, ...], now: float, reason: str, hostname: str
) -> None:
    """Do it; `hostname` is who reports to the sender. Raises OSError, and then the message is where it was."""
    progress = message.progress
    if act == "retry":
        await message.save(msgspec.structs.replace(progress, due=now))
        # The delivery process looks there each second; what lies in `queue` it knows already, with its old time.
        await message.move("incoming")
    elif act == "hold":
        await message.save(msgspec.structs.replace(progress, due=0.0))
        await message.move("held")
    else:
        await _give_up(spool, message, meant, now, reason, hostname)


async def _give_up(
    spool: Spool, message: Lease, meant: tuple[str, ...], now: float, reason: str, hostname: str
) -> None:
    entry, progress = message.entry, message.progress
    failures = (*progress.failed, *_failures(message, meant, now, reason))
    # First the report, then the progress: twice is better than never.
    await write_bounce(spool, entry, failures, message.content, hostname=hostname, now=now)
    left = tuple(recipient for recipient in recipients_left(entry, progress) if recipient not in meant)
    if not left:
        await message.remove()
        return
    replies = {recipient: said for recipient, said in progress.replies.items() if recipient in left}
    await message.save(msgspec.structs.replace(progress, remaining=left, replies=replies, failed=()))


def _failures(message: Lease, meant: tuple[str, ...], now: float, reason: str) -> list[Failure]:
    entry: Entry = message.entry
    progress: Progress = message.progress
    return [
        Failure(recipient, reply.given_up(reason, last_reply(entry, progress, recipient), entry.id), "", now)
        for recipient in meant
    ]


def taken_back(act: Act, message: Lease, meant: tuple[str, ...], now: float, error: OSError) -> list[Record]:
    """If it failed: the records that say so."""
    why = f"could not be {DONE[act]}: {error.strerror or error}"
    id_ = message.entry.id
    if act == "hold":
        return [HeldChange(id=id_, time=now, to="released", reason=why)]
    if act == "bounce":
        said = reply.OUR_FAULT
        return [
            Delivered(id_, now, recipient, said.code, said.enhanced, f"OG-FAULT {why}", final=False)
            for recipient in meant
        ]
    return []
