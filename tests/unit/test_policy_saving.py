"""The policy saved, refused, and taken back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Allow, Config, Policy, load, used
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.policy.effect import effects
from outbound_guard.desk.policy.in_force import (
    copies,
    copy_text,
    days_left,
    fingerprint,
    in_force,
    policy_in_force,
    save,
    what_would_change,
)
from outbound_guard.ledger.records import Audit, Record
from outbound_guard.mail import Signal
from tests.records import BOTH_LONG, Books, books, decision

LEDGERS = BOTH_LONG

OLD = "# Ours.\n[threshold]\nhold = 5.5\n"
NEW = OLD.replace("5.5", "6.5")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_800_000_000.0)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "policy.toml").write_text(OLD)
    (tmp_path / "guard.toml").write_text('[delivery]\nmode = "sink"\n[policy]\nfile = "policy.toml"\n')
    return load(tmp_path / "guard.toml")


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Iterator[Books]:
    with books(tmp_path, clock) as made:
        yield made


def audited(opened: Books) -> list[tuple[str, str, str]]:
    opened.journal.close()
    opened.scribe.once()
    from sqlalchemy import select

    from outbound_guard.ledger.tables import audit

    with opened.ledger.connection() as connection:
        return [(row.by, row.what, row.detail) for row in connection.execute(select(audit).order_by(audit.c.serial))]


async def saved(
    config: Config, opened: Books, clock: VirtualClock, text: str, instead_of: str = OLD, **more: str
) -> str:
    done = await save(config, opened.journal, clock, text, by="console:ann", instead_of=fingerprint(instead_of), **more)
    return done.copy


async def test_saved_with_a_copy_of_the_old_one_and_the_audit(
    config: Config, opened: Books, clock: VirtualClock, tmp_path: Path
) -> None:
    os.chmod(tmp_path / "policy.toml", 0o644)
    copy = await saved(config, opened, clock, NEW, reason="too strict")
    assert (tmp_path / "policy.toml").read_text() == NEW
    assert (tmp_path / "policy.toml").stat().st_mode & 0o777 == 0o644
    assert [(one.name, one.replaced) for one in copies(config)] == [(copy, clock.now())]
    assert copy_text(config, copy) == OLD
    assert audited(opened) == [("console:ann", "policy.save", "(no back-test) too strict: threshold.hold: 5.5 -> 6.5")]
    clock.set(clock.now() + 60)
    await saved(config, opened, clock, copy_text(config, copy), NEW, reason="taken back")
    assert policy_in_force(config).threshold.hold == 5.5
    assert len(copies(config)) == 2


async def test_not_over_what_somebody_else_has_saved(config: Config, opened: Books, clock: VirtualClock) -> None:
    await saved(config, opened, clock, NEW)
    with pytest.raises(DeskError, match="changed by somebody else meanwhile"):
        await saved(config, opened, clock, OLD + "\n")
    assert in_force(config).text == NEW
    two = await asyncio.gather(
        *(saved(config, opened, clock, NEW + f"# {n}\n", NEW) for n in range(2)), return_exceptions=True
    )
    assert sum(isinstance(one, DeskError) for one in two) == 1


async def test_nothing_with_a_mistake_is_saved(config: Config, opened: Books, clock: VirtualClock) -> None:
    with pytest.raises(DeskError, match=r"threshold.quarantine: 8 is below hold \(9\)"):
        await saved(config, opened, clock, "[threshold]\nhold = 9.0\n")
    with pytest.raises(DeskError, match="nothing is different"):
        await saved(config, opened, clock, OLD)
    assert in_force(config).text == OLD
    assert copies(config) == []
    assert audited(opened) == []


async def test_the_packaged_policy_says_what_to_set(opened: Books, clock: VirtualClock, tmp_path: Path) -> None:
    (tmp_path / "guard.toml").write_text('[delivery]\nmode = "sink"\n')
    config = load(tmp_path / "guard.toml")
    with pytest.raises(DeskError, match=r'write file = "policy.toml" under \[policy\] in'):
        await saved(config, opened, clock, NEW, "")
    shown = in_force(config)
    assert (shown.file, shown.problem, shown.value("threshold.hold")) == ("", "", 5.0)
    assert not any(setting.in_file for setting in shown.settings)


async def test_a_folder_that_cannot_be_written(
    config: Config, opened: Books, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from outbound_guard import durable

    real = durable.write

    def full(path: Path, pieces: object, **more: object) -> None:
        if path.name == "policy.toml":
            raise OSError(28, "No space left on device")
        real(path, pieces, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(durable, "write", full)
    with pytest.raises(DeskError, match="No space left on device"):
        await saved(config, opened, clock, NEW)
    assert in_force(config).text == OLD
    assert [what for _, what, _ in audited(opened)] == ["policy.save", "policy.failed"]


async def test_without_a_journal_nothing_is_saved(
    config: Config, opened: Books, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*records: Record) -> None:
        assert isinstance(records[0], Audit)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opened.journal, "write", full)
    with pytest.raises(DeskError, match="nothing was done"):
        await saved(config, opened, clock, NEW)
    assert in_force(config).text == OLD


def test_copies_by_other_names_are_none(config: Config) -> None:
    for name in ("../policy.toml", "x.toml", "20270101T000000Z-0123456789ab.toml", ""):
        with pytest.raises(DeskError, match="no copy"):
            copy_text(config, name)


def test_what_is_in_force_and_where_it_comes_from(config: Config, tmp_path: Path) -> None:
    run = config.data_dir / "run"
    run.mkdir(parents=True)
    for slot, policy in (("relay-0", policy_in_force(config)), ("relay-1", Policy()), ("gone-0", Policy())):
        used.tell(run, slot, policy)
        if slot != "gone-0":
            (run / f"{slot}.pid").write_text("1")
    shown = in_force(config)
    hold = next(setting for setting in shown.settings if setting.where == "threshold.hold")
    assert (hold.value, hold.packaged, hold.in_file) == (5.5, 5.0, True)
    assert not next(setting for setting in shown.settings if setting.where == "threshold.watch").in_file
    assert shown.processes == {"relay-0": True, "relay-1": False}
    (tmp_path / "policy.toml").write_text("[threshold]\nhold = 'x'\n")
    assert in_force(config).problem == 'threshold.hold: is a text in quotes, "..."; expected a number'
    (tmp_path / "policy.toml").write_bytes(b"\xff\xfe")
    assert "is not TOML" in in_force(config).problem


def test_what_a_candidate_would_change(config: Config) -> None:
    candidate, moved, lines = what_would_change(config, NEW)
    assert candidate.problems == ()
    assert [change.where for change in moved] == ["threshold.hold"]
    assert lines == ["@@ -1,3 +1,3 @@", " # Ours.", " [threshold]", "-hold = 5.5", "+hold = 6.5"]


def test_the_days_of_an_allow_rule() -> None:
    rule = Allow(reason="x", until="2027-01-16", sender="a")
    assert [days_left(rule, 1_800_000_000.0 + day * 86400) for day in (0, 1, 2)] == [2, 1, 0]


def test_what_signals_in_shadow_would_have_done(opened: Books) -> None:
    def one(number: int, score: float, *signals: Signal) -> None:
        opened.journal.append(decision(f"m{number}", received=1000.0 + number, score=score, signals=signals))

    one(1, 4.0, Signal("structure", 2.0, "", shadow=True), Signal("content", 4.0, ""))
    one(2, 1.0, Signal("structure", 2.0, "", shadow=True), Signal("content", 1.0, ""))
    one(3, 5.5, Signal("rate", 5.0, "", volume=True), Signal("content", -0.5, ""))
    one(4, 5.2, Signal("structure", -0.6, "", shadow=True), Signal("content", 0.01, ""))
    opened.keep()
    looked, found = effects(opened.ledger, 2000.0, Policy().threshold)
    assert looked == 4
    structure, content, rate = (found[name] for name in ("structure", "content", "rate"))
    assert (structure.spoke, structure.against, structure.matters, structure.stricter) == (3, 2, 2, 1)
    assert (rate.spoke, rate.matters, rate.stricter) == (1, 1, 1)
    assert (content.spoke, content.against, content.matters) == (3, 2, 0)
    assert effects(opened.ledger, 1000.0 + 9 * 86400, Policy().threshold)[0] == 0
