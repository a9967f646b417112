"""A question about more values than a database takes in one statement is asked in portions."""

from __future__ import annotations

from outbound_guard.ledger.portions import PORTION, portions


def test_every_item_is_in_one_portion_in_its_order() -> None:
    items = list(range(2 * PORTION + 1))
    found = list(portions(items))
    assert [len(portion) for portion in found] == [PORTION, PORTION, 1]
    assert [item for portion in found for item in portion] == items
    assert list(portions([])) == []
    assert list(portions("abcde", 2)) == ["ab", "cd", "e"]
