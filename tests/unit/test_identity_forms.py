"""The forms in which servers write down who sent a message, by real-world samples."""

from __future__ import annotations

import pytest

from outbound_guard.accounts import forms
from outbound_guard.accounts.forms import AUTHENTICATED, LOCAL, NETWORK, UNKNOWN, Received

POSTFIX_LOGIN = (
    "from [192.168.1.5] (p5dd0a1b2.isp.example [93.208.161.178])\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 "
    "(256/256 bits)\t key-exchange X25519 server-signature RSA-PSS (2048 bits))\t(No client certificate requested)\t"
    "(Authenticated sender: Anna@Firma.example)\tby mail13.hosting.example (Postfix) with ESMTPSA id 4gyXFMCctw2j67\t"
    "for <karl@web-mail.example>;\tMon, 2 Mar 2026 02:14:03 +0100"
)
EXIM_LOGIN = (
    "from 34-0-250-81.isp.example ([34.0.105.14]:59977 helo=[192.168.0.138])\tby vps05.hosting.example with esmtpsa  "
    "(TLS1.3) tls TLS_AES_256_GCM_SHA384\t(Exim 4.98)\t(envelope-from <novak@novak.example>)\tid 1nKAJ7-n5rpPY-XI"
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (POSTFIX_LOGIN, Received(AUTHENTICATED, "mail13.hosting.example", "93.208.161.178", "anna@firma.example")),
        (EXIM_LOGIN, Received(AUTHENTICATED, "vps05.hosting.example", "34.0.105.14")),
        (
            "from [82.1.2.3] (port=53422 helo=[192.168.1.2]) by s.example with esmtpa (Exim 4.94.2) id 1",
            Received(AUTHENTICATED, "s.example", "82.1.2.3"),
        ),
        (
            "from pc.example (pc.example [IPv6:2001:db8::7]) by s.example (Postfix) with ESMTPA id 1",
            Received(AUTHENTICATED, "s.example", "2001:db8::7"),
        ),
        (
            "from x (localhost [127.0.0.1]) (Authenticated sender: anna) by s.example (Postfix) with ESMTPA id 1",
            Received(AUTHENTICATED, "s.example", None, "anna"),
        ),
        (
            "by mail13.hosting.example (Postfix, from userid 1388)\tid 4flVgWVGhRGRNf; Mon, 2 Mar 2026 04:19:21 +0100",
            Received(LOCAL, "mail13.hosting.example", uid=1388),
        ),
        (
            "from taylor6790 by srv14.hosting.example with local (Exim 4.98)\t(envelope-from <shop@x.example>)",
            Received(LOCAL, "srv14.hosting.example", user="taylor6790"),
        ),
        (
            "from hch by bombadil.example with local (Exim 4.98.2 #2 (Red Hat Linux))\tid 1uCIX3-0000000CAWG-0IZI;",
            Received(LOCAL, "bombadil.example", user="hch"),
        ),
        ("(qmail 31822 invoked by uid 48); 2 Mar 2026 00:00:00 -0000", Received(LOCAL, uid=48)),
        (
            "(from www@localhost) by s.example (8.14.4/8.14.4/Submit) id 01L6; Thu, 20 Feb 2020 22:39:27 -0800",
            Received(LOCAL, "s.example", user="www"),
        ),
        (
            "from mail-20.gmx.example (mail-20.gmx.example [194.216.137.242])\tby vps02.hosting.example (Postfix) with "
            "ESMTPS id 4FljJcnHgfdldJ\tfor <office@x.example>",
            Received(NETWORK, "vps02.hosting.example", "194.216.137.242"),
        ),
        (
            "from out.example ([198.51.100.7]:4321 helo=out.example) by s.example with esmtp (Exim 4.98) id 1",
            Received(NETWORK, "s.example", "198.51.100.7"),
        ),
        (
            "from mta01.example (mta01.example [185.255.113.115]) by yara.example with SMTP; Fri, 20 Jun 2025 09:25:59",
            Received(UNKNOWN, "yara.example", "185.255.113.115"),
        ),
        ("by web01.hosting.example (Postfix) id 4XYZ; Mon, 2 Mar 2026 04:19:21 +0100", Received()),
        ("", Received()),
        ("from", Received()),
    ],
)
def test_received(value: str, expected: Received) -> None:
    assert forms.received(value) == expected


@pytest.mark.parametrize(
    "envelope",
    [
        '"x) by evil.example with esmtpsa (Authenticated sender: victim@x.example"@evil.example',
        '") by evil.example (Postfix) with ESMTPA"@evil.example',
    ],
)
def test_received_does_not_listen_to_envelope_addresses(envelope: str) -> None:
    exim = (
        f"from a.example ([198.51.100.7]:1 helo=a) by s.example with esmtp (Exim 4.98) (envelope-from <{envelope}>) id"
    )
    assert forms.received(exim) == Received(NETWORK, "s.example", "198.51.100.7")
    local = f"from weber by s.example with local (Exim 4.98) (envelope-from <{envelope}>) id 1"
    assert forms.received(local) == Received(LOCAL, "s.example", user="weber")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("user@example.com", "user@example.com"),
        (" User@Example.COM ", "user@example.com"),
        ("<user@example.com>", "user@example.com"),
        ("user+example.com", "user@example.com"),
        ("user%example.com", "user@example.com"),
        ("user+tag@example.com", "user+tag@example.com"),
        ("jörg@müller.example", "jörg@müller.example"),
        ("weber123", "weber123"),
        ("", None),
        ("two words", None),
        ("a@b@c", None),
        ("user@", None),
        ("@example.com", None),
        ("user@exa mple.com", None),
        ("u\0ser@example.com", None),
        ("u{ser}@example.com", None),
        ("web01/uid1012:x.php@example.com", None),
        ("user\u202e@example.com", None),
        ("user\u200b@example.com", None),
        ("x" * 65 + "@example.com", None),
        ("x@" + "y" * 253 + ".com", None),
    ],
)
def test_auth_user(value: str, expected: str | None) -> None:
    assert forms.auth_user(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("cloud48395.host.example: olivier@trillion.example", ("cloud48395.host.example", "olivier@trillion.example")),
        ("hwsrv-652951.host.example: marketin", ("hwsrv-652951.host.example", "marketin")),
        ("Host.Example: User+Dom.Example", ("host.example", "user@dom.example")),
        ("user@example.com", None),
        ("host.example: ", None),
    ],
)
def test_authenticated_sender(value: str, expected: tuple[str, str] | None) -> None:
    assert forms.authenticated_sender(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("h.example: authenticated_id: olivier@trillion.example", ("h.example", "olivier@trillion.example")),
        (
            "vern.example: authenticated_id: davidmain+tech.example/only user confirmed/virtual account not confirmed",
            ("vern.example", "davidmain@tech.example"),
        ),
        ("mm2.example: acl_c_authenticated_local_user: mailman/mailman", ("mm2.example", "mailman")),
        ("s.example: authenticated_id: zedlryqc/primary_hostname/system user", ("s.example", "zedlryqc")),
        (
            "s.example: sender_ident via\t received_protocol == local: mailnull/primary_hostname/system user",
            ("s.example", "mailnull"),
        ),
        ("s.example: authenticated_id:\tmarketin/only user confirmed", ("s.example", "marketin")),
        ("s.example: none", None),
        ("", None),
    ],
)
def test_sender_via(value: str, expected: tuple[str, str] | None) -> None:
    assert forms.sender_via(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1012:phpmailer.php", (1012, "phpmailer.php")),
        ("1012: phpmailer.php", (1012, "phpmailer.php")),
        ("3167727:PHPMailer.php", (3167727, "PHPMailer.php")),
        ("1009:mail.php(1936) : eval()'d code", (1009, "mail.php")),
        ("0:rcube.php", (0, "rcube.php")),
        ("1012:a {b}.php", (1012, "a__b_.php")),
        ("1012:", None),
        ("phpmailer.php", None),
        ("-1:x.php", None),
        ("99999999999:x.php", None),
    ],
)
def test_php_originating_script(value: str, expected: tuple[int, str] | None) -> None:
    assert forms.php_originating_script(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("www.anurav.example/index.php for 156.146.63.156", ("www.anurav.example", "/index.php")),
        ("dom.example/wp-content/N138.php for 1.2.3.4, 5.6.7.8", ("dom.example", "/wp-content/N138.php")),
        ("dom.example/index.php/a/visitor/chose/this for 1.2.3.4", ("dom.example", "/index.php")),
        ("/var/www/html/contact.php for 203.0.113.50", None),
        ("srmgpa.ities.example", None),
        ("", None),
    ],
)
def test_php_script(value: str, expected: tuple[str, str] | None) -> None:
    assert forms.php_script(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/opt/cpanel/ea-php70/root/usr/bin/php-cgi /home/ds/public_html/9P7.php ", "/home/ds/public_html/9P7.php"),
        ("/usr/bin/perl /home/anna/cgi-bin/form.cgi to=x", "/home/anna/cgi-bin/form.cgi"),
        ("/opt/cpanel/ea-php71/root/usr/bin/php-cgi ", None),
        ("php-fpm: pool colegio_example                    ", None),
        ("/usr/local/cpanel/bin/boxtrapper nick@koston.example /mnt/home2/koston", None),
        ("", None),
    ],
)
def test_source_args(value: str, expected: str | None) -> None:
    assert forms.source_args(value) == expected


def test_source_dir() -> None:
    assert forms.source_dir("dom.example:/public_html/blog") == ("dom.example", "/public_html/blog")
    for without_site in (":/base/horde/imp", "/root", ""):
        assert forms.source_dir(without_site) is None


def test_caller_uid() -> None:
    assert forms.caller_uid("Originator/Caller UID/GID - [1012 992] / [47 12]") == 1012
    assert forms.caller_uid("Originator/Caller UID/GID - [47 12] / [47 12]") is None
    assert forms.caller_uid("Primary Hostname - mm2.example") is None


@pytest.mark.parametrize(
    ("mail_from", "expected"),
    [
        ("SRS0=32cf=86=gmx.example=diego@Alpen.example", "alpen.example"),
        ("SRS1=hash=first.example==HHH=TT=orig.example=u@second.example", "second.example"),
        ("srs0+hash+tt+orig.example+u@fwd.example", "fwd.example"),
        ("srs0steven@example.com", None),
        ("anna@example.com", None),
        ("", None),
    ],
)
def test_srs(mail_from: str, expected: str | None) -> None:
    assert forms.srs(mail_from) == expected


@pytest.mark.parametrize(
    ("mail_from", "expected"),
    [
        ("Anna@Example.com", "anna@example.com"),
        ("prvs=0123abcdef=anna@example.com", "anna@example.com"),
        ("bounce+karl=gmx.example@shop.example", "bounce@shop.example"),
        ("bounces-4711-karl=gmx.example@shop.example", "bounces@shop.example"),
        ("anna+news@example.com", "anna+news@example.com"),
        ('"a b"@example.com', None),
        ("", None),
        ("root", None),
    ],
)
def test_envelope_sender_is_the_same_for_every_message(mail_from: str, expected: str | None) -> None:
    assert forms.envelope_sender(mail_from) == expected


def test_forwarded_for() -> None:
    assert forms.forwarded_for("office@alpen.example olga@rad.example") == "office@alpen.example"
    assert forms.forwarded_for("203.0.113.9") is None


def test_outside_address() -> None:
    for address in ("192.0.2.1", "2001:db8::1"):
        assert forms.outside_address(address) == address
    for other in ("127.0.0.1", "127.9.9.9", "::1", "1.2.3", "1.2.3.400", ":::", ""):
        assert forms.outside_address(other) is None


def test_what_is_too_long_is_not_cut_until_it_fits() -> None:
    assert forms.mailbox_or_word("victim@example.com" + " " * 400 + "eve") is None
    assert forms.domain("victim.example" + "." * 400 + "eve.example") is None
