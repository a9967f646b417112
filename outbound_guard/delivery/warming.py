"""Warm-up: what new addresses may send, day by day (UTC).

All processes together keep to the number of the day: of what is left each takes a part from a counter outside, before
it is used, and a new one once a second (`sync`). So no message waits for that counter, and there are never more than
the number says; that each process holds at least one message may leave a few unsent. While the counter is away a
process may send its share of the day and no more.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from outbound_guard.config import Address, Config
from outbound_guard.state import State

DAY = 86_400
_NEXT_PART = 5.0
"""Seconds in which a process surely has its next part of what is left of the day."""
_LONGEST = 1_800.0
"""Seconds a message waits at most until it is tried again: a pool that was changed, or a pin, counts soon."""

Add = Callable[[str, int, int], Awaitable[int]]
"""Adds to a counter (first) of a day (days since 1970) so many messages; what it comes to."""


def key_of(address: str, day: int) -> str:
    """The key of the counter of an address (`sent:ADDRESS`, `taken:ADDRESS`) and day (days since 1970)."""
    return f"w:{address}:{day}"


async def add_up(state: State, counter: str, day: int, number: int) -> int:
    """Adds to the counter in the store; what it comes to. Raises StateError."""
    key = key_of(counter, day)
    total = int(await state.command("INCRBY", key, number))
    if total == number:
        await state.command("EXPIRE", key, 3 * DAY)
    return total


async def sent_of(state: State, addresses: Sequence[str], day: int) -> list[int]:
    """What all processes have sent from each of these addresses on a day. Raises StateError."""
    if not addresses:
        return []
    keys = [key_of(f"sent:{address}", day) for address in addresses]
    return [int(one or 0) for one in await state.get(keys)]


def day_of(now: float) -> int:
    """The day (UTC) of a time in unix seconds, as days since 1970."""
    return int(now // DAY)


class Budget(msgspec.Struct, frozen=True):
    """What an address may send today."""

    address: str
    day: int
    """Of its warm-up: 1 is the first; below that it has not begun."""
    most: int
    """Messages of today; 0 before it has begun."""


def budget_of(address: str, first: str, schedule: Sequence[int], now: float) -> Budget | None:
    """What an address whose warm-up begins on the day `first` may send at `now` (unix seconds); None: no limit."""
    begun = datetime.date.fromisoformat(first)
    day = day_of(now) - (begun - datetime.date(1970, 1, 1)).days + 1
    if day > len(schedule):
        return None
    return Budget(str(ipaddress.ip_address(address)), day, schedule[day - 1] if day > 0 else 0)


def budgets_of(config: Config, now: float) -> list[Budget]:
    """The addresses of a configuration that are warming up, or wait for their first day, at `now` (unix seconds)."""
    found = (
        budget_of(table.address, table.warm_up, table.schedule or config.delivery.warm_up, now)
        for table in config.delivery.address
        if table.warm_up
    )
    return [budget for budget in found if budget]


class _Today(msgspec.Struct):
    """One address on one day, as this process sees it."""

    budget: Budget
    sent: int = 0
    told: int = 0
    """Of those, known to the counter."""
    part: int = 0
    """What this process has taken of the number of the day."""
    allowed: int = 0
    """Messages that this process may send in all."""
    left: int = 0
    """What nobody has taken yet, as far as that is known."""


class Warming:
    """What this process may send from each address that is warming up. One event loop uses it."""

    def __init__(self, tables: Sequence[Address], schedule: Sequence[int], now: float, processes: int = 1) -> None:
        """`schedule` for those that have none of their own; `processes` send from them, this one included.

        Nothing goes from them until `sync` was tried for the first time.
        """
        self._tables = [(str(ipaddress.ip_address(one.address)), one) for one in tables if one.warm_up]
        self.addresses = frozenset(address for address, _ in self._tables)
        self._schedule, self._processes = schedule, processes
        self._day = 0
        self._today: dict[str | None, _Today] = {}
        self._begin(now)

    def spent(self, address: str | None) -> bool:
        """True if nothing may go from this address now."""
        today = self._today.get(address)
        return today is not None and today.sent >= today.allowed

    def spend(self, address: str | None, messages: int = 1) -> None:
        """So many messages are offered from this address; fewer than none: were not, after all."""
        if (today := self._today.get(address)) is not None:
            today.sent = max(0, today.sent + messages)

    def wait(self, now: float, addresses: Sequence[str]) -> float:
        """Seconds until it is worth trying again from these addresses, which are spent."""
        if any(today.left > 0 for address in addresses if (today := self._today.get(address))):
            return _NEXT_PART
        return min(_LONGEST, DAY - now % DAY + _NEXT_PART)

    async def sync(self, now: float, add: Add) -> dict[str, tuple[Budget, int]]:
        """Tell the counter what was sent, and take a new part; budget and messages of today by address.

        Raises what `add` raises: then this process goes on with its share of the day, if it has not taken more.
        """
        if day_of(now) != self._day:
            self._begin(now)
        found: dict[str, tuple[Budget, int]] = {}
        try:
            for address, today in self._today.items():
                found[str(address)] = (today.budget, await self._take(str(address), today, add))
        except BaseException:
            for today in self._today.values():
                today.allowed = max(today.part, today.budget.most // self._processes)
            raise
        return found

    async def _take(self, address: str, today: _Today, add: Add) -> int:
        """Take a part of what is left, or give back what is too much; what all have sent."""
        new, day = today.sent - today.told, self._day
        sent = await add(f"sent:{address}", day, new)
        today.told += new
        # Half of what is left for all, so that it lasts a while; as much as can be sent at once in a second.
        wanted = today.sent + max(1, today.left // (2 * self._processes)) - today.part
        taken = await add(f"taken:{address}", day, wanted)
        if (excess := min(taken - today.budget.most, wanted)) > 0:
            taken = await add(f"taken:{address}", day, -excess)
            wanted -= excess
        today.part += wanted
        today.allowed = today.part
        today.left = today.budget.most - taken
        return sent

    def _begin(self, now: float) -> None:
        """A new day."""
        self._day = day_of(now)
        found = [budget_of(address, one.warm_up, one.schedule or self._schedule, now) for address, one in self._tables]
        self._today = {budget.address: _Today(budget) for budget in found if budget}
