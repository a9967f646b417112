"""Who sent it: the packaged rules on mail of cPanel, Plesk, Postfix and PHP servers, and the rules of an operator."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from outbound_guard.accounts import Identifier
from outbound_guard.config import Config, Identity
from outbound_guard.mail import Envelope, Headers, Sender, Submission

MAILBOX_POSTFIX = (
    "Received: from pc (unknown [93.208.161.178])\r\n\t(Authenticated sender: anna@firma.example)\r\n"
    "\tby web01.host.example (Postfix) with ESMTPSA id 4gy;\r\n\tMon, 2 Mar 2026 02:14:03 +0100\r\n"
)
MAILBOX_EXIM = (
    "Received: from x.isp.example ([93.208.161.178]:59977 helo=[192.168.0.138])\r\n"
    "\tby web01.host.example with esmtpsa  (TLS1.3) tls TLS_AES_256_GCM_SHA384\r\n\t(Exim 4.98)\r\n"
    "\t(envelope-from <anna@firma.example>)\r\n\tid 1nKAJ7-n5rpPY-XI;\r\n\tMon, 2 Mar 2026 07:34:21 +0100\r\n"
)
PROGRAM_POSTFIX = (
    "Received: by web01.host.example (Postfix, from userid 1012)\r\n\tid 4flVg; Mon, 2 Mar 2026 04:19:21\r\n"
)
PROGRAM_EXIM = (
    "Received: from weber by web01.host.example with local (Exim 4.98)\r\n\t(envelope-from <shop@weber.example>)\r\n"
    "\tid 1qRUEe-w7AfGl-hQ;\r\n\tMon, 2 Mar 2026 05:53:28 +0100\r\n"
)
STRANGER = (
    "Received: from mail.gmx.example (mail.gmx.example [194.216.137.242])\r\n"
    "\tby web01.host.example (Postfix) with ESMTPS id 4Flj\r\n\tfor <office@alpen.example>; Mon, 2 Mar 2026\r\n"
)
CPANEL = "X-AntiAbuse: Originator/Caller UID/GID - [1012 992] / [47 12]\r\n"
SERVER = "web01"


def who(
    header: str = "",
    *,
    mail_from: str = "from@envelope.example",
    server: str | None = SERVER,
    login: str | None = "relay-web01",
    client_ip: str = "192.0.2.10",
    config: Config | None = None,
    account_of: Callable[[str], str | None] = lambda name: None,
) -> Sender:
    content = f"{header}From: x@y.example\r\nSubject: x\r\n\r\nx\r\n".encode()
    submission = Submission(
        id="1",
        received=0.0,
        envelope=Envelope(mail_from, ("to@there.example",)),
        content=content,
        client_ip=client_ip,
        login=login,
        server=server,
    )
    return Identifier(config or Config(), account_of).identify(submission, Headers(content))


def brief(sender: Sender) -> tuple[str, str, str]:
    return sender.name, sender.account, sender.kind


def mailbox(name: str = "anna@firma.example", account: str = "firma.example") -> tuple[str, str, str]:
    return name, account, "mailbox"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (MAILBOX_POSTFIX, mailbox()),
        (MAILBOX_EXIM + "X-AuthUser: anna@firma.example\r\n", mailbox()),
        (MAILBOX_EXIM + "X-AuthUser: Anna+firma.example\r\n", mailbox()),
        (MAILBOX_EXIM + "X-Authenticated-Sender: web01.host.example: anna@firma.example\r\n", mailbox()),
        (
            MAILBOX_EXIM + "X-Get-Message-Sender-Via: web01: authenticated_id: anna+firma.example/only user\r\n",
            mailbox(),
        ),
        ("X-SmarterMail-Authenticated-As: anna@firma.example\r\n", mailbox()),
        (MAILBOX_EXIM + "X-AuthUser: weber\r\n", mailbox("web01/weber", "web01/weber")),
        (MAILBOX_EXIM + "X-PPP-Vhost: envelope.example\r\n", mailbox("from@envelope.example", "envelope.example")),
        (MAILBOX_EXIM + "X-PPP-Vhost: firma.example\r\n", mailbox("firma.example", "firma.example")),
        (
            PROGRAM_POSTFIX + "X-PHP-Originating-Script: 1012:mail.php\r\n",
            ("web01/uid1012:mail.php", "web01/uid1012", "script"),
        ),
        (
            PROGRAM_EXIM + CPANEL + "X-PHP-Originating-Script: 1012:mail.php(3) : eval()'d code\r\n",
            ("web01/uid1012:mail.php", "web01/uid1012", "script"),
        ),
        (
            PROGRAM_EXIM + "X-PHP-Originating-Script: 1012:mail.php\r\n",
            ("web01/weber:mail.php", "web01/weber", "script"),
        ),
        (
            PROGRAM_EXIM + "X-PHP-Script: weber.example/shop/a.php for 1.2.3.4\r\n",
            ("web01/weber:/shop/a.php", "web01/weber", "script"),
        ),
        (
            PROGRAM_EXIM + CPANEL + "X-Source-Args: /usr/bin/php /home/weber/x.php \r\n",
            ("web01/uid1012:/home/weber/x.php", "web01/uid1012", "script"),
        ),
        ("X-PHP-Originating-Script: 1012: mail.php\r\n", ("web01/uid1012:mail.php", "web01/uid1012", "script")),
        ("X-PHP-Script: weber.example/a.php\r\n", ("web01/weber.example:/a.php", "web01/weber.example", "script")),
        (PROGRAM_POSTFIX, ("web01/uid1012", "web01/uid1012", "system")),
        (PROGRAM_EXIM, ("web01/weber", "web01/weber", "system")),
        (PROGRAM_EXIM + CPANEL, ("web01/uid1012", "web01/uid1012", "system")),
        ("Received: (qmail 3 invoked by uid 1012); 2 Mar\r\n", ("web01/uid1012", "web01/uid1012", "system")),
        (
            "Received: (from weber@localhost) by web01 (8.14.4/Submit) id 1; x\r\n",
            ("web01/weber", "web01/weber", "system"),
        ),
        (STRANGER, ("from@envelope.example", "envelope.example", "address")),
        ("", ("from@envelope.example", "envelope.example", "address")),
    ],
)
def test_mail_of_a_server(header: str, expected: tuple[str, str, str]) -> None:
    assert brief(who(header)) == expected


def test_where_the_web_server_runs_all_scripts_php_says_whose_it_was() -> None:
    shared_uid = PROGRAM_POSTFIX.replace("1012", "33")
    shared_user = PROGRAM_EXIM.replace("weber by", "nobody by")
    for trace in (shared_uid, shared_user):
        assert who(trace + "X-PHP-Originating-Script: 1012:mail.php\r\n").name == "web01/uid1012:mail.php"
        assert who(trace + "X-PHP-Script: weber.example/a.php for 1.2.3.4\r\n").name == "web01/weber.example:/a.php"
    assert who(shared_uid).name == "web01/uid33"


def test_script_says_where_it_lies() -> None:
    php = PROGRAM_EXIM + CPANEL + "X-PHP-Originating-Script: 1012:mail.php\r\n"
    assert who(php).script == "mail.php"
    assert (
        who(php + "X-PHP-Script: weber.example/shop/mail.php for 1.2.3.4\r\n").script == "weber.example/shop/mail.php"
    )
    assert who(php + "X-PHP-Script: weber.example/index.php for 1.2.3.4\r\n").script == "mail.php"
    assert who(php + "X-Source-Dir: weber.example:/public_html\r\n").script == "weber.example:/public_html/mail.php"


def test_the_authors_own_client() -> None:
    assert who(MAILBOX_POSTFIX).client_ip == "93.208.161.178"
    assert who(MAILBOX_EXIM + "X-AuthUser: anna@firma.example\r\n").client_ip == "93.208.161.178"
    assert who(MAILBOX_EXIM).client_ip == "93.208.161.178"
    assert who(MAILBOX_POSTFIX.replace("93.208.161.178", "127.0.0.1")).client_ip is None
    assert who(STRANGER).client_ip is None
    assert who(PROGRAM_POSTFIX).client_ip is None
    direct = who(server=None, login="anna@firma.example", client_ip="198.51.100.9")
    assert direct.client_ip == "198.51.100.9"


@pytest.mark.parametrize(
    ("login", "name", "account"),
    [
        ("Anna@Firma.example", "anna@firma.example", "firma.example"),
        ("anna+firma.example", "anna@firma.example", "firma.example"),
        ("anna%firma.example", "anna@firma.example", "firma.example"),
        ("weber", "weber", "weber"),
        ("An na{1}", "an_na_1_", "an_na_1_"),
    ],
)
def test_a_login_of_our_own(login: str, name: str, account: str) -> None:
    sender = who(server=None, login=login, mail_from="victim@else.example")
    assert (brief(sender), sender.source) == ((name, account, "mailbox"), "sasl")


def test_a_servers_login_is_no_sender() -> None:
    assert who(MAILBOX_POSTFIX, login="relay-web01").source == "header:Received"


def test_directory_goes_before_domain_and_server() -> None:
    directory = {"anna@firma.example": "customer-7", "web01/uid1012": "customer-8", "web01/uid1012:x.php": "customer-9"}
    assert who(MAILBOX_POSTFIX, account_of=directory.get).account == "customer-7"
    php = PROGRAM_POSTFIX + "X-PHP-Originating-Script: 1012:{}\r\n"
    assert who(php.format("mail.php"), account_of=directory.get).account == "customer-8"
    assert who(php.format("x.php"), account_of=directory.get).account == "customer-9"
    assert who(PROGRAM_POSTFIX, account_of=directory.get).account == "customer-8"


def test_null_sender_of_a_server() -> None:
    own_bounce = "Received: by web01.host.example (Postfix) id 4X; Mon, 2 Mar 2026 04:19:21 +0100\r\n"
    exim_bounce = PROGRAM_EXIM.replace("from weber", "from mailnull")
    for header in (own_bounce, exim_bounce, ""):
        assert brief(who(header, mail_from="")) == ("web01/bounces", "web01/bounces", "system")
    assert who(MAILBOX_POSTFIX, mail_from="").name == "anna@firma.example"
    assert brief(who(mail_from="", server=None, login=None)) == ("192.0.2.10", "192.0.2.10", "address")


def test_forwarders_are_a_stream_of_their_own() -> None:
    srs = "SRS0=32cf=86=gmx.example=diego@alpen.example"
    named = STRANGER + "X-Forwarded-For: office@alpen.example olga@rad.example\r\n"
    assert brief(who(named, mail_from=srs)) == ("web01/forwarder:office@alpen.example", "alpen.example", "forwarder")
    assert who(STRANGER, mail_from=srs).name == "web01/forwarder:alpen.example"
    # What the stranger wrote himself does not name a customer of another domain, and two names are none.
    forged = STRANGER + "X-Forwarded-For: victim@other.example x\r\n"
    assert who(forged, mail_from=srs).name == "web01/forwarder:alpen.example"
    twice = named + "X-Forwarded-For: victim@alpen.example x\r\n"
    assert who(twice, mail_from=srs).name == "web01/forwarder:alpen.example"
    assert who(MAILBOX_POSTFIX, mail_from=srs).kind == "mailbox"


def rules(*identity: Identity) -> Config:
    return Config(identity=identity)


def test_trusted_networks_without_a_login() -> None:
    config = rules(Identity(from_="header:X-AuthUser", trusted=("127.0.0.0/8",)), Identity(from_="client_ip"))
    header = "X-AuthUser: weber\r\n"
    near = who(header, server=None, login=None, client_ip="127.0.0.1", config=config)
    assert near.name == "127.0.0.1/weber"
    far = who(header, server=None, login=None, client_ip="192.0.2.1", config=config)
    assert brief(far) == ("192.0.2.1", "192.0.2.1", "address")
    mapped = who(header, server=None, login=None, client_ip="::ffff:127.0.0.1", config=config)
    assert mapped.kind == "mailbox"


def test_each_rule_trusts_its_own_networks() -> None:
    config = rules(
        Identity(from_="header:X-One", trusted=("127.0.0.1",)), Identity(from_="header:X-Two", trusted=("127.0.0.2",))
    )
    header = "X-One: one@x.example\r\nX-Two: two@x.example\r\n"
    for client, name in (("127.0.0.1", "one@x.example"), ("127.0.0.2", "two@x.example"), ("127.0.0.3", "127.0.0.3")):
        assert who(header, server=None, login=None, client_ip=client, config=config).name == name


def test_mail_from_can_be_limited_to_networks() -> None:
    config = rules(Identity(from_="mail_from", trusted=("127.0.0.0/8",)))
    assert who(server=None, login=None, client_ip="127.0.0.1", config=config).source == "mail_from"
    assert who(server=None, login=None, client_ip="192.0.2.1", config=config).source == "client_ip"


def test_pattern_of_an_operator() -> None:
    config = rules(Identity(from_="header:X-Account", pattern=r"^user=(\S+?);"))
    assert who("X-Account: user=Anna@firma.example; zone=3\r\n", config=config).name == "anna@firma.example"
    assert who("X-Account: nothing\r\n", config=config).source == "client_ip"


def test_a_header_that_is_always_believed() -> None:
    for when, source in (("auto", "mail_from"), ("always", "header:X-Account")):
        config = rules(Identity(from_="header:X-Account", when=when), Identity(from_="mail_from"))  # type: ignore[arg-type]
        assert who(STRANGER + "X-Account: anna@firma.example\r\n", config=config).source == source


def test_without_rules_the_address_remains() -> None:
    assert brief(who(MAILBOX_POSTFIX, config=rules())) == ("192.0.2.10", "192.0.2.10", "address")


def test_headers_to_strip() -> None:
    config = rules(
        Identity(from_="header:X-AuthUser"),
        Identity(from_="header:Received", pattern="(x)"),
        Identity(from_="header:X-Keep", strip=False),
        Identity(from_="sasl"),
        Identity(from_="header:X-PHP-Script"),
    )
    identifier = Identifier(config, lambda name: None)
    assert identifier.header_names == ("x-authuser", "x-php-script")
    plain = Headers(b"X-Keep: 1\r\nx-authuser : 2\r\nReceived: 3\r\n\r\n")
    assert identifier.to_strip(plain) == ("x-authuser",)
    signed = Headers(
        b"DKIM-Signature: v=1; a=rsa-sha256; bh=x; h=From:To:\r\n\tX-PHP-Script : Date; b=x\r\n"
        b"X-PHP-Script: a\r\nX-AuthUser: b\r\n\r\n"
    )
    assert identifier.to_strip(signed) == ("x-authuser",)
    assert identifier.to_strip(Headers(b"Subject: x\r\n\r\n")) == ()
