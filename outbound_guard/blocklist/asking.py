"""One round of questions: every list about every subject that it knows about, at a polite pace.

A list is not asked faster than it may be, all lists together neither. One that does not answer, refuses us or turns
out to be dead is left alone for the rest of the round, and what it would have been asked is unknown. An answer counts
only if the list still passes its tests after it was given: one that turns into a wildcard lists the world, and one that
dies ends all its listings.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from outbound_guard.blocklist.answers import Meaning, meaning_of
from outbound_guard.blocklist.listing import CLEAN, LISTED, UNKNOWN, Listing
from outbound_guard.blocklist.lists import Dnsbl, Lists
from outbound_guard.blocklist.own import family_of
from outbound_guard.blocklist.probing import Problem, problem_of, resolver_lies
from outbound_guard.clock import Clock
from outbound_guard.dns import NoAnswer, Questions, reversed_name

Keep = Callable[[list[Listing]], Awaitable[None]]

_AT_ONCE = 16
"""Questions to one list that wait for an answer."""
_PORTION, _PORTION_SECONDS = 200, 15.0
"""Answers of a list are handed over when there are so many, or after so long."""
_PATIENCE = 5
"""So many questions in a row without an answer that counts: the list is left alone for this round."""
_TEXT, _CODES = 300, 20
"""Letters of a TXT record that are kept, and addresses of an answer; a list may send 64 kB of either."""


class Pace:
    """Gives out turns, so many a second on average, each a little early or late."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._next = 0.0

    def slot(self, now: float) -> float:
        """When the next turn is, which is taken with that; what was not used before `now` is not made up for."""
        at = max(self._next, now)
        self._next = at + (0.5 + secrets.randbelow(1001) / 1000) / self.per_second
        return at

    async def turn(self) -> None:
        """Wait for it."""
        now = asyncio.get_running_loop().time()
        at = self.slot(now)
        if at > now:
            await asyncio.sleep(at - now)


class Asking:
    """Asks lists; one object for all rounds, so that the pace is kept from one to the next."""

    def __init__(
        self, lists: Lists, questions: Questions, clock: Clock, *, per_second: float, per_second_per_list: float
    ) -> None:
        self.lists, self.questions, self.clock = lists, questions, clock
        self.pace = Pace(per_second)
        self.keeping = asyncio.Lock()
        """Held while answers are handed over: a ledger has one writer at a time."""
        self.paces = {dnsbl.label: Pace(dnsbl.per_second or per_second_per_list) for dnsbl in lists.lists}

    def seconds_for(self, subjects: Iterable[str]) -> float:
        """How long it takes to ask about these at the pace that is stated, if all answer at once."""
        of = Counter(map(family_of, subjects))
        numbers = {dnsbl.label: sum(of[family] for family in families(dnsbl)) for dnsbl in self.lists.lists}
        slowest = max((number / self.paces[label].per_second for label, number in numbers.items()), default=0.0)
        return max(slowest, sum(numbers.values()) / self.pace.per_second)

    async def ask(self, subjects: Iterable[str], keep: Keep) -> None:
        """Ask about addresses and domains (in their usual form); the answers go to `keep`, portion after portion."""
        by_family: dict[str, list[str]] = {}
        for subject in subjects:
            by_family.setdefault(family_of(subject), []).append(subject)
        async with asyncio.TaskGroup() as group:
            lie = group.create_task(resolver_lies(self._ask_any))
            for dnsbl in self.lists.lists:
                for family in families(dnsbl):
                    if those := by_family.get(family):
                        group.create_task(_OneList(self, dnsbl, family, keep).ask(those, lie))

    async def answers(self, subjects: Iterable[str]) -> list[Listing]:
        """All answers, when the last one is there."""
        found: list[Listing] = []

        async def keep(portion: list[Listing]) -> None:
            found.extend(portion)

        await self.ask(subjects, keep)
        return found

    async def _ask_any(self, name: str) -> tuple[str, ...]:
        await self.pace.turn()
        return await self.questions.ask(name, "A")


class _OneList:
    """One list in one round."""

    def __init__(self, asking: Asking, dnsbl: Dnsbl, family: str, keep: Keep) -> None:
        self._asking, self._dnsbl, self._family, self._keep = asking, dnsbl, family, keep
        self._zone = asking.lists.asked_in(dnsbl)
        self._portion: list[Listing] = []
        # The lists do not all come at the same moment with what they have.
        self._handed_over = asyncio.get_running_loop().time() - secrets.randbelow(int(_PORTION_SECONDS))
        self._problem: Problem | None = None
        """Why it is not asked any more."""
        self._failures = 0

    async def ask(self, subjects: list[str], lie: asyncio.Task[Problem | None]) -> None:
        """Ask about each subject, unless the list, or the resolver (`lie`), fails its tests."""
        free = asyncio.Semaphore(_AT_ONCE)
        own = await self._tested()
        self._problem = await lie or own
        async with asyncio.TaskGroup() as group:
            for subject in subjects:
                if not self._problem:
                    await free.acquire()
                if self._problem:
                    self._portion.append(self._unknown(subject, self._problem))
                    continue
                group.create_task(self._one(subject, free))
        await self._hand_over()

    async def _one(self, subject: str, free: asyncio.Semaphore) -> None:
        try:
            listing = await self._answer(subject)
        finally:
            free.release()
        self._portion.append(listing)
        late = asyncio.get_running_loop().time() - self._handed_over > _PORTION_SECONDS
        if late or len(self._portion) >= _PORTION:
            await self._hand_over()

    async def _answer(self, subject: str) -> Listing:
        name = f"{subject if self._family == 'domain' else reversed_name(subject)}.{self._zone}"
        try:
            addresses = await self._question(name)
        except NoAnswer as no_answer:
            self._failed(Problem(f"no answer {_PATIENCE} times in a row: {no_answer}"))
            return self._unknown(subject, Problem(str(no_answer)))
        meaning = meaning_of(self._dnsbl, addresses)
        if meaning.refused:
            self._failed(Problem(meaning.reason, addresses))
        else:
            self._failures = 0
        if meaning.state == LISTED and (text := await self._text(name)):
            meaning = msgspec.structs.replace(meaning, reason=f"{meaning.reason}: {text}")
        return self._listing(subject, meaning, addresses)

    async def _hand_over(self) -> None:
        portion, self._portion = self._portion, []
        self._handed_over = asyncio.get_running_loop().time()
        if not self._problem and any(listing.state != UNKNOWN for listing in portion):
            self._problem = await self._tested()
        if problem := self._problem:
            # It has failed somewhere in this portion; nobody knows where.
            portion = [
                listing if listing.state == UNKNOWN else self._unknown(listing.subject, problem) for listing in portion
            ]
        if portion:
            async with self._asking.keeping:
                await self._keep(portion)

    async def _tested(self) -> Problem | None:
        return await problem_of(self._dnsbl, self._family, self._zone, self._question)

    async def _question(self, name: str) -> tuple[str, ...]:
        await self._asking.paces[self._dnsbl.label].turn()
        await self._asking.pace.turn()
        return await self._asking.questions.ask(name, "A")

    async def _text(self, name: str) -> str:
        """What the list says of the reason, on one line; nothing if it says nothing (RFC 5782 2.1)."""
        try:
            await self._asking.pace.turn()
            texts = await self._asking.questions.ask(name, "TXT")
        except NoAnswer:
            return ""
        text = " ".join(" ".join(texts).split())[:_TEXT]
        return "".join(letter if letter.isprintable() else "?" for letter in text)

    def _failed(self, problem: Problem) -> None:
        self._failures += 1
        if self._failures >= _PATIENCE:
            self._problem = self._problem or problem

    def _unknown(self, subject: str, problem: Problem) -> Listing:
        return self._listing(subject, Meaning(UNKNOWN, problem.reason), problem.codes)

    def _listing(self, subject: str, meaning: Meaning, codes: Iterable[str] = ()) -> Listing:
        now, codes = self._asking.clock.now(), tuple(codes)
        return Listing(
            subject=subject,
            zone=self._dnsbl.label,
            state=meaning.state,
            codes=codes[:_CODES] if meaning.state != CLEAN else (),
            reason=meaning.reason[: 2 * _TEXT],
            scope=meaning.scope if meaning.state == LISTED else self._dnsbl.scope,
            weight=meaning.weight if meaning.state == LISTED else self._dnsbl.weight,
            first_seen=now if meaning.state != UNKNOWN else 0.0,
            last_seen=now if meaning.state != UNKNOWN else 0.0,
        )


def families(dnsbl: Dnsbl) -> tuple[str, ...]:
    """What a list can be asked about."""
    if dnsbl.kind == "domain":
        return ("domain",)
    return ("ip4", "ip6") if dnsbl.ipv6 else ("ip4",)
