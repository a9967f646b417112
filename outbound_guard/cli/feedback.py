"""`feedback ingest|follow|list`: complaints, late bounces and logs of next hops, handed in by hand or by a program."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.room import Room
from outbound_guard.cli.terminal import print_json, print_table, when

if TYPE_CHECKING:
    from outbound_guard.feedback.intake import Intake, Taken
    from outbound_guard.feedback.results import Told
    from outbound_guard.ledger.journal import Journal

_PAUSE = 1.0
"""Seconds between two looks at a log."""
_EARLY = 5.0
"""Seconds for which a report waits whose message was relayed a moment ago."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    feedback = commands.add_parser("feedback", help="complaints, late bounces, and logs of next hops")
    acts = feedback.add_subparsers(title="commands", metavar="COMMAND", required=True)

    ingest = acts.add_parser(
        "ingest",
        parents=[common],
        help="take reports in",
        description="Takes in complaints (ARF, or forwarded by hand) and bounces: each FILE is a message, an mbox, a "
        "folder of messages (a Maildir too), or JSON lines as KumoMTA writes them; - is standard input.",
    )
    ingest.add_argument("files", nargs="+", metavar="FILE|-")
    ingest.add_argument(
        "--trusted", action="store_true", help="the reports are checked already: count them without our token, too"
    )
    ingest.set_defaults(run=_ingest, parser=ingest)

    follow = acts.add_parser("follow", parents=[common], help="follow the mail log of a next hop (Postfix)")
    follow.add_argument("file", metavar="FILE")
    follow.add_argument("--once", action="store_true", help="read what is there now, and end")
    follow.add_argument(
        "--from-start", action="store_true", help="when it is first followed, also read what it has already"
    )
    follow.set_defaults(run=_follow)

    listing = acts.add_parser("list", parents=[common], help="what was found, newest first")
    listing.add_argument("--account", default="", metavar="ACCOUNT")
    listing.add_argument("--kind", choices=("complaint", "bounce", "delivery"), default="")
    listing.add_argument("--message", default="", metavar="ID", help="about this message of ours")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="lines (default 100)")
    listing.set_defaults(run=_list)


def _ingest(arguments: argparse.Namespace) -> int:
    from outbound_guard.feedback.results import look_at_records
    from outbound_guard.feedback.sources import messages_of

    room = Room(arguments)
    shown: list[dict[str, object]] = []
    counts: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    with room.ledger() as ledger, room.journal() as journal:
        intake = _intake(room, ledger, journal)
        for name in arguments.files:
            for where, content, is_records in messages_of(name, sys.stdin.buffer, intake.most):
                if is_records:
                    told = look_at_records(content, intake, f"{room.by} {where}"[:200])
                    lines["new"] += intake.write(told.found)
                    lines += told.counts
                    continue
                taken = _take(intake, content, room.by, trusted=arguments.trusted)
                counts[taken.result] += 1
                shown.append({"file": where, **taken.plain})
    if arguments.json:
        print_json({"reports": shown, "results": dict(counts), "records": dict(lines)})
        return 0
    if shown:
        names = ("file", "result", "class", "message", "account", "sender")
        print_table(names, [[row[name] for name in names] for row in shown])
    if shown or not lines:
        print(_sentence(counts, "reports"))
    if lines:
        print(_sentence(lines, "records"))
    return 0


def _take(intake: Intake, content: bytes, source: str, *, trusted: bool) -> Taken:
    end = time.monotonic() + _EARLY
    while True:
        taken = intake.take(content, source=source, trusted=trusted)
        if taken.result != "early" or time.monotonic() > end:
            return taken
        time.sleep(0.2)


def _follow(arguments: argparse.Namespace) -> int:
    from outbound_guard.feedback.results import Log

    room = Room(arguments)
    told = threading.Event()
    counts: Counter[str] = Counter()
    with room.ledger() as ledger, room.journal() as journal:
        intake = _intake(room, ledger, journal)
        log = Log(Path(arguments.file), intake, from_start=arguments.from_start)
        with contextlib.closing(log.follower):
            if arguments.once:
                while _some(log.look(room.clock.now(), lag=0.0), log.note, counts):
                    pass
            else:
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, lambda *_: told.set())
                while not told.wait(_PAUSE):
                    _some(log.look(room.clock.now()), log.note, counts)
                    journal.flush()
    if arguments.json:
        print_json(dict(+counts))
    else:
        print(_sentence(counts, "lines"))
    return 0


def _some(told: Told, note: Any, counts: Counter[str]) -> bool:
    """Take in what was told; True if there was anything."""
    counts["new"] += note(told)
    counts.update(told.counts)
    return any(told.counts.values())


def _list(arguments: argparse.Namespace) -> int:
    from outbound_guard.ledger import feedback_queries

    with Room(arguments).ledger() as ledger:
        rows = feedback_queries.findings(
            ledger,
            account=arguments.account,
            kind=arguments.kind,
            message=arguments.message,
            limit=arguments.limit,
        )
    if arguments.json:
        print_json([{name: value for name, value in row.items() if name not in ("serial", "key")} for row in rows])
    elif rows:
        print_table(
            ("time", "kind", "class", "counts", "account", "sender", "recipient", "message", "detail"),
            [
                (
                    when(row["time"]),
                    row["kind"],
                    row["class"],
                    "yes" if row["counts"] else "no",
                    row["account"],
                    row["sender"],
                    row["recipient"],
                    row["message"],
                    f"{row['code']} {row['enhanced']} {row['detail']}" if row["code"] else row["detail"],
                )
                for row in rows
            ],
        )
    else:
        print("Nothing was found yet.")
    return 0


def _intake(room: Room, ledger: Any, journal: Journal) -> Intake:
    from outbound_guard.accounts.token import Tokens, secret
    from outbound_guard.feedback.intake import Intake

    data_dir = room.config.data_dir
    most = room.config.feedback.message_size
    return Intake(ledger, journal, Tokens(secret(data_dir)), room.clock, most=most, data_dir=data_dir)


def _sentence(counts: Counter[str], what: str) -> str:
    said = ", ".join(f"{number} {word}" for word, number in sorted(counts.items()) if number)
    return f"{what}: {said}" if said else f"{what}: none"
