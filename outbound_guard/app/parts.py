"""What every process of the product is made of, opened on one stack and closed in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from outbound_guard.accounts import Identifier, Tokens, secret
from outbound_guard.accounts.directory import Directory
from outbound_guard.accounts.suppressed import Suppressed
from outbound_guard.app.child import Child
from outbound_guard.app.classes import class_news
from outbound_guard.app.news import LOOK, News
from outbound_guard.clock import SystemClock
from outbound_guard.config import Config, ConfigError, load, policy_of, used
from outbound_guard.content import Bodies
from outbound_guard.content.body import KEPT
from outbound_guard.content.packaged import model_of
from outbound_guard.content.urls import registrable
from outbound_guard.delivery import Delivery, answers
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.weight_queries import InForce
from outbound_guard.maillog import MailLog
from outbound_guard.metrics import Metrics
from outbound_guard.pipeline import Pipeline
from outbound_guard.reputation import Reputation
from outbound_guard.reputation.sender_classes import SenderClasses
from outbound_guard.scanners import Scanners
from outbound_guard.spool import Spool
from outbound_guard.state import State
from outbound_guard.trace.tape import Tape

_log = logging.getLogger(__name__)

_LOG_PAUSE = 0.1
"""Seconds that lines of the mail log are collected; one write for many costs a fraction."""


class Parts:
    """The parts that all processes share."""

    def __init__(self, config: Config, child: Child, stack: contextlib.AsyncExitStack) -> None:
        self.config, self.child, self.stack = config, child, stack
        self.clock = SystemClock()
        self.observe = config.policy.mode == "observe"
        self.hostname = config.server.hostname or socket.getfqdn()
        loop = asyncio.get_running_loop()
        data = config.data_dir
        self.metrics = Metrics(data / "run" / "metrics", child.slot)
        stack.callback(self.metrics.close)
        self.log = MailLog(sys.stdout, lambda write: loop.call_later(_LOG_PAUSE, write))
        stack.callback(self.log.flush)
        self.journal = Journal(data / "journal", child.slot, self.clock, loop.call_later)
        stack.callback(self.journal.close)
        self.spool = Spool(data / "spool", self.clock, config.spool.free_bytes)
        stack.callback(self.spool.close)
        self.tokens = Tokens(secret(data))

    async def judging(self) -> Pipeline:
        """The pipeline with its memory and directory; kept fresh in the background until the stack closes."""
        answers.packaged()  # Read now, so that the first refusal does not wait for it.
        registrable("mail.example.org")  # Likewise, for the first link.
        config = self.config
        ledger = Ledger(url_of(config.ledger.url, config.data_dir))
        self.stack.callback(ledger.close)
        state = await State.connect(self.child.state_url, timeout=config.state.timeout, count=self.metrics.count)
        self.stack.push_async_callback(state.close)
        directory = Directory(ledger, self.clock)
        await directory.refresh()
        news = News(state, directory)
        directory.tell = news.tell
        classes = SenderClasses(self.journal.append)
        learned = InForce(ledger) if config.policy.learn else None
        identifier = Identifier(
            config, directory.account_of, lambda word: self.metrics.count("identity_headers_total", word)
        )
        pipeline = Pipeline(
            identifier,
            directory,
            Reputation(state),
            policy_of(config),
            model=model_of(config),
            observe=self.observe,
            scanners=self._scanners(),
            classes=classes,
            bodies=Bodies(min(KEPT, config.policy.model_texts)),
        )

        async def weigh() -> None:
            if learned and await learned.refresh():
                pipeline.weigh(learned.factors)
                for signal, factor in learned.factors.items():
                    self.metrics.gauge("signal_factor", factor, signal)

        await weigh()
        self._tell(pipeline)

        async def keep_fresh() -> None:
            await directory.refresh()
            await identifier.refresh()
            await weigh()
            self.metrics.gauge("state_up", float(state.up))

        self.every(1.0, keep_fresh)
        self.every(LOOK, news.look)
        self.every(1.0, class_news(ledger, classes))
        return pipeline

    def suppression(self) -> Suppressed | None:
        """The suppression lists, if mail is refused because of them; kept fresh until the stack closes."""
        if self.config.feedback.suppress != "refuse":
            return None
        ledger = Ledger(url_of(self.config.ledger.url, self.config.data_dir))
        self.stack.callback(ledger.close)
        lists = Suppressed(ledger)

        async def keep_fresh() -> None:
            await lists.refresh()
            self.metrics.gauge("suppressed_recipients", len(lists))

        self.every(1.0, keep_fresh)
        return lists

    def tape(self) -> Tape | None:
        """Where the traffic is recorded, if the configuration asks for that; closed with the stack."""
        settings = self.config.recording
        if not settings.enabled:
            return None
        tape = Tape(
            self.config.recording_dir,
            self.child.slot,
            self.clock,
            settings,
            free_bytes=self.config.spool.free_bytes,
            observe=self.observe,
            loop=asyncio.get_running_loop(),
        )
        self.stack.callback(tape.close)
        lost = 0

        async def measure() -> None:
            nonlocal lost
            self.metrics.count("recording_lost_total", by=tape.lost - lost)
            lost = tape.lost

        self.every(1.0, measure)
        return tape

    def _scanners(self) -> Scanners | None:
        if not self.config.scanner:
            return None
        scanners = Scanners(self.config, self.clock, self.metrics)
        self.stack.push_async_callback(scanners.close)
        return scanners

    def every(self, seconds: float, work: Callable[[], Awaitable[Any]]) -> None:
        """Do `work` again and again in the background until the stack closes; what it raises is logged and counted."""

        async def forever() -> None:
            while True:
                try:
                    await work()
                except Exception:
                    _log.exception("background work failed and will be tried again")
                    self.metrics.count("background_failures_total")
                await asyncio.sleep(seconds)

        self.background(forever())

    def background(self, work: Any) -> None:
        """Run a coroutine until the stack closes."""
        task = asyncio.get_running_loop().create_task(work)

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.stack.push_async_callback(stop)

    def watch_next_hops(self, delivery: Delivery) -> None:
        """Keep the metric of the next hops until the stack closes."""

        async def look() -> None:
            for pool, up in delivery.healthy().items():
                self.metrics.gauge("next_hop_up", float(up), pool)

        self.every(1.0, look)

    def measure(self) -> None:
        """Keep the metrics of what all processes have, and pass on what was counted, until the stack closes."""
        failures = lost = 0

        async def journal() -> None:
            nonlocal failures, lost
            self.metrics.count("journal_errors_total", by=self.journal.failures - failures)
            self.metrics.count("journal_lost_total", by=self.journal.lost - lost)
            failures, lost = self.journal.failures, self.journal.lost

        self.every(1.0, journal)
        self.background(self.metrics.keep_flushing())

    def on_reload(self, pipeline: Pipeline, also: Callable[[], None] = lambda: None) -> None:
        """Read the policy again on SIGHUP; one that cannot be used changes nothing, and the log says so.

        `also` is called too.
        """

        def reload() -> None:
            also()
            try:
                pipeline.use(policy_of(load(Path(self.config.path))))
                _log.info("policy reloaded")
                self._tell(pipeline)
            except ConfigError as error:
                _log.error("the policy stays as it is: %s", error)

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)

    def _tell(self, pipeline: Pipeline) -> None:
        """Let people see by which policy this process judges."""
        try:
            used.tell(self.config.data_dir / "run", self.child.slot, pipeline.policy)
        except OSError as error:
            _log.warning("nobody can see which policy is used here: %s", error)


async def until_told() -> None:
    """Wait for SIGTERM or SIGINT."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()
