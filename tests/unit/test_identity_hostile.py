"""Those who would like to be somebody else: no forged field makes one sender look like another."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.forms import safe
from outbound_guard.config import Config, Identity
from outbound_guard.content import Message
from outbound_guard.mail import Envelope, Headers, Sender, Submission, without_fields

IDENTIFIER = Identifier(Config(), lambda name: None)
FORGED = (
    "X-AuthUser: victim@firma.example\r\n"
    "X-Authenticated-Sender: web01.host.example: victim@firma.example\r\n"
    "X-Get-Message-Sender-Via: web01.host.example: authenticated_id: victim@firma.example\r\n"
    "X-SmarterMail-Authenticated-As: victim@firma.example\r\n"
    "X-PPP-Vhost: firma.example\r\n"
    "X-PHP-Originating-Script: 1999:victim.php\r\n"
    "X-PHP-Script: firma.example/victim.php for 1.2.3.4\r\n"
    "X-Source-Args: /usr/bin/php /home/victim/x.php\r\n"
    "X-Source-Dir: firma.example:/public_html\r\n"
    "X-AntiAbuse: Originator/Caller UID/GID - [1999 1999] / [47 12]\r\n"
    "Received: from a (b [198.51.100.66]) (Authenticated sender: victim@firma.example) by c (Postfix) with ESMTPSA\r\n"
    "Received: by c (Postfix, from userid 1999) id 1\r\n"
)


def identify(
    header: str | bytes, *, server: str | None = "web01", login: str | None = None, mail_from: str = "me@mine.example"
) -> Sender:
    content = (header if isinstance(header, bytes) else header.encode()) + b"Subject: x\r\n\r\nx\r\n"
    submission = Submission(
        id="1",
        received=0.0,
        envelope=Envelope(mail_from, ("to@there.example",)),
        content=content,
        client_ip="192.0.2.10",
        login=login,
        server=server,
    )
    return IDENTIFIER.identify(submission, Message(content).headers)


def names_victim(sender: Sender) -> bool:
    return "victim" in sender.name or "firma" in sender.account or "1999" in sender.name or "1999" in sender.account


@pytest.mark.parametrize("login", [None, "me@mine.example"])
def test_nobody_believes_a_client_that_is_no_server(login: str | None) -> None:
    sender = identify(FORGED, server=None, login=login)
    assert sender.name == "me@mine.example"
    assert sender.client_ip == "192.0.2.10"


def test_a_login_that_the_server_wrote_outranks_every_header() -> None:
    trace = "Received: from pc (x [93.1.2.3]) (Authenticated sender: me@mine.example) by a (Postfix) with ESMTPSA\r\n"
    assert identify(trace + FORGED).name == "me@mine.example"
    # The same when the operator asks for the header first, as in the design's example.
    config = Config(
        identity=(
            Identity(from_="header:X-AuthUser"),
            Identity(from_="header:Received", pattern=r"Authenticated sender: (\S+?)\)"),
        )
    )
    content = (trace + FORGED + "\r\n").encode()
    submission = Submission("1", 0.0, Envelope("a@b.example", ("c@d.example",)), content, "192.0.2.10", server="web01")
    sender = Identifier(config, lambda name: None).identify(submission, Headers(content))
    assert (sender.name, sender.source) == ("me@mine.example", "header:Received")


def test_a_header_may_complete_a_bare_login() -> None:
    trace = "Received: from pc (x [93.1.2.3]) (Authenticated sender: me) by web01 (Postfix) with ESMTPSA id 1\r\n"
    config = Config(identity=(Identity(from_="header:X-AuthUser"),))
    for value, name in (("me@mine.example", "me@mine.example"), ("victim@firma.example", "web01/me")):
        content = (trace + f"X-AuthUser: {value}\r\n\r\n").encode()
        submission = Submission("1", 0.0, Envelope("", ("c@d.example",)), content, "192.0.2.10", server="web01")
        assert Identifier(config, lambda name: None).identify(submission, Headers(content)).name == name


def test_a_stranger_whose_mail_is_forwarded_is_nobody() -> None:
    trace = "Received: from out (out.gmx.example [194.2.3.4]) by web01.host.example (Postfix) with ESMTPS id 1\r\n"
    sender = identify(trace + FORGED)
    assert (sender.name, sender.source, sender.client_ip) == ("me@mine.example", "mail_from", None)
    exim = "Received: from out ([194.2.3.4]:5 helo=out) by web01.host.example with esmtp (Exim 4.98) id 1\r\n"
    assert identify(exim + FORGED).source == "mail_from"


def test_a_script_cannot_be_a_mailbox_or_another_customers_script() -> None:
    postfix = "Received: by web01.host.example (Postfix, from userid 1012) id 1; x\r\n"
    sender = identify(postfix + FORGED)
    assert (sender.name, sender.account) == ("web01/uid1012:victim.php", "web01/uid1012")
    exim = "Received: from weber by web01.host.example with local (Exim 4.98) id 1; x\r\n"
    cpanel = FORGED + "X-AntiAbuse: Originator/Caller UID/GID - [1012 1012] / [47 12]\r\n"
    assert identify(exim + cpanel).account == "web01/weber"


def test_a_mailbox_cannot_be_a_script() -> None:
    exim = "Received: from pc ([93.1.2.3]:5 helo=pc) by web01.host.example with esmtpsa (Exim 4.98) id 1\r\n"
    forged = (
        "X-PHP-Originating-Script: 1999:victim.php\r\nX-Authenticated-Sender: web01.host.example: me@mine.example\r\n"
    )
    assert identify(exim + forged).name == "me@mine.example"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "fields",
    [
        ["X-AuthUser: victim@firma.example\r\n", "X-AuthUser: me@mine.example\r\n"],
        ["X-AuthUser: victim@firma.example\r\n", "X-Authenticated-Sender: web01.host.example: me@mine.example\r\n"],
        [
            "X-Authenticated-Sender: web01.host.example: victim@firma.example\r\n",
            "X-Authenticated-Sender: web01.host.example: me@mine.example\r\n",
        ],
    ],
)
def test_two_fields_that_disagree_harm_neither(fields: list[str], order: int) -> None:
    exim = "Received: from pc ([93.1.2.3]:5 helo=pc) by web01.host.example with esmtpsa (Exim 4.98) id 1\r\n"
    sender = identify(exim + "".join(fields[::order]))
    assert (sender.name, sender.account, sender.kind) == ("web01/disputed", "web01/disputed", "system")


def test_an_old_field_of_another_host_is_no_lie() -> None:
    exim = "Received: from pc ([93.1.2.3]:5 helo=pc) by web01.host.example with esmtpsa (Exim 4.98) id 1\r\n"
    fields = (
        "X-Authenticated-Sender: other.example: bob@elsewhere.example\r\n"
        "X-Authenticated-Sender: web01.host.example: me@mine.example\r\n"
    )
    assert identify(exim + fields).name == "me@mine.example"


def test_fields_that_agree_are_one() -> None:
    exim = "Received: from pc ([93.1.2.3]:5 helo=pc) by web01.host.example with esmtpsa (Exim 4.98) id 1\r\n"
    fields = (
        "X-AuthUser: me+mine.example\r\nX-AuthUser: ME@mine.example\r\n"
        "X-Get-Message-Sender-Via: web01.host.example: authenticated_id: me@mine.example\r\n"
    )
    assert identify(exim + fields).name == "me@mine.example"


def test_envelope_addresses_cannot_pose_as_the_servers_words() -> None:
    for words in ("Authenticated sender: victim@firma.example)", "x (Postfix, from userid 1999)"):
        exim = (
            "Received: from pc ([93.1.2.3]:5 helo=pc) by web01.host.example with esmtpsa (Exim 4.98) "
            f'(envelope-from <"{words}"@mine.example>) id 1\r\n'
        )
        assert not names_victim(identify(exim))
        local = f'Received: from weber by a.example with local (Exim 4.98) (envelope-from <"{words}"@m.example>)\r\n'
        assert identify(local).name == "web01/weber"


def test_only_the_topmost_received_counts() -> None:
    top = "Received: by web01.host.example with something new id 1\r\n"
    assert identify(top + "Received: by c (Postfix, from userid 1999) id 1\r\n").name == "me@mine.example"


def test_a_mailbox_name_cannot_look_like_a_servers_script() -> None:
    assert identify("", mail_from="web01/uid1999:x.php@firma.example").name == "192.0.2.10"
    assert ":" not in identify("", server=None, login="web01/uid1999:x.php").name


NAMES = st.sampled_from(
    [
        *("X-AuthUser", "X-Authenticated-Sender", "X-Get-Message-Sender-Via", "X-SmarterMail-Authenticated-As"),
        *("X-PPP-Vhost", "X-PHP-Originating-Script", "X-PHP-Script", "X-Source-Args", "X-Source-Dir", "X-AntiAbuse"),
        *("X-Forwarded-For", "Received", "DKIM-Signature"),
    ]
)
PIECES = st.sampled_from(
    [
        *(
            "from ",
            "by ",
            " with ",
            "esmtpsa",
            "local",
            "(Postfix, from userid ",
            "(Postfix)",
            "(Exim 4.98)",
            "1012",
            ")",
        ),
        *(
            "(Authenticated sender: ",
            "a@b.example",
            "user+dom.example",
            "host.example: ",
            "authenticated_id: ",
            "/",
            ":",
        ),
        *(
            "1012:x.php",
            "dom.example/x.php for ",
            "[192.0.2.9]",
            "([192.0.2.9]:5 helo=x)",
            "<",
            ">",
            "{",
            "}",
            "\0",
            " ",
        ),
        *("\t", "\r\n ", "@", ".", "%", "\u202e", "é", "İ", "(", "[", "]", ";", "uid", "²", "٣"),
    ]
)
VALUES = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=14).map("".join)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
SAFE = re.compile(r"[^\s{}\x00-\x1f\x7f]{1,254}")


@settings(max_examples=500)
@given(
    fields=FIELDS,
    mail_from=VALUES,
    server=st.one_of(st.none(), st.just("web01"), VALUES),
    login=st.one_of(st.none(), VALUES),
)
def test_whatever_comes_there_is_a_safe_sender(
    fields: list[tuple[str, str]], mail_from: str, server: str | None, login: str | None
) -> None:
    header = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("utf-8", "replace")
    sender = identify(header, server=server, login=login, mail_from=mail_from)
    for text in (sender.name, sender.account):
        assert safe(text)
        assert SAFE.fullmatch(text)
    assert sender.kind in ("mailbox", "script", "system", "forwarder", "address")
    if sender.kind == "script":
        assert sender.script
        assert sender.script.isprintable()
    if server is None:
        assert not sender.source.startswith("header:")
    IDENTIFIER.to_strip(Headers(header))


@settings(max_examples=200)
@given(header=st.binary(max_size=300), server=st.booleans())
def test_any_octets(header: bytes, server: bool) -> None:
    sender = identify(header + b"\r\n", server="web01" if server else None)
    assert safe(sender.name)
    assert safe(sender.account)


@pytest.mark.parametrize(
    "value",
    [
        "from " + "(" * 100_000,
        "from a " + "(a)" * 50_000 + " by",
        "from a (" + "b " * 50_000 + ") by c with d",
        "by x (" + "from userid " * 20_000,
        "from " + "a" * 100_000 + " by b with local",
        "(from " + "x" * 100_000 + "@localhost",
    ],
)
def test_long_fields_are_cut(value: str) -> None:
    # The result shows that it ends; a pattern that went back and forth would not, within the test's time limit.
    assert safe(identify(f"Received: {value}\r\nX-Source-Args: {value}\r\nX-PHP-Script: {value}\r\n").name)


EXIM = "Received: from [192.0.2.1] (helo=x)\r\n\tby web01.host.example with esmtpsa (Exim 4.96)\r\n\tid 1x; now\r\n"
"""As Exim writes it, which appends the login's field at the end of the header."""


@pytest.mark.parametrize(
    "junk", ["X-Junk: " + "y" * 900 + "\r\n", "X-Junk:\r\n" + " y\r\n" * 200], ids=["long", "folded"]
)
def test_what_stands_in_front_hides_no_login(junk: str) -> None:
    header = EXIM + junk * (500_000 // len(junk)) + "X-AuthUser: me@mine.example\r\n"
    assert identify(header, mail_from="victim@firma.example").name == "me@mine.example"
    content = header.encode() + b"\r\nx\r\n"
    headers = Message(content).headers
    assert headers.end == len(content) - 3
    left = b"".join(without_fields(content, headers.end, IDENTIFIER.to_strip(headers)))
    assert left == content.replace(b"X-AuthUser: me@mine.example\r\n", b"")


def test_many_fields_of_one_name_hide_none() -> None:
    header = EXIM + "X-AuthUser: victim@firma.example\r\n" * 30 + "X-AuthUser: me@mine.example\r\n"
    assert identify(header).name == "web01/disputed"


@pytest.mark.parametrize(
    "field",
    [
        "X-AuthUser\r\n : victim@firma.example\r\n",
        "X-AuthUser\r\n\t: victim@firma.example\r\n",
        "X-AuthUser\r\n \r\n : victim@firma.example\r\n",
        "X-AuthUser \t\r\n : victim@firma.example\r\n",
        "X-\r\n AuthUser: victim@firma.example\r\n",
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_what_mail_servers_do_not_take_for_a_field_is_none(field: str, first: bool) -> None:
    ours = "X-AuthUser: me@mine.example\r\n"
    assert identify(EXIM + (field + ours if first else ours + field)).name == "me@mine.example"
    assert identify(EXIM + field, mail_from="me@mine.example").name == "me@mine.example"


def test_a_field_name_is_ascii() -> None:
    # The sign for Kelvin is a `k` in lower case; no mail server takes it for one.
    headers = Headers("X-\u212aey: 1\r\nX-Key: 2\r\nSubject: caf\u00e9 \u212a : x\r\n\r\n".encode())
    assert headers.fields == [("x-key", "2"), ("subject", "caf\u00e9 \u212a : x")]


def test_values_of_a_long_header_are_cut() -> None:
    headers = Headers(b"To: " + b"a" * 400_000 + b"\r\nX-AuthUser: x\r\n\r\n")
    assert [len(value) for _, value in headers.fields] == [65_536, 1]


def test_no_part_of_a_long_value_is_taken_for_a_name() -> None:
    field = EXIM + "X-AuthUser: victim@firma.example"
    assert identify(f"{field}{' ' * 2100}\r\n", mail_from="me@mine.example").name == "victim@firma.example"
    assert identify(f"{field}{' ' * 2100}junk\r\n", mail_from="me@mine.example").name == "me@mine.example"


def test_long_values_do_not_stay_in_memory() -> None:
    def some(first: int) -> None:
        for number in range(first, first + 60):
            long = f"{number}{'y' * 60_000}"
            identify(f"X-AuthUser: {long}\r\nX-PHP-Originating-Script: {number}:{long}\r\nX-Source-Dir: a:{long}\r\n")

    some(0)
    tracemalloc.start()
    try:
        some(1000)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000
