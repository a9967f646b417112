"""What the supervisor looks at again and again: the store of counters, the disk, and whether all is well enough."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from outbound_guard.metrics import Metrics
from outbound_guard.state import State, StateError
from outbound_guard.supervisor.systemd import Systemd

LOOK = 1.0
"""Seconds between two looks."""
_LOOK_AT_DISK = 5.0


async def look_at_state(metrics: Metrics, state: State) -> None:
    """Say in the metrics whether the store of counters answers."""
    while True:
        with contextlib.suppress(StateError):
            await state.everywhere("PING")
        metrics.gauge("state_up", state.up)
        await asyncio.sleep(LOOK)


async def look_at_disk(metrics: Metrics, data_dir: Path) -> None:
    """Say in the metrics how much room the disk of `data_dir` has left for the service's user."""
    while True:
        with contextlib.suppress(OSError):
            # In a thread: a disk behind a network may hang.
            disk = await asyncio.to_thread(os.statvfs, data_dir)
            metrics.gauge("data_dir_free_bytes", disk.f_bavail * disk.f_frsize)
        await asyncio.sleep(_LOOK_AT_DISK)


async def give_signs_of_life(systemd: Systemd, ailing: Callable[[], str]) -> None:
    """Tell systemd that this loop turns, as long as `ailing` finds nothing that only a new start may mend."""
    while systemd.pause:
        if why := ailing():
            systemd.ails(why)
        else:
            systemd.well()
        await asyncio.sleep(systemd.pause)
