"""The part of the work that needs nobody: follows listings and refusals, fills in what can be found, minds the time.

Each step is one transaction: what was found, and how far that goes. So a crash between two steps loses nothing, and a
step done twice changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from outbound_guard.blocklist.lists import lists_of
from outbound_guard.clock import Clock
from outbound_guard.config import Config
from outbound_guard.desk.cases import evidence, timers
from outbound_guard.desk.cases.following import Ours, Refusals, sighting_of
from outbound_guard.desk.cases.opening import Sighting, cleared, home, seen
from outbound_guard.desk.cases.originals import Originals
from outbound_guard.desk.cases.resolvers import confirmation
from outbound_guard.desk.cases.stages import DAY
from outbound_guard.ledger import case_queries, listing_queries
from outbound_guard.ledger.case_queries import Case
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.records import CaseEvent

LISTINGS, DELIVERIES = "listing_history", "delivery"
LOOK_AGAIN = 30.0
"""Seconds after which a case in which nothing has happened is looked at once more."""
ASK_AGAIN = 3600.0
"""Seconds after which resolvers that did not agree are asked once more."""
PORTION = 500
"""Rows that are followed at a time."""


class Work:
    """For the one process that writes the ledger. `once` blocks: it is called in a thread."""

    def __init__(self, writer: Ledger, reader: Ledger, config: Config, clock: Clock) -> None:
        """`reader`: a connection of its own, so that long questions keep nobody from writing. Raises ConfigError."""
        self._writer, self._ledger, self._config, self._clock = writer, reader, config, clock
        self.news: list[CaseEvent] = []
        """What was written and not taken from here yet."""
        self._ours = Ours(config, [dnsbl.label for dnsbl in lists_of(config).lists])
        self._originals = Originals(config)
        self._refusals: Refusals | None = None
        self._read = 0
        self._asked: dict[str, float] = {}
        self._looked: dict[str, tuple[float, float]] = {}
        """When a case was looked at, and how new it was then."""

    def once(self) -> int:
        """All there is to do now: how many events that were. Raises LedgerError, OSError."""
        done = self._listings() + self._deliveries()
        windows: dict[Any, Any] = {}
        done += sum(self._minded(case, windows) for case in case_queries.cases(self._ledger, state="open"))
        self._expired()
        return done

    async def ask(self) -> int:
        """Ask every resolver about cases whose listings are not verified yet. Raises LedgerError, ConfigError."""
        done = 0
        for case in await asyncio.to_thread(case_queries.cases, self._ledger, state="open"):
            now = self._clock.now()
            if case.stage != "verify" or now - self._asked.get(case.id, 0.0) < ASK_AGAIN:
                continue
            self._asked[case.id] = now
            if event := await confirmation(case, self._config, self._clock):
                await asyncio.to_thread(self._write, [event])
                done += 1
        return done

    def _listings(self) -> int:
        done = 0
        at = case_queries.progress(self._ledger, LISTINGS) or 0
        while rows := listing_queries.history_since(self._ledger, at, PORTION):
            for row in rows:
                at = row["serial"]
                events = self._listing(row)
                self._write(events, {LISTINGS: at})
                done += len(events)
        return done

    def _listing(self, row: dict[str, object]) -> list[CaseEvent]:
        now, subject, zone = self._clock.now(), str(row["subject"]), str(row["zone"])
        if row["state"] == "listed":
            known = listing_queries.listings(self._ledger, subjects=[subject])
            listing = next((one for one in known if one["zone"] == zone), None)
            sighting = sighting_of(row, listing, self._ours, now)
            # A list that nobody heeds is worth a line in a case that is open anyway, but none of its own.
            event = self._placed(sighting, alone=listing is None or listing["weight"] > 0)
            return [event] if event else []
        if row["state"] == "clean":
            cases = case_queries.cases(self._ledger, state="open")
            found = [cleared(case, subject, zone, now, f"listing-{row['serial']}-{case.id}") for case in cases]
            return [event for event in found if event]
        return []

    def _deliveries(self) -> int:
        now, settings = self._clock.now(), self._config.cases
        followed = case_queries.progress(self._ledger, DELIVERIES)
        newest = case_queries.newest_delivery(self._ledger)
        if followed is not None and newest < followed:
            # All that was followed is forgotten, and the numbers have begun anew.
            followed = self._read = 0
        if self._refusals is None:
            self._refusals = Refusals(self._ours, enough=settings.refusals, seconds=settings.refusal_seconds)
            # What this process does not remember of the last while is read again, but told only if it is new.
            self._read = case_queries.delivery_serial(self._ledger, now - settings.refusal_seconds)
        done = 0
        while True:
            rows, at = case_queries.refusals_since(self._ledger, self._read)
            old = [row for row in rows if followed is not None and row["serial"] <= followed]
            self._refusals.remember(old)
            for sighting in self._refusals.add(rows[len(old) :], now):
                # The next one may belong to the case that this one opens.
                if event := self._placed(sighting):
                    self._write([event])
                    done += 1
            if followed is None or at > followed:
                self._write([], {DELIVERIES: at})
                followed = at
            if at == self._read or not rows:
                self._read = at
                return done
            self._read = at

    def _write(self, events: list[CaseEvent], followed: dict[str, int] | None = None) -> None:
        case_queries.write(self._writer, events, followed)
        self.news += events

    def _placed(self, sighting: Sighting, *, alone: bool = True) -> CaseEvent | None:
        settings = self._config.cases
        oldest = sighting.time - settings.reopen_days * DAY
        cases = case_queries.cases(self._ledger, closed_since=oldest)
        case = home(cases, sighting, settings.reopen_days)
        if not alone and (case is None or case.state == "closed"):
            return None
        return seen(case, sighting)

    def _minded(self, case: Case, windows: dict[Any, Any]) -> int:
        now = self._clock.now()
        changed, at = self._looked.get(case.id, (0.0, 0.0))
        if changed == case.changed and 0 <= now - at < LOOK_AGAIN:
            return 0
        self._looked[case.id] = case.changed, now
        history = case_queries.events(self._ledger, case.id)
        events = list(timers.due(case, history, self._config, now))
        sources = evidence.Sources(self._ledger, self._config, now, history, windows)
        if found := evidence.found(case, sources):
            events.append(found)
        for event in events:
            self._write([event])
        return len(events)

    def _expired(self) -> None:
        now = self._clock.now()
        for original in self._originals.expired(now):
            if original.case:
                text = f"the original of {original.id} has expired and is deleted"
                event = CaseEvent(id=f"expired-{original.id}", case=original.case, time=now, what="expired", text=text)
                self._write([event])
            self._originals.remove(original)
