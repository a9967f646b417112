"""The log of a next hop, and its records, tell what became of each recipient after our next hop had taken the mail."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_feedback_product import found, portrait
from tests.nexthop import NextHop
from tests.product import Hops, Product, message, until

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
]  # Whole products are started; on a busy machine that takes a while.


@pytest.fixture
def hops() -> Any:
    with Hops() as hops:
        yield hops


class PostfixLog:
    """The mail log of a next hop, as Postfix writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def line(self, text: str, *, end: str = "\n") -> None:
        stamp = time.strftime("%b %e %H:%M:%S")
        with self.path.open("a") as file:
            file.write(f"{stamp} out1 postfix/{text}{end}")

    def result(self, queue_id: str, to: str, dsn: str, status: str, said: str) -> None:
        relay = "mx.there.test[198.51.100.9]:25"
        self.line(
            f"smtp[9]: {queue_id}: to=<{to}>, relay={relay}, delay=1, delays=0/0/0/1, dsn={dsn}, "
            f"status={status} ({said})"
        )

    def rotate(self) -> None:
        os.rename(self.path, self.path.with_name(self.path.name + ".1"))
        self.path.touch()


def relay(product: Product, hop: NextHop, queue_id: str, *to: str) -> None:
    """Relay a message that the next hop calls so."""
    hop.answer(".", f"250 2.0.0 Ok: queued as {queue_id}")
    with product.client() as client:
        content = message(f"offer {queue_id}", Message_ID=f"<{queue_id}@a.test>")
        assert queue_id in client.submit("anna@a.test", to, content)


def unknown_user(to: str) -> str:
    return (
        f"host mx.there.test[198.51.100.9] said: 550 5.1.1 <{to}>: Recipient address rejected: User unknown "
        "(in reply to RCPT TO command)"
    )


def test_a_postfix_log_is_followed(tmp_path: Path, hops: Hops) -> None:
    hop = hops.start()
    log = PostfixLog(tmp_path / "mail.log")
    more = f'[feedback]\npostfix_logs = ["{log.path}"]\n'
    product = Product.made(tmp_path, smarthosts=[hop.address], more=more)
    with product:
        relay(product, hop, "4F1A2B3C4D", "gone@there.test", "slow@there.test")
        log.line("qmgr[3]: 4F1A2B3C4D: from=<anna@a.test>, size=900, nrcpt=2 (queue active)")
        log.result("4F1A2B3C4D", "gone@there.test", "5.1.1", "bounced", unknown_user("gone@there.test"))
        late = "host mx.there.test[198.51.100.9] said: 451 4.7.1 Greylisted, try again (in reply to RCPT TO command)"
        log.result("4F1A2B3C4D", "slow@there.test", "4.7.1", "deferred", late)
        log.result("4F1A2B3C4D", "slow@there.test", "4.7.1", "deferred", late)
        log.result("4EEEEEEEEE", "other@there.test", "5.1.1", "bounced", unknown_user("other@there.test"))
        until(lambda: len(found(product, "--kind", "delivery")) == 2, "both are found, each once")
        rows = {row["recipient"]: row for row in found(product)}
        gone, slow = rows["gone@there.test"], rows["slow@there.test"]
        assert (gone["account"], gone["proof"], gone["code"], gone["final"]) == ("a.test", "queue_id", 550, True)
        assert gone["class"].startswith("unknown_user")
        assert (slow["code"], slow["final"], slow["class"].partition(".")[0]) == (451, False, "greylisting")
        until(lambda: portrait(product, "a.test", "anna@a.test").profile.unknown_user >= 0.99, "the memory has it")
        until(lambda: product.metric("feedback_log_lines_total", result="matched") == 3, "counted")
        assert product.metric("feedback_log_lines_total", result="unmatched") == 1
        assert product.event("Bounce")["recipient"] == "gone@there.test"
        assert product.event("TransientFailure")["recipient"] == "slow@there.test"

        # Rotated; the service dies in the middle of a line, and starts again.
        relay(product, hop, "4F2222222D", "gone2@there.test", "there@there.test")
        log.result("4F2222222D", "gone2@there.test", "5.1.1", "bounced", unknown_user("gone2@there.test"))
        log.rotate()
        log.result("4F1A2B3C4D", "slow@there.test", "2.0.0", "sent", "250 2.0.0 Ok: queued as 9ABCDEF012")
        log.line("smtp[9]: 4F2222222D: to=<there@there.test>, relay=mx.th", end="")
        until(lambda: len(found(product, "--kind", "delivery")) == 3, "the rotated log was read to its end")
        product.kill_everything()
    with log.path.open("a") as file:
        file.write("ere.test[198.51.100.9]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok)\n")
    with product:
        said = "250 2.0.0 Ok"
        log.result("4F2222222D", "nobody-of-ours@there.test", "2.0.0", "sent", said)

        def told() -> bool:
            [one] = json.loads(product.guard("message", "find", "there@there.test", "--json"))["items"]
            shown = product.guard("message", "show", one["id"])
            return "taken by mx.there.test" in shown

        until(told, "that it has arrived stands in the story of the message")
        # Nothing was counted twice.
        assert len(found(product)) == 3


def test_records_and_logs_by_hand(tmp_path: Path, hops: Hops) -> None:
    hop = hops.start()
    log = PostfixLog(tmp_path / "mail.log")
    with Product.made(tmp_path, smarthosts=[hop.address]) as product:
        relay(product, hop, "4F1A2B3C4D", "gone@there.test", "full@there.test", "gone3@there.test")
        until(lambda: "offer" in product.guard("message", "find", "gone@there.test"), "the ledger knows it")
        records = tmp_path / "records.jsonl"
        kumo = {
            "type": "Bounce",
            "id": "d7ef132b5d7711eea8c8000c29c33806",
            "recipient": "gone@there.test",
            "timestamp": time.time(),
            "response": {
                "code": 550,
                "enhanced_code": {"class": 5, "subject": 1, "detail": 1},
                "content": "User unknown",
            },
            "headers": {"Message-ID": "<4F1A2B3C4D@a.test>"},
        }
        stranger = {**kumo, "headers": {}, "id": "x"}
        records.write_text(f"{json.dumps(kumo)}\n{json.dumps(stranger)}\n{{cut\n")
        said = json.loads(product.guard("feedback", "ingest", str(records), "--json"))["records"]
        assert said == {"matched": 1, "unmatched": 1, "broken": 1, "new": 1}
        # The same fact from the log is known, another is not.
        log.result("4F1A2B3C4D", "gone@there.test", "5.1.1", "bounced", unknown_user("gone@there.test"))
        log.result("4F1A2B3C4D", "full@there.test", "5.2.2", "bounced", "host x[198.51.100.9] said: 552 5.2.2 full")
        words = ("feedback", "follow", str(log.path), "--once", "--from-start", "--json")
        assert json.loads(product.guard(*words))["new"] == 1
        assert json.loads(product.guard(*words)) == {}
        log.result("4F1A2B3C4D", "gone3@there.test", "5.1.1", "bounced", unknown_user("gone3@there.test"))
        assert json.loads(product.guard(*words))["new"] == 1
        assert {row["recipient"] for row in found(product, "--account", "a.test")} == {
            "gone@there.test",
            "full@there.test",
            "gone3@there.test",
        }
        until(lambda: portrait(product, "a.test", "anna@a.test").profile.unknown_user >= 1.99, "learned")
        assert product.guard("feedback", "follow", str(tmp_path / "none.log"), "--once", code=1).count("\n") == 1
