"""Composition root: configuration becomes parts, parts become running processes. It does nothing else.

`serve` is the product: the supervisor starts the processes, and each process builds its parts here. relay.py takes
mail in, delivery.py works the queue, console.py keeps the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from importlib import import_module
from pathlib import Path

from outbound_guard import maillog
from outbound_guard.config import Config, ConfigError, find, load, policy_of
from outbound_guard.config.secrets import exposed
from outbound_guard.loops import loop_factory
from outbound_guard.signals import Panel

_log = logging.getLogger(__name__)


def serve(arguments: argparse.Namespace) -> int:
    """`outbound-guard serve`: the supervisor, or one of its children. Returns the exit code; raises ConfigError."""
    # What is written is mail and secrets: whatever the machine's habit is, nobody else may read it.
    os.umask(0o077)
    config = _configuration(arguments.config)
    maillog.set_up(getattr(logging, config.server.log_level.upper()))
    Panel(policy_of(config))

    from outbound_guard.app.child import Child
    from outbound_guard.state import tether

    child = Child.from_environment()
    if child is None:
        from outbound_guard.blocklist.lists import lists_of
        from outbound_guard.blocklist.own import own_subjects
        from outbound_guard.supervisor import ROLES, Supervisor

        # The console process needs them; a mistake there is to be seen before anything starts.
        lists_of(config)
        own_subjects(config)
        for sentence in exposed(config):
            _log.warning("%s", sentence)
        roles = ROLES if arguments.role == "all" else (arguments.role,)
        return Supervisor(Path(config.path), config, roles).run()
    tether.tie(child.parent)
    role = import_module(f"outbound_guard.app.{arguments.role}")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(role.run(config, child))
    return 0


def _configuration(named: str | None) -> Config:
    path = find(named)
    if path is None:
        raise ConfigError("no configuration: name one with --config, or write one with `outbound-guard init`")
    return load(path)
