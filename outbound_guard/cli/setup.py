"""`init` and `version`."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

from outbound_guard import __version__

DEFAULT = "config/outbound-guard.toml"

STARTING = """\
# Outbound Guard: the configuration to start with. What is not said here has its default; docs/configuration.md has all.
# Times are seconds, sizes octets. Paths start at this file's folder. After a change: outbound-guard check-config

[server]
data_dir = "{data_dir}"          # spool, ledger, counters

[[listener]]
address = "127.0.0.1:2525"
trusted = ["127.0.0.0/8"]        # this machine may send without a login

[state]
url = "embedded"                 # counters: a private server, started and stopped with the service

[ledger]
url = "embedded"                 # what happened: SQLite in data_dir

# NOTHING IS SENT YET. With mode = "sink" mail that is let through is written to data_dir/sink, and goes nowhere else.
# As soon as there is a next hop, delete the mode below, or make it "smarthost", and name the next hop:
#
#   [[delivery.pool]]
#   name = "default"
#   smarthosts = ["smarthost.example.net:25"]
[delivery]
mode = "sink"

[policy]
file = "policy.toml"             # thresholds, limits, signals; the console changes it, or you do (then reload)
mode = "enforce"                 # "observe" scores and records everything, but changes no reply and holds nothing
"""
POLICY = """\
# The policy of Outbound Guard: how evidence becomes actions. What is not said here has its packaged value, so this file
# may stay as it is. docs/configuration.md and docs/signals.md have every setting; the console shows what is in force.
"""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    init = commands.add_parser("init", parents=[common], help="write a configuration to start with")
    init.add_argument("file", nargs="?", metavar="FILE", help=f"where to (default: --config, else {DEFAULT})")
    init.set_defaults(run=_init)
    version = commands.add_parser("version", parents=[common], help="print the version")
    version.set_defaults(run=_version)


def _init(arguments: argparse.Namespace) -> int:
    from outbound_guard.cli.terminal import print_json

    path = Path(arguments.file or arguments.config or DEFAULT)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, STARTING.format(data_dir=_data_dir(path.absolute().parent)))
    with contextlib.suppress(FileExistsError):
        _write(path.parent / "policy.toml", POLICY)
    if arguments.json:
        print_json({"file": str(path)})
    else:
        print(f"{path} written. It listens on 127.0.0.1:2525 and sends nothing until a next hop is named in it.")
    return 0


def _write(path: Path, text: str) -> None:
    # O_EXCL: what somebody has written is never overwritten.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _data_dir(folder: Path) -> str:
    """Beside the file, but not among a project's or a system's configuration files."""
    if folder.is_relative_to("/etc"):
        return "/var/lib/outbound-guard"
    return "../data" if folder.name == "config" else "./data"


def _version(arguments: argparse.Namespace) -> int:
    from outbound_guard.cli.terminal import print_json

    if arguments.json:
        print_json({"version": __version__})
    else:
        print(f"outbound-guard {__version__}")
    return 0
