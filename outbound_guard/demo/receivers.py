"""The world as the demo plays it: who exists, whose mailbox is full, what is refused, who complains. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

from outbound_guard.demo.attacks import TRAP
from outbound_guard.demo.provider import PROVIDER
from outbound_guard.reply import Reply

REPORTS = f"fbl@{PROVIDER}"
"""Where complaints go to."""
_SPAM = re.compile(rb"https?://[\w.-]*(?:mailbox-confirm|claim-prize|pills-online|pay-invoice|easy-trading)\.example")


def to_recipient(recipient: str, source: str, listed: Collection[str]) -> Reply:
    """What the receiver of an address says to RCPT, asked from `source`; `listed`: our addresses that a list has."""
    local, _, domain = recipient.lower().rpartition("@")
    if source in listed and domain in ("bigmail.example", "office-cloud.example"):
        zone = "traps.lists.example"
        return Reply(554, "5.7.1", f"Service unavailable; Client host [{source}] blocked using {zone}")
    chance = _chance(recipient)
    if local.startswith("gone.") or (chance < 8 and not local.startswith((TRAP, "reader."))):
        return Reply(550, "5.1.1", f"<{recipient}>: Recipient address rejected: User unknown in virtual mailbox table")
    if chance >= 965:
        return Reply(452, "4.2.2", f"<{recipient}>: mailbox is full, try again later")
    return Reply(250, "2.1.5", "Ok")


def to_content(recipient: str, content: bytes) -> Reply:
    """What its receiver says to the whole message."""
    name = hashlib.sha256(content[-200:] + recipient.encode()).hexdigest()[:10].upper()
    if is_spam(content) and recipient.endswith(("@bigmail.example", "@office-cloud.example")):
        return Reply(550, "5.7.1", "Message rejected: its content looks like spam")
    return Reply(250, "2.0.0", f"Ok: queued as {name}")


def is_spam(content: bytes) -> bool:
    """True for the texts of the attacks, as people see it."""
    # The attacks write plain ASCII, so nothing has to be decoded.
    return _SPAM.search(content) is not None


def is_trap(recipient: str) -> bool:
    """True for an address that nobody has ever given to anybody."""
    return recipient.startswith(TRAP)


def complains(recipient: str, content: bytes) -> str:
    """What whoever reads this tells its provider (RFC 5965 7.3): abuse, opt-out (of a newsletter), or nothing."""
    chance = _chance(recipient)
    if is_spam(content):
        return "abuse" if recipient.startswith("reader.") and chance % 2 == 0 else ""
    header = content.partition(b"\r\n\r\n")[0]
    return "opt-out" if b" <news@" in header and chance % 60 == 0 else ""


def complaint(type_: str, recipient: str, content: bytes) -> bytes:
    """A report of this type as a feedback loop sends it (RFC 5965), with the header section of our message."""
    header = content.partition(b"\r\n\r\n")[0]
    source = recipient.rpartition("@")[2]
    lines = (
        f"From: <feedback@{source}>\r\nTo: <{REPORTS}>\r\nSubject: FW: a complaint\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b1"\r\n\r\n'
        "--b1\r\nContent-Type: text/plain\r\n\r\nA recipient has called this message unwanted.\r\n"
        "--b1\r\nContent-Type: message/feedback-report\r\n\r\n"
        f"Feedback-Type: {type_}\r\nUser-Agent: {source}/1.0\r\nVersion: 1\r\nOriginal-Rcpt-To: <{recipient}>\r\n\r\n"
        "--b1\r\nContent-Type: text/rfc822-headers\r\n\r\n"
    )
    return lines.encode() + header + b"\r\n\r\n--b1--\r\n"


def _chance(recipient: str) -> int:
    """0 to 999, always the same for an address."""
    return int.from_bytes(hashlib.sha256(recipient.lower().encode()).digest()[:4], "big") % 1000
