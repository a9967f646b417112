"""What would be said of a message, and why: for `outbound-guard explain`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.directory import Directory
from outbound_guard.clock import SystemClock
from outbound_guard.config import Config, policy_of, state_url
from outbound_guard.content import parse
from outbound_guard.content.packaged import model_of
from outbound_guard.desk.policy.why import Why, why
from outbound_guard.ledger.database import Ledger, LedgerError, url_of
from outbound_guard.ledger.weight_queries import InForce
from outbound_guard.mail import Envelope, Submission, Verdict, new_id
from outbound_guard.metrics import Metrics
from outbound_guard.pipeline import Pipeline
from outbound_guard.reputation import Memory, Reputation
from outbound_guard.scanners import Scanners
from outbound_guard.state import State
from outbound_guard.state.embedded import socket_path
from outbound_guard.verdict import Judgement, circumstances, decide

Explained = tuple[Verdict, Why]


async def judge(config: Config, contents: Mapping[str, bytes], account: str) -> dict[str, Explained]:
    """The verdict on each message as if it came in now from `account` (empty: from whom it says), and why.

    Nothing is sent, counted or remembered. Raises ConfigError.
    """
    clock = SystemClock()
    # What the running product remembers of the account counts, and what people have decided about it; without it the
    # message is judged by itself.
    url = state_url(config)
    if url == "embedded":
        url = f"unix://{socket_path(config.data_dir)}"
    state = await State.connect(url, timeout=config.state.timeout, count=lambda *labels, by=1: None)
    scanners = Scanners(config, clock, Metrics()) if config.scanner else None
    ledger = None
    try:
        ledger = _ledger(config)
        directory = Directory(ledger, clock)
        await directory.refresh()
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
        learned = InForce(ledger) if ledger and config.policy.learn else None
        if learned and await learned.refresh():
            pipeline.weigh(learned.factors)
        explained = {}
        for name, content in contents.items():
            now = clock.now()
            judgement = await pipeline.judge(_submission(content, account, now), now, count=False)
            sender, policy, signals = judgement.sender, pipeline.policy, judgement.verdict.signals
            memory = _counting(judgement, now)
            submission, message = judgement.submission, judgement.message
            around = circumstances(submission, message, sender, memory, directory, policy, now, None)
            verdict = decide(sender, signals, memory, policy, around)
            explained[name] = verdict, why(sender, signals, memory, policy, around)
        return explained
    finally:
        if ledger:
            ledger.close()
        if scanners:
            await scanners.close()
        await state.close()


def _counting(judgement: Judgement, now: float) -> Memory:
    """The memory as if this message were counted in it, so that a limit that it exceeds is named."""
    memory, recipients = judgement.memory, len(judgement.submission.envelope.recipients)
    return msgspec.structs.replace(
        memory,
        sender_traffic=_with_one_more(memory.sender_traffic, recipients, now),
        account_traffic=_with_one_more(memory.account_traffic, recipients, now),
    )


def _with_one_more(traffic: Any, recipients: int, now: float) -> Any:
    changed = {}
    for window, seconds in (("minute", 60), ("hour", 3600), ("day", 86_400)):
        start, current = getattr(traffic, window), int(now // seconds)
        changed[window] = current
        for what, more in (("messages", 1), ("recipients", recipients)):
            before = getattr(traffic, f"{window}_{what}")
            changed[f"{window}_{what}"] = (before if start == current else 0) + more
            if start != current:
                changed[f"{window}_before_{what}"] = before if start == current - 1 else 0
    return traffic._replace(**changed)


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


def _ledger(config: Config) -> Ledger | None:
    """The ledger to read, if there is one."""
    if config.ledger.url == "embedded" and not config.data_dir.is_dir():
        return None
    try:
        return Ledger(url_of(config.ledger.url, config.data_dir))
    except LedgerError:
        return None
