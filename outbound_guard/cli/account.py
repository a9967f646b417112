"""`account list|show|suspend|resume|limit|exempt|pin|unpin` (more in account_data): customers, and their senders."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from outbound_guard.cli import account_data
from outbound_guard.cli.room import Room
from outbound_guard.cli.terminal import harmless, print_fields, print_json, print_table, some, when
from outbound_guard.cli.times import duration, moment
from outbound_guard.config import Limit

if TYPE_CHECKING:
    from outbound_guard.desk.accounts.view import AccountView
    from outbound_guard.ledger.database import Ledger
    from outbound_guard.ledger.records import Standing


STATES = ("suspended", "senders", "probation", "limited", "exempt", "held")
SORTS = ("account", "state", "held", "messages", "last")
"""As in ledger.account_queries, which the command line loads only if it is asked; a test compares them."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    account = commands.add_parser("account", help="see, suspend, restore and limit accounts and senders")
    acts = account.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = acts.add_parser("list", parents=[common], help="accounts that are known")
    listing.add_argument("--search", default="", metavar="TEXT", help="in account, name, contact, senders")
    listing.add_argument("--state", choices=STATES, default="", help="only those")
    listing.add_argument("--sort", choices=SORTS, default="account")
    listing.add_argument("--limit", type=_number, metavar="N", default=0, help="the first N (default: all)")
    listing.set_defaults(run=_list)
    show = acts.add_parser("show", parents=[common], help="everything about one account, or sender")
    show.add_argument("account", metavar="ACCOUNT", help="the account; with --sender, one sender")
    show.add_argument("--sender", action="store_true", help="a sender (mailbox, script, address)")
    show.set_defaults(run=_show)

    suspend = _act(acts, common, "suspend", "refuse all its mail", _suspend)
    _add_end(suspend, "it resumes by itself")
    resume = _act(acts, common, "resume", "take a suspension back, on probation, and clear the suspicion", _resume)
    _add_end(resume, "the probation ends (default: as the policy says)")
    resume.add_argument("--no-probation", action="store_true", help="at once without any")
    limit = _act(acts, common, "limit", "limits of its own; what is not given is inherited", _limit)
    for name in Limit.__struct_fields__:
        limit.add_argument(f"--{name.replace('_', '-')}", type=_number, metavar="N", default=0)
    limit.add_argument("--none", action="store_true", help="the inherited limits again")
    exempt = _act(acts, common, "exempt", "neither hold nor refuse its mail for a time", _exempt)
    _add_end(exempt, "the exemption ends")

    pin = _act(acts, common, "pin", "send its mail by one egress pool, whatever its class", _pin)
    pin.add_argument("pool", metavar="POOL", help="a pool of the configuration")
    _add_end(pin, "the pin ends")
    _act(acts, common, "unpin", "send its mail by the pool of its class again", _unpin)

    account_data.add(acts, common)


def _act(acts: Any, common: argparse.ArgumentParser, name: str, what: str, run: Any) -> argparse.ArgumentParser:
    act: argparse.ArgumentParser = acts.add_parser(name, parents=[common], help=what)
    act.add_argument("subjects", metavar="ACCOUNT", nargs="+", help="accounts; with --sender, senders")
    act.add_argument("--sender", action="store_true", help="a sender (mailbox, script, address), not a whole account")
    act.add_argument("--reason", default="", help="why; stands in the audit")
    act.add_argument("--by", help="who decides (default: your login)")
    act.set_defaults(run=run, parser=act)
    return act


def _add_end(parser: argparse.ArgumentParser, what: str) -> None:
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--for", dest="duration", type=duration, metavar="DURATION", help=f"{what} after 2h, 7d, ...")
    end.add_argument("--until", type=moment, metavar="DATE", help=f"{what} at this date or time")


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("a limit is not negative")
    return number


def _end(arguments: argparse.Namespace, now: float) -> float:
    return now + arguments.duration if arguments.duration is not None else arguments.until or 0.0


def _list(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts.lists import account_list
    from outbound_guard.ledger.account_queries import AccountFilters

    room = Room(arguments)
    filters = AccountFilters(search=arguments.search, state=arguments.state, sort=arguments.sort, limit=arguments.limit)
    with room.ledger() as ledger:
        found = asyncio.run(account_list(ledger, room.clock, filters))
    if arguments.json:
        print_json(found)
    elif found:
        print_table(
            ("account", "name", "standing", "held", "messages of a day"),
            [(row["account"], row["name"], _standing(row), row["held"], _counts(row["day"])) for row in found],
        )
    else:
        print("No such accounts are known." if arguments.search or arguments.state else "No accounts are known yet.")
    return 0


def _standing(row: dict[str, Any]) -> str:
    if row["suspended"]:
        return "suspended"
    senders = [f"{row['senders_suspended']} senders suspended"] if row["senders_suspended"] else []
    return ", ".join(senders + [name for name in ("probation", "limited", "exempt") if row[name]])


def _counts(day: dict[str, int]) -> str:
    return ", ".join(f"{number} {action}" for action, number in sorted(day.items()))


def _show(arguments: argparse.Namespace) -> int:
    from outbound_guard.config import policy_of, pools_of
    from outbound_guard.desk.accounts.lists import account_show
    from outbound_guard.desk.accounts.view import account_view

    room = Room(arguments)
    scope, subject = "sender" if arguments.sender else "account", arguments.account

    async def look(ledger: Ledger) -> AccountView:
        async with room.memory() as memory:
            return await account_view(ledger, memory, room.clock, policy_of(room.config), scope, subject)

    with room.ledger() as ledger:
        view = asyncio.run(look(ledger))
        found = {} if arguments.sender else asyncio.run(account_show(ledger, room.clock, subject))
    if arguments.json:
        print_json(msgspec.to_builtins(view) | found)
    else:
        _print_view(view, found, pools_of(room.config))
    return 0


def _print_view(view: AccountView, found: dict[str, Any], pools: Sequence[str]) -> None:
    print_fields([(view.scope, view.subject)])
    if view.scope == "sender":
        print_fields([("account", view.account)])
    print_fields([(name, getattr(view, name)) for name in ("name", "contact", "note")])
    class_ = f"{view.class_.name}: {view.class_.reason}" if view.class_ else "not known: the state cannot be reached"
    pin = view.on("pinned")
    lost = "" if pin is None or pin.pool in pools else ", which does not exist: its mail goes by its class"
    suspicion = f"{view.habit.suspicion:.1f}" if view.habit else ""
    marks = ", ".join(f"{mark.name} {mark.at:.1f}" for mark in view.thresholds)
    print_fields(
        [
            ("class", class_),
            ("way out", view.way_back),
            ("pinned to", f"{pin.pool}{lost}" if pin else ""),
            ("suspicion", f"{suspicion} ({marks})" if suspicion else ""),
            ("senders", some(view.patterns if view.scope == "account" else (), 10)),
            ("held", view.held),
            ("of a day", _counts(found.get("day", {}))),
        ]
    )
    tables: list[tuple[tuple[str, ...], list[tuple[object, ...]]]] = [
        (
            ("limit", "of", "from", "set by"),
            [(f"{one.most} {one.what} per {one.window}", one.of, one.origin, one.detail) for one in view.limits],
        ),
        (
            ("time", "what", "subject", "by", "until", "reason"),
            [
                (when(s.time), _changed(s), s.subject, s.by, when(s.until), s.reason or _limits(s.limits))
                for s in view.history
            ],
        ),
        (
            ("time", "sender", "class", "before", "reason"),
            [(when(c.time), c.sender, c.class_to, c.class_from, c.reason) for c in view.changes],
        ),
        (
            ("note", "time", "by", "about", "text"),
            [(note.id, when(note.time), note.by, note.subject, note.text) for note in view.notes],
        ),
        (
            ("id", "received", "action", "score", "sender", "subject"),
            [
                (d["id"], when(d["received"]), d["action"], f"{d['score']:.1f}", d["sender"], d["subject"])
                for d in found.get("decisions", ())
            ],
        ),
    ]
    for heading, rows in tables:
        if rows:
            print()
            print_table(heading, rows)


def _changed(standing: Standing) -> str:
    return f"{standing.change} to {standing.pool}" if standing.pool else standing.change


def _limits(limits: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in limits.items())


def _suspend(arguments: argparse.Namespace) -> int:
    return _decide(arguments, "suspend", until=_end(arguments, Room(arguments).clock.now()))


def _resume(arguments: argparse.Namespace) -> int:
    from outbound_guard.config import policy_of

    room = Room(arguments)
    now = room.clock.now()
    until = _end(arguments, now) or now + policy_of(room.config).probation.days * 86400
    return _decide(arguments, "resume", until=0.0 if arguments.no_probation or until <= now else until)


def _limit(arguments: argparse.Namespace) -> int:
    limits = {name: value for name in Limit.__struct_fields__ if (value := getattr(arguments, name))}
    if bool(limits) == arguments.none:
        arguments.parser.error("name at least one limit, or --none for the inherited ones")
    return _decide(arguments, "limit", limits=limits)


def _exempt(arguments: argparse.Namespace) -> int:
    if not arguments.reason or (arguments.duration is None and arguments.until is None):
        arguments.parser.error("an exemption needs --reason and an end: --for or --until")
    return _decide(arguments, "exempt", until=_end(arguments, Room(arguments).clock.now()))


def _pin(arguments: argparse.Namespace) -> int:
    if not arguments.reason:
        arguments.parser.error("a pin needs --reason")
    return _decide(arguments, "pin", until=_end(arguments, Room(arguments).clock.now()), pool=arguments.pool)


def _unpin(arguments: argparse.Namespace) -> int:
    return _decide(arguments, "unpin")


def _decide(
    arguments: argparse.Namespace,
    what: str,
    *,
    until: float = 0.0,
    limits: dict[str, int] | None = None,
    pool: str = "",
) -> int:
    """One act on all that were named, and what there is to say about it."""
    from outbound_guard.config import pools_of
    from outbound_guard.desk.accounts.acts import Act, decide

    room = Room(arguments)
    scope = "sender" if arguments.sender else "account"
    subjects = [(scope, subject) for subject in arguments.subjects]
    act = Act(what=what, by=room.by, reason=arguments.reason, until=until, limits=limits or {}, pool=pool)
    with room.ledger() as ledger, room.journal() as journal:
        # The customer has mended it; that we were wrong nobody says.
        forget = partial(room.forget, mistake=False)
        standings = asyncio.run(decide(ledger, journal, room.clock, subjects, act, forget, pools_of(room.config)))
        if what in ("suspend", "resume"):
            # Before the ledger has it, which takes a second or so, or as long as it is away.
            asyncio.run(room.tell(standings))
    if arguments.json:
        found = [{name: getattr(standing, name) for name in standing.__struct_fields__} for standing in standings]
        print_json(found[0] if len(subjects) == 1 else found)
        return 0
    for standing in standings:
        end = f" until {when(standing.until)}" if standing.until else ""
        change = "is on probation" if standing.change == "probation" else standing.change
        change += f" to pool {harmless(standing.pool)}" if standing.pool else ""
        print(f"{scope} {harmless(standing.subject)} {change}{end}")
    return 0
