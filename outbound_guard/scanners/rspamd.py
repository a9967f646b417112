"""rspamd, by HTTP: POST /checkv2 to its normal worker."""

from __future__ import annotations

import json
import math
from typing import Any

from outbound_guard.config import Scanner
from outbound_guard.content import Message
from outbound_guard.mail import Submission
from outbound_guard.scanners.opinion import Nonsense, Said
from outbound_guard.scanners.wire import exchange, one_line

_RECIPIENTS = 50
"""So many are named; more do not change what it thinks."""
_SPAM = ("reject", "add header", "rewrite subject", "quarantine", "discard")
_OTHER = ("no action", "greylist", "soft reject")
"""What it would like to see again later is not yet called spam."""
_SYMBOLS = 4


async def ask(scanner: Scanner, submission: Submission, message: Message) -> Said:
    """Its action: spam from "add header" upwards."""
    fields = [("From", submission.envelope.mail_from), ("Queue-Id", submission.id)]
    fields += [("Rcpt", recipient) for recipient in submission.envelope.recipients[:_RECIPIENTS]]
    # A name here tells it that this is mail of one's own users, to which other rules apply. Who exactly it is stays
    # with us, and the client's address too: no list of bad addresses has anything to say about a customer's own.
    fields.append(("User", "outbound"))
    head = "".join([f"{name}: {one_line(value, 1000)}\r\n" for name, value in fields])
    # The answer to an HTTP/1.0 request is not chunked and ends with the connection (RFC 9112 6.1, 9.3).
    request = f"POST /checkv2 HTTP/1.0\r\nContent-Length: {len(submission.content)}\r\n{head}\r\n"
    return read(await exchange(scanner.address, request.encode(), submission.content))


def read(answer: bytes) -> Said:
    """Read the answer. Raises Nonsense."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].split(b" ")
    if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or status[1] != b"200":
        raise Nonsense(one_line(answer[:200].decode("latin-1")) or "nothing")
    try:
        said = json.loads(body)
        action, score, required = said["action"], _number(said["score"]), _number(said["required_score"])
        symbols = {str(name): _number(symbol.get("score", 0.0)) for name, symbol in said.get("symbols", {}).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Nonsense(f"{type(error).__name__} in its JSON") from error
    if action not in _SPAM and action not in _OTHER:
        raise Nonsense(one_line(f"action {action!r}"))
    strongest = sorted(symbols, key=lambda name: -symbols[name])[:_SYMBOLS]
    words = f"{action}, {score:.1f} of {required:.1f}{', ' if strongest else ''}{', '.join(strongest)}"
    return "spam" if action in _SPAM else "clean", one_line(words)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number
