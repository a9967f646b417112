"""PostgreSQL is restarted, and stays away for a while, under load: mail flows on, and nothing is missing afterwards."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest

from tests import postgres
from tests.flow import Flow
from tests.product import Hops, Product, until
from tests.webconsole import signed_in

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
STOLEN = "anna@customer.test"


def test_postgresql_is_restarted_and_stays_away_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.needed()
    monkeypatch.setattr("tests.product.START_SECONDS", 240.0)
    with postgres.Server() as server, Hops() as hops:
        url = server.database()
        hop = hops.start()
        product = Product.made(tmp_path / "guard", smarthosts=[hop.address], more=f'[ledger]\nurl = "{url}"\n')
        text = product.config.read_text().replace("[server]\n", '[server]\nnode = "alpha"\n')
        product.config.write_text(text)
        with product, signed_in(product) as ann:
            flow = Flow(hops, product, hop)
            flow.goes_on()
            for _ in range(3):
                # All connections are cut in the middle of whatever they do.
                server.stop()
                server.start()
                flow.goes_on()
            until(lambda: product.metric("ledger_up") == 1, "the ledger is written again", 60.0)
            server.stop()
            flow.goes_on(200)
            until(lambda: product.metric("ledger_up") == 0, "the metrics say that it is away", 60.0)
            until(lambda: product.metric("ledger_backlog_segments") > 0, "the journal waits", 60.0)
            page = ann.get("/held")
            assert page.status_code == 503
            assert "The ledger cannot be used right now; mail goes on." in page.text
            assert "psycopg" not in page.text
            answer = ann.api("GET", "/held")
            assert (answer.status_code, list(answer.json())) == (503, ["error"])
            flow.goes_on()
            # What a person decides meanwhile by command holds at once: it is told through the state as well.
            with product.client() as client:
                client.ehlo()
                assert client.say(f"MAIL FROM:<{STOLEN}>").startswith("250 ")
                product.guard("account", "suspend", STOLEN, "--sender", "--reason", "stolen password")

                def refused() -> bool:
                    client.say("RSET")
                    return client.say(f"MAIL FROM:<{STOLEN}>").startswith("550 ")

                until(refused, product.said)
            assert product.metric("ledger_up") == 0
            server.start()
            began = time.monotonic()
            until(lambda: product.metric("ledger_up") == 1, "the ledger is written again", 60.0)
            flow.goes_on()
            answered = flow.end()
            until(lambda: product.metric("ledger_backlog_segments") == 0, "the journal is in the ledger", 60.0)
            assert ann.get("/held").status_code == 200
            with psycopg.connect(url) as connection:

                def decisions() -> int:
                    (number,) = connection.execute("SELECT count(*) FROM decision").fetchone() or ()
                    return int(number)

                # Each of them, and each once.
                until(lambda: decisions() >= len(answered), lambda: (decisions(), len(answered)))
                assert decisions() == len(answered)
                (counted,) = connection.execute("SELECT sum(messages) FROM traffic WHERE account = ''").fetchone() or ()
                assert counted == len(answered)
            assert product.metric("ledger_rejected_total") == 0
            print(f"{len(answered)} messages, in the ledger {time.monotonic() - began:.1f} s after it was back")
