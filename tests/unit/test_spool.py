"""Messages at rest."""

import asyncio
import errno
import fcntl
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outbound_guard.clock import VirtualClock
from outbound_guard.mail import Envelope, new_id
from outbound_guard.reply import Reply
from outbound_guard.spool import (
    Busy,
    Entry,
    Failure,
    NotInSpool,
    Progress,
    Spool,
    SpoolFull,
    SpoolInUse,
    State,
    due_of,
)

NOW = 1_800_000_000.0


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def spool(tmp_path: Path, clock: VirtualClock) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", clock, 0)
    yield spool
    spool.close()


def entry(id_: str = "", **fields: object) -> Entry:
    base = Entry(id_ or new_id(NOW), NOW, Envelope("a@example.com", ("b@example.net", "c@example.org")))
    return msgspec.structs.replace(base, **fields)


def leftovers(spool: Spool) -> list[str]:
    return [
        str(path.relative_to(spool.files.directory))
        for path in spool.files.directory.rglob("*")
        if path.is_file() and path.name != "delivery.lock"
    ]


texts = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.lists(st.binary(max_size=200), max_size=5),
    mail_from=texts,
    recipients=st.lists(texts, min_size=1, max_size=4),
    subject=texts,
    meta=st.dictionaries(texts, texts, max_size=3),
)
def test_what_goes_in_comes_out(
    spool: Spool, content: list[bytes], mail_from: str, recipients: list[str], subject: str, meta: dict[str, str]
) -> None:
    message = entry(
        envelope=Envelope(mail_from, tuple(recipients), True, True), subject=subject, meta=meta, reasons=(subject,)
    )

    async def there_and_back() -> None:
        await spool.put(message, content, "held")
        with await spool.lease(message.id, "held") as lease:
            assert lease.content == b"".join(content)
            assert lease.entry == msgspec.structs.replace(message, size=len(b"".join(content)))
        assert [e.id for e in spool.entries("held")] == [message.id]
        assert await spool.content(message.id) == b"".join(content)
        await spool.remove(message.id)

    asyncio.run(there_and_back())
    assert leftovers(spool) == []


async def test_text_that_is_no_unicode_keeps_no_message_out(spool: Spool) -> None:
    message = entry(subject="half a pair \ud800", replies={"b@example.net": Reply(451, "4.7.1", "no UTF-8 \udcff")})
    await spool.put(message, [b"x"], "queue")
    with await spool.lease(message.id, "queue") as lease:
        assert lease.entry.subject == "half a pair ?"
        await lease.save(Progress(attempts=1, replies={"b@example.net": Reply(451, "4.7.1", "no UTF-8 \udcff")}))
    _, progress, _ = await spool.find(message.id)
    assert progress.replies == {"b@example.net": Reply(451, "4.7.1", "no UTF-8 ?")}


async def test_entries_come_oldest_first_and_are_counted(spool: Spool) -> None:
    ids = [new_id(NOW + i) for i in range(5)]
    for id_ in reversed(ids):
        await spool.put(entry(id_), [b"x"], "quarantine")
    assert [e.id for e in spool.entries("quarantine")] == ids
    assert await spool.counts() == {"incoming": 0, "queue": 0, "held": 0, "quarantine": 5}


async def test_a_move_is_there_and_nowhere_else(spool: Spool) -> None:
    message = entry()
    await spool.put(message, [b"x"], "held")
    await spool.move(message.id, "quarantine", frm="held")
    assert leftovers(spool) == [f"quarantine/{message.id}"]
    with pytest.raises(NotInSpool):
        await spool.move(message.id, "incoming", frm="held")
    assert (await spool.find(message.id))[2] == "quarantine"


async def test_released_mail_is_due_now_and_its_time_in_the_queue_starts_anew(
    spool: Spool, clock: VirtualClock
) -> None:
    message = entry(due=NOW + 900)
    await spool.put(message, [b"x"], "held")
    clock.advance(500_000)
    await spool.move(message.id, "incoming", frm="held")
    assert [due_of(one.entry, one.progress) for one in await spool.claim()] == [NOW + 500_000]
    _, progress, state = await spool.find(message.id)
    assert (state, progress.since, progress.due) == ("queue", NOW + 500_000, NOW + 500_000)


async def test_of_many_that_move_a_message_one_wins(spool: Spool, tmp_path: Path, clock: VirtualClock) -> None:
    other = Spool(tmp_path / "spool", clock, 0)
    for _ in range(20):
        message = entry()
        await spool.put(message, [b"x"], "held")
        targets: list[tuple[Spool, State]] = [(spool, "incoming"), (other, "quarantine"), (other, "incoming")]
        moves = [who.move(message.id, to, frm="held") for who, to in targets]
        results = await asyncio.gather(*moves, return_exceptions=True)
        assert [type(r) for r in results if not isinstance(r, NotInSpool | Busy)] == [Entry]
    other.close()


async def test_a_leased_message_belongs_to_one(spool: Spool, tmp_path: Path, clock: VirtualClock) -> None:
    other = Spool(tmp_path / "spool", clock, 0)
    message = entry()
    await spool.put(message, [b"x"], "queue")
    with await spool.lease(message.id, "queue"):
        with pytest.raises(Busy):
            await other.lease(message.id, "queue")
        with pytest.raises(Busy):
            await other.remove(message.id)
        with pytest.raises(Busy):
            await other.move(message.id, "held")
    await other.remove(message.id)
    with pytest.raises(NotInSpool):
        await spool.lease(message.id, "queue")
    other.close()


@pytest.mark.parametrize("id_", ["../queue/x", "", ".", "..", "a/b", "a\n", "x" * 65, "ä"])
async def test_what_is_no_id_is_not_in_the_spool(spool: Spool, id_: str) -> None:
    for call in (spool.find(id_), spool.remove(id_), spool.move(id_, "held"), spool.content(id_)):
        with pytest.raises(NotInSpool):
            await call
    with pytest.raises(NotInSpool):
        await spool.put(entry(id_ or "."), [b"x"], "held")


async def test_a_message_moved_between_opening_and_locking_is_not_taken(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = entry()
    await spool.put(message, [b"x"], "held")
    flock = fcntl.flock

    def somebody_is_faster(file: int, how: int) -> None:
        os.rename(spool.files.path(message.id, "held"), spool.files.path(message.id, "incoming"))
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", somebody_is_faster)
    with pytest.raises(NotInSpool):
        await spool.lease(message.id, "held")
    monkeypatch.undo()
    # The lock was given back.
    await spool.remove(message.id, frm="incoming")


async def test_progress_is_kept_and_goes_with_the_message(spool: Spool) -> None:
    message = entry()
    await spool.put(message, [b"x"], "queue")
    refused = Reply(450, "4.2.0", "later\nplease")
    left = ("c@example.org",)
    progress = Progress(
        3, NOW + 5, NOW, remaining=left, replies=dict.fromkeys(left, refused), failed=(Failure("b", refused),)
    )
    with await spool.lease(message.id, "queue") as lease:
        assert lease.progress == Progress()
        await lease.save(progress)
        await lease.move("held")
    assert await spool.find(message.id) == (msgspec.structs.replace(message, size=1), progress, "held")
    [seen] = await spool.seen([message.id], "held")
    assert (seen.id, seen.entry, seen.progress.due) == (message.id, (await spool.find(message.id))[0], NOW + 5)
    await spool.remove(message.id)
    assert leftovers(spool) == []


@pytest.mark.parametrize(
    ("progress", "safe"),
    [
        (Progress(1, NOW + 5), False),
        (Progress(1, NOW + 5, NOW), True),
        (Progress(1, NOW + 5, remaining=("c@example.org",)), True),
    ],
)
async def test_what_a_power_cut_must_not_undo_is_on_the_disk(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, progress: Progress, safe: bool
) -> None:
    message = entry()
    await spool.put(message, [b"x"], "queue")
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), real(file)))
    with await spool.lease(message.id, "queue") as lease:
        await lease.save(progress)
    assert bool(synced) is safe


async def test_a_broken_progress_means_from_the_beginning(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    message = entry(due=NOW)
    await spool.put(message, [b"x"], "incoming")
    (spool.files.directory / "progress" / message.id).write_bytes(b'{"attempts": ')
    assert [(one.id, one.progress) for one in await spool.claim()] == [(message.id, Progress())]
    assert "progress cannot be read" in caplog.text


@pytest.mark.parametrize("state", ["incoming", "queue", "held"])
@pytest.mark.parametrize(
    "damage", [lambda d: b"", lambda d: d[:40], lambda d: d[:-1], lambda d: d + b"x", lambda d: b"\0" * len(d)]
)
async def test_a_broken_file_is_set_aside_and_the_others_stay(
    spool: Spool, state: State, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = entry(), entry()
    await spool.put(good, [b"content\r\n"], state)
    await spool.put(bad, [b"content\r\n"], state)
    path = spool.files.path(bad.id, state)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    if state == "incoming":
        assert [one.id for one in await spool.claim()] == [good.id]
    elif state == "queue":
        with pytest.raises(NotInSpool):
            await spool.lease(bad.id, "queue")
    else:
        assert [e.id for e in spool.entries(state)] == [good.id]
    assert (spool.files.directory / "corrupt" / bad.id).exists()
    assert bad.id in caplog.text
    assert (await spool.find(good.id))[0].id == good.id


async def test_a_file_under_a_wrong_name_is_not_believed(spool: Spool) -> None:
    message = entry()
    await spool.put(message, [b"x"], "held")
    os.rename(spool.files.path(message.id, "held"), spool.files.path("anothername", "held"))
    assert list(spool.entries("held")) == []


async def test_files_may_vanish_while_they_are_listed(spool: Spool) -> None:
    messages = [entry(new_id(NOW + i)) for i in range(3)]
    for message in messages:
        await spool.put(message, [b"x"], "held")
    listed = spool.entries("held")
    assert next(listed).id == messages[0].id
    await spool.remove(messages[1].id)
    assert [e.id for e in listed] == [messages[2].id]


async def test_below_the_free_bytes_new_mail_is_refused_but_a_bounce_is_not(
    tmp_path: Path, clock: VirtualClock
) -> None:
    spool = Spool(tmp_path / "spool", clock, 1 << 60)
    with pytest.raises(SpoolFull):
        await spool.put(entry(), [b"x"], "incoming")
    assert leftovers(spool) == []
    await spool.put(entry(), [b"x"], "incoming", reserve=True)
    assert len(leftovers(spool)) == 1
    spool.close()


@pytest.mark.parametrize(("call", "number"), [("fsync", 1), ("rename", 1), ("writev", 1)])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_a_put_that_fails_at_any_step_leaves_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: int
) -> None:
    real, calls = getattr(os, call), 0

    def fail(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(code, os.strerror(code))
        return real(*arguments)

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=os.strerror(code)) as raised:
        await spool.put(entry(), [b"x"], "incoming")
    assert isinstance(raised.value, SpoolFull) == (code != errno.EIO)
    assert calls == number
    monkeypatch.undo()
    assert leftovers(spool) == []


async def test_a_put_nobody_waits_for_leaves_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, started, cancelled = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    fsync = os.fsync

    def slow(file: int) -> None:
        if not started.is_set():
            loop.call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(cancelled.wait(), loop).result()
        fsync(file)

    monkeypatch.setattr(os, "fsync", slow)
    putting = asyncio.create_task(spool.put(entry(), [b"x"], "incoming"))
    await started.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    cancelled.set()
    await asyncio.to_thread(spool.close)
    assert leftovers(spool) == []


async def test_old_leftovers_are_removed_at_the_start_and_young_ones_stay(spool: Spool) -> None:
    message = entry()
    await spool.put(message, [b"x"], "held")
    old = time.time() - 7200
    for name in ("tmp/.old.1.1", "tmp/.young.1.2", "progress/gone", "progress/justgone", f"progress/{message.id}"):
        path = spool.files.directory / name
        path.write_bytes(b"{}")
        if "young" not in name and "just" not in name:
            os.utime(path, (old, old))
    await spool.tidy()
    assert sorted(leftovers(spool)) == sorted(
        [f"held/{message.id}", f"progress/{message.id}", "progress/justgone", "tmp/.young.1.2"]
    )


def test_one_delivery_process_at_a_time_and_a_dead_one_does_not_count(spool: Spool) -> None:
    program = (
        "import sys; from pathlib import Path; from outbound_guard.spool import Spool;"
        "from outbound_guard.clock import SystemClock\n"
        "with Spool(Path(sys.argv[1]), SystemClock(), 0).exclusive(): print('mine', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(spool.files.directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"mine\n"
        with pytest.raises(SpoolInUse), spool.exclusive():
            pass
        child.kill()
    with spool.exclusive():
        pass


async def test_a_claim_takes_the_oldest_first_and_passes_over_what_is_in_other_hands(spool: Spool) -> None:
    messages = [entry(new_id(NOW + i), due=NOW + i) for i in range(4)]
    for message in messages:
        await spool.put(message, [b"x"], "incoming")
    with await spool.lease(messages[1].id, "incoming"):
        assert [one.id for one in await spool.claim(3)] == [messages[0].id, messages[2].id]
    assert [one.id for one in await spool.claim(3)] == [messages[1].id, messages[3].id]
    assert await spool.claim(3) == []


async def test_a_message_the_disk_does_not_give_is_tried_again_later(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = entry(due=NOW)
    await spool.put(message, [b"x"], "queue")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(spool.files, "read_entry", fail)
    [seen] = await spool.seen([message.id], "queue")
    assert (seen.id, seen.entry) == (message.id, None)


async def test_deletions_wait_for_the_disk_when_too_many_are_not_safe(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbound_guard.spool.spool._UNSYNCED", 10)
    calls: list[State] = []
    slow, second = threading.Event(), threading.Event()
    real = spool.files.sync

    def sync(state: State) -> None:
        calls.append(state)
        if len(calls) > 1:
            second.set()
        assert slow.wait(30)
        real(state)

    monkeypatch.setattr(spool.files, "sync", sync)
    leases = []
    for _ in range(11):
        message = entry()
        await spool.put(message, [b"x"], "queue")
        leases.append(await spool.lease(message.id, "queue"))
    *ten, eleventh = leases
    for lease in ten:
        await lease.remove()
    last = asyncio.create_task(eleventh.remove())
    assert await asyncio.to_thread(second.wait, 30)
    assert not last.done()
    slow.set()
    await last
    assert leftovers(spool) == []


async def test_a_deletion_whose_fsync_failed_is_made_safe_by_the_next(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: queue.Queue[bool] = queue.Queue()
    broken = True
    real = spool.files.sync

    def sync(state: State) -> None:
        outcomes.put(not broken)
        if broken:
            raise OSError(errno.EIO, "Input/output error")
        real(state)

    monkeypatch.setattr(spool.files, "sync", sync)

    async def delete_one() -> bool:
        message = entry()
        await spool.put(message, [b"x"], "queue")
        await (await spool.lease(message.id, "queue")).remove()
        return await asyncio.to_thread(outcomes.get, True, 30)

    assert not await delete_one()
    broken = False
    assert await delete_one()
    spool.close()
    assert "deletions in queue may not be on the disk" in caplog.text
    assert spool._synced == spool._removed == {"queue": 2}
