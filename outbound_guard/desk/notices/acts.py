"""What people decide about notices, each with its audit entry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from outbound_guard.clock import Clock
from outbound_guard.config import Config
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import outbox_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.outbox_queries import Sending
from outbound_guard.ledger.records import Audit, Notice, NoticeAct
from outbound_guard.mail import new_id

MOST = 1000
"""Notices of one act."""
_FROM = {"retry": ("waiting", "failed", "left_out"), "give_up": ("waiting",)}
WHATS = tuple(_FROM)


async def decide(
    ledger: Ledger, journal: Journal, clock: Clock, ids: Sequence[int], what: str, *, by: str, reason: str = ""
) -> list[Sending]:
    """Try notices again now, or give them up, all or none of them; as they were. `ids`: serials of sendings.

    What goes out in one letter with one of them shares its fate. Raises DeskError, LedgerError.
    """
    if what not in _FROM:
        raise DeskError(f"{what!r} is none of {', '.join(WHATS)}")
    ids = list(dict.fromkeys(ids))
    if not ids:
        raise DeskError("no notice was named")
    if len(ids) > MOST:
        raise DeskError(f"{len(ids)} are too many at once; at most {MOST}")
    known = await asyncio.to_thread(outbox_queries.some, ledger, [id_ for id_ in ids if 0 < id_ < 2**63])
    found = []
    for id_ in ids:
        sending = known.get(id_)
        if sending is None:
            raise DeskError(f"there is no notice {id_}")
        if sending.state not in _FROM[what]:
            raise DeskError(f"notice {id_} is {sending.state.replace('_', ' ')}; nothing was changed")
        found.append(sending)
    now = clock.now()
    audit = [
        Audit(
            time=now,
            by=by,
            what=f"notice.{what}",
            subject=str(one.serial),
            detail=", ".join(text for text in (f"{one.notice.kind} by {one.route}", reason) if text),
        )
        for one in found
    ]
    on_disk(journal, NoticeAct(now, what, tuple(ids), by), *audit)
    return found


def try_route(config: Config, journal: Journal, clock: Clock, route: str, *, account: str = "", by: str) -> Notice:
    """Put a notice of kind `test` into the outbox, for one route. `account`: whose contact is written to.

    Raises DeskError.
    """
    settings = next((one for one in config.notice if one.name == route), None)
    if settings is None:
        known = ", ".join(one.name for one in config.notice)
        raise DeskError(
            f"there is no route {route!r}; {f'there are {known}' if known else 'the configuration has none'}"
        )
    if settings.to == "customer" and not account:
        raise DeskError(f"route {route} goes to customers; name the account whose contact is to get the test")
    now = clock.now()
    notice = Notice(key=f"test:{new_id(now)}", time=now, kind="test", account=account, to=route)
    on_disk(journal, notice, Audit(time=now, by=by, what="notice.test", subject=route, detail=account))
    return notice
