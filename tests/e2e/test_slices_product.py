"""A mailing that is held for its volume, in the product: wanted, all of it arrives soon; unwanted, nearly nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.nexthop import NextHop
from tests.product import Hops, Product, message, until

pytestmark = pytest.mark.long

# The same in seconds instead of minutes. Good answers do not lower what volume weighs, so only slices let it go.
POLICY = """
[threshold]
hold = 4.0
quarantine = 60.0
suspend = 90.0
[hold]
wait = 1.0
longest = 3600.0
first_slice = 2
slice_wait = 0.5
[signal.rate]
floor = 20.0
floor_day = 10000.0
steepness = 4.0
proven = 1e9
[signal.content]
mode = "off"
"""
NUMBER, EACH, FREE = 14, 10, 3


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, NextHop]]:
    with Hops() as hops:
        hop = hops.start()
        hop.answer("RCPT", "550 5.1.1 no such user", when="gone", times=None)
        folder = tmp_path_factory.mktemp("slices")
        with Product.made(folder, smarthosts=[hop.address], policy=POLICY, relays=1) as product:
            yield product, hop


def mailing(product: Product, sender: str, reader: str) -> int:
    """A message to ten, fourteen times; `reader` begins the names of those of held mail. How many were held."""
    held = 0
    with product.client() as client:
        for number in range(NUMBER):
            name = reader if number >= FREE else "known"
            to = [f"{name}{number}x{place}@host{place}.test" for place in range(EACH)]
            answer = client.submit(sender, to, message(f"Spring {number}", "The new seeds are here."))
            held += "held for review" in answer
    return held


def reviews(product: Product, sender: str) -> list[dict[str, Any]]:
    return [event for event in product.events("Review") if event["identity"] == sender]


def test_a_wanted_mailing_goes_out_in_slices(serving: tuple[Product, NextHop]) -> None:
    product, hop = serving
    sender = "news@garden.test"
    held = mailing(product, sender, "reader")
    assert held >= NUMBER - FREE - 1

    def arrived() -> list[str]:
        return [to for got in hop.messages if got.mail_from == sender for to in got.recipients]

    until(lambda: len(arrived()) >= NUMBER * EACH, arrived)
    assert sorted(arrived()) == sorted(set(arrived())), "each once"

    def released() -> list[str]:
        return [event["reason"] for event in reviews(product, sender) if event["outcome"] == "released"]

    until(lambda: len(released()) == held, released)
    assert all(reason.startswith("held for its volume alone: ") for reason in released())
    assert any("a few messages go out" in reason for reason in released())
    assert any("20 recipients were let out, and of 20 answers since 20 were good" in reason for reason in released())
    assert any(event["outcome"] == "held" for event in reviews(product, sender)), "not all at once"


def test_of_a_bad_list_the_first_slice_is_all(serving: tuple[Product, NextHop]) -> None:
    product, _ = serving
    sender = "news@bought.test"
    held = mailing(product, sender, "gone")
    assert held >= NUMBER - FREE - 1

    def after() -> set[str]:
        """What was looked at, and not let go, after the first slice was answered."""
        seen = reviews(product, sender)
        answered = [at for at, event in enumerate(seen) if "unknown recipients" in event["reason"]]
        return {event["id"] for event in seen[answered[0] :] if event["outcome"] == "held"} if answered else set()

    until(lambda: len(after()) >= held - 2, lambda: reviews(product, sender))
    out = {event["id"] for event in reviews(product, sender) if event["outcome"] == "released"}
    # One may have gone out before anything was held; its answers do what those of a slice would.
    assert 1 <= len(out) + NUMBER - FREE - held <= 2
    left = [one for one in product.held() if one["sender"] == sender]
    assert len(left) == held - len(out)
