"""What follows when a customer says "this was me" or "this was not me". One after the other, and each once.

Whatever is done is done by the functions that the abuse desk uses, under the name `customer:ACCOUNT`: a release is
placed, can be undone for half a minute, and is then carried out with all that the audit has to know.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Literal

from outbound_guard.clock import Clock
from outbound_guard.config import Customers
from outbound_guard.desk.accounts.acts import Act, decide
from outbound_guard.desk.customers.links import check_contact
from outbound_guard.desk.customers.seen import DAY, Seen, ShownSender, seen
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.held import bulk
from outbound_guard.desk.people.users import Settle, at_once
from outbound_guard.ledger.customer_queries import Answer, Link
from outbound_guard.ledger.customer_queries import answers as known_answers
from outbound_guard.ledger.customer_storing import link_opened
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, BulkPlaced, CustomerAnswer, Notice, Record

WORDS = {"me": "the customer says that the mail is theirs", "not_me": "the customer says that they did not send it"}

COUNTED_EVERY = 60.0
"""Seconds after which it counts again that a link is opened."""


class Answers:
    """Takes the answers of customers. One for the console process."""

    def __init__(
        self,
        reader: Ledger,
        writer: Ledger,
        journal: Journal,
        clock: Clock,
        settings: Customers,
        settle: Settle = at_once,
        count: Callable[..., None] = lambda *series, by=1.0: None,
        eyes: bulk.Eyes = bulk.NO_EYES,
    ) -> None:
        """`settle` waits until the ledger has what the journal was given. `count` is that of the metrics.

        `eyes`: from how many messages on it waits for the desk that "this was not me" deletes them.
        """
        self._reader, self._writer, self._journal, self._clock = reader, writer, journal, clock
        self._settings, self._settle, self._count, self._eyes = settings, settle, count, eyes
        self._one_by_one = asyncio.Lock()
        self._lately: list[Answer] = []
        """Answers that the ledger did not know when they were given: it must not be asked twice meanwhile."""

    async def seen(self, link: Link) -> Seen:
        """What the owner of a link sees. Raises LedgerError."""
        now = self._clock.now()
        return await asyncio.to_thread(seen, self._reader, self._settings, link, now, tuple(self._lately))

    async def opened(self, link: Link) -> None:
        """Count that a link was opened, once a minute; that it cannot be counted hinders nothing."""
        now = self._clock.now()
        # Who opens it again and again must not keep the ledger's only writer busy.
        if abs(now - link.last_opened) < COUNTED_EVERY:
            return
        try:
            await asyncio.to_thread(link_opened, self._writer, link.id, now)
        except LedgerError:
            return

    async def me(self, link: Link, sender: str) -> ShownSender:
        """It was them: what they may release is released; the rest waits. Raises DeskError, LedgerError."""
        async with self._one_by_one:
            one = await self._asked(link, sender)
            await self._record(link, sender, "me", "release", one.releasable)
            self._count("customer_answers_total", "me")
            self._count("customer_released_total", by=len(one.releasable))
            return await self._shown(link, sender)

    async def not_me(self, link: Link, sender: str) -> ShownSender:
        """It was not them: the sender may not send, and the desk is told. Raises DeskError, LedgerError."""
        async with self._one_by_one:
            one = await self._asked(link, sender)
            if not one.suspended:
                act = Act(what="suspend", by=by_of(link), reason=WORDS["not_me"])
                await decide(self._reader, self._journal, self._clock, [("sender", sender)], act)
            await self._record(link, sender, "not_me", "delete", one.held if self._settings.not_me == "delete" else ())
            self._count("customer_answers_total", "not_me")
            return await self._shown(link, sender)

    async def undo(self, link: Link, sender: str) -> ShownSender:
        """Take back what an answer has set going, as long as that waits. Raises DeskError, LedgerError."""
        async with self._one_by_one:
            found = await self.seen(link)
            one = found.of(sender)
            if found.state != "good" or one is None or one.answer is None or not one.answer.bulk:
                raise DeskError("there is nothing to undo")
            await bulk.undo(
                self._reader, self._journal, self._clock, one.answer.bulk, by=by_of(link), writer=self._writer
            )
            now = self._clock.now()
            undone = CustomerAnswer(link=link.id, sender=sender, account=link.account, time=now, answer="undone")
            audit = Audit(time=now, by=by_of(link), what="customer.undone", subject=sender, detail=f"link {link.id}")
            on_disk(self._journal, undone, audit)
            self._remember(undone)
            self._count("customer_answers_total", "undone")
            return await self._shown(link, sender)

    async def _asked(self, link: Link, sender: str) -> ShownSender:
        found = await self.seen(link)
        one = found.of(sender)
        if found.state != "good":
            raise DeskError(f"this link is {found.state}")
        if one is None:
            # Another account's senders are as unknown as those that there are not.
            raise DeskError("no mail of this sender is held")
        if not one.open:
            raise DeskError("this was answered already")
        await asyncio.to_thread(check_contact, self._reader, link, self._clock.now())
        return one

    async def _record(
        self, link: Link, sender: str, answer: str, act: Literal["release", "delete"], ids: tuple[str, ...]
    ) -> None:
        """Put an answer on disk, in one piece with the decision about these messages. Raises DeskError, LedgerError."""
        given: list[CustomerAnswer] = []

        def records(placed: BulkPlaced | None) -> tuple[Record, ...]:
            given.append(
                CustomerAnswer(
                    link=link.id,
                    sender=sender,
                    account=link.account,
                    time=placed.time if placed else self._clock.now(),
                    answer=answer,
                    messages=len(ids) if act == "release" else 0,
                    bulk=placed.id if placed else "",
                )
            )
            return self._records(link, given[-1])

        if ids:
            where = (self._reader, self._journal, self._clock)
            # What customers release is limited by the day.
            eyes = self._eyes if act == "delete" else bulk.NO_EYES
            await bulk.place(*where, ids, act, by=by_of(link), reason=WORDS[answer], eyes=eyes, beside=records)
        else:
            on_disk(self._journal, *records(None))
        # Not before it is on disk: who could not answer must be able to do it again.
        self._remember(given[-1])

    def _records(self, link: Link, given: CustomerAnswer) -> tuple[Record, ...]:
        sender, answer, now, messages = given.sender, given.answer, given.time, given.messages
        detail = f"{WORDS[answer]}: {messages} messages released" if answer == "me" else WORDS[answer]
        kind = "customer_released" if answer == "me" else "customer_reported"
        which = hashlib.sha256(f"{sender}\n{now!r}".encode("utf-8", "replace")).hexdigest()[:16]
        return (
            given,
            Audit(
                time=now, by=by_of(link), what=f"customer.{answer}", subject=sender, detail=f"{detail}, link {link.id}"
            ),
            Notice(
                key=f"{kind}:{link.id}:{which}",
                time=now,
                kind=kind,
                account=link.account,
                sender=sender,
                reason=detail,
                data={"messages": messages},
            ),
        )

    def _remember(self, given: CustomerAnswer) -> None:
        answer = Answer(
            link=given.link,
            sender=given.sender,
            account=given.account,
            time=given.time,
            answer=given.answer,
            messages=given.messages,
            bulk=given.bulk,
            offended=0.0,
            offence="",
        )
        since = self._clock.now() - DAY
        kept = [
            one for one in self._lately if one.time > since and (one.link, one.sender) != (given.link, given.sender)
        ]
        self._lately = [*kept, answer]

    async def _shown(self, link: Link, sender: str) -> ShownSender:
        """As it is now, when the ledger has had some time to take it in."""
        await self._settle()
        await self._forget_known()
        one = (await self.seen(link)).of(sender)
        if one is None:
            raise DeskError("no mail of this sender is held")
        return one

    async def _forget_known(self) -> None:
        for late in list(self._lately):
            known = await asyncio.to_thread(known_answers, self._reader, late.account, link=late.link, limit=1000)
            if any(one.sender == late.sender and one.time >= late.time for one in known):
                self._lately.remove(late)


def by_of(link: Link) -> str:
    """Who acts, for journal and audit."""
    return f"customer:{link.account}"
