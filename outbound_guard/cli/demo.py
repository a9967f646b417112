"""`demo`: the product with a made-up hosting provider around it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

_PAGES = (
    ("/", "what goes on: traffic, what waits, senders at risk"),
    ("/held", "what is held, and why, each with its arithmetic; release or delete it"),
    ("/accounts", "the customers: open one that was attacked, and its senders"),
    ("/addresses", "own addresses on blocklists; one gets listed within a minute"),
    ("/cases", "its case, to be worked through"),
    ("/feedback", "complaints, and whom they are about"),
    ("/blocked", "paste a bounce: whose fault, and what to do"),
)


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    demo = commands.add_parser(
        "demo",
        parents=[common],
        help="run the product with a made-up provider, attacks included, on this machine alone",
        description="Starts the product with a configuration of its own, in a temporary folder, and around it a "
        "made-up hosting provider: honest customers, attacks, receivers and blocklists. It connects to nothing but "
        "loopback. Ctrl-C ends it and removes everything.",
    )
    demo.add_argument("--seconds", type=_positive, default=0.0, metavar="N", help="end after so long (default: Ctrl-C)")
    demo.add_argument(
        "--speed", type=_positive, default=1.0, metavar="X", help="so many times the traffic (default: 1)"
    )
    demo.add_argument("--seed", type=int, default=1, metavar="N", help="other customers, other mail (default: 1)")
    demo.add_argument("--data", type=Path, metavar="DIR", help="a new folder for everything, which is kept")
    for name in ("console", "smtp", "metrics"):
        demo.add_argument(f"--{name}", default="127.0.0.1:0", metavar="HOST:PORT", help=f"where to listen for {name}")
    demo.set_defaults(run=_demo)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _demo(arguments: argparse.Namespace) -> int:
    from outbound_guard.demo.house import Ports
    from outbound_guard.demo.running import Wanted, run

    if arguments.config:
        print("outbound-guard: the demo writes its own configuration; leave --config out", file=sys.stderr)
        return 2
    ports = Ports(arguments.smtp, arguments.console, arguments.metrics)
    wanted = Wanted(arguments.seconds, arguments.speed, arguments.seed, arguments.data, ports)
    begun = time.monotonic()

    def tell(kind: str, fields: dict[str, Any]) -> None:
        if arguments.json:
            print(json.dumps({"event": kind, **fields}, ensure_ascii=False), flush=True)
        elif kind == "ready":
            _welcome(fields)
        else:
            passed = int(time.monotonic() - begun)
            print(f"{passed // 60:02}:{passed % 60:02}  {_told(kind, fields)}", flush=True)

    run(wanted, tell)
    return 0


def _told(kind: str, fields: dict[str, Any]) -> str:
    if kind != "traffic":
        return str(fields["text"])
    groups = (("honest mail", "honest"), ("of senders taken over", "taken_over"), ("spam", "spam"))
    counted = [(text, ", ".join(f"{number} {one}" for one, number in fields[name].items())) for text, name in groups]
    told = "; ".join(f"{text}: {numbers}" for text, numbers in counted if numbers) or "nothing yet"
    return f"{told}; complaints: {fields['complaints']}" if fields["complaints"] else told


def _welcome(fields: dict[str, Any]) -> None:
    print(
        f"\nThe console:  {fields['console']}\n"
        f"  sign in as {fields['user']}, password {fields['password']}\n\nWhat to look at:"
    )
    for path, text in _PAGES:
        print(f"  {fields['console']}{path:<11} {text}")
    print(f"\nMetrics: {fields['metrics']}/metrics   SMTP: {fields['smtp']}   Configuration: {fields['config']}")
    print("Everything stays on this machine. Ctrl-C ends it.\n", flush=True)
