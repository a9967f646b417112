"""The directory in memory: whatever is not as the policy says. Suspensions, limits, exemptions, pins, who is whose.

The ledger has the truth. Each relay process keeps this copy and reads it again when the ledger's revision has moved; a
ledger that cannot be read changes nothing. What one process decides holds in it at once (`suspend_now`), in the others
as soon as they hear of it (`hear`), and everywhere when the ledger has it, which is a second or two later.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Limit, LimitTables
from outbound_guard.ledger.records import Standing

if TYPE_CHECKING:
    # Loading SQLAlchemy is left to whoever opens a ledger.
    from outbound_guard.ledger.database import Ledger

_PATIENCE = 10
"""Tries to read a ledger that was never there until the log says so."""
_HEARD = 600.0
"""Seconds after which what was decided elsewhere holds only if the ledger knows of it; so old is the oldest news."""
_MEMO = 50_000
"""Senders whose account by pattern, or limit, is remembered."""

_DOMAIN = re.compile(r"\*@[^*@]*")

log = logging.getLogger(__name__)


class _Copy(msgspec.Struct, frozen=True):
    """What was read from the ledger at one revision. Keys are (scope, subject)."""

    revision: int = -1
    suspensions: dict[tuple[str, str], Standing] = {}
    """Those that were taken back are in here too: they end a `suspend_now`."""
    limits: dict[tuple[str, str], Limit] = {}
    exemptions: dict[tuple[str, str], Standing] = {}
    probations: dict[tuple[str, str], Standing] = {}
    pins: dict[tuple[str, str], Standing] = {}
    accounts: dict[str, str] = {}
    """By sender, address, or `*@domain`."""
    patterns: tuple[tuple[str, re.Pattern[str], str], ...] = ()
    """The other patterns, the longest first."""


class Directory:
    """Look-ups are dictionary reads and never wait. One event loop uses it."""

    def __init__(self, ledger: Ledger | None, clock: Clock) -> None:
        """Without a ledger (replay) it holds only what `suspend_now` is told."""
        self.failing = False
        """True if the ledger could not be read the last time; the copy is then as old as that."""
        self.tell: Callable[[Standing], None] = lambda standing: None
        """Called with what is suspended here, for the other processes."""
        self._ledger = ledger
        self._clock = clock
        self._copy = _Copy()
        self._failures = 0
        self._now: dict[tuple[str, str], Standing] = {}
        self._heard: set[tuple[str, str]] = set()
        """Those of `_now` that another process has decided."""
        self._account_memo: dict[str, str | None] = {}
        self._limit_memo: dict[tuple[str, str, str], tuple[LimitTables, Limit]] = {}

    async def refresh(self) -> bool:
        """Read the ledger again if it has changed: True if it had. Never raises for a ledger that cannot be read."""
        if self._ledger is None:
            return False
        from outbound_guard.ledger.database import LedgerError

        try:
            copy = await asyncio.to_thread(_read, self._ledger, self._copy.revision)
        except LedgerError as error:
            self._failures += 1
            # At the very first start the console process is still making the ledger.
            if self._failures == (1 if self._copy.revision >= 0 else _PATIENCE):
                log.warning("the directory cannot be read and stays as it is: %s", error)
            self.failing = True
            return False
        self.failing, self._failures = False, 0
        self._forget_heard((copy or self._copy).suspensions)
        if copy is None:
            return False
        self._copy = copy
        # What was decided here ends when the ledger knows it, or something newer, about the same subject.
        self._now = {
            key: standing
            for key, standing in self._now.items()
            if key not in copy.suspensions or copy.suspensions[key].time < standing.time
        }
        self._account_memo.clear()
        self._limit_memo.clear()
        return True

    def account_of(self, address: str) -> str | None:
        """The account that answers for a sender or address by the directory's entries; None if it has none.

        An entry for the very sender comes first, then the longest pattern that fits. Case does not matter.
        """
        address = address.lower()
        found = self._copy.accounts.get(address)
        if found is not None:
            return found
        # Most patterns are whole domains, which stand in the dictionary.
        domain = "*" + address[at:] if (at := address.rfind("@")) >= 0 else ""
        found = self._copy.accounts.get(domain)
        if not self._copy.patterns:
            return found
        try:
            return self._account_memo[address]
        except KeyError:
            for pattern, fits, account in self._copy.patterns:
                if found is not None and len(pattern) < len(domain):
                    break
                if fits.fullmatch(address):
                    found = account
                    break
            if len(self._account_memo) >= _MEMO:
                self._account_memo.clear()
            self._account_memo[address] = found
            return found

    def suspended(self, sender: str, account: str) -> Standing | None:
        """The suspension in force for a sender or its account, if there is one."""
        if not self._now and not self._copy.suspensions:
            return None
        for key in (("sender", sender), ("account", account)):
            here = self._now.get(key)
            if here is not None and here.change == "resumed":
                continue
            if here is not None and self._in_force(here):
                return here
            known = self._copy.suspensions.get(key)
            if known is not None and known.change == "suspended" and self._in_force(known):
                return known
        return None

    def suspend_now(self, standing: Standing) -> None:
        """Let a suspension hold in this process at once. `standing` is the very record that goes to the journal."""
        self._now[standing.scope, standing.subject] = standing
        self._heard.discard((standing.scope, standing.subject))
        self.tell(standing)

    def hear(self, standing: Standing) -> None:
        """Let what another process has decided hold here, unless something newer is known."""
        key = (standing.scope, standing.subject)
        known = self._now.get(key) or self._copy.suspensions.get(key)
        if standing.change in ("suspended", "resumed") and (known is None or known.time < standing.time):
            self._now[key] = standing
            self._heard.add(key)

    def _forget_heard(self, known: Mapping[tuple[str, str], Standing]) -> None:
        """Old news may be heard again, also of an account that was erased meanwhile: the ledger has the truth."""
        before = self._clock.now() - _HEARD
        self._heard &= self._now.keys()
        for key in [key for key in self._heard if key not in known and self._now[key].time < before]:
            del self._now[key]
            self._heard.discard(key)

    def limit(self, sender: str, account: str, default: LimitTables) -> Limit:
        """What one sender may send: its own limit, where that is silent its account's, else the provider's."""
        if not self._copy.limits:
            return default.sender
        return self._inherited("sender", (("sender", sender), ("account", account)), default, default.sender)

    def account_limit(self, account: str, default: LimitTables) -> Limit:
        """What all senders of an account may send together: its own limit, where that is silent the provider's."""
        if not self._copy.limits:
            return default.account
        return self._inherited("account", (("account", account),), default, default.account)

    def exempt(self, sender: str, account: str, now: float) -> str | None:
        """The reason why a sender is exempt from holding and refusing at `now` (unix seconds), or None."""
        exemptions = self._copy.exemptions
        if exemptions:
            for key in (("sender", sender), ("account", account)):
                found = exemptions.get(key)
                if found is not None and not 0 < found.until <= now:
                    return found.reason or "exempted"
        return None

    def probation(self, scope: str, subject: str, now: float) -> Standing | None:
        """The probation that a sender or account (`scope`) is on at `now` (unix seconds), if it is."""
        probations = self._copy.probations
        found = probations.get((scope, subject)) if probations else None
        return found if found is not None and found.until > now else None

    def pool(self, sender: str, account: str, now: float) -> str:
        """The egress pool that a sender, or else its account, is pinned to at `now` (unix seconds); empty: none."""
        pins = self._copy.pins
        if pins:
            for key in (("sender", sender), ("account", account)):
                found = pins.get(key)
                if found is not None and not 0 < found.until <= now:
                    return found.pool
        return ""

    def _in_force(self, standing: Standing) -> bool:
        return not 0 < standing.until <= self._clock.now()

    def _inherited(
        self, scope: str, keys: tuple[tuple[str, str], ...], default: LimitTables, outermost: Limit
    ) -> Limit:
        memo = (scope, keys[0][1], keys[-1][1])
        known = self._limit_memo.get(memo)
        # A reloaded policy brings new tables.
        if known is not None and known[0] is default:
            return known[1]
        found = outermost
        for key in reversed(keys):
            own = self._copy.limits.get(key)
            if own is not None:
                found = own.under(found)
        if len(self._limit_memo) >= _MEMO:
            self._limit_memo.clear()
        self._limit_memo[memo] = (default, found)
        return found


def _read(ledger: Ledger, revision: int) -> _Copy | None:
    """The ledger's directory, or None if it is still at `revision`. Raises LedgerError."""
    from outbound_guard.ledger import directory_queries as queries

    # Read first: what changes while the rest is read is then read again the next time.
    number = queries.directory_revision(ledger)
    if number == revision:
        return None
    suspensions, limits, exemptions, probations, pins = {}, {}, {}, {}, {}
    for standing in queries.standings(ledger):
        key = (standing.scope, standing.subject)
        if standing.change in ("suspended", "resumed"):
            suspensions[key] = standing
        elif standing.change == "limited":
            fields = {name: value for name, value in standing.limits.items() if name in Limit.__struct_fields__}
            limits[key] = Limit(**fields)
        elif standing.change == "exempted":
            exemptions[key] = standing
        elif standing.change == "probation":
            probations[key] = standing
        elif standing.change == "pinned":
            pins[key] = standing
    mapping = {pattern.lower(): account for pattern, account in queries.mapping(ledger).items()}
    patterns = [pattern for pattern in mapping if "*" in pattern and not _DOMAIN.fullmatch(pattern)]
    # The second key makes the order certain among patterns of one length.
    patterns.sort(key=lambda pattern: (-len(pattern), pattern))
    return _Copy(
        revision=number,
        suspensions=suspensions,
        limits=limits,
        exemptions=exemptions,
        probations=probations,
        pins=pins,
        accounts=mapping,
        patterns=tuple((pattern, _compiled(pattern), mapping[pattern]) for pattern in patterns),
    )


def _compiled(pattern: str) -> re.Pattern[str]:
    """Only `*` means something; `[` and `?` stand for themselves."""
    return re.compile(fnmatch.translate(re.sub(r"[\[?]", r"[\g<0>]", pattern)))
