"""What a customer sees of their held mail: by sender, in few words, and nothing of anybody else.

Recipients are shown in part, signals as what kind of thing they are, and neither scores nor sentences of the machine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import msgspec

from outbound_guard.config import Customers
from outbound_guard.desk.customers.kinds import RELEASABLE, Kind, gravest, kinds_of
from outbound_guard.ledger import bulk_queries, customer_queries, directory_queries
from outbound_guard.ledger.bulk_queries import Bulk
from outbound_guard.ledger.customer_queries import Answer, HeldFor, Link
from outbound_guard.ledger.database import Ledger

DAY = 86_400.0
MOST = 2000
"""Held messages of an account that are looked at, the newest first."""
SHOWN = 20
"""Messages of one sender that are listed."""
_LONGEST_SUBJECT = 150


class ShownMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One held message."""

    id: str
    received: float
    subject: str
    recipients: tuple[str, ...]
    """The first three, in part."""
    more: int
    """How many there are besides."""


class ShownSender(msgspec.Struct, frozen=True, kw_only=True):
    """A mailbox or script of which mail is held, or that is suspended."""

    sender: str
    script: str
    """The script's own name; empty for a mailbox."""
    suspended: bool
    number: int
    first: float
    last: float
    kinds: tuple[Kind, ...]
    """What its mail is held for, what is said most often first."""
    messages: tuple[ShownMessage, ...]
    releasable: tuple[str, ...]
    """Ids of those that may be released, the oldest first."""
    held: tuple[str, ...]
    """Ids of all of them."""
    answer: Answer | None
    bulk: Bulk | None
    """What the answer has set going."""

    @property
    def open(self) -> bool:
        """True if nothing was answered yet, or it was taken back."""
        return self.answer is None or self.answer.answer == "undone"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one link."""

    account: str
    state: str
    """good | expired | revoked"""
    expires: float
    senders: tuple[ShownSender, ...]
    left: int
    """Messages that may still be released within a day."""
    closed: bool
    """True if customers of this account release nothing themselves any more."""

    def of(self, sender: str) -> ShownSender | None:
        """What is shown of one sender."""
        return next((one for one in self.senders if one.sender == sender), None)


def seen(ledger: Ledger, settings: Customers, link: Link, now: float, lately: Sequence[Answer] = ()) -> Seen:
    """What the owner of a link sees now (unix seconds). Sync. Raises LedgerError.

    `lately` are answers that the ledger may not know yet.
    """
    state = link.state(now)
    if state != "good":
        return Seen(account=link.account, state=state, expires=link.expires, senders=(), left=0, closed=False)
    account = link.account
    answers = {one.sender: one for one in customer_queries.answers(ledger, account, link=link.id, limit=1000)}
    unknown = 0
    for late in lately:
        known = answers.get(late.sender) if late.link == link.id else None
        if known is None or known.time < late.time:
            unknown += late.messages if late.time > now - DAY else 0
            if late.link == link.id:
                answers[late.sender] = late
    found = customer_queries.held_for(ledger, account, most=MOST)
    judged = customer_queries.judged_texts(ledger, account, [one.row.text for one in found])
    engaged = bulk_queries.engaged(ledger, [one.row.id for one in found])
    stopped = {
        (one.scope, one.subject)
        for one in directory_queries.standings(ledger, account)
        if one.change == "suspended" and (not one.until or one.until > now)
    }
    closed = bool(customer_queries.closed(ledger, account))
    left = settings.releases_per_day - customer_queries.released_since(ledger, account, now - DAY) - unknown
    left = 0 if closed or not settings.release else max(left, 0)
    names = {one.row.sender: None for one in found}
    names |= {subject: None for scope, subject in sorted(stopped) if scope == "sender"}
    names |= dict.fromkeys(answers)
    shown = []
    for name in list(names)[:200]:
        mail = [one for one in found if one.row.sender == name]
        suspended = ("sender", name) in stopped or ("account", account) in stopped
        allowed = 0 if suspended else left
        may = [one.row.id for one in reversed(mail) if _may(one, settings, judged, engaged)][:allowed]
        answer = answers.get(name)
        bulk = bulk_queries.one(ledger, answer.bulk) if answer and answer.bulk else None
        shown.append(_sender(name, mail, may, suspended, answer, bulk))
    return Seen(account=account, state=state, expires=link.expires, senders=tuple(shown), left=left, closed=closed)


def _may(one: HeldFor, settings: Customers, judged: set[str], engaged: dict[str, str]) -> bool:
    kind = gravest(kinds_of(one.signals, one.code))
    return (
        one.row.state == "held"
        and kind in RELEASABLE
        and kind in settings.release
        and one.row.text not in judged
        and one.row.id not in engaged
    )


def _sender(
    name: str, mail: Sequence[HeldFor], may: list[str], suspended: bool, answer: Answer | None, bulk: Bulk | None
) -> ShownSender:
    counted: dict[Kind, int] = {}
    for one in mail:
        for kind in kinds_of(one.signals, one.code) or ("unknown",):
            counted[kind] = counted.get(kind, 0) + 1
    times = [one.row.received for one in mail]
    return ShownSender(
        sender=name,
        script=script_of(name),
        suspended=suspended,
        number=len(mail),
        first=min(times, default=0.0),
        last=max(times, default=0.0),
        kinds=tuple(sorted(counted, key=lambda kind: -counted[kind])),
        messages=tuple(_message(one) for one in mail[:SHOWN]),
        releasable=tuple(may),
        held=tuple(one.row.id for one in mail),
        answer=answer,
        bulk=bulk,
    )


def _message(one: HeldFor) -> ShownMessage:
    row = one.row
    return ShownMessage(
        id=row.id,
        received=row.received,
        subject=plain(row.subject)[:_LONGEST_SUBJECT],
        recipients=tuple(in_part(address) for address in row.recipients[:3]),
        more=max(row.recipient_count - 3, 0),
    )


def script_of(sender: str) -> str:
    """The script of a sender `server/uid:script`; empty if it is none."""
    found = re.fullmatch(r"[^@\s]+/[^@:\s]+:(.+)", sender)
    return found[1] if found else ""


def in_part(address: str) -> str:
    """An address with the middle of its local part left out: `so…@there.test`."""
    local, at, domain = plain(address).rpartition("@")
    if not at:
        local, domain = domain, ""
    return f"{local[: 2 if len(local) > 3 else 1]}…{at}{domain[:100]}"


def plain(text: str) -> str:
    """Text of strangers without characters that cannot be seen or that turn what follows (RFC 5892 2.3, UTS 39)."""
    return "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co") else letter for letter in text)
