"""`reload`, `restart` and `drain`: what is asked of the service that runs on this configuration."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import Any

from outbound_guard.cli.room import configuration

_POLL = 0.5
"""Seconds between two looks."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    texts = {
        "reload": ("let the running service read its policy again", signal.SIGHUP),
        "restart": ("put new processes in the place of the running ones, without losing a connection", signal.SIGUSR1),
        "drain": ("take no new mail, deliver what is queued, and stop the running service", signal.SIGUSR2),
    }
    for name, (text, number) in texts.items():
        command = commands.add_parser(name, parents=[common], help=text)
        command.set_defaults(run=_ask, signal=number, wait=False)
        if name == "drain":
            command.add_argument("--wait", action="store_true", help="return when it has stopped")


def _ask(arguments: argparse.Namespace) -> int:
    from outbound_guard.cli.terminal import print_json
    from outbound_guard.config import policy_of
    from outbound_guard.supervisor.lock import holder

    loaded = configuration(arguments)
    policy_of(loaded)  # A mistake is better said here than in the service's log.
    pid = holder(loaded.data_dir)
    if pid is None:
        print(f"outbound-guard: nothing runs on {loaded.data_dir}", file=sys.stderr)
        return 1
    os.kill(pid, arguments.signal)
    while arguments.wait and holder(loaded.data_dir) == pid:
        time.sleep(_POLL)
    if arguments.json:
        print_json({"process": pid, "signal": signal.Signals(arguments.signal).name})
    else:
        print("it has stopped" if arguments.wait else f"process {pid} has been told")
    return 0
