"""`explain`: score messages and show the arithmetic."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outbound_guard import config
from outbound_guard.cli.room import note
from outbound_guard.cli.terminal import harmless, print_json

if TYPE_CHECKING:
    from outbound_guard.desk.policy.why import Why
    from outbound_guard.mail import Verdict


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    explain = commands.add_parser("explain", parents=[common], help="score messages and show the arithmetic")
    explain.add_argument("files", nargs="+", metavar="FILE", help="messages; - is standard input")
    explain.add_argument("--account", default="", help="as if sent by this account")
    explain.set_defaults(run=_explain)


def _explain(arguments: argparse.Namespace) -> int:
    from outbound_guard.app.explaining import judge

    code, contents = 0, {}
    for name in arguments.files:
        try:
            contents[name] = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            note(f"{name}: {error.strerror or error}")
            code = 1
    path = config.find(arguments.config)
    loaded = config.load(path) if path else config.Config()
    for name, (verdict, why) in asyncio.run(judge(loaded, contents, arguments.account)).items():
        if arguments.json:
            print_json(_plain(name, verdict, why))
        else:
            for line in _readable(name, verdict, why):
                print(harmless(line))
    return code


def _plain(name: str, verdict: Verdict, why: Why) -> dict[str, Any]:
    """The first four are fixed: other programs rely on them."""
    import msgspec

    signals = [
        {"name": s.name, "weight": round(s.weight, 4), "reason": s.reason} | ({"shadow": True} if s.shadow else {})
        for s in verdict.signals
    ]
    # The sum of what is printed, so that it adds up to the last digit.
    score = round(sum([round(s.weight, 4) for s in verdict.signals if not s.shadow]), 4)
    plain: dict[str, Any] = {"file": name, "action": verdict.action, "score": score, "signals": signals}
    return plain | {"code": verdict.code, "reason": verdict.reason, "why": msgspec.to_builtins(why)}


def _readable(name: str, verdict: Verdict, why: Why) -> list[str]:
    lines = [f"{name}: {verdict.action} ({verdict.code}), score {verdict.score:+.2f}"]
    for signal in sorted(verdict.signals, key=lambda s: -abs(s.weight)):
        mark = " (on trial, not counted)" if signal.shadow else ""
        lines.append(f"  {signal.weight:+6.2f}  {signal.name:<14} {signal.reason}{mark}")
    return [*lines, *(f"  {sentence}" for sentence in why.sentences)]
