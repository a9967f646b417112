"""`serve` and `check-config`: the commands that are the application itself."""

from __future__ import annotations

import argparse
from typing import Any

from outbound_guard.cli.room import configuration, note

ROLES = ("all", "relay", "delivery", "console")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    serve = commands.add_parser("serve", parents=[common], help="run the service in the foreground")
    serve.add_argument("--role", choices=ROLES, default="all", help="only this part of it")
    serve.add_argument("--slot", type=int, default=0, metavar="N", help="number among the processes of its role")
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check-config", parents=[common], help="check configuration and policy")
    check.set_defaults(run=_check)


def _serve(arguments: argparse.Namespace) -> int:
    from outbound_guard import app

    return int(app.serve(arguments) or 0)


def _check(arguments: argparse.Namespace) -> int:
    from outbound_guard import config, signals
    from outbound_guard.blocklist.lists import lists_of
    from outbound_guard.blocklist.own import own_subjects
    from outbound_guard.cli.terminal import print_json
    from outbound_guard.config.secrets import exposed
    from outbound_guard.content.packaged import model_of

    loaded = configuration(arguments)
    signals.Panel(config.policy_of(loaded))
    model_of(loaded)
    lists_of(loaded)
    own_subjects(loaded)
    for sentence in exposed(loaded):
        note(sentence)
    if arguments.json:
        print_json({"ok": True, "file": loaded.path})
    else:
        print("ok")
    return 0
