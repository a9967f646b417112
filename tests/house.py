"""A house of customers: the product, its next hop, mailboxes that behave and mailboxes that were stolen.

with Hops() as hops:
    product, customers = house(folder, hops)
    with product:
        customers.calm_past("anna@shop.test")
        held = customers.burst("anna@shop.test")     # ids of what was held
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.nexthop import NextHop
from tests.product import Hops, Product, message

HELD = re.compile(r"250 2\.0\.0 Ok: held for review as ([0-9a-z]{16})")
POLICY = """
[threshold]
watch = 2.0
hold = 3.0
quarantine = {quarantine}
suspend = {suspend}
[limit.sender]
messages_per_hour = {limit}
[signal.content]
mode = "off"
"""
ATTACHED = (
    "--edge\r\nContent-Type: text/plain\r\n\r\nYour receipt is attached.\r\n--edge\r\n"
    'Content-Type: application/octet-stream; name="receipt.pdf.exe"\r\nContent-Transfer-Encoding: base64\r\n'
    'Content-Disposition: attachment; filename="receipt.pdf.exe"\r\n\r\nTVo=\r\n--edge--'
)
# What a customer's server tells about the mailbox's own client: the habits that a thief does not share.
MORE = """
[[identity]]
from = "header:Received"
pattern = 'Authenticated sender: (\\S+?)\\)'
trusted = ["127.0.0.0/8"]
[[identity]]
from = "mail_from"
"""


def policy(*, limit: int = 1000, quarantine: float = 60.0, suspend: float = 90.0) -> str:
    """By default it holds, and goes no further: what is held can then be counted."""
    return POLICY.format(limit=limit, quarantine=quarantine, suspend=suspend)


class House:
    """The product, its next hop, and the mail of one mailbox after the other."""

    def __init__(self, product: Product, hop: NextHop) -> None:
        self.product, self.hop = product, hop

    def send(self, sender: str, recipient: str, subject: str, *, thief: int | None = None, text: str = "") -> str:
        """One message, written by the owner, or with a number by a thief; the answer to it."""
        headers = {
            "Received": f"from pc ([192.0.2.7])\r\n (Authenticated sender: {sender})\r\n"
            "\tby web1 (Postfix) with ESMTPSA id X; Mon, 2 Mar 2026 10:00:00 +0100",
            "From": f"Owner <{sender}>",
            "Date": "Mon, 2 Mar 2026 10:00:00 +0100",
            "User_Agent": "Thunderbird",
        }
        body = "See you tomorrow."
        if thief is not None:
            # Another network, time zone and program, a new name for each message, and something to be opened.
            del headers["User_Agent"]
            headers |= {
                "Received": headers["Received"].replace("192.0.2.7", f"203.{thief}.113.7"),
                "From": f"Support <support{thief}@bank{thief}.test>",
                "Date": "Mon, 2 Mar 2026 16:00:00 +0700",
                "X_Mailer": "bulk 1",
                "MIME_Version": "1.0",
                "Content_Type": "multipart/mixed; boundary=edge",
            }
            body = ATTACHED.replace("Your receipt is attached.", text or "Your receipt is attached.")
        elif text:
            body = text
        with self.product.client() as client:
            return client.submit(sender, [recipient], message(subject, body, **headers))

    def calm_past(self, sender: str, number: int = 25) -> None:
        """So much ordinary mail to three friends."""
        for one in range(number):
            said = self.send(sender, f"friend{one % 3}@there.test", f"note {one}")
            assert "queued as TEST" in said, said

    def burst(self, sender: str, number: int = 20) -> list[str]:
        """A thief writes to strangers; the ids of what was held."""
        answers = [
            self.send(sender, f"stranger{one}@host{one}.test", f"offer {one} from {sender}", thief=one)
            for one in range(number)
        ]
        assert all(answer.startswith("250 ") for answer in answers), answers
        return [found[1] for answer in answers if (found := HELD.fullmatch(answer))]

    def queue(self, sender: str, subject: str) -> None:
        """A message that waits in the queue for one of its two recipients."""
        self.hop.answer("RCPT", "451 4.7.1 Greylisted, try again later", when="later.test", times=None)
        with self.product.client() as client:
            said = client.submit(sender, ["x@later.test", "friend@there.test"], message(subject))
        assert said.startswith("250 "), said

    def subjects(self) -> list[str]:
        """The subjects of what the next hop has got."""
        found = (re.search(rb"^Subject: (.*)\r$", got.content, re.M) for got in self.hop.messages)
        return [subject[1].decode() for subject in found if subject]


def house(
    folder: Path, hops: Hops, mode: str = "enforce", more: str = "", **thresholds: float
) -> tuple[Product, House]:
    """The product, not started yet, and its customers. `more` is put behind the configuration."""
    hop = hops.start()
    product = Product.made(
        folder,
        smarthosts=[hop.address],
        mode=mode,
        relays=1,
        policy=policy(**thresholds),  # type: ignore[arg-type]
        more=MORE + more,
    )
    return product, House(product, hop)
