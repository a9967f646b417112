"""What is known of a listing over time, and which changes are worth a line in the history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from outbound_guard.blocklist.keeping import put
from outbound_guard.blocklist.listing import Listing, listing_of
from outbound_guard.ledger import listing_queries as queries
from outbound_guard.ledger.database import Ledger, url_of

IP, ZONE = "192.0.2.7", "list.test"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(url_of("embedded", tmp_path), writer=True)
    ledger.migrate()
    yield ledger
    ledger.close()


def said(state: str, *codes: str, subject: str = IP, zone: str = ZONE, weight: float = 2.0) -> Listing:
    return Listing(subject=subject, zone=zone, state=state, codes=codes, reason=f"it is {state}", weight=weight)


def states(ledger: Ledger) -> list[str]:
    return [row["state"] for row in queries.history_since(ledger, 0)]


def known(ledger: Ledger) -> tuple[object, ...]:
    (row,) = queries.listings(ledger, subjects=[IP])
    return tuple(row[name] for name in ("state", "known", "first_seen", "last_seen", "clean_since", "checked"))


def test_an_answer_that_was_overtaken_changes_nothing(ledger: Ledger) -> None:
    # The round asked, then a refusal led to a question at once, and the round hands over what it had.
    late = msgspec.structs.replace(said("clean"), last_seen=1990.0)
    put(ledger, [said("listed", "127.0.0.2")], 2000.0)
    assert put(ledger, [late], 2005.0) == []
    assert known(ledger)[:2] == ("listed", "listed")
    # After the clock was set back, what is known comes from the future, and the answer is new.
    assert len(put(ledger, [late], 1995.0)) == 1


def test_the_life_of_a_listing(ledger: Ledger) -> None:
    assert put(ledger, [said("clean")], 1000.0) == []
    assert known(ledger) == ("clean", "clean", 1000.0, 1000.0, 0.0, 1000.0)

    (change,) = put(ledger, [said("listed", "127.0.0.2")], 2000.0)
    assert (change["subject"], change["zone"], change["state"], change["codes"]) == (IP, ZONE, "listed", "127.0.0.2")
    assert put(ledger, [said("listed", "127.0.0.2")], 3000.0) == []
    assert known(ledger) == ("listed", "listed", 2000.0, 3000.0, 0.0, 3000.0)

    # Another code is news of the same listing.
    assert len(put(ledger, [said("listed", "127.0.0.4", "127.0.0.2")], 4000.0)) == 1
    assert known(ledger)[2] == 2000.0

    # An answer that does not count ends nothing; that nothing is known is said once.
    assert len(put(ledger, [said("unknown", "127.255.255.254", weight=9.0)], 5000.0)) == 1
    assert put(ledger, [said("unknown")], 6000.0) == []
    assert known(ledger) == ("unknown", "listed", 2000.0, 4000.0, 0.0, 6000.0)
    assert queries.listings(ledger, subjects=[IP])[0]["weight"] == 2.0

    assert len(put(ledger, [said("clean")], 7000.0)) == 1
    assert known(ledger) == ("clean", "clean", 7000.0, 7000.0, 7000.0, 7000.0)
    assert put(ledger, [said("unknown")], 8000.0) == []
    assert put(ledger, [said("clean")], 9000.0) == []
    assert known(ledger) == ("clean", "clean", 7000.0, 9000.0, 7000.0, 9000.0)

    assert len(put(ledger, [said("listed", "127.0.0.2")], 9500.0)) == 1
    assert states(ledger) == ["listed", "listed", "unknown", "clean", "listed"]


def test_unknown_from_the_beginning(ledger: Ledger) -> None:
    assert put(ledger, [said("unknown", "10.0.0.1")], 1000.0) == []
    assert known(ledger) == ("unknown", "", 0.0, 0.0, 0.0, 1000.0)
    row = queries.listings(ledger)[0]
    assert listing_of(row) == Listing(
        subject=IP, zone=ZONE, state="unknown", codes=("10.0.0.1",), reason="it is unknown", weight=2.0
    )
    assert len(put(ledger, [said("listed", "127.0.0.2")], 2000.0)) == 1
    assert known(ledger)[:3] == ("listed", "listed", 2000.0)


def test_history_is_followed_by_its_serial(ledger: Ledger) -> None:
    put(ledger, [said("listed", "127.0.0.2")], 1000.0)
    put(ledger, [said("clean")], 2000.0)
    first, second = queries.history_since(ledger, 0)
    assert [(first["state"], first["time"]), (second["state"], second["time"])] == [("listed", 1000), ("clean", 2000)]
    assert queries.history_since(ledger, first["serial"]) == [second]
    assert queries.history_since(ledger, 0, limit=1) == [first]
    assert queries.history_of(ledger, IP) == [second, first]
    assert queries.history_of(ledger, "192.0.2.1") == []


def test_what_is_not_watched_any_more_is_forgotten_and_its_listing_remembered(ledger: Ledger) -> None:
    put(ledger, [said("listed", "127.0.0.2"), said("clean", subject="192.0.2.8")], 1000.0)
    put(ledger, [said("clean", zone="gone.test")], 1000.0)
    queries.forget_others(ledger, [IP, "192.0.2.8"], [ZONE], 2000.0)
    assert {(row["subject"], row["zone"]) for row in queries.listings(ledger)} == {(IP, ZONE), ("192.0.2.8", ZONE)}
    queries.forget_others(ledger, [], [ZONE], 3000.0)
    assert queries.listings(ledger) == []
    last = queries.history_since(ledger, 0)[-1]
    assert (last["subject"], last["state"], last["reason"]) == (IP, "unknown", "not watched any more")


def test_which_addresses_rest_is_read_when_it_has_changed(ledger: Ledger) -> None:
    assert queries.resting(ledger, -1) == (0, {})
    row = {"pool": "p", "since": 1.0, "reason": ""}
    rows = [row | {"address": "192.0.2.1", "state": "resting"}, row | {"address": "192.0.2.2", "state": "kept"}]
    queries.put_own_addresses(ledger, rows)
    assert queries.resting(ledger, 0) == (1, {"p": frozenset(["192.0.2.1"])})
    assert queries.resting(ledger, 1) is None
    queries.put_own_addresses(ledger, rows[1:])
    assert queries.resting(ledger, 1) == (2, {})
    assert [r["address"] for r in queries.own_addresses(ledger)] == ["192.0.2.2"]
