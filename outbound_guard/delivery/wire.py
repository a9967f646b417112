"""What is said to a next hop: the commands of one mail transaction, and the message in wire form."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence

import msgspec

from outbound_guard.mail import LARGE, Envelope, dotted_line
from outbound_guard.reply import Reply

BAD_SENDER = Reply(501, "5.1.7", "OG-ADDRESS the sender's address cannot be sent on")
BAD_RECIPIENT = Reply(501, "5.1.3", "OG-ADDRESS the recipient's address cannot be sent on")
# RFC 6531 3.5: what a client answers for if the next server does not know SMTPUTF8.
NO_SMTPUTF8 = Reply(553, "5.6.7", "OG-UTF8 the next hop does not take internationalized mail")

# What may stand between < and >: no control characters, and white space, brackets and backslashes only inside a
# quoted string. Anything else could end the address early and add parameters or commands.
_PATH = re.compile(r'(?:[^\x00-\x20\x7f<>"\\]++|"(?:[^\x00-\x1f\x7f"\\]|\\[\x20-\x7e])*+")++')


class Extensions(msgspec.Struct, frozen=True):
    """What the next hop announced in its answer to EHLO, as far as we use it."""

    pipelining: bool = False
    size: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False


class Mail:
    """An envelope and its content, made ready once and then sent over one connection or another."""

    __slots__ = ("_envelope", "_mail_from", "_recipients", "_size", "_success", "_utf8", "body", "relayed", "replies")

    def __init__(self, envelope: Envelope, content: Sequence[bytes]) -> None:
        """`content` is the message in pieces: CRLF line ends, not dot-stuffed."""
        self._envelope = envelope
        self._mail_from = _path(envelope.mail_from) if envelope.mail_from else b""
        self._recipients = [_path(recipient) for recipient in envelope.recipients]
        self._utf8 = envelope.smtputf8 and not _header_is_ascii(content)
        self.body = framed(content)
        """The message as it goes over the wire, to the final dot."""
        # RFC 1870 6: without the final dot and without dot-stuffing.
        self._size = sum(map(len, content)) + len(self.body[-1]) - len(b".\r\n")
        self._success = successes(envelope)
        self.relayed: tuple[int, ...] = ()
        """Places of those whom a hop has taken that does not report success, where that was asked for."""
        self.replies: list[Reply | None]
        """One place for each recipient of the envelope; those that cannot be sent on have their reply already."""
        if self._mail_from is None:
            self.replies = [BAD_SENDER] * len(self._recipients)
        elif None in self._recipients:
            self.replies = [BAD_RECIPIENT if path is None else None for path in self._recipients]
        else:
            self.replies = [None] * len(self._recipients)

    @property
    def hopeless(self) -> bool:
        """True if no recipient is left to be sent to."""
        return None not in self.replies

    def commands(self, extensions: Extensions) -> tuple[list[bytes], list[Reply | None]]:
        """MAIL, RCPT for each recipient that can be sent to by this hop, DATA; and the replies known already.

        Without such a recipient there are no commands.
        """
        replies = self.replies.copy()
        utf8 = self._utf8 or not (self._mail_from or b"").isascii()
        if utf8 and not extensions.smtputf8:
            return [], [reply or NO_SMTPUTF8 for reply in replies]
        lines = [b""]
        for place, path in enumerate(self._recipients):
            if path is None or replies[place] is not None:
                continue
            if not path.isascii():
                if not extensions.smtputf8:
                    replies[place] = NO_SMTPUTF8
                    continue
                utf8 = True
            asked = self._asked(place) if extensions.dsn and self._envelope.asked else b""
            lines.append(b"RCPT TO:<%b>%b\r\n" % (path, asked))
        if len(lines) == 1:
            return [], replies
        mail = b"MAIL FROM:<%b>" % (self._mail_from or b"")
        if extensions.size:
            mail += b" SIZE=%d" % self._size
        if extensions.eight_bit and self._envelope.eight_bit:
            mail += b" BODY=8BITMIME"
        if utf8 or (extensions.smtputf8 and self._envelope.smtputf8):
            mail += b" SMTPUTF8"
        if extensions.dsn:
            # RFC 3461 5.2.1: what the client has asked for is the next hop's to do, exactly as it was asked.
            if self._envelope.ret:
                mail += b" RET=" + self._envelope.ret.encode("ascii")
            if self._envelope.envid:
                mail += b" ENVID=" + self._envelope.envid.encode("ascii")
        lines[0] = mail + b"\r\n"
        lines.append(b"DATA\r\n")
        return lines, replies

    def taken(self, extensions: Extensions, answers: Sequence[Reply]) -> None:
        """A hop with these extensions has answered, for each place; what is settled already counts as before.

        RFC 3461 5.2.2: where it does not know DSN, nobody but us can say that the message was relayed.
        """
        if self._success and not extensions.dsn:
            accepted = (at for at in self._success if self.replies[at] is None and answers[at].accepted)
            self.relayed += tuple(accepted)

    def _asked(self, place: int) -> bytes:
        """The parameters of RCPT for the recipient at this place."""
        asked = self._envelope.asked.get(self._envelope.recipients[place])
        if asked is None:
            return b""
        words = b" NOTIFY=" + ",".join(asked.notify).encode("ascii") if asked.notify else b""
        # One that is not ASCII can only go where the addresses may be so, too; it is a help and no more.
        return words + (b" ORCPT=" + asked.orcpt.encode() if asked.orcpt.isascii() and asked.orcpt else b"")


async def made_ready(envelope: Envelope, content: Sequence[bytes]) -> Mail:
    """The message made ready; a large one in a thread."""
    if sum(map(len, content)) <= LARGE:
        return Mail(envelope, content)
    return await asyncio.to_thread(Mail, envelope, content)


def successes(envelope: Envelope) -> tuple[int, ...]:
    """Places of the recipients whose success is to be reported."""
    if not envelope.asked:
        return ()
    asked = envelope.asked
    return tuple(at for at, to in enumerate(envelope.recipients) if to in asked and "SUCCESS" in asked[to].notify)


def framed(content: Sequence[bytes]) -> list[bytes]:
    """The message in wire form: dot-stuffed where a line begins with a dot, and CRLF.CRLF at its end.

    RFC 5321 4.5.2 and 4.1.1.4; not an octet is changed otherwise.
    """
    pieces, dots = [], False
    for piece in content:
        if piece:
            pieces.append(piece)
            # The dot of CRLF dot stands first in its piece, or second behind the LF, or the three stand in one piece.
            dots = dots or dotted_line(piece) >= 0 or piece[0] == 0x2E or piece[:2] == b"\n."
    if dots and sum(map(len, pieces)) > LARGE:
        pieces = list(_stuffed(pieces))
    elif dots:
        whole = b"".join(pieces).replace(b"\r\n.", b"\r\n..")
        pieces = [b"." + whole if whole[0] == 0x2E else whole]
    tail = pieces[-1][-2:] if pieces else b"\r\n"
    if tail == b"\n" and len(pieces) > 1:
        tail = pieces[-2][-1:] + tail
    pieces.append(b".\r\n" if tail == b"\r\n" else b"\r\n.\r\n")
    return pieces


def _stuffed(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """The same octets with each dot that begins a line doubled, in steps, so that others get their turn in between."""
    before = b"\r\n"
    for piece in pieces:
        for start in range(0, len(piece), LARGE):
            window = before + piece[start : start + LARGE]
            yield window.replace(b"\r\n.", b"\r\n..")[2:]
            before = window[-2:]


def _path(address: str) -> bytes | None:
    """The address in octets, or None if it cannot stand in a command."""
    if _PATH.fullmatch(address) is None:
        return None
    try:
        return address.encode("utf-8")
    except UnicodeEncodeError:
        return None


def _header_is_ascii(content: Sequence[bytes]) -> bool:
    head, _, _ = b"".join(content).partition(b"\r\n\r\n")
    return head.isascii()
