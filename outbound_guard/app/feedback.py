"""The console process's part that takes in what the world answers later: reports by SMTP or LMTP, and logs."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path

from outbound_guard.app.parts import Parts
from outbound_guard.config import ConfigError, contains, load, networks, policy_of
from outbound_guard.edge.reports import Reports
from outbound_guard.feedback import Intake, take
from outbound_guard.feedback.results import Log
from outbound_guard.feedback.teaching import Teaching
from outbound_guard.learning import Learning
from outbound_guard.ledger.database import Ledger, LedgerError, url_of
from outbound_guard.ledger.feedback_queries import Row
from outbound_guard.ledger.weight_queries import InForce
from outbound_guard.mail import Submission
from outbound_guard.reply import Reply
from outbound_guard.reputation import Reputation
from outbound_guard.signals import Panel
from outbound_guard.state import State, StateDown

_log = logging.getLogger(__name__)

_LEARN = 1.0
_FOLLOW = 1.0
"""Seconds between two looks."""
_DRAIN = 3.0
"""Seconds that a report under way gets when the process is told to stop."""
_HANDED_OVER = 0.05

_LATER = Reply(451, "4.3.0", "OG-FEEDBACK cannot be taken now, please try again")


async def take_feedback(parts: Parts, writer: Ledger, ready: Callable[[], bool], leads: Callable[[], bool]) -> Intake:
    """Take in reports and logs in the background until the parts are closed; the way in for whoever has more.

    `writer` is the scribe's ledger; `ready`: it can be used; `leads`: and it is this host that learns from it.
    """
    config = parts.config
    reader = Ledger(url_of(config.ledger.url, config.data_dir))
    parts.stack.callback(reader.close)
    intake = Intake(
        reader,
        parts.journal,
        parts.tokens,
        parts.clock,
        most=config.feedback.message_size,
        data_dir=config.data_dir,
        count=parts.metrics.count,
    )
    await _learn(parts, reader, writer, leads)
    await _listen(parts, intake, ready)
    _follow(parts, intake, ready)
    return intake


async def _learn(parts: Parts, reader: Ledger, writer: Ledger, ready: Callable[[], bool]) -> None:
    config = parts.config
    state = await State.connect(parts.child.state_url, timeout=config.state.timeout, count=parts.metrics.count)
    parts.stack.push_async_callback(state.close)
    reputation = Reputation(state)
    factors = InForce(reader) if config.policy.learn else None
    tape = parts.tape()
    policy = policy_of(config)

    def learning() -> Learning:
        nonlocal policy
        try:
            policy = policy_of(load(Path(config.path)))
        except ConfigError as error:
            _log.error("the policy stays as it is: %s", error)
        return Learning(reputation, Panel(policy, factors.factors if factors else None), policy, observe=parts.observe)

    def told(row: Row) -> None:
        if tape is not None and row["outcome"] == "complaint":
            tape.complained(row["message"], row["time"], row["recipient"])

    teaching = Teaching(reader, writer, reputation, learning, parts.log, parts.metrics.count, told)

    async def once() -> None:
        if not ready():
            return
        try:
            if factors:
                await factors.refresh()
            # Each time anew: another host may lead by now.
            while ready() and await teaching.once():
                pass
        except (LedgerError, StateDown) as error:
            _log.error("nothing can be learned from feedback for now: %s", error)

    parts.every(_LEARN, once)


async def _listen(parts: Parts, intake: Intake, ready: Callable[[], bool]) -> None:
    descriptor = parts.child.fds.get("feedback")
    if descriptor is None:
        return
    trusted = networks(parts.config.feedback.trusted)

    async def accept(submission: Submission) -> Reply:
        if not ready():
            return _LATER
        try:
            taken = await take(
                submission.content,
                intake,
                source=f"smtp {submission.client_ip}",
                trusted=contains(trusted, submission.client_ip),
                mail_from=submission.envelope.mail_from,
            )
        except (LedgerError, OSError) as error:
            _log.error("a report cannot be taken for now: %s", error)
            return _LATER
        if taken.result == "early":
            return _LATER
        parts.log.event("Report", parts.clock.now(), id=submission.id, source=submission.client_ip, **taken.plain)
        return Reply(250, "2.0.0", f"Ok: {taken.result} {submission.id}")

    reports = Reports(
        parts.config, hostname=parts.hostname, clock=parts.clock, accept=accept, count=parts.metrics.count
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(reports.protocol, sock=socket.socket(fileno=descriptor))

    async def stop() -> None:
        server.close()
        await asyncio.sleep(_HANDED_OVER)
        await reports.sessions.drain(_DRAIN)

    parts.stack.push_async_callback(stop)


def _follow(parts: Parts, intake: Intake, ready: Callable[[], bool]) -> None:
    paths = [parts.config.resolve(name) for name in parts.config.feedback.postfix_logs]
    if not paths:
        return
    logs = [Log(path, intake) for path in paths]
    failing: dict[Path, str] = {}
    for log in logs:
        parts.stack.callback(log.follower.close)
        try:
            log.follower.begin()
        except OSError as error:
            _log.error("%s cannot be followed for now: %s", log.follower.path, error)

    async def once() -> None:
        if not ready():
            return
        for log in logs:
            path = log.follower.path
            try:
                told = await asyncio.to_thread(log.look, parts.clock.now())
                log.note(told)
            except (LedgerError, OSError) as error:
                if failing.get(path) != str(error):
                    _log.error("%s cannot be followed for now: %s", path, error)
                failing[path] = str(error)
                continue
            failing.pop(path, None)
            for result, number in told.counts.items():
                if number:
                    parts.metrics.count("feedback_log_lines_total", result, by=number)
        parts.metrics.gauge("feedback_log_behind_bytes", sum(log.follower.behind for log in logs))

    parts.every(_FOLLOW, once)
