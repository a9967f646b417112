"""What an account or sender did of late, from its newest decisions: scores and what moved them, recipients, clients.

Everything here is about the newest messages up to a number that is said along: a page must answer at once, and what is
older than some hundreds of messages seldom says more.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.delivery.answers import meaning_of
from outbound_guard.ledger import account_one_queries as one
from outbound_guard.ledger import directory_queries, traffic_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.mail import Signal, domain_of
from outbound_guard.reply import Reply
from outbound_guard.signals.traits import network

LOOKED_AT = 1000
"""Messages that are looked at."""
SHOWN = 10
"""Lines of each table."""
_POINTS = 240
"""Points of the chart: of those that lie close together the highest."""
_EVENTS = 60
_WEEK_HOURS, _DAY_HOURS = 168, 24

_signals: msgspec.json.Decoder[tuple[Signal, ...]] = msgspec.json.Decoder(tuple[Signal, ...])
_strings: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])

Row = dict[str, Any]


class Point(msgspec.Struct, frozen=True):
    """The score of a message, which is what its sender's suspicion came to with it."""

    time: float
    score: float
    action: str
    id: str
    sender: str


class Event(msgspec.Struct, frozen=True):
    """Something that was decided about it."""

    time: float
    what: str
    """suspended, resumed, limited, ... or what became of held mail: released, deleted, returned."""
    subject: str
    """A sender, an account, or the id of a message."""
    by: str
    reason: str


class Contribution(msgspec.Struct, frozen=True):
    """What one signal said of its messages."""

    signal: str
    highest: float
    """Nats, in one message."""
    messages: int
    """In how many it spoke against it."""
    reason: str
    """What it said where it was highest."""
    id: str
    """That message."""


class Client(msgspec.Struct, frozen=True):
    """An address, or a network, that mail came from."""

    name: str
    messages: int
    addresses: int
    """1, or how many of the network's."""
    first: float
    last: float


class Domain(msgspec.Struct, frozen=True):
    """A domain that was written to."""

    name: str
    recipients: int
    """Different ones."""
    messages: int


class Failure(msgspec.Struct, frozen=True):
    """A class of final answers that refused a recipient."""

    class_: str = msgspec.field(name="class")
    recipients: int
    example: str
    """One of the answers."""


class Hour(msgspec.Struct, frozen=True):
    """An hour of the account's traffic beside what is usual for it."""

    start: float
    """Unix seconds."""
    messages: dict[str, int]
    """By action."""
    usual: float | None
    """Messages at this time of the day in the days before, on average; None: not known yet."""


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """The newest messages of an account or sender, as sums. Times are unix seconds."""

    messages: int
    """That were looked at."""
    most: int
    """That would have been looked at: if `messages` is as many, there may be more."""
    since: float
    """The oldest of them; 0: there is none."""
    points: tuple[Point, ...]
    events: tuple[Event, ...]
    contributions: tuple[Contribution, ...]
    recipients: int
    """Different recipients."""
    once: int
    """Of these, those that were written to only once."""
    domains: tuple[Domain, ...]
    domain_count: int
    failures: tuple[Failure, ...]
    delivered: int
    """Recipients for whom the final answer was positive."""
    clients: tuple[Client, ...]
    client_count: int
    networks: tuple[Client, ...]
    network_count: int
    hours: tuple[Hour, ...] = ()
    """Of accounts only: the last week by hour."""


async def account_recent(ledger: Ledger, clock: Clock, scope: str, subject: str, most: int = LOOKED_AT) -> Recent:
    """What an account or sender (`scope`) did of late, from its newest `most` messages. Raises LedgerError."""
    return await asyncio.to_thread(_recent, ledger, clock.now(), scope, subject, most)


def _recent(ledger: Ledger, now: float, scope: str, subject: str, most: int) -> Recent:
    rows = one.recent(ledger, scope, subject, most)
    since = rows[-1]["received"] if rows else 0.0
    addresses: Counter[str] = Counter()
    domains: Counter[str] = Counter()
    for row in rows:
        to = {address.lower() for address in _strings.decode(row["recipients"])}
        addresses.update(to)
        domains.update({domain_of(address) for address in to})
    different = Counter(domain_of(address) for address in addresses)
    answers = one.answers(ledger, [row["id"] for row in rows])
    clients = _clients(rows, lambda address: address)
    networks = _clients(rows, network)
    return Recent(
        messages=len(rows),
        most=most,
        since=since,
        points=tuple(_points(rows)),
        events=tuple(_events(ledger, scope, subject, since)),
        contributions=tuple(_contributions(rows)),
        recipients=len(addresses),
        once=sum(number == 1 for number in addresses.values()),
        domains=tuple(Domain(name, different[name], number) for name, number in domains.most_common(SHOWN)),
        domain_count=len(domains),
        failures=tuple(_failures(answers)),
        delivered=sum(200 <= row["code"] < 300 for row in answers) + _at_once(rows, answers),
        clients=tuple(clients[:SHOWN]),
        client_count=len(clients),
        networks=tuple(networks[:SHOWN]),
        network_count=len(networks),
        hours=tuple(_hours(ledger, now, subject)) if scope == "account" else (),
    )


def _points(rows: Sequence[Row]) -> Iterable[Point]:
    """In the order of time, thinned out: of each piece of time the message with the highest score."""
    if not rows:
        return []
    first, last = rows[-1]["received"], rows[0]["received"]
    width = (last - first) / _POINTS or 1.0
    highest: dict[int, Row] = {}
    for row in rows:
        place = int((row["received"] - first) / width)
        if place not in highest or row["score"] > highest[place]["score"]:
            highest[place] = row
    found = sorted(highest.values(), key=lambda row: float(row["received"]))
    return [Point(row["received"], row["score"], row["action"], row["id"], row["sender"]) for row in found]


def _events(ledger: Ledger, scope: str, subject: str, since: float) -> list[Event]:
    found = [
        Event(s.time, s.change, s.subject, s.by, s.reason)
        for s in directory_queries.history(ledger, subject, _EVENTS)
        if scope == "account" or s.subject == subject
    ]
    found += [
        Event(row["changed"], row["state"], row["id"], row["changed_by"], row["reason"])
        for row in one.held_decided(ledger, scope, subject, since, _EVENTS)
    ]
    return sorted(found, key=lambda event: -event.time)[:_EVENTS]


def _contributions(rows: Sequence[Row]) -> list[Contribution]:
    found: dict[str, Contribution] = {}
    for row in rows:
        for signal in _signals.decode(row["signals"]):
            if signal.shadow or signal.weight <= 0:
                continue
            known = found.get(signal.name)
            number = known.messages + 1 if known else 1
            if known and known.highest >= signal.weight:
                found[signal.name] = msgspec.structs.replace(known, messages=number)
            else:
                found[signal.name] = Contribution(signal.name, signal.weight, number, signal.reason, row["id"])
    return sorted(found.values(), key=lambda one: -one.highest)[:SHOWN]


def _clients(rows: Sequence[Row], name_of: Any) -> list[Client]:
    found: dict[str, tuple[int, set[str], float, float]] = {}
    for row in rows:
        address, time = row["client_ip"], row["received"]
        if not address:
            continue
        number, addresses, first, last = found.get(name := name_of(address), (0, set(), time, time))
        found[name] = number + 1, addresses | {address}, min(first, time), max(last, time)
    clients = [Client(name, number, len(of), first, last) for name, (number, of, first, last) in found.items()]
    return sorted(clients, key=lambda client: (-client.messages, client.name))


def _at_once(rows: Sequence[Row], answers: Iterable[Row]) -> int:
    """Recipients of messages that the next hop took while the client waited: `answered` says that, and no other row."""
    later = {row["id"] for row in answers}
    return sum(
        len(_strings.decode(row["recipients"]))
        for row in rows
        # What is in our own spool is answered with our own id at the end (reply.py).
        if row["answered"].startswith("2")
        and row["id"] not in later
        and not row["answered"].endswith(f" as {row['id']}")
    )


def _failures(answers: Iterable[Row]) -> list[Failure]:
    numbers: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for row in answers:
        if row["code"] >= 400:
            name = meaning_of(Reply(row["code"], row["enhanced"], row["text"])).class_
            numbers[name] += 1
            examples.setdefault(name, f"{row['code']} {row['enhanced']} {row['text']}"[:200])
    return [Failure(name, number, examples[name]) for name, number in numbers.most_common(SHOWN)]


def _hours(ledger: Ledger, now: float, account: str) -> list[Hour]:
    """The last week by hour, each beside the same hour of the days before it, as far as the roll-up goes back."""
    last = int(now // 3600)
    start = last - _WEEK_HOURS + 1
    by_hour: dict[int, dict[str, int]] = {}
    for row in traffic_queries.by_hour(ledger, (start - 2 * _WEEK_HOURS) * 3600.0, account=account):
        by_hour.setdefault(row.hour, {})[row.action] = row.messages
    began = min(by_hour, default=last)
    found = []
    for hour in range(start, last + 1):
        before = [h for h in range(hour - 14 * _DAY_HOURS, hour, _DAY_HOURS) if h >= began]
        usual = sum(sum(by_hour.get(h, {}).values()) for h in before) / len(before) if len(before) >= 2 else None
        found.append(Hour(hour * 3600.0, by_hour.get(hour, {}), usual))
    return found
