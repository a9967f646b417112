"""Lists of queued messages: those that fit, in order, and what they wait for in numbers. Pure; may take 0.2 s."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Literal

import msgspec

from outbound_guard.desk.queue.waiting import Fit, Search, Waiting

Sort = Literal["received", "due", "attempts", "size", "account"]
WholeOne = Callable[[str], Waiting | None]
"""Gives a message with all of its recipients, or None if it has gone."""
SHARES = 10
"""Rows of each table of a summary."""


class Share(msgspec.Struct, frozen=True):
    """How many messages wait for one destination, of one account, or with one answer."""

    key: str
    number: int
    class_: str = msgspec.field(name="class", default="")
    """Of an answer: what it means."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What waits, in messages. One with recipients at several destinations counts for each."""

    number: int
    recipients: int
    octets: int
    oldest: float
    """Unix seconds; 0 if there is none."""
    untried: int
    """Messages with a recipient to whom nothing was answered yet."""
    reports: int
    """Reports of our own."""
    returnable: int
    """Messages whose sender would be told if they were given up."""
    destinations: tuple[Share, ...]
    """Those for which most wait."""
    destination_count: int
    accounts: tuple[Share, ...]
    account_count: int
    answers: tuple[Share, ...]
    """Last answers; what differs from one message to the next is left out of their words."""
    answer_count: int


def found(rows: Iterable[Waiting], search: Search, whole: WholeOne) -> list[Waiting]:
    """Those that fit, in the order given. Of a message with many recipients the file is read, if they matter.

    Raises DeskError for a class that does not exist.
    """
    if search.empty:
        return list(rows)
    fit = Fit(search)
    asked = search.about_recipients
    fitting = []
    for one in rows:
        if not fit.message(one):
            continue
        if asked and one.cut:
            known = whole(one.id)
            if known is not None and fit.recipients(known):
                fitting.append(one)
        elif not asked or fit.anybody(one):
            fitting.append(one)
    return fitting


def in_order(rows: list[Waiting], sort: Sort, *, down: bool) -> list[Waiting]:
    """Sorted; `rows` come the oldest first, and equal ones stay so."""
    if sort == "received":
        return rows[::-1] if down else rows
    return sorted(rows, key=attrgetter(sort), reverse=down)


def summary(rows: Iterable[Waiting]) -> Summary:
    """Some messages in numbers."""
    number = recipients = octets = untried = reports = returnable = 0
    oldest = 0.0
    destinations: Counter[str] = Counter()
    accounts: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    classes: dict[str, str] = {}
    for one in rows:
        number += 1
        recipients += one.number
        octets += one.size
        reports += one.report
        returnable += one.returnable
        oldest = min(oldest or one.received, one.received)
        accounts[one.account] += 1
        for destination in one.destinations:
            destinations[destination] += 1
        for answer in one.answers:
            answers[answer.wording] += 1
            classes[answer.wording] = answer.class_
        untried += not one.answers or -1 in one.which
    return Summary(
        number=number,
        recipients=recipients,
        octets=octets,
        oldest=oldest,
        untried=untried,
        reports=reports,
        returnable=returnable,
        destinations=_shares(destinations),
        destination_count=len(destinations),
        accounts=_shares(accounts),
        account_count=len(accounts),
        answers=tuple(Share(key, times, classes[key]) for key, times in _most(answers)),
        answer_count=len(answers),
    )


def _shares(counted: Counter[str]) -> tuple[Share, ...]:
    return tuple(Share(key, times) for key, times in _most(counted))


def _most(counted: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:SHARES]
