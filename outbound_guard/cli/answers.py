"""`classify`, `blocked`, `redact`: what others answered, read from standard input."""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.room import Room, note
from outbound_guard.cli.terminal import harmless, print_fields, print_json, print_table

if TYPE_CHECKING:
    from outbound_guard.config import Config
    from outbound_guard.desk.blocked.finding import Finding


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    classify = commands.add_parser(
        "classify", parents=[common], help="what SMTP answers mean, one a line on standard input"
    )
    classify.set_defaults(run=_classify)

    blocked = commands.add_parser(
        "blocked",
        parents=[common],
        help="from a bounce, log lines, an address or a domain on standard input to what to do next",
    )
    ask = blocked.add_mutually_exclusive_group()
    ask.add_argument("--ask", action="store_true", help="ask the lists about the address now, whatever is known")
    ask.add_argument(
        "--no-ask",
        action="store_true",
        help="never ask (without either: if nothing is known of an address or domain and resolvers are configured)",
    )
    blocked.set_defaults(run=_blocked)

    redact = commands.add_parser(
        "redact", parents=[common], help="print standard input without personal contact data; role addresses stay"
    )
    redact.set_defaults(run=_redact)


def _classify(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.blocked.answers import classified

    for octets in sys.stdin.buffer:
        line = octets.decode("utf-8", "replace").strip()
        if not line:
            continue
        found = classified(line)
        if arguments.json:
            print_json(found)
        else:
            print(f"{found['class']:<32} {found['provider'] or '-':<14} {harmless(line[:200])}")
        # Somebody may be waiting for the answer to one line before writing the next.
        sys.stdout.flush()
    return 0


def _blocked(arguments: argparse.Namespace) -> int:
    from outbound_guard.clock import SystemClock
    from outbound_guard.desk.blocked.finding import as_json
    from outbound_guard.desk.blocked.here import Ask, finding
    from outbound_guard.desk.errors import DeskError

    text, _ = _standard_input()
    if not text.strip():
        raise DeskError("nothing on standard input: paste a bounce, log lines, an address or a domain")
    config = _configuration(arguments)
    if config is None and arguments.ask:
        note("the lists were not asked: there is no configuration")
    ask: Ask = "always" if arguments.ask else "never" if arguments.no_ask else "needed"
    known = functools.partial(_known, arguments, config)
    found = asyncio.run(finding(text, config, SystemClock(), known=known, ask=ask))
    if arguments.json:
        print_json(as_json(found))
    else:
        _print_finding(found, _own(config))
    return 0


def _redact(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.redaction.redact import redact

    text, charset = _standard_input()
    found = redact(text)
    if arguments.json:
        print_json({"text": found, "changed": found != text})
    else:
        sys.stdout.buffer.write(found.encode(charset))
        sys.stdout.buffer.flush()
    return 0


def _standard_input() -> tuple[str, str]:
    """All of it as text, and the charset it can be written back in octet for octet."""
    octets = sys.stdin.buffer.read()
    try:
        return octets.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        # Old mail is seldom anything else, and every octet has a letter there.
        return octets.decode("latin-1"), "latin-1"


def _configuration(arguments: argparse.Namespace) -> Config | None:
    """The configuration, if there is one: a bounce can be read without. Raises ConfigError for a bad one."""
    from outbound_guard import config

    path = config.find(arguments.config)
    return config.load(path) if path is not None else None


def _own(config: Config | None) -> tuple[str, ...]:
    from outbound_guard.blocklist.own import customers_of, own_subjects

    if config is None:
        return ()
    customers = customers_of(config)
    return tuple([subject for subject in own_subjects(config) if subject not in customers])


def _known(arguments: argparse.Namespace, config: Config | None, subject: str) -> Sequence[dict[str, Any]]:
    """What the ledger knows that lists say of an address or domain."""
    from outbound_guard.ledger import listing_queries
    from outbound_guard.ledger.database import LedgerError

    if config is None or not config.data_dir.is_dir():
        return ()
    try:
        with Room(arguments).ledger() as ledger:
            return listing_queries.listings(ledger, subjects=[subject])
    except LedgerError as error:
        note(f"the ledger was not asked: {error}")
        return ()


def _print_finding(finding: Finding, own: Sequence[str]) -> None:
    from outbound_guard.blocklist.channels import as_json

    sides = {
        "provider": "ours: our addresses or servers",
        "customer": "the customer's: the message, its domain or its sender",
        "recipient": "the recipient's mailbox or domain",
        "receiver": "the other server",
    }
    whose = "" if not finding.address or not own else " (ours)" if finding.address in own else " (not ours)"
    print_fields(
        [
            (
                "what",
                finding.class_
                + (
                    ""
                    if finding.certain
                    else " (no rule knows this answer)"
                    if finding.answer
                    else " (nothing is known)"
                ),
            ),
            ("provider", finding.provider),
            ("list", finding.list),
            ("whose side", sides[finding.side]),
            ("address", (finding.address or "") + whose),
            ("next", finding.next),
            ("answer", finding.answer),
        ]
    )
    if finding.channel is not None:
        channel = as_json(finding.channel, finding.address or "")
        print()
        print_fields(
            [
                ("official channel", channel["name"]),
                ("ask at", channel["removal"] or channel["contact"] or channel["postmaster"]),
                ("look up at", channel["lookup"] or channel["errors"]),
                ("it asks for", ", ".join(finding.channel.asks)),
                (
                    "account",
                    {"none": "not needed", "free": "register first", "customer": "for customers"}[
                        str(channel["account"])
                    ],
                ),
                ("usual wait", f"{finding.channel.waiting_days:g} days" if finding.channel.waiting_days else ""),
                ("after that", channel["next_step"]),
                ("languages", ", ".join(finding.channel.languages)),
                ("note", channel["note"]),
            ]
        )
        for programme in finding.channel.programme:
            print_fields([(f"for {programme.gives}", f"{programme.name}, {programme.page}")])
    listed = [row for row in finding.listings if row["state"] != "clean"]
    if listed:
        print()
        print_table(("list", "state", "reason"), [(row["zone"], row["state"], row["reason"]) for row in listed])
    if finding.customer:
        print()
        print("To the customer:")
        print(harmless(finding.customer))
