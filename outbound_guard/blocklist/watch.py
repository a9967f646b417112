"""Round after round: ask, keep what was found, let listed addresses rest.

All subjects are asked about in each round in the same order, so that none waits for longer than one interval. Between
rounds those are asked about at once that a receiver has refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from outbound_guard.blocklist import keeping, rule
from outbound_guard.blocklist.asking import Asking, families
from outbound_guard.blocklist.listing import LISTED, Listing
from outbound_guard.blocklist.own import family_of, subject_of
from outbound_guard.blocklist.wanted import Wanted
from outbound_guard.clock import Clock
from outbound_guard.config import Blocklist
from outbound_guard.delivery.classes import refuses_us
from outbound_guard.ledger import listing_queries as queries
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.reply import Reply

RECHECK_SECONDS = 600.0
"""An address that receivers refuse is asked about at most so often between rounds."""
_RECHECKED = 20
"""Addresses asked about for one look at the refusals, if the refusals do not name one of ours."""
_KEPT = 500
"""Answers that are kept in one transaction."""
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}(?!\w)|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:]))"
)
_IPV6 = re.compile(r"\bipv6:", re.I)
"""What stands before an IPv6 address in a literal (RFC 5321 4.1.3)."""

Row = dict[str, Any]
_log = logging.getLogger(__name__)


class Watch:
    """Watches `subjects` (in their usual form) on the lists of `asking`. One event loop uses it."""

    def __init__(
        self,
        asking: Asking,
        subjects: Iterable[str],
        pools: Mapping[str, Sequence[str]],
        ledger: Ledger,
        clock: Clock,
        settings: Blocklist,
        *,
        count: Callable[..., None],
        listing_changed: Callable[[Row], None],
        address_changed: Callable[[Row], None],
    ) -> None:
        """`ledger` is a writer. `count("blocklist_answers_total", state, by=N)` is called for answers.

        `listing_changed` gets each new row of the history, `address_changed` each row of `own_address` whose state is
        another one than before.
        """
        # Neighbours are not asked about one after the other, and each round has the same order.
        self.subjects = tuple(sorted(subjects, key=lambda subject: hashlib.sha256(subject.encode()).digest()))
        self.asking, self._pools = asking, pools
        self._ledger, self._clock, self._settings = ledger, clock, settings
        self._count, self._listing_changed, self._address_changed = count, listing_changed, address_changed
        self.wanted = Wanted(self.subjects, clock)
        """What people want to be asked about now."""
        self._deciding = asyncio.Lock()
        self._begun = self.ended = 0.0
        """When the last round began and ended (unix seconds); 0: none yet."""
        self._rechecked: dict[str, float] = {}
        self._unkept: dict[tuple[str, str], Listing] = {}
        """Answers that the ledger would not take, by subject and zone."""
        self._serial: int | None = None

    async def seconds_until_due(self) -> float:
        """Seconds until the next round is to begin. Raises LedgerError."""
        interval = self._settings.interval
        if not self._begun:
            # After a restart lists are not asked again before their time, unless there is something new to ask.
            checked = await asyncio.to_thread(queries.checked_of, self._ledger)
            times = [checked.get(pair, 0.0) for pair in self._pairs()]
            if not times or min(times) <= 0.0:
                return 0.0
            self._begun, self.ended = min(times), max(times)
        # Jitter makes it earlier, never later: a listing is to be found within one interval.
        due = self._begun + interval * (0.9 + secrets.randbelow(100) / 1000)
        now = self._clock.now()
        return min(max(due - now, 0.0), interval)

    async def round(self) -> None:
        """Ask every list about every subject, and forget what is not watched any more. Raises LedgerError."""
        self._begun = self._clock.now()
        await self.asking.ask(self.subjects, self._keep)
        self.ended = self._clock.now()
        labels = [dnsbl.label for dnsbl in self.asking.lists.lists]
        await asyncio.to_thread(queries.forget_others, self._ledger, self.subjects, labels, self.ended)
        await self.react()

    async def recheck(self, subjects: Iterable[str]) -> None:
        """Ask every list about these of our subjects now, and react. Raises LedgerError."""
        ours = set(self.subjects)
        if wanted := [subject for subject in dict.fromkeys(subjects) if subject in ours]:
            now = self._clock.now()
            self._rechecked |= dict.fromkeys(wanted, now)
            await self.asking.ask(wanted, self._keep)
            await self.react()

    async def refused(self) -> list[str]:
        """Subjects to ask about now, since next hops have refused our address since the last call. Raises LedgerError.

        Those that the replies name, else source addresses of the pools; none that was asked about a short time ago.
        """
        if self._serial is None:
            self._serial = await asyncio.to_thread(queries.last_delivery, self._ledger)
            return []
        rows = await asyncio.to_thread(queries.refusals_since, self._ledger, self._serial)
        if not rows:
            return []
        self._serial = rows[-1]["serial"]
        texts = [row["text"] for row in rows if refuses_us(Reply(row["code"], row["enhanced"], row["text"]))]
        if not texts:
            return []
        ours = set(self.subjects)
        named = [subject for text in texts for subject in _addresses_in(text) if subject in ours]
        meant = dict.fromkeys(named or [address for pool in self._pools.values() for address in pool])
        now = self._clock.now()
        fresh = [s for s in meant if s in ours and not 0 <= now - self._rechecked.get(s, -1e12) < RECHECK_SECONDS]
        return fresh[:_RECHECKED]

    async def react(self) -> None:
        """Let source addresses rest, or return, as the rule says. Raises LedgerError."""
        async with self._deciding:
            changed = await asyncio.to_thread(self._decide)
        for row in changed:
            self._address_changed(row)

    async def keep_waiting(self) -> None:
        """Try again to keep answers that the ledger would not take."""
        if self._unkept:
            async with self.asking.keeping:
                await self._keep([])

    def _decide(self) -> list[Row]:
        before = {(row["pool"], row["address"]): row for row in queries.own_addresses(self._ledger)}
        if not self._pools and not before:
            return []
        rows: dict[str, list[Row]] = {}
        for row in queries.ever_listed(self._ledger):
            rows.setdefault(row["subject"], []).append(row)
        decided = rule.decide(
            self._pools,
            rows,
            before,
            self._clock.now(),
            rest_weight=self._settings.rest_weight,
            rest_clean=self._settings.rest_clean,
        )
        after = {(row["pool"], row["address"]): row for row in decided}
        if after == before:
            return []
        queries.put_own_addresses(self._ledger, decided)
        new = {"state": rule.IN_USE}
        return [row for key, row in after.items() if row["state"] != before.get(key, new)["state"]]

    async def _keep(self, portion: list[Listing]) -> None:
        self._unkept |= {(listing.subject, listing.zone): listing for listing in portion}
        begun = False
        while self._unkept:
            some = dict(itertools.islice(self._unkept.items(), _KEPT))
            try:
                changes = await asyncio.to_thread(keeping.put, self._ledger, list(some.values()), self._clock.now())
            except LedgerError as error:
                _log.error("answers of blocklists cannot be kept for now: %s", error)
                break
            for key in some:
                del self._unkept[key]
            for state, number in Counter(listing.state for listing in some.values()).items():
                self._count("blocklist_answers_total", state, by=number)
            for change in changes:
                self._listing_changed(change)
            begun = begun or any(change["state"] == LISTED for change in changes)
        if begun:
            try:
                await self.react()
            except LedgerError as error:
                _log.error("listed addresses cannot be let rest for now: %s", error)

    def _pairs(self) -> list[tuple[str, str]]:
        by_family: dict[str, list[str]] = {}
        for subject in self.subjects:
            by_family.setdefault(family_of(subject), []).append(subject)
        return [
            (subject, dnsbl.label)
            for dnsbl in self.asking.lists.lists
            for family in families(dnsbl)
            for subject in by_family.get(family, ())
        ]


def _addresses_in(text: str) -> list[str]:
    found = []
    for word in _ADDRESS.findall(_IPV6.sub(" ", text)):
        try:
            found.append(subject_of(word))
        except ValueError:
            continue
    return found
