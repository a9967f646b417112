"""The processes of all roles: how many there are, who takes whose place, and the order in which they go."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator

from outbound_guard.supervisor.child import Child, Setting

_log = logging.getLogger(__name__)

STOPPED_AFTER = {"relay": 12.0, "delivery": 15.0, "console": 17.0}
"""Seconds after SIGTERM at which a role's processes are killed; the rest of 20 s is the state server's."""
_ROLL_READY = 30.0
"""Seconds a new process may take to become ready before a rolling restart is given up."""


class Crew:
    """The children of one supervisor."""

    def __init__(self, setting: Setting, roles: tuple[str, ...], relays: int) -> None:
        """`roles` in the order of their start; `relays`: processes of that role, 0: one per core."""
        self._setting, self._roles, self._relays = setting, roles, relays or cores()
        self._children: list[Child] = []

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._children))

    def start(self) -> None:
        """Start all."""
        for role in self._roles:
            for _ in range(self._relays if role == "relay" else 1):
                self._add(role)

    def of(self, role: str) -> list[Child]:
        """The children of a role."""
        return [child for child in self._children if child.role == role]

    def waiting(self) -> list[str]:
        """The slots of those that are not ready."""
        return [child.slot for child in list(self._children) if not child.ready.is_set()]

    async def roll(self) -> bool:
        """Put a new process in the place of each, one by one; False if that was given up, and the old ones stay.

        The console process goes first: it brings the ledger's schema to its version, and what the others write into the
        journal from then on must be known to it. A new relay serves before the old one goes: both listen on the same
        sockets. Of the delivery and the console process there is only one at a time (spool and ledger have one
        writer); mail and visitors wait a few seconds.
        """
        if not await self._exchange("console"):
            return False
        for old in self.of("relay"):
            new = self._add("relay")
            if not await _ready(new):
                await self._remove(new)
                return False
            await self._remove(old)
        return await self._exchange("delivery")

    async def _exchange(self, role: str) -> bool:
        """Stop the processes of a role and start new ones; False if one is not ready in time."""
        for old in self.of(role):
            await self._remove(old)
            if not await _ready(self._add(role)):
                return False  # It is started again and again, as after a crash.
        return True

    async def stop(self, role: str, seconds: float) -> None:
        """Stop the children of a role side by side; those that have not ended within so many seconds are killed."""
        going = self.of(role)
        await asyncio.gather(*(child.stop(seconds) for child in going))
        self._children = [child for child in self._children if child not in going]

    async def stop_all(self) -> None:
        """Stop all, role by role, so that mail stops coming in before those go that would carry it on."""
        clock = asyncio.get_running_loop().time
        began = clock()
        for role, latest in STOPPED_AFTER.items():
            await self.stop(role, began + latest - clock())

    def _add(self, role: str) -> Child:
        """Start one more process of a role, in the lowest slot that is free."""
        taken = {child.number for child in self.of(role)}
        number = next(number for number in range(len(taken) + 1) if number not in taken)
        child = Child(self._setting, role, number)
        self._children.append(child)
        return child

    async def _remove(self, child: Child) -> None:
        await child.stop(STOPPED_AFTER[child.role])
        self._children.remove(child)
        self._setting.changed()


async def _ready(child: Child) -> bool:
    try:
        await asyncio.wait_for(child.ready.wait(), _ROLL_READY)
    except TimeoutError:
        _log.error("rolling restart given up: %s is not ready after %.0f s", child.slot, _ROLL_READY)
        return False
    return True


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
