"""`account list|show|suspend|resume|limit|exempt|import`: customers, and the senders inside them."""

from __future__ import annotations

import argparse
import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Any

from outbound_guard.cli.room import Room
from outbound_guard.cli.terminal import harmless, print_fields, print_json, print_table, some, when
from outbound_guard.cli.times import duration, moment
from outbound_guard.config import Limit


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    account = commands.add_parser("account", help="see, suspend, restore and limit accounts and senders")
    acts = account.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = acts.add_parser("list", parents=[common], help="accounts that are known or were active within a day")
    listing.set_defaults(run=_list)
    show = acts.add_parser("show", parents=[common], help="everything about one account")
    show.add_argument("account", metavar="ACCOUNT")
    show.set_defaults(run=_show)

    suspend = _act(acts, common, "suspend", "refuse all its mail", _suspend)
    _add_end(suspend, "it resumes by itself")
    _act(acts, common, "resume", "take a suspension back, and clear the suspicion", _resume)
    limit = _act(acts, common, "limit", "limits of its own; what is not given is inherited", _limit)
    for name in Limit.__struct_fields__:
        limit.add_argument(f"--{name.replace('_', '-')}", type=_number, metavar="N", default=0)
    limit.add_argument("--none", action="store_true", help="the inherited limits again")
    exempt = _act(acts, common, "exempt", "neither hold nor refuse its mail for a time", _exempt)
    _add_end(exempt, "the exemption ends")

    import_ = acts.add_parser("import", parents=[common], help="read the directory of accounts from a CSV file")
    import_.add_argument(
        "file", metavar="FILE", help="heading: account and any of sender, name, contact, note; - is stdin"
    )
    import_.add_argument("--by", help="who decides (default: your login)")
    import_.set_defaults(run=_import)


def _act(acts: Any, common: argparse.ArgumentParser, name: str, what: str, run: Any) -> argparse.ArgumentParser:
    act: argparse.ArgumentParser = acts.add_parser(name, parents=[common], help=what)
    act.add_argument("subject", metavar="ACCOUNT", help="the account; with --sender, one sender")
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
    from outbound_guard.desk.accounts import account_list

    room = Room(arguments)
    with room.ledger() as ledger:
        found = asyncio.run(account_list(ledger, room.clock))
    if arguments.json:
        print_json(found)
    elif found:
        print_table(
            ("account", "name", "standing", "held", "messages of a day"),
            [(row["account"], row["name"], _standing(row), row["held"], _counts(row["day"])) for row in found],
        )
    else:
        print("No accounts are known yet.")
    return 0


def _standing(row: dict[str, Any]) -> str:
    if row["suspended"]:
        return "suspended"
    return f"{row['senders_suspended']} senders suspended" if row["senders_suspended"] else ""


def _counts(day: dict[str, int]) -> str:
    return ", ".join(f"{number} {action}" for action, number in sorted(day.items()))


def _show(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts import account_show

    room = Room(arguments)
    with room.ledger() as ledger:
        found = asyncio.run(account_show(ledger, room.clock, arguments.account))
    if arguments.json:
        print_json(found)
        return 0
    print_fields([(name, found[name]) for name in ("account", "name", "contact", "note")])
    print_fields(
        [("senders", some(found["senders"], 10)), ("held", found["held"]), ("of a day", _counts(found["day"]))]
    )
    if found["history"]:
        print()
        print_table(
            ("time", "what", "subject", "by", "until", "reason"),
            [
                (when(s["time"]), s["change"], s["subject"], s["by"], when(s["until"]), s["reason"] or _limits(s))
                for s in found["history"]
            ],
        )
    if found["decisions"]:
        print()
        print_table(
            ("id", "received", "action", "score", "sender", "subject"),
            [
                (d["id"], when(d["received"]), d["action"], f"{d['score']:.1f}", d["sender"], d["subject"])
                for d in found["decisions"]
            ],
        )
    return 0


def _limits(standing: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in standing["limits"].items())


def _suspend(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts import suspend

    return _stand(arguments, suspend, until=_end)


def _resume(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts import resume

    return _stand(arguments, resume, forgets=True)


def _limit(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts import limit

    limits = {name: value for name in Limit.__struct_fields__ if (value := getattr(arguments, name))}
    if bool(limits) == arguments.none:
        arguments.parser.error("name at least one limit, or --none for the inherited ones")
    return _stand(arguments, limit, limits=limits)


def _exempt(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.accounts import exempt

    if not arguments.reason or (arguments.duration is None and arguments.until is None):
        arguments.parser.error("an exemption needs --reason and an end: --for or --until")
    return _stand(arguments, exempt, until=_end)


def _stand(arguments: argparse.Namespace, act: Any, *, until: Any = None, forgets: bool = False, **more: Any) -> int:
    """One change of standing, and what there is to say about it."""
    room = Room(arguments)
    scope = "sender" if arguments.sender else "account"
    if until is not None:
        more["until"] = until(arguments, room.clock.now())
    if forgets:
        # The customer has mended it; that we were wrong nobody says.
        more["forget"] = partial(room.forget, mistake=False)
    with room.ledger() as ledger, room.journal() as journal:
        standing = asyncio.run(
            act(ledger, journal, room.clock, scope, arguments.subject, by=room.by, reason=arguments.reason, **more)
        )
    if arguments.json:
        print_json({name: getattr(standing, name) for name in standing.__struct_fields__})
    else:
        end = f" until {when(standing.until)}" if standing.until else ""
        print(f"{scope} {harmless(standing.subject)} {standing.change}{end}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.errors import DeskError
    from outbound_guard.desk.importing import import_accounts

    room = Room(arguments)
    try:
        octets = sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
        text = octets.decode()
    except UnicodeDecodeError as error:
        raise DeskError(f"{arguments.file}: is not UTF-8 at octet {error.start}") from None
    with room.journal() as journal:
        accounts, senders = asyncio.run(import_accounts(journal, room.clock, text, by=room.by))
    if arguments.json:
        print_json({"accounts": accounts, "senders": senders})
    else:
        print(f"{accounts} accounts with {senders} senders taken in")
    return 0
