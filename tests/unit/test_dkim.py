"""DKIM signatures, read by a verifier that is not ours."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from outbound_guard.config import Config, ConfigError, Delivery, Dkim
from outbound_guard.delivery.dkim import Signer
from outbound_guard.mail import Sender

# dkimpy as Debian packages it, in a program of its own: there is no wheel of it that could be locked.
PYTHON = "/usr/bin/python3"
VERIFIER = """
import base64, json, sys, dkim
asked = json.load(sys.stdin)
dns = {name.encode(): text.encode() for name, text in asked["dns"].items()}
try:
    message = dkim.DKIM(base64.b64decode(asked["content"]))
    print(bool(message.verify(asked["place"], dnsfunc=lambda name, timeout=5: dns.get(name))))
except dkim.ValidationError:
    print(False)
"""


def _installed() -> bool:
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", "import dkim, nacl"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _installed(), reason="no verifier (Debian packages python3-dkim, python3-nacl)")

NOW = 1_700_000_000.0
ANNA = Sender("shop.test", "anna@shop.test", "mailbox", "sasl")
HEAD = (
    b"Received: from a\r\n\tby b; today\r\nFrom:  Anna \t <anna@shop.test>\r\nTo: b@there.test,\r\n  c@there.test\r\n"
    b"Subject: =?utf-8?q?h=C3=A4?=\r\nDate: Mon, 2 Mar 2026 10:00:00 +0100\r\nMessage-ID: <1@shop.test>\r\n"
)
BODY = b"Hello,  you \t\r\n\r\n.dots.\r\n \r\n\r\n\r\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[bytes, bytes]]:
    """A folder of keys, and the DNS with their public parts."""
    folder, dns = tmp_path_factory.mktemp("keys"), {}
    for name, key in (("rsa", generate_rsa(65537, 2048)), ("ed", Ed25519PrivateKey.generate())):
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.pem").write_bytes(pem)
        if isinstance(key, RSAPrivateKey):
            public, kind = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), b"rsa"
        else:
            public, kind = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), b"ed25519"
        record = b"v=DKIM1; k=" + kind + b"; p=" + base64.b64encode(public)
        for domain in (b"shop.test", b"other.test"):
            dns[name.encode() + b"._domainkey." + domain + b"."] = record
    return folder, dns


Sign = Callable[..., bytes]
Verify = Callable[[bytes, int], bool]


@pytest.fixture
def sign(keys: tuple[Path, dict[bytes, bytes]]) -> Sign:
    def signed(
        content: bytes, *selectors: str, domain: str = "shop.test", feedback: str = "", sender: Sender = ANNA
    ) -> bytes:
        tables = tuple(Dkim(domain=domain, selector=one, private_key=f"{one}.pem") for one in selectors or ("rsa",))
        config = Config(dkim=tables, delivery=Delivery(feedback_id=feedback), path=str(keys[0] / "config.toml"))
        signer = Signer(config, b"s" * 32)
        half = len(content) // 2
        return b"".join(signer.sign([content[:half], content[half:]], "anna@shop.test", sender, 0xBEEF, NOW))

    return signed


@pytest.fixture
def verify(keys: tuple[Path, dict[bytes, bytes]]) -> Verify:
    def verified(content: bytes, place: int = 0) -> bool:
        if not content.endswith(b"\r\n"):
            content += b"\r\n"  # As every message has it on the wire.
        asked = {
            "content": base64.b64encode(content).decode(),
            "place": place,
            "dns": {name.decode(): text.decode() for name, text in keys[1].items()},
        }
        done = subprocess.run(
            [PYTHON, "-c", VERIFIER], input=json.dumps(asked), capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout == "True\n"

    return verified


@pytest.mark.parametrize("selector", ["rsa", "ed"])
@pytest.mark.parametrize(
    "content",
    [
        HEAD + b"\r\n" + BODY,
        HEAD + b"\r\n",
        HEAD + b"\r\n\r\n\r\n",
        HEAD + b"\r\nno line end",
        HEAD + b"\r\nspaces at the end   ",
        HEAD + b"\r\n \r\n",
        HEAD + b"Content-Type: text/plain\r\n\r\n\xe4\xf6\r\n",
        HEAD + b"Cc: \r\nSubject: twice\r\n\r\n" + BODY,
    ],
)
def test_signatures_hold(sign: Sign, verify: Verify, selector: str, content: bytes) -> None:
    signed = sign(content, selector)
    assert signed.endswith(content)
    assert verify(signed, 0)
    assert max(map(len, signed[: -len(content)].split(b"\r\n"))) < 100


STALLING = {
    "no colon": HEAD + b"x" * 500_000 + b"\r\n\r\nhi\r\n",
    "no colon, tabs": HEAD + b"x\t" * 250_000 + b"\r\n\r\nhi\r\n",
    "folds": HEAD + b"X-Long: " + b"\r\n\tx" * 100_000 + b"\r\n\r\nhi\r\n",
    "spaces": HEAD + b"Cc: " + b"a \t" * 150_000 + b"\r\n\r\nhi\r\n",
    "empty lines": HEAD + b"\r\nhi\r\n" + b"\r\n" * 500_000,
    "blank lines": HEAD + b"\r\nhi\r\n" + b" \t\r\n" * 250_000,
}


@pytest.mark.parametrize("case", STALLING)
def test_a_megabyte_made_to_stall(sign: Sign, verify: Verify, case: str) -> None:
    spent, signed = 1.0, b""
    for _ in range(4):  # The least of four: the machine may be busy with other things.
        start = time.process_time()
        signed = sign(STALLING[case], "ed")
        spent = min(spent, time.process_time() - start)
        if spent < 0.05:
            break
    assert spent < 0.05
    assert signed.startswith(b"DKIM-Signature:")
    if case in ("folds", "empty lines", "blank lines"):
        assert verify(signed)


def test_both_kinds_of_key(sign: Sign, verify: Verify) -> None:
    signed = sign(HEAD + b"\r\n" + BODY, "rsa", "ed")
    assert (verify(signed, 0), verify(signed, 1)) == (True, True)


@pytest.mark.parametrize(
    ("what", "by"),
    [
        (b"Hello,  you", b"Hello, me"),
        (b"anna@shop.test", b"boss@shop.test"),
        (b"\r\n\r\nHello", b"\r\nSubject: another\r\n\r\nHello"),
        (b"\r\n\r\nHello", b"\r\nFrom: boss@shop.test\r\n\r\nHello"),
        (b"\r\n\r\nHello", b"\r\nReply-To: thief@there.test\r\n\r\nHello"),
    ],
)
def test_changes_are_seen(sign: Sign, verify: Verify, what: bytes, by: bytes) -> None:
    signed = sign(HEAD + b"\r\n" + BODY)
    assert verify(signed)
    assert not verify(signed.replace(what, by))


def test_on_the_way_fields_may_be_added(sign: Sign, verify: Verify) -> None:
    assert verify(b"Received: from guard\r\nX-Spam: no\r\n" + sign(HEAD + b"\r\n" + BODY))


def test_signatures_that_are_there_stay_valid(sign: Sign, verify: Verify) -> None:
    first = sign(HEAD + b"\r\n" + BODY, "ed")
    second = sign(first, "rsa", feedback="guard1")
    assert second.endswith(first)
    assert (verify(second, 0), verify(second, 1)) == (True, True)


def test_feedback_id(sign: Sign, verify: Verify) -> None:
    signed = sign(HEAD + b"\r\n" + BODY, feedback="guard1")
    [line] = [line for line in signed.split(b"\r\n") if line.startswith(b"Feedback-ID:")]
    campaign, account, kind, who = line.partition(b": ")[2].split(b":")
    assert (campaign, kind, who) == (b"beef", b"mailbox", b"guard1")
    assert b"shop" not in account
    assert verify(signed)
    assert not verify(signed.replace(b"guard1", b"other1"))


def test_a_feedback_id_is_not_added_where_it_would_do_harm(sign: Sign, verify: Verify) -> None:
    own = sign(HEAD + b"Feedback-ID: a:b:c:them\r\n\r\n" + BODY, feedback="guard1")
    assert own.count(b"Feedback-ID:") == 1
    assert verify(own)
    sealed = sign(HEAD + b"DKIM-Signature: v=1; h=From:\r\n Feedback-ID ; b=x\r\n\r\n" + BODY, feedback="guard1")
    assert b"Feedback-ID:" not in sealed


@pytest.mark.parametrize(
    "sender",
    [
        Sender("other.test", "eve@other.test", "mailbox", "sasl"),
        Sender("", "192.0.2.1", "address", "client_ip"),
        Sender("web1/1001", "web1/1001:form.php", "script", "header:X-PHP-Originating-Script"),
    ],
)
def test_nobody_gets_another_customers_signature(sign: Sign, sender: Sender) -> None:
    content = HEAD + b"\r\n" + BODY
    assert sign(content, sender=sender, feedback="guard1") == content


def test_a_domain_without_a_key(sign: Sign) -> None:
    content = HEAD + b"\r\n" + BODY
    assert sign(content, domain="other.test") == content


def test_two_authors_fields_are_not_signed(sign: Sign) -> None:
    content = HEAD + b"From: boss@shop.test\r\n\r\n" + BODY
    assert sign(content) == content


@pytest.mark.parametrize(
    ("hostname", "domain", "signed"),
    [
        ("shop.test", "shop.test", True),
        ("Guard.Shop.test.", "shop.test", True),
        ("a.b.shop.test", "shop.test", True),
        ("guard.other.test", "shop.test", False),
        ("ashop.test", "shop.test", False),
        ("guard.shop.co.uk", "co.uk", False),
    ],
)
def test_reports_of_ours_by_the_key_of_their_domain(
    keys: tuple[Path, dict[bytes, bytes]], verify: Verify, hostname: str, domain: str, signed: bool
) -> None:
    table = Dkim(domain=domain, selector="rsa", private_key="rsa.pem")
    signer = Signer(Config(dkim=(table,), path=str(keys[0] / "config.toml")), b"s" * 32)
    report = f"From: mailer-daemon@{hostname}\r\nSubject: x\r\n\r\nbody\r\n".encode()
    found = b"".join(signer.sign_own((report,), hostname, NOW))
    assert (found != report) is signed
    if signed:
        assert b"d=shop.test" in found
        assert verify(found)


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    def signer() -> Signer:
        table = Dkim(domain="shop.test", selector="s", private_key="key.pem")
        return Signer(Config(dkim=(table,), path=str(tmp_path / "config.toml")), b"s" * 32)

    for content, said in (
        (None, "cannot be read"),
        (b"no key", "cannot be read"),
        (generate_rsa(65537, 1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())[:300], "cannot"),
        (
            generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "neither an RSA",
        ),
    ):
        if content is not None:
            (tmp_path / "key.pem").write_bytes(content)
        with pytest.raises(ConfigError, match=said):
            signer()
