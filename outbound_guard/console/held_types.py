"""What the pages and the API say about held mail, and how they read which of it is meant."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery

from outbound_guard.console.moments import moment_of
from outbound_guard.console.query import State
from outbound_guard.console.tools import GivenTools
from outbound_guard.desk.policy.why import Why
from outbound_guard.ledger.held_queries import HeldGroup, HeldRow, Search, Similar
from outbound_guard.mail import Signal

Direction = Literal["down", "up"]
Decision = Literal["release", "teach", "return", "delete", "abuse"]


class Words(msgspec.Struct, frozen=True):
    """A decision as people choose it."""

    act: Literal["release", "delete", "return"]
    teach: bool
    name: str
    hint: str
    kind: str = ""
    """Of its button."""


DECISIONS: dict[Decision, Words] = {
    "release": Words("release", False, "Release", "deliver it; says nothing about sender and text", "main"),
    "teach": Words("release", True, "Release and teach", "deliver it; it was a mistake of ours"),
    "return": Words("return", False, "Return", "back to its sender, with a report"),
    "delete": Words("delete", False, "Delete", "for good; nobody is told", "danger"),
    "abuse": Words("delete", True, "Delete as abuse", "for good; the same text is stopped from everybody", "danger"),
}


class HeldPage(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that fit."""

    items: list[HeldRow]
    total: int
    """How many fit in all."""
    next: int | None
    """The `offset` to go on with; null: that was all."""


class HeldGroups(msgspec.Struct, frozen=True, kw_only=True):
    """Groups of messages, the largest first."""

    items: list[HeldGroup]
    total: int
    """How many groups there are."""
    next: int | None
    """The `offset` to go on with; null: that was all."""


class HeldDetails(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known about a held message but its content."""

    message: HeldRow
    reasons: tuple[str, ...]
    signals: tuple[Signal, ...]
    """Every contribution to the score, with its sentence."""
    why: Why | None
    """What decided, and what would have had to differ; null if the policy would say something else by now."""
    code: str
    client_ip: str
    server: str
    message_id: str
    answered: str
    """What the client was answered."""
    in_spool: str | None
    """Where it lies in the spool: held | quarantine | incoming | queue; null: nowhere any more."""
    lies_on: str = ""
    """The other host in whose spool it lies, of those that share the ledger; empty: none."""
    lies_on_console: str = ""
    """Where people reach that host's pages; empty if that is not known."""
    decided_in: str
    """The decision about many messages that it is in and that is not carried out yet; empty: none."""


class SameText(msgspec.Struct, frozen=True, kw_only=True):
    """Messages with the same text, whatever became of them. Texts that are only nearly the same are not found."""

    text: str
    """Its fingerprint; empty if the message has too little text for one."""
    counts: dict[str, int]
    """How many there are by verdict, this one included; of the newest 10,000."""
    items: list[Similar]


def _search(
    tools: GivenTools,
    waits: State = "",
    account: FromQuery[str] = "",
    sender: FromQuery[str] = "",
    recipient: FromQuery[str] = "",
    text: FromQuery[str] = "",
    words: FromQuery[str] = "",
    action: FromQuery[str] = "",
    signal: FromQuery[str] = "",
    score_from: FromQuery[float | None] = None,
    score_to: FromQuery[float | None] = None,
    since: FromQuery[str] = "",
    before: FromQuery[str] = "",
) -> Search:
    """Which messages are meant.

    `state` is held, quarantine, closed, or one of the states of closed ones; without it all that waits. `text` is the
    fingerprint of a campaign; `words` are looked for in subject and addresses; `since` and `before` are unix seconds, a
    date or time, or a duration such as `7d` (so long ago).
    """
    now = tools.clock.now()
    return Search(
        state=waits.strip(),
        account=account.strip(),
        sender=sender.strip(),
        recipient=recipient.strip(),
        text=text.strip().lower(),
        words=words.strip(),
        action=action.strip(),
        signal=signal.strip(),
        score_from=score_from,
        score_to=score_to,
        since=moment_of(since, now),
        before=moment_of(before, now),
    )


GivenSearch = NamedDependency[Search]
"""An argument `search: GivenSearch` of a handler with `dependencies=SEARCHED` is read from the query."""
SEARCHED = {"search": Provide(_search, sync_to_thread=False)}


def query_of(search: Search) -> dict[str, Any]:
    """The search as a query; what does not restrict is left out."""
    given = {name: str(value) for name, value in msgspec.to_builtins(search).items() if value is not None}
    return {
        name: value for name, value in given.items() if value and not (name in ("since", "before") and value == "0.0")
    }
