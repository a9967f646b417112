"""Who may do what in the console: everything about users, for the process that serves its pages."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Console
from outbound_guard.desk.people.firstuser import FirstUser
from outbound_guard.desk.people.oidc.provider import Provider
from outbound_guard.desk.people.oidc.signin import OidcSignIn
from outbound_guard.desk.people.passwords import Hashing
from outbound_guard.desk.people.secondfactor import SecondFactor
from outbound_guard.desk.people.sessions import Sessions
from outbound_guard.desk.people.signin import SignIn
from outbound_guard.desk.people.tokens import Tokens
from outbound_guard.desk.people.users import ROLES, Settle, Users
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.user_queries import SESSION_ID


class Acting(msgspec.Struct, frozen=True):
    """Who acts: somebody who signed in, or a program with a token."""

    name: str
    """The user; of a token the one who made it."""
    role: str
    """viewer | operator | admin | tenant: as of now, not as of when they signed in."""
    scopes: frozenset[str]
    """What may be done; of a token, what it was made for and its maker may still do."""
    by: str
    """For journal and audit: `console:NAME` or `token:NAME`."""
    session: str = ""
    """Public id of the session; empty for tokens."""
    csrf: str = ""
    """What a form of this session has to bring; compare with hmac.compare_digest."""
    token: str = ""
    """Id of the token; empty for sessions."""
    accounts: tuple[str, ...] = ()
    """Of a tenant: the accounts that it sees, as of now; with the scope `own` nothing else is seen."""

    shown: str = ""
    """The name for people to read."""
    provided: bool = False
    """Signed in at an OpenID Connect provider, and has no password here."""

    def may(self, scope: str) -> bool:
        """True if this may be done."""
        return scope in self.scopes


class Access:
    """Users, sessions, tokens and signing in, put together."""

    def __init__(
        self,
        reader: Ledger,
        writer: Ledger,
        journal: Journal,
        clock: Clock,
        settings: Console,
        settle: Settle,
        count: Callable[..., None],
        hashing: Hashing | None = None,
        provider: Provider | None = None,
        key: bytes = b"",
    ) -> None:
        """`writer` is the ledger's one writer. `settle` waits until the ledger has what the journal was given.

        `count` is that of the metrics. `provider` is where people sign in besides, if anywhere, and `key` signs what
        their browsers keep meanwhile.
        """
        self._hashing = hashing or Hashing()
        self.users = Users(reader, journal, clock, self._hashing, settle)
        self.sessions = Sessions(reader, writer, journal, clock, settings)
        self.tokens = Tokens(reader, writer, journal, clock, settle, settings.oidc)
        self.second_factor = SecondFactor(reader, writer, journal, clock, settle)
        self.sign_in = SignIn(
            reader, writer, journal, clock, self._hashing, self.sessions, self.second_factor, count, settings
        )
        self.oidc = (
            OidcSignIn(reader, journal, clock, settings, provider, key, self.sessions, settle, count)
            if provider
            else None
        )
        """Signing in at an OpenID Connect provider; None if there is none."""
        self.first_user = FirstUser(self.users)

    async def of_cookie(self, value: str, client: str = "") -> Acting | None:
        """Who has this cookie; None if nobody (any more). `client` is the address it comes from. Raises LedgerError."""
        found = await self.sessions.find(value, client)
        if found is None:
            return None
        return Acting(
            found.user,
            found.role,
            ROLES.get(found.role, frozenset()),
            f"console:{found.user}",
            session=found.key[:SESSION_ID],
            csrf=found.csrf,
            accounts=found.accounts,
            shown=found.shown or found.user,
            provided=bool(found.issuer),
        )

    async def of_token(self, value: str) -> Acting | None:
        """Whose token this is; None if it is not good (any more). Raises LedgerError."""
        found = await self.tokens.find(value)
        if found is None:
            return None
        scopes = ROLES.get(found.role, frozenset()) & frozenset(found.scopes)
        return Acting(found.user, found.role, scopes, f"token:{found.name}", token=found.id, accounts=found.accounts)

    async def start(self) -> str:
        """The path of the one-time link to the first user; empty if there are users. Raises LedgerError."""
        return await self.first_user.path()

    async def tidy(self) -> None:
        """Once a minute: failed tries to the audit, sessions that ended away. Raises LedgerError."""
        self.sign_in.tidy()
        if self.oidc:
            self.oidc.tidy()
        await self.sessions.tidy()

    def close(self) -> None:
        """Failed tries to the audit, and the end of the threads."""
        self.sign_in.tidy()
        if self.oidc:
            self.oidc.tidy()
        self._hashing.close()
