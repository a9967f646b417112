"""`replay`: recorded traffic through the path; with a candidate policy, what it would change."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outbound_guard.config import Policy
    from outbound_guard.replay.backtest import Mail, Report

SHOWN = 20
"""Senders in the report unless all are asked for."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    replay = commands.add_parser(
        "replay", parents=[common], help="run recorded traffic through the path; compare a policy with the one in force"
    )
    replay.add_argument("trace", nargs="?", metavar="TRACE", help="a recorded trace: a directory")
    replay.add_argument("--stdio", action="store_true", help="be the relay under test: events in, answers out")
    replay.add_argument("--policy", metavar="FILE", help="the candidate; over a TRACE, against the one in force")
    replay.add_argument("--model", metavar="FILE", help="the candidate's content model")
    replay.add_argument("--out", metavar="FILE", help="where the (candidate's) run goes, one line a transaction")
    replay.add_argument("--all", action="store_true", help=f"all senders that differ, not only the first {SHOWN}")
    replay.add_argument(
        "--progress", action="store_true", help="say on stderr how far it is: lines of run (1 or 2), transactions"
    )
    replay.set_defaults(run=_replay, parser=replay)


def _replay(arguments: argparse.Namespace) -> int:
    if arguments.stdio == bool(arguments.trace):
        arguments.parser.error("name a TRACE, or --stdio")
    from outbound_guard import replay
    from outbound_guard.config import Policy, load_policy

    model = Path(arguments.model) if arguments.model else None
    policy = _usable(load_policy(Path(arguments.policy)) if arguments.policy else Policy())
    if arguments.stdio:
        replay.stdio(policy, sys.stdin.buffer, sys.stdout.buffer, model)
        return 0
    trace = Path(arguments.trace)
    if not arguments.policy and not arguments.model:
        name, policy, model = _in_force(arguments.config)
        run = replay.run(trace, policy, model, _telling(arguments, 1))
        _write(run, arguments.out)
        _print_counts(run)
        return 0

    from outbound_guard.replay.backtest import compare

    # The one in force first: should it or the trace be unusable, that is known before the longer half of the work.
    name, in_force, its_model = _in_force(arguments.config)
    _say(f"replaying under {name}")
    before = replay.run(trace, in_force, its_model, _telling(arguments, 1))
    _say("replaying under the candidate")
    candidate_policy = policy if arguments.policy else in_force
    after = replay.run(trace, candidate_policy, model or its_model, _telling(arguments, 2))
    _write(after, arguments.out)
    candidate = " with ".join(filter(None, (arguments.policy or name, arguments.model)))
    report = compare(trace, (name, before), (candidate, after))
    if not arguments.all:
        left, report.senders = len(report.senders) - SHOWN, report.senders[:SHOWN]
    else:
        left = 0
    if arguments.json:
        import msgspec

        from outbound_guard.cli.terminal import print_json

        print_json(msgspec.to_builtins(report) | {"senders_left_out": max(0, left)})
    else:
        _print(report, left)
    return 0


def _telling(arguments: argparse.Namespace, run: int) -> Callable[[int], None]:
    """Says how many transactions of a run are done, if that is wanted."""

    def tell(transactions: int) -> None:
        if arguments.progress:
            print(run, transactions, file=sys.stderr, flush=True)

    return tell


def _say(text: str) -> None:
    """For somebody who sits and waits."""
    if sys.stderr.isatty():
        from outbound_guard.cli.room import note

        note(text)


def _usable(policy: Policy) -> Policy:
    """The policy, if its signals are known. Raises ConfigError."""
    from outbound_guard import signals

    signals.Panel(policy)
    return policy


def _in_force(named: str | None) -> tuple[str, Policy, Path | None]:
    """Name, policy and content model that the configuration says; the packaged ones if there is none."""
    from outbound_guard import config

    path = config.find(named)
    loaded = config.load(path) if path else config.Config()
    model = loaded.resolve(loaded.policy.model) if loaded.policy.model else None
    name = str(loaded.resolve(loaded.policy.file)) if loaded.policy.file else "the packaged policy"
    return name, _usable(config.policy_of(loaded)), model


def _write(run: Any, out: str | None) -> None:
    if out:
        with Path(out).open("w", encoding="utf-8") as file:
            run.driver.write(file)


def _print_counts(run: Any) -> None:
    from outbound_guard.cli.terminal import print_json

    records = run.driver.records.values()
    delayed = sum(1 for r in records if r["final"] == "relay" and (r.get("held") or r.get("throttled")))
    print_json({"transactions": len(records), "delayed": delayed, **Counter(r["final"] for r in records)})


def _print(report: Report, left: int) -> None:
    from outbound_guard.cli.terminal import harmless, print_fields, print_table, some, when
    from outbound_guard.replay.backtest import FATES, OUTCOMES

    classes = [name for name in OUTCOMES if name in report.everything.outcomes]
    heading = [name.replace("_", " ") for name in classes]

    everything = report.everything
    print_fields(
        [
            ("trace", report.trace),
            ("from", when(report.begin)),
            ("to", when(report.end)),
            ("mail", f"{_counted(everything)}, {everything.recipients} recipients"),
            ("outcomes", _few(everything.outcomes)),
            ("labels", _few(everything.labels)),
            ("in force", report.in_force.name),
            ("candidate", report.candidate.name),
        ]
    )
    print()
    one, other = report.in_force, report.candidate
    rows = [(fate, one.fates[fate], other.fates[fate]) for fate in FATES]
    rows += [
        ("of these after a suspension", one.after_suspension, other.after_suspension),
        ("senders touched", one.touched.senders, other.touched.senders),
        ("accounts touched", one.touched.accounts, other.touched.accounts),
        ("senders suspended", one.suspended_senders, other.suspended_senders),
        ("accounts with one suspended", one.suspended_accounts, other.suspended_accounts),
    ]
    for label in sorted(everything.labels):
        rows.append((f"{label} touched", one.touched.labels.get(label, 0), other.touched.labels.get(label, 0)))
    print_table(("", "in force", "candidate", "change"), [(*r, f"{r[2] - r[1]:+d}") for r in rows])
    print()
    groups = (
        ("newly touched", report.newly_touched),
        ("no longer touched", report.no_longer_touched),
        ("touched otherwise", report.otherwise_touched),
    )
    print_table(
        ("what changes", "messages", "senders", "accounts", *heading, *everything.labels),
        [
            (
                name,
                m.messages,
                m.senders,
                m.accounts,
                *_columns(classes, m.outcomes),
                *_columns(everything.labels, m.labels),
            )
            for name, m in groups
        ],
    )
    for move, number in report.moves.items():
        print(f"  {number} messages {move}")
    for name, senders in (("newly", report.newly_suspended), ("no longer", report.no_longer_suspended)):
        if senders:
            print(f"{name} suspended: {harmless(some(senders, SHOWN))}")
    print()
    if not report.senders:
        print("Every message meets the same fate under both.")
        return
    print("Senders that differ; answers and labels are those of the messages with another fate:")
    print_table(
        ("sender", "account", "mail", "changed", "in force", "candidate", "suspended", *heading, *everything.labels),
        [
            (
                c.sender,
                c.account,
                c.messages,
                c.changed,
                _touched(c.in_force),
                _touched(c.candidate),
                c.suspended,
                *_columns(classes, c.outcomes),
                *_columns(everything.labels, c.labels),
            )
            for c in report.senders
        ],
    )
    if left > 0:
        print(f"{left} more senders differ; --all shows them.")


def _counted(mail: Mail) -> str:
    return f"{mail.messages} messages of {mail.senders} senders in {mail.accounts} accounts"


def _touched(fates: dict[str, int]) -> str:
    return _few({fate: number for fate, number in fates.items() if fate != "relayed"}) or "all relayed"


def _columns(names: Iterable[str], numbers: dict[str, int]) -> tuple[int, ...]:
    return tuple(numbers.get(name, 0) for name in names)


def _few(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in numbers.items() if number)
