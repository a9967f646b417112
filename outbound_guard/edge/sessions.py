"""The open sessions of a process: how many there may be, which have waited too long, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
from typing import Protocol

from outbound_guard.config import Limits
from outbound_guard.edge import answers
from outbound_guard.edge.room import Room

_TO_VANISH = 1.5
"""Seconds that sessions cut off at the end of `drain` get to send their last words."""


class Open(Protocol):
    """An open session, as this module sees it."""

    client_ip: str

    def check_time(self, now: float) -> None:
        """End the session if it has waited too long; `now` is the loop's time in seconds."""

    def stop(self) -> None:
        """Answer 421 and close as soon as no message is under way."""

    def cut_off(self) -> None:
        """Answer 421 and close now, whatever the client has still to say."""

    def abort(self) -> None:
        """Close at once."""


class Sessions:
    """Shared by all listeners of a process. The limits hold for each process."""

    def __init__(self, limits: Limits, room: Room | None = None) -> None:
        """`room`: for messages; without it they have what the limits say, and none goes to disk."""
        self._limits = limits
        self.room = room or Room(limits.memory)
        # Each with the address that it counts for; "": none, since a load balancer has not said yet for whom it is.
        self._open: dict[Open, str] = {}
        self._by_address: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None
        # One timer looks at every session; a timer of its own would cost each command more than the command does.
        self._interval = max(0.05, min(5.0, limits.idle_seconds / 10, limits.data_seconds / 10))
        self.stopping = False

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, session: Open, *, counted: bool = True) -> tuple[bytes, str] | None:
        """Take a new session in, or say why not: the answer for the client, and a word for the metric.

        `counted` is False while it is not known for whom the connection is; `count` makes up for it.
        """
        if self.stopping:
            return answers.STOPPING, "stopping"
        if len(self._open) >= self._limits.connections:
            return answers.TOO_MANY_SESSIONS, "connections"
        if counted:
            address = whose(session.client_ip)
            count = self._by_address.get(address, 0)
            if count >= self._limits.connections_per_address:
                return answers.TOO_MANY_FROM_ADDRESS, "connections_per_address"
            self._by_address[address] = count + 1
            self._open[session] = address
        else:
            self._open[session] = ""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._sweep)
        return None

    def count(self, session: Open) -> tuple[bytes, str] | None:
        """Count a session that entered uncounted for its address, or say why it cannot stay."""
        self.leave(session)
        return self.enter(session)

    def leave(self, session: Open) -> None:
        """Forget a session whose connection is gone; one that never entered is ignored."""
        address = self._open.pop(session, None)
        if address is None:
            return
        if address:
            count = self._by_address[address] - 1
            if count:
                self._by_address[address] = count
            else:
                del self._by_address[address]
        if not self._open and self._empty is not None:
            self._empty.set()

    async def drain(self, seconds: float) -> None:
        """Let every session end: 421 4.3.2 at its next command boundary, once the message under way is answered.

        New sessions are refused from now on. What still stands after `seconds` is cut off, with 421 if it is the client
        that is waited for; returns when all are gone.
        """
        self.stopping = True
        self._empty = asyncio.Event()
        for session in list(self._open):
            session.stop()
        await self._gone(seconds)
        for session in list(self._open):
            session.cut_off()
        await self._gone(_TO_VANISH)
        for session in list(self._open):
            session.abort()
            self.leave(session)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _gone(self, seconds: float) -> None:
        """Wait until no session is open, so long at most."""
        if self._open and self._empty is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for session in list(self._open):
            session.check_time(now)
        self._timer = loop.call_later(self._interval, self._sweep) if self._open else None


@functools.lru_cache(maxsize=4096)
def whose(address: str) -> str:
    """What stands for a client in counters: its address, of IPv6 the /64 that one host has for itself."""
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
