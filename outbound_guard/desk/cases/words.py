"""How a case writes: times, and texts without personal contact data."""

from __future__ import annotations

import time

from outbound_guard.desk.redaction.redact import redact

LONGEST = 4000
"""Characters of one text that a case keeps."""


def day(seconds: float) -> str:
    """Unix seconds as people at other providers read them: UTC, and saying so."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds)) if seconds else ""


def said(text: str) -> str:
    """A text from outside, or from a person's hand, fit to be kept: redacted, and not endless."""
    # What is far behind the cut need not be looked at; the margin is for what redacting makes shorter.
    return cut(redact(text.strip()[: 4 * LONGEST]))


def cut(text: str) -> str:
    """The text, not endless."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
