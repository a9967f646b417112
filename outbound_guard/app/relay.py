"""A relay process: takes mail in, judges it, passes it on. There is one for each core."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time

from outbound_guard.accounts import secret
from outbound_guard.actions import Actions, Outcome
from outbound_guard.app.addresses import keep_resting, keep_warming, refusal_notes, senders_of_mail
from outbound_guard.app.certificates import keep_certificates
from outbound_guard.app.child import Child
from outbound_guard.app.parts import Parts, until_told
from outbound_guard.app.signing import signer
from outbound_guard.config import Config
from outbound_guard.delivery import Delivery
from outbound_guard.edge import Edge, Guesses, Listening, Passwords, Room, Sessions, certificate_of
from outbound_guard.mail import Submission, domain_of
from outbound_guard.recording import Recorder
from outbound_guard.reply import Reply, suspended_login
from outbound_guard.verdict import Judgement

_HANDED_OVER = 0.05
"""Seconds."""
_COLLECTED = 30.0
"""Seconds. To look through what lives beside what is frozen takes 0.3 ms, and 6 ms of 60,000 objects."""
_DRAIN = 10.0
"""Seconds that messages in flight get when the process is told to stop; the supervisor kills it after 12."""


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
            processes=senders_of_mail(parts),
        )
        stack.push_async_callback(delivery.close)
        parts.watch_next_hops(delivery)
        keep_resting(parts, delivery)
        keep_warming(parts, delivery, pipeline.reputation.state)
        signing = {"signed": signer(config)} if config.dkim else {}
        lists = parts.suppression()
        actions = Actions(
            delivery,
            parts.spool,
            parts.tokens,
            hostname=parts.hostname,
            to_strip=pipeline.identifier.to_strip,
            first_retry=config.delivery.retry[0] if config.delivery.retry else 0.0,
            observe=parts.observe,
            suppressed=lists.answer if lists is not None else None,
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

        # Where the login says whose mail it is, whatever else is in it, a recipient is refused at once.
        by_login = lists is not None and (not config.identity or config.identity[0].from_ == "sasl")

        def suppressed(login: str, recipient: str) -> Reply | None:
            if lists is None or not by_login or parts.observe:
                return None
            name = login.lower()
            return lists.answer(pipeline.directory.account_of(name) or domain_of(name) or name, recipient)

        incoming = config.data_dir / "incoming"
        incoming.mkdir(mode=0o700, exist_ok=True)
        sessions = Sessions(config.limits, Room(config.limits.memory, incoming, config.spool.free_bytes))
        passwords = None
        if config.auth.passwords:
            key = secret(config.data_dir)
            guesses = Guesses(config.auth, key, clock, pipeline.reputation.state)
            passwords = Passwords(config.resolve(config.auth.passwords), clock, guesses, metrics.count)
        doors = []
        certificates = []
        for index, listener in enumerate(config.listener):
            certificate = certificate_of(listener, config)
            if certificate:
                certificates.append((listener.address, certificate))
            edge = Edge(
                config,
                listener,
                hostname=parts.hostname,
                clock=clock,
                accept=accept,
                admit=admit,
                passwords=passwords,
                sessions=sessions,
                tls=certificate.context if certificate else None,
                count=metrics.count,
                suppressed=suppressed,
            )
            listening = socket.socket(fileno=child.fds[str(index)])
            doors.append(Listening(listening, edge.protocol, sessions))

        async def measure() -> None:
            metrics.gauge("sessions", len(sessions))
            metrics.gauge("smtp_memory_bytes", sessions.room.used)
            metrics.gauge("smtp_on_disk_bytes", sessions.room.on_disk)

        parts.every(1.0, measure)
        parts.measure()
        parts.on_reload(pipeline, keep_certificates(parts, certificates))
        # What is loaded now stays; looking through it again and again costs a tenth of each message.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)

        async def collect() -> None:
            # Objects that hold each other would stay until so many have come: of a library, with a message in them.
            gc.collect()

        parts.every(_COLLECTED, collect)
        child.ready()
        await until_told()
        for door in doors:
            door.close()
        # A connection that was accepted already becomes a session in the next turns of the loop.
        await asyncio.sleep(_HANDED_OVER)
        await sessions.drain(_DRAIN)
