"""The directory of accounts from a CSV file, or from a list of entries."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Sequence

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.desk.accounts.entries import check_name, check_text
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import directory_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import AccountEntry, Audit

COLUMNS = ("account", "sender", "name", "contact", "note")
SHOWN = 200
"""Lines of a plan."""


class NewEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry that is to be in the directory. Empty texts leave what is known; senders are added, or moved here."""

    account: str
    name: str = ""
    contact: str = ""
    note: str = ""
    senders: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an import would change, or has changed."""

    accounts: int
    """In the file."""
    senders: int
    new: int
    """Accounts that are not in the directory yet."""
    changed: int
    """Accounts that are, of which a text changes."""
    added: int
    """Senders and patterns that nobody has yet."""
    moved: int
    """Those that belong to another account now."""
    lines: tuple[str, ...]
    """The first of the changes, in words: those that take something from somebody before the others."""
    more: int
    """How many changes are not in `lines`."""


async def import_accounts(journal: Journal, clock: Clock, text: str, *, by: str) -> tuple[int, int]:
    """Take in a CSV file: a heading with `account` and any of `sender, name, contact, note`, then a line a sender.

    Returns the number of accounts and of senders. Raises DeskError with the line, and then nothing is taken in.
    """
    return _take(journal, clock, entries_of_csv(text), by)


async def import_entries(
    ledger: Ledger, journal: Journal, clock: Clock, entries: Sequence[NewEntry], *, by: str, dry: bool = False
) -> Plan:
    """Take entries in, all or none; with `dry` only say what would change. Raises DeskError, LedgerError."""
    _check(entries)
    plan = await asyncio.to_thread(_plan, ledger, entries)
    if not dry:
        _take(journal, clock, entries, by)
    return plan


def entries_of_csv(text: str) -> list[NewEntry]:
    """The entries of a CSV file. Raises DeskError with the line of a mistake."""
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    found: dict[str, NewEntry] = {}
    owner: dict[str, str] = {}
    columns: list[str] | None = None
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if columns is None:
                columns = [cell.lower() for cell in cells]
                _check_heading(columns)
                continue
            if len(cells) != len(columns):
                raise DeskError(f"line {rows.line_num}: {len(cells)} fields instead of {len(columns)}")
            value = dict.fromkeys(COLUMNS, "") | dict(zip(columns, cells, strict=True))
            account, sender = value["account"], value["sender"]
            if not account:
                raise DeskError(f"line {rows.line_num}: no account")
            if sender and owner.setdefault(sender.lower(), account) != account:
                raise DeskError(f"line {rows.line_num}: {sender!r} belongs to {owner[sender.lower()]!r} already")
            known = found.get(account) or NewEntry(account=account)
            found[account] = msgspec.structs.replace(
                known,
                name=value["name"] or known.name,
                contact=value["contact"] or known.contact,
                note=value["note"] or known.note,
            )
    except csv.Error as error:
        raise DeskError(f"line {rows.line_num}: {error}") from error
    if columns is None:
        raise DeskError("the file is empty")
    senders: dict[str, list[str]] = {}
    for sender, account in owner.items():
        senders.setdefault(account, []).append(sender)
    return [msgspec.structs.replace(entry, senders=tuple(senders.get(account, ()))) for account, entry in found.items()]


def _take(journal: Journal, clock: Clock, entries: Sequence[NewEntry], by: str) -> tuple[int, int]:
    now = clock.now()
    records = [AccountEntry(time=now, **msgspec.structs.asdict(entry)) for entry in entries]
    senders = sum(len(entry.senders) for entry in entries)
    detail = f"{len(entries)} accounts, {senders} senders"
    on_disk(journal, *records, Audit(time=now, by=by, what="account.import", detail=detail))
    return len(entries), senders


def _check(entries: Sequence[NewEntry]) -> None:
    if not entries:
        raise DeskError("there is nothing to take in")
    accounts: set[str] = set()
    owner: dict[str, str] = {}
    for entry in entries:
        check_name("account", entry.account)
        for text in (entry.name, entry.contact, entry.note):
            check_text(text)
        if entry.account in accounts:
            raise DeskError(f"{entry.account!r} is in it twice")
        accounts.add(entry.account)
        for sender in entry.senders:
            check_name("sender", sender)
            if owner.setdefault(sender.lower(), entry.account) != entry.account:
                raise DeskError(f"{sender!r} is both of {owner[sender.lower()]!r} and of {entry.account!r}")


def _plan(ledger: Ledger, entries: Sequence[NewEntry]) -> Plan:
    known = directory_queries.accounts(ledger)
    owners = directory_queries.mapping(ledger)
    moves, others = [], []
    new = changed = added = 0
    for entry in entries:
        before = known.get(entry.account)
        if before is None:
            new += 1
            others.append(f"{entry.account} is new")
        else:
            texts = [name for name in ("name", "contact", "note") if getattr(entry, name) not in ("", before[name])]
            changed += bool(texts)
            others += [f"{entry.account}: {name} becomes “{getattr(entry, name)[:100]}”" for name in texts]
        for sender in entry.senders:
            owner = owners.get(sender)
            if owner is None:
                added += 1
                others.append(f"{entry.account}: {sender} is added")
            elif owner != entry.account:
                moves.append(f"{entry.account}: {sender} moves here from {owner}")
    lines = moves + others
    return Plan(
        accounts=len(entries),
        senders=sum(len(entry.senders) for entry in entries),
        new=new,
        changed=changed,
        added=added,
        moved=len(moves),
        lines=tuple(lines[:SHOWN]),
        more=max(0, len(lines) - SHOWN),
    )


def _check_heading(columns: list[str]) -> None:
    if "account" not in columns or len(set(columns)) < len(columns) or not set(columns) <= set(COLUMNS):
        raise DeskError(f"line 1: the heading must name account and any of {', '.join(COLUMNS[1:])}, each once")
