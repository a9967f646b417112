"""What each stage of the path costs a relay process: microseconds of CPU time for a message.

    .venv/bin/python -m benchmarks.stages [--size 4k|50k|1m] [--rounds 15] [--texts 4096]

The product's own parts are put together in this process as a relay process does it, before a real state server and,
each in a process of its own, Postfix's smtp-source and smtp-sink. Each stage then works on the same messages, those
that wait for others with twenty at a time, and of several rounds the best of each is printed; beside it the state
server's own time. What nobody can be charged with (the garbage collector, metrics once a second) is in none of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import runpy
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import plain
from benchmarks.harness import HARNESS
from outbound_guard.actions import Actions, Outcome
from outbound_guard.app.parts import Child, Parts
from outbound_guard.config import load
from outbound_guard.content import parse
from outbound_guard.delivery import Delivery
from outbound_guard.edge import Edge, Room, Sessions
from outbound_guard.mail import Envelope, Submission, new_id
from outbound_guard.pipeline import Pipeline
from outbound_guard.recording import Recorder
from outbound_guard.reply import Reply, queued
from outbound_guard.reputation import sums
from outbound_guard.signals import View
from outbound_guard.signals.traits import observe
from outbound_guard.state.embedded import EmbeddedServer
from outbound_guard.verdict import Judgement, circumstances, class_now, decide

_AT_ONCE = 20
_MESSAGES = {"4k": 400, "50k": 100, "1m": 20}
"""Messages of one round."""
_WHOLE = "all but the edge, as one"
_CONFIG = """\
[server]
hostname = "guard.example.net"
data_dir = "data"
[[listener]]
address = "127.0.0.1:0"
trusted = ["127.0.0.0/8"]
[[delivery.pool]]
smarthosts = ["127.0.0.1:{sink}"]
tls = "none"
[policy]
mode = "observe"
file = "policy.toml"
model_texts = {texts}
"""


class Clocks:
    """CPU time by stage, of this process and of the state server: nanoseconds for all messages of a round."""

    def __init__(self, server: int, messages: int) -> None:
        """`server`: the state server's process id."""
        self._server, self._messages = server, messages
        self._rounds: dict[str, list[tuple[float, float]]] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Any:
        """Charge what happens inside to a stage."""
        ours, theirs = time.process_time(), _cpu(self._server)
        yield
        spent = time.process_time() - ours, _cpu(self._server) - theirs
        self._rounds.setdefault(name, []).append(spent)

    def least(self) -> dict[str, tuple[float, float]]:
        """Microseconds a message by stage, of this process and of the state server, in the best round of each.

        What else runs on the machine can only add to it.
        """
        each = 1e6 / self._messages
        return {
            name: (each * min(one for one, _ in rounds), each * min(two for _, two in rounds))
            for name, rounds in self._rounds.items()
        }


def _cpu(pid: int) -> float:
    """Seconds of CPU time of a process; in ns steps, where `processes.cpu_ms` counts in ticks of 10 ms."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _bodies(size: str, folder: Path) -> list[bytes]:
    """The bodies of the peer harness, so that these are the messages of scripts/bench."""
    argv, sys.argv = sys.argv, ["mkbodies.py", str(folder)]
    try:
        runpy.run_path(str(HARNESS / "mkbodies.py"), run_name="__main__")
    finally:
        sys.argv = argv
    texts = [file.read_bytes() for file in sorted(folder.glob(f"{size}-*.body"))]
    return [text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for text in texts]


def _submissions(bodies: Sequence[bytes], number: int, first: int, now: float) -> list[Submission]:
    """Messages as the harness's load generator sends them: 1,000 senders of 200 accounts."""
    made = []
    for n in range(first, first + number):
        user, to, date = n * 389 % 1000, n * 211 % 500, formatdate(now)
        sender, recipient = f"user{user}@customer{user % 200}.example", f"rcpt{to * 7}@dest{to}.example"
        head = (
            f"Received: from web{user % 20}.provider.example (web{user % 20}.provider.example [127.0.1.1])\r\n"
            f"\tby mta1.provider.example (Postfix) with ESMTPA id {n:X}\r\n\tfor <{recipient}>; {date}\r\n"
            f'From: "User {user}" <{sender}>\r\nTo: <{recipient}>\r\n'
            f"Subject: Your order {n} has been shipped\r\nDate: {date}\r\nMessage-ID: <{n:x}.{n}@customer.example>\r\n"
        )
        made.append(
            Submission(
                id=new_id(now),
                received=now,
                envelope=Envelope(sender, (recipient,)),
                content=head.encode() + bodies[n % len(bodies)],
                client_ip="127.0.0.1",
                client_port=40_000,
                helo="mta1.provider.example",
                listener="127.0.0.1:2525",
            )
        )
    return made


async def _together(work: Callable[[Any], Awaitable[Any]], items: Sequence[Any]) -> list[Any]:
    """Do `work` for each of the items, twenty at a time, as twenty sessions do."""
    results: list[Any] = [None] * len(items)
    places = iter(range(len(items)))

    async def session() -> None:
        for place in places:
            results[place] = await work(items[place])

    await asyncio.gather(*(session() for _ in range(_AT_ONCE)))
    return results


class Relay:
    """The parts of a relay process, and each stage of its path by itself."""

    def __init__(self, parts: Parts, pipeline: Pipeline, clocks: Clocks) -> None:
        self.pipeline, self._clocks, self._state = pipeline, clocks, pipeline.reputation.state
        self.delivery = Delivery(parts.config, hostname=parts.hostname, clock=parts.clock, count=parts.metrics.count)
        self._actions = Actions(
            self.delivery,
            parts.spool,
            parts.tokens,
            hostname=parts.hostname,
            to_strip=pipeline.identifier.to_strip,
            observe=True,
        )
        self._recorder = Recorder(parts.journal, parts.log, parts.metrics, pipeline.directory, observe=True)

    async def round(self, submissions: Sequence[Submission]) -> None:
        """Take messages through all stages, one stage after the other."""
        pipeline, stage = self.pipeline, self._clocks.stage
        with stage("content: header"):
            messages = [parse(one.content, pipeline.bodies) for one in submissions]
        with stage("content: MIME parts, text"):
            for message in messages:
                message.read()
        with stage("content: fingerprint, language, defects"):
            for message in messages:
                _ = message.fingerprint, message.language, message.defects
        both = list(zip(submissions, messages, strict=True))
        with stage("accounts: who sent it"):
            senders = [pipeline.identifier.identify(one, message.headers) for one, message in both]
        opinions: list[Any] = [None] * len(both)
        with stage("content: the model"):
            if pipeline.model is not None and pipeline.panel.reads_content:
                opinions = [pipeline.model.score(message) for message in messages]
        with stage("signals: what is looked up (traits)"):
            observed = [
                observe(one, sender, message, opinion[0] if opinion else 0.0, one.received)
                for (one, message), sender, opinion in zip(both, senders, opinions, strict=True)
            ]
        with stage("reputation: recall, one round trip"):
            memories = await _together(pipeline.reputation.recall, observed)
        views = [
            View(one, sender, message, memory, opinion, one.received, ())
            for (one, message), sender, memory, opinion in zip(both, senders, memories, opinions, strict=True)
        ]
        with stage("signals"):
            found = [
                pipeline.panel.look(view, sums(view.memory.sender, view.now, pipeline.reputation.half_life))
                for view in views
            ]
        with stage("verdict, class of the sender"):
            judgements = []
            for view, seen, (signals, evidence) in zip(views, observed, found, strict=True):
                one, sender, message, memory, now = view.submission, view.sender, view.message, view.memory, view.now
                around = circumstances(one, sender, memory, pipeline.directory, pipeline.policy, now, None)
                verdict = decide(sender, signals, memory, pipeline.policy, around)
                class_ = class_now(pipeline.classes, one, sender, memory, verdict, around, pipeline.policy, now)
                pool = pipeline.directory.pool(sender.name, sender.account, now)
                judgements.append(Judgement(one, message, sender, seen, memory, verdict, evidence, (), class_, pool))
        with stage("actions and delivery"):
            outcomes = await _together(lambda one: self._actions.carry_out(one, pipeline.policy), judgements)
        with stage("learning, written behind"):
            for judgement, outcome in zip(judgements, outcomes, strict=True):
                pipeline.learning.judged(judgement, outcome.answers)
            await self._state.flush()
        with stage("ledger's record, log line, metrics"):
            for judgement, outcome in zip(judgements, outcomes, strict=True):
                self._recorder.taken_in(judgement, outcome, 0.001)

    async def whole(self, submissions: Sequence[Submission]) -> None:
        """Take messages through the pipeline as it is, without the edge: to compare with the sum of the stages."""

        def done(judgement: Judgement, outcome: Outcome) -> None:
            self._recorder.taken_in(judgement, outcome, 0.001)

        with self._clocks.stage(_WHOLE):
            await _together(lambda one: self.pipeline.submit(one, self._actions, done), submissions)
            await self._state.flush()


async def _edge(parts: Parts, clocks: Clocks, size: str, messages: int) -> None:
    """Receive messages from smtp-source and answer each at once."""
    config = parts.config

    async def accept(submission: Submission) -> Reply:
        return queued(submission.id)

    edge = Edge(
        config,
        config.listener[0],
        hostname=parts.hostname,
        clock=parts.clock,
        accept=accept,
        admit=lambda _: None,
        passwords=None,
        sessions=Sessions(config.limits, Room(config.limits.memory, parts.config.data_dir)),
        tls=None,
        count=parts.metrics.count,
    )
    server = await asyncio.get_running_loop().create_server(edge.protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    octets = {"4k": 4_000, "50k": 50_000, "1m": 1_000_000}[size]
    command = ["smtp-source", "-d", "-s", str(_AT_ONCE), "-m", str(messages), "-l", str(octets)]
    command += ["-f", "user1@customer1.example", "-t", "someone@elsewhere.example", f"127.0.0.1:{port}"]
    source = await asyncio.create_subprocess_exec(*command)
    with clocks.stage("edge: sessions, receiving"):
        await source.wait()
    server.close()


@contextlib.asynccontextmanager
async def _relay(folder: Path, sink: int, options: argparse.Namespace) -> AsyncIterator[tuple[Parts, Relay, Clocks]]:
    """The parts of a relay process, with a state server of its own in `folder`."""
    for name in ("data/run/metrics", "data/journal"):
        (folder / name).mkdir(mode=0o700, parents=True)
    (folder / "policy.toml").write_text(f'[signal.content]\nmode = "{options.content}"\n')
    (folder / "outbound-guard.toml").write_text(_CONFIG.format(sink=sink, texts=options.texts))
    config = load(folder / "outbound-guard.toml")
    server = EmbeddedServer(config.data_dir)
    await server.start()
    try:
        async with contextlib.AsyncExitStack() as stack:
            # The mail log is written, but not here.
            log = stack.enter_context((folder / "mail.log").open("w"))
            stack.enter_context(contextlib.redirect_stdout(log))
            parts = Parts(config, Child("bench", server.url, -1), stack)
            pipeline = await parts.judging()
            clocks = Clocks(server.pid or 0, _MESSAGES[options.size])
            relay = Relay(parts, pipeline, clocks)
            stack.push_async_callback(relay.delivery.close)
            yield parts, relay, clocks
    finally:
        await server.stop()


async def measure(options: argparse.Namespace, folder: Path, sink: int) -> dict[str, tuple[float, float]]:
    """Microseconds by stage: of this process, and of the state server."""
    messages, now = _MESSAGES[options.size], time.time()
    bodies = _bodies(options.size, folder / "bodies")
    async with _relay(folder, sink, options) as (parts, relay, clocks):
        # Whoever has sent before is judged by its habits, so the senders come to have some first.
        warm = Relay(parts, relay.pipeline, Clocks(os.getpid(), messages))
        for number in range(5):
            await warm.whole(_submissions(bodies, messages, number * messages, now - 90_000))
        await warm.delivery.close()
        gc.collect()
        gc.freeze()
        gc.disable()
        for number in range(options.rounds):
            await _edge(parts, clocks, options.size, messages)
            await relay.round(_submissions(bodies, messages, number * messages, now))
            await relay.whole(_submissions(bodies, messages, number * messages + messages // 2, now))
            gc.collect()
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        return clocks.least()


def table(figures: dict[str, tuple[float, float]]) -> str:
    """The figures as markdown."""
    rows = ["| stage | relay us | state server us |", "|---|---:|---:|"]
    rows += [f"| {name} | {ours:.0f} | {theirs:.0f} |" for name, (ours, theirs) in figures.items() if name != _WHOLE]
    parts = [pair for name, pair in figures.items() if name != _WHOLE]
    rows.append(f"| **sum** | **{sum(one for one, _ in parts):.0f}** | **{sum(two for _, two in parts):.0f}** |")
    rows.append(f"| {_WHOLE} | {figures[_WHOLE][0]:.0f} | {figures[_WHOLE][1]:.0f} |")
    return "\n".join(rows)


def main() -> int:
    """Print the table; 1 if something is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--size", default="4k", choices=tuple(_MESSAGES), help="of the messages")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--content", default="on", choices=("on", "off"), help="whether the content model is asked")
    parser.add_argument("--texts", type=int, default=4096, help="texts whose opinion the content model keeps")
    options = parser.parse_args()
    why = plain.missing() or (None if (HARNESS / "mkbodies.py").is_file() else f"the harness is not at {HARNESS}")
    if why:
        print(f"benchmarks.stages: {why}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="outbound-guard-stages-") as folder, plain.sink() as port:
        uvloop.install()
        print(table(asyncio.run(measure(options, Path(folder), port))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
