"""`held list|show|release|delete|return`: mail that waits for time or for a person."""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.room import Room, note
from outbound_guard.cli.terminal import harmless, print_fields, print_json, print_table, some, when
from outbound_guard.cli.times import duration

if TYPE_CHECKING:
    from outbound_guard.config import Policy
    from outbound_guard.desk.held.teaching import Teaching
    from outbound_guard.ledger.journal import Journal
    from outbound_guard.ledger.queries import Filters
    from outbound_guard.spool import Entry, Spool

CONTRACT = (
    "id",
    "received",
    "account",
    "sender",
    "mail_from",
    "recipients",
    "subject",
    "action",
    "score",
    "reasons",
)
"""What an object of `held list --json` has at least; other programs rely on it."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    held = commands.add_parser("held", help="see, release, delete or return held mail")
    acts = held.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = acts.add_parser("list", parents=[common], help="what is held or in quarantine, oldest first")
    _add_filters(listing)
    listing.add_argument(
        "--limit", type=int, default=1000, metavar="N", help="the newest N only (default 1000; 0: all)"
    )
    listing.set_defaults(run=_list)

    show = acts.add_parser("show", parents=[common], help="everything about one message")
    show.add_argument("id", metavar="ID")
    show.add_argument(
        "--content", action="store_true", help="write the message itself, octet for octet, and nothing else"
    )
    show.set_defaults(run=_show)

    for name, what, run in (
        ("release", "deliver messages after all", _release),
        ("delete", "delete messages for good", _delete),
        ("return", "return messages to their senders with a report, as far as the account owns the address", _return),
    ):
        act = acts.add_parser(name, parents=[common], help=what)
        act.add_argument("ids", nargs="*", metavar="ID")
        _add_filters(act)
        act.add_argument("--reason", default="", help="why; stands in the audit")
        act.add_argument("--by", help="who decides (default: your login)")
        if name == "release":
            act.add_argument(
                "--keep-suspicion",
                action="store_true",
                help="do not clear what speaks against sender and text: the release says nothing about them",
            )
        elif name == "delete":
            act.add_argument(
                "--abuse", action="store_true", help="confirm it as abuse: the same text is stopped from everybody"
            )
        act.set_defaults(run=run, parser=act)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account")
    parser.add_argument("--sender")
    parser.add_argument("--recipient")
    parser.add_argument("--state", choices=("held", "quarantine"))
    parser.add_argument("--since", type=duration, metavar="DURATION", help="received in the last 2h, 7d, ...")


def _filters(arguments: argparse.Namespace, now: float, limit: int) -> Filters:
    from outbound_guard.ledger.queries import Filters

    return Filters(
        account=arguments.account or "",
        sender=arguments.sender or "",
        recipient=arguments.recipient or "",
        state=arguments.state or "",
        since=now - arguments.since if arguments.since is not None else 0.0,
        limit=limit,
    )


def _list(arguments: argparse.Namespace) -> int:
    import msgspec

    from outbound_guard.desk.held.mail import held_list

    room = Room(arguments)
    with room.ledger() as ledger:
        found = asyncio.run(held_list(ledger, _filters(arguments, room.clock.now(), arguments.limit)))
    if arguments.limit and len(found) == arguments.limit:
        note(f"the newest {arguments.limit}; there may be more, see --limit")
    if arguments.json:
        print_json([msgspec.to_builtins(row) for row in found])
    elif found:
        print_table(
            ("id", "received", "state", "score", "sender", "to", "subject", "why"),
            [
                (
                    r.id,
                    when(r.received),
                    r.state,
                    f"{r.score:.1f}",
                    r.sender,
                    some(r.recipients),
                    r.subject,
                    some(r.reasons, 1),
                )
                for r in found
            ],
        )
    else:
        print("Nothing is held.")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from outbound_guard.config import ConfigError, policy_of
    from outbound_guard.desk.errors import DeskError
    from outbound_guard.desk.held.mail import held_show
    from outbound_guard.spool import NotInSpool

    room = Room(arguments)
    if arguments.content:
        with room.spool() as spool:
            try:
                content = asyncio.run(spool.content(arguments.id))
            except NotInSpool:
                raise DeskError(f"no message {arguments.id} in this machine's spool") from None
        sys.stdout.buffer.write(content)
        return 0
    try:
        policy = policy_of(room.config)
    except ConfigError as error:
        note(f"what would have had to differ cannot be told: {error}")
        policy = None
    with room.ledger() as ledger, room.spool() as spool:
        found = asyncio.run(held_show(ledger, spool, arguments.id, policy))
    if arguments.json:
        print_json(found)
        return 0
    _print_one(found, policy)
    return 0


def _print_one(found: dict[str, Any], policy: Policy | None) -> None:
    decision = found["decision"] or {}
    shown = found | {
        "received": when(found["received"]),
        "due": when(found["due"]) or "when a person decides",
        "recipients": some(found["recipients"], 5),
        "score": f"{found['score']:.2f}",
        "in spool": found["in_spool"] or "no",
    }
    names = ("id", "received", "state", "in spool", "due", "account", "sender", "mail_from", "recipients", "subject")
    print_fields([(name, shown[name]) for name in (*names, "action", "score")])
    print_fields(
        [(name, decision.get(name)) for name in ("code", "client_ip", "server", "message_id", "size", "answered")]
    )
    if found["changed"] > found["received"]:
        print_fields(
            [("changed", f"{when(found['changed'])} by {found['changed_by']}"), ("reason", found["change_reason"])]
        )
    signals = decision.get("signals") or []
    if signals:
        print()
        rows = [(f"{s['weight']:+.2f}", s["name"] + " (shadow)" * s["shadow"], s["reason"]) for s in signals]
        print_table(("weight", "signal", "reason"), rows)
    for reason in () if signals else found["reasons"]:
        print_fields([("reason", reason)])
    if found["why"]:
        print()
        for sentence in found["why"]["sentences"]:
            print(harmless(sentence))
    elif decision and policy:
        print()
        print("By the policy in force, and without earlier corrections, the verdict would be another.")
    if decision.get("audit"):
        print()
        print_table(
            ("time", "by", "what", "detail"),
            [(when(a["time"]), a["by"], a["what"], a["detail"]) for a in decision["audit"]],
        )


def _release(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.held.mail import release

    async def act(room: Room, spool: Spool, journal: Journal, teaching: Teaching, id_: str) -> Entry:
        teach = None if arguments.keep_suspicion else teaching.honest
        return await release(spool, journal, room.clock, id_, by=room.by, reason=arguments.reason, teach=teach)

    return _each(arguments, act, "released")


def _delete(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.held.mail import delete

    async def act(room: Room, spool: Spool, journal: Journal, teaching: Teaching, id_: str) -> Entry:
        teach = teaching.abuse if arguments.abuse else None
        return await delete(spool, journal, room.clock, id_, by=room.by, reason=arguments.reason, teach=teach)

    return _each(arguments, act, "deleted")


def _return(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.held.mail import give_back

    async def act(room: Room, spool: Spool, journal: Journal, teaching: Teaching, id_: str) -> Entry:
        hostname = room.config.server.hostname or socket.getfqdn()
        return await give_back(spool, journal, room.clock, id_, hostname=hostname, by=room.by, reason=arguments.reason)

    return _each(arguments, act, "returned")


def _each(
    arguments: argparse.Namespace,
    act: Callable[[Room, Spool, Journal, Teaching, str], Awaitable[Entry]],
    done: str,
) -> int:
    """Do it to every message that is named or meant."""
    from outbound_guard.desk.errors import DeskError
    from outbound_guard.desk.held.acts import Gone

    room = Room(arguments)
    ids = _meant(arguments, room)
    most = room.config.console.four_eyes
    if 0 < most < len(ids):
        raise DeskError(
            f"{len(ids)} messages: about more than {most} nobody decides alone (console.four_eyes); decide at the "
            "console, where a second person confirms it"
        )
    results: list[dict[str, str]] = []
    gone: list[str] = []

    async def all_of_them(spool: Spool, journal: Journal, teaching: Teaching) -> None:
        for id_ in ids:
            try:
                await act(room, spool, journal, teaching, id_)
                results.append({"id": id_, "result": done})
            except DeskError as error:
                if isinstance(error, Gone):
                    gone.append(id_)
                results.append({"id": id_, "result": "failed", "error": str(error)})

    with room.spool() as spool, room.journal() as journal, room.teaching(journal) as teaching:
        asyncio.run(all_of_them(spool, journal, teaching))
    if gone and room.config.ledger.url != "embedded":
        from outbound_guard.cli.held_elsewhere import ask_others

        answered = ask_others(room, arguments, gone, done)
        results = [answered.get(result["id"], result) for result in results]
    if arguments.json:
        print_json(results)
    for result in results:
        if "error" in result:
            note(result["error"])
        elif not arguments.json:
            print(f"{result['id']} {done}")
    if not ids:
        note("nothing that is held fits")
    return 0 if ids and not any("error" in result for result in results) else 1


def _meant(arguments: argparse.Namespace, room: Room) -> list[str]:
    filters = _filters(arguments, room.clock.now(), 0)
    if arguments.ids:
        if not filters.empty:
            arguments.parser.error("name messages, or say which by --account and the like, not both")
        return list(dict.fromkeys(arguments.ids))
    if filters.empty:
        # Whoever forgets the condition must not let everything go.
        arguments.parser.error("name messages, or say which by --account, --sender, --recipient, --state or --since")
    from outbound_guard.ledger.queries import held_list

    with room.ledger() as ledger:
        return [row.id for row in held_list(ledger, filters)]
