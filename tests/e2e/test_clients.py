"""Clients and servers that others have written, around the running product: what is sent arrives, octet for octet."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import aiosmtplib
import argon2
import pytest
import trustme

from tests.nexthop import Message, NextHop
from tests.postfix import REQUIRED, postfix
from tests.product import Hops, Product, message, until

MORE = """
[[listener]]
address = "127.0.0.1:0"
tls = "starttls"
auth = "required"
certificate = "tls.crt"
private_key = "tls.key"
[[listener]]
address = "127.0.0.1:0"
tls = "implicit"
auth = "required"
certificate = "tls.crt"
private_key = "tls.key"
[auth]
passwords = "passwords"
"""
PLAIN, STARTTLS, IMPLICIT = 0, 1, 2
LOGIN, PASSWORD = "dora@customer.test", "right horse"
POSTFIX_TRACE = re.compile(
    rb"\AReceived: from postfix\.customer\.test \(\[127\.0\.0\.1\]\)\r\n"
    rb"\tby guard\.test \(Outbound Guard\) with ESMTP\r\n\tid [0-9a-z]{16}[^\r]*\r?\n?[^\r]*\r\n"
    rb"X-Outbound-Guard-Id: [^\r]+\r\n"
    rb"Received: from client\.test \(unknown \[127\.0\.0\.1\]\)\r\n\tby postfix\.customer\.test \(Postfix\)"
)


class House:
    """The product with every kind of listener, and its next hop."""

    def __init__(self, folder: Path, hops: Hops) -> None:
        self.hop: NextHop = hops.start()
        self.authority = authority = trustme.CA()
        self.folder = folder
        self.certify()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self.tls = ssl.create_default_context(cafile=self.ca_file)
        weak = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        (folder / "passwords").write_text(f"{LOGIN}:{weak.hash(PASSWORD)}\n")
        self.product = Product.made(folder, smarthosts=[self.hop.address], relays=1, more=MORE)

    def certify(self, *, pair: bool = True) -> bytes:
        """Write a new certificate, and unless `pair` is False its key; gives the certificate in DER."""
        server = self.authority.issue_cert("localhost", "127.0.0.1")
        server.cert_chain_pems[0].write_to_path(self.folder / "tls.crt")
        if pair:
            server.private_key_pem.write_to_path(self.folder / "tls.key")
        return ssl.PEM_cert_to_DER_cert(server.cert_chain_pems[0].bytes().decode())

    def served(self, listener: int) -> bytes:
        """The certificate that a client is shown, in DER."""
        host, port = self.product.listener(listener)
        if listener == IMPLICIT:
            with smtplib.SMTP_SSL(host, port, context=self.tls, timeout=30) as client:
                return client.sock.getpeercert(binary_form=True)
        with smtplib.SMTP(host, port, timeout=30) as client:
            client.starttls(context=self.tls)
            return client.sock.getpeercert(binary_form=True)

    def port(self, listener: int) -> str:
        return str(self.product.listener(listener)[1])

    def got(self, subject: str) -> bytes:
        """The one message with this subject, as the next hop has got it."""
        mark = f"Subject: {subject}\r\n".encode()
        until(lambda: any(mark in one.content for one in self.hop.messages), subject)
        [found] = [one.content for one in self.hop.messages if mark in one.content]
        return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Hops() as hops:
        house = House(tmp_path_factory.mktemp("clients"), hops)
        with house.product:
            yield house


def run(*command: str, content: bytes = b"") -> str:
    if not shutil.which(command[0]):  # scripts/test installs it where it may (root, Debian).
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=content, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("listener", [PLAIN, STARTTLS, IMPLICIT])
def test_swaks(house: House, listener: int) -> None:
    secure = ["--auth", "PLAIN", "--auth-user", LOGIN, "--auth-password", PASSWORD] if listener else []
    if listener:
        secure += ["--tls" if listener == STARTTLS else "--tls-on-connect", "--tls-ca-path", str(house.ca_file)]
    said = run(
        *("swaks", "--server", f"127.0.0.1:{house.port(listener)}", "--from", LOGIN, "--to", "bob@there.test"),
        *("--header", f"Subject: swaks {listener}", "--body", ".\n.. dots\nlast", *secure),
    )
    assert "250 2.0.0 Ok: queued as TEST" in said
    assert b"\r\n\r\n.\r\n.. dots\r\nlast\r\n" in house.got(f"swaks {listener}")


@pytest.mark.parametrize("listener", [PLAIN, STARTTLS, IMPLICIT])
def test_curl(house: House, listener: int, tmp_path: Path) -> None:
    content = message(f"curl {listener}", "." * 80 + "\r\n.\r\n" + "x" * 5000)
    (tmp_path / "message").write_bytes(content)
    scheme = "smtps" if listener == IMPLICIT else "smtp"
    secure = ["--ssl-reqd", "--cacert", str(house.ca_file), "--user", f"{LOGIN}:{PASSWORD}"] if listener else []
    run(
        *("curl", "-sS", f"{scheme}://127.0.0.1:{house.port(listener)}/client.test", "--mail-from", LOGIN),
        *("--mail-rcpt", "bob@there.test", "--upload-file", str(tmp_path / "message"), *secure),
    )
    assert house.got(f"curl {listener}").endswith(content)


@pytest.mark.parametrize("listener", [PLAIN, STARTTLS, IMPLICIT])
def test_smtplib(house: House, listener: int) -> None:
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = LOGIN, "bob@there.test, bea@there.test", f"smtplib {listener}"
    mail.set_content("Grüße\n.\n" + "x" * 900 + "\n")
    mail.add_attachment(bytes(range(256)) * 10, maintype="application", subtype="octet-stream", filename="a.bin")
    mail.set_boundary("edge")
    host, port = house.product.listener(listener)
    client = smtplib.SMTP_SSL(host, port, context=house.tls) if listener == IMPLICIT else smtplib.SMTP(host, port)
    with client:
        if listener == STARTTLS:
            client.starttls(context=house.tls)
        if listener:
            client.login(LOGIN, PASSWORD)
        assert client.send_message(mail) == {}
        # The session goes on: another message on it.
        assert client.sendmail(LOGIN, ["bob@there.test"], message(f"smtplib {listener} again")) == {}
    assert house.got(f"smtplib {listener}").endswith(mail.as_bytes())
    house.got(f"smtplib {listener} again")


@pytest.mark.parametrize("listener", [PLAIN, STARTTLS, IMPLICIT])
def test_aiosmtplib(house: House, listener: int) -> None:
    async def send(number: int) -> str:
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=int(house.port(listener)),
            use_tls=listener == IMPLICIT,
            start_tls=listener == STARTTLS,
            tls_context=house.tls if listener else None,
            username=LOGIN if listener else None,
            password=PASSWORD if listener else None,
        )
        async with client:
            content = message(f"aiosmtplib {listener} {number}", "body of the message")
            return (await client.sendmail(LOGIN, ["bob@there.test"], content))[1]

    async def ten() -> list[str]:
        return await asyncio.gather(*(send(number) for number in range(10)))

    assert all("queued as TEST" in answer for answer in asyncio.run(ten()))
    for number in range(10):
        assert house.got(f"aiosmtplib {listener} {number}").endswith(b"body of the message\r\n")


class TestPostfix:
    """Postfix in front of us and Postfix behind us."""

    pytestmark = REQUIRED

    def test_a_customers_postfix_relays_to_us(self, house: House) -> None:
        date = "Mon, 2 Mar 2026 10:00:00 +0100"
        content = message("by postfix", "." * 70 + "\r\n.\r\n", Message_ID="<1@x.test>", Date=date)
        with postfix("postfix.customer.test", int(house.port(PLAIN))) as address:
            host, _, port = address.rpartition(":")
            with smtplib.SMTP(host, int(port), local_hostname="client.test") as client:
                for number in range(20):
                    client.sendmail(f"anna{number}@customer.test", ["bob@there.test"], content)
            until(lambda: len(self.received(house)) == 20, lambda: len(self.received(house)))
        for got in self.received(house):
            assert POSTFIX_TRACE.match(got.content), got.content[:700]
            assert got.content.endswith(content)
        senders = {got.mail_from for got in self.received(house)}
        assert senders == {f"anna{number}@customer.test" for number in range(20)}
        event = house.product.event(sender="anna7@customer.test")
        assert (event["identity"], event["account"]) == ("anna7@customer.test", "customer.test")

    @staticmethod
    def received(house: House) -> list[Message]:
        return [one for one in house.hop.messages if b"Subject: by postfix\r\n" in one.content]

    def test_a_postfix_is_our_next_hop_and_refuses_some(self, tmp_path: Path) -> None:
        (tmp_path / "refused").write_text("gone@there.test 550 5.1.1 no such mailbox\n")
        with Hops() as hops:
            behind = hops.start()
            access = f"check_recipient_access texthash:{tmp_path}/refused"
            more = f"smtpd_recipient_restrictions = {access}, permit_mynetworks"
            with (
                postfix("postfix.provider.test", behind.port, more) as next_hop,
                Product.made(tmp_path, smarthosts=[next_hop], relays=1) as product,
                product.client() as client,
            ):
                said = client.submit("anna@customer.test", ["bob@there.test"], message("behind"))
                assert re.fullmatch(r"250 2\.0\.0 Ok: queued as [0-9A-F]+ \([0-9a-z]{16}\)", said), said
                said = client.submit("anna@customer.test", ["gone@there.test"], message("gone"))
                assert said.startswith("550 5.1.1 <gone@there.test>: Recipient address rejected: no such mailbox"), said
                said = client.submit("anna@customer.test", ["bob@there.test", "gone@there.test"], message("half gone"))
                assert said.startswith("250 2.0.0 Ok: queued as "), said
                until(lambda: len(behind.messages) == 3, lambda: [one.content for one in behind.messages])
                report = next(one for one in behind.messages if one.mail_from == "")
                assert report.recipients == ["anna@customer.test"]
                assert b"no such mailbox" in report.content


@pytest.mark.long
def test_a_new_certificate_needs_no_restart(house: House) -> None:
    product = house.product
    processes = product.processes()
    new = house.certify()
    product.signal(signal.SIGHUP)
    for listener in (STARTTLS, IMPLICIT):
        until(lambda at=listener: house.served(at) == new, product.said)
    until(lambda: product.metric("file_reloads_total", file="certificate", result="ok") >= 2, product.said)
    assert product.metric("certificate_expiry_seconds") > time.time()
    # Half of a pair is not used, and the log says so; neither signal nor restart is needed for the rest.
    house.certify(pair=False)
    until(lambda: product.metric("file_reloads_total", file="certificate", result="refused") >= 2, product.said)
    assert house.served(STARTTLS) == house.served(IMPLICIT) == new
    assert "the certificate stays as it was" in product.said()
    newer = house.certify()
    for listener in (STARTTLS, IMPLICIT):
        until(lambda at=listener: house.served(at) == newer, product.said)
    assert product.processes() == processes
