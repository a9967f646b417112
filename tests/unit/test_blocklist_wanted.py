"""What people want to be asked about now: few at a time, none again and again; and what receivers see, kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from outbound_guard.blocklist import findings
from outbound_guard.blocklist.identity import Identity
from outbound_guard.blocklist.wanted import AGAIN_SECONDS, AT_ONCE, NotNowError, Wanted
from outbound_guard.clock import VirtualClock

OURS = [f"192.0.2.{number}" for number in range(AT_ONCE + 10)]


async def test_each_is_asked_about_once_a_minute() -> None:
    clock, asked = VirtualClock(1000.0), list[str]()
    wanted = Wanted(OURS, clock)

    async def ask(subjects: Sequence[str]) -> None:
        asked.extend(subjects)
        assert wanted.waiting == tuple(subjects)

    assert wanted.add([OURS[0], OURS[1], OURS[0]]) == (OURS[0], OURS[1])
    assert wanted.add([OURS[1], OURS[2]]) == (OURS[2],)
    with pytest.raises(NotNowError, match="are being asked"):
        wanted.add([OURS[0]])
    await wanted.serve(ask)
    assert asked == OURS[:3]
    assert wanted.waiting == ()
    with pytest.raises(NotNowError, match="less than a minute ago"):
        wanted.add([OURS[0]])
    clock.advance(AGAIN_SECONDS)
    assert wanted.add([OURS[0]]) == (OURS[0],)
    # A clock that was set back does not lock anybody out.
    await wanted.serve(ask)
    clock.set(10.0)
    assert wanted.add([OURS[0]]) == (OURS[0],)


async def test_others_and_too_many_are_refused_and_a_failure_frees_the_place() -> None:
    wanted = Wanted(OURS, VirtualClock(1000.0))
    with pytest.raises(NotNowError, match=r"198\.51\.100\.1 is none of the addresses"):
        wanted.add([OURS[0], "198.51.100.1"])
    with pytest.raises(NotNowError, match="at most 50 can wait"):
        wanted.add(OURS)
    assert wanted.waiting == ()
    wanted.add(OURS[:AT_ONCE])
    with pytest.raises(NotNowError, match="and 50 do"):
        wanted.add(OURS[AT_ONCE:])

    async def fail(subjects: Sequence[str]) -> None:
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        await wanted.serve(fail)
    assert wanted.add(OURS[AT_ONCE:])


def identity(address: str, *problems: str) -> Identity:
    return Identity(
        address=address, names=(), confirmed=False, helo="a.test", helo_leads_here=False, spf={}, problems=problems,
        unknown=(),
    )  # fmt: skip


def test_findings_say_since_when_and_outlive_the_process(tmp_path: Path) -> None:
    assert findings.load(tmp_path) == findings.Findings()
    assert findings.load(tmp_path).time == 0.0
    first = findings.merged(findings.Findings(), [identity("a", "no name"), identity("b")], 100.0)
    later = findings.merged(first, [identity("a", "no name"), identity("b", "no SPF")], 200.0)
    findings.keep(tmp_path, later)
    assert findings.path_of(tmp_path).stat().st_mode & 0o777 == 0o600
    found = findings.load(tmp_path)
    assert {address: (one.since, one.time) for address, one in found.found.items()} == {
        "a": (100, 200),
        "b": (200, 200),
    }
    assert found.time == 200.0
    # One address alone is looked at again, and one is no longer ours.
    last = findings.merged(found, [identity("a")], 300.0, only={"a": None})
    assert {address: (one.since, one.time) for address, one in last.found.items()} == {"a": (300, 300)}
    findings.path_of(tmp_path).write_text("no JSON")
    assert findings.load(tmp_path) == findings.Findings()
