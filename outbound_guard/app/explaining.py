"""`outbound-guard explain`: what would be said of a message, and why."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.directory import Directory
from outbound_guard.clock import SystemClock
from outbound_guard.config import Config, policy_of
from outbound_guard.content import parse
from outbound_guard.content.packaged import model_of
from outbound_guard.mail import Envelope, Submission, Verdict, new_id
from outbound_guard.metrics import Metrics
from outbound_guard.pipeline import Pipeline
from outbound_guard.reputation import Reputation
from outbound_guard.scanners import Scanners
from outbound_guard.state import State
from outbound_guard.state.embedded import socket_path


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Print one verdict for each file; nothing is sent, counted or remembered. Returns the exit code."""
    code, contents = 0, {}
    for name in arguments.files:
        try:
            contents[name] = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            print(f"outbound-guard: {name}: {error.strerror or error}", file=sys.stderr)
            code = 1
    verdicts = asyncio.run(_judge_all(config, contents, arguments.account))
    for name, verdict in verdicts.items():
        if arguments.json:
            print(json.dumps(_plain(name, verdict)))
        else:
            print(_readable(name, verdict))
    return code


async def _judge_all(config: Config, contents: dict[str, bytes], account: str) -> dict[str, Verdict]:
    clock = SystemClock()
    # What the running product remembers of the account counts; without it the message is judged by itself.
    url = config.state.url
    if url == "embedded":
        url = f"unix://{socket_path(config.data_dir)}"
    state = await State.connect(url, timeout=config.state.timeout, count=lambda *labels, by=1: None)
    scanners = Scanners(config, clock, Metrics()) if config.scanner else None
    try:
        directory = Directory(None, clock)
        identifier = Identifier(config, directory.account_of)
        pipeline = Pipeline(
            identifier,
            directory,
            Reputation(state),
            policy_of(config),
            model=model_of(config),
            observe=True,
            scanners=scanners,
        )
        verdicts = {}
        for name, content in contents.items():
            judgement = await pipeline.judge(_submission(content, account, clock.now()), clock.now(), count=False)
            verdicts[name] = judgement.verdict
        return verdicts
    finally:
        if scanners:
            await scanners.close()
        await state.close()


def _submission(content: bytes, account: str, now: float) -> Submission:
    """The message as if it had just come in: with CRLF line ends, for the recipients its header names."""
    if b"\r\n" not in content:
        content = content.replace(b"\n", b"\r\n")
    message = parse(content)
    recipients = tuple(
        part.strip().rpartition(" ")[2].strip("<>")
        for name in ("to", "cc")
        for value in message.headers.all(name)
        for part in value.split(",")
        if "@" in part
    )
    envelope = Envelope(message.from_address, recipients or ("unknown@recipient.invalid",))
    login = account or message.from_address or None
    return Submission(new_id(now), now, envelope, content, "127.0.0.1", login=login)


def _plain(name: str, verdict: Verdict) -> dict[str, object]:
    signals = [
        {"name": s.name, "weight": round(s.weight, 4), "reason": s.reason} | ({"shadow": True} if s.shadow else {})
        for s in verdict.signals
    ]
    return {"file": name, "action": verdict.action, "score": round(verdict.score, 4), "signals": signals}


def _readable(name: str, verdict: Verdict) -> str:
    lines = [f"{name}: {verdict.action} ({verdict.code}), score {verdict.score:+.2f}"]
    for signal in sorted(verdict.signals, key=lambda s: -abs(s.weight)):
        mark = " (on trial, not counted)" if signal.shadow else ""
        lines.append(f"  {signal.weight:+6.2f}  {signal.name:<14} {signal.reason}{mark}")
    return "\n".join(lines)
