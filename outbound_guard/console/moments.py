"""Points in time as people and programs write them into a query."""

from __future__ import annotations

import datetime
import re

from litestar.exceptions import ValidationException

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def moment_of(text: str, now: float) -> float:
    """Unix seconds from unix seconds, a date or time (`2026-12-31T18:00`, local unless it names a zone), or a duration
    (`7d`: so long ago); 0 for an empty text. Raises ValidationException (400)."""
    text = text.strip()
    if not text:
        return 0.0
    if ago := re.fullmatch(r"(\d{1,6})([smhdw])", text):
        return max(0.0, now - float(ago[1]) * _UNITS[ago[2]])
    try:
        if re.fullmatch(r"\d{1,11}(\.\d{1,9})?", text):
            return float(text)
        if not re.match(r"\d{4}-\d{2}-\d{2}", text):
            # There are shorter forms, which more often are a slip.
            raise ValueError
        time = max(0.0, datetime.datetime.fromisoformat(text).timestamp())
        # With a zone it can lie beyond the year 9999 of our own; then no page could show it.
        datetime.datetime.fromtimestamp(time)
        return time
    except (ValueError, OverflowError, OSError):
        raise ValidationException(f"{text[:50]!r} is no time: a date, 2026-12-31T18:00, 7d or unix seconds") from None


def field_of(time: float) -> str:
    """A moment for a field of type datetime-local, to the minute; empty for 0."""
    return datetime.datetime.fromtimestamp(time).isoformat(timespec="minutes") if time else ""
