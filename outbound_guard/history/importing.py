"""The whole import: logs in, memory filled, and a summary of what was learned."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from outbound_guard.config import Config
from outbound_guard.history.exim import Exim
from outbound_guard.history.files import Progress, in_order, lines
from outbound_guard.history.learning import Known, Learning
from outbound_guard.history.postfix import Postfix
from outbound_guard.history.senders import Senders
from outbound_guard.reputation.past import Past

READERS: dict[str, type[Exim] | type[Postfix]] = {"exim": Exim, "postfix": Postfix}


class Source(msgspec.Struct, frozen=True):
    """The logs of one server."""

    kind: str
    """exim | postfix"""
    files: tuple[Path, ...]
    server: str = ""
    """Its name among the senders; see senders.Senders."""
    uids: Mapping[str, int] = {}
    """Numbers of its system users, where its headers name them by number."""
    zone: datetime.tzinfo | None = None
    """Of times that name none; None: this machine's."""


class Summary(msgspec.Struct):
    """What was learned, or would be."""

    dry_run: bool
    files: int = 0
    lines: int = 0
    begin: float = 0.0
    end: float = 0.0
    """Unix seconds of the first and the last delivery."""
    messages: int = 0
    recipients: int = 0
    accounts: int = 0
    hours: int = 0
    """Hours of senders that were learned."""
    hours_known: int = 0
    """Of these: taken in by an earlier import, so not counted again."""
    hours_left_out: int = 0
    """Hours in which so much was refused that they are not taken for usual."""
    outcomes: dict[str, int] = msgspec.field(default_factory=dict)
    skipped: dict[str, int] = msgspec.field(default_factory=dict)
    """Messages that say nothing about a sender, by reason."""
    senders: dict[str, Known] = msgspec.field(default_factory=dict)


async def import_logs(
    source: Source,
    config: Config,
    account_of: Callable[[str], str | None],
    past: Past | None,
    progress: Progress,
) -> Summary:
    """Read the logs of one server in the order of their times and put into memory what is usual for its senders.

    Without `past` it only says what would be learned. What was taken in before is not counted twice, so an import that
    broke off can be made again. Raises HistoryError, OSError, StateDown.
    """
    skipped: Counter[str] = Counter()
    reader = READERS[source.kind](skipped)
    senders = Senders(config, account_of, source.server, source.uids, skipped)
    learning = Learning(lambda delivery: senders.find(delivery.origin), past, f"{source.kind} {source.server}".strip())
    summary = Summary(dry_run=past is None)
    for path in in_order(sorted(set(source.files)), source.zone):
        learning.next_file()
        for time, line in lines(path, source.zone, progress):
            summary.lines += 1
            delivery = reader.read(time, line)
            if delivery is not None:
                await learning.hear(delivery)
        summary.files += 1
    await learning.finish()
    _add_up(summary, learning)
    summary.skipped = dict(skipped.most_common())
    return summary


def _add_up(summary: Summary, learning: Learning) -> None:
    summary.begin, summary.end, summary.hours_known = learning.begin, learning.end, learning.known_already
    summary.senders = learning.senders
    summary.accounts = len({known.account for known in learning.senders.values()})
    outcomes: Counter[str] = Counter()
    for known in learning.senders.values():
        summary.messages += known.messages
        summary.recipients += known.recipients
        summary.hours += known.hours
        summary.hours_left_out += known.left_out
        outcomes.update(known.outcomes)
    summary.outcomes = dict(outcomes.most_common())
