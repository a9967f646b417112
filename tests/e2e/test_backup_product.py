"""A backup of the product while mail flows, put back elsewhere after everything was lost."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from outbound_guard.state.embedded import socket_path
from tests.flow import Flow
from tests.nexthop import NextHop
from tests.product import LENIENT, Hops, Product, message, until

POLICY = f"""
{LENIENT}
[hold]
wait = 3600.0
[limit]
action = "hold"
[limit.sender]
messages_per_minute = 3
recipients_per_hour = 0
recipients_per_day = 0
[limit.account]
recipients_per_hour = 0
recipients_per_day = 0
"""
BOTH = ["now@there.test", "later@there.test"]


@pytest.mark.long
def test_what_was_backed_up_under_load_comes_back_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        old = Product.made(tmp_path / "old", smarthosts=[hop.address], policy=POLICY)
        with old:
            flow = Flow(hops, old, hop)
            with old.client() as client:
                for number in range(6):
                    client.submit("bulk@limited.test", ["b@there.test"], message(f"bulk {number}"))
                hop.answer("RCPT", "451 4.7.1 not now", when="later@", times=None)
                for number in range(3):
                    said = client.submit("anna@queued.test", BOTH, message(f"queued {number}"))
                    assert said.startswith("250 "), said
            held = until(lambda: found if len(found := {one["id"] for one in old.held()}) == 3 else None, old.held)
            flow.goes_on()
            made = json.loads(old.guard("backup", str(tmp_path / "backup"), "--json"))
            assert (made["ledger"], made["state"], made["notes"]) == (True, True, [])
            assert made["messages"]["held"] == 3
            assert not (old.data / "state" / "dump.rdb").exists()
            flow.goes_on()
            # All of it is delivered now, which the backup does not know.
            hop.forget(when="later@")
            old.guard("held", "release", *sorted(held))
            flow.end()
            until(lambda: _arrived(hop, "queued") == 6 and _arrived(hop, "bulk") == 6, old.said)
            assert "is in use" in old.guard("restore", str(tmp_path / "backup"), code=1)
            known = old.day("queued.test")
        arrived = len(hop.messages)
        shutil.rmtree(old.data)

        new = Product.made(tmp_path / "new", smarthosts=[hop.address], policy=POLICY)
        back = json.loads(new.guard("restore", str(tmp_path / "backup"), "--json"))
        waiting = back["messages"]["held"]
        assert waiting >= 6
        assert (back["messages"]["queue"], back["messages"]["incoming"]) == (0, 0)
        assert "is not empty" in new.guard("restore", str(tmp_path / "backup"), code=1)
        with new:
            shown = until(lambda: found if len(found := new.held()) == waiting else None, new.held)
            assert held < {one["id"] for one in shown}
            # What was decided before is known, and so is how the senders wrote.
            assert new.day("queued.test") == known
            assert _keys(new) > 100, "the counters have come back"
            # The queue has been looked at, and nothing left by itself.
            with new.client() as client:
                client.submit("other@other.test", ["b@there.test"], message("fresh"))
            until(lambda: _arrived(hop, "fresh") == 1, new.said)
            assert len(hop.messages) == arrived + 1
            new.guard("held", "release", sorted(held)[0])
            until(lambda: _arrived(hop, "bulk") == 7, new.said)


def _keys(product: Product) -> int:
    """How many keys the embedded server has."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(60)
        asking.connect(str(socket_path(product.data)))
        asking.sendall(b"DBSIZE\r\n")
        return int(asking.recv(100).strip(b":\r\n"))


def _arrived(hop: NextHop, subject: str) -> int:
    return sum(f"Subject: {subject}".encode() in one.content for one in hop.messages)
