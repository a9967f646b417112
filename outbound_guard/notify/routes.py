"""Which notices go by which routes, and when."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

import msgspec

from outbound_guard.config import Config
from outbound_guard.config.notices import ABUSE, FOR_CUSTOMERS, NoticeRoute
from outbound_guard.ledger.outbox_queries import Told
from outbound_guard.notify.letter import Carrier

GATHER = 20.0
"""Seconds that the first letter of a group waits for what comes with its notice: a suspension comes with held mail."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A way by which somebody is told."""

    name: str
    carry: Carrier
    kinds: frozenset[str]
    accounts: tuple[str, ...] = ()
    """Names or patterns; empty: all, and what concerns no account."""
    window: float = 0.0
    """Seconds of an account's notices that are one letter; 0: each goes alone."""
    expiry: float = 172_800.0
    """Seconds after which a notice is given up."""

    def wants(self, notice: Told) -> bool:
        """True if the notice goes by it."""
        if notice.to:
            return notice.to == self.name
        if notice.kind not in self.kinds:
            return False
        name = notice.account.lower()
        return not self.accounts or any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in self.accounts)

    def group(self, notice: Told) -> str:
        """What it goes out with; empty: alone."""
        if not self.window or notice.kind == "test":
            return ""
        return f"account:{notice.account}" if notice.account else f"kind:{notice.kind}"


def route_of(config: Config, settings: NoticeRoute, carry: Carrier, kinds: Sequence[str]) -> Route:
    """The route that a table of the configuration says. `kinds`: all there are."""
    possible = set(kinds)
    if settings.form == "mailchannels" or settings.carrier == "arf":
        possible = set(ABUSE)
    elif settings.to == "customer":
        possible = set(FOR_CUSTOMERS)
    return Route(
        name=settings.name,
        carry=carry,
        kinds=frozenset(possible & set(settings.kinds) if settings.kinds else possible - {"test"}),
        accounts=settings.accounts,
        window=settings.window if settings.carrier == "mail" else 0.0,
        expiry=config.notices.expiry,
    )


def due(route: Route, notice: Told, now: float, last: float) -> float:
    """When a notice is to go out. `last`: when the last letter of its group did (0: never). All in unix seconds."""
    if not route.group(notice):
        return now
    return max(now + min(GATHER, route.window), last + route.window if last else 0.0)


def plain(text: str, longest: int = 300) -> str:
    """One line of a bounded length without control characters."""
    one = re.sub(r"[\x00-\x20\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+", " ", text).strip()
    one = one.encode("utf-8", "replace").decode()
    return one if len(one) <= longest else f"{one[: longest - 1]}…"
