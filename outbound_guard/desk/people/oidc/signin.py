"""From the button to a session: a browser is sent to the provider, comes back with a code, and somebody is signed in.

What belongs to one sign-in is one random word, its state. It lies in a cookie of the browser, signed, with its time and
the page to go on with; nonce and PKCE verifier are worked out from it with a key that only the service has, so that
nothing is kept here and a stranger who sees the address of a sign-in has none of them. A code that comes back with
another state than that of the cookie was got by somebody else, and is not redeemed (RFC 9700 4.7).

The user is who the provider says, by issuer and subject. Role, accounts and shown name are what it says each time.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Console
from outbound_guard.desk.errors import on_disk
from outbound_guard.desk.people.oidc import claims as reading
from outbound_guard.desk.people.oidc.claims import NoEntry
from outbound_guard.desk.people.oidc.idtoken import TokenRefused
from outbound_guard.desk.people.oidc.provider import CodeRefused, Provider, Unreached, with_query
from outbound_guard.desk.people.oidc.refusals import Refusals
from outbound_guard.desk.people.sessions import Sessions, SignedIn
from outbound_guard.desk.people.signin import SignInRefused, SignInThrottled, network
from outbound_guard.desk.people.throttle import Throttle
from outbound_guard.desk.people.users import Settle
from outbound_guard.ledger import user_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, UserChange
from outbound_guard.ledger.user_queries import User

SECONDS = 600.0
"""Time to sign in at the provider."""
_USED = 10_000
_LONGEST = 1_000
"""Characters of a page to go on with."""
_CODE = 4_096
_STATE = re.compile(r"[A-Za-z0-9_-]{43}")
_AGAIN = "That took too long, or began in another browser or window; begin again"


class Begun(msgspec.Struct, frozen=True):
    """A sign-in that begins: where the browser goes, and the cookie that it takes along."""

    url: str
    cookie: str


class Entered(msgspec.Struct, frozen=True):
    """Somebody has come in."""

    session: SignedIn
    next: str
    """The page to go on with, as it was given."""
    id_token: str


class _Begun(msgspec.Struct, frozen=True):
    state: str
    ends: float
    next: str


class OidcSignIn:
    """Who may come in by the provider."""

    def __init__(
        self,
        reader: Ledger,
        journal: Journal,
        clock: Clock,
        settings: Console,
        provider: Provider,
        key: bytes,
        sessions: Sessions,
        settle: Settle,
        count: Callable[..., None],
    ) -> None:
        self._reader, self._journal, self._clock, self._provider = reader, journal, clock, provider
        self.settings, self._key, self._sessions, self._settle = settings.oidc, key, sessions, settle
        self._site = settings.url.rstrip("/")
        self._count = count
        self._by_address = Throttle(clock, free=20, longest=900.0)
        self._refusals = Refusals(journal, clock)
        self._used: dict[str, None] = {}
        """States that came back, the latest last: each does so once."""
        self._one_by_one = asyncio.Lock()

    @property
    def trouble(self) -> str:
        """What is wrong with the provider, as far as is known; empty: nothing."""
        return self._provider.trouble

    async def begin(self, next_: str, *, anew: bool = False) -> Begun:
        """Send a browser to the provider; `next_` is the page to go on with. Raises Unreached.

        `anew`: it is to ask who somebody is, though it may know.
        """
        try:
            document = await self._provider.document(fresh=True)
        except Unreached:
            self._count("console_sign_ins_total", "unreached")
            raise
        state, settings = secrets.token_urlsafe(32), self.settings
        challenge = hashlib.sha256(self._derived("verifier", state).encode()).digest()
        query = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": self._provider.redirect,
            "scope": " ".join(settings.scopes),
            "state": state,
            "nonce": self._derived("nonce", state),
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        } | ({"prompt": "login"} if anew else {})
        return Begun(with_query(document.authorization_endpoint, query), self._sealed(state, next_[:_LONGEST]))

    async def finish(self, answer: Mapping[str, str], cookie: str, *, client: str, agent: str) -> Entered:
        """A session for who comes back from the provider with this answer (the query) and this cookie.

        Raises SignInRefused, SignInThrottled, Unreached, LedgerError, and DeskError if the journal cannot be written.
        """
        begun = self._opened(cookie, answer.get("state", ""))
        if begun is None:
            # No try: nothing is asked for it, and a page elsewhere could have a whole office wait by its pictures.
            raise self._refused("", client, "the state is not that of this browser", _AGAIN)
        address = network(client)
        if wait := self._by_address.wait(address):
            self._count("console_sign_ins_total", "throttled")
            raise SignInThrottled(wait)
        self._by_address.tried(address)
        self._used[begun.state] = None
        while len(self._used) > _USED:
            del self._used[next(iter(self._used))]
        try:
            claims, id_token = await self._claims(answer, begun.state)
            role = reading.role_of(claims, self.settings)
            accounts = reading.accounts_of(claims, role, self.settings)
        except Unreached:
            self._count("console_sign_ins_total", "unreached")
            # It is not the browser's fault.
            self._by_address.take_back(address)
            raise
        except CodeRefused as error:
            text = f"The provider does not let you in ({error})"
            raise self._refused("", client, f"the provider answered {error}", text) from error
        except TokenRefused as error:
            text = "What the provider says about you cannot be believed; the audit knows more"
            raise self._refused("", client, f"the ID token is not believed: {error}", text) from error
        except NoEntry as error:
            shown = reading.shown_of(claims, self.settings)
            text = f"The provider knows you as {shown}. {error.told}"
            raise self._refused(shown, client, str(error), text) from error
        user = await self._user(claims["sub"], role, accounts, reading.shown_of(claims, self.settings))
        session = None
        # Never as what the provider said before: a ledger that is late has not taken in yet what it says now.
        if user is not None and user.state == "active" and (user.role, user.accounts) == (role, accounts):
            identity = (user.issuer, user.subject)
            session = await self._sessions.begin(user.name, "", client=client, agent=agent, identity=identity)
        if user is None or session is None:
            name = user.name if user else claims["sub"]
            disabled = user is not None and user.state == "disabled"
            text = "An admin of this console has disabled your user" if disabled else "That did not work; try again"
            raise self._refused(name, client, "the user is disabled" if disabled else "the user changed", text)
        self._by_address.take_back(address)
        self._count("console_sign_ins_total", "ok")
        now, name = self._clock.now(), user.name
        detail = f"from {client}, vouched for by {user.issuer}"
        self._journal.append(Audit(time=now, by=f"console:{name}", what="sign_in", subject=name, detail=detail))
        return Entered(session, begun.next, id_token)

    async def sign_out_url(self, id_token: str) -> str:
        """Where a browser ends the provider's own session too; empty: nowhere, or that is not wanted."""
        if self.settings.sign_out != "everywhere":
            return ""
        return await self._provider.sign_out_url(id_token, f"{self._site}/sign-in")

    def tidy(self) -> None:
        """Refusals that came again go to the audit; once a minute."""
        self._refusals.tidy()

    async def _claims(self, answer: Mapping[str, str], state: str) -> tuple[dict[str, Any], str]:
        """The claims about who came back, and the ID token. Raises CodeRefused, TokenRefused, Unreached."""
        document = await self._provider.document()
        # RFC 9207 2.4: an answer of another provider must not be taken for one of this.
        issuer = answer.get("iss", "")
        if issuer != self.settings.issuer and (issuer or document.authorization_response_iss_parameter_supported):
            raise TokenRefused("the answer is from another issuer")
        if error := answer.get("error", ""):
            raise CodeRefused("".join(one for one in error if one.isascii() and one.isprintable())[:80])
        code = answer.get("code", "")
        if not 1 <= len(code) <= _CODE:
            raise CodeRefused("no code")
        verifier, nonce = self._derived("verifier", state), self._derived("nonce", state)
        claims, id_token, access_token = await self._provider.redeem(code, verifier, nonce)
        wanted = [self.settings.role_claim, self.settings.name_claim]
        wanted += [self.settings.accounts_claim] if self.settings.accounts_claim else []
        if any(reading.claim(claims, name) is None for name in wanted):
            claims = await self._provider.more(claims, access_token)
        return claims, id_token

    async def _user(self, subject: str, role: str, accounts: tuple[str, ...], shown: str) -> User | None:
        """The user of a subject, made or changed as the provider says; None if that did not come to be."""
        issuer = self.settings.issuer
        async with self._one_by_one:
            user = await asyncio.to_thread(user_queries.of_subject, self._reader, issuer, subject)
            if user is not None:
                if user.state == "active" and (user.role, user.accounts, user.shown) != (role, accounts, shown):
                    await self._write(user.name, user, subject, role, accounts, shown)
                    return await asyncio.to_thread(user_queries.of_subject, self._reader, issuer, subject)
                return user
            for name in reading.names_of(shown, issuer, subject):
                taken = await asyncio.to_thread(user_queries.identities, self._reader, name)
                if name in self.settings.password_users or taken.get(name, (issuer, subject)) != (issuer, subject):
                    continue
                await self._write(name, None, subject, role, accounts, shown)
                if found := await asyncio.to_thread(user_queries.of_subject, self._reader, issuer, subject):
                    return found
        return None

    async def _write(
        self,
        name: str,
        before: User | None,
        subject: str,
        role: str,
        accounts: tuple[str, ...],
        shown: str,
    ) -> None:
        now, issuer = self._clock.now(), self.settings.issuer
        told = []
        listed = f" of {', '.join(accounts)}"[:500] if accounts else ""
        if before is None:
            told.append(("user.added", f"as {role}{listed}, who is {subject} at {issuer}"))
        elif before.role != role:
            told.append(("user.role", f"{before.role} -> {role}{listed}, as {issuer} says"))
        elif before.accounts != accounts:
            told.append(("user.accounts", f"{', '.join(accounts)[:500]}, as {issuer} says"))
        change = UserChange(
            time=now,
            name=name,
            what="provided",
            role=role,
            accounts=accounts,
            issuer=issuer,
            subject=subject,
            shown=shown,
        )
        entries = [Audit(time=now, by="oidc", what=what, subject=name, detail=detail) for what, detail in told]
        on_disk(self._journal, change, *entries)
        await self._settle()

    def _refused(self, who: str, client: str, why: str, told: str) -> SignInRefused:
        self._count("console_sign_ins_total", "refused")
        self._refusals.add(who, client, why)
        return SignInRefused(told)

    def _derived(self, what: str, state: str) -> str:
        """43 characters (RFC 7636 4.1) that only this service, and those who have its secret, can work out."""
        digest = hmac.digest(self._key, f"{what}:{state}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _sealed(self, state: str, next_: str) -> str:
        content = msgspec.json.encode(_Begun(state, self._clock.now() + SECONDS, next_))
        text = base64.urlsafe_b64encode(content).rstrip(b"=").decode()
        return f"{text}.{self._derived('cookie', text)}"

    def _opened(self, cookie: str, state: str) -> _Begun | None:
        """What was begun in this browser, if the state that came back is that one, in time, for the first time."""
        text, _, mark = cookie.partition(".")
        if not _STATE.fullmatch(state) or not hmac.compare_digest(
            mark.encode(), self._derived("cookie", text).encode()
        ):
            return None
        begun = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Begun)
        left = begun.ends - self._clock.now()
        same = hmac.compare_digest(begun.state.encode(), state.encode())
        return begun if same and 0 < left <= SECONDS and state not in self._used else None
