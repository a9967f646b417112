"""Long lists in portions: a database takes a limited number of values in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

PORTION = 500
"""Values in one statement, rows in one reading. SQLite takes 999 values on old builds, PostgreSQL 65,535."""
Item = TypeVar("Item")


def portions(items: Sequence[Item], size: int = PORTION) -> Iterator[Sequence[Item]]:
    """The items in their order, `size` at a time; the last portion has what is left, and no items make no portion."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
