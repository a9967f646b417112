"""The whole command line: all commands, and what becomes of their errors."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from outbound_guard import __version__
from outbound_guard.cli import (
    account,
    answers,
    backup,
    blocklist,
    case,
    demo,
    explain,
    feedback,
    held,
    history,
    message,
    notice,
    panel,
    queue,
    replay,
    running,
    service,
    setup,
    suppression,
    train,
    user,
    weights,
)


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    top = argparse.ArgumentParser(
        prog="outbound-guard",
        description="A smarthost that finds abused accounts in the outbound mail of its customers.",
    )
    common = argparse.ArgumentParser(add_help=False)
    # Given before or after the command; SUPPRESS keeps the second place from undoing the first.
    for place, default in ((top, None), (common, argparse.SUPPRESS)):
        place.add_argument("--config", metavar="FILE", default=default, help="the configuration to use")
        place.add_argument(
            "--json",
            action="store_true",
            default=False if default is None else argparse.SUPPRESS,
            help="print JSON, for programs",
        )
    top.add_argument("--version", action="version", version=f"outbound-guard {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    mail = (explain, replay, train, held, queue, message, weights, account, feedback, suppression, notice, panel)
    for group in (service, demo, running, backup, *mail, user, blocklist, case, history, setup, answers):
        group.add(commands, common)
    return top


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        arguments = parser().parse_args(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BrokenPipeError:
        # Whoever read our output has enough; nothing more can be written, not even at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if os.environ.get("OUTBOUND_GUARD_TRACEBACK"):
            raise
        return _failed(error)


def _failed(error: Exception) -> int:
    from outbound_guard.cli.terminal import harmless

    name = type(error).__name__
    ours = ("Backup", "Config", "Desk", "History", "Ledger", "Model", "Trace", "Train")
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif name in {f"{part}Error" for part in ours}:
        text = str(error)
    else:
        text = f"{name}: {error} (set OUTBOUND_GUARD_TRACEBACK=1 to see where)"
    print(f"outbound-guard: {harmless(text)}", file=sys.stderr)
    return 1
