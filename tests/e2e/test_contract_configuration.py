"""The configuration of the contract, started as it stands there: what goes in, what comes out, how it ends."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import smtplib
import socket
import ssl
import tomllib
from collections.abc import Iterator
from pathlib import Path

import argon2
import bcrypt
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from tests.nexthop import NextHop
from tests.product import Hops, Product, alive, command_line, message, until

DESIGN = Path(__file__).parents[3] / "shared" / "DESIGN.md"

CONTRACT = """\
[server]
hostname = "guard.example.net"
data_dir = "./data"
relay_processes = 0              # 0 = one per core

[[listener]]
address = "127.0.0.1:2525"       # "[::1]:2525" for IPv6
tls = "none"                     # none | starttls | implicit
auth = "none"                    # none | optional | required
trusted = ["127.0.0.0/8"]        # networks that may relay without AUTH
proxy_protocol = []              # networks that may send a PROXY header
xclient = []                     # networks that may use XCLIENT

[[listener]]
address = "127.0.0.1:2587"
tls = "starttls"
auth = "required"
certificate = "tls.crt"
private_key = "tls.key"

[auth]
passwords = "passwords"          # lines user:hash, argon2 or bcrypt
server_logins = ["relay-*"]      # logins of MTAs: they name a server, not a sender; rules go on, its headers are trusted

[[identity]]                     # first rule that yields a sender wins
from = "sasl"
[[identity]]
from = "header:X-AuthUser"
trusted = ["127.0.0.0/8"]        # who may assert it (besides server_logins); removed before relaying
[[identity]]
from = "header:Received"
pattern = 'Authenticated sender: (\\S+?)\\)'
[[identity]]
from = "mail_from"
[[identity]]
from = "client_ip"

[limits]
message_size = 52428800
recipients = 1000
connections = 10000
connections_per_address = 200

[state]
url = "embedded"                 # redis:// rediss:// unix:// redis+sentinel:// redis+cluster://
[ledger]
url = "embedded"                 # postgresql://...

[delivery]
mode = "smarthost"               # smarthost | direct | sink (writes to data_dir/sink; only when said so)
retry = [5, 30, 120, 600, 1800, 3600]   # seconds; the last repeats until expiry
expiry = 432000
[[delivery.pool]]
name = "default"
smarthosts = ["127.0.0.1:10025"]
source_addresses = []            # local addresses to send from

[policy]
file = "policy.toml"             # without it the packaged policy applies
mode = "enforce"                 # observe: scores and records everything, changes no reply and holds nothing

[dns]
resolvers = []                   # "127.0.0.1:5353"; empty: the system's

[blocklist]
file = "blocklists.toml"         # [[list]] zone, kind = "ip" | "domain", scope = "address" | "range" | "network", ipv6, codes = {"127.0.0.2" = "..."}, ...
addresses = []                   # besides those of the pools; networks allowed
domains = []

[console]
address = "127.0.0.1:8080"       # "/" and "/openapi.json" (the latter without login)
[metrics]
address = "127.0.0.1:9109"       # "/metrics", "/healthz", "/readyz"
"""  # noqa: E501 - It stands there like this.
BLOCKLISTS = '[[list]]\nzone = "bl.example.org"\nkind = "ip"\nscope = "address"\ncodes = {"127.0.0.2" = "listed"}\n'
PORTS = (2525, 2587, 10025, 8080, 9109)

# Whatever a parser could be tempted to tidy up: white space, folding, 8-bit, dots, no final text.
CONTENT = (
    b"Received: from pc.anna.example ([192.0.2.44])\r\n\tby web7.example (Postfix) with ESMTPSA id 4F;\r\n\tnow\r\n"
    b'From: "Anna  M\xc3\xbcller" <anna@customer.example>\r\n'
    b"to:bob@there.example\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_und_mehr?=\r\n"
    b"X-Empty:\r\n"
    b"\r\n"
    b".\r\n..two dots\r\n" + b"x" * 2000 + b"\r\n\xff\xfe\x00 odd octets\r\n\r\n \r\n\r\n"
)
TRACE = re.compile(
    rb"\AReceived: from client\.test \(\[127\.0\.0\.1\]\)\r\n"
    rb"\tby guard\.example\.net \(Outbound Guard\) with (?P<protocol>[A-Z0-9]+)\r\n"
    rb"\tid (?P<id>[0-9a-z]{16})(?:\r\n\tfor <(?P<recipient>[^>]*)>)?;"
    rb" (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}\r\n"
    rb"X-Outbound-Guard-Id: (?P<token>[0-9A-Za-z_.-]+)\r\n"
)


@pytest.mark.skipif(not DESIGN.is_file(), reason="the design is not beside this clone")
def test_it_is_the_configuration_of_the_design() -> None:
    section = DESIGN.read_text().partition("### 5.2 ")[2]
    assert section.partition("```toml\n")[2].partition("```")[0] == CONTRACT


class Contract:
    """The product with that configuration, its next hop and its certificate."""

    def __init__(self, folder: Path, hops: Hops) -> None:
        self.hop: NextHop = hops.start()
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1")
        server.cert_chain_pems[0].write_to_path(folder / "tls.crt")
        server.private_key_pem.write_to_path(folder / "tls.key")
        self.tls = ssl.create_default_context()
        authority.configure_trust(self.tls)
        weak = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        (folder / "passwords").write_text(
            f"dora@customer.example:{weak.hash('right horse')}\n"
            f"emil@other.example:{bcrypt.hashpw(b'battery', bcrypt.gensalt(4)).decode()}\n"
            f"relay-web7:{weak.hash('server')}\n"
        )
        (folder / "policy.toml").write_text("[threshold]\nwatch = 3.0\n[signal.content]\nmode = 'shadow'\n")
        (folder / "blocklists.toml").write_text(BLOCKLISTS)
        text = CONTRACT
        for port, other in zip(PORTS, free_ports(len(PORTS)), strict=True):
            text = text.replace(f'"127.0.0.1:{port}"', f'"127.0.0.1:{self.hop.port if port == 10025 else other}"')
        (folder / "outbound-guard.toml").write_text(text)
        self.product = Product(folder / "outbound-guard.toml")


def free_ports(number: int) -> list[int]:
    """Ports that are free and that the system gives to nobody by itself: ports of one's own must be named here."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    while len(found) < number:
        with socket.socket() as trying:
            port = random.randrange(first - 12_000, first)
            try:
                trying.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in found:
                found.append(port)
    return found


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    with Hops() as hops:
        contract = Contract(tmp_path_factory.mktemp("contract"), hops)
        with contract.product:
            yield contract


def sent_on(hop: NextHop, mark: str) -> bytes:
    """The one message with this mark in it, as the next hop got it."""
    [found] = [message.content for message in hop.messages if mark.encode() in message.content]
    return found


def test_it_listens_where_it_says(contract: Contract) -> None:
    settings = tomllib.loads(contract.product.config.read_text())
    assert contract.product.addresses["listeners"] == [listener["address"] for listener in settings["listener"]]
    assert contract.product.addresses["metrics"] == settings["metrics"]["address"]


def test_a_trusted_client_and_x_authuser(contract: Contract) -> None:
    asserted = b"X-AuthUser: carla@customer.example\r\n"
    before, after = CONTENT[: CONTENT.index(b"to:bob")], CONTENT[CONTENT.index(b"to:bob") :]
    with contract.product.client() as client:
        said = client.submit(
            "anna@customer.example", ["bob@there.example"], before + asserted + b"X-Mark: plain\r\n" + after
        )
    got = sent_on(contract.hop, "X-Mark: plain")
    trace = TRACE.match(got)
    assert trace is not None, got[:600]
    # What is not ours is as it came, less the asserted identity.
    assert got[trace.end() :] == before + b"X-Mark: plain\r\n" + after
    assert trace["protocol"] == b"ESMTP"
    assert trace["recipient"] == b"bob@there.example"
    # Cut-through: the next hop's own reply, with the id under which it can be asked for.
    assert said == f"250 2.0.0 Ok: queued as TEST ({trace['id'].decode()})"
    assert b"customer" not in trace["token"]
    assert b"carla" not in got
    event = contract.product.event(id=trace["id"].decode())
    assert (event["identity"], event["account"]) == ("carla@customer.example", "customer.example")
    assert event["identity_source"] == "header:X-AuthUser"


def test_a_login_behind_starttls(contract: Contract) -> None:
    for login, mark in (
        (("dora@customer.example", "right horse"), "dora"),
        (("emil@other.example", "battery"), "emil"),
    ):
        content = CONTENT.replace(b"X-Empty:", b"X-AuthUser: somebody@else.example\r\nX-Mark: %b" % mark.encode())
        with contract.product.client(1, tls=contract.tls, login=login) as client:
            said = client.submit("anna@customer.example", ["bob@there.example", "bea@there.example"], content)
        got = sent_on(contract.hop, f"X-Mark: {mark}")
        trace = TRACE.match(got)
        assert trace is not None, got[:600]
        assert got[trace.end() :] == content.replace(b"X-AuthUser: somebody@else.example\r\n", b"")
        assert trace["protocol"] == b"ESMTPSA"
        assert trace["recipient"] is None, "of several recipients none is shown to the others"
        assert said.startswith("250 2.0.0 Ok: queued as TEST (")
        event = contract.product.event(id=trace["id"].decode())
        assert (event["identity"], event["identity_source"]) == (login[0], "sasl")
        assert login[0].partition("@")[2] == event["account"]


def test_a_servers_login_names_no_sender(contract: Contract) -> None:
    for mark, headers, identity, source in (
        ("by header", {"X_AuthUser": "fritz@customer.example"}, "fritz@customer.example", "header:X-AuthUser"),
        (
            "by trace",
            {"Received": "from pc ([192.0.2.9]) (Authenticated sender: gero@customer.example)\r\n\tby web7; now"},
            "gero@customer.example",
            "header:Received",
        ),
        ("by envelope", {"Received": "from pc ([192.0.2.9])\r\n\tby web7; now"}, "hans@customer.example", "mail_from"),
    ):
        content = message(mark, **headers)
        with contract.product.client(1, tls=contract.tls, login=("relay-web7", "server")) as client:
            assert client.submit("hans@customer.example", ["bob@there.example"], content).startswith("250 ")
        got = sent_on(contract.hop, f"Subject: {mark}\r\n")
        trace = TRACE.match(got)
        assert trace is not None
        event = contract.product.event(id=trace["id"].decode())
        assert (event["identity"], event["identity_source"]) == (identity, source)
        # A Received field stays; what was asserted goes.
        assert got[trace.end() :] == message(mark, **{n: v for n, v in headers.items() if n == "Received"})


def test_what_is_refused_is_refused_in_the_texts_of_the_contract(contract: Contract) -> None:
    with contract.product.client(1) as client:
        client.ehlo()
        assert client.say("AUTH PLAIN AGEAYg==").startswith("538 5.7.11 ")
        assert client.say("MAIL FROM:<anna@customer.example>").startswith("530 5.7.0 ")
        client.starttls(context=contract.tls)
        client.ehlo()
        assert client.say("MAIL FROM:<anna@customer.example>").startswith("530 5.7.0 ")
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login("dora@customer.example", "wrong horse")
        assert refused.value.smtp_code == 535
        assert client.login("dora@customer.example", "right horse")[0] == 235
    with contract.product.client() as client:
        assert client.submit("a@x.example", ["b@y.example"], b"", " SIZE=52428801").startswith("552 5.3.4 ")
        assert client.say("MAIL FROM:<a@x.example>").startswith("250 ")
        recipients = [client.say(f"RCPT TO:<r{number}@y.example>")[:9] for number in range(1001)]
        assert recipients == ["250 2.1.5"] * 1000 + ["452 4.5.3"]
        client.say("RSET")
        contract.hop.answer("RCPT", "550 5.1.1 no such mailbox", when="nobody@")
        said = client.submit("a@x.example", ["nobody@y.example"], message("to nobody"))
        assert re.fullmatch(r"550 5\.1\.1 no such mailbox( \([0-9a-z]{16}\))?", said), said


def test_metrics_health_and_the_log(contract: Contract) -> None:
    product = contract.product
    with product.client() as client:
        said = client.submit("ida@metrics.example", ["bob@there.example"], message("counted"))
    # Counters begin with the processes; the log goes on.
    id_ = said.rpartition("(")[2].rstrip(")")
    event = product.event(id=id_)
    decided = [event for event in product.events() if event["timestamp"] >= product.started]
    until(lambda: product.metric("messages_total") == len(decided), lambda: product.get("/metrics"))
    assert product.metric("messages_total", action="relay", reason="clean") >= 1
    status, text = product.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert status == 200
    assert families, "no metrics"
    assert all(name.startswith("outbound_guard_") for name in families)
    labels = {label for family in families.values() for sample in family.samples for label in sample.labels.values()}
    assert not any("example" in label or "@" in label for label in labels), "a label names somebody"
    assert product.metric("state_up") == 1
    until(lambda: product.metric("processes", role="relay") == len(os.sched_getaffinity(0)), "all relays are counted")
    assert product.get("/healthz") == (200, "ok\n")
    until(lambda: product.get("/readyz") == (200, "ready\n"), lambda: product.get("/readyz"))

    assert event["action"] == "relay"
    assert event["code"] == "clean"
    assert event["sender"] == "ida@metrics.example"
    assert event["recipient"] == ["bob@there.example"]
    assert event["response"] == f"250 2.0.0 Ok: queued as TEST ({id_})"
    # The arithmetic can be read off the line; a signal on trial has no part in it.
    assert sum(event["signals"].values()) == pytest.approx(event["score"], abs=0.1)
    assert set(event["shadow"]) == {"content"}
    assert isinstance(event["timestamp"], float)


def test_every_process_descends_from_the_one_started(contract: Contract) -> None:
    product = contract.product
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    mine = {pid for pid in pids if str(product.data.parent) in command_line(pid)}
    assert mine - {os.getpid()} <= product.tree() | {product.pid}
    slots = product.processes()
    relays = {f"relay-{number}" for number in range(len(os.sched_getaffinity(0)))}
    assert set(slots) == {*relays, "delivery-0", "console-0", "state"}
    assert set(slots.values()) <= product.tree()


def test_it_starts_again_after_sigkill_of_everything(contract: Contract) -> None:
    product = contract.product
    addresses = product.addresses
    with product.client() as idle:
        idle.ehlo()
        product.kill_everything()
    product.start()
    assert product.addresses == addresses
    with product.client() as client:
        assert client.submit("anna@customer.example", ["bob@there.example"], message("again")).startswith("250 ")
    sent_on(contract.hop, "Subject: again\r\n")
    # What was counted and decided before is still known.
    shown = json.loads(product.guard("account", "show", "customer.example", "--json"))
    assert shown["day"]["relay"] >= 3


def test_sigterm_ends_it_with_clients_connected_and_a_message_under_way(contract: Contract) -> None:
    product = contract.product
    idle, busy = product.client(), product.client()
    idle.ehlo()
    busy.ehlo()
    for command in ("MAIL FROM:<a@x.example>", "RCPT TO:<b@y.example>", "DATA"):
        assert busy.say(command)[:1] in "23"
    busy.send(b"Subject: under way\r\n\r\nfirst half\r\n")
    slots = set(product.processes().values())
    product.signal(signal.SIGTERM)
    # The idle one is told at once; the other may finish.
    assert idle.getreply()[0] == 421
    busy.send(b"second half\r\n.\r\n")
    code, _ = busy.getreply()
    assert code == 250
    assert product.stop() == 0
    assert not any(alive(pid) for pid in slots)
    assert b"first half\r\nsecond half\r\n" in sent_on(contract.hop, "Subject: under way\r\n")
    for client in (idle, busy):
        client.close()
    product.start()
