"""The message in wire form, and the commands of a transaction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.delivery.wire import BAD_RECIPIENT, BAD_SENDER, NO_SMTPUTF8, Extensions, Mail, framed
from outbound_guard.mail import Envelope, dotted_line

ALL = Extensions(pipelining=True, size=True, eight_bit=True, smtputf8=True)
NONE = Extensions()


def read_by_lines(wire: bytes) -> tuple[bytes, bytes]:
    """The message and what comes behind it, read line by line as RFC 5321 4.5.2 says."""
    content = []
    lines = wire.split(b"\r\n")
    for number, line in enumerate(lines):
        if line == b".":
            return b"".join(content), b"\r\n".join(lines[number + 1 :])
        content.append((line[1:] if line.startswith(b".") else line) + b"\r\n")
    raise AssertionError("the message does not end")


stretches = st.sampled_from(
    [b"\r\n.", b"\r\n", b"\n.", b"\r", b".", b"x" * 4093, b"x" * 4094, b"x" * 4095, b"x" * 9000]
)


@given(st.lists(stretches).map(b"".join))
def test_a_line_with_a_dot_is_found_in_steps_as_at_once(content: bytes) -> None:
    assert dotted_line(content) == content.find(b"\r\n.")


pieces = st.lists(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\r\n.", b""])).map(b"".join))


@given(pieces)
def test_what_is_framed_is_read_as_it_was(content: list[bytes]) -> None:
    whole = b"".join(content)
    read, behind = read_by_lines(b"".join(framed(content)))
    assert behind == b""
    assert read == (whole if whole.endswith(b"\r\n") or not whole else whole + b"\r\n")


@pytest.mark.parametrize("at", range(14))
def test_a_dot_is_stuffed_wherever_the_pieces_are_cut(at: int) -> None:
    whole = b".a\r\n..b\r\nc.\r\n"
    assert b"".join(framed([whole[:at], whole[at:]])) == b"..a\r\n...b\r\nc.\r\n.\r\n"


def test_without_leading_dots_the_pieces_go_out_as_they_are() -> None:
    first, second = b"Received: x\r\n", b"Subject: y\r\n\r\nz\r\n"
    out = framed([first, b"", second])
    assert out[0] is first
    assert out[1] is second
    assert out[2:] == [b".\r\n"]


@pytest.mark.parametrize(("content", "end"), [(b"", b".\r\n"), (b"a", b"a\r\n.\r\n"), (b"a\r", b"a\r\r\n.\r\n")])
def test_the_end_of_data_stands_on_a_line_of_its_own(content: bytes, end: bytes) -> None:
    assert b"".join(framed([content])) == end


def test_commands_with_every_extension() -> None:
    mail = Mail(Envelope("a@x.test", ("b@y.test", "c@y.test"), eight_bit=True), [b"12345"])
    lines, replies = mail.commands(ALL)
    assert lines == [
        b"MAIL FROM:<a@x.test> SIZE=7 BODY=8BITMIME\r\n",
        b"RCPT TO:<b@y.test>\r\n",
        b"RCPT TO:<c@y.test>\r\n",
        b"DATA\r\n",
    ]
    assert replies == [None, None]


def test_nothing_is_said_that_was_not_announced() -> None:
    mail = Mail(Envelope("", ("b@y.test",), eight_bit=True), ["ü".encode()])
    assert mail.commands(NONE)[0][0] == b"MAIL FROM:<>\r\n"


@pytest.mark.parametrize(
    "address",
    [
        "a@b\r\nRCPT TO:<evil@x",
        "a@b\nDATA",
        "a@b\0",
        "a\tb@c",
        "a\x7f@b",
        "a@b> SIZE=1",
        "a@b>",
        "<a@b",
        "a b@c",
        "",
        '"a@b',
        '"a"b"@c',
        "a\\>@b",
        "\udcff@b",
    ],
)
def test_an_address_that_could_end_early_is_refused(address: str) -> None:
    mail = Mail(Envelope("a@x.test", (address, "b@y.test")), [b""])
    lines, replies = mail.commands(ALL)
    assert lines[1:-1] == [b"RCPT TO:<b@y.test>\r\n"]
    assert replies == [BAD_RECIPIENT, None]
    if address:
        assert Mail(Envelope(address, ("b@y.test",)), [b""]).replies == [BAD_SENDER]
        assert Mail(Envelope(address, ("b@y.test",)), [b""]).hopeless


@pytest.mark.parametrize("address", ['"a b"@c.test', '"a>\\" <b"@c.test', "postmaster", "a=b+c@[127.0.0.1]"])
def test_unusual_addresses_are_passed_on(address: str) -> None:
    lines, _ = Mail(Envelope("", (address,)), [b""]).commands(NONE)
    assert lines[1] == b"RCPT TO:<" + address.encode() + b">\r\n"


@given(st.text(max_size=30))
def test_a_command_is_one_line_with_one_path(address: str) -> None:
    mail = Mail(Envelope("s@x.test", (address, "b@y.test")), [b""])
    for line in mail.commands(ALL)[0]:
        assert line.endswith(b"\r\n")
        assert not set(line[:-2]) & {*range(32), 127}
    if '"' not in address and mail.replies[0] is None:
        assert mail.commands(ALL)[0][1].count(b">") == 1


class TestInternationalized:
    def test_smtputf8_is_asked_for_where_it_is_announced(self) -> None:
        mail = Mail(
            Envelope("jürgen@x.test", ("b@y.test",), smtputf8=True, eight_bit=True), ["Subject: ü\r\n".encode()]
        )
        assert mail.commands(ALL)[0][0] == "MAIL FROM:<jürgen@x.test> SIZE=13 BODY=8BITMIME SMTPUTF8\r\n".encode()

    def test_without_it_a_foreign_sender_or_header_cannot_be_sent(self) -> None:
        for envelope, content in (
            (Envelope("jürgen@x.test", ("b@y.test",), smtputf8=True), b"Subject: u\r\n\r\n"),
            (Envelope("j@x.test", ("b@y.test",), smtputf8=True), "Subject: ü\r\n\r\n".encode()),
        ):
            assert Mail(envelope, [content]).commands(NONE) == ([], [NO_SMTPUTF8])

    def test_without_it_a_foreign_recipient_alone_is_refused(self) -> None:
        lines, replies = Mail(Envelope("j@x.test", ("ü@y.test", "b@y.test")), [b""]).commands(NONE)
        assert lines[1:-1] == [b"RCPT TO:<b@y.test>\r\n"]
        assert replies == [NO_SMTPUTF8, None]

    def test_mail_that_did_not_need_it_goes_without(self) -> None:
        # RFC 6531 3.5: a client that declares it for plain mail need not fail.
        mail = Mail(Envelope("j@x.test", ("b@y.test",), smtputf8=True), ["Subject: u\r\n\r\nü".encode()])
        assert mail.commands(NONE)[0][0] == b"MAIL FROM:<j@x.test>\r\n"
