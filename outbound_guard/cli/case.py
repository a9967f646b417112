"""`case list|show|open|...`: listings of our addresses and refusals of them, worked through to the end."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.case_view import (
    draft_letters,
    export_case,
    list_cases,
    print_checklist,
    print_numbers,
    show_case,
    shown_case,
)
from outbound_guard.cli.room import Room
from outbound_guard.cli.terminal import harmless, print_json
from outbound_guard.cli.times import duration

if TYPE_CHECKING:
    from outbound_guard.desk.cases.person import Person
    from outbound_guard.ledger.records import CaseEvent

# Said here as well, so that the command line needs none of the modules of cases; a test compares the two.
STAGES = ("verify", "investigate", "contain", "notify", "appeal", "watch", "confirm", "prevent")
CAUSES = ("password", "script", "malware", "vpn", "bulk", "spammer", "forwarding", "bounces", "neighbour", "earlier")
OTHER_CAUSES = ("mistake", "unknown")
ABOUT = ("notice", "apology", "update", "advice", "appeal", "escalation", "question")
OUTCOMES = ("removed", "refused", "question", "acknowledged", "other")
LETTERS = ("notice", "apology", "update", "advice", "appeal", "escalation")
_PARTY = "customer:ACCOUNT, list:ZONE or receiver:NAME"


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    case = commands.add_parser("case", help="listings of our addresses, worked through to the end")
    acts = case.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = acts.add_parser("list", parents=[common], help="open cases, the newest first")
    listing.add_argument("--state", choices=("open", "closed", "all"), default="open")
    listing.add_argument("--stage", choices=STAGES)
    listing.add_argument("--owner", help="nobody: those without one")
    listing.add_argument("--overdue", action="store_true", help="only what should have been done by now")
    listing.add_argument("--find", default="", metavar="TEXT", help="a part of its id, title, address or list")
    listing.set_defaults(run=list_cases)

    show = _act(acts, common, "show", "everything about one case", show_case, by=False)
    show.add_argument("--history", action="store_true", help="with all that has happened, line by line")

    opening = acts.add_parser("open", parents=[common], help="open a case by hand")
    opening.add_argument("subject", metavar="ADDRESS-OR-DOMAIN")
    opening.add_argument("--list", dest="source", default="", metavar="ZONE", help="the list it is on")
    opening.add_argument("--reason", default="")
    opening.add_argument("--by", help="who does it (default: your login)")
    opening.set_defaults(run=_open)

    take = _act(acts, common, "take", "become its owner", _take)
    take.add_argument("--owner", default="", help="somebody else")
    _act(acts, common, "note", "write a comment", _note).add_argument("text", help="- reads it from standard input")

    check = _act(acts, common, "check", "see the checklist, or tick an item off with its evidence", _check)
    check.add_argument("item", nargs="?", default="", metavar="ITEM", help="its name, as the checklist shows it")
    check.add_argument("--evidence", default="", metavar="TEXT", help="tick an item off: what shows that it is done")
    check.add_argument("--not-needed", default="", metavar="WHY", help="say why an item is not needed")
    check.add_argument("--open", dest="undo", default="", metavar="WHY", help="open an item again")
    check.add_argument("--again", action="store_true", help="look anew for what the machine has found before")
    check.add_argument("--finding", default="", choices=("caused", "false"), help="of the item `cause`")
    check.add_argument("--cause", default="", choices=(*CAUSES, *OTHER_CAUSES), help="of the item `cause`")
    check.add_argument("--account", action="append", default=[], help="of the item `cause`: whose mail it was")

    advance = _act(acts, common, "advance", "go on to the next stage, or back to an earlier one", _advance)
    advance.add_argument("--to", default="", choices=STAGES)
    advance.add_argument("--reason", default="")

    draft = _act(acts, common, "draft", "write a letter for you to read, change and send", draft_letters, by=False)
    draft.add_argument("letter", choices=LETTERS)
    draft.add_argument("--to", default="", metavar="NAME", help="only to this account, list or receiver")
    draft.add_argument("--language", default="")

    contact = _act(acts, common, "contact", "write down that you wrote to somebody, or called", _contact)
    _add_letter(contact)
    contact.add_argument("--about", default="", choices=ABOUT, help="default: notice (customer), else appeal")
    answer = _act(acts, common, "answer", "write down what somebody answered", _answer)
    _add_letter(answer)
    answer.add_argument("--outcome", default="other", choices=OUTCOMES)

    attach = _act(acts, common, "attach", "add a file as evidence", _attach)
    attach.add_argument("file", metavar="FILE", help="- reads it from standard input")
    original = _act(
        acts, common, "original", "the original of a letter or file; noted in the audit", _original, by=False
    )
    original.add_argument("event", metavar="ORIGINAL", help="its id, from `case show --history`")

    export = _act(
        acts, common, "export", "the case as one document, without personal contact data", export_case, by=False
    )
    export.add_argument("--html", action="store_true", help="HTML instead of text")
    export.add_argument("--out", metavar="FILE", help="where to (default: standard output)")

    close = _act(acts, common, "close", "close it, with a summary", _close)
    close.add_argument("--summary", required=True)
    close.add_argument("--unfinished", default="", metavar="WHY", help="close it although something is open")
    _act(acts, common, "reopen", "open a closed case again", _reopen).add_argument("--reason", required=True)

    merge = _act(acts, common, "merge", "close it as part of another open case, which takes over", _merge)
    merge.add_argument("into", metavar="OTHER", help="the case that goes on")

    figures = acts.add_parser("numbers", parents=[common], help="times, causes, and what came back")
    figures.add_argument("--since", type=duration, metavar="DURATION", help="cases opened in the last 30d, ...")
    figures.set_defaults(run=print_numbers)


def _act(acts: Any, common: argparse.ArgumentParser, name: str, what: str, run: Any, *, by: bool = True) -> Any:
    act = acts.add_parser(name, parents=[common], help=what)
    act.add_argument("id", metavar="CASE")
    if by:
        act.add_argument("--by", help="who does it (default: your login)")
    act.set_defaults(run=run, parser=act)
    return act


def _add_letter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("party", metavar="WITH", help=_PARTY)
    parser.add_argument("--channel", required=True, help="a form's page, a role address, a telephone call, ...")
    parser.add_argument("--file", default="", metavar="FILE", help="the letter (- for standard input)")


def _open(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import acts

    async def act(person: Person) -> tuple[str, str]:
        return await acts.open_case(person, arguments.subject, source=arguments.source, reason=arguments.reason)

    id_, what = _work(arguments, act)
    if arguments.json:
        print_json({"id": id_, "what": what})
    else:
        print(f"{id_} {what or 'has it already'}")
    return 0


def _take(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import acts

    return _do(arguments, lambda person: acts.take(person, arguments.id, arguments.owner))


def _note(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import acts

    text = _read("-").decode("utf-8", "replace") if arguments.text == "-" else arguments.text
    return _do(arguments, lambda person: acts.note(person, arguments.id, text))


def _check(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import acts

    said = [text for text in (arguments.evidence, arguments.not_needed, arguments.undo) if text]
    if not arguments.item:
        if said or arguments.finding or arguments.cause or arguments.account:
            arguments.parser.error("say which item is meant")
        _work(arguments, lambda person: acts.look(person, arguments.id, again=arguments.again))
        shown = shown_case(arguments)
        if arguments.json:
            print_json(
                {name: shown[name] for name in ("id", "stage", "checklist", "hindrances", "open_items", "ready")}
            )
        else:
            print_checklist(shown)
        return 0
    if len(said) != 1 or arguments.again:
        arguments.parser.error("an item needs one of --evidence, --not-needed and --open")
    return _do(
        arguments,
        lambda person: acts.check(
            person,
            arguments.id,
            arguments.item,
            said[0],
            needed=not arguments.not_needed,
            done=not arguments.undo,
            finding=arguments.finding,
            cause=arguments.cause,
            accounts=tuple(arguments.account),
        ),
    )


def _advance(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import acts

    return _do(arguments, lambda person: acts.advance(person, arguments.id, to=arguments.to, reason=arguments.reason))


def _contact(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import letters

    text = _read(arguments.file) if arguments.file else b""
    return _do(
        arguments,
        lambda person: letters.contact(
            person, arguments.id, arguments.party, channel=arguments.channel, about=arguments.about, text=text
        ),
    )


def _answer(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import letters

    text = _read(arguments.file) if arguments.file else b""
    return _do(
        arguments,
        lambda person: letters.answer(
            person, arguments.id, arguments.party, channel=arguments.channel, outcome=arguments.outcome, text=text
        ),
    )


def _attach(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import letters

    content = _read(arguments.file)
    name = "standard input" if arguments.file == "-" else Path(arguments.file).name
    return _do(arguments, lambda person: letters.attach(person, arguments.id, name, content))


def _original(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import letters

    content = _work(arguments, lambda person: letters.original(person, arguments.id, arguments.event))
    if arguments.json:
        print_json({"id": arguments.event, "text": content.decode("utf-8", "replace")})
    else:
        for line in content.decode("utf-8", "replace").splitlines():
            print(harmless(line))
    return 0


def _close(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import acts

    return _do(
        arguments,
        lambda person: acts.close(person, arguments.id, arguments.summary, unfinished=arguments.unfinished),
    )


def _reopen(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import acts

    return _do(arguments, lambda person: acts.reopen(person, arguments.id, arguments.reason))


def _merge(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.cases import merging

    return _do(arguments, lambda person: merging.merge(person, arguments.id, arguments.into))


def _work(arguments: argparse.Namespace, act: Callable[[Person], Awaitable[Any]]) -> Any:
    """Have somebody act, with journal and ledger open."""
    from outbound_guard.desk.cases.person import Person

    room = Room(arguments)

    async def acting(person: Person) -> Any:
        return await act(person)

    with room.ledger() as ledger, room.journal() as journal:
        return asyncio.run(acting(Person(ledger, journal, room.clock, room.config, room.by)))


def _do(arguments: argparse.Namespace, act: Callable[[Person], Awaitable[CaseEvent]]) -> int:
    event = _work(arguments, act)
    if arguments.json:
        result = {"id": event.case, "event": event.id, "what": event.what, "text": event.text, "time": event.time}
        print_json(result | ({"original": event.data["original"]} if "original" in event.data else {}))
    else:
        print(f"{event.case} {event.what}: {harmless(event.text.partition(chr(10))[0])}")
    return 0


def _read(name: str) -> bytes:
    """A file, or standard input; of a huge one, just enough to see that it is too large."""
    from outbound_guard.desk.cases.originals import LARGEST

    if name == "-":
        return sys.stdin.buffer.read(LARGEST + 1)
    with Path(name).open("rb") as file:
        return file.read(LARGEST + 1)
