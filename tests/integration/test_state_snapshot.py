"""What the embedded server knows, taken while it serves and given to a new one; with every kind of server there is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.state import State, StateError
from outbound_guard.state.embedded import EmbeddedServer, find_server
from outbound_guard.state.snapshot import LOG, snapshot

CARRIED = [Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]


def carried() -> Path:
    """The one that is found when none is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        return find_server()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="og") as name:
        yield Path(name)


@pytest.mark.parametrize("program", [*CARRIED, carried()], ids=lambda path: path.name)
async def test_a_snapshot_is_what_another_server_begins_with(folder: Path, program: Path) -> None:
    old = EmbeddedServer(folder / "old", program=program)
    await old.start()
    state = await State.connect(old.url, timeout=30, count=lambda *_, **__: None)
    for number in range(100):
        await state.command("SET", f"key-{number}", number)
    file = await snapshot(state, folder / "old", seconds=60)
    await state.command("SET", "later", 1)
    await state.close()
    await old.stop()

    (folder / "new" / "state").mkdir(parents=True)
    shutil.copy(file, folder / "new" / "state" / LOG)
    # Twice: what it is told goes into a log of its own, which it begins with the next time.
    for starts in (1, 2):
        new = EmbeddedServer(folder / "new", program=program)
        assert await new.start()
        state = await State.connect(new.url, timeout=30, count=lambda *_, **__: None)
        assert await state.command("DBSIZE") == 99 + starts
        assert await state.command("GET", "key-42") == b"42"
        await state.command("SET", "more", 1)
        await state.close()
        await new.stop()


async def test_a_server_that_is_away_gives_none(folder: Path) -> None:
    state = await State.connect(f"unix://{folder}/nobody", timeout=1, count=lambda *_, **__: None)
    with pytest.raises(StateError):
        await snapshot(state, folder, seconds=1)
    await state.close()
