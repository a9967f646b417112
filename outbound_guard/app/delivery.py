"""The delivery process: works the queue, looks again at what is held."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from outbound_guard.app.addresses import keep_resting, keep_warming, refusal_notes, senders_of_mail
from outbound_guard.app.child import Child
from outbound_guard.app.parts import Parts, until_told
from outbound_guard.app.signing import report_marks
from outbound_guard.config import Config
from outbound_guard.delivery import Delivery
from outbound_guard.delivery.bounce import CODE
from outbound_guard.delivery.queue import Queue
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.retry import Outcome
from outbound_guard.ledger.records import HeldChange
from outbound_guard.mail import Sender, Submission, Verdict
from outbound_guard.recording import Recorder
from outbound_guard.reply import Reply
from outbound_guard.reputation import NO_PROFILE
from outbound_guard.reputation.portrait import portraits
from outbound_guard.spool import Entry
from outbound_guard.state import StateDown
from outbound_guard.verdict import HOLD, Held


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
            processes=senders_of_mail(parts),
        )
        stack.push_async_callback(delivery.close)
        parts.watch_next_hops(delivery)
        keep_resting(parts, delivery)
        keep_warming(parts, delivery, pipeline.reputation.state)
        recorder = Recorder(
            parts.journal, parts.log, metrics, pipeline.directory, observe=parts.observe, tape=parts.tape()
        )

        async def review(entry: Entry, content: bytes) -> Verdict:
            now = clock.now()
            submission = Submission(entry.id, entry.received, entry.envelope, content, entry.client_ip)
            judgement = await pipeline.judge(
                submission, now, sender=_sender(entry), held=Held(now - entry.received, entry.weights)
            )
            if not judgement.memory.available:
                # Of a sender that nothing is known of for the moment, nothing is let go.
                return Verdict(HOLD, entry.score, entry.code, (), "the memory is away", wait=pipeline.policy.hold.wait)
            return judgement.verdict

        def way(entry: Entry) -> tuple[str, str]:
            """Pool that it is pinned to, and class: what the sender is by now, not when the message came in."""
            if entry.code == CODE:
                return "", "bounces"
            class_ = entry.meta.get("class", "")
            if class_ not in ("bounces", "forwarded"):
                class_ = pipeline.classes.known(entry.account, entry.sender) or class_
            return pipeline.directory.pool(entry.sender, entry.account, clock.now()), class_

        def stopped(entry: Entry) -> bool:
            return entry.code != CODE and bool(pipeline.directory.suspended(entry.sender, entry.account))

        async def on_results(entry: Entry, outcomes: Sequence[Outcome]) -> None:
            now = clock.now()
            ours = entry.code == CODE
            for outcome in outcomes:
                recorder.delivered(
                    entry.id,
                    now,
                    (outcome.recipient,),
                    Result((outcome.reply,), outcome.peer, source=outcome.source),
                    given_up=outcome.final,
                    about=entry.meta.get("about", "") if ours else "",
                    account="" if ours else entry.account,
                )
                if outcome.final:
                    metrics.observe("delivery_seconds", now - entry.received)
            # What the DNS settles for good (no such domain) is an answer too, though no server gave it.
            answers = [one.reply for one in outcomes if one.peer or one.reply.permanent]
            if answers and not ours:
                await learn(entry, now, answers)

        async def learn(entry: Entry, now: float, answers: list[Reply]) -> None:
            """As when a relay hears of them: all of a try together, bad ones against what is known of the sender."""
            profile = NO_PROFILE
            if any(answer.permanent for answer in answers):
                with contextlib.suppress(StateDown):
                    (known,) = await portraits(pipeline.reputation, [(entry.account, entry.sender)])
                    profile = known.profile
            new = float(entry.meta.get("new", 1.0))
            pipeline.learning.answered(_sender(entry), profile, now, answers, new=new)

        lists = parts.suppression()

        def withheld(entry: Entry, recipients: tuple[str, ...]) -> dict[int, Reply]:
            # A report goes to the account itself.
            if lists is None or parts.observe or entry.code == CODE:
                return {}
            answers = [lists.answer(entry.account, to, entry.id) for to in recipients]
            return {place: reply for place, reply in enumerate(answers) if reply is not None}

        def on_review(entry: Entry, verdict: Verdict | None, outcome: str) -> None:
            change = {"quarantined": "quarantine"}.get(outcome, outcome)
            why = verdict.reason if verdict else "nobody decided in time"
            due = clock.now() + verdict.wait if verdict and verdict.wait and change == "held" else 0.0
            parts.journal.append(HeldChange(entry.id, clock.now(), change, reason=why, due=due))
            parts.log.event("Review", clock.now(), id=entry.id, identity=entry.sender, outcome=change, reason=why)

        queue = Queue(
            parts.spool,
            delivery.send,
            delivery=config.delivery,
            hold_expiry=config.spool.hold_expiry,
            clock=clock,
            hostname=parts.hostname,
            review=review,
            stopped=stopped if not parts.observe else None,
            withheld=withheld,
            outgoing=report_marks(parts),
            on_results=on_results,
            on_review=on_review,
            way=way,
            destination=lambda entry, left: delivery.destination(left, *way(entry)),
            outlook=delivery.outlook,
        )

        async def measure() -> None:
            for state, number in (await parts.spool.counts()).items():
                metrics.gauge("spool_messages", number, state)

        parts.every(5.0, measure)
        parts.measure()
        parts.on_reload(pipeline)
        working = asyncio.create_task(queue.run())
        child.ready()
        told = asyncio.create_task(until_told())
        await asyncio.wait({told, working}, return_when=asyncio.FIRST_COMPLETED)
        queue.stop()
        await working


def _sender(entry: Entry) -> Sender:
    return Sender(entry.account, entry.sender, entry.meta.get("kind", "address"), "spool")
