"""The product as it stands behind the mail servers of customers, for the tests of deploy/mta.

Listeners: 0 takes mail from anybody here, 1 demands STARTTLS and a login, to 2 XCLIENT may be said. The login
`relay-web1` names a server.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import argon2
import trustme

from tests.nexthop import Message, NextHop
from tests.postfix import free_port
from tests.product import LENIENT, Hops, Product, until

ROOT = Path(__file__).resolve().parents[1]
MTA = ROOT / "deploy" / "mta"
LOGIN, PASSWORD = "relay-web1", "a long pass-phrase"
_MORE = """
[[listener]]
address = "127.0.0.1:{port}"
tls = "starttls"
auth = "required"
certificate = "tls.crt"
private_key = "tls.key"
[[listener]]
address = "127.0.0.1:0"
xclient = ["127.0.0.0/8"]
[auth]
passwords = "passwords"
server_logins = ["relay-*"]
"""
_POLICY = "[quarantine]\nsamples = 1\n"
BODY = "Dear customer,\r\n.\r\n..\r\n" + "x" * 900 + "\r\nGrüße\tund  \r\n\r\n\r\nlast\r\n"
"""Lines of dots, a long one, eight bits, white space at line ends, empty lines."""


class House:
    """The product and the next hop behind it. It can be stopped, and is found on the same port again."""

    def __init__(self, folder: Path, hops: Hops, public: Path, more: str = "") -> None:
        """`public`: a folder that others can read, for the certificate to trust; `more`: at the end of the file."""
        self.hops = hops
        self.hop: NextHop = hops.start()
        authority = trustme.CA()
        server = authority.issue_cert("localhost", "127.0.0.1")
        server.cert_chain_pems[0].write_to_path(folder / "tls.crt")
        server.private_key_pem.write_to_path(folder / "tls.key")
        self.ca_file = public / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        weak = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        (folder / "passwords").write_text(f"{LOGIN}:{weak.hash(PASSWORD)}\n")
        self.port = free_port()
        self.product = Product.made(
            folder,
            smarthosts=[self.hop.address],
            relays=1,
            policy=_POLICY + LENIENT,
            more=_MORE.format(port=self.port) + more,
        )

    def suspend(self, *senders: str) -> None:
        """Suspend senders, and return when the relay knows it."""
        probe = "probe@probe.test"
        self.product.guard("account", "suspend", *senders, probe, "--sender", "--reason", "stolen password")
        with self.product.client() as client:
            client.ehlo()

            def known() -> bool:
                said = client.say(f"MAIL FROM:<{probe}>")
                client.say("RSET")
                return said.startswith("550 ")

            # Those that stand before it are known by then too.
            until(known, self.product.said)

    def got(self, subject: str) -> Message:
        """The one message with this subject, as the next hop has got it."""
        mark = f"Subject: {subject}\r\n".encode()
        until(lambda: self._with(mark), lambda: (subject, self.product.said()[-2000:]))
        [found] = self._with(mark)
        return found

    def _with(self, mark: bytes) -> list[Message]:
        return [one for one in self.hop.messages if mark in one.content]

    def who(self, message: Message) -> tuple[str, str, str]:
        """Account, sender, and the rule that found it, of a message that the next hop has got."""
        seal = next(line for line in message.content.split(b"\r\n") if line.startswith(b"X-Outbound-Guard-Id: "))
        id_ = seal.split()[1].decode().rpartition("-")[0]
        event = self.product.event(id=id_)
        return event["account"], event["identity"], event["identity_source"]


def body_of(message: Message) -> bytes:
    """What follows the header section."""
    return message.content.partition(b"\r\n\r\n")[2]


@contextmanager
def house_at(folder: Path, suspended: Sequence[str], more: str = "") -> Iterator[House]:
    """One that runs, with its data in `folder`, `more` in its configuration, and these senders suspended."""
    # Mail servers run as users who could not enter pytest's own folders.
    public = Path(tempfile.mkdtemp(prefix="mta-"))
    public.chmod(0o755)
    try:
        with Hops() as hops:
            house = House(folder, hops, public, more)
            with house.product:
                house.suspend(*suspended)
                yield house
    finally:
        shutil.rmtree(public)
