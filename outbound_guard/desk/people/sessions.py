"""Sessions of people who signed in: a cookie's random value, of which the ledger has only the hash."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from typing import Any

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Console
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import user_queries, user_storing
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit
from outbound_guard.ledger.user_queries import SESSION_ID, OpenSession, Session

SEEN = 60.0
"""Seconds between two notes that a session is in use."""
_ID = re.compile(rf"[0-9a-f]{{{SESSION_ID}}}")
_AGENT = 200
_CLIENT = 64
"""Characters that are kept."""


class SignedIn(msgspec.Struct, frozen=True):
    """Somebody signed in: the value for the cookie, which is nowhere else."""

    cookie: str
    user: str
    id: str
    expires: float
    """Unix seconds: the end whatever happens."""


class Sessions:
    """Begins, finds and ends sessions. Written straight to the ledger, by its writer alone: the console process."""

    def __init__(self, reader: Ledger, writer: Ledger, journal: Journal, clock: Clock, settings: Console) -> None:
        self._reader, self._writer, self._journal, self._clock = reader, writer, journal, clock
        self._settings = settings
        self._idle, self._longest = settings.idle_seconds, settings.session_seconds

    async def begin(
        self, user: str, verified: str, *, client: str, agent: str, identity: tuple[str, str] = ("", "")
    ) -> SignedIn | None:
        """A new session of a user whose password hash `verified` was just found right. Raises LedgerError.

        None if that hash is no longer the user's, or the user may not sign in any more. `identity`: of a user who was
        just vouched for by a provider, issuer and subject.
        """
        now = self._clock.now()
        cookie = secrets.token_urlsafe(32)
        row: dict[str, Any] = {
            "key": _key(cookie),
            "user": user,
            "created": now,
            "seen": now,
            "expires": now + self._longest,
            "csrf": secrets.token_urlsafe(32),
            "client": client[:_CLIENT],
            "agent": agent[:_AGENT],
        }
        if not await asyncio.to_thread(user_storing.begin_session, self._writer, row, verified, identity):
            return None
        return SignedIn(cookie, user, row["key"][:SESSION_ID], now + self._longest)

    async def find(self, cookie: str, client: str = "") -> OpenSession | None:
        """The session of a cookie's value, unless it has ended. Raises LedgerError."""
        if not cookie or len(cookie) > 100:
            return None
        return await asyncio.to_thread(self._find, _key(cookie), client)

    async def of_user(self, user: str) -> list[Session]:
        """The sessions of a user that have not ended, the last used first. Raises LedgerError."""
        now = self._clock.now()
        return await asyncio.to_thread(user_queries.sessions, self._reader, user, now, now - self._idle)

    async def end(self, user: str, id_: str, *, by: str) -> None:
        """End one session of this user. Raises DeskError if it is none of theirs, LedgerError."""
        if not _ID.fullmatch(id_) or not await asyncio.to_thread(
            user_storing.end_sessions, self._writer, user, id_=id_
        ):
            raise DeskError("no such session")
        self._audit(user, "one session", by)

    async def end_all(self, user: str, *, by: str, besides: str = "") -> int:
        """End all sessions of a user, but the one named `besides`; how many. Raises LedgerError, DeskError."""
        number = await asyncio.to_thread(user_storing.end_sessions, self._writer, user, besides=besides)
        if number:
            self._audit(user, f"{number} sessions", by)
        return number

    async def tidy(self) -> None:
        """Forget sessions that ended by themselves. Raises LedgerError."""
        now = self._clock.now()
        await asyncio.to_thread(user_storing.forget_sessions, self._writer, now, now - self._idle)

    def _find(self, key: str, client: str) -> OpenSession | None:
        now = self._clock.now()
        found = user_queries.open_session(self._reader, key, now, now - self._idle)
        if found is not None and not may_come(self._settings, found.user, found.issuer):
            return None
        if found is not None and now - found.seen >= SEEN:
            try:
                user_storing.session_seen(self._writer, key, now, client[:_CLIENT])
            except LedgerError:
                # Who works on goes on working; the next request tries again.
                return found
        return found

    def _audit(self, user: str, detail: str, by: str) -> None:
        on_disk(self._journal, Audit(time=self._clock.now(), by=by, what="session.ended", subject=user, detail=detail))


def may_come(settings: Console, user: str, issuer: str) -> bool:
    """True if the configuration lets this user sign in the way it does: at this provider, or (empty) by password."""
    oidc = settings.oidc
    if issuer:
        return issuer == oidc.issuer
    return not oidc.issuer or "*" in oidc.password_users or user in oidc.password_users


def _key(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
