"""Parts of notices: which addresses are spoken to, lines of a report, words for a chat."""

from __future__ import annotations

import email
import email.policy
import json
from email.message import EmailMessage
from typing import Any

import pytest

from outbound_guard.ledger.outbox_queries import Told
from outbound_guard.notify import arf, forms, words, writing
from outbound_guard.notify.reaching import public
from outbound_guard.notify.writing import Frame

NOW = 1_764_000_000.0
FRAME = Frame(
    hostname="guard.test",
    organisation="Hosting " * 60,
    from_address="postmaster@guard.test",
    reply_to="",
    language="en",
    html=False,
    details=True,
    customer=False,
)


def told(**more: Any) -> Told:
    fields: dict[str, Any] = {
        "serial": 1,
        "time": NOW,
        "kind": "held",
        "account": "acc.test",
        "sender": "joe@acc.test",
        "subject": "",
        "reason": "",
        "data": {},
        "to": "",
        "due": 0.0,
        "count": 1,
        "last": NOW,
    }
    return Told(**fields | more)


@pytest.mark.parametrize(
    "address",
    [
        "64:ff9b:1::808:808",
        "::ffff:0:10.0.0.1",
        "::ffff:0:8.8.8.8",
        "::10.0.0.1",
        "::8.8.8.8",
        "2600::5efe:10.0.0.1",
        "2600::200:5efe:8.8.8.8",
        "168.63.129.16",
        "::ffff:168.63.129.16",
        "64:ff9b::168.63.129.16",
        "2002:a83f:8110::1",
    ],
)
def test_what_hides_another_address_is_not_of_the_internet(address: str) -> None:
    assert not public(address)


def test_addresses_of_the_internet_are() -> None:
    for address in ("8.8.8.8", "2600::1", "64:ff9b::8.8.8.8", "2002:808:808::1", "2600::5efe:1:808:808"):
        assert public(address), address


def test_no_line_of_a_report_is_too_long_and_none_ends_a_part() -> None:
    sample = (
        f"Subject: {'я' * 700}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        f"{'ж' * 900}\r\n--=_id1--\r\n{'x' * 400}--=_id1\r\n\r\nend\r\n"
    ).encode()
    whole = arf.report(FRAME, "id1", NOW, "a@b.test", (told(sender="ш" * 900),), {}, sample, lambda text: text)
    # RFC 5322 2.1.1: 998 octets without CRLF.
    assert max(map(len, whole.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(whole, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert len(list(message.iter_parts())) == 3
    assert whole.count(b"\r\n--=_id1") == 4
    assert b"\r\n --=_id1--\r\n" in whole
    assert whole.count(rb"\u0436") > 890, "nothing of the text is lost"


def test_no_name_makes_a_link_in_a_chat() -> None:
    sender = "[click](https://evil.example)<http://a.test|b> WWW.evil.example @here"
    for text in (
        json.loads(forms.chat(told(sender=sender), "guard.test", details=False)[1])["text"],
        json.loads(forms.chat(told(reason=sender), "guard.test", details=True)[1])["text"],
    ):
        assert not set("[]<>") & set(text)
        for link in ("://", "www.", "@here"):
            assert link not in text.lower()
        assert "(https:\u200b//evil.example)" in text


def test_a_letter_about_many_accounts_tells_the_gravest() -> None:
    many = tuple(told(serial=n, account=f"a{n}.test", sender=f"joe@a{n}.test") for n in range(60))
    many += (told(serial=60, account="bad.test", sender="eve@bad.test", kind="suspended"),)
    text = writing.letter(FRAME, "id1", NOW, "desk@guard.test", many).decode()
    assert "eve@bad.test may not send" in text
    assert words.subject(words.texts("en"), many) == "61 notices about bad.test …: Sending stopped"
