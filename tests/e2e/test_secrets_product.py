"""What a running product leaves for others to read: no secret in its output at the level debug, no file but its own."""

from __future__ import annotations

import base64
import os
import re
import socket
import stat
from collections.abc import Iterator

import argon2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.live_edge import certificates, client_tls
from tests.product import Hops, Product, command_line, until
from tests.webconsole import PASSWORD, Visit, signed_in

pytestmark = pytest.mark.long

LOGIN, WRONG, SMARTHOST = "Right-7Lsm2vQx", "Wrong-8Ktn3wRy", "Hop-9Juo4xSz"
BODY, CLEAR, STORE = "Body-1Cfk5zTa", "Clear-2Dgl6yUb", "Store-3Ehm7xVc"
MORE = """
[[listener]]
address = "127.0.0.1:0"
tls = "starttls"
auth = "required"
certificate = "tls.crt"
private_key = "tls.key"
[auth]
passwords = "passwords"
[[dkim]]
domain = "x.test"
selector = "s1"
private_key = "dkim.pem"
[recording]
enabled = true
content = true
"""


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """What must not be found, by what it is."""
    return {
        "a right password": LOGIN,
        "a wrong password": WRONG,
        "a password said in clear": CLEAR,
        "the smarthost's password": SMARTHOST,
        "what a message says": BODY,
        "a password of the console": PASSWORD,
    }


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, secrets: dict[str, str]) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("secrets")
    _, certificate = certificates()
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "dkim.pem").write_bytes(key)
    hash_ = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(LOGIN)
    (folder / "passwords").write_text(f"anna@x.test:{hash_}\n")
    (folder / "smarthost").write_text(SMARTHOST + "\n")
    secrets |= {"the key of DKIM": key.decode().split("\n")[1], "a hash of a password": hash_.rpartition("$")[2]}
    secrets["the key of TLS"] = certificate.private_key_pem.bytes().decode().split("\n")[3]
    with Hops() as hops:
        hop = hops.start(logins={"guard": SMARTHOST})
        made = Product.made(folder, smarthosts=[hop.address], relays=1, more=MORE)
        text = made.config.read_text().replace(
            'hostname = "guard.test"', 'hostname = "guard.test"\nlog_level = "debug"'
        )
        made.config.write_text(
            text.replace('tls = "none"\nreply', 'tls = "none"\nuser = "guard"\npassword_file = "smarthost"\nreply')
        )
        # The worst habit that a machine can have; and a data directory that somebody has made by hand.
        before = os.umask(0)
        try:
            made.data.mkdir(mode=0o755)
            with made:
                use(made, secrets)
                assert hops.call(hop.received(2))
                yield made
        finally:
            os.umask(before)


def use(product: Product, secrets: dict[str, str]) -> None:
    """Whatever has to do with secrets, once."""
    content = f"From: anna@x.test\r\nSubject: x\r\n\r\n{BODY}\r\n".encode()
    with product.client(1, tls=client_tls(), login=("anna@x.test", LOGIN)) as client:
        assert client.submit("anna@x.test", ["b@y.test"], content).startswith("250 ")
    with product.client(1, tls=client_tls()) as client:
        client.ehlo()
        word = base64.b64encode(f"\0anna@x.test\0{WRONG}".encode()).decode()
        assert client.say(f"AUTH PLAIN {word}").startswith("535 ")
        assert client.say("AUTH LOGIN").startswith("334 ")
        assert client.say(base64.b64encode(b"anna@x.test").decode()).startswith("334 ")
        assert client.say(base64.b64encode(WRONG.encode()).decode()).startswith("535 ")
        # Those who get the dialogue wrong say it where a command stands.
        assert client.say(f"AUTH CRAM-MD5 {CLEAR}").startswith("5")
        assert client.say(f"PASS {CLEAR}").startswith("5")
        assert client.say("AUTH PLAIN").startswith("334 ")
        assert client.say(f"!{CLEAR}").startswith("5")
    with product.client() as client:
        assert client.submit("anna@x.test", ["b@y.test"], content).startswith("250 ")
    with signed_in(product) as ann:
        secrets["a session"] = next(iter(ann.http.cookies.jar)).value or "?"
        secrets["a CSRF token"] = ann.csrf
        ann.http.headers["Referer"] = f"http://{product.addresses['console']}/me"
        ann.get("/me")
        made = ann.post("/me/tokens", name="ci", scope=["read"], days="7")
        token = re.search(r'value="(og_[0-9a-f]{16}_([0-9a-f]{48}))"', made.text)
        assert token
        secrets["an API token"] = token[2]
        visit = Visit(product.addresses["console"])
        assert visit.post("/sign-in", name="ann", password=CLEAR).status_code == 401
        visit.http.close()
        program = Visit(product.addresses["console"], token=token[1])
        assert program.api("GET", "/me").status_code == 200
        assert program.api("GET", "/nonsense").status_code == 404
        program.http.close()
    own = (product.data / "secret").read_bytes()
    secrets["our own secret"] = own.hex()
    until(lambda: product.metric("smtp_logins_total", result="wrong") >= 2, "the metrics are counted")


def forms(secret: str) -> set[bytes]:
    """A secret as it may stand somewhere: as it is, in base64, hexadecimal, or escaped."""
    plain = secret.encode()
    # In base64 the same octets have three forms; what is at the edges depends on the neighbours.
    turned = {base64.b64encode(b"\0" * before + plain + b"\0" * 3)[4 if before else 0 :][:-8] for before in range(3)}
    return {plain, plain.hex().encode(), repr(secret)[1:-1].encode(), *turned}


def logs(product: Product) -> dict[str, bytes]:
    """All that goes to logs, metrics and process lists."""
    found = {file.name: file.read_bytes() for file in product.data.rglob("*.log")}
    found["standard output"] = product.config.with_suffix(".out").read_bytes()
    found["standard error"] = product.config.with_suffix(".err").read_bytes()
    found["metrics"] = product.get("/metrics")[1].encode()
    found["process list"] = " ".join(str(command_line(pid)) for pid in product.tree()).encode()
    return found


@pytest.mark.parametrize("before", ["", "\0", "\0a", "\0ab"])
def test_forms_are_found(before: str) -> None:
    # Else the test below could find nothing, whatever was written.
    for behind in ("", "x", "xy"):
        word = base64.b64encode(f"{before}{WRONG}{behind}".encode())
        assert [form for form in forms(WRONG) if form in word], word
    assert len(min(forms(WRONG), key=len)) > 11


def test_no_secret_is_in_the_logs(product: Product, secrets: dict[str, str]) -> None:
    found = logs(product)
    assert b" DEBUG " in found["standard error"]
    assert b'"type":"Reception"' in found["standard output"]
    assert len(secrets) == 13
    for what, secret in secrets.items():
        assert len(secret) > 8
        for where, text in found.items():
            assert not [form for form in forms(secret) if form in text], f"{what} is in {where}"


def test_nobody_else_may_read(product: Product) -> None:
    product.guard("held", "list")
    seen = set()
    for path in product.data.rglob("*"):
        mode = path.lstat().st_mode
        kind = stat.S_IFMT(mode)
        seen.add(kind)
        assert mode & 0o077 == 0, f"{path.relative_to(product.data)} is {stat.filemode(mode)}"
    assert seen == {stat.S_IFDIR, stat.S_IFREG, stat.S_IFSOCK}


def test_it_says_what_others_may_read(product: Product) -> None:
    said = product.said()
    for name in (
        "auth.passwords",
        "listener[1].private_key",
        "dkim[0].private_key",
        "pool[0].password_file",
        "data_dir",
    ):
        assert re.search(rf"WARNING .*{re.escape(name)}: .*chmod [67]00 ", said), name


def test_a_password_of_the_store_is_not_logged(product: Product) -> None:
    product.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Nobody listens there, and nobody else will.
        address = "{}:{}".format(*taken.getsockname())
        text = product.config.read_text()
        product.config.write_text(f'{text}\n[state]\nurl = "redis://guard:{STORE}@{address}/0"\n')
        product.start()
        try:
            with product.client() as client:
                assert client.submit("anna@x.test", ["b@y.test"], b"Subject: y\r\n\r\nx\r\n").startswith("250 ")
            until(lambda: product.metric("state_up") == 0, "the store is missed")
            for where, written in logs(product).items():
                assert not [form for form in forms(STORE) if form in written], where
        finally:
            product.config.write_text(text)
    product.stop()
