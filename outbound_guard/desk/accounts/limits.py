"""What a sender or account may send, and where each number comes from. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import msgspec

from outbound_guard.config import Allow, Limit, Policy
from outbound_guard.ledger.records import Standing

KINDS = {
    "suspended": "suspension",
    "resumed": "suspension",
    "limited": "limit",
    "unlimited": "limit",
    "exempted": "exemption",
    "probation": "probation",
}


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """One number that is in force."""

    of: str
    """sender (each of them) | account (all its senders together)"""
    window: str
    """minute | hour | day"""
    what: str
    """messages | recipients"""
    most: int
    origin: str
    """provider | account | sender | probation: whose setting it is."""
    detail: str
    """Where it stands, in words."""


def limits_in_force(
    policy: Policy, standings: Iterable[Standing], scope: str, subject: str, account: str, now: float
) -> list[InForce]:
    """The limits of a sender, or of an account with each of its senders, at `now` (unix seconds).

    `standings` are those of the subject and its account. The same rules as in accounts/directory.py.
    """
    known = {(s.scope, s.subject, KINDS.get(s.change, "")): s for s in standings if is_in_force(s, now)}
    found: list[InForce] = []
    of_account = known.get(("account", account, "limit"))
    if scope == "sender":
        own = known.get(("sender", subject, "limit"))
        probation = known.get(("sender", subject, "probation"))
        found += _lines("sender", policy.limit.sender, (("sender", own), ("account", of_account)), probation, policy)
    else:
        found += _lines("sender", policy.limit.sender, (("account", of_account),), None, policy)
    probation = known.get(("account", account, "probation"))
    found += _lines("account", policy.limit.account, (("account", of_account),), probation, policy)
    return found


def is_in_force(standing: Standing, now: float) -> bool:
    """True if it has something to say at `now`: not taken back, not over."""
    kinds = ("suspended", "limited", "exempted", "probation", "pinned")
    return standing.change in kinds and not 0 < standing.until <= now


def exempted_by_policy(policy: Policy, scope: str, subject: str, account: str, now: float) -> list[Allow]:
    """The policy's allow rules that may be about a sender or account; some ask for more, such as a MAIL FROM."""
    today = datetime.fromtimestamp(now, UTC).date().isoformat()
    found = []
    for rule in policy.allow:
        of_sender = not rule.sender or (scope == "sender" and fnmatchcase(subject, rule.sender))
        of_account = not rule.account or fnmatchcase(account, rule.account)
        if today <= rule.until and of_account and of_sender and (rule.account or rule.sender):
            found.append(rule)
    return found


def _lines(
    of: str,
    provider: Limit,
    own: Iterable[tuple[str, Standing | None]],
    probation: Standing | None,
    policy: Policy,
) -> Iterable[InForce]:
    asked = list(own)
    for window in ("minute", "hour", "day"):
        for what in ("messages", "recipients"):
            field = f"{what}_per_{window}"
            most, origin, detail = getattr(provider, field), "provider", f"limit.{of}.{field} of the policy"
            for whose, standing in reversed(asked):
                if standing is not None and standing.limits.get(field):
                    most, origin = standing.limits[field], whose
                    detail = f"set for this {whose} by {standing.by}" + (
                        f": {standing.reason}" if standing.reason else ""
                    )
            strict = getattr(policy.probation.limit, field)
            if probation is not None and strict and (not most or strict < most):
                most, origin, detail = strict, "probation", f"probation.limit.{field} of the policy"
            if most:
                yield InForce(of=of, window=window, what=what, most=most, origin=origin, detail=detail)
