"""Points in time as people type them."""

from __future__ import annotations

import argparse
import datetime
import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(text: str) -> float:
    """Seconds from `90s`, `15m`, `2h`, `7d` or `4w`. For argparse."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 15m, 2h or 7d")
    return float(found[1]) * _UNITS[found[2]]


def moment(text: str) -> float:
    """Unix seconds from a local date or time such as `2026-12-31` or `2026-12-31T18:00`. For argparse."""
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date or time such as 2026-12-31 or 2026-12-31T18:00"
        ) from None
