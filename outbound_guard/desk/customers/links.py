"""Links to the customers' page: made, found again by what stands in them, revoked.

A link's token is its id and a random secret of 192 bits. The ledger keeps the hash of the secret together with account,
end and contact: who reads the ledger has no link, a link can be revoked, and a row that was changed fits none.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Customers
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import account_one_queries, customer_queries, directory_queries, outbox_queries
from outbound_guard.ledger.customer_queries import Link
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, CustomerLink
from outbound_guard.mail import same_address
from outbound_guard.notify.addressee import is_suspect

PATH = "/customer/"
"""Where the page begins; the token follows."""
ID = 16
"""Hexadecimal digits of a token that are the link's id; with these alone nothing can be opened."""
_TOKEN = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[^\s@<>,;:\"()\[\]\\]{1,255}")


class ContactError(DeskError):
    """Whoever has the link may not be whom it was made for: nothing is done by it any more."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A new link. Its address is nowhere else: who loses it needs another one."""

    id: str
    url: str
    account: str
    expires: float
    """Unix seconds."""
    contact: str
    """Whom it is for, by the directory."""


async def make_link(
    ledger: Ledger, journal: Journal, clock: Clock, settings: Customers, account: str, *, by: str
) -> Made:
    """A link for the customer of an account, to be sent to its contact and to nobody else.

    Raises DeskError: there is no page, no contact, or the contact is a mailbox under suspicion itself; LedgerError.
    """
    if not settings.url:
        raise DeskError("there is no page for customers: customers.url is empty")
    now = clock.now()
    contact = await asyncio.to_thread(contact_of, ledger, account, now)
    id_, secret, expires = secrets.token_hex(ID // 2), secrets.token_hex(24), now + settings.link_seconds
    whom = _whom(id_, contact)
    on_disk(
        journal,
        CustomerLink(
            id=id_,
            time=now,
            what="made",
            account=account,
            by=by,
            hash=_hash(id_, secret, account, expires, whom),
            contact=whom,
            expires=expires,
        ),
        Audit(time=now, by=by, what="customer.link", subject=account, detail=f"link {id_} for {contact}"),
    )
    url = f"{settings.url.rstrip('/')}{PATH}{id_}{secret}"
    return Made(id=id_, url=url, account=account, expires=expires, contact=contact)


async def revoke_link(ledger: Ledger, journal: Journal, clock: Clock, id_: str, *, by: str, account: str = "") -> Link:
    """Make a link worthless; with `account` only one of that account. Raises DeskError, LedgerError."""
    known = re.fullmatch(rf"[0-9a-f]{{{ID}}}", id_)
    found = await asyncio.to_thread(customer_queries.link_one, ledger, id_) if known else None
    if found is None or (account and found[0].account != account):
        raise DeskError(f"no link {id_[:40]}")
    link = found[0]
    if link.revoked:
        return link
    now = clock.now()
    on_disk(
        journal,
        CustomerLink(id=id_, time=now, what="revoked", account=link.account, by=by),
        Audit(time=now, by=by, what="customer.link_revoked", subject=link.account, detail=f"link {id_}"),
    )
    return msgspec.structs.replace(link, revoked=now)


async def find_link(ledger: Ledger, token: str) -> Link | None:
    """The link of this token, whatever its state; None if there is none. Raises LedgerError."""
    if not _TOKEN.fullmatch(token):
        return None
    found = await asyncio.to_thread(customer_queries.link_one, ledger, token[:ID])
    if found is None:
        return None
    link, hash_ = found
    fits = hmac.compare_digest(hash_, _hash(link.id, token[ID:], link.account, link.expires, link.contact))
    return link if fits else None


def check_contact(ledger: Ledger, link: Link, now: float) -> None:
    """Refuse a link that would not be made now, or not for the same address. Sync. Raises ContactError, LedgerError.

    A link lives for days: its mailbox may be stolen meanwhile, or the directory name somebody else.
    """
    try:
        contact = contact_of(ledger, link.account, now)
    except DeskError as error:
        raise ContactError(str(error)) from error
    if not hmac.compare_digest(link.contact, _whom(link.id, contact)):
        raise ContactError(f"the contact of {link.account} is another one than when this link was made")


def contact_of(ledger: Ledger, account: str, now: float) -> str:
    """The address that an account's customer may be written to. Sync. Raises DeskError, LedgerError.

    Never a mailbox that is under suspicion: whoever has stolen it would answer for it.
    """
    entry = directory_queries.accounts(ledger, account).get(account)
    contact = str(entry["contact"]).strip() if entry else ""
    if not contact:
        raise DeskError(f"{account} has no contact in the directory: enter one first")
    if not _ADDRESS.fullmatch(contact) or not contact.isprintable():
        raise DeskError(f"the contact of {account} is no mail address that a link could be sent to")
    in_force = [
        one
        for one in directory_queries.standings(ledger, account)
        if one.change == "suspended" and (not one.until or one.until > now)
    ]
    suspects = {one.subject for one in in_force if one.scope == "sender"}
    suspects |= {found.row.sender for found in customer_queries.held_for(ledger, account, most=1000)}
    if any(one.scope == "account" for one in in_force):
        # All its mailboxes are stopped, so none of them is above suspicion.
        suspects |= {account, *account_one_queries.sender_names(ledger, account)}
    if is_suspect(contact, account, suspects, outbox_queries.patterns(ledger, account)):
        raise DeskError(f"the contact of {account} is a mailbox under suspicion itself: a link must not go there")
    return contact


def _hash(id_: str, secret: str, account: str, expires: float, whom: str) -> str:
    # Of 192 random bits: a slow hash would make nothing harder.
    return _digest(id_, secret, repr(expires), whom, account)


def _whom(id_: str, contact: str) -> str:
    return _digest(id_, same_address(contact))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()
