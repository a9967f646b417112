"""`notice list|show|retry|give-up|test`: what was told to whom, and how that went."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.room import Room, note
from outbound_guard.cli.terminal import harmless, print_fields, print_json, print_table, when

if TYPE_CHECKING:
    from outbound_guard.ledger.outbox_queries import Sending

_PATIENCE = 20.0
"""Seconds that `test` waits for an answer."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    notice = commands.add_parser("notice", help="what was told to whom: webhooks, letters, reports")
    acts = notice.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = acts.add_parser("list", parents=[common], help="notices, the newest first")
    listing.add_argument("--state", default="", choices=("", "waiting", "sent", "failed", "left_out"))
    listing.add_argument("--route", default="", help="by this route alone")
    listing.add_argument("--account", default="", help="about this account alone")
    listing.add_argument("--kind", default="", help="of this kind alone")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="lines (default 100)")
    listing.set_defaults(run=_list)

    show = acts.add_parser("show", parents=[common], help="all that is known of one")
    show.add_argument("id", type=int, metavar="ID")
    show.set_defaults(run=_show)

    for name, what in (("retry", "try again now, with all tries anew"), ("give-up", "do not send them")):
        act = acts.add_parser(name, parents=[common], help=what)
        act.add_argument("ids", nargs="*", type=int, metavar="ID")
        if name == "retry":
            act.add_argument("--failed", action="store_true", help="all that failed")
        act.add_argument("--reason", default="", help="why; stands in the audit")
        act.add_argument("--by", help="who decides (default: your login)")
        act.set_defaults(run=_decide, what=name.replace("-", "_"))

    test = acts.add_parser("test", parents=[common], help="send a test by a route, and say what was answered")
    test.add_argument("route", metavar="ROUTE", help="the name of a [[notice]] table")
    test.add_argument("--account", default="", help="of a route to customers: whose contact gets it")
    test.add_argument("--by", help="who does it (default: your login)")
    test.set_defaults(run=_test)


def _list(arguments: argparse.Namespace) -> int:
    from outbound_guard.ledger import outbox_queries

    with Room(arguments).ledger() as ledger:
        found = outbox_queries.listing(
            ledger,
            state=arguments.state,
            route=arguments.route,
            of=arguments.account,
            kind=arguments.kind,
            limit=max(arguments.limit, 1),
        )
    if arguments.json:
        print_json([as_json(one) for one in found])
    elif found:
        head = ("id", "time", "kind", "about", "route", "state", "tries", "answer")
        print_table(head, [(str(one.serial), *_cells(one)) for one in found])
    else:
        print("There is no such notice.")
    return 0


def _cells(one: Sending) -> tuple[str, ...]:
    about = one.notice.sender or one.notice.account or one.notice.subject
    return when(one.notice.time), one.notice.kind, about, one.route, one.state, str(one.attempts), one.answer


def _show(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.errors import DeskError
    from outbound_guard.ledger import outbox_queries

    with Room(arguments).ledger() as ledger:
        one = outbox_queries.one(ledger, arguments.id)
        if one is None:
            raise DeskError(f"there is no notice {arguments.id}")
        tried = outbox_queries.deliveries(ledger, one.letter) if one.letter else []
    if arguments.json:
        print_json(as_json(one) | {"deliveries": tried})
        return 0
    n = one.notice
    waits = one.state == "waiting"
    print_fields(
        [
            ("notice", str(one.serial)),
            ("what", f"{n.kind}, {n.count} times" if n.count > 1 else n.kind),
            ("since", when(n.time)),
            ("account", n.account),
            ("sender", n.sender),
            ("about", n.subject),
            ("reason", n.reason),
            ("route", one.route),
            ("state", one.state.replace("_", " ")),
            ("tries", str(one.attempts)),
            ("last try", when(one.tried) if one.tried else ""),
            ("answer", one.answer),
            ("sent as", one.letter),
            ("next try", when(one.due) if waits else ""),
            ("given up", when(one.expires) if waits else ""),
        ]
    )
    for row in tried:
        print(harmless(f"{when(row['time'])}  {row['code']} {row['enhanced']} {row['text']}"))
    return 0


def _decide(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.notices.acts import MOST, decide
    from outbound_guard.ledger import outbox_queries

    room = Room(arguments)
    with room.ledger() as ledger, room.journal() as journal:
        ids = list(arguments.ids)
        if getattr(arguments, "failed", False):
            ids += [one.serial for one in outbox_queries.listing(ledger, state="failed", limit=MOST)]
        done = asyncio.run(
            decide(ledger, journal, room.clock, ids, arguments.what, by=room.by, reason=arguments.reason)
        )
    if arguments.json:
        print_json([one.serial for one in done])
    else:
        text = "will be tried again" if arguments.what == "retry" else "will not be sent"
        print(f"{len(done)} {'notice' if len(done) == 1 else 'notices'} {text}")
    return 0


def _test(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.errors import DeskError
    from outbound_guard.desk.notices.acts import try_route
    from outbound_guard.ledger.scribe import running

    room = Room(arguments)
    with room.journal() as journal:
        made = try_route(room.config, journal, room.clock, arguments.route, account=arguments.account, by=room.by)
    if not running(room.journal_dir):
        note("the service is not running: the test is sent when it does")
        return 0
    end = time.monotonic() + _PATIENCE
    while (one := _of(room, made.key)) is None or (not one.attempts and one.state == "waiting"):
        if time.monotonic() > end:
            raise DeskError("nothing was tried yet; look at `notice list` later")
        time.sleep(0.2)
    if arguments.json:
        print_json(as_json(one))
        return 0 if one.state == "sent" else 1
    said = f"{one.state.replace('_', ' ')}: {one.answer}"
    if one.state != "sent":
        raise DeskError(said)
    print(harmless(said))
    return 0


def _of(room: Room, key: str) -> Sending | None:
    from outbound_guard.ledger import outbox_queries

    with room.ledger() as ledger:
        return outbox_queries.by_key(ledger, key)


def as_json(one: Sending) -> dict[str, Any]:
    """A sending as programs read it."""
    n = one.notice
    return {
        "id": one.serial,
        "time": n.time,
        "kind": n.kind,
        "account": n.account,
        "sender": n.sender,
        "subject": n.subject,
        "reason": n.reason,
        "count": n.count,
        "route": one.route,
        "state": one.state,
        "attempts": one.attempts,
        "tried": one.tried,
        "due": one.due,
        "expires": one.expires,
        "answer": one.answer,
        "letter": one.letter,
    }
