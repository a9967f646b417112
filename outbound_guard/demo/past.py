"""The days before the demo: the same traffic through the product's own pipeline, policy and memory, in virtual time.

What is judged is written down as ever: decisions into the journal, habits into the store of counters, what is held into
the spool. Only delivery is played: nobody is connected to. So the pages have something to show from the first second,
and every sender has habits from which an attack can differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import heapq
import io
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import cast

from outbound_guard.accounts import Identifier, Tokens, secret
from outbound_guard.accounts.directory import Directory
from outbound_guard.actions import Actions, Outcome
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config, policy_of
from outbound_guard.content.packaged import model_of
from outbound_guard.delivery import Delivery, Result
from outbound_guard.demo import receivers
from outbound_guard.demo.attacks import Attack, hacked, snowshoe, stolen
from outbound_guard.demo.house import FROM, POOLS
from outbound_guard.demo.provider import Provider
from outbound_guard.demo.traffic import Traffic, moments
from outbound_guard.demo.writing import Mail
from outbound_guard.desk.held import acts
from outbound_guard.feedback import Intake, take
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Delivered
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.mail import Envelope, Submission, new_id
from outbound_guard.maillog import MailLog
from outbound_guard.metrics import Metrics
from outbound_guard.pipeline import Pipeline
from outbound_guard.recording import Recorder
from outbound_guard.reply import Reply
from outbound_guard.reputation import Reputation
from outbound_guard.reputation.sender_classes import SenderClasses
from outbound_guard.spool import Spool
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer
from outbound_guard.verdict import Judgement

HOUR, DAY = 3600.0, 86_400.0
_LOOKED_AT = 2400.0
"""Seconds after which somebody at the abuse desk has looked at what is held."""
_LEFT = 5 * HOUR
"""What was held in the last hours before the demo is left for who looks at the demo."""
_REPORTS = 25
"""Complaints of the past that are taken in."""
_PEER = "127.0.0.1:25"
_DESK = ("console:mara", "console:joris")


class _World:
    """Takes the place of delivery: it answers as the next hop of the demo does."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._turn = clock, 0
        self.complaints: list[tuple[float, bytes]] = []

    async def send(self, envelope: Envelope, content: Sequence[bytes], pool: str, class_: str) -> Result:
        """One answer for each recipient."""
        whole = b"".join(content)
        self._turn += 1
        named = pool or next((name for name, (classes, _) in POOLS.items() if class_ in classes), "good")
        addresses = POOLS[named][1]
        source = addresses[self._turn % len(addresses)]
        replies = []
        for recipient in envelope.recipients:
            reply = receivers.to_recipient(recipient, source, ())
            replies.append(receivers.to_content(recipient, whole) if reply.accepted else _for_good(reply))
            if replies[-1].accepted and (type_ := receivers.complains(recipient, whole)):
                self.complaints.append((self._clock.now() + 900.0, receivers.complaint(type_, recipient, whole)))
        return Result(tuple(replies), _PEER, source=source)


def _for_good(reply: Reply) -> Reply:
    """A mailbox that was full some days ago has taken the message since."""
    return Reply(250, "2.0.0", "Ok: queued as LATER") if reply.temporary else reply


Coming = tuple[float, Callable[[float], Mail]]
"""When a message comes (unix seconds), and what makes it."""


class Past:
    """Plays the past. `play` is all there is to call."""

    def __init__(self, config: Config, provider: Provider, seed: int, scribe: Scribe, journal: Journal) -> None:
        """`scribe` is the ledger's; `journal` is for what is written down here."""
        self._config, self._provider, self._seed = config, provider, seed
        self._scribe, self._journal = scribe, journal
        self._clock = VirtualClock()
        self._world = _World(self._clock)
        self._traffic = Traffic(provider, seed)
        self._spool = Spool(config.data_dir / "spool", self._clock, config.spool.free_bytes, threads=1)
        self._held: list[tuple[float, str, bool]] = []
        """What is held: when it is looked at, its id, and whether it is an attack's."""
        self.messages = 0
        self.victims: set[str] = set()
        """The senders that were attacked."""

    def close(self) -> None:
        """End the spool's thread."""
        self._spool.close()

    async def play(self, ledger: Ledger, now: float, days: float, a_day: int) -> None:
        """All mail of the `days` before `now` (unix seconds), `a_day` messages a day. Raises LedgerError, OSError."""
        begin = now - days * DAY
        self._clock.set(begin)
        honest = ((time, self._traffic.mail) for time in moments(begin, now, a_day, self._seed))
        async with self._path(ledger) as submit:
            stopped: set[str] = set()
            for time, make in heapq.merge(honest, self._attacks(now), key=lambda coming: coming[0]):
                if time < begin:
                    continue
                await self._look(time, now)
                mail = make(time)
                if mail.identity in stopped:
                    continue
                reply = await submit(mail, time)
                self.messages += 1
                if mail.attack and "OG-SUSPENDED" in reply.text:
                    # It is answered so at AUTH or MAIL from then on, and leaves no trace.
                    stopped.add(mail.identity)
            await self._look(now, now)
        self._journal.seal()
        await asyncio.to_thread(self._scribe.once)
        await self._complaints(ledger, now)

    def _attacks(self, now: float) -> Iterator[Coming]:
        draw = random.Random(f"past {self._seed}")  # noqa: S311 -- The same seed, the same past.
        offices, scripts = self._provider.of_kind("office"), self._provider.of_kind("form")
        victims = draw.sample(offices, 12)
        attacks: list[tuple[float, Attack]] = [
            (now - 2.1 * DAY, stolen(victims[0], draw, "past")),
            (now - 1.3 * DAY, hacked(scripts[0], draw)),
            (now - 14 * HOUR, stolen(victims[1], draw)),
            (now - 4 * HOUR, hacked(scripts[1], draw)),
            (now - 1.2 * HOUR, snowshoe(victims[2:6], draw, "past")),
        ]
        for begin, attack in attacks:
            self.victims.update(attack.victims)
            # It took ten minutes then, not the minute of a demo.
            pace = 12 * attack.pause
            for number in range(attack.messages):
                yield begin + number * pace, functools.partial(attack.mail, number)

    @contextlib.asynccontextmanager
    async def _path(self, ledger: Ledger) -> AsyncIterator[Callable[[Mail, float], Awaitable[Reply]]]:
        """The path of a message, made of the same parts as in a relay process."""
        config, clock = self._config, self._clock
        server = EmbeddedServer(config.data_dir, max_memory=config.state.max_memory)
        await server.start()
        try:
            state = await State.connect(server.url, timeout=10.0, count=lambda *labels, by=1: None)
            try:
                yield await self._submitting(ledger, state, clock)
                await state.flush()
            finally:
                await state.close()
        finally:
            await server.stop()

    async def _submitting(
        self, ledger: Ledger, state: State, clock: VirtualClock
    ) -> Callable[[Mail, float], Awaitable[Reply]]:
        config = self._config
        directory = Directory(ledger, clock)
        await directory.refresh()
        pipeline = Pipeline(
            Identifier(config, directory.account_of),
            directory,
            Reputation(state),
            policy_of(config),
            model=model_of(config),
            observe=False,
            classes=SenderClasses(self._journal.append),
        )
        actions = Actions(
            cast(Delivery, self._world),
            self._spool,
            Tokens(secret(config.data_dir)),
            hostname=config.server.hostname,
            to_strip=pipeline.identifier.to_strip,
        )
        recorder = Recorder(self._journal, MailLog(io.StringIO()), Metrics(), directory, observe=False)

        async def submit(mail: Mail, now: float) -> Reply:
            clock.set(now)
            envelope = Envelope(mail.mail_from, mail.recipients)
            submission = Submission(new_id(now), now, envelope, mail.content, FROM[mail.server], server=mail.server)

            def done(judgement: Judgement, outcome: Outcome) -> None:
                recorder.taken_in(judgement, outcome, 0.003)
                if outcome.state in ("held", "quarantine"):
                    heapq.heappush(self._held, (now + _LOOKED_AT, submission.id, bool(mail.attack)))

            reply = await pipeline.submit(submission, actions, done)
            await asyncio.sleep(0)  # What is noted about it is noted now,
            state.push()  # and known before the next message comes.
            return reply

        return submit

    async def _look(self, until: float, now: float) -> None:
        """What the abuse desk did up to then: spam deleted, honest mail released. The last hours are left."""
        while self._held and self._held[0][0] <= min(until, now - _LEFT):
            time, id_, attack = heapq.heappop(self._held)
            act: acts.Act = "delete" if attack else "release"
            by, why = _DESK[int(time) % 2], "spam" if attack else "it is hers, she called"
            message = await acts.take(self._spool, id_, act)
            for record in acts.records(act, id_, time, by, why):
                self._journal.append(record)
            if not attack:
                for to in message.entry.envelope.recipients:
                    self._journal.append(Delivered(id_, time + 2, to, 250, "2.0.0", "Ok: queued as LATER", _PEER))
            await message.remove()

    async def _complaints(self, ledger: Ledger, now: float) -> None:
        """Complaints about what had got through, by the product's own way in."""
        config = self._config
        tokens = Tokens(secret(config.data_dir))
        most = config.feedback.message_size
        intake = Intake(ledger, self._journal, tokens, self._clock, most=most, data_dir=config.data_dir)
        for time, report in self._world.complaints[-_REPORTS:]:
            self._clock.set(min(time, now))
            await take(report, intake, source="smtp 127.0.0.1", mail_from="")
