"""A tenant's pages lead on by as many lines as they show, and a reason fits where reasons stand."""

from __future__ import annotations

import msgspec
import pytest

from outbound_guard.console.held_second import Refusal
from outbound_guard.console.own import _query, _turned
from outbound_guard.ledger.tenant_queries import OwnSearch


def test_a_page_is_turned_by_as_many_lines_as_it_shows() -> None:
    search = OwnSearch(words="News", limit=10, offset=20)
    assert _turned("/own/held", _query(search), search.offset, 31, search.limit) == {
        "previous": "/own/held?words=News&limit=10&offset=10",
        "next_page": "/own/held?words=News&limit=10&offset=30",
    }
    last = _turned("/own/held", _query(search), search.offset, 30, search.limit)
    assert last["next_page"] == ""
    usual = OwnSearch(words="News", limit=50)
    assert _turned("/own/held", _query(usual), 0, 51)["next_page"] == "/own/held?words=News&offset=50"


def test_a_reason_to_refuse_is_no_longer_than_others() -> None:
    assert msgspec.json.decode(b'{"reason": "%s"}' % (b"x" * 1000), type=Refusal).reason == "x" * 1000
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"reason": "%s"}' % (b"x" * 1001), type=Refusal)
