"""Back-tests as the desk runs them: a process of its own on recorded traffic, with its progress, cancelled, kept."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from outbound_guard.clock import SystemClock
from outbound_guard.config import Config, load
from outbound_guard.console.policy_edit import _last
from outbound_guard.console.tools import Tools
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.policy.backtests import RUNNING, Backtest, Backtests
from outbound_guard.ledger.journal import Journal
from outbound_guard.trace.tape import ARCHIVE, LINES
from tests.integration.test_backtest import BLIND, PROGRAM, STRICT
from tests.integration.test_replay import small_trace

DAYS = ("20270115", "20270116")


def recorded(folder: Path) -> None:
    """The small trace as the product would have recorded it, on two days."""
    folder.mkdir(parents=True)
    made = small_trace(folder.parent / "made")
    lines = (made / "trace.jsonl").read_text().splitlines(keepends=True)
    for day, part in zip(DAYS, (lines[:30], lines[30:]), strict=True):
        (folder / f"{day}-relay-0{LINES}").write_text("".join(part).replace("messages.zbin", f"{day}-relay-0{ARCHIVE}"))
        shutil.copy(made / "messages.zbin", folder / f"{day}-relay-0{ARCHIVE}")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "policy.toml").write_text(STRICT)
    (tmp_path / "guard.toml").write_text(
        '[delivery]\nmode = "sink"\n[policy]\nfile = "policy.toml"\n[recording]\nenabled = true\n'
    )
    return load(tmp_path / "guard.toml")


def now(config: Config, policy: str) -> None:
    """Make this the policy in force."""
    config.resolve(config.policy.file).write_text(policy)


def backtests(config: Config) -> Backtests:
    return Backtests(config, SystemClock(), Journal(config.data_dir / "journal", "test-0", SystemClock()))


@pytest.fixture
async def tests(config: Config) -> AsyncIterator[Backtests]:
    made = backtests(config)
    yield made
    await made.close()


async def ended(tests: Backtests, id_: str) -> str:
    await tests.idle()
    test = tests.one(id_)
    return f"{test.state} {test.error}".strip()


async def test_a_candidate_is_tried_and_its_report_kept(config: Config, tests: Backtests) -> None:
    recorded(config.recording_dir)
    assert [day.day for day in tests.days()] == list(reversed(DAYS))
    test = await tests.start(BLIND, by="console:ann")
    assert (test.state, test.transactions, test.by) == (RUNNING, 60, "console:ann")
    with pytest.raises(DeskError, match="running already"):
        await tests.start(BLIND, by="console:bob")
    assert await ended(tests, test.id) == "done"
    report = tests.report(test.id)
    assert report is not None
    assert report["candidate"]["fates"]["relayed"] == 60
    assert report["no_longer_touched"]["messages"] >= 15
    assert report["senders_left_out"] == 0
    assert tests.candidate(test.id) == BLIND
    assert tests.one(test.id).progress == 1.0
    # It is known that this text was tried against what is in force, and no other.
    found = tests.of(BLIND)
    assert found is not None
    assert found.id == test.id
    assert tests.of(BLIND + "\n") is None
    now(config, BLIND)
    assert tests.of(BLIND) is None
    # Another process, or this one after a restart, finds it.
    assert [one.id for one in backtests(config).all()] == [test.id]
    assert not (config.data_dir / "backtests" / test.id / "traffic").exists()


async def test_of_two_at_the_same_moment_one_begins(config: Config, tests: Backtests) -> None:
    recorded(config.recording_dir)
    begun = await asyncio.gather(
        tests.start(BLIND, by="console:ann"), tests.start(BLIND, by="console:bob"), return_exceptions=True
    )
    assert [type(one) for one in begun] == [Backtest, DeskError]


async def test_the_days_that_a_form_asks_for(config: Config, tests: Backtests) -> None:
    recorded(config.recording_dir)
    tools = cast(Tools, SimpleNamespace(backtests=tests))
    asked = ("", "0", "1", "9", "x", "²", "9" * 5000)
    assert [len(await _last(tools, days)) for days in asked] == [0, 0, 1, 2, 0, 0, 0]


async def test_only_some_days(config: Config, tests: Backtests) -> None:
    recorded(config.recording_dir)
    test = await tests.start(BLIND, by="console:ann", days=DAYS[:1])
    assert test.transactions == 30
    assert await ended(tests, test.id) == "done"
    report = tests.report(test.id)
    assert report is not None
    assert report["everything"]["messages"] == 30
    with pytest.raises(DeskError, match="nothing is recorded of 19990101"):
        await tests.start(BLIND, by="console:ann", days=("19990101",))


async def test_one_that_is_cancelled_leaves_no_process(config: Config, tests: Backtests) -> None:
    recorded(config.recording_dir)
    test = await tests.start(BLIND, by="console:ann")
    process = None
    while process is None:
        await asyncio.sleep(0.01)
        process = tests._process
    await tests.cancel(test.id, by="ann")
    assert tests.one(test.id).state == "cancelled"
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    assert tests.report(test.id) is None
    with pytest.raises(DeskError, match="is not running"):
        await tests.cancel(test.id, by="ann")
    # The next one can begin.
    again = await tests.start(BLIND, by="console:ann")
    await tests.close()
    assert tests.one(again.id).state == "cancelled"


async def test_what_cannot_be_tried(config: Config, tests: Backtests) -> None:
    with pytest.raises(DeskError, match=r"nothing is recorded: switch it on with enabled = true under \[recording\]"):
        await tests.start(BLIND, by="console:ann")
    config.recording_dir.mkdir(parents=True)
    (config.recording_dir / f"{DAYS[0]}-relay-0{LINES}").write_text("no line of a trace\n")
    with pytest.raises(DeskError, match=r"not tried: threshold\.hold"):
        await tests.start("[threshold]\nhold = 'x'\n", by="console:ann")
    test = await tests.start(BLIND, by="console:ann")
    assert "nothing was recorded yet" in await ended(tests, test.id)
    for id_ in ("../x", "0123456789abcdef", ""):
        with pytest.raises(DeskError, match="no back-test"):
            tests.one(id_)


async def test_what_ran_when_the_service_ended_is_over(config: Config, tests: Backtests) -> None:
    recorded(config.recording_dir)
    test = await tests.start(BLIND, by="console:ann")
    later = backtests(config)
    later.interrupted()
    assert later.one(test.id).error == "the service ended"


def test_the_command_says_how_far_it_is(tmp_path: Path) -> None:
    candidate = tmp_path / "candidate.toml"
    candidate.write_text(BLIND)
    trace = small_trace(tmp_path / "trace")
    done = subprocess.run(
        [*PROGRAM, trace, "--policy", candidate, "--progress", "--json"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["1 0", "2 0"]
    json.loads(done.stdout)
