"""The product beside the demo: a process of its own, as `outbound-guard serve` runs it, and its command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from outbound_guard.demo.house import House
from outbound_guard.desk.errors import DeskError
from outbound_guard.state import tether

_STARTS, _ENDS = 60.0, 25.0
"""Seconds the product has to start and to end."""
_LOOK = 0.1


@contextlib.asynccontextmanager
async def served(house: House, data_dir: Path) -> AsyncIterator[dict[str, Any]]:
    """The product itself, as `outbound-guard serve` runs it; its addresses. It ends with us, however we end."""
    folder, ready = house.config.parent, data_dir / "run" / "addresses.json"
    words = ["-m", "outbound_guard", "serve", "--config", str(house.config)]
    tied = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), sys.executable, *words]
    with (folder / "mail.log").open("wb") as log, (folder / "program.log").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *tied, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=errors
        )
    try:
        end = time.monotonic() + _STARTS
        while not ready.exists():
            if process.returncode is not None or time.monotonic() > end:
                said = (folder / "program.log").read_text(errors="replace").strip().splitlines()
                raise DeskError(f"the product does not start: {said[-1] if said else 'it says nothing'}")
            await asyncio.sleep(_LOOK)
        yield json.loads(ready.read_text())
    finally:
        await asyncio.shield(_ended(process))


async def resume(config: Path, senders: Sequence[str]) -> None:
    """Resume senders as the abuse desk does when a password was changed, by the command line."""
    words = ["account", "resume", *senders, "--sender", "--no-probation", "--by", "demo:desk"]
    words += ["--reason", "has another password now", "--config", str(config)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "outbound_guard", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End it, and wait until it has."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_ENDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
