"""Secrets that every user of the machine may read are said, and nothing is refused for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from outbound_guard.__main__ import main
from outbound_guard.config import load
from outbound_guard.config.secrets import exposed

CONFIGURATION = """
[server]
data_dir = "data"
[[listener]]
address = "127.0.0.1:0"
[auth]
passwords = "passwords"
[[delivery.pool]]
smarthosts = ["127.0.0.1:1"]
user = "a"
password_file = "smarthost"
"""


def configured(folder: Path, mode: int) -> Path:
    file = folder / "guard.toml"
    file.write_text(CONFIGURATION)
    for name in ("passwords", "smarthost"):
        (folder / name).write_text("")
        (folder / name).chmod(mode)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data").chmod(0o700 if mode == 0o600 else 0o755)
    return file


@pytest.mark.parametrize(("mode", "said"), [(0o600, 0), (0o640, 1), (0o644, 3), (0o602, 3)])
def test_exposed(tmp_path: Path, mode: int, said: int) -> None:
    sentences = list(exposed(load(configured(tmp_path, mode))))
    assert len(sentences) == said
    # A group may read a key; the data directory is nobody else's.
    assert not sentences or "data_dir" in sentences[-1]
    assert said < 3 or "delivery.pool[0].password_file" in sentences[1]


def test_missing_files_are_no_matter_of_modes(tmp_path: Path) -> None:
    config = load(configured(tmp_path, 0o644))
    for name in ("passwords", "smarthost"):
        (tmp_path / name).unlink()
    (tmp_path / "data").rmdir()
    assert not list(exposed(config))


def test_check_config_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "--config", str(configured(tmp_path, 0o644))]) == 0
    said = capsys.readouterr()
    assert said.out == "ok\n"
    assert said.err.count("chmod") == 3
