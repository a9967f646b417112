"""The whole product with `mode = "direct"`: from a customer's MTA to servers that the DNS names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.dnsstub import DnsStub, dns_stub
from tests.nexthop import NextHop
from tests.postfix import REQUIRED, postfix
from tests.product import LENIENT, Hops, Product, message, until

CONFIGURATION = """
[server]
hostname = "guard.test"
relay_processes = 1
[[listener]]
address = "127.0.0.1:0"
trusted = ["127.0.0.0/8"]
[delivery]
mode = "direct"
retry = [1, 1, 2]
port = {port}
patience = {patience}
private_networks = ["127.0.0.0/8"]
[dns]
resolvers = ["{resolver}"]
[policy]
file = "policy.toml"
[spool]
free_bytes = 1000000
[console]
address = "127.0.0.1:0"
[metrics]
address = "127.0.0.1:0"
"""


class World:
    """A name server and mail servers in a thread of their own."""

    def __init__(self, hops: Hops, dns: DnsStub) -> None:
        self.hops, self.dns = hops, dns
        self.port = 0

    def server(self, domain: str, number: int, **options: object) -> NextHop:
        """The only mail server of a domain; all have the port of the first."""
        hop = self.hops.start(host=f"127.0.9.{number}", port=self.port, **options)
        self.port = hop.port
        self.names(domain, f"127.0.9.{number}")
        return hop

    def names(self, domain: str, address: str) -> None:
        self.dns.names[f"mx.{domain}"] = [address]
        self.dns.records[domain, "MX"] = [f"10 mx.{domain}."]

    def product(self, folder: Path, patience: float = 20.0, more: str = "") -> Product:
        (folder / "policy.toml").write_text(LENIENT)
        config = folder / "guard.toml"
        config.write_text(CONFIGURATION.format(port=self.port, patience=patience, resolver=self.dns.address) + more)
        return Product(config)


@pytest.fixture
def world() -> Iterator[World]:
    with Hops() as hops:
        stack = contextlib.AsyncExitStack()

        async def start() -> DnsStub:
            return await stack.enter_async_context(dns_stub())

        try:
            yield World(hops, hops.call(start()))
        finally:
            hops.call(stack.aclose())


def subjects(hop: NextHop) -> list[str]:
    found = (re.search(rb"^Subject: (.*)\r$", got.content, re.M) for got in hop.messages)
    return [subject[1].decode() for subject in found if subject]


@pytest.mark.long
def test_a_message_goes_out_while_its_client_waits(world: World, tmp_path: Path) -> None:
    hop = world.server("there.test", 1)
    with world.product(tmp_path) as product, product.client() as client:
        answer = client.submit("anna@shop.test", ["b@there.test"], message("quick"))
        assert re.fullmatch(r"250 2\.0\.0 Ok: queued as TEST \(\w{16}\)", answer)
        [got] = hop.messages
        assert (got.mail_from, got.recipients) == ("anna@shop.test", ["b@there.test"])
        assert got.session.commands[0] == "EHLO guard.test"
        answer = client.submit("anna@shop.test", ["b@gone.test"], message("nowhere"))
        assert answer.startswith("550 5.1.2 OG-NODOMAIN the domain gone.test does not exist")


@pytest.mark.long
def test_what_is_refused_for_now_is_ours_to_try_again(world: World, tmp_path: Path) -> None:
    hop = world.server("there.test", 1)
    hop.answer("RCPT", "450 4.2.0 greylisted, come back", times=2)
    with world.product(tmp_path) as product, product.client() as client:
        answer = client.submit("anna@shop.test", ["b@there.test"], message("grey"))
        assert answer.startswith("250 2.0.0 Ok: queued as ")
        assert "TEST" not in answer
        world.hops.call(hop.received(1))
        assert subjects(hop) == ["grey"]
        until(lambda: not list((product.data / "spool/queue").iterdir()), "the queue is empty")


@pytest.mark.long
def test_a_slow_destination_is_left_to_the_queue(world: World, tmp_path: Path) -> None:
    slow, quick = world.server("slow.test", 1), world.server("quick.test", 2)
    slow.answer("CONNECT", "220 at last", delay=5.0, times=1)
    with world.product(tmp_path, patience=2.0) as product, product.client() as client:
        answer = client.submit("anna@shop.test", ["b@slow.test", "b@quick.test"], message("both"))
        assert answer.startswith("250 2.0.0 Ok: queued as ")
        assert [got.recipients for got in quick.messages] == [["b@quick.test"]]
        world.hops.call(slow.received(1))
        assert [got.recipients for got in slow.messages] == [["b@slow.test"]]
        assert len(quick.messages) == 1


@pytest.mark.long
def test_a_part_that_is_refused_for_good_comes_back_as_a_report(world: World, tmp_path: Path) -> None:
    there, home = world.server("there.test", 1), world.server("shop.test", 2)
    with world.product(tmp_path) as product, product.client() as client:
        answer = client.submit("anna@shop.test", ["b@there.test", "b@gone.test"], message("both"))
        assert answer.startswith("250 2.0.0 Ok: queued as ")
        assert [got.recipients for got in there.messages] == [["b@there.test"]]
        [report] = world.hops.call(home.received(1))
        assert (report.mail_from, report.recipients) == ("", ["anna@shop.test"])
        assert b"Final-Recipient: rfc822; b@gone.test" in report.content
        assert b"Status: 5.1.2" in report.content


@pytest.mark.skipif(*REQUIRED[0].args, **REQUIRED[0].kwargs)
@pytest.mark.skipif(*REQUIRED[1].args, **REQUIRED[1].kwargs)
def test_to_a_real_server(world: World, tmp_path: Path) -> None:
    behind = world.hops.start()
    with postfix("mx.real.test", behind.port) as address:
        world.port = int(address.rpartition(":")[2])
        world.names("real.test", "127.0.0.1")
        with world.product(tmp_path) as product, product.client() as client:
            for number in range(20):
                answer = client.submit("anna@shop.test", ["b@real.test"], message(f"real {number}"))
                assert answer.startswith("250 2.0.0 Ok: queued as "), answer
            world.hops.call(behind.received(20))
            # One session for all. Metrics are written a moment later.
            until(lambda: product.metric("next_hop_events_total", event="opened"), "the session is counted")
            assert product.metric("next_hop_events_total", event="opened") == 1
    assert sorted(subjects(behind)) == sorted(f"real {number}" for number in range(20))


@pytest.mark.long
def test_a_message_is_signed_for_the_domain_of_its_account(world: World, tmp_path: Path) -> None:
    hop = world.server("there.test", 1)
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(key)
    more = '[[dkim]]\ndomain = "shop.test"\nselector = "guard1"\nprivate_key = "key.pem"\n'
    with world.product(tmp_path, more=more) as product, product.client() as client:
        ours, foreign = message("ours", From="anna@shop.test"), message("foreign", From="ceo@bank.test")
        for content in (ours, foreign):
            assert client.submit("anna@shop.test", ["b@there.test"], content).startswith("250 ")
    signed, unsigned = (got.content for got in world.hops.call(hop.received(2)))
    assert signed.startswith(b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\td=shop.test; s=guard1;")
    assert signed.endswith(ours)
    assert (b"DKIM-Signature" in unsigned, unsigned.endswith(foreign)) == (False, True)
