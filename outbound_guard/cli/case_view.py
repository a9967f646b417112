"""What the commands `case list|show|draft|export|numbers` print; they change nothing."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from outbound_guard.cli.room import Room
from outbound_guard.cli.terminal import harmless, print_fields, print_json, print_table, some, when


def list_cases(arguments: argparse.Namespace) -> int:
    """`case list`."""
    from outbound_guard.desk.cases.showing import case_list
    from outbound_guard.ledger.case_lists import CaseFilters

    room = Room(arguments)
    now = room.clock.now()
    filters = CaseFilters(
        state="" if arguments.state == "all" else arguments.state,
        stage=arguments.stage or "",
        owner=arguments.owner or "",
        overdue_at=now if arguments.overdue else 0.0,
        text=arguments.find,
    )
    with room.ledger() as ledger:
        found = asyncio.run(case_list(ledger, now, filters))
    if arguments.json:
        print_json(found)
    elif found:
        print_table(
            ("case", "opened", "stage", "owner", "title", "due", "open"),
            [
                (
                    case["id"],
                    when(case["opened"]),
                    case["stage"] if case["state"] == "open" else "closed",
                    case["owner"] or "nobody",
                    case["title"],
                    "overdue" if case["overdue"] else when(case["due"]),
                    "" if case["state"] == "closed" else some(case["open_items"]) or "ready to go on",
                )
                for case in found
            ],
        )
    else:
        print("No case.")
    return 0


def show_case(arguments: argparse.Namespace) -> int:
    """`case show`."""
    from outbound_guard.desk.cases.opening import named, told_state

    shown = shown_case(arguments)
    if arguments.json:
        print_json(shown)
        return 0
    names = ("id", "title", "state", "stage", "owner", "pool", "finding", "cause")
    print_fields([(name, shown[name]) for name in names])
    print_fields([("accounts", ", ".join(shown["accounts"])), ("summary", shown["summary"])])
    print_fields([(name, when(shown[name])) for name in ("began", "opened", "contained", "removed", "closed", "due")])
    print_fields([("overdue", "yes" if shown["overdue"] else ""), ("opened again", shown["reopened"] or "")])
    print()
    rows = [
        (
            named(s["subject"]),
            s.get("source", ""),
            told_state(s.get("kind", "list"), s.get("state", "listed")),
            when(s.get("since", 0)),
            s.get("reason", ""),
        )
        for s in shown["subjects"]
    ]
    print_table(("subject", "where", "state", "since", "says"), rows)
    for source, way in shown["channels"].items():
        days = way["waiting_days"]
        wait = f" (answers within {days:g} day{'s' * (days != 1)})" if days else ""
        print_fields([(f"official channel of {source}", way["page"] and way["page"] + wait)])
    print()
    print_checklist(shown)
    if arguments.history:
        print()
        for event in shown["history"]:
            original = event["data"].get("original", "")
            first, *rest = event["text"].splitlines() or [""]
            print(harmless(f"{when(event['time'])}  {event['what']}  {event['by']}  {first}"))
            for line in [*rest, *([f"(original: {original})"] if original else [])]:
                print(f"    {harmless(line)}")
    return 0


def draft_letters(arguments: argparse.Namespace) -> int:
    """`case draft`."""
    import msgspec

    from outbound_guard.desk.cases.drafts import drafts
    from outbound_guard.desk.cases.showing import case_and_history

    room = Room(arguments)
    with room.ledger() as ledger:
        case, history = asyncio.run(case_and_history(ledger, arguments.id))
    found = drafts(case, history, room.config, arguments.letter, name=arguments.to, language=arguments.language)
    if arguments.json:
        print_json(msgspec.to_builtins(found))
        return 0
    for number, draft in enumerate(found):
        if number:
            print("\n" + "=" * 72 + "\n")
        print_fields([("to", draft.to)])
        if draft.way is not None:
            asks = "; ".join(draft.way.asks)
            print_fields([("channel", draft.way.page), ("asks for", asks), ("account", draft.way.account)])
            print_fields([("note", draft.way.note), *(("programme", one) for one in draft.way.programmes)])
        print_fields([("subject", draft.subject)])
        print()
        for line in draft.body.splitlines():
            print(harmless(line))
    return 0


def export_case(arguments: argparse.Namespace) -> int:
    """`case export`."""
    from outbound_guard.desk.cases.export import as_html, as_text

    shown, now = shown_case(arguments), Room(arguments).clock.now()
    text = as_html(shown, now) if arguments.html else as_text(shown, now)
    if arguments.out:
        Path(arguments.out).write_text(text, encoding="utf-8")
        result = {"id": arguments.id, "file": arguments.out}
        print_json(result) if arguments.json else print(f"{arguments.out} written")
    elif arguments.json:
        print_json({"id": arguments.id, "text": text})
    else:
        sys.stdout.write(text)
    return 0


def print_numbers(arguments: argparse.Namespace) -> int:
    """`case numbers`."""
    from outbound_guard.desk.cases.numbers import numbers

    room = Room(arguments)
    now = room.clock.now()
    with room.ledger() as ledger:
        found = asyncio.run(numbers(ledger, now, since=now - arguments.since if arguments.since else 0.0))
    if arguments.json:
        print_json(found)
        return 0
    rate = found["relisting_rate"]
    print_fields([(name, found[name]) for name in ("cases", "open", "overdue", "ended")])
    print_fields([("came back", f"{found['came_back']} ({rate:.0%})" if rate is not None else "")])
    print()
    print_table(
        ("hours until", "cases", "median", "p90", "longest"),
        [
            (name, figures["cases"], *(f"{figures.get(part, 0) / 3600:.1f}" for part in ("median", "p90", "longest")))
            for name in ("detection", "containment", "removal")
            if (figures := found[name])["cases"]
        ],
    )
    if found["listings"]:
        print()
        rows = [(row["pool"] or "(none)", row["cause"], row["listings"]) for row in found["listings"]]
        print_table(("pool", "cause", "listings"), rows)
    return 0


def shown_case(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about the case that is named. Raises DeskError, LedgerError."""
    from outbound_guard.desk.cases.showing import case_show

    room = Room(arguments)
    with room.ledger() as ledger:
        return asyncio.run(case_show(ledger, room.config, room.clock.now(), arguments.id))


def print_checklist(shown: dict[str, Any]) -> None:
    """The checklist, stage by stage, and what hinders a request to an operator."""
    stage = ""
    for item in shown["checklist"]:
        if item["stage"] != stage:
            stage = item["stage"]
            print(f"{stage}:" + (" (the case is here)" if stage == shown["stage"] and shown["state"] == "open" else ""))
        mark = {"done": "x", "not needed": "-"}.get(item["state"], " ")
        print(f"  [{mark}] {item['item']:<11} {item['asks']}")
        for line in item["evidence"].splitlines():
            print(f"                  {harmless(line)}")
    for hindrance in shown["hindrances"]:
        print(f"not ready to file: {hindrance}")
