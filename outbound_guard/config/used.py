"""Which policy each process judges by: every one says so in data_dir/run, so that people see that a reload worked."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import msgspec

from outbound_guard.config.policy import Policy

_ENDING = ".policy"


def digest(policy: Policy) -> str:
    """The same for two policies that say the same, however their files are written: 64 hexadecimal digits."""
    return hashlib.sha256(msgspec.json.encode(policy, order="deterministic")).hexdigest()


def tell(run: Path, slot: str, policy: Policy) -> None:
    """Say in `run` (data_dir/run) that the process `slot` judges by this policy. Raises OSError."""
    unfinished = run / f".{slot}{_ENDING}"
    unfinished.write_text(digest(policy), encoding="ascii")
    unfinished.replace(run / f"{slot}{_ENDING}")


def used(run: Path) -> dict[str, str]:
    """The digest of the policy that each process judges by, by slot: of those that run and judge."""
    found = {}
    for file in sorted(run.glob(f"*{_ENDING}")):
        slot = file.name.removesuffix(_ENDING)
        if not slot.startswith(".") and (run / f"{slot}.pid").exists():
            with suppress(OSError, UnicodeDecodeError):
                found[slot] = file.read_text(encoding="ascii")
    return found
