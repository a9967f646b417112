"""`suppression list|add|remove`: recipients that an account is not to write to any more."""

from __future__ import annotations

import argparse
from typing import Any

from outbound_guard.cli.room import Room
from outbound_guard.cli.terminal import harmless, print_json, print_table, when


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    suppression = commands.add_parser("suppression", help="recipients that do not exist or have complained, by account")
    acts = suppression.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = acts.add_parser("list", parents=[common], help="who is on the lists")
    listing.add_argument("account", nargs="?", metavar="ACCOUNT", default="", help="of this account alone")
    listing.add_argument("--address", default="", help="this recipient alone")
    listing.add_argument("--limit", type=int, default=1000, metavar="N", help="lines (default 1000)")
    listing.set_defaults(run=_list)

    for name, what in (("add", "put a recipient on an account's list"), ("remove", "take one off")):
        act = acts.add_parser(name, parents=[common], help=what)
        act.add_argument("account", metavar="ACCOUNT")
        act.add_argument("address", metavar="ADDRESS")
        act.add_argument("--reason", default="", help="why; stands in the audit")
        act.add_argument("--by", help="who decides (default: your login)")
        act.set_defaults(run=_change, change=name)


def _list(arguments: argparse.Namespace) -> int:
    from outbound_guard.ledger import feedback_queries

    with Room(arguments).ledger() as ledger:
        rows = feedback_queries.suppressed(
            ledger, account=arguments.account, address=arguments.address, limit=arguments.limit
        )
    if arguments.json:
        print_json([{name: value for name, value in row.items() if name != "change"} for row in rows])
    elif rows:
        print_table(
            ("account", "address", "since", "why", "by", "message", "detail"),
            [
                (
                    row["account"],
                    row["address"],
                    when(row["time"]),
                    row["why"],
                    row["by"],
                    row["message"],
                    row["detail"],
                )
                for row in rows
            ],
        )
    else:
        print("Nobody is on a suppression list.")
    return 0


def _change(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts import suppressing
    from outbound_guard.ledger import feedback_queries

    room = Room(arguments)
    with room.ledger() as ledger:
        listed = feedback_queries.suppressed(ledger, account=arguments.account, address=arguments.address, limit=1)
    act = suppressing.add if arguments.change == "add" else suppressing.remove
    with room.journal() as journal:
        done = act(journal, room.clock, arguments.account, arguments.address, by=room.by, reason=arguments.reason)
    if arguments.json:
        print_json({name: getattr(done, name) for name in done.__struct_fields__})
    else:
        print(f"{harmless(done.address)} {done.change}: suppression list of {harmless(done.account)}")
        if done.change == "removed" and not listed:
            print("It was not on the list (or was added a moment ago).")
    return 0
