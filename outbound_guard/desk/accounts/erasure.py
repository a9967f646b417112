"""An account is erased: its messages, what is held of them, its names, its notes, what the relays remember of it.

The order goes through the journal, and the process that writes the ledger carries it out in the background
(`carry_out`), in portions, twice: records of the same moment may be on their way. A crash at any point leaves the
order where it was, and the next run begins it anew. In the end the order forgets the name as well; its id, who gave it
and when, and how much went, stay, and stand in the audit in place of the name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Config
from outbound_guard.desk.accounts.limits import is_in_force
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import account_erasing as erasing
from outbound_guard.ledger import account_one_queries, directory_queries, nodes
from outbound_guard.ledger.account_erasing import Order
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, Erasure
from outbound_guard.mail import new_id
from outbound_guard.reputation import Reputation
from outbound_guard.reputation.portrait import erase, forget_log, keys_of_account
from outbound_guard.spool import Busy, NotInSpool, Spool, State
from outbound_guard.state import StateDown, StateError

log = logging.getLogger(__name__)

GONE = 7 * 86400.0
"""Seconds without a word after which a host that shared the ledger is not waited for any more."""
AGAIN = 5.0
"""Seconds until it is done once more: by then what was under way is in the ledger."""
COMPACT = 1 << 30
"""Octets up to which the ledger's file is written anew at the end."""
_KEPT: tuple[State, ...] = ("held", "quarantine")


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure would remove, and what it cannot reach."""

    account: str
    messages: int
    held: int
    senders: int
    patterns: int
    entered: bool
    notes: int
    standings: int
    suspended: bool
    """A suspension of it, or of one of its senders, is in force: it can be kept, under its name."""
    cases: int
    keys: int | None
    """In the memory of the relays; None: it cannot be asked now, and then nothing will be erased until it can."""
    stays: tuple[str, ...]
    """In sentences."""


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """How far an order has come."""

    id: str
    state: str
    """waiting | once | done"""
    time: float
    by: str
    counts: dict[str, int]
    """What went, or was changed, by kind; complete when it is done."""


async def preview(ledger: Ledger, memory: Reputation, clock: Clock, config: Config, account: str) -> Preview:
    """What would go. Raises DeskError if nothing is known of the account, LedgerError."""
    try:
        keys: int | None = sum([1 async for _ in keys_of_account(memory, account)])
    except StateDown:
        keys = None
    return await asyncio.to_thread(_preview, ledger, clock.now(), config, account, keys)


async def order_erasure(
    ledger: Ledger,
    journal: Journal,
    clock: Clock,
    account: str,
    *,
    typed: str,
    by: str,
    reason: str = "",
    keep_suspension: bool = False,
) -> str:
    """Have an account erased; the id of the order. `typed` must be its name once more. Raises DeskError, LedgerError.

    The reason stands in the audit for as long as that is kept: it should name nobody.
    """
    if typed != account:
        raise DeskError(f"nothing was erased: the name that was typed is not {account}")
    if await asyncio.to_thread(_nothing, ledger, account):
        raise DeskError(f"no account {account}")
    if any(order.account == account for order in await asyncio.to_thread(erasing.orders, ledger)):
        raise DeskError(f"{account} is being erased already")
    now = clock.now()
    order = Erasure(id=new_id(now), time=now, account=account, by=by, keep_suspension=keep_suspension)
    on_disk(journal, order, Audit(time=now, by=by, what="account.erase", subject=order.id, detail=reason))
    return order.id


async def progress(ledger: Ledger, id_: str) -> Erased:
    """How far an order has come. Raises DeskError if there is none, LedgerError."""
    order = await asyncio.to_thread(erasing.order_one, ledger, id_)
    if order is None:
        raise DeskError(f"no erasure {id_}")
    return Erased(id=order.id, state=order.state, time=order.time, by=order.by, counts=order.counts)


async def carry_out(
    writer: Ledger,
    spool: Spool,
    memory: Reputation,
    journal: Journal,
    clock: Clock,
    settled: Callable[[], bool],
    again: float = AGAIN,
    node: str = "",
    leads: bool = True,
) -> int:
    """Carry out what was ordered, as far as it is time; how many orders were finished.

    `writer` is the ledger's writer; `settled` says whether it has all of the journal. Raises LedgerError, OSError; an
    order that fails is tried again with the next call. If other hosts share the ledger, `node` is the name of this one:
    each removes its own files, and then the one that leads the rest; both times.
    """
    finished = 0
    for order in await asyncio.to_thread(erasing.orders, writer):
        if order.state == "once" and (not settled() or clock.now() < order.changed + again):
            continue
        if node and not await _own_files(writer, spool, order, node, clock.now(), leads):
            continue
        before = clock.now() if order.state == "waiting" else order.changed
        try:
            counts = await _erase(writer, spool, memory, order, before)
        except (StateDown, Busy) as error:
            log.warning("an account cannot be erased yet: %s", error)
            continue
        counts = {name: order.counts.get(name, 0) + number for name, number in counts.items()}
        if order.state == "waiting":
            # First the suspicion, the counters and the rest; what was on its way comes with the second time.
            order = msgspec.structs.replace(order, state="once", changed=before, counts=counts)
            await asyncio.to_thread(erasing.note_progress, writer, order)
            continue
        done = msgspec.structs.replace(order, state="done", changed=clock.now(), counts=counts, account="")
        detail = ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "nothing was left"
        journal.write(Audit(time=clock.now(), by=order.by, what="account.erased", subject=order.id, detail=detail))
        await asyncio.to_thread(erasing.note_progress, writer, done)
        await _leave_nothing(writer, memory)
        finished += 1
    return finished


async def _own_files(writer: Ledger, spool: Spool, order: Order, node: str, now: float, leads: bool) -> bool:
    """Remove the files of this host; True if the rest is to be done here, now. Raises LedgerError, OSError."""
    times = 1 if order.state == "waiting" else 2
    gone = await asyncio.to_thread(erasing.files_gone, writer, order.id, times)
    if node not in gone:
        before = now if order.state == "waiting" else order.changed
        try:
            number = await _spooled(writer, spool, order.account, before)
        except Busy as error:
            log.warning("an account cannot be erased yet: %s", error)
            return False
        await asyncio.to_thread(erasing.note_files_gone, writer, order.id, node, times, number)
    if not leads:
        return False
    there = await asyncio.to_thread(nodes.nodes, writer)
    # A file without its row would be taken for a message whose record was lost, and be recorded anew.
    missing = [one.name for one in there if one.name not in (*gone, node) and one.age < GONE]
    if missing:
        log.info("the erasure %s waits for the files of %s", order.id, ", ".join(missing))
    return not missing


async def _erase(writer: Ledger, spool: Spool, memory: Reputation, order: Order, before: float) -> dict[str, int]:
    """All of it once. The spool comes first: a row without a file is known to be over, a file without a row is not."""
    files = await _spooled(writer, spool, order.account, before)
    messages = await asyncio.to_thread(erasing.erase_messages, writer, order.account, before)
    names = await asyncio.to_thread(
        lambda: erasing.erase_names(writer, order.account, order.id, before, keep_suspension=order.keep_suspension)
    )
    keys = await erase(memory, order.account)
    return {"held messages": files, "messages": messages, **names, "keys in memory": keys}


async def _spooled(writer: Ledger, spool: Spool, account: str, before: float) -> int:
    """Remove what is held of it; how many messages. Raises Busy if somebody works on one of them, OSError."""
    known = await asyncio.to_thread(erasing.open_held, writer, account)
    # The ledger may not know of all of them.
    found = await asyncio.to_thread(
        lambda: [
            entry.id
            for state in _KEPT
            for entry in spool.entries(state)
            if entry.account == account and entry.received <= before
        ]
    )
    gone = 0
    for id_ in dict.fromkeys((*known, *found)):
        try:
            _, _, state = await spool.find(id_)
            if state in _KEPT:
                await spool.remove(id_, frm=state)
                gone += 1
        except NotInSpool:
            continue
    return gone


async def _leave_nothing(writer: Ledger, memory: Reputation) -> None:
    """What was removed is not to be found in files either, as far as that can be had; else the log says so."""
    try:
        await forget_log(memory)
    except StateError as error:
        log.warning("the state's append-only file keeps what was erased until it is next written anew: %s", error)
    if not await asyncio.to_thread(writer.compact, COMPACT):
        log.warning("the ledger's file is large and was not written anew; deleted rows were overwritten with zeros")


def _nothing(ledger: Ledger, account: str) -> bool:
    return account_one_queries.seen(ledger, account) is None and not directory_queries.accounts(ledger, account)


def _preview(ledger: Ledger, now: float, config: Config, account: str, keys: int | None) -> Preview:
    if _nothing(ledger, account) and not keys:
        raise DeskError(f"no account {account}")
    standings = directory_queries.standings(ledger, account)
    _, senders = account_one_queries.senders(ledger, account, now, limit=1)
    cases = account_one_queries.cases_naming(ledger, account)
    return Preview(
        account=account,
        messages=account_one_queries.decision_count(ledger, account),
        held=account_one_queries.held_now(ledger, "account", account),
        senders=senders,
        patterns=len(directory_queries.senders_of(ledger, account)),
        entered=bool(directory_queries.accounts(ledger, account)),
        notes=len(account_one_queries.notes(ledger, "account", account)),
        standings=len(standings),
        suspended=any(s.change == "suspended" and is_in_force(s, now) for s in standings),
        cases=len(cases),
        keys=keys,
        stays=tuple(_stays(config, bool(cases))),
    )


def _stays(config: Config, cases: bool) -> Sequence[str]:
    """What an erasure does not reach, of what there is in this installation."""
    data = config.data_dir
    found = [
        "Mail that is queued is delivered or bounced first; what other servers then answer is forgotten "
        f"after {config.ledger.keep_days} days.",
        "The mail log goes where the service writes it, and is kept there for as long as you keep it.",
        "32-bit hashes of its senders stay with the texts and addresses they shared with others, for at most a week.",
        "In the audit stays who did what and when; the erasure's number stands in place of the names.",
    ]
    if config.recording.enabled or config.recording_dir.exists():
        found.append(
            f"Recorded traffic ([recording], {config.recording_dir}) is kept for {config.recording.keep_days} days."
        )
    if _any(data / "journal" / "rejected"):
        found.append(f"Records that could not be stored lie in {data / 'journal' / 'rejected'}; look through them.")
    if _any(data / "spool" / "corrupt"):
        found.append(f"Damaged messages lie in {data / 'spool' / 'corrupt'}; look through them.")
    if cases:
        found.append(
            "Cases stay, with the erasure's number in place of the names; originals of letters are kept for "
            f"{config.cases.original_days} days."
        )
    return found


def _any(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False
