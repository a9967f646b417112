"""Output for people. What strangers wrote (subjects, addresses) must not reach a terminal as it is."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

# Control characters, formatting (bidirectional overrides, zero width), surrogates, private use, line separators.
_HARMFUL = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_WIDEST = 48


def harmless(text: str) -> str:
    """The text with everything that a terminal would obey, or that cannot be seen, written as `\\x1b` or `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(letter) if unicodedata.category(letter) in _HARMFUL else letter for letter in text)


def print_json(value: Any) -> None:
    """One line of JSON. It is ASCII, since a terminal may be reading."""
    # DEL is the only harmful character that json leaves as it is; it can stand only inside a string.
    print(json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f"))


def print_table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as they need to be, long cells cut; numbers to the right."""
    cells = [[_cut(harmless(str(cell))) for cell in row] for row in rows]
    numbers = [all(_is_number(row[at]) for row in cells) for at in range(len(heading))]
    widths = [max(_width(row[at]) for row in [list(heading), *cells]) for at in range(len(heading))]
    for row in [list(heading), *cells]:
        line = ""
        for cell, wide, number in zip(row, widths, numbers, strict=True):
            space = " " * (wide - _width(cell))
            line += (space + cell if number else cell + space) + "  "
        print(line.rstrip())


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """One line a field, the names in a column; fields without a value are left out."""
    shown = [(name, harmless(str(value))) for name, value in fields if value not in ("", None, (), [], {})]
    wide = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name + ':':<{wide + 1}} {value}")


def when(seconds: float) -> str:
    """Unix seconds as local time; empty for 0."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def some(texts: Sequence[str], shown: int = 2) -> str:
    """The first of several, and how many more there are."""
    more = len(texts) - shown
    return ", ".join(texts[:shown]) + (f" and {more} more" if more > 0 else "")


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _cut(text: str) -> str:
    if _width(text) <= _WIDEST:
        return text
    wide = 0
    for at, letter in enumerate(text):
        wide += _width(letter)
        if wide >= _WIDEST:
            return text[:at] + "…"
    return text


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()
