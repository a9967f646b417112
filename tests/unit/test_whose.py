"""Whose a sender is that something is decided about."""

from __future__ import annotations

from pathlib import Path

import msgspec

from outbound_guard.clock import VirtualClock
from outbound_guard.desk.accounts.whose import accounts_of
from outbound_guard.ledger.records import AccountEntry
from tests.records import books, decision

NOW = 1_700_000_000.0


async def test_a_sender_belongs_to_where_it_was_seen_else_to_the_directory_s_account_else_to_its_domain(
    tmp_path: Path,
) -> None:
    seen = msgspec.structs.replace(decision("1" * 22), sender="anna@shop.test", account="reseller")
    clock = VirtualClock(NOW)
    with books(tmp_path, clock) as opened:
        opened.keep(seen, AccountEntry(time=NOW, account="firm", senders=("*@two.test", "web1:*")))
        asked = ["anna@shop.test", "eve@shop.test", "eve@two.test", "web1:/a.php", "web9:/a.php"]
        subjects = [("sender", one) for one in asked] + [("account", "own.test")]
        accounts = await accounts_of(opened.ledger, clock, subjects)
    assert accounts == ["reseller", "shop.test", "firm", "firm", "", "own.test"]
