"""`panel list|try|suspend|release`: hosting control panels that are told who is suspended."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.room import Room, note
from outbound_guard.cli.terminal import harmless, print_fields, print_json, print_table, when

if TYPE_CHECKING:
    from outbound_guard.config.panels import Panel
    from outbound_guard.ledger.panel_queries import Past

PATIENCE = 30.0
"""Seconds that a command waits for the answers of panels."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    panel = commands.add_parser("panel", help="hosting control panels: what they are told, and what they answer")
    acts = panel.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = acts.add_parser("list", parents=[common], help="the panels, and what each was told last")
    listing.set_defaults(run=_list)
    trying = acts.add_parser("try", parents=[common], help="ask a panel something, and show what it would be told")
    trying.add_argument("panel", metavar="PANEL")
    trying.add_argument(
        "subject", nargs="?", default="", metavar="ACCOUNT", help="an account; with --sender, a mailbox"
    )
    trying.add_argument("--sender", action="store_true", help="a mailbox, not a whole account")
    trying.set_defaults(run=_try)
    for name, what in (("suspend", "stop outgoing mail at the panel"), ("release", "let it go again there")):
        act = acts.add_parser(name, parents=[common], help=what)
        act.add_argument("subject", metavar="ACCOUNT", help="an account; with --sender, a mailbox")
        act.add_argument("--sender", action="store_true", help="a mailbox, not a whole account")
        act.add_argument(
            "--panel", action="append", default=[], metavar="PANEL", help="this one (default: all it is for)"
        )
        act.add_argument("--dry-run", action="store_true", help="only ask, and show the calls that would be made")
        act.add_argument("--reason", default="", help="why; stands in the audit")
        act.add_argument("--by", help="who decides (default: your login)")
        act.set_defaults(run=_act, what=name)


def _list(arguments: argparse.Namespace) -> int:
    from outbound_guard.ledger import outbox_queries

    room = Room(arguments)
    found = []
    with room.ledger() as ledger:
        for panel in room.config.panel:
            last = outbox_queries.listing(ledger, route=panel.name, limit=1)
            waiting = len(outbox_queries.listing(ledger, route=panel.name, state="waiting", limit=1000))
            row: dict[str, Any] = {"panel": panel.name, "kind": panel.kind, "url": panel.url, "mode": panel.mode}
            row |= {"waiting": waiting, "last": None}
            if last:
                one = last[0]
                row["last"] = {
                    "time": one.tried or one.created,
                    "what": one.notice.kind,
                    "subject": one.notice.sender or one.notice.account,
                    "state": one.state,
                    "answer": one.answer,
                }
            found.append(row)
    if arguments.json:
        print_json(found)
    elif found:
        rows = []
        for row in found:
            known = row["last"] or {"time": 0.0, "subject": "", "state": "", "answer": ""}
            shown = (when(known["time"]), known["subject"], known["state"], known["answer"])
            rows.append((row["panel"], row["kind"], row["mode"], row["waiting"], *shown))
        print_table(("panel", "kind", "mode", "waiting", "last told", "of", "state", "answer"), rows)
    else:
        print("No control panel is configured ([[panel]]).")
    return 0


def _try(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.panels import chosen

    room = Room(arguments)
    [panel] = chosen(room.config, "", [arguments.panel])
    if not arguments.subject:
        asyncio.run(_probe(room, panel))
        if arguments.json:
            print_json({"panel": panel.name, "answers": True})
        else:
            print(f"{panel.name} answers and accepts the token")
        return 0
    return _show(arguments, room, [panel], stop=True)


def _act(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk import panels
    from outbound_guard.desk.accounts.whose import accounts_of

    room = Room(arguments)
    scope = "sender" if arguments.sender else "account"
    if arguments.dry_run:
        with room.ledger() as ledger:
            [account] = asyncio.run(accounts_of(ledger, room.clock, [(scope, arguments.subject)]))
            chosen = asyncio.run(
                panels.for_order(ledger, room.config, scope, arguments.subject, account, arguments.panel)
            )
        return _show(arguments, room, chosen, stop=arguments.what == "suspend")
    with room.ledger() as ledger:
        before = panels.told(ledger, room.config, scope, arguments.subject)
        with room.journal() as journal:
            names = asyncio.run(
                panels.order(
                    ledger,
                    journal,
                    room.clock,
                    room.config,
                    arguments.what,
                    scope,
                    arguments.subject,
                    by=room.by,
                    reason=arguments.reason,
                    names=arguments.panel,
                )
            )
    serials = {one.panel: one.last.serial for one in before if one.last}
    answers = _answers(room, scope, arguments.subject, names, serials)
    if arguments.json:
        print_json({name: {"state": row.state, "answer": row.answer} if row else None for name, row in answers.items()})
    else:
        for name, row in answers.items():
            said = f"{row.state}: {row.answer}" if row else "has not been told yet; the service does it when it runs"
            print(f"{name}: {harmless(said)}")
    if all(row and row.state == "sent" for row in answers.values()):
        return 0
    note("not every panel has done it; it is tried again while it is waiting")
    return 1


def _answers(room: Room, scope: str, subject: str, names: list[str], serials: dict[str, int]) -> dict[str, Past | None]:
    """What each panel answered to what was just placed, as far as it is known in time."""
    from outbound_guard.ledger import panel_queries
    from outbound_guard.ledger.scribe import running

    end = time.monotonic() + PATIENCE
    while True:
        with room.ledger() as ledger:
            rows = panel_queries.past(ledger, tuple(names), scope, subject)
        fresh = {row.route: row for row in reversed(rows) if row.serial > serials.get(row.route, 0)}
        found = {name: fresh.get(name) for name in names}
        settled = all(row is not None and (row.state != "waiting" or row.tried) for row in found.values())
        if settled or time.monotonic() > end or not running(room.journal_dir):
            return found
        time.sleep(0.2)


async def _probe(room: Room, panel: Panel) -> None:
    from outbound_guard.app.notices import resolver
    from outbound_guard.app.panels import reach_of
    from outbound_guard.desk.errors import DeskError
    from outbound_guard.notify.panels.calls import Away, Denied, NotThere
    from outbound_guard.notify.panels.reach import Asking

    reach = reach_of(room.config, panel, resolver(room.config.dns.resolvers))
    try:
        await Asking(reach, dry=True).probe()
    except NotThere:
        return  # It has answered, which is what was asked.
    except (Away, Denied) as error:
        raise DeskError(f"{panel.name}: {error}") from error


def _show(arguments: argparse.Namespace, room: Room, panels: list[Panel], *, stop: bool) -> int:
    """What these panels would be told."""
    from outbound_guard.app.notices import resolver
    from outbound_guard.app.panels import reach_of
    from outbound_guard.ledger import outbox_queries
    from outbound_guard.notify.panels.calls import Away, Denied, NotThere
    from outbound_guard.notify.panels.carrier import subjects_of
    from outbound_guard.notify.panels.reach import Asking

    scope = "sender" if arguments.sender else "account"
    with room.ledger() as ledger:
        patterns = outbox_queries.patterns(ledger, arguments.subject) if scope == "account" else ()
    resolve, found, failed = resolver(room.config.dns.resolvers), [], False
    for panel in panels:
        asking = Asking(reach_of(room.config, panel, resolve), dry=True)
        text = ""
        try:
            if scope == "account" and not panel.whole_accounts:
                raise NotThere("it is told of mailboxes only (whole_accounts)")
            for one in subjects_of(scope, arguments.subject, patterns):
                change = asyncio.run(asking.change(one, stop=stop))
                text = "" if change.done else change.text
        except (Away, Denied, NotThere) as error:
            text, failed = str(error), True
            note(f"{panel.name}: {error}")
        found.append({"panel": panel.name, "calls": asking.calls, "answer": text})
    if arguments.json:
        print_json(found)
    else:
        for row in found:
            print_fields([("panel", row["panel"]), ("answer", "" if failed else row["answer"])])
            for call in row["calls"]:
                print(harmless(str(call)))
    return 1 if failed else 0
