"""The commands of SMTP (RFC 5321), as aiosmtpd names them: what a client may say, and what we answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiosmtpd.smtp import AuthResult
from aiosmtpd.smtp import Session as Peer

from outbound_guard.edge import answers, paths
from outbound_guard.edge.data import DataReader, hops
from outbound_guard.edge.parameters import NOTHING, Refused, take, take_recipient
from outbound_guard.edge.passwords import Overloaded, Passwords
from outbound_guard.edge.terms import Terms
from outbound_guard.edge.wire import BadLine, Closed, Wire
from outbound_guard.mail import Asked, Submission, new_id
from outbound_guard.reply import Reply

log = logging.getLogger(__name__)

_NOT_SMTP = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "PRI", "TRACE"})
"""A browser can be made to talk to us from a trusted address; it must not get as far as its request's body."""


class Session(Wire):
    """One client's session, from greeting to QUIT."""

    helo = ""
    login: str | None = None
    server: str | None = None
    mail_from: str | None = None
    tls: str | None = None
    _extended = False
    _declared = NOTHING
    _errors = 0
    _logins_failed = 0

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

    def _reset(self) -> None:
        self.mail_from = None
        self.recipients = []
        self.asked = {}

    # -- Who are you -------------------------------------------------------------------------------------------------

    async def smtp_EHLO(self, arg: str) -> None:
        """RFC 5321 4.1.1.1."""
        if self._greet(arg):
            self._extended = True
            self.say(self.terms.ehlo(secure=self.tls is not None))

    async def smtp_HELO(self, arg: str) -> None:
        """RFC 5321 4.1.1.1."""
        if self._greet(arg):
            self._extended = False
            self.say(self.terms.helo)

    def _greet(self, name: str) -> bool:
        if not name or paths.unfit_host_name(name):
            self.wrong(answers.HELO_SYNTAX, "syntax")
            return False
        self._reset()
        self.helo = name
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
            # RFC 3207 4.2: nothing that was said before counts.
            self._reset()
            self.helo = ""
            self._extended = False
            self.login = self.server = None
            self.encrypted()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; with implicit TLS it has shaken hands already."""
        super().connection_made(transport)
        self.encrypted()

    def encrypted(self) -> None:
        """Keep protocol and cipher of the TLS layer that now lies below, if any."""
        cipher = self.transport.get_extra_info("cipher") if self.transport is not None else None
        if cipher:
            self.tls = f"{cipher[1]} {cipher[0]}"
            self.terms.count("smtp_tls_sessions_total", self.terms.name, cipher[1])

    async def smtp_AUTH(self, arg: str) -> None:
        """RFC 4954. The dialogues themselves are aiosmtpd's."""
        mechanism, *initial = arg.split() or [""]
        dialogue = {"PLAIN": self.auth_PLAIN, "LOGIN": self.auth_LOGIN}.get(mechanism.upper())
        passwords = self.terms.passwords
        if passwords is None:
            self.wrong(answers.NOT_IMPLEMENTED, "unknown")
        elif not self._extended:
            self.wrong(answers.HELO_FIRST, "sequence")
        elif self.login is not None:
            self.wrong(answers.LOGGED_IN_ALREADY, "sequence")
        elif not self.at_rest:
            self.wrong(answers.NOT_IN_TRANSACTION, "sequence")
        elif self.terms.secrets_need_tls and self.tls is None:
            self.wrong(answers.TLS_FIRST, "auth")
        elif not mechanism or len(initial) > 1:
            self.wrong(answers.AUTH_SYNTAX, "syntax")
        elif dialogue is None:
            self.wrong(answers.UNKNOWN_MECHANISM, "syntax")
        else:
            self.session = self.session or self._peer()
            result = await dialogue(self, [mechanism, *initial])
            if result.auth_data is None:
                # Broken off, or not to be decoded; aiosmtpd has said so.
                self._login_failed("broken_off")
            else:
                await self._log_in(passwords, *result.auth_data)

    def _peer(self) -> Peer:
        peer = Peer(self.loop)
        peer.peer = self.client_ip
        return peer

    def _authenticate(self, mechanism: str, auth_data: Any) -> AuthResult:
        """Called by aiosmtpd's dialogues, which cannot wait: hands out what the client gave; `smtp_AUTH` checks it."""
        return AuthResult(success=False, auth_data=auth_data)

    async def _log_in(self, passwords: Passwords, user: bytes, password: bytes) -> None:
        try:
            login = user.decode("utf-8")
            right = await passwords.check(login, password)
        except UnicodeDecodeError:
            right = False
        except Overloaded:
            self.terms.count("smtp_logins_total", "overloaded")
            self.say(answers.LOGIN_FAULT)
            return
        except Exception:
            log.exception("password check for %s failed", self.client_ip)
            self.terms.count("smtp_logins_total", "fault")
            self.say(answers.LOGIN_FAULT)
            return
        if not right:
            self.say(answers.WRONG_PASSWORD)
            self._login_failed("wrong")
            return
        server = self.terms.is_server(login)
        refusal = None if server else self.terms.admit(login)
        if refusal is not None:
            self.say(refusal.wire())
            self._login_failed("suspended")
            return
        self.login = login
        self.server = login if server else None
        self.terms.count("smtp_logins_total", "accepted")
        self.say(answers.LOGGED_IN)

    def _login_failed(self, result: str) -> None:
        self.terms.count("smtp_logins_total", result)
        self._logins_failed += 1
        if self._logins_failed >= self.terms.limits.auth_tries:
            self.refuse(answers.TOO_MANY_LOGINS, "auth_tries")
            raise Closed

    # -- A mail transaction ------------------------------------------------------------------------------------------

    async def smtp_MAIL(self, arg: str) -> None:
        """RFC 5321 4.1.1.2."""
        if not self.helo:
            self.wrong(answers.HELO_FIRST, "sequence")
            return
        if self.mail_from is not None:
            self.wrong(answers.NESTED_MAIL, "sequence")
            return
        if self.login is None and not self.terms.trusts(self.client_ip):
            if self.terms.passwords is None:
                self.refuse(answers.NO_RELAY, "relay")
            else:
                self.refuse(answers.LOGIN_FIRST, "auth")
            return
        if arg[:5].upper() != "FROM:":
            self.wrong(answers.MAIL_SYNTAX, "syntax")
            return
        path = paths.reverse_path(arg[5:])
        if path is None:
            self.wrong(answers.BAD_SENDER, "address")
            return
        sender, words = path
        if words and not self._extended:
            self.wrong(answers.UNKNOWN_PARAMETER, "parameter")
            return
        declared = take(words, self.terms.limits.message_size, *self.terms.offered) if words else NOTHING
        if isinstance(declared, Refused):
            (self.refuse if declared.answer is answers.TOO_LARGE else self.wrong)(declared.answer, declared.reason)
            return
        self._declared = declared
        if not sender.isascii() and not declared.smtputf8:
            self.refuse(answers.NEEDS_SMTPUTF8, "address")
            return
        # A login of its own answers for what it sends. Otherwise the envelope's sender is all that is known by now.
        subject = self.login if self.login is not None and self.server is None else sender
        refusal = self.terms.admit(subject) if subject else None
        if refusal is not None:
            # RFC 7372 gives 525 to AUTH alone.
            self.refuse(Reply(550, "5.7.1", refusal.text).wire(), "suspended")
            return
        self.mail_from = sender
        self.say(answers.SENDER_OK)

    async def smtp_RCPT(self, arg: str) -> None:
        """RFC 5321 4.1.1.3."""
        if self.mail_from is None:
            self.wrong(answers.MAIL_FIRST, "sequence")
            return
        if arg[:3].upper() != "TO:":
            self.wrong(answers.RCPT_SYNTAX, "syntax")
            return
        path = paths.forward_path(arg[3:])
        if path is None:
            self.wrong(answers.BAD_RECIPIENT, "address")
            return
        recipient, words = path
        asked = take_recipient(words, self.terms.dsn and self._extended) if words else None
        if isinstance(asked, Refused):
            self.wrong(asked.answer, asked.reason)
        elif not recipient.isascii() and not self._declared.smtputf8:
            self.refuse(answers.NEEDS_SMTPUTF8, "address")
        elif len(self.recipients) >= self.terms.limits.recipients:
            self.refuse(answers.TOO_MANY_RECIPIENTS, "recipients")
        else:
            self.recipients.append(recipient)
            self.asked |= {recipient: asked} if asked else {}
            self.say(answers.RECIPIENT_OK)

    async def smtp_DATA(self, arg: str) -> None:
        """RFC 5321 4.1.1.4."""
        if arg:
            self.wrong(answers.NO_ARGUMENTS, "syntax")
        elif self.mail_from is None:
            self.wrong(answers.MAIL_FIRST, "sequence")
        elif not self.recipients:
            self.wrong(answers.NO_RECIPIENTS, "sequence")
        else:
            self.say(answers.START_DATA)
            answer = await self._answer(await self.read_message(), self.mail_from)
            self._reset()
            self.say(answer)
            if answer.startswith(b"421"):
                # RFC 5321 3.8: with 421 the server closes.
                raise Closed

    async def _answer(self, reader: DataReader, mail_from: str) -> bytes:
        """What to say to a message that has been read to its end."""
        if reader.fault is not None:
            self.terms.count("smtp_messages_refused_total", reader.fault)
            return answers.TOO_LARGE if reader.fault == "size" else answers.BARE_IN_CONTENT
        content = reader.content()
        if hops(content) >= self.terms.limits.hops:
            self.terms.count("smtp_messages_refused_total", "hops")
            return answers.LOOP
        now = self.terms.clock.now()
        submission = Submission(
            id=new_id(now),
            received=now,
            envelope=self._declared.envelope(mail_from, self.recipients, self.asked),
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
            self._errors = 0
            return answer
        self.terms.count("smtp_faults_total", "message")
        return answers.FAULT

    def _protocol(self) -> str:
        """The word for the Received field (RFC 3848; RFC 6531 4.3)."""
        if not self._extended:
            return "SMTP"
        name = "UTF8SMTP" if self._declared.smtputf8 else "ESMTP"
        return name + ("S" if self.tls else "") + ("A" if self.login is not None else "")

    # -- The rest ----------------------------------------------------------------------------------------------------

    async def smtp_RSET(self, arg: str) -> None:
        """RFC 5321 4.1.1.5."""
        if arg:
            self.wrong(answers.NO_ARGUMENTS, "syntax")
        else:
            self._reset()
            self.say(answers.OK)

    async def smtp_NOOP(self, arg: str) -> None:
        """RFC 5321 4.1.1.9."""
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
            self.say(answers.NOT_VERIFIED)
        else:
            self.wrong(answers.VRFY_SYNTAX, "syntax")

    async def smtp_HELP(self, arg: str) -> None:
        """RFC 5321 4.1.1.8."""
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
