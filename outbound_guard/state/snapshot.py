"""What the embedded server knows, as one file, while it serves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from outbound_guard.state.client import State
from outbound_guard.state.script import StateError

FILE = "dump.rdb"
LOG = "appendonly.aof"
"""Under this name in data_dir/state the embedded server begins with a snapshot: a log that begins with one is what
servers wrote up to version 6, and what later ones take over."""
_POLL = 0.1


async def snapshot(state: State, data_dir: Path, *, seconds: float) -> Path:
    """Have the embedded server write a snapshot; its file, which the caller removes.

    The server forks: what changes meanwhile is for that time in memory twice. Raises StateError if it refuses, is down,
    or is not done within `seconds`.
    """
    # If its log is just being rewritten, the snapshot follows by itself.
    await state.command("BGSAVE", "SCHEDULE")
    for _ in range(int(seconds / _POLL)):
        told = _fields(await state.command("INFO", "persistence"))
        waits = told.get("rdb_bgsave_in_progress") == "1" or told.get("aof_rewrite_in_progress") == "1"
        if not waits:
            if told.get("rdb_last_bgsave_status") != "ok":
                raise StateError("the server could not write its snapshot; its log says why")
            return data_dir / "state" / FILE
        await asyncio.sleep(_POLL)
    raise StateError(f"the snapshot was not done within {seconds:.0f} s")


def _fields(answer: bytes) -> dict[str, str]:
    lines = answer.decode("utf-8", "replace").split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)
