"""Letters: from notices to a message, in plain text and, if wanted, simple HTML."""

from __future__ import annotations

import email.policy
import html
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate

import msgspec

from outbound_guard.ledger.outbox_queries import Told
from outbound_guard.notify import words
from outbound_guard.notify.routes import plain

_MOST = 50
"""Notices that are told one by one in a letter; of the others their number."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What the letters of a route have in common."""

    hostname: str
    organisation: str
    from_address: str
    reply_to: str
    """Of the abuse desk; empty: none."""
    language: str
    html: bool
    details: bool
    customer: bool
    """It goes to a customer, not to our own people."""


def letter(frame: Frame, id_: str, now: float, to: str, notices: tuple[Told, ...], link: str = "") -> bytes:
    """The message as octets with CRLF line ends. `link`: where the customer sees more and answers; empty: nowhere."""
    of = words.texts(frame.language)
    blocks = _blocks(frame, of, notices, link)
    message = EmailMessage(policy=email.policy.SMTP.clone(utf8=not to.isascii()))
    head(message, frame, id_, now, to)
    message["Subject"] = words.subject(of, notices)
    message["Content-Language"] = frame.language
    message.set_content(_text(blocks), cte="quoted-printable")
    if frame.html:
        message.add_alternative(_html(blocks, frame.language), subtype="html", cte="quoted-printable")
    return message.as_bytes()


def head(message: EmailMessage, frame: Frame, id_: str, now: float, to: str) -> None:
    """The fields that all our letters have."""
    message["From"] = Address(plain(frame.organisation, 60), addr_spec=frame.from_address)
    message["To"] = to
    if frame.reply_to:
        message["Reply-To"] = frame.reply_to
    message["Date"] = formatdate(now)
    message["Message-ID"] = f"<{id_}@{frame.hostname}>"
    # RFC 3834 5: written by a program, and no answer to anything; so no program should answer it.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"


def _blocks(frame: Frame, of: words.Texts, notices: tuple[Told, ...], link: str) -> list[str | list[str]]:
    """The letter as paragraphs and lists."""
    names = {"account": plain(notices[0].account), "organisation": frame.organisation, "host": frame.hostname}
    first = sorted(notices, key=words.weight)[:_MOST] if len(notices) > _MOST else notices
    told = [words.sentence(of, notice, details=frame.details) for notice in first]
    if len(notices) > _MOST:
        told.append(f"+ {len(notices) - _MOST}")
    blocks: list[str | list[str]] = [of.greeting, (of.customer if frame.customer else of.desk).format(**names), told]
    if frame.customer and words.wants_steps(notices):
        blocks += [of.steps, list(of.todo)]
    if link:
        blocks += [of.link, link]
    if frame.reply_to:
        blocks.append(of.reach.format(contact=frame.reply_to))
    blocks.append(of.machine.format(**names))
    return blocks


def _text(blocks: list[str | list[str]]) -> str:
    lines = [block if isinstance(block, str) else "\n".join(f"- {item}" for item in block) for block in blocks]
    return "\n\n".join(lines) + "\n"


def _html(blocks: list[str | list[str]], language: str) -> str:
    pieces = []
    for block in blocks:
        if isinstance(block, list):
            pieces.append("<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in block) + "</ul>")
        elif block.startswith(("https://", "http://")):
            pieces.append(f'<p><a href="{html.escape(block)}">{html.escape(block)}</a></p>')
        else:
            pieces.append(f"<p>{html.escape(block)}</p>")
    return f'<!doctype html>\n<html lang="{language}"><body>\n' + "\n".join(pieces) + "\n</body></html>\n"
