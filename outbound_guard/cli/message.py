"""`message find|show`: where is my mail? Whatever became of a message, as far as the ledger goes back."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.room import Room, note
from outbound_guard.cli.terminal import harmless, print_fields, print_json, print_table, some, when
from outbound_guard.cli.times import duration, moment

if TYPE_CHECKING:
    from outbound_guard.desk.messages.search import Story

ACTIONS = ("relay", "defer", "hold", "quarantine", "reject")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    message = commands.add_parser("message", help="where is my mail: find messages, and tell what became of them")
    acts = message.add_subparsers(title="commands", metavar="COMMAND", required=True)

    find = acts.add_parser("find", parents=[common], help="messages by address, id, account, time; newest first")
    find.add_argument("address", nargs="?", default="", metavar="ADDRESS", help="of a recipient or the sender")
    find.add_argument("--id", default="", metavar="ID", help="ours, as in our reply and log, or the Message-ID")
    find.add_argument("--account", default="")
    find.add_argument("--sender", default="")
    find.add_argument("--since", type=duration, metavar="DURATION", help="received in the last 2h, 7d, ...")
    find.add_argument("--after", type=moment, metavar="DATE", help="received at this date or time, or later")
    find.add_argument("--before", type=moment, metavar="DATE", help="received before this date or time")
    find.add_argument("--action", choices=ACTIONS, default="", help="what the verdict says")
    find.add_argument("--subject", default="", metavar="TEXT", help="a part of the subject")
    find.add_argument("--limit", type=_limit, default=50, metavar="N", help="at most N (default 50)")
    find.add_argument("--from", dest="place", default="", metavar="PLACE", help="go on where another answer ended")
    find.set_defaults(run=_find, parser=find)

    show = acts.add_parser("show", parents=[common], help="the whole story of one message")
    show.add_argument("id", metavar="ID")
    show.set_defaults(run=_show)


def _limit(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("1 to 1000")
    return number


def _find(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.messages.search import message_search, place_of, place_text
    from outbound_guard.ledger.message_queries import Search

    room = Room(arguments)
    since = room.clock.now() - arguments.since if arguments.since is not None else arguments.after or 0.0
    search = Search(
        address=arguments.address,
        message_id=arguments.id,
        account=arguments.account,
        sender=arguments.sender,
        since=since,
        before=arguments.before or 0.0,
        action=arguments.action,
        subject=arguments.subject,
        after=place_of(arguments.place),
        limit=arguments.limit,
    )
    with room.ledger() as ledger:
        found = asyncio.run(message_search(ledger, search))
    more = place_text(found.more)
    if arguments.json:
        print_json({"items": list(found.rows), "next": more, "looked_back_to": found.looked_back_to})
        return 0
    if found.rows:
        print_table(
            ("id", "received", "verdict", "now", "sender", "to", "subject"),
            [
                (
                    row["id"],
                    when(row["received"]),
                    row["action"],
                    row["held"] or "",
                    row["sender"],
                    some(row["recipients"]),
                    row["subject"],
                )
                for row in found.rows
            ],
        )
    else:
        print("Nothing was found.")
    if found.looked_back_to:
        note(f"looked back to {when(found.looked_back_to)}; go on with --from {more}")
    elif more:
        note(f"there is more: go on with --from {more}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    import msgspec

    from outbound_guard.desk.messages.search import story

    room = Room(arguments)
    with room.ledger() as ledger, room.spool() as spool:
        told = asyncio.run(story(ledger, spool, room.config, arguments.id))
    if arguments.json:
        print_json(msgspec.to_builtins(told))
    else:
        _print(told)
    return 0


def _print(told: Story) -> None:
    names = ("id", "account", "sender", "mail_from", "subject", "message_id")
    print_fields([("received", when(told.received)), *((name, getattr(told, name)) for name in names)])
    print()
    print(harmless(told.summary) + ("" if told.final else " It is not over yet."))
    print()
    for event in told.events:
        mark = "> " if event.kind == "next" else "  "
        print(f"{mark}{when(event.time)}  {harmless(event.text)}")
    print()
    print_table(
        ("recipient", "state", "final", "next"),
        [(fate.recipient, fate.state, "yes" if fate.final else "no", when(fate.next)) for fate in told.recipients],
    )
    for fate in told.recipients[:20]:
        print(f"  {harmless(fate.recipient)}: {harmless(fate.text)}")
    for sentence in told.unknown:
        note(sentence)
