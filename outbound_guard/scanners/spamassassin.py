"""SpamAssassin's spamd, by its SPAMC/SPAMD protocol (its file `spamd/PROTOCOL`)."""

from __future__ import annotations

import re

from outbound_guard.config import Scanner
from outbound_guard.content import Message
from outbound_guard.mail import Submission
from outbound_guard.scanners.opinion import Nonsense, Said
from outbound_guard.scanners.wire import exchange, one_line

_STATUS = re.compile(rb"SPAMD/\d+\.\d+ 0 ")
_SPAM = re.compile(rb"^Spam: (True|False|Yes|No) ; (-?[\d.]{1,12}) / (-?[\d.]{1,12})\r?$", re.M | re.I)


async def ask(scanner: Scanner, submission: Submission, message: Message) -> Said:
    """Spam or not, with its score and the names of the rules that matched."""
    head = b"SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n\r\n" % len(submission.content)
    return read(await exchange(scanner.address, head, submission.content))


def read(answer: bytes) -> Said:
    """Read the answer. Raises Nonsense."""
    head, _, symbols = answer.partition(b"\r\n\r\n")
    found = _SPAM.search(head)
    if not _STATUS.match(head) or not found:
        raise Nonsense(one_line(answer[:200].decode("latin-1")) or "nothing")
    words = f"{found[2].decode()} of {found[3].decode()}, {symbols.decode('latin-1').strip().replace(',', ', ')}"
    return "spam" if found[1].lower() in (b"true", b"yes") else "clean", one_line(words).rstrip(", ")
