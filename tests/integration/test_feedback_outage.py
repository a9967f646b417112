"""Reports that cannot be taken now are kept by who hands them in; hostile ones are survived; suppression lists."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.feedback_reports import arf, dsn
from tests.integration.test_feedback_product import LISTENER, found, relayed, report
from tests.product import Hops, Product, until

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
]  # Whole products are started; on a busy machine that takes a while.


@pytest.fixture
def hops() -> Any:
    with Hops() as hops:
        yield hops


def test_a_report_waits_for_the_ledger(tmp_path: Path, hops: Hops) -> None:
    hop = hops.start()
    with Product.made(tmp_path, smarthosts=[hop.address], more=LISTENER) as product:
        relayed(product, hop, 1)
        until(lambda: "offer" in product.guard("message", "find", "bob@b.test"), "the ledger has begun")
        with contextlib.closing(sqlite3.connect(product.data / "ledger.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            sent = relayed(product, hop, 2)
            # It leaves and is in no ledger: its complaint is neither lost nor taken for a stranger's.
            assert report(product, arf(sent)).startswith("451 4.3.0 OG-FEEDBACK")
            other.execute("ROLLBACK")
        until(lambda: "counted" in report(product, arf(sent)), "it is taken when the ledger can be written again")
        assert product.metric("background_failures_total") == 0


def test_hostile_reports_by_smtp(tmp_path: Path, hops: Hops) -> None:
    hop = hops.start()
    with Product.made(tmp_path, smarthosts=[hop.address], more=LISTENER) as product:
        sent = relayed(product, hop, 1)
        parts = b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" * 10_000
        head = b'From: <>\r\nContent-Type: multipart/report; boundary="b"\r\n\r\n'
        assert "unreadable" in report(product, head + parts + b"--b--\r\n", mail_from="")
        assert "unreadable" in report(product, b"Content-Type: message/rfc822\r\n\r\n" * 2_000 + sent)
        assert "unreadable" in report(product, arf(sent).replace(b"Feedback-Type: abuse\r\n", b""))
        assert "other" in report(product, b"Subject: \xff\xfe\r\n\r\n" + bytes(range(32, 256)) * 1_000)
        assert report(product, b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 160_000).startswith("552 5.3.4")
        until(lambda: product.metric("feedback_reports_total", result="unreadable") == 3, "they are counted")
        # A complaint about a message that its author has made so is read all the same.
        assert "counted" in report(product, arf(sent.replace(b"\r\n\r\n", b"\r\n" + head[8:] + parts, 1)))
        until(lambda: found(product, "--kind", "complaint"), "the ledger knows the complaint")
        assert found(product) == found(product, "--kind", "complaint")
        assert product.metric("background_failures_total") == 0


def test_suppression_lists(tmp_path: Path, hops: Hops) -> None:
    hop = hops.start()
    with Product.made(tmp_path, smarthosts=[hop.address], more=LISTENER) as product:

        def listed(*words: str) -> dict[str, str]:
            rows = json.loads(product.guard("suppression", "list", *words, "--json"))
            return {row["address"]: row["why"] for row in rows}

        assert "Nobody" in product.guard("suppression", "list")
        sent = relayed(product, hop, 1, "Bob@b.test", "gone@c.test", "full@d.test", "leave@e.test")
        fates = [("gone@c.test", "5.1.1", "550 5.1.1 User unknown"), ("full@d.test", "5.2.2", "552 mailbox is full")]
        assert "counted" in report(product, dsn(sent, fates), mail_from="")
        assert "counted" in report(product, arf(sent, recipient="bob@b.test"))
        assert "recorded" in report(product, arf(sent, type_="opt-out", recipient="leave@e.test"))
        assert "recorded" in report(product, arf(sent, type_="not-spam", recipient="full@d.test"))
        until(lambda: len(listed("a.test")) == 3, "the ledger has them")
        assert listed("a.test") == {
            "bob@b.test": "complaint",
            "gone@c.test": "unknown_user",
            "leave@e.test": "complaint",
        }
        assert listed("other.test") == {}
        product.guard("suppression", "remove", "a.test", "Gone@c.test", "--reason", "came back")
        product.guard("suppression", "add", "a.test", "dora@f.test", "--reason", "asked by telephone")
        assert listed() == {"bob@b.test": "complaint", "leave@e.test": "complaint", "dora@f.test": "by_hand"}
        # What was known when it was taken off does not bring it back; nor is mail refused for it.
        assert "repeated" in report(product, dsn(sent, fates[:1]), mail_from="")
        assert listed("--address", "gone@c.test") == {}
        relayed(product, hop, 2, "dora@f.test")
        assert "no address" in product.guard("suppression", "add", "a.test", "nobody", code=1)
        with sqlite3.connect(product.data / "ledger.sqlite3") as ledger:
            acts = ledger.execute("SELECT what, subject, detail FROM audit ORDER BY serial").fetchall()
        ledger.close()
        assert acts == [
            ("suppression.remove", "a.test", "gone@c.test: came back"),
            ("suppression.add", "a.test", "dora@f.test: asked by telephone"),
        ]
