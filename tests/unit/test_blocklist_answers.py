"""What counts as a listing: the battery of answers that are none."""

from __future__ import annotations

import pytest

from outbound_guard.blocklist.answers import meaning_of
from outbound_guard.blocklist.lists import Code, Dnsbl, lists_of
from outbound_guard.config import Config

PLAIN = Dnsbl(zone="list.test")
NAMED = Dnsbl(zone="list.test", codes={"127.0.0.2": "spam", "127.0.0.4/31": "bots"}, errors={"127.0.0.9": "no key"})
BITS = Dnsbl(zone="list.test", kind="domain", codes={"&8": "phishing", "&64": "spam"})


@pytest.mark.parametrize(
    ("dnsbl", "answer", "reason"),
    [
        (PLAIN, ["127.0.0.2"], "listed"),
        (PLAIN, ["127.3.4.5"], "listed"),
        (NAMED, ["127.0.0.2"], "spam"),
        (NAMED, ["127.0.0.5", "127.0.0.2"], "bots, spam"),
        (NAMED, ["127.0.0.2", "127.0.0.77"], "spam"),
        (BITS, ["127.0.0.8"], "phishing"),
        (BITS, ["127.0.0.74"], "phishing, spam"),
    ],
)
def test_listings(dnsbl: Dnsbl, answer: list[str], reason: str) -> None:
    meaning = meaning_of(dnsbl, answer)
    assert (meaning.state, meaning.reason, meaning.refused) == ("listed", reason, False)


@pytest.mark.parametrize(
    ("dnsbl", "answer"),
    [
        (PLAIN, ["127.255.255.252"]),
        (PLAIN, ["127.255.255.254"]),
        (PLAIN, ["127.255.255.255"]),
        (PLAIN, ["127.255.255.1"]),
        (PLAIN, ["127.0.0.1"]),
        (PLAIN, ["10.0.0.1"]),
        (PLAIN, ["0.0.0.0"]),
        (PLAIN, ["198.51.100.80", "127.0.0.2"]),
        (PLAIN, ["127.0.0.2", "127.255.255.254"]),
        (PLAIN, ["128.0.0.2"]),
        (PLAIN, ["126.255.255.255"]),
        (PLAIN, ["nonsense"]),
        (NAMED, ["127.0.0.9"]),
        (NAMED, ["127.0.0.77"]),
        (BITS, ["127.0.0.1"]),
        (BITS, ["127.0.0.2"]),
        (BITS, ["127.0.1.8"]),
        (Dnsbl(zone="list.test", codes={"127.0.0.1": "never a listing"}), ["127.0.0.1"]),
    ],
)
def test_what_is_no_listing_is_unknown_and_shows_the_answer(dnsbl: Dnsbl, answer: list[str]) -> None:
    meaning = meaning_of(dnsbl, answer)
    assert meaning.state == "unknown"
    assert any(address in meaning.reason for address in answer)


def test_no_answer_is_clean() -> None:
    assert meaning_of(NAMED, ()).state == "clean"


def test_a_code_may_have_a_scope_and_weight_of_its_own() -> None:
    dnsbl = Dnsbl(
        zone="list.test",
        weight=3.0,
        codes={"127.0.0.2": "spam", "127.0.0.10": Code(meaning="policy", scope="range", weight=0.5)},
    )
    policy, both = meaning_of(dnsbl, ["127.0.0.10"]), meaning_of(dnsbl, ["127.0.0.10", "127.0.0.2"])
    assert (policy.scope, policy.weight) == ("range", 0.5)
    # What is about the address itself says more than what is about its neighbourhood.
    assert (both.scope, both.weight) == ("address", 3.0)


def test_no_packaged_list_takes_an_error_for_a_listing() -> None:
    for dnsbl in lists_of(Config()).lists:
        for answer in ("127.255.255.252", "127.255.255.254", "127.255.255.255", "127.0.0.1", "192.0.2.1"):
            assert meaning_of(dnsbl, [answer]).state == "unknown", (dnsbl.zone, answer)
