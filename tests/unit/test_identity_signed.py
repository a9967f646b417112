"""The signed identity header: who is believed, and that everything else has no effect and is counted."""

from __future__ import annotations

import hashlib
import hmac
import runpy
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.signed import AHEAD
from outbound_guard.config import Config, ConfigError, Identity
from outbound_guard.config.identity_keys import read_keys
from outbound_guard.mail import Envelope, Headers, Sender, Submission

SECRET, OLD = "s3cret-of-web1-0123456789", "0ld-secret-of-web1-987654"
NOW = 1_795_360_830.0
LIFE = 600.0
MAIL_FROM, MESSAGE_ID = "anna@shop.example", "<1@shop.example>"


def header(
    secret: str = SECRET,
    *,
    key: str = "web1",
    time: float = NOW,
    account: str = "",
    sender: str = "anna@shop.example",
    mail_from: str = MAIL_FROM,
    message_id: str = MESSAGE_ID,
    algorithm: str = "sha256",
) -> str:
    """Made as docs/mta.md says, without the product's own function."""
    text = "\n".join(("v1", key, f"{time:.0f}", account, sender, mail_from, message_id))
    digits = hmac.new(secret.encode(), text.encode(), getattr(hashlib, algorithm)).hexdigest()
    return f"X-Guard-Identity: v1; k={key}; t={time:.0f}; a={account}; s={sender}; h={digits}\r\n"


class House:
    """Rules: the signed header, then the envelope."""

    def __init__(self, folder: Path, account_of: Callable[[str], str | None] = lambda name: None) -> None:
        self.keys = folder / "identity-keys"
        self.keys.write_text(f"# of web1\nweb1:{SECRET}\nweb1-old:{OLD}\nweb2:{SECRET}2:shop.example, web2/*\n")
        rules = (
            Identity(from_="signed:X-Guard-Identity", keys="identity-keys", life=LIFE),
            Identity(from_="mail_from"),
        )
        self.counted: Counter[str] = Counter()
        config = Config(identity=rules, path=str(folder / "outbound-guard.toml"))
        self.identifier = Identifier(config, account_of, lambda word: self.counted.update([word]))

    def who(
        self,
        head: str,
        *,
        mail_from: str = MAIL_FROM,
        message_id: str = f"Message-ID: {MESSAGE_ID}\r\n",
        body: str = "x\r\n",
        received: float = NOW,
        server: str | None = None,
    ) -> Sender:
        content = f"{head}{message_id}From: x@y.example\r\n\r\n{body}".encode()
        envelope = Envelope(mail_from, ("to@there.example",))
        submission = Submission(
            id="1", received=received, envelope=envelope, content=content, client_ip="203.0.113.9", server=server
        )
        return self.identifier.identify(submission, Headers(content))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_a_signature_is_believed_of_anybody(house: House, algorithm: str) -> None:
    mail_from = "else@other.example"
    found = house.who(header(mail_from=mail_from, algorithm=algorithm), mail_from=mail_from)
    assert (found.account, found.name, found.kind) == ("shop.example", "anna@shop.example", "mailbox")
    assert (found.source, found.client_ip) == ("signed:X-Guard-Identity", None)
    assert house.counted == {"believed": 1}


@pytest.mark.parametrize(
    ("sender", "more", "expected"),
    [
        ("web1/web12", "", ("web1/web12", "web1/web12", "system")),
        ("web1/Web12", "", ("web1/web12", "web1/web12", "system")),
        ("web1/web12", "X-PHP-Originating-Script: 1012:m.php\r\n", ("web1/web12", "web1/web12:m.php", "script")),
        ("web1/www-data", "X-PHP-Originating-Script: 1012:m.php\r\n", ("web1/uid1012", "web1/uid1012:m.php", "script")),
        ("Anna@Shop.Example", "", ("shop.example", "anna@shop.example", "mailbox")),
    ],
)  # fmt: skip
def test_senders_are_called_as_other_rules_call_them(
    house: House, sender: str, more: str, expected: tuple[str, str, str]
) -> None:
    found = house.who(header(sender=sender) + more)
    assert (found.account, found.name, found.kind) == expected


def test_the_directory_says_whose_it_is_and_else_the_server(tmp_path: Path) -> None:
    house = House(tmp_path, lambda name: {"anna@shop.example": "customer-7"}.get(name))
    assert house.who(header(account="customer-8")).account == "customer-7"
    assert house.who(header(account="customer-8", sender="carl@shop.example")).account == "customer-8"


FORGED = {
    "forged": [
        header("another secret, well chosen"),
        header(mail_from="carl@shop.example"),
        header(message_id="<2@shop.example>"),
        header(message_id=""),
        header().replace("s=anna@", "s=carl@"),
        header().replace("a=;", "a=other.example;"),
        header(key="web1-old"),
    ],
    "unknown_key": [header(key="web9"), header(key="")],
    "expired": [header(time=NOW - LIFE - 1), header(time=NOW + AHEAD + 1)],
    "malformed": [
        "X-Guard-Identity: v1\r\n",
        "X-Guard-Identity: \r\n",
        header().replace("v1;", "v2;"),
        header()[:-3] + "\r\n",
        header().replace("k=web1;", "k=web1; k=web1;"),
        header().replace("t=", "t=-"),
        header().replace("a=;", ""),
        header(sender="anna@shop.example:x"),
        header(sender="anna"),
        header(sender="web1/"),
        header(sender="/web12"),
        header(sender="anna@{shop}.example"),
        header(account="{x}"),
        "X-Guard-Identity: v1; " + "s=x" * 300_000 + "\r\n",
    ],
    "not_its_account": [
        header(SECRET + "2", key="web2", sender="anna@other.example"),
        header(SECRET + "2", key="web2", sender="web1/web12"),
        header(SECRET + "2", key="web2", account="shop.example", sender="anna@bank.example"),
        header(SECRET + "2", key="web2", account="shop.example", sender="web1/uid1012"),
        header(SECRET + "2", key="web2", account="shop.example", sender="web1/www-data")
        + "X-PHP-Originating-Script: 1012:m.php\r\n",
    ],
}


@pytest.mark.parametrize(("word", "head"), [(word, head) for word, heads in FORGED.items() for head in heads])
def test_what_is_not_right_has_no_effect_and_is_counted(house: House, word: str, head: str) -> None:
    with_it, without = house.who(head), house.who("")
    assert with_it == without
    assert with_it.source == "mail_from"
    assert house.counted == {word: 1}


def test_a_key_may_speak_for_its_accounts_only(house: House) -> None:
    for sender in ("anna@shop.example", "web2/web12"):
        assert house.who(header(SECRET + "2", key="web2", sender=sender)).name == sender


def test_the_directory_says_whom_a_key_for_accounts_may_name(tmp_path: Path) -> None:
    known = {"anna@other.example": "shop.example", "web1/uid1012": "shop.example", "carl@shop.example": "bank.example"}
    house = House(tmp_path, known.get)
    for sender in ("anna@other.example", "web1/uid1012"):
        assert house.who(header(SECRET + "2", key="web2", sender=sender)).account == "shop.example"
    assert house.who(header(SECRET + "2", key="web2", sender="carl@shop.example")).source == "mail_from"


def test_the_server_s_own_field_is_found_among_those_a_customer_wrote(house: House) -> None:
    forged = header("made up by a customer himself", sender="victim@other.example")
    assert house.who(forged + header()).name == "anna@shop.example"
    assert house.counted == {"forged": 1, "believed": 1}


@pytest.mark.parametrize("junk", [5, 9, 50])
def test_much_that_a_customer_wrote_does_not_hide_it(house: House, junk: int) -> None:
    forged = header("made up by a customer himself", sender="victim@other.example")
    for head in (forged * junk + header(), header() + forged * junk):
        assert house.who(head).source == "signed:X-Guard-Identity"
    # It is looked for at either end, where servers put it, and no further.
    house.counted.clear()
    assert house.who(forged * junk + header() + forged * junk).source == "mail_from"
    assert house.counted == {"forged": 5}


def test_the_same_signature_with_another_text_is_not_believed(house: House) -> None:
    assert house.who(header()).source == "signed:X-Guard-Identity"
    # The same message to others, or once more after a refusal.
    assert house.who(header(), received=NOW + 60).source == "signed:X-Guard-Identity"
    assert house.who(header(), body="buy now\r\n", received=NOW + 61).source == "mail_from"
    assert house.who(header(), body="x\r\nx\r\n").source == "mail_from"
    assert house.who(header(), body="x" * 300_000).source == "mail_from"
    assert house.counted == {"believed": 2, "replayed": 3}


@pytest.mark.parametrize(
    "other", ["Subject: you have won\r\n", "From: The Bank <info@bank.example>\r\n", "Subject:\r\n"]
)
def test_the_same_signature_with_another_from_or_subject_is_not_believed(house: House, other: str) -> None:
    assert house.who(header()).source == "signed:X-Guard-Identity"
    assert house.who(header() + other).source == "mail_from"
    assert house.who("X-Hop: 2\r\n" + header()).source == "signed:X-Guard-Identity"
    assert house.counted == {"believed": 2, "replayed": 1}


@pytest.mark.parametrize(
    ("fields", "signed"),
    [
        ("", ""),
        ("Message-ID:\r\n\t<1@shop.\r\n example>\r\n", "<1@shop.example>"),
        ("message-id: <1@a>\r\nMessage-Id: <2@a>\r\n", "<1@a><2@a>"),
        ("Message-ID: <grüße@a>\r\n", "<grüße@a>"),
        # Space for Python, and not for mail servers.
        *((f"Message-ID: <1{one} 2@a>\r\n", f"<1{one}2@a>") for one in "\x1c\x1f\x85\xa0\u2028\u3000"),
        ("Message-ID: <1\t\v\f\n@a>\r\n", "<1@a>"),
    ],
)
def test_every_message_can_be_signed(house: House, fields: str, signed: str) -> None:
    assert house.who(header(message_id=signed), message_id=fields).source == "signed:X-Guard-Identity"


@pytest.mark.parametrize("space", " \t\r\n\v\f\x1c\x1f\x85\xa0\u2028\u3000")
def test_the_milter_leaves_out_the_same_white_space(house: House, space: str) -> None:
    file = Path(__file__).parents[2] / "deploy/mta/identity/milter"
    message = runpy.run_path(str(file))["Message"]()
    message.login, message.mail_from = "anna@shop.example", MAIL_FROM
    message.header("Message-ID", f"<1{space}2@a>")
    [packet] = message.changes("web1", SECRET.encode())
    name, value, _ = packet[1:].decode().split("\0")
    signed = int(value.split("t=")[1].partition(";")[0])
    found = house.who(f"{name}: {value}\r\n", message_id=f"Message-ID: <1{space}2@a>\r\n", received=signed)
    assert found.source == "signed:X-Guard-Identity"


def test_octets_that_are_no_utf_8_can_be_signed_too(house: House) -> None:
    text = b"v1\nweb1\n%d\n\nanna@shop.example\n%s\n<gr\xfc\xdfe@a>" % (NOW, MAIL_FROM.encode())
    digits = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    head = f"X-Guard-Identity: v1; k=web1; t={NOW:.0f}; a=; s=anna@shop.example; h={digits}\r\n".encode()
    content = head + b"Message-ID: <gr\xfc\xdfe@a>\r\n\r\nx\r\n"
    submission = Submission("1", NOW, Envelope(MAIL_FROM, ("to@there.example",)), content, "203.0.113.9")
    assert house.identifier.identify(submission, Headers(content)).source == "signed:X-Guard-Identity"


def test_it_is_removed_before_relaying(house: House) -> None:
    assert house.identifier.to_strip(Headers(b"X-Guard-identity : forged\r\n\r\n")) == ("x-guard-identity",)


async def test_keys_are_read_again_when_the_file_changes(house: House, caplog: pytest.LogCaptureFixture) -> None:
    assert house.who(header(OLD, key="web1-old")).source == "signed:X-Guard-Identity"
    house.keys.write_text(f"web1:{SECRET}\nweb3:{OLD}\n")
    await house.identifier.refresh()
    assert house.who(header(OLD, key="web1-old")).source == "mail_from"
    assert house.who(header(OLD, key="web3")).source == "signed:X-Guard-Identity"
    house.keys.write_text(f"web1:{SECRET}\nweb1:{SECRET}\n")
    await house.identifier.refresh()
    assert "stay as they were" in caplog.text
    assert "line 2: web1 stands there twice" in caplog.text
    assert SECRET not in caplog.text
    assert house.who(header(OLD, key="web3")).source == "signed:X-Guard-Identity"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "has no keys"),
        ("# only this\n", "has no keys"),
        ("web1\n", "line 1: is not KEYID:SECRET"),
        (f"web 1:{SECRET}\n", "line 1: is not KEYID:SECRET"),
        ("\nweb1:too-short\n", "line 2: the secret of web1"),
        (f"web1:{SECRET} x\n", "line 1: the secret of web1"),
        (f"wéb1:{SECRET}\n", "characters beyond ASCII"),
    ],
)
def test_wrong_key_files(tmp_path: Path, text: str, wrong: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ConfigError, match=wrong):
        read_keys(path)


def test_a_star_and_nothing_else_stands_for_something(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"web1:{SECRET}:a[b].example,*.shop.example\n")
    key = read_keys(path)["web1"]
    assert [key.may_speak_for(name) for name in ("a[b].example", "ab.example", "x.shop.example", "shop.example")] == [
        True,
        False,
        True,
        False,
    ]
