"""`account enter|remove|note|import|export|erase`: the directory, notes, and an account's data as a whole."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from outbound_guard.cli.room import Room
from outbound_guard.cli.terminal import harmless, print_fields, print_json

if TYPE_CHECKING:
    from outbound_guard.ledger.database import Ledger
    from outbound_guard.ledger.journal import Journal
    from outbound_guard.spool import Spool

WAIT = 60.0
"""Seconds that `erase` waits for the service to have done it."""


def add(acts: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to `account`."""
    enter = _command(acts, common, "enter", "make or change an entry of the directory", _enter)
    for name in ("name", "contact", "note"):
        enter.add_argument(f"--{name}", help="empty: none any more")
    enter.add_argument("--add", action="append", default=[], metavar="PATTERN", help="a sender, or a pattern with *")
    enter.add_argument("--remove", action="append", default=[], metavar="PATTERN", help="no longer its own")
    enter.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    remove = _command(acts, common, "remove", "take an entry out of the directory", _remove)
    remove.add_argument("--reason", default="", help="why; stands in the audit")
    written = _command(acts, common, "note", "write something down about it", _note)
    written.add_argument("text", metavar="TEXT", nargs="?", default="")
    written.add_argument("--sender", action="store_true", help="about a sender, not a whole account")
    written.add_argument("--remove", metavar="ID", default="", help="remove this note instead")

    import_ = acts.add_parser("import", parents=[common], help="read the directory of accounts from a CSV file")
    import_.add_argument(
        "file", metavar="FILE", help="heading: account and any of sender, name, contact, note; - is stdin"
    )
    import_.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    import_.add_argument("--by", help="who decides (default: your login)")
    import_.set_defaults(run=_import)

    export = _command(acts, common, "export", "write all that is known of it into a file", _export)
    export.add_argument("--out", metavar="FILE", required=True, help="a new file; - is stdout")
    export.add_argument("--format", choices=("zip", "json"), default="zip")
    export.add_argument("--content", action="store_true", help="held messages as they came in as well (zip)")
    erase = _command(
        acts, common, "erase", "erase all that is known of it; without --yes only say what would go", _erase
    )
    erase.add_argument("--yes", metavar="ACCOUNT", default="", help="its name once more: do it")
    erase.add_argument("--keep-suspension", action="store_true", help="what is suspended stays so, under its name")
    erase.add_argument("--reason", default="", help="why; stands in the audit and should name nobody")


def _command(acts: Any, common: argparse.ArgumentParser, name: str, what: str, run: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = acts.add_parser(name, parents=[common], help=what)
    command.add_argument("account", metavar="ACCOUNT")
    command.add_argument("--by", help="who decides (default: your login)")
    command.set_defaults(run=run, parser=command)
    return command


def _enter(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts.entries import EntryChange, change_entry

    room = Room(arguments)
    change = EntryChange(
        account=arguments.account,
        name=arguments.name,
        contact=arguments.contact,
        note=arguments.note,
        add=tuple(arguments.add),
        remove=tuple(arguments.remove),
    )
    with room.ledger() as ledger, room.journal() as journal:
        done = asyncio.run(change_entry(ledger, journal, room.clock, change, by=room.by, dry=arguments.dry_run))
    if arguments.json:
        print_json({"account": done.account, "new": done.new, "lines": list(done.lines), "dry": arguments.dry_run})
        return 0
    print(f"{harmless(done.account)} {'is new' if done.new else 'is in the directory'}")
    for line in done.lines or (() if done.new else ("nothing changes",)):
        print(harmless(line))
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts.entries import remove_entry

    room = Room(arguments)
    with room.ledger() as ledger, room.journal() as journal:
        asyncio.run(remove_entry(ledger, journal, room.clock, arguments.account, by=room.by, reason=arguments.reason))
    if arguments.json:
        print_json({"account": arguments.account})
    else:
        print(f"{harmless(arguments.account)} is no longer in the directory")
    return 0


def _note(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts.entries import add_note, remove_note

    if bool(arguments.text) == bool(arguments.remove):
        arguments.parser.error("give a TEXT, or --remove ID")
    room = Room(arguments)
    scope = "sender" if arguments.sender else "account"
    with room.ledger() as ledger, room.journal() as journal:
        if arguments.remove:
            done = asyncio.run(remove_note(ledger, journal, room.clock, arguments.remove, by=room.by))
        else:
            done = asyncio.run(
                add_note(ledger, journal, room.clock, scope, arguments.account, arguments.text, by=room.by)
            )
    if arguments.json:
        print_json({name: getattr(done, name) for name in done.__struct_fields__})
    else:
        print(f"note {done.id} {'removed' if arguments.remove else 'written down'}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts.importing import entries_of_csv, import_accounts, import_entries
    from outbound_guard.desk.errors import DeskError

    room = Room(arguments)
    try:
        octets = sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
        text = octets.decode()
    except UnicodeDecodeError as error:
        raise DeskError(f"{arguments.file}: is not UTF-8 at octet {error.start}") from None
    if arguments.dry_run:
        with room.ledger() as ledger, room.journal() as journal:
            plan = asyncio.run(import_entries(ledger, journal, room.clock, entries_of_csv(text), by=room.by, dry=True))
        if arguments.json:
            print_json({name: getattr(plan, name) for name in plan.__struct_fields__})
            return 0
        print_fields(
            [(name, getattr(plan, name)) for name in ("accounts", "senders", "new", "changed", "added", "moved")]
        )
        for line in (*plan.lines, *([f"and {plan.more} more"] if plan.more else [])):
            print(harmless(line))
        return 0
    with room.journal() as journal:
        accounts, senders = asyncio.run(import_accounts(journal, room.clock, text, by=room.by))
    if arguments.json:
        print_json({"accounts": accounts, "senders": senders})
    else:
        print(f"{accounts} accounts with {senders} senders taken in")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts.export import export_account

    room = Room(arguments)
    if arguments.content and arguments.format != "zip":
        arguments.parser.error("--content goes into a zip only")

    async def write(ledger: Ledger, journal: Journal, spool: Spool) -> int:
        octets = 0
        async with room.memory() as memory:
            pieces = await export_account(
                ledger,
                spool,
                memory,
                journal,
                room.clock,
                arguments.account,
                by=room.by,
                format_=arguments.format,
                content=arguments.content,
            )
            with _opened(arguments.out) as file:
                async for piece in pieces:
                    octets += len(piece)
                    file.write(piece)
        return octets

    with room.ledger() as ledger, room.journal() as journal, room.spool() as spool:
        octets = asyncio.run(write(ledger, journal, spool))
    if arguments.out != "-":
        if arguments.json:
            print_json({"account": arguments.account, "file": arguments.out, "octets": octets})
        else:
            print(f"{octets} octets written to {harmless(arguments.out)}")
    return 0


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    """A new file that only its owner may read, since it is personal data; `-` is standard output."""
    if name == "-":
        return contextlib.nullcontext(sys.stdout.buffer)
    return open(name, "xb", opener=lambda path, flags: os.open(path, flags, 0o600))


def _erase(arguments: argparse.Namespace) -> int:
    room = Room(arguments)
    if not arguments.yes:
        return _preview(arguments, room)
    from outbound_guard.desk.accounts.erasure import order_erasure, progress
    from outbound_guard.ledger.scribe import running

    with room.ledger() as ledger:
        with room.journal() as journal:
            id_ = asyncio.run(
                order_erasure(
                    ledger,
                    journal,
                    room.clock,
                    arguments.account,
                    typed=arguments.yes,
                    by=room.by,
                    reason=arguments.reason,
                    keep_suspension=arguments.keep_suspension,
                )
            )
        done = asyncio.run(progress(ledger, id_))
        end = time.monotonic() + WAIT
        while done.state != "done" and running(room.journal_dir) and time.monotonic() < end:
            time.sleep(0.2)
            done = asyncio.run(progress(ledger, id_))
    if arguments.json:
        print_json({name: getattr(done, name) for name in done.__struct_fields__})
    elif done.state == "done":
        print(f"erasure {id_} is done")
        print_fields(list(done.counts.items()))
    else:
        print(f"erasure {id_} is ordered; the service carries it out as soon as it can")
    return 0


def _preview(arguments: argparse.Namespace, room: Room) -> int:
    from outbound_guard.desk.accounts.erasure import Preview, preview

    async def look(ledger: Ledger) -> Preview:
        async with room.memory() as memory:
            return await preview(ledger, memory, room.clock, room.config, arguments.account)

    with room.ledger() as ledger:
        plan = asyncio.run(look(ledger))
    told = {name: getattr(plan, name) for name in plan.__struct_fields__}
    if arguments.json:
        print_json(told)
        return 0
    print_fields([(name, value) for name, value in told.items() if name != "stays"])
    print()
    print("What it does not reach:")
    for sentence in plan.stays:
        print(f"- {harmless(sentence)}")
    print()
    print(f"Nothing was erased. To do it: --yes {harmless(arguments.account)}")
    return 0
