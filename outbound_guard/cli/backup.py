"""`backup` and `restore`: everything that must not be lost, copied while the service runs, and put back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from outbound_guard.cli.room import Room, configuration, note


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    backup = commands.add_parser("backup", parents=[common], help="copy everything that must not be lost into a folder")
    backup.add_argument("folder", type=Path, metavar="DIR", help="a folder that does not exist or is empty")
    backup.set_defaults(run=_backup)

    restore = commands.add_parser("restore", parents=[common], help="put a backup back into an empty data directory")
    restore.add_argument("folder", type=Path, metavar="DIR", help="a folder that `backup` has made")
    restore.add_argument(
        "--queue",
        action="store_true",
        help="queue again what was queued, instead of holding it for a person; what was delivered since is sent twice",
    )
    restore.add_argument("--by", metavar="NAME", help="who restores (default: who is logged in)")
    restore.set_defaults(run=_restore)


def _backup(arguments: argparse.Namespace) -> int:
    import msgspec

    from outbound_guard.app.backup import back_up
    from outbound_guard.cli.terminal import print_fields, print_json

    done = back_up(configuration(arguments), arguments.folder.absolute())
    for text in done.notes:
        note(text)
    if arguments.json:
        print_json(msgspec.to_builtins(done) | {"folder": str(arguments.folder.absolute())})
    else:
        print_fields(
            (
                ("backup", arguments.folder.absolute()),
                ("messages", _counts(done.messages)),
                ("ledger", "yes" if done.ledger else "no"),
                ("counters", "yes" if done.state else "no"),
            )
        )
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    import msgspec

    from outbound_guard.app.restore import restore
    from outbound_guard.cli.terminal import print_fields, print_json, when

    room = Room(arguments)
    done = restore(room.config, arguments.folder.absolute(), queue=arguments.queue, by=room.by)
    if done.ending:
        note(
            f"{done.ending} held messages are older than spool.hold_expiry and go back to their senders at the next "
            "start: raise it first, if somebody is to decide"
        )
    for text in done.notes:
        note(text)
    if arguments.json:
        print_json(msgspec.to_builtins(done))
    else:
        print_fields(
            (
                ("made", when(done.made)),
                ("data_dir", room.config.data_dir),
                ("messages", _counts(done.messages)),
            )
        )
    return 0


def _counts(messages: dict[Any, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in messages.items() if number) or "none"
