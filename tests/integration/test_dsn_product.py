"""Delivery status notifications as clients ask for them (RFC 3461), through the running product."""

from __future__ import annotations

import email
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.product import Hops, Product, message, until

pytestmark = pytest.mark.timeout(300)  # Whole products are started; on a busy machine that takes a while.


@pytest.fixture
def hops() -> Any:
    with Hops() as hops:
        yield hops


def submit(product: Product, mail_from: str, recipients: dict[str, str], parameters: str = "") -> str:
    """One mail transaction; `recipients`: the parameters of each."""
    with product.client() as client:
        client.ehlo("client.test")
        assert client.has_extn("dsn")
        commands = [f"MAIL FROM:<{mail_from}>{parameters}", *(f"RCPT TO:<{to}>{p}" for to, p in recipients.items())]
        for command in commands:
            assert client.say(command).startswith("250"), command
        code, text = client.data(message("hello", "the body"))
        return f"{code} {text.decode()}"


@pytest.mark.long
def test_what_is_asked_for_is_passed_on_or_obeyed(tmp_path: Path, hops: Hops) -> None:
    knows = hops.start(extensions=("SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"))
    with Product.made(tmp_path / "a", smarthosts=[knows.address]) as product:
        asked = {"bob@b.test": " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+40x.test", "carl@c.test": " NOTIFY=NEVER"}
        assert submit(product, "anna@a.test", asked, " RET=HDRS ENVID=QQ1").startswith("250")
        said = [command for session in knows.sessions for command in session.commands]
        assert any(command.endswith(" RET=HDRS ENVID=QQ1") for command in said)
        assert "RCPT TO:<bob@b.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+40x.test" in said
        assert "RCPT TO:<carl@c.test> NOTIFY=NEVER" in said


def test_bounces_as_they_were_asked_for(tmp_path: Path, hops: Hops) -> None:
    hop = hops.start()
    for address in ("gone@b.test", "never@b.test", "success@b.test"):
        hop.answer("RCPT", "550 5.1.1 no such user", when=address, times=None)
    with Product.made(tmp_path, smarthosts=[hop.address]) as product:
        asked = {
            "there@b.test": "",
            "gone@b.test": " NOTIFY=FAILURE,DELAY ORCPT=rfc822;old-name@x.test",
            "never@b.test": " NOTIFY=NEVER",
            "success@b.test": " NOTIFY=SUCCESS",
        }
        assert submit(product, "anna@a.test", asked, " RET=FULL ENVID=QQ+2B1").startswith("250")
        until(lambda: len(hop.messages) == 2, "the message and its bounce")
        [bounce] = [one for one in hop.messages if one.mail_from == ""]
        assert bounce.recipients == ["anna@a.test"]
        report = email.message_from_bytes(bounce.content)
        _, status, whole = report.get_payload()  # type: ignore[misc]
        about, *recipients = status.get_payload()  # type: ignore[union-attr]
        assert about["Original-Envelope-Id"] == "QQ+1"  # type: ignore[index]
        assert [one["Original-Recipient"] for one in recipients] == ["rfc822; old-name@x.test"]  # type: ignore[index]
        assert "the body" in whole.as_string()  # type: ignore[union-attr]
        # Nothing of it was said to a next hop that does not know it.
        said = [command for session in hop.sessions for command in session.commands]
        assert not [command for command in said if "NOTIFY" in command or "ENVID" in command]


@pytest.mark.long
def test_nobody_has_reports_sent_to_a_stranger(tmp_path: Path, hops: Hops) -> None:
    knows = hops.start(extensions=("SIZE 52428800", "8BITMIME", "DSN"))
    more = '[auth]\npasswords = "passwords"\n'
    passwords = tmp_path / "passwords"
    passwords.write_text(f"anna@a.test:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    config = Product.made(tmp_path, smarthosts=[knows.address], more=more)
    text = config.config.read_text().replace(
        'trusted = ["127.0.0.0/8"]', 'trusted = ["127.0.0.0/8"]\nauth = "optional"', 1
    )
    config.config.write_text(text)
    with config as product, product.client(login=("anna@a.test", "secret")) as client:
        for command in ("MAIL FROM:<victim@v.test> ENVID=x RET=FULL", "RCPT TO:<bob@b.test> NOTIFY=SUCCESS"):
            assert client.say(command).startswith("250")
        code, _ = client.data(message("hello"))
        assert code == 250
        said = [command for session in knows.sessions for command in session.commands]
        assert "RCPT TO:<bob@b.test>" in said
        assert not [command for command in said if "ENVID" in command or "RET=" in command]
