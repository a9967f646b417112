"""The directory of accounts from a CSV file."""

from __future__ import annotations

import csv
import io

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import AccountEntry, Audit

COLUMNS = ("account", "sender", "name", "contact", "note")


async def import_accounts(journal: Journal, clock: Clock, text: str, *, by: str) -> tuple[int, int]:
    """Take in a CSV file: a heading with `account` and any of `sender, name, contact, note`, then a line a sender.

    Returns the number of accounts and of senders. Raises DeskError with the line, and then nothing is taken in.
    """
    entries = _parse(text, clock.now())
    senders = sum(len(entry.senders) for entry in entries)
    detail = f"{len(entries)} accounts, {senders} senders"
    on_disk(journal, *entries, Audit(time=clock.now(), by=by, what="account.import", detail=detail))
    return len(entries), senders


def _parse(text: str, now: float) -> list[AccountEntry]:
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    found: dict[str, AccountEntry] = {}
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
            known = found.get(account) or AccountEntry(time=now, account=account)
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


def _check_heading(columns: list[str]) -> None:
    if "account" not in columns or len(set(columns)) < len(columns) or not set(columns) <= set(COLUMNS):
        raise DeskError(f"line 1: the heading must name account and any of {', '.join(COLUMNS[1:])}, each once")
