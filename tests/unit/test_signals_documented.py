"""One word for each signal everywhere: file, policy table, documentation, golden case."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from outbound_guard.config import ConfigError, Policy
from outbound_guard.signals import CHECKS, Panel

ROOT = Path(__file__).parents[2]


def test_the_sample_policy_shows_every_setting_of_every_signal_at_its_default() -> None:
    tables = tomllib.loads((ROOT / "config" / "policy.toml").read_text(encoding="utf-8"))["signal"]
    expected = {check.NAME: {"mode": "on", "scale": 1.0} | msgspec.to_builtins(check.Settings()) for check in CHECKS}
    assert tables == expected


def test_every_signal_and_setting_is_documented() -> None:
    text = (ROOT / "docs" / "signals.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert set(sections) == {check.NAME for check in CHECKS}
    for check in CHECKS:
        for field in msgspec.structs.fields(check.Settings):
            assert f"`{field.name}`" in sections[check.NAME], f"{check.NAME}.{field.name}"
        row = f"| `{check.NAME}` | {check.LOW:g} to {check.HIGH:g} | {'yes' if check.VOLUME else ''}"
        assert row.rstrip() in text, row


def test_a_signal_is_called_like_its_file() -> None:
    assert [check.NAME for check in CHECKS] == [check.__name__.rpartition(".")[2] for check in CHECKS]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"signal": {"rats": {}}}, ["signal.rats", "no such signal"]),
        ({"signal": {"rate": {"mode": "loud"}}}, ["signal.rate.mode", "'loud'"]),
        ({"signal": {"rate": {"scale": -1}}}, ["signal.rate.scale", "-1"]),
        ({"signal": {"rate": {"flor": 1}}}, ["signal.rate", "flor"]),
        ({"signal": {"rate": {"floor": "many"}}}, ["signal.rate", "floor"]),
    ],
)
def test_a_wrong_table_is_refused_by_name(table: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        Panel(msgspec.convert(table, Policy))
    for word in words:
        assert word in str(refused.value)
