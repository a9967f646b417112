"""The commands of SMTP (RFC 5321), as aiosmtpd names them: what a client may say, and what we answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiosmtpd.smtp import AuthResult

from outbound_guard.edge import answers, paths, transaction, xclient
from outbound_guard.edge.data import DataReader, Fault, header, hops
from outbound_guard.edge.ends import BadLine, Closed
from outbound_guard.edge.lines import Lines
from outbound_guard.edge.logins import authenticate
from outbound_guard.edge.parameters import NOTHING
from outbound_guard.edge.room import Full, brought_back
from outbound_guard.edge.terms import Terms
from outbound_guard.mail import Asked, Submission, new_id

log = logging.getLogger(__name__)

_NOT_SMTP = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "PRI", "PROXY", "TRACE"})
"""A browser can be made to talk to us from a trusted address; it must not get as far as its request's body.
Nor is anybody heard who would like to speak for others and may not: PROXY comes first or never."""
_FAULTS: dict[Fault, bytes] = {
    "size": answers.TOO_LARGE,
    "line_end": answers.BARE_IN_CONTENT,
    "full": answers.NO_ROOM,
}


class Session(Lines):
    """One client's session, from greeting to QUIT."""

    helo = ""
    login: str | None = None
    server: str | None = None
    mail_from: str | None = None
    tls: str | None = None
    declared = NOTHING
    """What MAIL said of the message to come."""
    _errors = 0
    _idle_commands = 0
    refused = 0
    """Recipients of the message to come that were refused."""
    told = xclient.NOTHING
    """What a trusted host told of its client."""
    handed_on_by = ""
    """Address of the host that told by XCLIENT for whom it speaks."""
    extended = False
    """True after EHLO."""
    logins_failed = 0

    def __init__(self, terms: Terms) -> None:
        super().__init__(terms)
        self.recipients: list[str] = []
        self.asked: dict[str, Asked] = {}

    @property
    def at_rest(self) -> bool:
        """True if no mail transaction is open."""
        return self.mail_from is None

    async def obey(self, line: bytes) -> None:
        """Carry out one command line."""
        try:
            verb, _, argument = line.decode("utf-8").partition(" ")
        except UnicodeDecodeError:
            raise BadLine(answers.BAD_LINE) from None
        command = COMMANDS.get(verb) or COMMANDS.get(verb.upper())
        if command is None:
            self._unknown(verb)
        else:
            await command(self, argument.strip(" \t"))

    def obey_at_once(self, octets: bytes) -> None:
        """Carry out the commands that wait for nothing; the rest is left."""
        transaction.obey_at_once(self, octets)

    def refuse(self, answer: bytes, reason: str) -> None:
        """Answer a command that is well-formed and yet refused."""
        self.terms.count("smtp_commands_refused_total", reason)
        self.say(answer)

    def wrong(self, answer: bytes, reason: str) -> None:
        """Answer a wrong command, and close the session after too many of them."""
        self.refuse(answer, reason)
        self._errors += 1
        if self._errors >= self.terms.limits.errors:
            self.refuse(answers.TOO_MANY_ERRORS, "errors")
            raise Closed

    def _unknown(self, verb: str) -> None:
        verb = verb.upper()
        if verb in _NOT_SMTP:
            self.refuse(answers.NOT_SMTP, "not_smtp")
            raise Closed
        if verb == "BDAT":
            # What follows is a message. It must not be read as commands.
            self.refuse(answers.NO_CHUNKING, "unknown")
            raise Closed
        self.wrong(answers.UNKNOWN, "unknown")

    def idle_command(self) -> None:
        """Count a command that brings no message nearer, and close the session after too many of them."""
        self._idle_commands += 1
        if self._idle_commands > self.terms.limits.commands:
            self.refuse(answers.TOO_MANY_COMMANDS, "commands")
            raise Closed

    @property
    def replies_due(self) -> int:
        """How often the answer to a message is said."""
        return 1

    def reset(self) -> None:
        """No mail transaction is open any more."""
        self.mail_from = None
        self.recipients = []
        self.asked = {}
        self.refused = 0

    # -- Who are you -------------------------------------------------------------------------------------------------

    async def smtp_EHLO(self, arg: str) -> None:
        """RFC 5321 4.1.1.1."""
        if self._greet(arg):
            self.extended = True
            self.say(self.terms.ehlo(self.tls is not None, xclient.allowed(self)))

    async def smtp_HELO(self, arg: str) -> None:
        """RFC 5321 4.1.1.1."""
        if self._greet(arg):
            self.extended = False
            self.say(self.terms.helo)

    def _greet(self, name: str) -> bool:
        if not name or paths.unfit_host_name(name):
            self.wrong(answers.HELO_SYNTAX, "syntax")
            return False
        self.reset()
        # The name that a trusted host told of its client is worth more than that host's own.
        self.helo = self.told.helo or name
        self.idle_command()
        return True

    async def smtp_STARTTLS(self, arg: str) -> None:
        """RFC 3207."""
        if arg:
            self.wrong(answers.NO_ARGUMENTS, "syntax")
        elif self.tls is not None:
            self.wrong(answers.TLS_ALREADY, "sequence")
        elif self.terms.tls is None:
            self.wrong(answers.NOT_IMPLEMENTED, "unknown")
        else:
            self.say(answers.READY_FOR_TLS)
            await self.start_tls(self.terms.tls)
            # RFC 3207 4.2: nothing that was said before counts; what a trusted host said by XCLIENT, it says again.
            self.forget_client()
            self.encrypted()

    def forget_client(self) -> None:
        """Begin anew: nothing that the client said counts."""
        self.reset()
        self.helo = ""
        self.extended = False
        self.login = self.server = None

    def encrypted(self) -> None:
        """Keep protocol and cipher of the TLS layer that now lies below, if any."""
        cipher = self.transport.get_extra_info("cipher") if self.transport is not None else None
        if cipher:
            self.tls = f"{cipher[1]} {cipher[0]}"
            self.terms.count("smtp_tls_sessions_total", self.terms.name, cipher[1])

    async def smtp_AUTH(self, arg: str) -> None:
        """RFC 4954."""
        await authenticate(self, arg)

    def _authenticate(self, mechanism: str, auth_data: Any) -> AuthResult:
        """Called by aiosmtpd's dialogues, which cannot wait: hands out what the client gave; `logins` checks it."""
        return AuthResult(success=False, auth_data=auth_data)

    async def smtp_XCLIENT(self, arg: str) -> None:
        """What Postfix describes in its XCLIENT_README: a trusted host tells of its own client."""
        xclient.obey(self, arg)

    # -- A mail transaction ------------------------------------------------------------------------------------------

    async def smtp_MAIL(self, arg: str) -> None:
        """RFC 5321 4.1.1.2."""
        transaction.mail(self, arg)

    async def smtp_RCPT(self, arg: str) -> None:
        """RFC 5321 4.1.1.3."""
        transaction.rcpt(self, arg)

    async def smtp_DATA(self, arg: str) -> None:
        """RFC 5321 4.1.1.4."""
        if transaction.data(self, arg):
            await self.take(await self.read_message())

    async def take(self, reader: DataReader) -> None:
        """Answer a message that has been read to its end; the next mail transaction may begin."""
        times = self.replies_due
        try:
            answer = await self._answer(reader, self.mail_from or "")
        except Exception:
            log.exception("a message from %s could not be taken in", self.client_ip)
            answer = self._fault()
        finally:
            reader.close()
            # Whatever happened: what comes next must not go to these recipients too.
            self.reset()
        self.say(answer * times)
        if answer.startswith(b"421"):
            # RFC 5321 3.8: with 421 the server closes.
            raise Closed

    async def _answer(self, reader: DataReader, mail_from: str) -> bytes:
        """What to say to a message that has been read to its end."""
        if reader.fault is not None:
            return self._unfit(reader.fault, _FAULTS[reader.fault])
        if reader.overflow is None:
            return await self._accepted(reader.content(), mail_from)
        self.flush()
        try:
            async with brought_back(reader, self.terms.sessions.room) as content:
                return await self._accepted(content, mail_from)
        except Full:
            return self._unfit("memory", answers.NO_ROOM)

    def _unfit(self, reason: str, answer: bytes) -> bytes:
        self.terms.count("smtp_messages_refused_total", reason)
        return answer

    async def _accepted(self, content: bytes, mail_from: str) -> bytes:
        """What to say to a message that came in whole."""
        head = header(content, self.terms.limits.header_size)
        if head is None:
            return self._unfit("header_size", answers.HEADER_TOO_LARGE)
        if hops(head) >= self.terms.limits.hops:
            return self._unfit("hops", answers.LOOP)
        del head
        now = self.terms.clock.now()
        submission = Submission(
            id=new_id(now),
            received=now,
            envelope=self.declared.envelope(mail_from, self.recipients, self.asked),
            content=content,
            client_ip=self.client_ip,
            client_port=self.client_port,
            helo=self.helo,
            login=self.login,
            server=self.server,
            protocol=self._protocol(),
            tls=self.tls,
            listener=self.terms.name,
        )
        del content
        # If the client has not waited for the 354, that is still to be sent.
        self.flush()
        try:
            answer = (await self.terms.accept(submission)).wire()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # It was not this session that was cancelled, but something below: a fault like any other.
            log.exception("message %s was cancelled", submission.id)
        except Exception:
            log.exception("message %s failed", submission.id)
        else:
            self._errors = self._idle_commands = 0
            return answer
        return self._fault()

    def _fault(self) -> bytes:
        self.terms.count("smtp_faults_total", "message")
        return answers.FAULT

    def _protocol(self) -> str:
        """The word for the Received field (RFC 3848; RFC 6531 4.3)."""
        if not self.extended:
            return "SMTP"
        name = "UTF8SMTP" if self.declared.smtputf8 else "ESMTP"
        return name + ("S" if self.tls else "") + ("A" if self.login is not None else "")

    # -- The rest ----------------------------------------------------------------------------------------------------

    async def smtp_RSET(self, arg: str) -> None:
        """RFC 5321 4.1.1.5."""
        transaction.rset(self, arg)

    async def smtp_NOOP(self, arg: str) -> None:
        """RFC 5321 4.1.1.9."""
        self.idle_command()
        self.say(answers.OK)

    async def smtp_QUIT(self, arg: str) -> None:
        """RFC 5321 4.1.1.10."""
        if arg:
            self.wrong(answers.NO_ARGUMENTS, "syntax")
        else:
            self.say(answers.BYE)
            raise Closed

    async def smtp_VRFY(self, arg: str) -> None:
        """RFC 5321 3.5.3: says nothing about who exists."""
        if arg:
            self.idle_command()
            self.say(answers.NOT_VERIFIED)
        else:
            self.wrong(answers.VRFY_SYNTAX, "syntax")

    async def smtp_HELP(self, arg: str) -> None:
        """RFC 5321 4.1.1.8."""
        self.idle_command()
        self.say(answers.HELP)

    async def smtp_EXPN(self, arg: str) -> None:
        """RFC 5321 3.5.2; not offered."""
        self.wrong(answers.NOT_IMPLEMENTED, "unknown")

    async def smtp_ETRN(self, arg: str) -> None:
        """RFC 1985; not offered."""
        self.wrong(answers.NOT_IMPLEMENTED, "unknown")


COMMANDS: dict[str, Callable[[Session, str], Awaitable[None]]] = {
    name.removeprefix("smtp_"): method for name, method in vars(Session).items() if name.startswith("smtp_")
}
"""aiosmtpd looks these up on each new connection; once is enough."""
