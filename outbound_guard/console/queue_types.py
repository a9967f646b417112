"""How the pages and the API read which queued messages are meant, and the words of the acts."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from litestar.di import NamedDependency, Provide
from litestar.exceptions import ValidationException
from litestar.params import FromQuery

from outbound_guard.console.moments import moment_of
from outbound_guard.console.tools import GivenTools
from outbound_guard.desk.queue.deciding import Meant
from outbound_guard.desk.queue.waiting import Search

Act = Literal["retry", "hold", "bounce"]


class Words(msgspec.Struct, frozen=True):
    """An act as people choose it."""

    name: str
    done: str
    hint: str
    kind: str = ""
    """Of its button."""


ACTS: dict[Act, Words] = {
    "retry": Words("Try now", "tried anew", "deliver it now; when it expires stays as it was", "main"),
    "hold": Words("Hold", "held", "take it out of the queue until a person decides"),
    "bounce": Words("Give up", "given up", "its sender gets a report, if the account owns the address", "danger"),
}


def _search(
    tools: GivenTools,
    account: FromQuery[str] = "",
    sender: FromQuery[str] = "",
    sender_class: FromQuery[str] = "",
    recipient: FromQuery[str] = "",
    destination: FromQuery[str] = "",
    reply: FromQuery[str] = "",
    reply_class: FromQuery[str] = "",
    subject: FromQuery[str] = "",
    since: FromQuery[str] = "",
    before: FromQuery[str] = "",
) -> Search:
    """Which messages are meant.

    `destination` is the recipient's domain, `reply` words of the last answer, `reply_class` what that means; `since`
    and `before` are unix seconds, a date or time, or a duration such as `6h` (so long ago).
    """
    now = tools.clock.now()
    return Search(
        account=account.strip(),
        sender=sender.strip(),
        sender_class=sender_class.strip(),
        recipient=recipient.strip(),
        destination=destination.strip(),
        reply=reply.strip(),
        reply_class=reply_class.strip(),
        subject=subject.strip(),
        since=moment_of(since, now),
        before=moment_of(before, now),
    )


GivenSearch = NamedDependency[Search]
"""An argument `search: GivenSearch` of a handler with `dependencies=SEARCHED` is read from the query."""
SEARCHED = {"search": Provide(_search, sync_to_thread=False)}


def query_of(search: Search) -> dict[str, Any]:
    """The search as a query; what does not restrict is left out."""
    given: dict[str, Any] = msgspec.to_builtins(search)
    return {name: str(value) for name, value in given.items() if value}


def meant_of(ids: tuple[str, ...], search: Search | None) -> Meant:
    """Which messages: those named, or those that fit. Raises ValidationException (400) unless it is one of the two."""
    if ids and search is not None:
        raise ValidationException("name messages, or say which by a search, not both")
    if search is None and not ids:
        raise ValidationException("no message is selected")
    if search is not None and search.empty:
        # Whoever forgets the condition must not give everybody's mail up.
        raise ValidationException("an empty search means everything: say which messages are meant")
    return search if search is not None else tuple(dict.fromkeys(ids))
