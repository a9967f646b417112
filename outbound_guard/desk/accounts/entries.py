"""The directory by hand: entries made, changed and removed, and notes written down about accounts and senders."""

from __future__ import annotations

import asyncio

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import account_one_queries, directory_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import AccountEntry, Audit, Note
from outbound_guard.mail import new_id

LONGEST_NAME = 254
"""Characters of an account, a sender or a pattern (RFC 5321 4.5.3.1: of a path)."""
LONGEST_TEXT = 10_000


class EntryChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change in the directory's entry of an account; a new one is made if there is none."""

    account: str
    name: str | None = None
    """None: as it was."""
    contact: str | None = None
    note: str | None = None
    add: tuple[str, ...] = ()
    """Senders, addresses or patterns with `*` that belong to it from now on, whoever had them."""
    remove: tuple[str, ...] = ()


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What a change does."""

    account: str
    new: bool
    """The account was not in the directory."""
    lines: tuple[str, ...]
    """In words, one thing each; empty: nothing changes."""


async def change_entry(
    ledger: Ledger, journal: Journal, clock: Clock, change: EntryChange, *, by: str, dry: bool = False
) -> Changed:
    """Change an entry of the directory; with `dry` only say what would. Raises DeskError, LedgerError."""
    check_name("account", change.account)
    for pattern in change.add:
        check_name("sender", pattern)
    for text in (change.name, change.contact, change.note):
        check_text(text or "")
    done = await asyncio.to_thread(_compared, ledger, change)
    if dry or not (done.lines or done.new):
        return done
    now = clock.now()
    texts = {name: getattr(change, name) for name in ("name", "contact", "note")}
    entry = AccountEntry(
        time=now,
        account=change.account,
        name=change.name or "",
        contact=change.contact or "",
        note=change.note or "",
        senders=change.add,
        emptied=tuple(name for name, text in texts.items() if text == ""),
        gone=change.remove,
    )
    detail = "; ".join(("entered" if done.new else "changed", *done.lines))[:500]
    on_disk(journal, entry, Audit(time=now, by=by, what="account.entry", subject=change.account, detail=detail))
    return done


async def remove_entry(
    ledger: Ledger, journal: Journal, clock: Clock, account: str, *, by: str, reason: str = ""
) -> None:
    """Take an account and its senders out of the directory; what it sent and its standing stay. Raises DeskError."""
    if account not in await asyncio.to_thread(lambda: directory_queries.accounts(ledger, account)):
        raise DeskError(f"{account} is not in the directory")
    now = clock.now()
    on_disk(
        journal,
        AccountEntry(time=now, account=account, removed=True),
        Audit(time=now, by=by, what="account.removed", subject=account, detail=reason),
    )


async def add_note(
    ledger: Ledger, journal: Journal, clock: Clock, scope: str, subject: str, text: str, *, by: str
) -> Note:
    """Write something down about an account or sender (`scope`). Raises DeskError, LedgerError."""
    text = text.strip()
    if scope not in ("sender", "account") or not subject:
        raise DeskError(f"{scope} {subject!r} is neither a sender nor an account")
    if not text:
        raise DeskError("the note is empty")
    check_text(text)
    account = subject
    if scope == "sender":
        known = await asyncio.to_thread(account_one_queries.account_of_sender, ledger, subject)
        account = known or ""
    now = clock.now()
    note = Note(id=new_id(now), time=now, scope=scope, subject=subject, text=text, account=account, by=by)
    on_disk(journal, note, Audit(time=now, by=by, what=f"{scope}.note", subject=subject, detail=text[:200]))
    return note


async def remove_note(ledger: Ledger, journal: Journal, clock: Clock, id_: str, *, by: str) -> Note:
    """Remove a note; the audit keeps who did that, not what it said. Raises DeskError, LedgerError."""
    note = await asyncio.to_thread(account_one_queries.note_one, ledger, id_)
    if note is None:
        raise DeskError(f"no note {id_}")
    now = clock.now()
    on_disk(
        journal,
        msgspec.structs.replace(note, time=max(now, note.time), text=""),
        Audit(time=now, by=by, what=f"{note.scope}.note_removed", subject=note.subject),
    )
    return note


def check_name(what: str, name: str) -> None:
    """Raises DeskError for what cannot be an account, a sender or a pattern."""
    if not name or name != name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise DeskError(
            f"{name[:80]!r} cannot be {'an' if what[0] in 'aeiou' else 'a'} {what}: "
            f"1 to {LONGEST_NAME} printable characters, without spaces around them"
        )


def check_text(text: str) -> None:
    """Raises DeskError for a text that is too long."""
    if len(text) > LONGEST_TEXT:
        raise DeskError(f"a text of {len(text)} characters is too long; at most {LONGEST_TEXT}")


def _compared(ledger: Ledger, change: EntryChange) -> Changed:
    entry = directory_queries.accounts(ledger, change.account).get(change.account)
    own = set(directory_queries.senders_of(ledger, change.account))
    lines = []
    for name in ("name", "contact", "note"):
        text, before = getattr(change, name), entry[name] if entry else ""
        if text is not None and text != before:
            lines.append(f"{name}: {_quoted(before)} becomes {_quoted(text)}")
    owners = directory_queries.owners(ledger, change.add)
    lines += [added(pattern, owners.get(pattern, "")) for pattern in change.add if pattern not in own]
    for pattern in change.remove:
        if pattern not in own:
            raise DeskError(f"{pattern} does not belong to {change.account}")
        lines.append(f"{pattern} is removed")
    return Changed(account=change.account, new=entry is None, lines=tuple(lines))


def added(pattern: str, owner: str) -> str:
    """What is said of a pattern that an account gets, and that somebody may have had."""
    return f"{pattern} moves here from {owner}" if owner else f"{pattern} is added"


def lines_of(text: str) -> tuple[str, ...]:
    """Patterns as people type them: one a line, each once."""
    return tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def _quoted(text: str) -> str:
    return f"“{text[:100]}”" if text else "nothing"
