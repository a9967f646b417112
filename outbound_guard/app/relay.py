"""A relay process: takes mail in, judges it, passes it on. There is one for each core."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import Callable

from outbound_guard.accounts import secret
from outbound_guard.actions import Actions, Outcome
from outbound_guard.app.addresses import keep_resting, refusal_notes
from outbound_guard.app.parts import Child, Parts, until_told
from outbound_guard.config import Config, ConfigError
from outbound_guard.delivery import Delivery
from outbound_guard.edge import Edge, Passwords, Sessions, tls_context
from outbound_guard.mail import Submission, domain_of
from outbound_guard.recording import Recorder
from outbound_guard.reply import Reply, suspended_login
from outbound_guard.verdict import Judgement

_HANDED_OVER = 0.05
"""Seconds."""
_DRAIN = 10.0
"""Seconds that messages in flight get when the process is told to stop; the supervisor kills it after 12."""


def signer(config: Config) -> Callable[[list[bytes], Judgement], list[bytes]]:
    """Signs messages that are ready to go. Raises ConfigError."""
    # Only those who sign need the library, and have to wait for it.
    try:
        from outbound_guard.delivery.dkim import Signer
    except ImportError as error:
        raise ConfigError(f"dkim: to sign, the Python package cryptography must be installed: {error}") from error

    keys = Signer(config, secret(config.data_dir))

    def signed(content: list[bytes], judgement: Judgement) -> list[bytes]:
        message = judgement.message
        received = judgement.submission.received
        return keys.sign(content, message.from_address, judgement.sender, message.fingerprint, received)

    return signed


async def run(config: Config, child: Child) -> None:
    """Serve until told to stop. Raises ConfigError for what cannot be used."""
    async with contextlib.AsyncExitStack() as stack:
        parts = Parts(config, child, stack)
        pipeline = await parts.judging()
        metrics, clock = parts.metrics, parts.clock
        delivery = Delivery(
            config,
            hostname=parts.hostname,
            clock=clock,
            count=metrics.count,
            refused=refusal_notes(parts),
            patience=config.delivery.patience,
        )
        stack.push_async_callback(delivery.close)
        parts.watch_next_hops(delivery)
        keep_resting(parts, delivery)
        signing = {"signed": signer(config)} if config.dkim else {}
        actions = Actions(
            delivery,
            parts.spool,
            parts.tokens,
            hostname=parts.hostname,
            to_strip=pipeline.identifier.to_strip,
            first_retry=config.delivery.retry[0] if config.delivery.retry else 0.0,
            observe=parts.observe,
            **signing,
        )
        recorder = Recorder(
            parts.journal, parts.log, metrics, pipeline.directory, observe=parts.observe, tape=parts.tape()
        )

        async def accept(submission: Submission) -> Reply:
            begun = time.perf_counter()

            def done(judgement: Judgement, outcome: Outcome) -> None:
                recorder.taken_in(judgement, outcome, time.perf_counter() - begun)
                if pipeline.scanners:
                    hold = pipeline.policy.threshold.hold
                    pipeline.scanners.compare(judgement.opinions, judgement.verdict.signals, hold)

            return await pipeline.submit(submission, actions, done)

        def admit(name: str) -> Reply | None:
            if parts.observe:
                return None
            name = name.lower()
            account = pipeline.directory.account_of(name) or domain_of(name) or name
            return suspended_login() if pipeline.directory.suspended(name, account) else None

        loop = asyncio.get_running_loop()
        sessions = Sessions(config.limits)
        passwords = Passwords(config.resolve(config.auth.passwords), clock) if config.auth.passwords else None
        servers = []
        for index, listener in enumerate(config.listener):
            edge = Edge(
                config,
                listener,
                hostname=parts.hostname,
                clock=clock,
                accept=accept,
                admit=admit,
                passwords=passwords,
                sessions=sessions,
                tls=tls_context(listener, config),
                count=metrics.count,
            )
            listening = socket.socket(fileno=child.fds[str(index)])
            server = await loop.create_server(edge.protocol, sock=listening, **edge.server_arguments())
            servers.append(server)

        async def measure() -> None:
            metrics.gauge("sessions", len(sessions))

        parts.every(1.0, measure)
        parts.measure()
        parts.on_reload(pipeline)
        # What is loaded now stays; looking through it again and again costs a tenth of each message.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        child.ready()
        await until_told()
        for server in servers:
            server.close()
        # A connection that was accepted already becomes a session in the next turns of the loop.
        await asyncio.sleep(_HANDED_OVER)
        await sessions.drain(_DRAIN)
