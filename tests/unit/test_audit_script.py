"""Supply: everything is locked by hash; `scripts/audit` names what is broken, and takes no silence for good news."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = len(list((ROOT / "requirements").glob("*.lock")))
SOUND = {"name": "a", "version": "1", "vulns": []}
BROKEN = SOUND | {"name": "b", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
SILENT = {"name": "c", "skip_reason": "Dependency not found"}


def audit(folder: Path, answer: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run it with a pip-audit that answers so."""
    fake = folder / "pip-audit"
    (folder / "answer").write_text(answer)
    fake.write_text(f'#!/bin/sh\ncat "{folder}/answer"\nexit {code}\n')
    fake.chmod(0o755)
    environment = os.environ | {"PIP_AUDIT": str(fake)}
    return subprocess.run([ROOT / "scripts/audit"], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([SOUND], 0, "1 packages, 0 with known vulnerabilities, 0 could not be asked about"),
        ([SOUND, BROKEN], 1, "b 1: PYSEC-1, mended in 1.1"),
        ([SOUND, SILENT], 1, "2 packages, 0 with known vulnerabilities, 1 could not be asked about"),
    ],
)
def test_answers(tmp_path: Path, packages: list[dict[str, Any]], code: int, said: str) -> None:
    done = audit(tmp_path, json.dumps({"dependencies": packages}), code)
    assert done.returncode == code
    assert done.stdout.count(said) == LOCKS, done


def test_no_answer(tmp_path: Path) -> None:
    done = audit(tmp_path, "", 1)
    assert done.returncode == 1
    assert done.stderr.count("pip-audit gave no answer") == LOCKS


def test_no_pip_audit() -> None:
    environment = os.environ | {"PIP_AUDIT": "/nowhere/pip-audit"}
    done = subprocess.run([ROOT / "scripts/audit"], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip-audit is missing" in done.stderr


def test_everything_is_locked_by_hash_and_from_nowhere_in_particular() -> None:
    for lock in (ROOT / "requirements").glob("*.lock"):
        text = lock.read_text()
        assert "://" not in text, lock
        packages = re.sub(r"\\\n\s*", "", text).splitlines()
        assert packages
        for line in packages:
            assert re.fullmatch(r"[\w.\[\]-]+==\S+(?: ; [^#]+?)?(?: *--hash=sha256:[0-9a-f]{64})+", line), line
    setup = (ROOT / "scripts/setup").read_text()
    installs = [line for line in setup.splitlines() if line.strip().startswith("pip install")]
    assert len(installs) == 3
    # The last one is the product itself, from its own folder.
    assert all("--require-hashes --only-binary :all:" in line for line in installs[:-1])
    assert "--no-build-isolation --no-deps" in installs[-1]
