"""API tokens: `og_ID_SECRET`. The id finds the token, the secret is compared with its hash.

A token may do what it was made for and what its maker may still do, whichever is less: a token of an operator who
became a viewer only reads, one of a disabled user does nothing. A password that changes leaves tokens as they are. A
user of an OpenID Connect provider has the role that the provider said last: the tokens rest when that is too long ago.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection

from outbound_guard.clock import Clock
from outbound_guard.config.oidc import Oidc
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.people.users import SCOPES, Settle, at_once
from outbound_guard.ledger import user_queries, user_storing
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, TokenChange
from outbound_guard.ledger.user_queries import OpenToken, Token

PREFIX = "og_"
USED = 60.0
"""Seconds between two notes that a token is in use."""
_ID = re.compile(r"[0-9a-f]{16}")
_FORM = re.compile(r"og_([0-9a-f]{16})_([0-9a-f]{48})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class NoToken(DeskError):  # noqa: N818 - it says what there is not.
    """There is no such token, or it is somebody else's."""

    def __init__(self) -> None:
        super().__init__("no such token")


class Tokens:
    """Makes, finds and revokes tokens. The writer is the console process alone; without it no use is noted."""

    def __init__(
        self,
        reader: Ledger,
        writer: Ledger | None,
        journal: Journal,
        clock: Clock,
        settle: Settle = at_once,
        oidc: Oidc | None = None,
    ) -> None:
        self._oidc = oidc or Oidc()
        self._reader, self._writer, self._journal, self._clock = reader, writer, journal, clock
        self._settle = settle
        self._one_by_one = asyncio.Lock()

    async def make(
        self, user: str, name: str, scopes: Collection[str], *, allowed: Collection[str], until: float = 0.0, by: str
    ) -> tuple[str, str]:
        """A new token of `user`, with at most the `allowed` scopes: its id, and its value, which nobody sees again.

        `until`: unix time of its end, 0 for none. Raises DeskError, LedgerError.
        """
        now = self._clock.now()
        if not _NAME.fullmatch(name):
            raise DeskError("a token's name has 1 to 64 letters, digits, and . _ - after the first")
        if unknown := sorted(set(scopes) - set(SCOPES)):
            raise DeskError(f"{', '.join(unknown)}: no such scope; there are {', '.join(SCOPES)}")
        if not scopes:
            raise DeskError("a token needs at least one scope")
        if beyond := sorted(set(scopes) - set(allowed)):
            raise DeskError(f"{', '.join(beyond)}: beyond what {user} may do")
        if until and until <= now:
            raise DeskError("the end of the token has passed already")
        id_, secret = secrets.token_hex(8), secrets.token_hex(24)
        wanted = tuple(scope for scope in SCOPES if scope in scopes)
        async with self._one_by_one:
            if await asyncio.to_thread(user_queries.token_named, self._reader, name, now):
                raise DeskError(f"there is a token {name} already; revoke it first")
            on_disk(
                self._journal,
                TokenChange(
                    time=now,
                    id=id_,
                    what="made",
                    name=name,
                    user=user,
                    hash=_hash(secret),
                    scopes=wanted,
                    expires=until,
                ),
                Audit(time=now, by=by, what="token.made", subject=name, detail=f"of {user}: {' '.join(wanted)}"),
            )
            await self._settle()
        return id_, f"{PREFIX}{id_}_{secret}"

    async def revoke(self, id_: str, *, by: str, owner: str = "") -> Token:
        """End a token; with `owner` only one of this user. Raises NoToken, LedgerError."""
        async with self._one_by_one:
            known = _ID.fullmatch(id_)
            found = await asyncio.to_thread(user_queries.tokens, self._reader, owner, id_=known[0]) if known else []
            if not found:
                raise NoToken
            token = found[0]
            if not token.revoked:
                now = self._clock.now()
                on_disk(
                    self._journal,
                    TokenChange(time=now, id=id_, what="revoked"),
                    Audit(time=now, by=by, what="token.revoked", subject=token.name, detail=f"of {token.user}"),
                )
                await self._settle()
        return token

    async def all(self, user: str = "", *, limit: int = 0, offset: int = 0) -> list[Token]:
        """The tokens of a user, or of everybody; the newest first, revoked and ended ones included."""
        return await asyncio.to_thread(user_queries.tokens, self._reader, user, limit=limit, offset=offset)

    async def find(self, value: str) -> OpenToken | None:
        """The token of this value, if it is good now. Raises LedgerError."""
        parts = _FORM.fullmatch(value)
        if not parts:
            return None
        return await asyncio.to_thread(self._find, parts[1], parts[2])

    def _find(self, id_: str, secret: str) -> OpenToken | None:
        now = self._clock.now()
        rest = self._oidc.token_seconds
        found = user_queries.open_token(
            self._reader, id_, now, issuer=self._oidc.issuer, seen_after=now - rest if rest else -1.0
        )
        if found is None or not hmac.compare_digest(found.hash, _hash(secret)):
            return None
        if self._writer is not None and now - found.used >= USED:
            try:
                user_storing.token_used(self._writer, id_, now)
            except LedgerError:
                # Its work goes on; the next request tries again.
                return found
        return found


def _hash(secret: str) -> str:
    # Of 192 random bits: a slow hash would make nothing harder.
    return hashlib.sha256(secret.encode()).hexdigest()
