"""What comes back: a message is relayed, and the world's later answers find the way to its sender."""

from __future__ import annotations

import asyncio
import json
import smtplib
import socket
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.reputation import Reputation
from outbound_guard.reputation.portrait import Portrait, portraits
from outbound_guard.state import State
from outbound_guard.state.embedded import socket_path
from tests.feedback_reports import arf, dsn, forwarded, qmail, quoted
from tests.nexthop import NextHop
from tests.product import Hops, Product, message, until

LISTENER = """
[feedback]
address = "127.0.0.1:0"
recipients = ["fbl", "bounces@guard.test"]
"""

pytestmark = pytest.mark.timeout(300)  # Whole products are started; on a busy machine that takes a while.


@pytest.fixture
def hops() -> Any:
    with Hops() as hops:
        yield hops


def relayed(product: Product, hop: NextHop, number: int, *to: str, sender: str = "anna@a.test") -> bytes:
    """Relay a message; how it left, token and all."""
    before = len(hop.messages)
    with product.client() as client:
        content = message(f"offer {number}", f"an offer, number {number}", Message_ID=f"<{number}@a.test>")
        assert client.submit(sender, to or ("bob@b.test",), content).startswith("250 ")
    until(lambda: len(hop.messages) > before, "the next hop has it")
    return hop.messages[-1].content


def report(product: Product, content: bytes, to: str = "fbl@guard.test", mail_from: str = "fbl@isp.test") -> str:
    """Hand a report in by SMTP; the reply to it."""
    host, port = str(product.addresses["feedback"]).rsplit(":", 1)
    with smtplib.SMTP(host, int(port), timeout=60) as client:
        client.ehlo("mx.isp.test")
        for command in (f"MAIL FROM:<{mail_from}>", f"RCPT TO:<{to}>"):
            code, text = client.docmd(command)
            if code != 250:
                return f"{code} {text.decode()}"
        code, text = client.data(content)
        return f"{code} {text.decode()}"


def found(product: Product, *words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(product.guard("feedback", "list", "--json", *words))
    return rows


def portrait(product: Product, account: str, sender: str) -> Portrait:
    """What the memory has of a sender."""

    async def ask() -> Portrait:
        state = await State.connect(f"unix://{socket_path(product.data)}", timeout=5, count=lambda *_, **__: None)
        try:
            return (await portraits(Reputation(state), [(account, sender)]))[0]
        finally:
            await state.close()

    return asyncio.run(ask())


def suspicion(product: Product) -> float:
    known = portrait(product, "a.test", "anna@a.test")
    return known.suspicion(known.profile.sums_at, 1.0)


@pytest.mark.long
def test_complaint_and_bounce_come_back(tmp_path: Path, hops: Hops) -> None:
    hop = hops.start()
    with Product.made(tmp_path, smarthosts=[hop.address], more=LISTENER) as product:
        first = relayed(product, hop, 1)
        until(lambda: portrait(product, "a.test", "anna@a.test").profile.delivered > 0, "the memory has its delivery")
        before = suspicion(product)
        assert report(product, arf(first, recipient="bob@b.test")).startswith("250 2.0.0 Ok: counted")
        until(lambda: product.metric("feedback_total", kind="complaint", counts="yes") == 1, "it was learned")
        until(lambda: portrait(product, "a.test", "anna@a.test").profile.complaint == 1, "the memory has it")
        assert suspicion(product) > before + 2
        [row] = found(product, "--account", "a.test")
        assert (row["kind"], row["class"]) == ("complaint", "abuse")
        assert (row["sender"], row["recipient"], row["proof"]) == ("anna@a.test", "bob@b.test", "seal")
        event = product.event("Feedback")
        assert event["feedback_report"]["feedback_type"] == "abuse"
        assert event["id"] == row["message"]

        # The same complaint again, and one with the header section alone, are the same fact.
        assert "repeated" in report(product, arf(first, recipient="bob@b.test"))
        assert "repeated" in report(product, arf(first, headers_only=True))
        assert portrait(product, "a.test", "anna@a.test").profile.complaint == 1

        second = relayed(product, hop, 2, "nobody@c.test")
        before = suspicion(product)
        said = "550 5.1.1 <nobody@c.test>: Recipient address rejected: User unknown"
        assert "counted" in report(product, dsn(second, [("nobody@c.test", "5.1.1", said)]), mail_from="")
        until(lambda: portrait(product, "a.test", "anna@a.test").profile.unknown_user >= 0.99, "the memory has it")
        assert suspicion(product) > before
        [row] = found(product, "--kind", "bounce")
        assert (row["class"].partition(".")[0], row["code"], row["final"]) == ("unknown_user", 550, True)
        assert product.event("OOB")["bounce_classification"] == row["class"]
        # It stands in the story of the message.
        story = product.guard("message", "show", row["message"])
        assert "User unknown" in story


@pytest.mark.long
def test_by_hand_and_from_files(tmp_path: Path, hops: Hops) -> None:
    hop = hops.start()
    with Product.made(tmp_path, smarthosts=[hop.address]) as product:
        sent = [relayed(product, hop, number) for number in range(4)]
        files = tmp_path / "reports"
        files.mkdir()
        (files / "1.eml").write_bytes(arf(sent[0]).replace(b"\r\n", b"\n"))
        (files / "2.eml").write_bytes(forwarded(sent[1]))
        (files / "3.eml").write_bytes(quoted(sent[2]))
        (files / "4.eml").write_bytes(qmail(sent[3], "bob@b.test", "550 5.1.1 sorry, no mailbox here by that name"))
        (files / "5.eml").write_bytes(message("lunch?"))
        (files / "6.eml").write_bytes(arf(message("of somebody else", Message_ID="<else@where>")))
        mbox = tmp_path / "mbox"
        mbox.write_bytes(
            b"".join(
                b"From fbl@isp.test Sat Jul  4 10:00:00 2026\n" + file.read_bytes().replace(b"\r\n", b"\n") + b"\n\n"
                for file in sorted(files.iterdir())
            )
        )
        said = json.loads(product.guard("feedback", "ingest", str(files), "--json"))
        assert said["results"] == {"counted": 4, "other": 1, "unattributed": 1}
        assert [row["form"] for row in said["reports"][:4]] == ["arf", "forwarded", "forwarded", "text"]
        assert json.loads(product.guard("feedback", "ingest", str(mbox), "--json"))["results"] == {
            "repeated": 5,
            "other": 1,
        }
        until(lambda: portrait(product, "a.test", "anna@a.test").profile.complaint >= 2.99, "learned by the service")
        assert len(found(product, "--account", "a.test")) == 4


@pytest.mark.long
def test_forged_reports_are_shown_and_do_not_count(tmp_path: Path, hops: Hops) -> None:
    hop = hops.start()
    with Product.made(tmp_path, smarthosts=[hop.address], more=LISTENER) as product:
        sent = relayed(product, hop, 1, "bob@b.test", "carl@c.test")
        token = sent.partition(b"X-Outbound-Guard-Id: ")[2].partition(b"\r\n")[0]
        forged = sent.replace(token, token[:-12] + b"0123456789ab")
        without = forged.replace(b"X-Outbound-Guard-Id: " + token[:-12] + b"0123456789ab\r\n", b"")
        until(lambda: "offer" in product.guard("message", "find", "bob@b.test"), "the ledger knows it")
        for content in (forged, without):
            assert "250 2.0.0 Ok: re" in report(product, arf(content))
        unsealed = b"\r\n".join(line for line in without.split(b"\r\n") if not line.startswith((b"\tby", b"\tid")))
        assert "250 2.0.0 Ok: re" in report(product, arf(unsealed))
        rows = until(lambda: found(product), "the ledger knows them")
        assert {row["counts"] for row in rows} == {False}
        assert {row["account"] for row in rows} == {"a.test"}
        # Who has the token of one message cannot invent recipients of it.
        many = [arf(sent, recipient=f"invented-{number}@x.test") for number in range(5)]
        assert [report(product, one).split()[3] for one in many] == ["counted", *["repeated"] * 4]
        until(lambda: portrait(product, "a.test", "anna@a.test").profile.complaint == 1, "the memory has it")
        # A genuine complaint is not hidden by the forged ones before it.
        assert "counted" in report(product, arf(sent, recipient="bob@b.test"))
        # Nobody else is served here.
        assert report(product, arf(sent), to="anna@a.test").startswith("550 5.1.1")


@pytest.mark.long
def test_lmtp_answers_for_each_recipient(tmp_path: Path, hops: Hops) -> None:
    hop = hops.start()
    with Product.made(tmp_path, smarthosts=[hop.address], more=LISTENER) as product:
        sent = relayed(product, hop, 1)
        host, port = str(product.addresses["feedback"]).rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=60) as connection, connection.makefile("rwb") as wire:

            def say(line: bytes, replies: int = 1) -> list[bytes]:
                wire.write(line)
                wire.flush()
                said = []
                while len(said) < replies:
                    reply = wire.readline()
                    if reply[3:4] == b" ":
                        said.append(reply)
                return said

            assert say(b"LHLO mx.isp.test\r\n", 2)[1].startswith(b"250 ")
            say(b"MAIL FROM:<>\r\n")
            assert [
                say(b"RCPT TO:<%s>\r\n" % to)[0][:3] for to in (b"fbl+isp@x.test", b"x@x.test", b"bounces@guard.test")
            ] == [
                b"250",
                b"550",
                b"250",
            ]
            say(b"DATA\r\n")
            answers = say(arf(sent) + b".\r\n", 2)
            assert [answer.split()[3] for answer in answers] == [b"counted", b"counted"]
            assert say(b"QUIT\r\n")[0].startswith(b"221")


@pytest.mark.long
def test_who_guesses_at_recipients_is_sent_away(tmp_path: Path, hops: Hops) -> None:
    limits = "\n[limits]\nrecipients = 2\ncommands = 5\n"
    with Product.made(tmp_path, smarthosts=[hops.start().address], more=LISTENER + limits) as product:
        host, port = str(product.addresses["feedback"]).rsplit(":", 1)
        with smtplib.SMTP(host, int(port), timeout=60) as client:
            client.ehlo("mx.isp.test")
            client.mail("")
            codes = [client.docmd(f"RCPT TO:<guess{number}@x.test>")[0] for number in range(25)]
            # Ten times as many as a message may have are nothing special; those beyond bring nothing, as EHLO does.
            assert codes == [550] * 25
            assert client.getreply()[0] == 421
