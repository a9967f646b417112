"""What can be done with a held message, step by step: take it, write it down, do it, or take back what was written.

For one message (`desk.held.mail`) and for thousands (`desk.held.bulk_work`) alike.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from outbound_guard import reply
from outbound_guard.delivery.bounce import may_bounce, write_bounce
from outbound_guard.delivery.retry import recipients_left
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger.records import Audit, HeldChange, Record
from outbound_guard.spool import Busy, Entry, Failure, Lease, NotInSpool, Spool

Act = Literal["release", "delete", "return"]
DONE = {"release": "released", "delete": "deleted", "return": "returned"}
"""The state of a message to which that was done."""
OPEN = ("held", "quarantine")
RETURNED = "OG-RETURNED"
"""The word in the report to the sender (docs/replies.md)."""


class InHand(DeskError):  # noqa: N818 - the name says what the message is
    """Somebody else works on the message right now; a little later it can be done."""


class Gone(DeskError):  # noqa: N818 - the name says what the message is
    """The message is not held any more."""


async def take(spool: Spool, id_: str, act: Act) -> Lease:
    """A held message that nobody else can touch until it is closed. Raises DeskError."""
    try:
        _, _, state = await spool.find(id_)
        if state not in OPEN:
            raise Gone(f"{id_} is not held any more: it is being delivered")
        message = await spool.lease(id_, state)
    except NotInSpool:
        raise Gone(f"no held message {id_} in this machine's spool") from None
    except Busy:
        raise InHand(f"{id_} is in somebody else's hands right now; try again") from None
    except OSError as error:
        raise DeskError(f"{id_} cannot be read: {error.strerror or error}") from error
    if act == "return" and not may_bounce(message.entry):
        message.close()
        raise DeskError(f"{id_} cannot be returned: {cannot_return(message.entry.envelope.mail_from)}")
    return message


def cannot_return(mail_from: str) -> str:
    """Why a message with this envelope sender goes back to nobody."""
    if not mail_from:
        return "it has no sender to return it to"
    return f"the account does not own {mail_from}, and a report to a stranger would be backscatter"


def records(act: Act, id_: str, now: float, by: str, reason: str, detail: str = "") -> tuple[Record, Record]:
    """What is written down before it is done (`detail` in the audit instead of `reason`). `now`: unix seconds."""
    return (
        HeldChange(id=id_, time=now, to=DONE[act], by=by, reason=reason),
        Audit(time=now, by=by, what=f"held.{act}", subject=id_, detail=detail or reason),
    )


async def perform(act: Act, spool: Spool, message: Lease, now: float, hostname: str) -> None:
    """Do it; `hostname` is who reports to the sender. Raises OSError, and then the message is where it was."""
    if act == "release":
        # Its time in the queue begins now.
        await message.save(msgspec.structs.replace(message.progress, due=now, since=now, released=True))
        await message.move("incoming")
        return
    if act == "return":
        entry = message.entry
        why = reply.refused(RETURNED, "was held for review and is returned by the abuse desk", entry.id)
        failures = [Failure(recipient, why, "", now) for recipient in recipients_left(entry, message.progress)]
        await write_bounce(spool, entry, failures, message.content, hostname=hostname, now=now)
    await message.remove()


def taken_back(act: Act, message: Lease, now: float, error: OSError) -> tuple[Record, DeskError]:
    """If it failed: the record that says so, and the same in words."""
    why = f"could not be {DONE[act]}: {error.strerror or error}"
    entry: Entry = message.entry
    due = message.progress.due or 0.0
    return (
        HeldChange(id=entry.id, time=now, to=message.state, reason=why, due=due),
        DeskError(f"{entry.id} {why}"),
    )
