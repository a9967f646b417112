"""The carrier by mail: letters to customers and to the desk, and reports of abuse.

They go through our own queue like the reports about messages: with the null sender, so that nothing comes back that
somebody would answer; signed; and judged by nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from outbound_guard.config.notices import NoticeRoute
from outbound_guard.delivery.bounce import CODE
from outbound_guard.ledger import outbox_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.outbox_queries import Told
from outbound_guard.mail import Envelope
from outbound_guard.notify import arf, writing
from outbound_guard.notify.addressee import Addressee, contact_of, digest
from outbound_guard.notify.letter import Answer, Letter
from outbound_guard.notify.writing import Frame
from outbound_guard.spool import Entry, NotInSpool, Spool, SpoolFull

DAY = 86_400.0
_LATER = 3600.0
"""Seconds until somebody who had enough letters for a day is thought of again."""
_LINKS = 1000
"""Links that are kept for letters that are tried again; the oldest go first."""

Link = Callable[[str, tuple[Told, ...], float], str]
"""The address of the customers' page for an account, made when a letter about these notices is written; empty: none."""


def no_link(account: str, notices: tuple[Told, ...], now: float) -> str:
    """There is no such page."""
    return ""


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """What letters need."""

    settings: NoticeRoute
    frame: Frame
    spool: Spool
    ledger: Ledger
    desk: str
    """Address of the abuse desk; empty: none."""
    link: Link = no_link
    redact: arf.Redact = lambda text: ""
    links: dict[str, str] = msgspec.field(default_factory=dict)
    """Links by letter, of those that could not be put into the queue yet: each is a good secret, and in the audit."""


async def carry(post: Post, letter: Letter) -> Answer:
    """Put a letter into the queue. Whoever was killed after that may do it once more, with the same Message-ID."""
    settings, notices = post.settings, letter.notices
    addressee = await asyncio.to_thread(_addressee, post, letter)
    if not addressee.address:
        return Answer(result="left_out", text=addressee.why)
    addressed = digest(addressee.address)
    if letter.sendings[0].letter and await _queued(post, letter.id):
        return Answer(result="sent", text=f"was in the queue already, as {letter.id}", addressee=addressed)
    sent = await asyncio.to_thread(outbox_queries.letters_since, post.ledger, addressed, letter.now - DAY)
    if sent >= settings.most_per_day and notices[0].kind != "test":
        # One account with news after the other must not use up the letters of our own people. A customer is told of
        # their own account alone, and a report of abuse is about one sender.
        gathers = settings.to != "customer" and settings.carrier == "mail"
        return Answer(
            result="wait",
            text=f"{sent} letters went to this address today; it waits",
            wait=_LATER,
            grouped=outbox_queries.GATHERED if gathers else "",
        )
    if settings.carrier == "arf":
        content = await _report(post, letter, addressee.address)
    else:
        link = await _link(post, letter)
        content = await asyncio.to_thread(
            writing.letter, post.frame, letter.id, letter.now, addressee.address, notices, link
        )
    try:
        await post.spool.put(_entry(letter, addressee.address, notices[0]), (content,), "incoming")
    except SpoolFull:
        return Answer(result="later", text="the spool is full")
    except OSError as error:
        return Answer(result="later", text=f"the spool cannot be written: {error.strerror}")
    post.links.pop(letter.id, None)
    return Answer(result="sent", text=f"in the queue as {letter.id}", addressee=addressed)


async def _queued(post: Post, id_: str) -> bool:
    """True if the letter is in the queue, or was tried by it: whoever put it there could not say so any more."""
    try:
        await post.spool.find(id_)
    except NotInSpool:
        return await asyncio.to_thread(outbox_queries.tried, post.ledger, id_)
    return True


async def _link(post: Post, letter: Letter) -> str:
    """The link of a letter, made once however often the letter is tried."""
    notices = letter.notices
    if not post.frame.customer or not notices[0].account:
        return ""
    if letter.id in post.links:
        return post.links[letter.id]
    link = await asyncio.to_thread(post.link, notices[0].account, notices, letter.now)
    if link:
        post.links[letter.id] = link
        while len(post.links) > _LINKS:
            del post.links[next(iter(post.links))]
    return link


def _addressee(post: Post, letter: Letter) -> Addressee:
    to = post.settings.to
    if to == "customer":
        return contact_of(post.ledger, letter.notices, letter.now)
    return Addressee(post.desk if to == "desk" else to, why="there is no address of an abuse desk")


async def _report(post: Post, letter: Letter, to: str) -> bytes:
    notice = letter.notices[0]

    def known() -> Mapping[str, Any]:
        return outbox_queries.latest_kept(post.ledger, notice.account, notice.sender, notice.last) or {}

    about = await asyncio.to_thread(known)
    sample = None
    if about:
        try:
            sample = await post.spool.content(str(about["id"]))
        except (OSError, NotInSpool):
            # It is on another machine, or somebody has decided about it.
            sample = None
    return await asyncio.to_thread(
        arf.report, post.frame, letter.id, letter.now, to, letter.notices, about, sample, post.redact
    )


def _entry(letter: Letter, to: str, notice: Told) -> Entry:
    utf8 = not to.isascii()
    return Entry(
        id=letter.id,
        received=letter.now,
        # RFC 3834 3.3: with the null sender no answer of a program can come back.
        envelope=Envelope("", (to,), smtputf8=utf8),
        account=notice.account,
        sender=notice.sender,
        subject=f"notice: {notice.kind}",
        code=CODE,
        due=letter.now,
        meta={"notice": str(letter.sendings[0].serial)},
    )
