"""From deliveries to hours of a sender's past, and into the memory.

An hour is taken in as a whole when the log has passed it. One in which much was refused may be a break-in of then, or a
bought list, and is left out: what is learned is what is usual.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec

from outbound_guard.delivery.classes import outcome_of
from outbound_guard.history import Delivery
from outbound_guard.mail import Sender
from outbound_guard.reputation.past import Hour, Past
from outbound_guard.signals.traits import network

_HOUR = 3600.0
_RECIPIENTS = 5000
"""Recipients of a sender and an hour that are remembered; the rest is only counted."""
_BAD, _BAD_SHARE = 2, 0.15
"""So many refusals in an hour are nothing; above that, so large a share of its recipients makes it unusual."""
_BATCH = 500


class Known(msgspec.Struct):
    """What was learned of one sender, for the summary."""

    account: str
    messages: int = 0
    recipients: int = 0
    highest_hour: int = 0
    """Recipients."""
    hours: int = 0
    left_out: int = 0
    """Hours that were unusual."""
    outcomes: dict[str, int] = msgspec.field(default_factory=dict)


class _Open(msgspec.Struct):
    """The hour that is being read."""

    sender: Sender
    messages: int = 0
    recipients: int = 0
    placed: int = 0
    networks: set[str] = msgspec.field(default_factory=set)
    took: set[str] = msgspec.field(default_factory=set)
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)


class Learning:
    """Learns from the deliveries of one source, in their order."""

    def __init__(self, find: Callable[[Delivery], Sender | None], past: Past | None, source: str) -> None:
        """Without `past` nothing is written: it only says what would be learned."""
        self.senders: dict[str, Known] = {}
        self.known_already = 0
        """Hours that were taken in before."""
        self.begin = self.end = 0.0
        """Unix seconds of the first and the last delivery."""
        self._find, self._past, self._source = find, past, source
        self._hour = 0
        self._open: dict[str, _Open] = {}
        self._from = 0.0
        self._sent: list[Awaitable[int]] = []
        self._accounts: list[Awaitable[int]] = []

    def next_file(self) -> None:
        """Another file begins: what it says of the time before the last delivery was in a file before."""
        self._from = self.end

    async def hear(self, delivery: Delivery) -> None:
        """Take in one delivery. Raises StateDown."""
        sender = self._find(delivery) if delivery.time >= self._from else None
        if sender is None:
            return
        hour = int(delivery.time // _HOUR)
        if hour > self._hour:
            await self.finish()
            self._hour = hour
        self.begin, self.end = self.begin or delivery.time, max(self.end, delivery.time)
        open_ = self._open.get(sender.name)
        if open_ is None:
            open_ = self._open[sender.name] = _Open(sender)
        if delivery.new_message:
            open_.messages += 1
            if delivery.origin.client_ip:
                open_.placed += 1
                open_.networks.add(network(delivery.origin.client_ip))
        if delivery.new_recipient:
            open_.recipients += 1
        if delivery.reply.accepted and len(open_.took) < _RECIPIENTS:
            open_.took.add(delivery.recipient)
        open_.outcomes[outcome_of(delivery.reply)] += 1

    async def finish(self) -> None:
        """The hour is over. Raises StateDown."""
        accounts: dict[str, tuple[Sender, int]] = {}
        for open_ in self._open.values():
            calm = self._is_calm(open_)
            known = self.senders.setdefault(open_.sender.name, Known(open_.sender.account))
            if not calm:
                known.left_out += 1
                continue
            known.hours += 1
            known.messages += open_.messages
            known.recipients += open_.recipients
            known.highest_hour = max(known.highest_hour, open_.recipients)
            for name, number in open_.outcomes.items():
                known.outcomes[name] = known.outcomes.get(name, 0) + number
            await self._write(open_)
            sender = open_.sender
            before = accounts[sender.account][1] if sender.account in accounts else 0
            accounts[sender.account] = (sender, before + open_.recipients)
        if self._past:
            for sender, recipients in accounts.values():
                self._accounts.append(self._past.account(sender, self._hour * _HOUR, recipients, self._source))
        await self._settle()
        self._open.clear()

    def _is_calm(self, open_: _Open) -> bool:
        bad = open_.outcomes["unknown_user"] + open_.outcomes["refused"]
        return bad <= max(_BAD, _BAD_SHARE * open_.recipients)

    async def _write(self, open_: _Open) -> None:
        if self._past is None:
            return
        hour = Hour(
            begin=self._hour * _HOUR,
            messages=open_.messages,
            recipients=open_.recipients,
            failed=open_.outcomes["unknown_user"],
            placed=open_.placed,
            networks=tuple(sorted(open_.networks)),
            took=sorted(open_.took),
            outcomes=open_.outcomes,
        )
        self._sent.append(self._past.sender(open_.sender, hour, self._source))
        if len(self._sent) >= _BATCH:
            await self._settle()

    async def _settle(self) -> None:
        for taken in await asyncio.gather(*self._sent):
            self.known_already += taken == 0
        await asyncio.gather(*self._accounts)
        self._sent.clear()
        self._accounts.clear()
