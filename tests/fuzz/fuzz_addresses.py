"""Addresses and parameters of MAIL and RCPT: what is taken can be said again, to the octet, and can end nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from outbound_guard.accounts import Identifier
from outbound_guard.accounts.forms import LONGEST
from outbound_guard.config import Config
from outbound_guard.delivery.wire import Extensions, Mail
from outbound_guard.edge import paths
from outbound_guard.edge.parameters import NOTHING, Declared, Refused, take, take_recipient
from outbound_guard.mail import Envelope, Headers, Sender, Submission, domain_of, owned
from outbound_guard.reputation.keys import keys_of
from tests.fuzz.target import Choices, Target, holds, one_line

EVERYTHING = Extensions(pipelining=True, size=True, eight_bit=True, smtputf8=True, dsn=True)
IDENTIFIER = Identifier(Config(), lambda name: None)
_SLOT = re.compile(rb"[a-z]:\{[^{}]+\}(?:[:@+][^{}]*)?")


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    kind = choices.number(3)
    text = choices.rest().decode("utf-8", "ignore")
    if kind == 0:
        envelope_of(text)
    elif kind == 1:
        helo = text[:300]
        if not paths.unfit_host_name(helo):
            holds(one_line(helo) and not set(helo) & set(' "(),;<>\\'), helo)
    else:
        sender_of(text, choices.number(4))


def envelope_of(text: str) -> None:
    """The first line as what follows MAIL FROM:, the others as what follows RCPT TO:, as the edge takes them."""
    first, *others = text.split("\n")[:6]
    path = paths.reverse_path(first)
    if path is None:
        return
    mail_from, words = path
    declared = take(words, 10_000, True, True) if words else NOTHING
    if isinstance(declared, Refused):
        return
    recipients, asked = [], {}
    for line in others:
        to = paths.forward_path(line)
        more = take_recipient(to[1], True) if to and to[1] else None
        if to is None or isinstance(more, Refused):
            continue
        recipients.append(to[0])
        if more is not None:
            asked[to[0]] = more
    for address in (mail_from, *recipients):
        holds(one_line(address) and len(address) <= 320, address)
        holds(("\0" not in address and address.count("@") >= bool(address)) or address.lower() == "postmaster", address)
        holds("@" not in domain_of(address) and " " not in domain_of(address), address)
        # Nobody is written to who is not of the sender's own domain.
        holds(not owned(address, "other.example", "x@other.example") or domain_of(address) == "other.example", address)
    if not recipients:
        return
    # SMTPUTF8 is asked for by the session where it is needed.
    declared = Declared(True, declared.eight_bit, declared.ret, declared.envid)
    mail = Mail(declared.envelope(mail_from, recipients, asked), (b"x\r\n",))
    lines, replies = mail.commands(EVERYTHING)
    holds(not any(replies), "taken and cannot be sent on", mail_from, recipients, replies)
    for line in lines:
        holds(line.endswith(b"\r\n") and line.count(b"\r") == line.count(b"\n") == 1 and b"\0" not in line, line)
    said = paths.reverse_path(lines[0].decode()[len("MAIL FROM:") : -2])
    holds(said and said[0] == mail_from, "another sender", mail_from, lines[0])
    assert said is not None
    again = take(said[1], 10_000, True, True)
    holds(not isinstance(again, Refused), lines[0])
    holds(again[1:] == declared[1:], lines[0], declared)
    for recipient, line in zip(recipients, lines[1:-1], strict=True):
        to = paths.forward_path(line.decode()[len("RCPT TO:") : -2])
        holds(to and to[0] == recipient, "another recipient", recipient, line)
        assert to is not None
        wanted = asked.get(recipient)
        if wanted and wanted.orcpt.isascii():
            holds((take_recipient(to[1], True) if to[1] else None) in (wanted, None), wanted, line)


def sender_of(text: str, kind: int) -> None:
    """Whoever it is found to be: fit for a key, a log line and a page, and nobody else's slot in Redis."""
    head = text.replace("\r\n", "\n").replace("\n", "\r\n")
    content = (head + "\r\n\r\nx\r\n").encode()
    line = text.partition("\n")[0]
    path = paths.reverse_path(f"<{line}>")
    login = line[:400] if kind & 1 and line else None
    submission = Submission(
        id="1",
        received=0.0,
        envelope=Envelope(path[0] if path else "a@b.example", ("to@there.example",)),
        content=content,
        client_ip="192.0.2.10",
        login=login,
        server="web01" if kind & 2 else None,
    )
    sender = IDENTIFIER.identify(submission, Headers(content))
    fit(sender)


def fit(sender: Sender) -> None:
    """What every sender must be."""
    for name in (sender.account, sender.name):
        holds(0 < len(name) <= 2 * LONGEST + 64, sender)
        holds(name.isprintable() and not any(c.isspace() or c in '{}<>"\\' for c in name), sender)
    for key in keys_of(sender):
        holds(_SLOT.fullmatch(key), key)
        holds(key[2:].startswith(b"{" + sender.account.encode() + b"}"), key)


def seeds() -> Iterator[bytes]:
    for first in (
        b"<a@b.example> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=x+2By",
        b"<>",
        b" <@r.example,@s.example:a@b.example>",
        b'<"a b"@b.example>',
        b'<"a\\"b"@[192.0.2.1]>',
        b"<a%b@c.example>",
        b"<a!b@c.example>",
        b"<\xc3\xa4@\xc3\xb6.example> SMTPUTF8",
    ):
        yield b"\0" + first + b"\n<c@d.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;c+40d\n<Postmaster>\n<e@[IPv6:::1]>"
    yield b"\1mail.example"
    yield b"\2a@b.example\nX-AuthUser: c@d.example"
    for field in (
        b"Received: from pc (x [93.1.2.3]) (Authenticated sender: me@mine.example) by a (Postfix) with ESMTPSA\r\n",
        b"X-PHP-Script: firma.example/a.php for 1.2.3.4\r\nX-PHP-Originating-Script: 1000:a.php\r\n",
        b"X-Get-Message-Sender-Via: w.example: authenticated_id: me@mine.example\r\n",
        b"X-Source-Args: /usr/bin/php /home/u/x.php\r\nX-Source-Dir: a.example:/public_html\r\n",
    ):
        yield b"\2me@mine.example\n" + field


WORDS = (
    *(b"<", b">", b"@", b'"', b"\\", b" ", b"\t", b"\n", b"\r", b"\0", b":", b",", b"[", b"]", b"IPv6:", b"192.0.2.1"),
    *(
        b"a@b.example",
        b"\xc3\xa4",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"%",
        b"!",
        b" SIZE=1",
        b" RET=HDRS",
        b" ENVID=",
        b"+0A",
    ),
    *(b" NOTIFY=NEVER", b" ORCPT=rfc822;", b"utf-8;", b"=", b";", b" SMTPUTF8", b" BODY=7BIT", b"X-AuthUser: ", b"{a}"),
    *(b"X-PHP-Script: ", b"Received: from ", b" by a (Postfix) with ESMTPSA", b"(Authenticated sender: ", b"/", b")"),
)
TARGET = Target(attempt, seeds, WORDS, lead=1, longest=2048)
