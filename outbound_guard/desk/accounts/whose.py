"""Whose a sender is, for what is decided about it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from outbound_guard.accounts.directory import Directory
from outbound_guard.clock import Clock
from outbound_guard.ledger import account_one_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.mail import domain_of


async def accounts_of(ledger: Ledger, clock: Clock, subjects: Sequence[tuple[str, str]]) -> list[str]:
    """The account of each subject (scope and name), in their order. Raises LedgerError.

    A sender's account is the one that it was seen in. Of one that has sent nothing yet, it is the directory's, else its
    domain, as it will be when its first mail comes; empty for a script that nobody has assigned.
    """
    directory: Directory | None = None
    accounts = []
    for scope, subject in subjects:
        account: str | None = subject
        if scope == "sender":
            account = await asyncio.to_thread(account_one_queries.account_of_sender, ledger, subject)
            if account is None:
                if directory is None:
                    directory = Directory(ledger, clock)
                    await directory.refresh()
                account = directory.account_of(subject) or domain_of(subject)
        accounts.append(account or "")
    return accounts
