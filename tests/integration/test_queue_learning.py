"""Answers to queued mail are learned as those that come at once: together, and as far as recipients are new."""

from __future__ import annotations

from pathlib import Path

from tests.integration.test_feedback_product import portrait, suspicion
from tests.product import Hops, Product, message, until

UNKNOWN = "550 5.1.1 no such user"


def test_a_few_unknown_recipients_among_many_that_are_reached_are_no_bought_list(tmp_path: Path) -> None:
    people = [f"reader{number}@there.test" for number in range(37)] + [
        f"gone{number}@there.test" for number in range(3)
    ]
    with Hops() as hops, Product.made(tmp_path, smarthosts=[(hop := hops.start()).address]) as product:
        hop.answer("RCPT", UNKNOWN, when="gone", times=None)
        with hops.away(hop), product.client() as client:
            assert client.submit("anna@a.test", people, message("the first issue")).startswith("250 ")
        until(lambda: portrait(product, "a.test", "anna@a.test").profile.reached, "the answers were learned")
        profile = portrait(product, "a.test", "anna@a.test").profile
        assert (round(profile.reached), round(profile.unknown_user)) == (37, 3)
        assert suspicion(product) < 0.5
        # The same to those who are known by now says nothing of the list.
        with hops.away(hop), product.client() as client:
            assert client.submit("anna@a.test", people[:37], message("the second issue")).startswith("250 ")
        until(lambda: portrait(product, "a.test", "anna@a.test").profile.delivered > 73, "and those of the second")
        assert round(portrait(product, "a.test", "anna@a.test").profile.reached) == 37
