"""The short form of scripts/chaos."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.outage.chaos import chaos

pytestmark = pytest.mark.long


@pytest.mark.slow
def test_nothing_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    outcome = chaos(tmp_path, kills=6, seed=5)
    assert outcome.kills.total() == 6
    assert outcome.account.messages > 100
    assert outcome.queued > 0
    assert outcome.failures == [], outcome.table()
