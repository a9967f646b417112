"""Delivery status notifications: the letter that tells a sender what became of a message (RFC 3461-3464, 6533)."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from email.utils import formatdate

import msgspec

from outbound_guard.delivery.replies import UNPRINTABLE
from outbound_guard.mail import Envelope
from outbound_guard.reply import Reply
from outbound_guard.spool import Failure

_LONGEST_LINE = 900
"""RFC 5322 2.1.1 allows 998 octets; a name and a word go in front of some values."""
_LONGEST_HEADER = 65_536
_LONGEST_RETURNED = 1_048_576
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


class Kind(msgspec.Struct, frozen=True):
    """What a report tells."""

    action: str
    """RFC 3464 2.3.3."""
    subject: str
    text: str
    classes: str
    """First digits that the status may have; else it is the general one of the reply's class."""


FAILED = Kind(
    "failed",
    "Your message could not be delivered",
    "Your message could not be delivered to the recipients below. It will not be tried again.",
    "45",
)
DELAYED = Kind(
    "delayed",
    "Your message is delayed",
    "Your message could not be delivered to the recipients below yet. You need not send it again:\r\n"
    "it will be tried until",
    "4",
)
RELAYED = Kind(
    "relayed",
    "Your message was passed on",
    "Your message was taken by the next mail system for the recipients below. That one does not report when it is\r\n"
    "delivered, so nothing more will be said unless it fails.",
    "2",
)


def report(
    id_: str,
    now: float,
    hostname: str,
    to: str,
    failures: Sequence[Failure],
    original: bytes,
    received: float,
    *,
    original_id: str = "",
    utf8: bool = False,
    envelope: Envelope | None = None,
    kind: Kind = FAILED,
    until: float = 0.0,
) -> bytes:
    """A multipart/report (RFC 3462) about `failures` as octets with CRLF line ends.

    `original` is the message it is about (its header section is returned, and its body only if it failed and
    `envelope`, the one it came with, asks for it), `received` when it came in, `now` the time of the report (unix
    seconds), `original_id` our id of it. Of a `kind` DELAYED or RELAYED the `failures` are those recipients, and
    `until` is when a delayed message is given up (unix seconds). With `utf8` the forms of RFC 6533 are used. Only `to`
    can bring octets above 127 into the letter; everything else is encoded. No value can add a line: control characters
    become spaces.
    """
    asked = envelope or Envelope("", ())
    head = (
        f"From: Mail Delivery System <mailer-daemon@{_clean(hostname)}>\r\n"
        f"To: <{_clean(to)}>\r\n"
        f"Subject: {kind.subject}\r\n"
        f"Date: {formatdate(now)}\r\n"
        f"Message-ID: <{_clean(id_)}@{_clean(hostname)}>\r\n"
        # RFC 3834 5.2: answers to this letter would help nobody.
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
    )
    headers = _header_section(original)
    status = _status(now, hostname, failures, received, original_id, utf8, asked, kind, until).encode()
    if utf8:
        # RFC 6533 3 and 6: the types whose values may be UTF-8.
        types = ("message/global-delivery-status", "message/global-headers")
    else:
        types = ("message/delivery-status", "text/rfc822-headers")
    # RFC 3461 4.3: what RET asks for is about failures alone.
    whole = asked.ret == "FULL" and kind is FAILED and _may_return(original)
    parts = (
        _part("text/plain; charset=utf-8", _text(hostname, failures, kind, until).encode()),
        _part(types[0], status),
        _whole(original, utf8) if whole else _part(types[1], headers),
    )
    body = b"".join(parts)
    boundary = f"=_{_clean(id_)}"
    while boundary.encode() in body:
        boundary += "_"
    head += f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"\r\n\r\n'
    line = b"--" + boundary.encode()
    pieces = [head.encode(), *(line + b"\r\n" + part + b"\r\n" for part in parts), line + b"--\r\n"]
    return b"".join(pieces)


def _text(hostname: str, failures: Sequence[Failure], kind: Kind, until: float) -> str:
    text = f"{kind.text} {formatdate(until)}." if kind is DELAYED else kind.text
    lines = [f"This is the mail system at {_clean(hostname)}.", "", text, ""]
    for failure in failures:
        by = f" (said by {_clean(failure.peer)})" if failure.peer else ""
        lines += [f"<{_clean(failure.recipient)}>", f"    {_clean(str(failure.reply))}{by}", ""]
    return "\r\n".join([*lines, ""])


def _status(
    now: float,
    hostname: str,
    failures: Sequence[Failure],
    received: float,
    original_id: str,
    utf8: bool,
    asked: Envelope,
    kind: Kind,
    until: float,
) -> str:
    """The fields of RFC 3464 2: one block for the message, one for each recipient, divided by empty lines."""
    blocks = [[f"Reporting-MTA: dns; {_clean(hostname)}", f"Arrival-Date: {formatdate(received)}"]]
    if asked.envid:
        # RFC 3464 2.2.1: without its encoding.
        blocks[0].insert(0, f"Original-Envelope-Id: {_clean(_decoded(asked.envid))}")
    if original_id:
        blocks[0].append(f"X-Outbound-Guard-Id: {_clean(original_id)}")
    for failure in failures:
        diagnostic = _clean(str(failure.reply))
        if not utf8:
            diagnostic = diagnostic.encode("ascii", "backslashreplace").decode()[:_LONGEST_LINE]
        of_it = asked.asked.get(failure.recipient)
        block = [f"Original-Recipient: {_original_recipient(of_it.orcpt, utf8)}"] if of_it and of_it.orcpt else []
        block += [
            f"Final-Recipient: {_address(failure.recipient, utf8)}",
            f"Action: {kind.action}",
            f"Status: {_status_code(failure.reply, kind)}",
        ]
        if failure.peer:
            block.append(f"Remote-MTA: dns; {_host(failure.peer)}")
        block.append(f"Diagnostic-Code: smtp; {diagnostic}")
        block.append(f"Last-Attempt-Date: {formatdate(failure.at or now)}")
        if kind is DELAYED:
            block.append(f"Will-Retry-Until: {formatdate(until)}")
        blocks.append(block)
    return "\r\n".join("".join(f"{line}\r\n" for line in block) for block in blocks)


def _status_code(reply: Reply, kind: Kind) -> str:
    """RFC 3463: the reply's own enhanced code, if one of that class can be said, else the general one of its class."""
    if _STATUS.fullmatch(reply.enhanced) and reply.enhanced[0] in kind.classes:
        return reply.enhanced
    return f"{kind.classes}.0.0" if len(kind.classes) == 1 else "4.0.0" if reply.temporary else "5.0.0"


def _address(address: str, utf8: bool) -> str:
    clean = _clean(address)
    if clean.isascii():
        return f"rfc822; {clean}"
    if utf8:
        return f"utf-8; {clean}"
    # RFC 6533 3, utf-8-addr-xtext: characters above 127 as \x{HEX}, and so is the backslash.
    coded = "".join(c if c.isascii() and c != "\\" else f"\\x{{{ord(c):X}}}" for c in clean)
    return f"utf-8; {coded}"


def _original_recipient(orcpt: str, utf8: bool) -> str:
    """RFC 3464 2.3.1: as the client has given it, without its encoding."""
    kind, _, address = orcpt.partition(";")
    clean = _clean(_decoded(address))
    if not clean.isascii():
        return _address(clean, utf8)
    return f"{_clean(kind)}; {clean}"


def _decoded(xtext: str) -> str:
    """RFC 3461 4: `+` and two hexadecimal digits are one octet."""
    return re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), xtext)


def _may_return(original: bytes) -> bool:
    """True if the whole message can be put into the report as it is: short, and in seven bits.

    RFC 2046 5.2.1 forbids to encode it, and nothing says that who gets the report takes eight bits. Else its header
    section is returned, as RFC 3461 5.2.8 allows.
    """
    # The length first: to cut 45 MB into lines would take half a second, and ten times that in memory.
    if len(original) > _LONGEST_RETURNED or not original.isascii():
        return False
    return max(map(len, original.split(b"\r\n"))) <= 998


def _whole(original: bytes, utf8: bool) -> bytes:
    kind = "message/global" if utf8 else "message/rfc822"
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: 7bit\r\n\r\n".encode() + original + b"\r\n"


def _host(peer: str) -> str:
    """`host:port` without the port; an address goes into brackets (RFC 5321 4.1.3)."""
    host, _, _ = _clean(peer).rpartition(":")
    host = (host or _clean(peer)).strip("[]")
    if ":" in host:
        return f"[IPv6:{host}]"
    return f"[{host}]" if host.replace(".", "").isdigit() else host


def _clean(text: str) -> str:
    """One line of bounded length without control characters, and without lone surrogates."""
    one_line = text[:_LONGEST_LINE].translate(UNPRINTABLE)
    return one_line.encode("utf-8", "replace")[:_LONGEST_LINE].decode("utf-8", "ignore")


def _header_section(content: bytes) -> bytes:
    head, _, _ = content[:_LONGEST_HEADER].partition(b"\r\n\r\n")
    return head + b"\r\n"


def _part(kind: str, data: bytes) -> bytes:
    """A body part, seven bits wide whatever is in it."""
    lines = data.split(b"\r\n")
    simple = data.isascii() and not any(len(line) > 990 or b"\r" in line or b"\n" in line for line in lines)
    if simple and b"\0" not in data:
        encoding, body = "7bit", data
    else:
        encoding = "quoted-printable"
        coded = (binascii.b2a_qp(line, istext=False).replace(b"\n", b"\r\n") for line in lines)
        body = b"\r\n".join(coded)
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body
