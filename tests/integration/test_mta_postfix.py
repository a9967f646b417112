"""A real Postfix with the files of deploy/mta in front of the product."""

from __future__ import annotations

import base64
import os
import re
import shutil
import smtplib
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mtahouse import BODY, LOGIN, MTA, PASSWORD, House, body_of, house_at
from tests.postfix import REQUIRED, Postfix, postfix_at
from tests.product import message, until

pytestmark = [
    pytest.mark.long,
    *REQUIRED,
    pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed"),
    pytest.mark.skipif(
        not list(Path("/usr/lib").glob("*/sasl2/libplain.so*")), reason="libsasl2-modules is not installed"
    ),
]
NAME = "web2.customer.test"
SERVER = """
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/checker
virtual_mailbox_domains = shop.example
virtual_mailbox_maps = static:all
virtual_transport = smtp:[127.0.0.1]:{local}
smtp_tls_policy_maps = texthash:{folder}/policies
"""


class _Checker(socketserver.StreamRequestHandler):
    """Says what Dovecot's authentication service says, and accepts every login with the password `secret`."""

    def handle(self) -> None:
        self.wfile.write(b"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t1\nDONE\n")
        for line in self.rfile:
            words = line.decode().rstrip("\n").split("\t")
            if words[0] == "AUTH":
                [response] = [word[5:] for word in words if word.startswith("resp=")]
                _, login, password = base64.b64decode(response).decode().split("\0")
                said = f"OK\t{words[1]}\tuser={login}\n" if password == "secret" else f"FAIL\t{words[1]}\n"
                self.wfile.write(said.encode())


@contextmanager
def checker(socket: Path) -> Iterator[None]:
    """What Postfix asks about logins."""
    with socketserver.ThreadingUnixStreamServer(str(socket), _Checker) as server:
        server.daemon_threads = True
        socket.chmod(0o666)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def main_cf(folder: Path, house: House) -> str:
    """The lines of deploy/mta/postfix/main.cf for this house, without comments."""
    text = (MTA / "postfix/main.cf").read_text()
    text = text.replace("/etc/postfix", str(folder)).replace("/etc/ssl/certs/ca-certificates.crt", str(house.ca_file))
    text = text.replace("[guard.example.net]:2587", f"[localhost]:{house.port}")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


class Server:
    """A customer's Postfix and the next hop that stands for its local mailboxes."""

    def __init__(self, postfix: Postfix, house: House) -> None:
        self.postfix, self.house = postfix, house
        self.local = house.hops.start()

    def submit(self, login: str, mail_from: str, content: bytes, to: str = "bob@there.test") -> None:
        """Over SMTP, as a customer's mail program does; `login` may be empty."""
        with smtplib.SMTP("127.0.0.1", self.postfix.port, local_hostname="pc.test") as client:
            if login:
                client.login(login, "secret")
            client.sendmail(mail_from, [to], content)

    def run_as(self, uid: int, mail_from: str, content: bytes) -> None:
        """By sendmail(1), as a program of this system user does."""
        self.postfix.sendmail(uid, mail_from, "bob@there.test", content)

    def queue(self) -> int:
        """Messages in the queue."""
        return len(self.postfix.run("postqueue", "-j").splitlines())

    def bounce(self, to: str) -> bytes:
        """The bounce that a local mailbox has got; empty if there is none yet."""
        found = [one.content for one in self.local.messages if one.recipients == [to] and not one.mail_from]
        return found[0] if found else b""

    def purge(self, *words: str) -> str:
        """What deploy/mta/purge/postfix prints."""
        environment = {**os.environ, "POSTFIX": str(self.postfix.folder)}
        done = subprocess.run(["sh", MTA / "purge/postfix", *words], capture_output=True, env=environment)
        return (done.stdout + done.stderr).decode()


SUSPENDED = ("eve@shop.example", f"{LOGIN}/uid1066:mailer.php")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house_at(tmp_path_factory.mktemp("postfix"), SUSPENDED) as house:
        yield house


@pytest.fixture(scope="module")
def server(house: House) -> Iterator[Server]:
    with postfix_at(NAME) as postfix:
        folder = postfix.folder
        server = Server(postfix, house)
        shutil.copy(MTA / "postfix/outbound_guard_headers", folder)
        (folder / "outbound_guard_login").write_text(f"[localhost]:{house.port} {LOGIN}:{PASSWORD}\n")
        (folder / "policies").write_text(f"[127.0.0.1]:{server.local.port} none\n")
        postfix.run("postmap", f"hash:{folder}/outbound_guard_login")
        with checker(folder / "checker"):
            postfix.start(main_cf(folder, house) + SERVER.format(folder=folder, local=server.local.port))
            yield server


def test_a_mailbox_is_known_by_its_login(house: House, server: Server) -> None:
    forged = {"X_AuthUser": "victim@other.example", "X_Authenticated_Sender": "web1: victim@other.example"}
    server.submit("anna@shop.example", "forged@other.example", message("by login", BODY, **forged))
    got = house.got("by login")
    assert house.who(got) == ("shop.example", "anna@shop.example", "header:Received")
    assert body_of(got) == BODY.encode() + b"\r\n"
    assert b"victim" not in got.content
    # What Postfix wrote stays; it is not an identity header of ours to remove.
    assert b"(Authenticated sender: anna@shop.example)" in got.content


def test_a_script_is_known_by_its_uid_and_its_file(house: House, server: Server) -> None:
    script = {"X_PHP_Originating_Script": "1012:mailer.php", "X_AuthUser": "victim@other.example"}
    server.run_as(1012, "info@shop.example", message("by script", BODY, **script))
    got = house.got("by script")
    assert house.who(got) == (f"{LOGIN}/uid1012", f"{LOGIN}/uid1012:mailer.php", "header:X-PHP-Originating-Script")
    assert body_of(got) == BODY.encode() + b"\r\n"
    assert b"X-PHP-Originating-Script" not in got.content
    server.run_as(1013, "info@shop.example", message("by cron"))
    assert house.who(house.got("by cron")) == (f"{LOGIN}/uid1013", f"{LOGIN}/uid1013", "header:Received")
    # Its neighbour writes the same header.
    server.run_as(1014, "info@shop.example", message("by forger", **script))
    assert house.who(house.got("by forger"))[1] == f"{LOGIN}/uid1014:mailer.php"


def test_local_mail_stays_on_the_server(house: House, server: Server) -> None:
    server.submit("anna@shop.example", "anna@shop.example", message("for a neighbour"), "carl@shop.example")
    until(lambda: server.local.messages, server.postfix.said)
    assert not [one for one in house.hop.messages if b"for a neighbour" in one.content]


def test_a_suspended_mailbox_gets_its_mail_back(house: House, server: Server) -> None:
    server.submit("eve@shop.example", "eve@shop.example", message("of a suspended one"))
    bounce = until(lambda: server.bounce("eve@shop.example"), server.postfix.said)
    assert b"550 5.7.1 OG-SUSPENDED" in bounce
    server.submit("anna@shop.example", "anna@shop.example", message("of her neighbour"))
    house.got("of her neighbour")


def test_of_a_suspended_script_a_sample_is_kept_and_the_rest_comes_back(house: House, server: Server) -> None:
    script = {"X_PHP_Originating_Script": "1066:mailer.php"}
    server.run_as(1066, "web66@shop.example", message("sample of a script", **script))
    house.product.event(identity=f"{LOGIN}/uid1066:mailer.php", action="quarantine")
    server.run_as(1066, "web66@shop.example", message("sample of a script", **script))
    bounce = until(lambda: server.bounce("web66@shop.example"), server.postfix.said)
    assert b"OG-SUSPENDED" in bounce


def test_what_cannot_be_handed_on_is_kept_and_one_senders_mail_can_be_purged(house: House, server: Server) -> None:
    until(lambda: server.queue() == 0, server.postfix.said)
    # As if nobody could be reached.
    server.postfix.set("defer_transports = smtp")
    for number in range(2):
        server.submit("anna@shop.example", "anna@shop.example", message(f"kept {number}"))
        server.submit("mallory@shop.example", "anna@shop.example", message(f"forged by mallory {number}"))
        server.submit("hannah@shop.example", "hannah@shop.example", message(f"kept of hannah {number}"))
        below = "by web2.customer.test (Postfix, from userid 101) id 1"
        server.run_as(1012, "info@shop.example", message(f"kept of 1012 {number}", Received=below))
        server.run_as(101, "info@shop.example", message(f"flood of 101 {number}"))
        server.submit("peter@shop.example", "peter@shop.example", message(f"flood of peter {number}"))
    until(lambda: server.queue() == 12, server.postfix.said)
    assert len(server.purge("login", "mallory@shop.example", "--list").split()) == 2
    assert server.queue() == 12
    for kind, who, left in (
        ("login", "mallory@shop.example", 10),
        ("user", "101", 8),
        ("from", "peter@shop.example", 6),
        ("from", "nobody@shop.example' or true", 6),
        ("login", ".*", 6),
        ("user", "10", 6),
    ):
        # One that moves from queue to queue at that moment is not found.
        until(lambda: len([server.purge(kind, who)]) and server.queue() == left, (kind, who))  # noqa: B023
    assert "usage" in server.purge("from", "")
    assert server.queue() == 6
    server.postfix.set("defer_transports =")
    server.postfix.run("postqueue", "-f")
    for number in range(2):
        for subject in (f"kept {number}", f"kept of hannah {number}", f"kept of 1012 {number}"):
            house.got(subject)
    assert not [one for one in house.hop.messages if b"mallory" in one.content or b"flood of" in one.content]


def test_the_script_for_plesk_sets_the_same(house: House, tmp_path: Path) -> None:
    """What it changes in a main.cf is what deploy/mta/postfix/main.cf says, but for the trust in certificates."""
    (tmp_path / "main.cf").write_text(
        "compatibility_level = 3.6\ntransport_maps = hash:/var/spool/postfix/plesk/transport\n"
    )
    (tmp_path / "master.cf").touch()
    done = subprocess.run(
        ["sh", MTA / "plesk/smarthost", "localhost", str(house.port), LOGIN],
        input=f"{PASSWORD}\n".encode(),
        capture_output=True,
        env={**os.environ, "POSTFIX": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"look at transport_maps" in done.stderr
    set_, ours = ((tmp_path / "main.cf").read_text(), main_cf(tmp_path, house))
    lines = {line for line in ours.splitlines() if line and not re.match("smtp_tls_CAfile|header_checks", line)}
    assert lines <= set(set_.splitlines())
    assert (tmp_path / "outbound_guard_login").read_text() == f"[localhost]:{house.port} {LOGIN}:{PASSWORD}\n"
    assert (tmp_path / "outbound_guard_login").stat().st_mode & 0o77 == 0


def test_a_proxy_tells_by_xclient_who_has_logged_in(house: House) -> None:
    """What nginx says to its next server; see deploy/mta/nginx."""
    with house.product.client(2) as client:
        client.ehlo()
        assert client.say("XCLIENT ADDR=203.0.113.9 LOGIN=anna@shop.example NAME=[UNAVAILABLE]").startswith("220 ")
        client.ehlo()
        assert client.submit("forged@other.example", ["bob@there.test"], message("by xclient")).startswith("250 ")
    assert house.who(house.got("by xclient")) == ("shop.example", "anna@shop.example", "sasl")
