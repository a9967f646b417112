"""A mailing of one customer waits in the queue for a slow next hop, and another customer sends a single letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.product import Hops, Product, message, until

BULK = 200


@pytest.mark.long
def test_anothers_single_message_goes_out_among_the_first_once_the_next_hop_is_back(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        product = Product.made(tmp_path / "fair", smarthosts=[hop.address], relays=1)
        # Nobody would come again by itself in the time that this test takes.
        product.config.write_text(product.config.read_text().replace("retry = [1, 1, 2]", "retry = [1, 3600]"))
        hop.answer(".", "250 2.0.0 Ok: queued as SLOW", times=None, delay=0.05)
        with product:
            with hops.away(hop), product.client() as client:
                for number in range(BULK):
                    said = client.submit("news@bulk.test", [f"r{number}@there.test"], message(f"news {number}"))
                    assert said.startswith("250 2.0.0 Ok: queued as"), said
                said = client.submit("anna@single.test", ["r@there.test"], message("a letter"))
                assert said.startswith("250 2.0.0 Ok: queued as"), said
                queue = product.data / "spool" / "queue"
                until(lambda: len(list(queue.iterdir())) == BULK + 1, "all are in the queue")
            until(lambda: len(hop.messages) == BULK + 1, lambda: (len(hop.messages), product.said()), 60.0)
            order = [one.mail_from for one in hop.messages]
            assert order.index("anna@single.test") < BULK // 4
            assert sorted(one.recipients[0] for one in hop.messages) == sorted(
                ["r@there.test", *(f"r{number}@there.test" for number in range(BULK))]
            )
            until(lambda: not list(queue.iterdir()), "nothing is left")
