"""Delivery to a real Postfix, which hands on to our own next hop: what arrives there is what was sent."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trustme

from outbound_guard.clock import SystemClock
from outbound_guard.config import Pool
from outbound_guard.delivery.smarthost import Smarthosts
from outbound_guard.mail import Envelope
from tests.nexthop import NextHop

pytestmark = [
    pytest.mark.skipif(not shutil.which("postfix"), reason="Postfix is not installed"),
    pytest.mark.skipif(os.getuid() != 0, reason="Postfix is started by root only"),
]
EVENT_LOOPS = ("asyncio", "uvloop")

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = smarthost.test
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
default_transport = smtp
transport_maps = texthash:{folder}/transport
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/recipients, permit_mynetworks, reject
smtpd_tls_security_level = may
smtpd_tls_chain_files = {folder}/server.pem
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
message_size_limit = 100000
notify_classes =
biff = no
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{plain} inet n - n - - smtpd -o smtpd_discard_ehlo_keywords=pipelining,starttls,8bitmime
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
RECIPIENTS = """
unknown@y.test 550 5.1.1 there is no such mailbox
later@y.test 450 4.2.1 not now
"""
CONTENT = b"From: a@x.test\r\nTo: b@y.test\r\nSubject: dots\r\n\r\n.\r\n..\r\n...\r\n.a\r\nlast line\r\n"


class Postfix:
    """Where it listens: with everything it can do, and with little."""

    def __init__(self, folder: Path, port: int, plain: int) -> None:
        self.folder = folder
        self.full = f"127.0.0.1:{port}"
        self.plain = f"127.0.0.1:{plain}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def next_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def postfix(authority: trustme.CA, next_port: int) -> Iterator[Postfix]:
    # Its processes run under another user, who could not enter pytest's own folders.
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))
    folder.chmod(0o755)
    port, plain = free_port(), free_port()
    for name in ("spool", "data"):
        (folder / name).mkdir()
    os.chown(folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    (folder / "main.cf").write_text(MAIN.format(folder=folder))
    (folder / "master.cf").write_text(MASTER.format(port=port, plain=plain))
    (folder / "recipients").write_text(RECIPIENTS)
    (folder / "transport").write_text(f"y.test smtp:[127.0.0.1]:{next_port}\n")
    started = subprocess.run(["postfix", "-c", str(folder), "start"], capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    try:
        wait_until_it_listens(port)
        yield Postfix(folder, port, plain)
    finally:
        subprocess.run(["postfix", "-c", str(folder), "stop"], capture_output=True, check=True)
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_it_listens(port: int) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


@pytest.fixture
async def behind(next_hop: Callable[..., Awaitable[NextHop]], postfix: Postfix, next_port: int) -> NextHop:
    """The next hop behind Postfix."""
    return await next_hop(port=next_port)


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture
async def to() -> AsyncIterator[Callable[..., Smarthosts]]:
    started = []

    def start(pool: Pool) -> Smarthosts:
        started.append(Smarthosts(pool, hostname="guard.test", clock=SystemClock(), count=lambda *_: None))
        return started[-1]

    yield start
    for one in started:
        await one.close()


def without_trace(content: bytes) -> bytes:
    """The message less the Received field that Postfix has put in front, and the Message-ID and Date it adds."""
    return content[content.index(b"From: a@x.test") :]


@pytest.mark.parametrize("tls", ["none", "opportunistic", "required"])
async def test_messages_arrive_octet_for_octet(
    to: Callable[..., Smarthosts], postfix: Postfix, behind: NextHop, ca_file: str, tls: str
) -> None:
    pool = to(Pool(smarthosts=(postfix.full,), tls=tls, ca_file=ca_file))
    content = b"Message-ID: <1@x.test>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n" + CONTENT
    for _ in range(3):
        result = await pool.send(Envelope("a@x.test", ("b@y.test", "c@y.test")), [content[:100], content[100:]])
        assert [reply.code for reply in result.replies] == [250, 250]
        assert result.replies[0].text.startswith("Ok: queued as")
        assert result.peer == postfix.full
    messages = await behind.received(3)
    assert [without_trace(message.content) for message in messages] == [CONTENT] * 3
    assert all(b"with ESMTP" + (b"S" if tls != "none" else b"") + b" id" in message.content for message in messages)
    assert pool.health()[0].idle == 1


async def test_recipients_are_answered_one_by_one(
    to: Callable[..., Smarthosts], postfix: Postfix, behind: NextHop
) -> None:
    for address in (postfix.full, postfix.plain):
        pool = to(Pool(smarthosts=(address,)))
        envelope = Envelope("", ("unknown@y.test", "b@y.test", "later@y.test"))
        result = await pool.send(envelope, [CONTENT])
        assert [(reply.code, reply.enhanced) for reply in result.replies] == [
            (550, "5.1.1"),
            (250, "2.0.0"),
            (450, "4.2.1"),
        ]
        # Nobody is left: the session goes on all the same.
        result = await pool.send(Envelope("", ("unknown@y.test", "later@y.test")), [CONTENT])
        assert [reply.code for reply in result.replies] == [550, 450]
        result = await pool.send(Envelope("a@x.test", ("b@y.test",)), [CONTENT])
        assert [reply.code for reply in result.replies] == [250]
        assert pool.health()[0].idle == 1
    messages = await behind.received(4)
    assert {message.mail_from for message in messages} == {"", "a@x.test"}


async def test_a_message_that_is_too_large(to: Callable[..., Smarthosts], postfix: Postfix, behind: NextHop) -> None:
    pool = to(Pool(smarthosts=(postfix.full,)))
    result = await pool.send(Envelope("a@x.test", ("b@y.test",)), [CONTENT, b"0123456789\r\n" * 10_000])
    assert [(reply.code, reply.enhanced) for reply in result.replies] == [(552, "5.3.4")]
    result = await pool.send(Envelope("a@x.test", ("b@y.test",)), [CONTENT])
    assert [reply.code for reply in result.replies] == [250]
    await behind.received(1)


async def test_many_senders_at_once(to: Callable[..., Smarthosts], postfix: Postfix, behind: NextHop) -> None:
    pool = to(Pool(smarthosts=(postfix.full,), connections=5))
    results = await asyncio.gather(*(pool.send(Envelope(f"a{n}@x.test", ("b@y.test",)), [CONTENT]) for n in range(40)))
    assert {reply.code for result in results for reply in result.replies} == {250}
    messages = await behind.received(40)
    assert {message.mail_from for message in messages} == {f"a{n}@x.test" for n in range(40)}
