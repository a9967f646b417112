"""The tables of the policy file: how evidence becomes actions. It is read again on SIGHUP."""

from __future__ import annotations

import functools
from typing import Any, Literal

from outbound_guard.config.reading import Table


class Thresholds(Table, frozen=True):
    """[threshold]: what a sum of evidence (nats) leads to."""

    watch: float = 3.0
    """The sender is watched."""
    hold: float = 5.0
    """Mail is held."""
    quarantine: float = 8.0
    """Mail is kept from the world until a person decides."""
    suspend: float = 11.0
    """The sender is suspended."""


class Hold(Table, frozen=True):
    """[hold]"""

    wait: float = 300.0
    """Seconds until a message held on suspicion is looked at again; later a quarter of the time it was held already."""
    longest: float = 21_600.0
    """Seconds after which a hold about volume alone drains, and any other hold waits for a person."""
    first_slice: int = 3
    """Messages of a sender that go out before that, of what answers can clear, to see them; 0: none."""
    slice_growth: float = 4.0
    """Once the answers are good, so many recipients may have been let out for each that has answered."""
    slice_wait: float = 60.0
    """Seconds between two slices at the least."""


class Defer(Table, frozen=True):
    """[defer]"""

    retry_after: float = 900.0
    """Seconds named in the reply."""


class Limit(Table, frozen=True):
    """Messages and recipients one account or sender may send; 0: no limit."""

    messages_per_minute: int = 0
    messages_per_hour: int = 0
    messages_per_day: int = 0
    recipients_per_minute: int = 0
    recipients_per_hour: int = 0
    recipients_per_day: int = 0

    def in_force(self) -> tuple[tuple[str, str, int], ...]:
        """Window, what is counted, and how many: of those that are set, the shortest window first."""
        return _in_force(self)

    def under(self, outer: Limit) -> Limit:
        """This limit where it says something, else `outer`'s."""
        return Limit(**{f: getattr(self, f) or getattr(outer, f) for f in self.__struct_fields__})

    def within(self, other: Limit) -> Limit:
        """The stricter of both in each field."""
        fields = {f: (getattr(self, f), getattr(other, f)) for f in self.__struct_fields__}
        return Limit(**{f: min(both) or max(both) for f, both in fields.items()})


@functools.lru_cache(1024)
def _in_force(limit: Limit) -> tuple[tuple[str, str, int], ...]:
    return tuple(
        (window, what, most)
        for window in ("minute", "hour", "day")
        for what in ("messages", "recipients")
        if (most := getattr(limit, f"{what}_per_{window}"))
    )


class LimitTables(Table, frozen=True):
    """[limit]: the provider's own; accounts and senders can have others."""

    action: Literal["defer", "hold"] = "defer"
    """What happens to mail beyond a limit."""
    account: Limit = Limit(recipients_per_hour=10_000, recipients_per_day=60_000)
    sender: Limit = Limit(recipients_per_hour=6_000, recipients_per_day=40_000)


class Probation(Table, frozen=True):
    """[probation]: what holds for a time after a sender or account was resumed."""

    days: float = 7.0
    """So long it lasts; 0: there is none."""
    thresholds: float = 0.6
    """What the thresholds are multiplied by meanwhile."""
    limit: Limit = Limit(recipients_per_hour=200, recipients_per_day=1000)
    """The most that may be sent meanwhile, whatever else is allowed: by the sender, or by all of the account."""


class Allow(Table, frozen=True):
    """[[allow]]: a rule that exempts senders until a date. All conditions given must hold."""

    reason: str
    """Why; for the audit."""
    until: str
    """Last day, YYYY-MM-DD."""
    account: str = ""
    sender: str = ""
    server: str = ""
    mail_from: str = ""
    """Patterns with `*`."""


class Quarantine(Table, frozen=True):
    """[quarantine]"""

    samples: int = 20
    """Messages kept per convicted sender and campaign; what comes after is refused."""


class Policy(Table, frozen=True):
    """The policy file: how the weights of evidence become actions. Reloaded on SIGHUP."""

    threshold: Thresholds = Thresholds()
    hold: Hold = Hold()
    defer: Defer = Defer()
    limit: LimitTables = LimitTables()
    quarantine: Quarantine = Quarantine()
    probation: Probation = Probation()
    allow: tuple[Allow, ...] = ()
    signal: dict[str, dict[str, Any]] = {}  # noqa: RUF012 -- msgspec gives every instance its own.
    """One table a signal; what may stand in it is the signal's own business (signals/__init__.py)."""
