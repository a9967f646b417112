"""`weights show|history|reset|undo`: what decisions about held mail have made of the signals' weights."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.room import Room, note
from outbound_guard.cli.terminal import print_json, print_table, when

if TYPE_CHECKING:
    from outbound_guard.ledger.records import WeightChange


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    weights = commands.add_parser("weights", help="see and reset what was learned from decisions about held mail")
    acts = weights.add_subparsers(title="commands", metavar="COMMAND", required=True)

    show = acts.add_parser("show", parents=[common], help="the factor of each signal")
    show.set_defaults(run=_show)
    history = acts.add_parser("history", parents=[common], help="every change, newest first")
    history.add_argument("signal", nargs="?", default="", metavar="SIGNAL")
    history.add_argument("--limit", type=int, default=100, metavar="N", help="the newest N (default 100; 0: all)")
    history.set_defaults(run=_history)
    reset = _act(acts, common, "reset", "the weights of the policy again", _reset)
    reset.add_argument("signal", nargs="?", default="", metavar="SIGNAL", help="only this one")
    undo = _act(acts, common, "undo", "take back what was learned from one message", _undo)
    undo.add_argument("id", metavar="ID")


def _act(acts: Any, common: argparse.ArgumentParser, name: str, what: str, run: Any) -> argparse.ArgumentParser:
    act: argparse.ArgumentParser = acts.add_parser(name, parents=[common], help=what)
    act.add_argument("--reason", default="", help="why; stands in history and audit")
    act.add_argument("--by", help="who decides (default: your login)")
    act.set_defaults(run=run)
    return act


def _show(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.policy.weights import weights_show

    room = Room(arguments)
    with room.ledger() as ledger:
        found = weights_show(ledger)
    if not room.config.policy.learn:
        note("policy.learn is off: every factor counts as 1")
    if arguments.json:
        print_json(found)
        return 0
    print_table(
        ("signal", "factor", "honest", "abuse", "changed", "by"),
        [
            (
                row["signal"],
                f"{row['factor']:.3f}" if row["adapts"] else "fixed",
                row["honest"] if row["adapts"] else "",
                row["abuse"] if row["adapts"] else "",
                when(row["changed"]),
                row["by"],
            )
            for row in found
        ],
    )
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from outbound_guard.ledger.weight_queries import history

    room = Room(arguments)
    with room.ledger() as ledger:
        found = history(ledger, signal=arguments.signal, limit=max(0, arguments.limit))
    if arguments.json:
        print_json([_plain(change) for change in found])
    elif found:
        print_table(
            ("time", "signal", "change", "from", "to", "by", "message", "found", "reason"),
            [
                (
                    when(c.time),
                    c.signal,
                    c.change,
                    f"{c.factor_from:.3f}",
                    f"{c.factor_to:.3f}",
                    c.by,
                    c.message,
                    c.finding,
                    c.reason,
                )
                for c in found
            ],
        )
    else:
        print("No weight was ever changed.")
    return 0


def _reset(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.policy.weights import weights_reset

    room = Room(arguments)
    with room.ledger() as ledger, room.journal() as journal:
        done = weights_reset(ledger, journal, room.clock, arguments.signal, by=room.by, reason=arguments.reason)
    return _told(arguments, done)


def _undo(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.policy.weights import weights_undo

    room = Room(arguments)
    with room.ledger() as ledger, room.journal() as journal:
        done = weights_undo(ledger, journal, room.clock, arguments.id, by=room.by, reason=arguments.reason)
    return _told(arguments, done)


def _told(arguments: argparse.Namespace, changes: list[WeightChange]) -> int:
    if arguments.json:
        print_json([_plain(change) for change in changes])
        return 0
    for change in changes:
        print(f"{change.signal} {change.factor_from:.3f} -> {change.factor_to:.3f}")
    if not changes:
        print("Every weight is the policy's already.")
    return 0


def _plain(change: WeightChange) -> dict[str, Any]:
    return {name: getattr(change, name) for name in change.__struct_fields__}
