"""Reports of abuse in the form that abuse desks and their programs read (RFC 5965), with a redacted sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

from outbound_guard import __version__
from outbound_guard.content.message import Message
from outbound_guard.ledger.outbox_queries import Told
from outbound_guard.notify.routes import plain
from outbound_guard.notify.writing import Frame

Redact = Callable[[str], str]
"""Takes personal contact data out of a text."""

_FIELDS = ("From", "Subject", "Date", "Message-ID", "Reply-To", "X-Mailer", "User-Agent", "List-ID", "List-Unsubscribe")
"""What of the sample's header is told, redacted. Who it was for is not."""
_LONGEST = 20_000
"""Characters of the sample's text."""
_VALUE = 800
"""Octets of a value, so that its line with its name and what else stands in it is short enough (RFC 5322 2.1.1)."""
_PIECE = 400
"""Octets of a line of the sample's text."""


def report(
    frame: Frame,
    id_: str,
    now: float,
    to: str,
    notices: tuple[Told, ...],
    about: Mapping[str, Any],
    sample: bytes | None,
    redact: Redact,
) -> bytes:
    """A multipart/report of one notice or several, as octets with CRLF line ends.

    `about` is the message as outbox_queries.latest_kept has it, empty if none is known; `sample` its content, if it is
    here. Of the sample's text nothing is told unless the frame says `details`. Everything is 7 bits wide.
    """
    notice = notices[0]
    boundary = f"=_{id_}"
    lines = [
        f"From: {_phrase(frame.organisation)} <{frame.from_address}>",
        f"To: {to}",
        *([f"Reply-To: {frame.reply_to}"] if frame.reply_to else []),
        f"Subject: Report of abuse: {_ascii(notice.sender or notice.account)}",
        f"Date: {formatdate(now)}",
        f"Message-ID: <{id_}@{frame.hostname}>",
        # RFC 3834 5: written by a program.
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: All",
        "MIME-Version: 1.0",
        # RFC 5965 2: the report's type, and three parts.
        f'Content-Type: multipart/report; report-type=feedback-report;\r\n\tboundary="{boundary}"',
    ]
    parts = [
        ("Content-Type: text/plain; charset=us-ascii", _text(frame, notices)),
        ("Content-Type: message/feedback-report", _fields(frame, notices, about)),
        _sample(about, sample, redact, body=frame.details),
    ]
    body = "".join(f"--{boundary}\r\n{kind}\r\n\r\n{text}\r\n" for kind, text in parts)
    return ("\r\n".join(lines) + f"\r\n\r\n{body}--{boundary}--\r\n").encode("ascii", "replace")


def _text(frame: Frame, notices: tuple[Told, ...]) -> str:
    lines = [
        f"This is a report of abuse by the mail filter at {_ascii(frame.hostname)}.",
        "Mail of the sender below was held back or refused there.",
        "",
    ]
    for notice in notices[:50]:
        times = f" ({notice.count} times)" if notice.count > 1 else ""
        lines.append(f"{formatdate(notice.time)}: {notice.kind}, {_ascii(notice.sender or notice.account)}{times}")
    return "\r\n".join([*lines, ""])


def _fields(frame: Frame, notices: tuple[Told, ...], about: Mapping[str, Any]) -> str:
    """RFC 5965 3: fields of the report, each at most once but Reported-Domain."""
    notice = notices[0]
    sender = str(about.get("mail_from") or (notice.sender if "@" in notice.sender else ""))
    lines = [
        "Feedback-Type: abuse",
        f"User-Agent: Outbound-Guard/{__version__}",
        "Version: 1",
    ]
    if sender:
        lines.append(f"Original-Mail-From: <{_ascii(sender)}>")
    lines.append(f"Arrival-Date: {formatdate(float(about.get('received') or notice.time))}")
    lines.append(f"Reporting-MTA: dns; {_ascii(frame.hostname)}")
    if about.get("client_ip"):
        lines.append(f"Source-IP: {_ascii(str(about['client_ip']))}")
    # RFC 5965 3.2: how many messages the report stands for.
    lines.append(f"Incidents: {sum(one.count for one in notices)}")
    if "@" in sender:
        lines.append(f"Reported-Domain: {_ascii(sender.rpartition('@')[2])}")
    return "".join(f"{line}\r\n" for line in lines)


def _sample(about: Mapping[str, Any], sample: bytes | None, redact: Redact, *, body: bool) -> tuple[str, str]:
    """The third part: what is told of the message."""
    lines = []
    message = Message(sample) if sample is not None else None
    if message is not None:
        for name in _FIELDS:
            value = message.headers.get(name.lower())
            if name == "Message-ID":
                value = message.message_id and f"<{message.message_id.strip('<>')}>"
            elif name == "Subject":
                value = message.subject
            if value:
                lines.append(
                    f"{name}: {_ascii(value if name in ('Date', 'Message-ID') else redact(plain(value, 800)))}"
                )
    elif about.get("message_id"):
        lines.append(f"Message-ID: {_ascii(str(about['message_id']))}")
    if message is None or not body:
        return "Content-Type: text/rfc822-headers", "".join(f"{line}\r\n" for line in lines)
    lines += ["MIME-Version: 1.0", "Content-Type: text/plain; charset=us-ascii", ""]
    text = redact(message.text[:_LONGEST])
    lines += [line for paragraph in text.splitlines() for line in _folded(paragraph)]
    return "Content-Type: message/rfc822", "".join(f"{line}\r\n" for line in lines)


def _folded(line: str) -> list[str]:
    """Pieces of a line that are short enough (RFC 5322 2.1.1); none of them can end a part."""
    whole = _ascii(line, _LONGEST * 10)
    pieces = [whole[start : start + _PIECE] for start in range(0, len(whole), _PIECE)] or [""]
    return [f" {piece}" if piece.startswith("--") else piece for piece in pieces]


def _ascii(text: str, longest: int = _VALUE) -> str:
    """One line of ASCII, of so many octets; other characters as their numbers, at most ten octets each."""
    return plain(text, longest).encode("ascii", "backslashreplace").decode()[:longest]


def _phrase(text: str) -> str:
    clean = _ascii(text, 200).replace("\\", " ").replace('"', "'")
    return f'"{clean}"'
