"""The commands of a mail transaction (RFC 5321 4.1.1): MAIL, RCPT, DATA up to its 354, RSET. None of them waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from outbound_guard.edge import answers, paths
from outbound_guard.edge.lines import COMMANDS_AT_ONCE
from outbound_guard.edge.parameters import NOTHING, Refused, take, take_recipient
from outbound_guard.reply import Reply

if TYPE_CHECKING:
    from outbound_guard.edge.session import Session

_LONGEST_LINE = 510
"""Octets of a command line without its end (RFC 5321 4.5.3.1.4); what becomes of a longer one is the coroutine's."""
_REFUSED = 10
"""Times the recipients that a message may have, which may be refused until that is taken for idling."""


def mail(session: Session, arg: str) -> None:
    """RFC 5321 4.1.1.2."""
    terms = session.terms
    if not session.helo:
        session.wrong(answers.HELO_FIRST, "sequence")
        return
    if session.mail_from is not None:
        session.wrong(answers.NESTED_MAIL, "sequence")
        return
    if not session.known:
        session.wrong(answers.NOBODY, "relay")
        return
    if session.login is None and not terms.trusts(session.client_ip):
        if terms.passwords is None:
            session.wrong(answers.NO_RELAY, "relay")
        else:
            session.wrong(answers.LOGIN_FIRST, "auth")
        return
    if arg[:5].upper() != "FROM:":
        session.wrong(answers.MAIL_SYNTAX, "syntax")
        return
    path = paths.reverse_path(arg[5:])
    if path is None:
        session.wrong(answers.BAD_SENDER, "address")
        return
    sender, words = path
    if words and not session.extended:
        session.wrong(answers.UNKNOWN_PARAMETER, "parameter")
        return
    declared = take(words, terms.limits.message_size, *terms.offered) if words else NOTHING
    if isinstance(declared, Refused):
        if declared.answer is answers.TOO_LARGE:
            _refuse(session, declared.answer, declared.reason)
        else:
            session.wrong(declared.answer, declared.reason)
        return
    session.declared = declared
    if not sender.isascii() and not declared.smtputf8:
        _refuse(session, answers.NEEDS_SMTPUTF8, "address")
        return
    # A login of its own answers for what it sends. Otherwise the envelope's sender is all that is known by now.
    subject = session.login if session.login is not None and session.server is None else sender
    refusal = terms.admit(subject) if subject else None
    if refusal is not None:
        # RFC 7372 gives 525 to AUTH alone.
        _refuse(session, Reply(550, "5.7.1", refusal.text).wire(), "suspended")
        return
    session.mail_from = sender
    session.say(answers.SENDER_OK)


def _refuse(session: Session, answer: bytes, reason: str) -> None:
    """Refuse a command that is well-formed. It brings no message nearer, and there are to be only so many of those."""
    session.refuse(answer, reason)
    session.idle_command()


def rcpt(session: Session, arg: str) -> None:
    """RFC 5321 4.1.1.3."""
    terms = session.terms
    if session.mail_from is None:
        session.wrong(answers.MAIL_FIRST, "sequence")
        return
    if arg[:3].upper() != "TO:":
        session.wrong(answers.RCPT_SYNTAX, "syntax")
        return
    path = paths.forward_path(arg[3:])
    if path is None:
        session.wrong(answers.BAD_RECIPIENT, "address")
        return
    recipient, words = path
    asked = take_recipient(words, terms.dsn and session.extended) if words else None
    if isinstance(asked, Refused):
        session.wrong(asked.answer, asked.reason)
    elif not recipient.isascii() and not session.declared.smtputf8:
        refuse_recipient(session, answers.NEEDS_SMTPUTF8, "address")
    elif len(session.recipients) >= terms.limits.recipients:
        refuse_recipient(session, answers.TOO_MANY_RECIPIENTS, "recipients")
    elif session.login is not None and session.server is None and (no := terms.suppressed(session.login, recipient)):
        # A login of its own answers for what it sends; of all others it is known at the end of the message.
        refuse_recipient(session, no.wire(), "suppressed")
    else:
        session.recipients.append(recipient)
        if asked:
            session.asked[recipient] = asked
        session.say(answers.RECIPIENT_OK)


def refuse_recipient(session: Session, answer: bytes, reason: str) -> None:
    """Refuse one recipient of a message that may have others: a list holds many that are refused, and is mailed."""
    session.refuse(answer, reason)
    session.refused += 1
    if session.refused > _REFUSED * session.terms.limits.recipients:
        session.idle_command()


def data(session: Session, arg: str) -> bool:
    """RFC 5321 4.1.1.4; True if a message comes now."""
    if arg:
        session.wrong(answers.NO_ARGUMENTS, "syntax")
    elif session.mail_from is None:
        session.wrong(answers.MAIL_FIRST, "sequence")
    elif not session.recipients:
        session.wrong(answers.NO_RECIPIENTS, "sequence")
    elif session.terms.sessions.room.over:
        session.reset()
        _refuse(session, answers.NO_ROOM, "memory")
    else:
        session.say(answers.START_DATA)
        return True
    return False


def rset(session: Session, arg: str) -> None:
    """RFC 5321 4.1.1.5."""
    if arg:
        session.wrong(answers.NO_ARGUMENTS, "syntax")
    else:
        session.reset()
        session.idle_command()
        session.say(answers.OK)


_COMMANDS: dict[str, Callable[[Session, str], bool | None]] = {"MAIL": mail, "RCPT": rcpt, "DATA": data, "RSET": rset}


def obey_at_once(session: Session, octets: bytes) -> None:
    """Carry out the commands above that `octets`, at the start of a line, begin with; the rest is left to the session.

    Its coroutine sleeps meanwhile: to wake it costs more than these commands do. Whatever is out of the ordinary, from
    a line that cannot be read to the end of the session, is the coroutine's.
    """
    at = 0
    for _ in range(COMMANDS_AT_ONCE):
        end = octets.find(b"\r\n", at)
        line = octets[at:end]
        if end < 0 or len(line) > _LONGEST_LINE or b"\n" in line or b"\r" in line or not line.isascii():
            break
        verb, _, argument = line.decode("ascii").partition(" ")
        command = _COMMANDS.get(verb)
        if command is None:
            break
        at = end + 2
        try:
            message = command(session, argument.strip(" \t"))
        except Exception as error:
            session.leave(octets[at:], error)
            return
        if message:
            session.begin_message(octets[at:])
            at = len(octets)
            break
    session.leave(octets[at:])
