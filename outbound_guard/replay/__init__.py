"""Recorded traffic through the product's own pipeline, policy and memory, in virtual time. Nothing is sent.

The events and answers are those of the trace format: one JSON object a line, one answer to each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.directory import Directory
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config, Policy
from outbound_guard.content.packaged import packaged_model
from outbound_guard.loops import loop_factory
from outbound_guard.mail import Envelope, Sender, Submission
from outbound_guard.pipeline import Pipeline
from outbound_guard.replay.driver import Driver
from outbound_guard.reply import parse
from outbound_guard.reputation import Reputation
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer
from outbound_guard.verdict import HOLD, SUSPENDED, Judgement

_LONGEST_HOLD = 86_400.0
"""Seconds; what is to wait for a person has no place in virtual time and is called quarantined."""


class _Sent(msgspec.Struct):
    """What must be known about a message until its last answer has come."""

    event: dict[str, Any]
    sender: Sender
    record: Any
    fingerprint: int


class Relay:
    """The relay under test: takes events, gives answers."""

    def __init__(self, pipeline: Pipeline, state: State, clock: VirtualClock) -> None:
        self._pipeline, self._state, self._clock = pipeline, state, clock
        self._folder = Path()
        self._archives: dict[str, BinaryIO] = {}
        self._sent: dict[str, _Sent] = {}
        self._senders: dict[str, Sender] = {}

    async def handle(self, event: dict[str, Any]) -> dict[str, Any]:
        """The answer to one event. Raises KeyError, ValueError or OSError for an event that cannot be understood."""
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
        judgement = await self._pipeline.judge(self._submission(event), event["t"])
        self._pipeline.learning.judged(judgement)
        known = _Sent(event, judgement.sender, judgement.memory.sender, judgement.message.fingerprint)
        self._sent.setdefault(event["id"], known)
        self._senders[judgement.sender.name] = judgement.sender
        return _answer(event["id"], judgement)

    async def _release_due(self, event: dict[str, Any]) -> dict[str, Any]:
        known = self._sent[event["id"]]
        held_for = event["t"] - known.event["t"]
        submission = self._submission(known.event)
        judgement = await self._pipeline.judge(submission, event["t"], sender=known.sender, held_for=held_for)
        return _answer(event["id"], judgement)

    def _answered(self, event: dict[str, Any]) -> None:
        known = self._sent[event["id"]]
        if event["ev"] == "complaint":
            self._pipeline.learning.complained(known.sender, known.record, event["t"])
            return
        code, _, text = event["reply"].partition(" ")
        replies = [parse(int(code), text)] * len(event["rcpt_to"])
        self._pipeline.learning.answered(known.sender, known.record, event["t"], replies)

    async def _reviewed(self, event: dict[str, Any]) -> None:
        sender = self._senders.get(event["account"] or "")
        if sender and event["finding"] in ("legitimate", "cleaned"):
            mistake = event["finding"] == "legitimate"
            await self._pipeline.reputation.pardon(sender.name, sender.account, event["t"], mistake=mistake)

    def _submission(self, event: dict[str, Any]) -> Submission:
        login = event["sasl_user"]
        return Submission(
            id=event["id"],
            received=event["t"],
            envelope=Envelope(event["mail_from"], tuple(event["rcpt_to"])),
            content=self._message(event["message"]),
            client_ip=event["client_ip"],
            helo=event["helo"],
            login=None if event["server"] else login,
            server=event["server"],
        )

    def _message(self, reference: str) -> bytes:
        name, offset, length = reference.rsplit(":", 2)
        if name not in self._archives:
            self._archives[name] = (self._folder / Path(name).name).open("rb")
        file = self._archives[name]
        file.seek(int(offset))
        return zlib.decompress(file.read(int(length)))


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
async def relay(policy: Policy) -> AsyncIterator[Relay]:
    """A relay with a fresh private store, the packaged identity rules and the given policy. Raises ConfigError."""
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
                under_test = Relay(
                    Pipeline(identifier, directory, reputation, policy, model=packaged_model(), observe=False),
                    state,
                    clock,
                )
                yield under_test
                under_test.close()
            finally:
                await state.close()
        finally:
            await server.stop()


def stdio(policy: Policy, source: BinaryIO, sink: BinaryIO) -> None:
    """Answer the events that come in on `source`, one a line, on `sink`, flushed, until `source` ends."""
    with _running(policy) as answer:
        for line in source:
            sink.write(msgspec.json.encode(answer(msgspec.json.decode(line))) + b"\n")
            sink.flush()


def drive(trace: Path, policy: Policy, out: Path | None) -> int:
    """Take a recorded trace through the path and print what became of it; `out` gets the run. Returns the exit code.

    Raises ConfigError, OSError, or ValueError for a trace that cannot be read.
    """
    with _running(policy) as answer:
        driver = Driver(answer)
        driver.run(trace)
    if out:
        with out.open("w", encoding="utf-8") as file:
            driver.write(file)
    ends = Counter(record["final"] for record in driver.records.values())
    delayed = sum(1 for r in driver.records.values() if r["final"] == "relay" and (r.get("held") or r.get("throttled")))
    print(json.dumps({"transactions": len(driver.records), "delayed": delayed, **ends}))
    return 0


@contextlib.contextmanager
def _running(policy: Policy) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """A relay on a loop of its own, as a plain function."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        loop, context = runner.get_loop(), relay(policy)
        under_test = runner.run(context.__aenter__())
        try:
            yield lambda event: loop.run_until_complete(under_test.handle(event))
        finally:
            runner.run(context.__aexit__(None, None, None))
