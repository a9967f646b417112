"""The identity rules as functions: each looks at one submission and yields its sender, or None. See identity.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from outbound_guard.accounts import forms
from outbound_guard.accounts.evidence import (
    Seen,
    author_ip,
    forwarding_address,
    login_reader,
    script_of,
    server_name,
    shared,
    user_of,
    where_of,
)
from outbound_guard.accounts.forms import AUTHENTICATED, LOCAL, NETWORK, UNKNOWN
from outbound_guard.accounts.signed import Signed
from outbound_guard.config import Identity, contains, networks
from outbound_guard.mail import Sender, Submission, domain_of

# The mail server itself: bounces, automatic answers.
_MAIL_SERVER = frozenset({"mailnull", "exim", "debian-exim", "mail", "postfix", "mailer-daemon"})
_SCRIPTS = frozenset({"x-php-originating-script", "x-php-script", "x-source-args", "x-source-dir"})
_EVERY_WAY = frozenset({AUTHENTICATED, LOCAL, NETWORK, UNKNOWN})


class Rule:
    """One rule, made ready."""

    __slots__ = ("apply", "header", "ways")

    def __init__(self, apply: Callable[[Seen], Sender | None], header: str = "", ways: frozenset[str] = _EVERY_WAY):
        """`header`: the field it cannot do without. `ways`: the ways a message may have come in for it to apply."""
        self.apply, self.header, self.ways = apply, header, ways


class Rules:
    """Makes rules of the configuration's tables. They know the directory and each other's headers, nothing else."""

    def __init__(self, account_of: Callable[[str], str | None], signed: Callable[[Identity], Signed]) -> None:
        """`signed` makes what knows the keys of a rule."""
        self._account_of, self._signed_by = account_of, signed
        self._logins: list[tuple[str, Callable[[Seen], list[str]]]] = []

    def ready(self, rule: Identity) -> Rule:
        """The rule for one [[identity]] table that has been checked."""
        if rule.from_ == "sasl":
            return Rule(self._sasl)
        if rule.from_ == "mail_from":
            return self._mail_from(rule)
        if rule.from_ == "client_ip":
            return Rule(lambda seen: self.address(seen.submission))
        name = header_of(rule)
        if rule.from_.startswith("signed:"):
            return self._signed(rule, name)
        if name == "received":
            return self._trace(rule)
        if name in _SCRIPTS and not rule.pattern:
            return self._script(rule, name)
        if name == "x-ppp-vhost" and not rule.pattern:
            return self._vhost(rule, name)
        return self._login(rule, name)

    def address(self, submission: Submission) -> Sender:
        """The last resort: the client's address."""
        ip = submission.client_ip if forms.safe(submission.client_ip) else server_name(submission.client_ip)
        direct = submission.server is None
        return Sender(self._account_of(ip) or ip, ip, "address", "client_ip", ip if direct else None)

    def _signed(self, rule: Identity, header: str) -> Rule:
        """A header that proves itself: it is read of whomever it comes from, and however the message came in."""
        signed = self._signed_by(rule)

        def apply(seen: Seen) -> Sender | None:
            values = [value for name, value in seen.headers.fields if name == header]
            return signed.sender(values, rule.from_, seen.submission, seen.headers) if values else None

        return Rule(apply)

    def _sasl(self, seen: Seen) -> Sender | None:
        submission = seen.submission
        if not submission.login or submission.server is not None:
            return None
        name = forms.mailbox_or_word(submission.login)
        if name is None:
            # It did log in, so it must not get to choose its name by MAIL FROM: keep what is safe of the login.
            name = (forms.path(submission.login) or "unnamed").lower()
        return self._mailbox(name, "sasl", submission.client_ip)

    def _login(self, rule: Identity, header: str) -> Rule:
        """A header that names a login; read by its form, or by the rule's pattern."""
        server_of = _server_of(rule)
        always = rule.when == "always"
        read = login_reader(header, rule.pattern)

        def names(seen: Seen) -> list[str]:
            server = seen.server or server_of(seen)
            if not server:
                return []
            return [name if "@" in name else f"{server}/{name}" for name in read(seen)]

        def apply(seen: Seen) -> Sender | None:
            found = names(seen)
            if not found:
                return None
            name, peer, login = found[0], seen.received.peer, seen.received.login
            if login is not None and not always:
                # No header outranks the server's own Received field; it may only add the domain left out there.
                if len(found) == 1 and (name == login or ("@" not in login and name.partition("@")[0] == login)):
                    return self._mailbox(name, rule.from_, peer)
                login = login if "@" in login else f"{seen.server or server_of(seen)}/{login}"
                return self._mailbox(login, "header:Received", peer)
            for other, theirs in self._logins:
                if other != header and other in seen.fields:
                    found += theirs(seen)
            if len(found) > 1 and any(one != name for one in found):
                return self._disputed(seen.server or server_of(seen), rule.from_)
            return self._mailbox(name, rule.from_, peer)

        if always:
            return Rule(apply, header)
        self._logins.append((header, names))
        # Who is named in the rule as one that may assert it sees to it that nobody else's header passes through.
        named = frozenset({NETWORK}) if rule.trusted else frozenset()
        return Rule(apply, header, frozenset({AUTHENTICATED, UNKNOWN}) | named)

    def _vhost(self, rule: Identity, header: str) -> Rule:
        """Plesk's X-PPP-Vhost: the server vouches for the domain; the envelope sender names the mailbox in it."""
        server_of = _server_of(rule)

        def apply(seen: Seen) -> Sender | None:
            server, values = seen.server or server_of(seen), seen.fields[header]
            domain = forms.domain(values[0])
            if not server or domain is None:
                return None
            if any(forms.domain(value) != domain for value in values[1:]):
                return self._disputed(server, rule.from_)
            name = forms.envelope_sender(seen.submission.envelope.mail_from)
            if name is None or domain_of(name) != domain:
                name = domain
            return Sender(self._account_of(name) or domain, name, "mailbox", rule.from_, seen.received.peer)

        return Rule(apply, header, _EVERY_WAY if rule.when == "always" else frozenset({AUTHENTICATED, UNKNOWN}))

    def _script(self, rule: Identity, header: str) -> Rule:
        """A header that names a script."""
        server_of = _server_of(rule)

        def apply(seen: Seen) -> Sender | None:
            uid, place, file = script_of(header, seen.fields[header][0])
            server = seen.server or server_of(seen)
            if file is None or not server:
                return None
            who = user_of(seen, uid)
            if place and (who is None or shared(who)):
                # Where all programs run as one user, the site is what tells customers apart.
                who = place
            if who is None:
                return None
            user = f"{server}/{who}"
            name = f"{user}:{file}"
            account = self._account_of(name) or self._account_of(user) or user
            return Sender(account, name, "script", rule.from_, None, where_of(seen, place, file))

        return Rule(apply, header, _EVERY_WAY if rule.when == "always" else frozenset({LOCAL, UNKNOWN}))

    def _trace(self, rule: Identity) -> Rule:
        """A pattern on the topmost Received field, the one that the server itself wrote."""
        server_of = _server_of(rule)
        search = re.compile(rule.pattern).search
        always = rule.when == "always"

        def apply(seen: Seen) -> Sender | None:
            value, received = seen.fields["received"][0], seen.received
            # What follows the first `<` are envelope addresses: the client chooses them, so they prove nothing.
            end = value.find("<")
            found = search(value, 0, end if end >= 0 else len(value))
            if not found or not found[1]:
                return None
            server = seen.server or server_of(seen)
            if not server:
                return None
            if found[1].isascii() and found[1].isdecimal():
                # A uid names a program on the machine, a login a client elsewhere; they cannot pose as each other.
                if received.how == AUTHENTICATED and not always:
                    return None
                who = user_of(seen, None) if received.uid == int(found[1]) else None
                return self._system(f"{server}/{who or f'uid{int(found[1])}'}", rule.from_)
            name = forms.mailbox_or_word(found[1])
            if name is None or name in _MAIL_SERVER:
                return None
            if received.how == LOCAL:
                if "@" in name and not always:
                    return None
                return self._system(f"{server}/{user_of(seen, None) or name}", rule.from_)
            return self._mailbox(name if "@" in name else f"{server}/{name}", rule.from_, received.peer)

        return Rule(apply, "received", _EVERY_WAY if always else frozenset({AUTHENTICATED, LOCAL, UNKNOWN}))

    def _mail_from(self, rule: Identity) -> Rule:
        """The envelope sender: nobody vouches for it. With `trusted`, only of those and of known servers."""
        server_of = _server_of(rule)

        def apply(seen: Seen) -> Sender | None:
            submission, server = seen.submission, seen.server or server_of(seen)
            if rule.trusted and not server:
                return None
            mail_from = submission.envelope.mail_from
            if not mail_from:
                return self._system(f"{server}/bounces", "mail_from") if server else None
            rewriter = forms.srs(mail_from)
            if rewriter is not None:
                # Its own stream: what strangers send through a forwarding must not count against the mailbox.
                address = forwarding_address(seen, rewriter)
                name = f"{server or server_name(submission.client_ip)}/forwarder:{address}"
                account = self._account_of(name) or self._account_of(address) or rewriter
                return Sender(account, name, "forwarder", "mail_from")
            envelope = forms.envelope_sender(mail_from)
            if envelope is None:
                return None
            account = self._account_of(envelope) or domain_of(envelope)
            return Sender(
                account, envelope, "address", "mail_from", author_ip(seen) if server else submission.client_ip
            )

        return Rule(apply)

    def _mailbox(self, name: str, source: str, client_ip: str | None) -> Sender:
        return Sender(self._account_of(name) or domain_of(name) or name, name, "mailbox", source, client_ip)

    def _system(self, name: str, source: str) -> Sender:
        return Sender(self._account_of(name) or name, name, "system", source)

    def _disputed(self, server: str, source: str) -> Sender:
        return self._system(f"{server}/disputed", source)


def header_of(rule: Identity) -> str:
    """The header a rule reads, in lower case; empty if it reads none."""
    return rule.from_[7:].lower() if rule.from_.startswith(("header:", "signed:")) else ""


def _server_of(rule: Identity) -> Callable[[Seen], str]:
    """For clients without a server's login: the client's address if it lies in `trusted`, as the server's name."""
    nets = networks(rule.trusted)
    if not nets:
        return lambda seen: ""
    near = lru_cache(maxsize=10_000)(lambda address: contains(nets, address))
    return lambda seen: server_name(seen.submission.client_ip) if near(seen.submission.client_ip) else ""
