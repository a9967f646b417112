"""AUTH (RFC 4954): who logs in, and who only guesses. The dialogues themselves are aiosmtpd's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiosmtpd.smtp import Session as Peer

from outbound_guard.edge import answers
from outbound_guard.edge.ends import Closed
from outbound_guard.edge.passwords import Overloaded, Passwords

if TYPE_CHECKING:
    from outbound_guard.edge.session import Session

log = logging.getLogger(__name__)

_LONGEST = 255
"""Characters of a login."""


async def authenticate(session: Session, arg: str) -> None:
    """Carry out AUTH."""
    mechanism, *initial = arg.split() or [""]
    dialogue = {"PLAIN": session.auth_PLAIN, "LOGIN": session.auth_LOGIN}.get(mechanism.upper())
    passwords = session.terms.passwords
    if passwords is None:
        session.wrong(answers.NOT_IMPLEMENTED, "unknown")
    elif not session.extended:
        session.wrong(answers.HELO_FIRST, "sequence")
    elif session.login is not None:
        session.wrong(answers.LOGGED_IN_ALREADY, "sequence")
    elif not session.at_rest:
        session.wrong(answers.NOT_IN_TRANSACTION, "sequence")
    elif session.terms.secrets_need_tls and session.tls is None:
        session.wrong(answers.TLS_FIRST, "auth")
    elif not mechanism or len(initial) > 1:
        session.wrong(answers.AUTH_SYNTAX, "syntax")
    elif dialogue is None:
        session.wrong(answers.UNKNOWN_MECHANISM, "syntax")
    else:
        session.session = session.session or _peer(session)
        result = await dialogue(session, [mechanism, *initial])
        if result.auth_data is None:
            # Broken off, or not to be decoded; aiosmtpd has said so.
            _failed(session, "broken_off")
        else:
            await _log_in(session, passwords, *result.auth_data)


def _peer(session: Session) -> Peer:
    peer = Peer(session.loop)
    peer.peer = session.client_ip
    return peer


async def _log_in(session: Session, passwords: Passwords, user: bytes, password: bytes) -> None:
    terms = session.terms
    login, right, why = "", False, ""
    try:
        login = user.decode("utf-8")
        why = await passwords.guesses.refuses(session.client_ip, login)
        if not why:
            right = len(login) <= _LONGEST and await passwords.check(login, password)
    except UnicodeDecodeError:
        pass
    except Overloaded:
        terms.count("smtp_logins_total", "overloaded")
        session.say(answers.LOGIN_FAULT)
        return
    except Exception:
        log.exception("password check for %s failed", session.client_ip)
        terms.count("smtp_logins_total", "fault")
        session.say(answers.LOGIN_FAULT)
        return
    if why:
        # Whoever guesses is not told whether it was right, nor did it cost us the check.
        session.say(answers.LOGIN_FAULT)
        _failed(session, why)
        return
    if not right:
        session.say(answers.WRONG_PASSWORD)
        passwords.guesses.wrong(session.client_ip, login)
        _failed(session, "wrong")
        return
    passwords.guesses.right(session.client_ip, login)
    server = terms.is_server(login)
    refusal = None if server else terms.admit(login)
    if refusal is not None:
        session.say(refusal.wire())
        _failed(session, "suspended")
        return
    session.login = login
    session.server = login if server else None
    terms.count("smtp_logins_total", "accepted")
    session.say(answers.LOGGED_IN)


def _failed(session: Session, result: str) -> None:
    session.terms.count("smtp_logins_total", result)
    session.logins_failed += 1
    if session.logins_failed >= session.terms.limits.auth_tries:
        session.refuse(answers.TOO_MANY_LOGINS, "auth_tries")
        raise Closed
