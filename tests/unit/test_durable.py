"""The one safe writer."""

import errno
import fcntl
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from outbound_guard import durable


def test_pieces_stand_one_behind_the_other_however_many(tmp_path: Path) -> None:
    pieces = [b"", *(str(i).encode() for i in range(3000)), b"", b"x" * 3_000_000]
    durable.write(tmp_path / "a", pieces)
    assert (tmp_path / "a").read_bytes() == b"".join(pieces)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a"]


def test_a_write_that_ends_anywhere_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.writev
    # Five octets at a time, across the borders of the pieces.
    monkeypatch.setattr(os, "writev", lambda file, pieces: os.write(file, b"".join(pieces)[:5]))
    durable.write(tmp_path / "a", [b"one", b"two", b"three-and-more", b"4"])
    monkeypatch.setattr(os, "writev", real)
    assert (tmp_path / "a").read_bytes() == b"onetwothree-and-more4"


def test_an_existing_file_is_replaced_whole(tmp_path: Path) -> None:
    durable.write(tmp_path / "a", [b"a long first version"])
    durable.write(tmp_path / "a", [b"short"], sync=False)
    assert (tmp_path / "a").read_bytes() == b"short"


@pytest.mark.parametrize("call", ["open", "writev", "rename"])
def test_after_an_error_the_old_version_stays_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    durable.write(tmp_path / "a", [b"old"])

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space"):
        durable.write(tmp_path / "a", [b"new"])
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_file_is_synced_before_the_rename_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    writev, fsync, rename = os.writev, os.fsync, os.rename

    def note_writev(file: int, pieces: Sequence[bytes]) -> int:
        synced = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_SYNC == os.O_SYNC
        steps.append("file" if synced else "not safe")
        return writev(file, pieces)

    def note_fsync(file: int) -> None:
        steps.append("directory" if os.path.isdir(f"/proc/self/fd/{file}") else "file")
        fsync(file)

    def note_rename(old: Path, new: Path) -> None:
        steps.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "writev", note_writev)
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    for pieces in ([b"x"], []):
        durable.write(tmp_path / "a", pieces)
        assert steps == ["file", "rename", "directory"]
        steps.clear()
    durable.write(tmp_path / "a", [b"x"], sync=False)
    assert steps == ["not safe", "rename"]
    steps.clear()
    (tmp_path / "b").mkdir()
    durable.move(tmp_path / "a", tmp_path / "b" / "a")
    assert steps == ["rename", "directory", "directory"]
    steps.clear()
    durable.remove(tmp_path / "b" / "a")
    assert steps == ["directory"]
    assert not (tmp_path / "b" / "a").exists()


def test_threads_share_directory_fsyncs_but_each_gets_one_that_began_after_its_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0
    fsync = os.fsync

    def count(file: int) -> None:
        nonlocal begun
        begun += 1
        fsync(file)

    monkeypatch.setattr(os, "fsync", count)
    wrong: list[tuple[int, int]] = []

    def ask() -> None:
        for _ in range(200):
            before = begun
            durable.sync_directory(tmp_path)
            # `begun` cannot be smaller afterwards unless an fsync of before the call was taken for ours.
            if begun <= before:
                wrong.append((before, begun))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert begun <= 1600


def test_a_failed_directory_fsync_is_reported_to_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            durable.sync_directory(tmp_path)
    monkeypatch.undo()
    durable.sync_directory(tmp_path)


def test_directories_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    durable.make_directories(tmp_path / "a" / "b", tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
