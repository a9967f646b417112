"""The made-up provider of the demo: what it sends, what the world answers, and that all of it is made up."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import random
import re
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from outbound_guard.accounts import Identifier
from outbound_guard.config import Config, load
from outbound_guard.content import parse
from outbound_guard.demo import receivers
from outbound_guard.demo.attacks import BOTNET, SCRIPT, SNOWSHOE, STOLEN, TRAP, Attack, attacks
from outbound_guard.demo.house import POOLS, Ports, build
from outbound_guard.demo.live import OUTCOMES, outcome_of
from outbound_guard.demo.nameserver import NameServer
from outbound_guard.demo.nexthop import NextHop
from outbound_guard.demo.provider import Sender, provider
from outbound_guard.demo.traffic import Traffic, moments
from outbound_guard.demo.writing import Mail, sentences
from outbound_guard.feedback.reading import read
from outbound_guard.mail import Envelope, Submission
from outbound_guard.reply import held, refused

NOW = 1_790_000_000.0
MADE = provider(1)
RESERVED = (".example", ".test", "example.org", "example.com")
DOCUMENTATION = [ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]


def _turn() -> list[Attack]:
    return list(itertools.islice(attacks(MADE, 1), 4))


def _mails() -> list[Mail]:
    traffic = Traffic(MADE, 1)
    honest = [traffic.of(sender, NOW) for sender in MADE.senders]
    return honest + [attack.mail(number, NOW) for attack in _turn() for number in range(8)]


@pytest.mark.parametrize("mail", _mails(), ids=lambda mail: f"{mail.attack or 'honest'}-{mail.identity}")
def test_the_product_finds_the_sender_that_the_demo_means(mail: Mail) -> None:
    submission = Submission(
        "1", NOW, Envelope(mail.mail_from, mail.recipients), mail.content, "127.0.0.1", server=mail.server
    )
    found = Identifier(Config(), lambda name: None).identify(submission, parse(mail.content).headers)
    assert found.name == mail.identity


@pytest.mark.parametrize("sender", MADE.senders, ids=lambda sender: sender.identity)
def test_each_sender_belongs_to_one_customer(sender: Sender) -> None:
    owners = [
        customer.account
        for customer in MADE.customers
        if any(re.fullmatch(one.replace(".", r"\.").replace("*", ".*"), sender.identity) for one in customer.senders)
    ]
    assert owners == [sender.account]


def test_every_name_is_reserved_for_examples_and_every_address_for_documentation() -> None:
    for mail in _mails():
        for address in (mail.mail_from, *mail.recipients):
            assert address.endswith(RESERVED), address
        text = mail.content.decode() + parse(mail.content).subject
        for host in re.findall(r"https?://([\w.-]+)", text):
            assert host.endswith(RESERVED), host
        for ip in re.findall(r"\[(\d+\.\d+\.\d+\.\d+)\]", text):
            assert any(ipaddress.ip_address(ip) in network for network in DOCUMENTATION), ip


def test_messages_are_sound_in_every_language() -> None:
    languages = {sender.language for sender in MADE.senders}
    assert len(languages) >= 7
    assert languages <= set(sentences())
    for mail in _mails():
        message = parse(mail.content)
        assert b"\n" not in mail.content.replace(b"\r\n", b"")
        assert message.subject
        assert not message.defects, (mail.identity, message.defects)


def test_the_same_seed_gives_the_same_mail_and_another_seed_other_mail() -> None:
    def some(seed: int) -> list[Mail]:
        traffic = Traffic(provider(seed), seed)
        attack = next(attacks(provider(seed), seed))
        return [traffic.mail(NOW) for _ in range(20)] + [attack.mail(number, NOW) for number in range(5)]

    assert some(3) == some(3)
    assert some(3) != some(4)


def test_a_day_has_its_rhythm() -> None:
    times = list(moments(NOW, NOW + 86_400, 1000, 1))
    assert times == sorted(times)
    assert times == list(moments(NOW, NOW + 86_400, 1000, 1))
    assert 850 <= len(times) <= 1150
    hours = [0] * 24
    for time in times:
        hours[int(time - NOW) // 3600] += 1
    assert max(hours) > 5 * min(hours)


def test_a_turn_has_all_kinds_of_attack() -> None:
    turn = _turn()
    assert [attack.name for attack in turn] == [STOLEN, SCRIPT, SNOWSHOE, BOTNET]
    assert len(turn[2].victims) > 4
    assert turn[0].mail(0, NOW).recipients[0].startswith(TRAP)
    for attack in turn:
        assert all(receivers.is_spam(attack.mail(number, NOW).content) for number in range(5))
    assert not any(receivers.is_spam(Traffic(MADE, 1).mail(NOW).content) for _ in range(50))


def test_receivers() -> None:
    spam = _turn()[0].mail(1, NOW).content
    assert receivers.to_recipient("gone.1@example.org", "127.51.100.10", ()).enhanced == "5.1.1"
    assert receivers.to_recipient("trap.1@example.org", "127.51.100.10", ()).code == 250
    ours = receivers.to_recipient("anna.101@bigmail.example", "127.51.100.10", {"127.51.100.10"})
    assert (ours.code, "127.51.100.10" in ours.text) == (554, True)
    assert receivers.to_content("anna.101@bigmail.example", spam).code == 550
    assert receivers.to_content("anna.101@example.org", spam).code == 250
    assert receivers.to_content("anna.101@bigmail.example", b"Subject: tea\r\n\r\nat four\r\n").code == 250
    full = [f"reader.{n}@example.org" for n in range(200)]
    assert any(receivers.to_recipient(to, "127.0.0.1", ()).code == 452 for to in full)


def test_a_complaint_is_one_that_the_product_reads() -> None:
    content = b"X-Outbound-Guard-Id: 0-1\r\n" + _turn()[0].mail(1, NOW).content
    to = next(to for n in range(50) if receivers.complains(to := f"reader.{n}@example.org", content) == "abuse")
    report = read(receivers.complaint("abuse", to, content))
    assert (report.kind, report.type) == ("complaint", "abuse")
    honest = [receivers.complains(f"reader.{n}@example.org", b"Subject: tea\r\n\r\nat four\r\n") for n in range(200)]
    assert not any(honest)


def _asked(server: NameServer, name: str, kind: str) -> dns.message.Message:
    return dns.message.from_wire(server.answered(dns.message.make_query(name, kind).to_wire()))


def test_the_name_server_answers_as_a_blocklist_does() -> None:
    server = NameServer()
    server.list("127.51.100.10", "traps.lists.example", "127.0.0.2", "a trap was hit")
    server.own("127.51.100.10", "out10.hosting.example")
    name = "10.100.51.127.traps.lists.example"
    assert _asked(server, name, "A").answer[0].to_text().endswith("IN A 127.0.0.2")
    assert _asked(server, name.upper(), "A").answer
    assert '"a trap was hit"' in _asked(server, name, "TXT").answer[0].to_text()
    pointer = _asked(server, "10.100.51.127.in-addr.arpa", "PTR").answer[0]
    assert pointer[0].to_text() == "out10.hosting.example."
    unknown = _asked(server, "11.100.51.127.traps.lists.example", "A")
    assert (unknown.rcode(), unknown.answer) == (dns.rcode.NXDOMAIN, [])
    other = _asked(server, name, "MX")
    assert (other.rcode(), other.answer) == (dns.rcode.NOERROR, [])
    server.delist("127.51.100.10", "traps.lists.example")
    assert _asked(server, name, "A").rcode() == dns.rcode.NXDOMAIN


def test_the_name_server_answers_no_nonsense() -> None:
    server, draw = NameServer(), random.Random(1)
    question = dns.message.make_query("a.example", "A").to_wire()
    for end in range(len(question)):
        assert server.answered(question[:end]) in (b"", server.answered(question[:end]))
    for _ in range(2000):
        server.answered(draw.randbytes(draw.randrange(60)))
    assert server.answered(b"") == b""


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "192.0.2.1:80", "[::]:80", "console.example:80"])
def test_it_listens_on_loopback_alone(tmp_path: Path, address: str) -> None:
    with pytest.raises(ValueError, match="loopback alone"):
        build(tmp_path, Ports(console=address), "127.0.0.1:25", ["127.0.0.1:53"])
    assert list(tmp_path.iterdir()) == []


def test_its_configuration_is_sound_and_names_loopback_alone(tmp_path: Path) -> None:
    house = build(tmp_path, Ports(), "127.0.0.1:25", ["127.0.0.1:53"])
    config = load(house.config)
    assert {pool.name for pool in config.delivery.pool} == set(POOLS)
    named = re.findall(r"\d+\.\d+\.\d+\.\d+", house.config.read_text())
    assert named
    assert all(ipaddress.ip_address(one).is_loopback for one in named)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("250 2.0.0 Ok: queued as 7F2A (06h)", "let through"),
        (str(held("06h")), "held"),
        ("451 4.7.1 OG-RATE try again", "deferred"),
        ("452 4.2.2 mailbox is full", "deferred"),
        (str(refused("OG-SUSPENDED", "refused as abuse", "06h")), "refused"),
        ("550 5.1.1 no such user", "refused by receivers"),
    ],
)
def test_what_a_reply_says(reply: str, outcome: str) -> None:
    assert outcome_of(reply) == outcome
    assert outcome in OUTCOMES


async def test_the_next_hop_speaks_smtp() -> None:
    taken: list[tuple[tuple[str, ...], bytes, str]] = []
    listed: set[str] = set()
    hop = NextHop(lambda *message: taken.append(message), listed)
    await hop.start()
    try:
        host, _, port = hop.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))

        async def say(octets: bytes) -> str:
            writer.write(octets)
            while (line := await reader.readline())[3:4] == b"-":
                pass
            return line.decode()

        assert (await reader.readline()).startswith(b"220 ")
        assert (await say(b"EHLO a\r\n")).startswith("250 ")
        assert (await say(b"DATA\r\n")).startswith("554 ")
        await say(b"MAIL FROM:<a@a.example>\r\n")
        assert (await say(b"RCPT TO:<gone.1@example.org>\r\n")).startswith("550 5.1.1")
        assert (await say(b"RCPT TO:<anna.101@example.org>\r\n")).startswith("250 ")
        assert (await say(b"DATA\r\n")).startswith("354 ")
        assert (await say(b"Subject: tea\r\n\r\n..at four\r\n.\r\n")).startswith("250 2.0.0")
        assert taken == [(("anna.101@example.org",), b"Subject: tea\r\n\r\n.at four\r\n", "127.0.0.1")]
        listed.add("127.0.0.1")
        await say(b"MAIL FROM:<a@a.example>\r\n")
        assert (await say(b"RCPT TO:<anna.101@bigmail.example>\r\n")).startswith("554 5.7.1")
        assert (await say(b"QUIT\r\n")).startswith("221 ")
        writer.close()
        await writer.wait_closed()
    finally:
        await hop.stop()
