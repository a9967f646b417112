"""Addresses of any kind, from the command to wherever they are written: header, log, next command, key."""

from __future__ import annotations

import re

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from outbound_guard.accounts import Identifier
from outbound_guard.config import Config
from outbound_guard.delivery.wire import Extensions, Mail
from outbound_guard.edge.parameters import parameters
from outbound_guard.edge.paths import forward_path, reverse_path, unfit_host_name
from outbound_guard.mail import Envelope, Headers, Submission
from outbound_guard.reputation.keys import keys_of

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
LOCAL = st.text(st.sampled_from('ab.%!+-_="\\@<>{}:;, \0\r\n\x7fü用\u2028'), min_size=1, max_size=12)
DOMAIN = st.sampled_from(
    ["b.example", "B.example", "[192.0.2.1]", "[IPv6:::1]", "bücher.example", "a}b", "a..b", "{x}", ""]
)
ADDRESS = st.builds("{}@{}".format, LOCAL | LOCAL.map('"{}"'.format), DOMAIN)
EVERYTHING = Extensions(pipelining=True, size=True, eight_bit=True, smtputf8=True, dsn=True)
IDENTIFIER = Identifier(Config(), lambda name: None)


@given(st.text(max_size=40) | ADDRESS.map("<{}>".format) | st.builds("<@{}:{}> {}".format, DOMAIN, ADDRESS, LOCAL))
@example('<"\\\r\n"@b.example>')
@example("<a@b.example>\r\nDATA")
def test_what_is_taken_is_one_plain_address(text: str) -> None:
    for path in (forward_path(text), reverse_path(text)):
        if path is None or not path[0] or path[0].lower() == "postmaster":
            continue
        address, words = path
        assert not CONTROL.search(address)
        assert len(address) <= 320
        local, at, domain = address.rpartition("@")
        assert local
        assert at
        assert not set(domain) & set(' "(),;<>@\\')
        # Outside of quotes nothing ends the address or begins another.
        if local[0] != '"':
            assert not set(local) & set(' "(),:;<>@[]\\')
        assert forward_path(f"<{address}>") == (address, "")
        found = parameters(words)
        assert found is None or not any(CONTROL.search(f"{name}={value}") for name, value in found.items())


@given(ADDRESS, ADDRESS)
def test_it_is_one_command_to_the_next_hop_and_one_line_in_the_log(one: str, two: str) -> None:
    paths = [forward_path(f"<{address}>") for address in (one, two)]
    if None in paths:
        return
    sender, recipient = (path[0] for path in paths if path)
    commands, replies = Mail(Envelope(sender, (recipient,), smtputf8=True), [b"x\r\n"]).commands(EVERYTHING)
    if commands:
        assert len(commands) == 3
        assert all(command.count(b"\n") == 1 and command.endswith(b"\r\n") for command in commands)
        assert commands[1] == f"RCPT TO:<{recipient}>\r\n".encode()
    else:
        assert all(reply is not None and reply.permanent for reply in replies)
    assert msgspec.json.encode({"recipient": [recipient]}).count(b"\n") == 0


@given(ADDRESS, ADDRESS)
def test_no_key_reaches_into_another_account(one: str, two: str) -> None:
    senders = []
    for address in (one, two):
        path = reverse_path(f"<{address}>")
        if path is None:
            return
        submission = Submission("0" * 16, 0.0, Envelope(path[0], ("x@y.example",)), b"\r\n", "192.0.2.1")
        senders.append(IDENTIFIER.identify(submission, Headers(b"\r\n")))
    for sender in senders:
        for key in keys_of(sender):
            assert key.count(b"{") == key.count(b"}") == 1
            assert key[key.index(b"{") + 1 : key.index(b"}")] == sender.account.encode()
    first, second = senders
    if (first.account, first.name) != (second.account, second.name):
        assert keys_of(first).sender != keys_of(second).sender
    if first.account != second.account:
        assert not set(keys_of(first)) & set(keys_of(second))


@given(st.text(max_size=40))
def test_a_name_from_helo_stays_in_its_place(name: str) -> None:
    if name and not unfit_host_name(name):
        assert re.fullmatch(r"[!#-'*+\-./0-:=?-\[\]-~]+", name)
