"""Waiting until the ledger has what this process has written to the journal."""

from __future__ import annotations

import asyncio

from outbound_guard.app.parts import Parts
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.ledger.segments import sealed, slot_of

_LOOK = 0.02


async def settled(parts: Parts, scribe: Scribe, seconds: float) -> bool:
    """Have the journal taken in now instead of within a second; False if it was not within `seconds`."""
    parts.journal.seal()
    scribe.hurry()
    folder, loop = parts.config.data_dir / "journal", asyncio.get_running_loop()
    end = loop.time() + seconds
    while any(slot_of(path.name) == parts.child.slot for path in await asyncio.to_thread(sealed, folder)):
        if loop.time() > end:
            return False
        await asyncio.sleep(_LOOK)
    return True
