"""Recorded traffic through the product's own pipeline, policy and memory, in virtual time. Nothing is sent.

The events and answers are those of the trace format: one JSON object a line, one answer to each.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.directory import Directory
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config, Policy
from outbound_guard.content.model import load
from outbound_guard.content.packaged import packaged_model
from outbound_guard.loops import loop_factory
from outbound_guard.mail import Envelope, Sender, Submission
from outbound_guard.pipeline import Pipeline
from outbound_guard.replay.driver import Driver
from outbound_guard.reply import parse
from outbound_guard.reputation import Reputation
from outbound_guard.scanners import Opinion
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer
from outbound_guard.trace import TraceError, recorded
from outbound_guard.verdict import HOLD, SUSPENDED, Held, Judgement

_LONGEST_HOLD = 86_400.0
"""Seconds; what is to wait for a person has no place in virtual time and is called quarantined."""


class _Sent(msgspec.Struct):
    """What must be known about a message until its last answer has come."""

    event: dict[str, Any]
    sender: Sender
    record: Any
    fingerprint: int
    new: float
    """The share of its recipients that the sender had never written to."""
    weights: dict[str, float]
    """What each signal contributed when it came in."""


class Relay:
    """The relay under test: takes events, gives answers."""

    def __init__(self, pipeline: Pipeline, state: State, clock: VirtualClock, heard: recorded.Heard) -> None:
        self._pipeline, self._state, self._clock, self._heard = pipeline, state, clock, heard
        self._folder = Path()
        self._archives: dict[str, BinaryIO] = {}
        self._sent: dict[str, _Sent] = {}
        self.senders: dict[str, Sender] = {}
        """Whoever has sent anything, by name."""

    async def handle(self, event: dict[str, Any]) -> dict[str, Any]:
        """The answer to one event. Raises KeyError, ValueError or TraceError for one that cannot be understood."""
        kind = event["ev"]
        self._clock.set(event["t"])
        answer: dict[str, Any] = {}
        if kind == "start":
            self._folder = Path(event["trace"])
        elif kind == "tx":
            answer = await self._tx(event)
        elif kind == "release_due":
            answer = await self._release_due(event)
        elif kind in ("result", "bounce", "complaint"):
            self._answered(event)
        elif kind == "review":
            await self._reviewed(event)
        elif kind != "end":
            raise ValueError(f"unknown event {kind!r}")
        # What was written behind is carried out before the next event: same input, same verdicts.
        self._state.push()
        return answer

    def close(self) -> None:
        """Close the archives."""
        for file in self._archives.values():
            file.close()

    async def _tx(self, event: dict[str, Any]) -> dict[str, Any]:
        if said := (event.get("recorded") or {}).get("scanners"):
            self._heard.said[event["id"]] = msgspec.convert(said, tuple[Opinion, ...])
        judgement = await self._judge(event, event["t"], sender=_recorded_sender(event))
        self._pipeline.learning.judged(judgement)
        weights = {signal.name: signal.weight for signal in judgement.verdict.signals}
        memory, fingerprint = judgement.memory, judgement.message.fingerprint
        known = _Sent(event, judgement.sender, memory.sender, fingerprint, memory.new_share, weights)
        self._sent.setdefault(event["id"], known)
        self.senders[judgement.sender.name] = judgement.sender
        return _answer(event["id"], judgement)

    async def _release_due(self, event: dict[str, Any]) -> dict[str, Any]:
        known = self._sent[event["id"]]
        held = Held(event["t"] - known.event["t"], known.weights)
        judgement = await self._judge(known.event, event["t"], sender=known.sender, held=held)
        return _answer(event["id"], judgement)

    async def _judge(self, event: dict[str, Any], now: float, **known: Any) -> Judgement:
        submission = self._submission(event)
        return await self._pipeline.judge(submission, now, message=recorded.read(submission.content), **known)

    def _answered(self, event: dict[str, Any]) -> None:
        known = self._sent[event["id"]]
        if event["ev"] == "complaint":
            self._pipeline.learning.complained(known.sender, known.record, event["t"])
            return
        code, _, text = event["reply"].partition(" ")
        replies = [parse(int(code), text)] * len(event["rcpt_to"])
        self._pipeline.learning.answered(known.sender, known.record, event["t"], replies, new=known.new)

    async def _reviewed(self, event: dict[str, Any]) -> None:
        sender = self.senders.get(event["account"] or "")
        if sender and event["finding"] in ("legitimate", "cleaned"):
            mistake = event["finding"] == "legitimate"
            await self._pipeline.reputation.pardon(sender.name, sender.account, event["t"], mistake=mistake)

    def _submission(self, event: dict[str, Any]) -> Submission:
        login = event["sasl_user"]
        return Submission(
            id=event["id"],
            received=event["t"],
            envelope=Envelope(event["mail_from"], tuple(event["rcpt_to"])),
            content=self._content(event),
            client_ip=event["client_ip"],
            helo=event["helo"],
            login=None if event["server"] else login,
            server=event["server"],
        )

    def _content(self, event: dict[str, Any]) -> bytes:
        """The message, or what was recorded of it."""
        content = self._message(event["message"])
        evidence = (event.get("recorded") or {}).get("evidence")
        return recorded.HeaderOnly(content, msgspec.convert(evidence, recorded.Evidence)) if evidence else content

    def _message(self, reference: str) -> bytes:
        try:
            name, offset, length = reference.rsplit(":", 2)
            place = self._folder / Path(name).name
            if name not in self._archives:
                self._archives[name] = place.open("rb")
            file = self._archives[name]
            file.seek(int(offset))
            return zlib.decompress(file.read(int(length)))
        except (OSError, ValueError, zlib.error) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise TraceError(f"{self._folder}: the message {reference!r} cannot be read: {why}") from error


def _recorded_sender(event: dict[str, Any]) -> Sender | None:
    """Whom the product found to be the sender when it recorded this; it knew the directory of accounts."""
    sender = (event.get("recorded") or {}).get("sender")
    return msgspec.convert(sender, Sender) if sender else None


def _answer(id_: str, judgement: Judgement) -> dict[str, Any]:
    verdict = judgement.verdict
    action = {"defer": "throttle"}.get(verdict.action, verdict.action)
    if action == HOLD and not verdict.wait:
        action = "quarantine"
    reasons = [f"{s.name} {s.weight:+.1f}: {s.reason}" for s in verdict.signals if abs(s.weight) >= 0.1]
    answer = {
        "id": id_,
        "action": action,
        "score": round(verdict.score, 3),
        "account": judgement.sender.name,
        "reasons": reasons,
        "suspended": bool(verdict.suspend) or verdict.code == SUSPENDED,
    }
    if action == HOLD:
        answer["release_after"] = min(verdict.wait, _LONGEST_HOLD)
    return answer


@contextlib.asynccontextmanager
async def relay(policy: Policy, model: Path | None = None) -> AsyncIterator[Relay]:
    """A relay with a fresh private store, the packaged identity rules and the content model of a file.

    Without a file it is the packaged model. Raises ConfigError, ModelError.
    """
    opinion = load(model) if model else packaged_model()
    if opinion:
        opinion = recorded.Opinions(opinion)
    config, clock = Config(), VirtualClock()
    with tempfile.TemporaryDirectory(prefix="outbound-guard-") as folder:
        server = EmbeddedServer(Path(folder), max_memory=config.state.max_memory, persist=False)
        await server.start()
        try:
            state = await State.connect(server.url, timeout=10.0, count=lambda *labels, by=1: None)
            try:
                directory = Directory(None, clock)
                reputation = Reputation(state)
                identifier = Identifier(config, directory.account_of)
                heard = recorded.Heard()
                path = Pipeline(identifier, directory, reputation, policy, model=opinion, observe=False, scanners=heard)
                under_test = Relay(path, state, clock, heard)
                yield under_test
                under_test.close()
            finally:
                await state.close()
        finally:
            await server.stop()


def stdio(policy: Policy, source: BinaryIO, sink: BinaryIO, model: Path | None = None) -> None:
    """Answer the events that come in on `source`, one a line, on `sink`, flushed, until `source` ends."""

    async def serve() -> None:
        async with relay(policy, model) as under_test:
            # Reading blocks the loop, on purpose: between two events nothing happens in virtual time.
            for line in source:
                answer = await under_test.handle(msgspec.json.decode(line))
                sink.write(msgspec.json.encode(answer) + b"\n")
                sink.flush()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())


class Run(msgspec.Struct, frozen=True):
    """What became of a trace under one policy."""

    driver: Driver
    accounts: dict[str, str]
    """The account of each sender."""


def run(
    trace: Path,
    policy: Policy,
    model: Path | None = None,
    progress: Callable[[int], object] = lambda transactions: None,
) -> Run:
    """Take a trace through the path, with a fresh store. Raises ConfigError, ModelError, OSError, TraceError.

    `progress` is told now and then how many transactions are done.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        loop, context = runner.get_loop(), relay(policy, model)
        under_test = runner.run(context.__aenter__())
        try:
            driver = Driver(lambda event: loop.run_until_complete(under_test.handle(event)), progress)
            driver.run(trace)
        finally:
            runner.run(context.__aexit__(None, None, None))
    return Run(driver, {name: sender.account for name, sender in under_test.senders.items()})
