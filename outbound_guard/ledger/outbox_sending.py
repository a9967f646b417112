"""What the one who sends notices writes into the outbox, with the writer's ledger. Sync; all raise LedgerError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import update

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.schema import upsert
from outbound_guard.ledger.tables import outbox, outbox_sending

Row = dict[str, Any]


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A notice is to go by a route."""

    notice: int
    route: str
    created: float
    due: float
    expires: float
    grouped: str = ""


def route(ledger: Ledger, notices: Sequence[int], ways: Sequence[Way]) -> None:
    """These notices go by these ways, and by no others."""
    with ledger.connection() as connection:
        if ways:
            empty = {"state": "waiting", "attempts": 0, "tried": 0.0, "answer": "", "letter": "", "addressee": ""}
            statement = upsert(connection, outbox_sending).on_conflict_do_nothing()
            connection.execute(statement, [msgspec.structs.asdict(way) | empty for way in ways])
        connection.execute(update(outbox).where(outbox.c.serial.in_(notices)).values(routed=True))


def claim(ledger: Ledger, serials: Sequence[int], old: str, letter: str, now: float, due: float) -> bool:
    """They go out together as `letter`, now. Should that never come to an end, they are due again at `due`.

    `old` is the letter that they had when they were read. False, and nothing is changed, if another host has begun to
    send one of them since then, or a person has decided about it.
    """
    c = outbox_sending.c
    # Who claims a letter that was tried keeps its id, and puts off when it is due; what has no letter yet goes out
    # with the first of its group, before its own time.
    mine = c.serial.in_(serials) & (c.state == "waiting") & (c.letter == old) & ((c.letter == "") | (c.due <= now))
    with ledger.connection() as connection:
        claimed = connection.execute(update(outbox_sending).where(mine).values(letter=letter, due=due)).rowcount
        if claimed != len(serials):
            connection.rollback()
    return claimed == len(serials)


def note(ledger: Ledger, serials: Sequence[int], **fields: Any) -> None:
    """Write down how a try has gone: `fields` are columns of `outbox_sending`. What a person did meanwhile stays."""
    with ledger.connection() as connection:
        mine = outbox_sending.c.serial.in_(serials) & (outbox_sending.c.state == "waiting")
        connection.execute(update(outbox_sending).where(mine).values(**fields))


def expire(ledger: Ledger, route_name: str, now: float) -> int:
    """Give up what should have been sent by a route before now; how many they were. The last answer stays."""
    with ledger.connection() as connection:
        c = outbox_sending.c
        late = (c.state == "waiting") & (c.route == route_name) & (c.expires < now)
        connection.execute(update(outbox_sending).where(late, c.answer == "").values(answer="its time was up"))
        return connection.execute(update(outbox_sending).where(late).values(state="failed")).rowcount
