"""`import-history`: what senders did before the product was there, from the logs of their mail server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import time
import zoneinfo
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.room import Room

if TYPE_CHECKING:
    from outbound_guard.history.importing import Summary
    from outbound_guard.state import State

SHOWN = 20
_PAUSE = 2.0
"""Seconds between two words on how far it is."""


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    history = commands.add_parser(
        "import-history",
        parents=[common],
        help="learn what is usual for each sender from the logs of an existing mail server",
        description="Reads mail logs of one server and learns recipients, clients, volumes and answers of each sender. "
        "The same log can be imported again: what is known is not counted twice.",
    )
    kind = history.add_mutually_exclusive_group(required=True)
    kind.add_argument("--exim", nargs="+", metavar="LOG", help="Exim main logs, plain or gzip (cPanel: exim_mainlog*)")
    kind.add_argument("--postfix", nargs="+", metavar="LOG", help="mail logs of Postfix, plain or gzip")
    history.add_argument(
        "--server", default="", metavar="NAME", help="the server's login here, or its address; names its local senders"
    )
    history.add_argument(
        "--passwd", metavar="FILE", help="the server's passwd file; for cPanel, whose headers name uids"
    )
    history.add_argument("--timezone", metavar="ZONE", help="of times that name none, as Europe/Rome (default: ours)")
    history.add_argument("--dry-run", action="store_true", help="say what would be learned, and learn nothing")
    history.add_argument("--all", action="store_true", help=f"all senders in the summary, not only the first {SHOWN}")
    history.set_defaults(run=_import, parser=history)


def _import(arguments: argparse.Namespace) -> int:
    from outbound_guard.history.importing import Source

    zone = None
    if arguments.timezone:
        try:
            zone = zoneinfo.ZoneInfo(arguments.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            arguments.parser.error(f"--timezone: {arguments.timezone!r} is no time zone such as Europe/Rome")
    room = Room(arguments)
    files = arguments.exim or arguments.postfix
    uids = _uids(Path(arguments.passwd)) if arguments.passwd else {}
    kind = "exim" if arguments.exim else "postfix"
    source = Source(kind, tuple(map(Path, files)), arguments.server.lower(), uids, zone)
    summary = asyncio.run(_learn(room, source, dry_run=arguments.dry_run))
    _print(summary, everything=arguments.all, json=arguments.json)
    return 0


async def _learn(room: Room, source: Any, *, dry_run: bool) -> Summary:
    from outbound_guard.accounts.directory import Directory
    from outbound_guard.history.importing import import_logs
    from outbound_guard.ledger.database import LedgerError
    from outbound_guard.reputation.past import Past

    progress = _Progress()
    with contextlib.ExitStack() as stack:
        directory = Directory(None, room.clock)
        # Without a ledger nobody has told yet whose senders are whose.
        with contextlib.suppress(LedgerError):
            directory = Directory(stack.enter_context(room.ledger()), room.clock)
            await directory.refresh()
        if dry_run:
            return await import_logs(source, room.config, directory.account_of, None, progress)
        async with _state(room) as state:
            past = Past(state, room.clock.now())
            return await import_logs(source, room.config, directory.account_of, past, progress)


@contextlib.asynccontextmanager
async def _state(room: Room) -> AsyncIterator[State]:
    """The product's memory; if the service is not running, its embedded store is started for the time of the import.

    Raises HistoryError if it cannot be reached.
    """
    from outbound_guard.config import state_url
    from outbound_guard.history import HistoryError
    from outbound_guard.ledger.scribe import running
    from outbound_guard.state import State, StateDown
    from outbound_guard.state.embedded import EmbeddedServer, socket_path

    # What goes wrong is said once, by us.
    logging.getLogger("outbound_guard.state").setLevel(logging.CRITICAL)
    settings = room.config.state
    server = None
    url = state_url(room.config)
    if url == "embedded":
        socket = socket_path(room.config.data_dir)
        url = f"unix://{socket}"
        # Two servers on one folder would be the end of both; parts of the service may run alone.
        if not running(room.journal_dir) and not await _answers(socket):
            server = EmbeddedServer(room.config.data_dir, max_memory=settings.max_memory)
            await server.start()
    try:
        state = await State.connect(url, timeout=30.0, count=lambda *_, **__: None)
        try:
            await state.everywhere("PING")
            yield state
        except StateDown as error:
            raise HistoryError(f"the memory of the product cannot be reached: {error}; import again later") from error
        finally:
            await state.close()
    finally:
        if server:
            await server.stop()


async def _answers(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    writer.close()
    return True


class _Progress:
    """Says on standard error how far it is, every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, path: Path, share: float, count: int) -> None:
        from outbound_guard.cli.terminal import harmless

        now = time.monotonic()
        if now - self._last >= _PAUSE:
            self._last = now
            print(f"{harmless(str(path))}: {share:.0%}, {count} lines", file=sys.stderr, flush=True)


def _uids(path: Path) -> dict[str, int]:
    """Numbers of system users by name. Raises OSError, HistoryError."""
    from outbound_guard.history import HistoryError

    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split(":")
        if len(parts) >= 3 and parts[2].isdecimal():
            found[parts[0]] = int(parts[2])
    if not found:
        raise HistoryError(f"{path}: names no users; expected lines as in /etc/passwd")
    return found


def _print(summary: Summary, *, everything: bool, json: bool) -> None:
    from outbound_guard.cli.terminal import print_fields, print_json, print_table, when

    by_size = sorted(summary.senders.items(), key=lambda item: (-item[1].recipients, item[0]))
    shown = by_size if everything else by_size[:SHOWN]
    left = len(by_size) - len(shown)
    if json:
        import msgspec

        found = msgspec.to_builtins(summary)
        found["senders"] = [{"sender": name, **msgspec.to_builtins(known)} for name, known in shown]
        print_json(found | {"senders_in_all": len(by_size), "senders_left_out": left})
        return
    print_fields(
        [
            ("would be learned" if summary.dry_run else "learned", f"{summary.messages} messages, {summary.recipients} "
             f"recipients of {len(by_size)} senders in {summary.accounts} accounts"),
            ("from", when(summary.begin)),
            ("to", when(summary.end)),
            ("read", f"{summary.lines} lines in {summary.files} files"),
            ("known already", f"{summary.hours_known} of {summary.hours} hours" if summary.hours_known else ""),
            ("not usual, left out", f"{summary.hours_left_out} hours" if summary.hours_left_out else ""),
            ("answers", _few(summary.outcomes)),
        ]
        + [(f"skipped, {reason}", number) for reason, number in summary.skipped.items()]
    )  # fmt: skip
    if shown:
        print()
        print_table(
            ("sender", "account", "messages", "recipients", "highest hour", "answers"),
            [
                (name, k.account, k.messages, k.recipients, k.highest_hour, _few(k.outcomes)) for name, k in shown
            ],
        )  # fmt: skip
    if left:
        print(f"{left} more senders; --all shows them.")


def _few(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in numbers.items())
