"""Signing in: a name and a password, then the second factor's code.

A wrong name, a wrong password and a disabled user have the same answer, and take the same time. Who fails again and
again waits, by address and by name; whoever signed in here before from the same address is counted apart, so that
strangers who try a name cannot lock its owner out. Failures are counted, and go to the audit as one line a minute for
each name and address. A name that nobody has is not written down: it may be a password that was typed too early.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import secrets
from collections.abc import Callable

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Console
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.passwords import Hashing
from outbound_guard.desk.people.secondfactor import SecondFactor
from outbound_guard.desk.people.sessions import Sessions, SignedIn, may_come
from outbound_guard.desk.people.throttle import Throttle
from outbound_guard.desk.people.users import NAME, named
from outbound_guard.ledger import user_queries, user_storing
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit
from outbound_guard.ledger.user_queries import Credentials

TICKET_SECONDS = 300.0
"""Time to give the code after the password."""
_TICKETS = 1000
_TICKET_TRIES = 5
_KNOWN = 10_000
_FAILURES = 200
"""Lines of the audit a minute at most."""


class SignInRefused(DeskError):  # noqa: N818 - a refusal, as told to who asked.
    """The name, the password or the code is wrong, or the user may not sign in."""


class SignInThrottled(DeskError):  # noqa: N818 - likewise.
    """Too many tries failed."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"too many tries failed; the next one is looked at in {math.ceil(wait)} s")
        self.wait = wait
        """Seconds."""


class CodeNeeded(Exception):  # noqa: N818 - it is a step, not a failure.
    """The password is right; `confirm` takes the ticket with the code."""

    def __init__(self, ticket: str) -> None:
        super().__init__("the code of the second factor is needed")
        self.ticket = ticket


class _Ticket(msgspec.Struct):
    name: str
    verified: str
    """The password's hash as it was found right."""
    client: str
    ends: float
    tries: int = 0


class SignIn:
    """Who may come in."""

    def __init__(
        self,
        reader: Ledger,
        writer: Ledger,
        journal: Journal,
        clock: Clock,
        hashing: Hashing,
        sessions: Sessions,
        second_factor: SecondFactor,
        count: Callable[..., None],
        settings: Console,
    ) -> None:
        self._settings = settings
        self._reader, self._writer, self._journal, self._clock = reader, writer, journal, clock
        self._hashing, self._sessions, self._second_factor, self._count = hashing, sessions, second_factor, count
        self._by_address = Throttle(clock, free=20, longest=900.0)
        self._by_name = Throttle(clock, free=5, longest=300.0)
        self._tickets: dict[str, _Ticket] = {}
        self._known: dict[str, None] = {}
        """Names with addresses they signed in from; the latest last."""
        self._failures: dict[tuple[str, str], int] = {}

    async def sign_in(self, name: str, password: str, *, client: str, agent: str = "", code: str = "") -> SignedIn:
        """A new session. Raises CodeNeeded if `code` is empty and the user has a second factor.

        Raises SignInRefused, SignInThrottled, Overloaded, LedgerError.
        """
        known = await self._checked(name, password, client)
        if known.totp_confirmed:
            if not code:
                self._count("console_sign_ins_total", "code_needed")
                raise CodeNeeded(self._ticket(known, client))
            if not await self._second_factor.fits(known, code):
                raise self._refused(known.name, client, "the code is wrong, or was used before")
        return await self._begin(known.name, known.password, client, agent)

    async def confirm(self, ticket: str, code: str, *, client: str, agent: str = "") -> SignedIn:
        """A new session, with the code that was asked for. Raises as `sign_in`; a ticket lives for five tries."""
        found = self._tickets.get(ticket)
        if found is None or found.ends <= self._clock.now() or found.client != client:
            raise SignInRefused("that took too long; begin again")
        self._throttle(found.name, client)
        found.tries += 1
        if found.tries >= _TICKET_TRIES:
            self._tickets.pop(ticket, None)
        known = await asyncio.to_thread(user_queries.credentials, self._reader, found.name)
        if known is None or not await self._second_factor.fits(known, code):
            raise self._refused(found.name, client, "the code is wrong, or was used before")
        self._tickets.pop(ticket, None)
        return await self._begin(found.name, found.verified, client, agent)

    async def check(self, name: str, password: str, *, client: str) -> None:
        """The password once more, before a user changes what protects the account. Raises as `sign_in`."""
        try:
            await self._checked(name, password, client)
        except SignInRefused:
            raise SignInRefused("that is not your password") from None
        self._forget(name, client)

    async def renew(self, name: str, *, client: str, agent: str = "") -> SignedIn | None:
        """A new session for who has just changed the own password, which ended all others. Raises LedgerError."""
        known = await asyncio.to_thread(user_queries.credentials, self._reader, name)
        return await self._sessions.begin(name, known.password, client=client, agent=agent) if known else None

    def tidy(self) -> None:
        """Failed tries to the audit, old tickets away; once a minute."""
        now = self._clock.now()
        self._tickets = {key: ticket for key, ticket in self._tickets.items() if ticket.ends > now}
        failures, self._failures = self._failures, {}
        for (name, client), number in failures.items():
            detail = f"{number} {'try' if number == 1 else 'tries'} from {client}"
            self._journal.append(Audit(time=now, by="console", what="sign_in.failed", subject=name, detail=detail))

    async def _checked(self, name: str, password: str, client: str) -> Credentials:
        name = named(name)[:100]
        self._throttle(name, client)
        # What cannot be a name is looked for all the same, so that it takes as long, but not by what it is.
        wanted = name if NAME.fullmatch(name) else ""
        known = await asyncio.to_thread(user_queries.credentials, self._reader, wanted)
        right = await self._hashing.fits(known.password if known else "", password)
        if (
            known is None
            or not right
            or known.state != "active"
            or not may_come(self._settings, name, "")  # The same answer: it says who may.
        ):
            raise self._refused(known.name if known else "", client, "the name or the password is wrong")
        if self._hashing.is_old(known.password):
            hash_ = await self._hashing.hash(password)
            await asyncio.to_thread(user_storing.rehashed, self._writer, known.name, known.password, hash_)
            known = msgspec.structs.replace(known, password=hash_)
        return known

    async def _begin(self, name: str, verified: str, client: str, agent: str) -> SignedIn:
        begun = await self._sessions.begin(name, verified, client=client, agent=agent)
        if begun is None:
            raise self._refused(name, client, "the name or the password is wrong")
        self._forget(name, client)
        self._known.pop(_pair(name, client), None)
        while len(self._known) >= _KNOWN:
            del self._known[next(iter(self._known))]
        self._known[_pair(name, client)] = None
        self._count("console_sign_ins_total", "ok")
        detail = f"from {client}"
        self._journal.append(
            Audit(time=self._clock.now(), by=f"console:{name}", what="sign_in", subject=name, detail=detail)
        )
        return begun

    def _throttle(self, name: str, client: str) -> None:
        """Count a try, or raise SignInThrottled if it comes too early."""
        address, key = network(client), self._key(name, client)
        wait = max(self._by_address.wait(address), self._by_name.wait(key))
        if wait:
            self._count("console_sign_ins_total", "throttled")
            raise SignInThrottled(wait)
        self._by_address.tried(address)
        self._by_name.tried(key)

    def _forget(self, name: str, client: str) -> None:
        self._by_name.forget(self._key(name, client))
        # Not all of them: who has one password must not try others without end in between.
        self._by_address.take_back(network(client))

    def _key(self, name: str, client: str) -> str:
        pair = _pair(name, client)
        return pair if pair in self._known else name

    def _refused(self, name: str, client: str, why: str) -> SignInRefused:
        self._count("console_sign_ins_total", "refused")
        key = (name or "(no user)", client)
        if key not in self._failures and len(self._failures) >= _FAILURES:
            key = ("(several)", "several addresses")
        self._failures[key] = self._failures.get(key, 0) + 1
        return SignInRefused(why)

    def _ticket(self, known: Credentials, client: str) -> str:
        while len(self._tickets) >= _TICKETS:
            del self._tickets[next(iter(self._tickets))]
        ticket = secrets.token_urlsafe(32)
        self._tickets[ticket] = _Ticket(known.name, known.password, client, self._clock.now() + TICKET_SECONDS)
        return ticket


def _pair(name: str, client: str) -> str:
    return f"{name} {network(client)}"


def network(client: str) -> str:
    """What one person can have many of is one: an IPv6 network of 64 bits."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else client
