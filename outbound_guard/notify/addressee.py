"""Whom a letter may be written to. Never the suspect: who reads a stolen mailbox must not learn that it was found out.

The contact of the directory is used unless it is a mailbox that is suspect itself, or, of an account that is suspended
as a whole, any mailbox of the account.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Collection, Sequence

import msgspec

from outbound_guard.ledger import outbox_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.outbox_queries import Told
from outbound_guard.mail import domain_of, same_address

_SUSPECT_SECONDS = 86_400.0 * 2
"""For so long after the last notice about it a mailbox is suspect, though it is not suspended (any more)."""


class Addressee(msgspec.Struct, frozen=True):
    """Who is written to; without an address `why` says why nobody is."""

    address: str = ""
    name: str = ""
    """Of the account, as the directory has it."""
    why: str = ""


def contact_of(ledger: Ledger, notices: Sequence[Told], now: float) -> Addressee:
    """The contact of the account that the notices are about, if it may be written to. Raises LedgerError."""
    account = notices[0].account
    if not account:
        return Addressee(why="it concerns no account")
    name, contact = outbox_queries.contacts(ledger, [account]).get(account, ("", ""))
    address = contact.strip()
    if address.count("@") != 1 or any(letter <= " " or letter in '<>,;"()' for letter in address):
        return Addressee(why="its contact is no address" if address else "the directory has no contact for it")
    suspects = outbox_queries.suspects(ledger, account, now - _SUSPECT_SECONDS)
    suspects |= {notice.sender for notice in notices if notice.sender}
    if any(notice.data.get("scope") == "account" for notice in notices):
        suspects.add(account)
    if is_suspect(address, account, suspects, outbox_queries.patterns(ledger, account)):
        return Addressee(why="its contact is a mailbox that is suspect itself")
    return Addressee(address, name)


def is_suspect(address: str, account: str, suspects: Collection[str], patterns: Sequence[str]) -> bool:
    """True if an address is one of the suspect senders, or belongs to an account that is suspect as a whole.

    `patterns` are the senders that the directory says are the account's.
    """
    plain = _bare(address)
    if any(_bare(suspect) == plain for suspect in suspects if "@" in suspect):
        return True
    # The user of a server (`web1/anna`, `web1/anna:form.php`) has the account's mailbox of that name.
    users = {one.partition(":")[0].rpartition("/")[2].lower() for one in suspects if "@" not in one}
    if account not in suspects and plain.partition("@")[0] not in users:
        return False
    domain, whole = domain_of(plain), account.lower()
    own = plain == whole or domain == whole or domain.endswith(f".{whole}")
    return own or any(fnmatch.fnmatchcase(plain, pattern.lower()) for pattern in patterns)


def digest(address: str) -> str:
    """What is kept of an address to count letters by."""
    return hashlib.sha256(same_address(address).encode("utf-8", "replace")).hexdigest()[:32]


def _bare(address: str) -> str:
    """An address as its mailbox is known: case and what stands behind a `+` do not matter."""
    local, at, domain = same_address(address).rpartition("@")
    return f"{local.partition('+')[0] or local}{at}{domain}"
