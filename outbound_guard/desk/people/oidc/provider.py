"""The provider as a server: its description, its keys, what it gives for a code. Nothing else is asked of it.

The issuer's own host may be anywhere, since the operator has named it; what its description names besides must be of
the internet. All is https, unless the configuration allows http on the loopback address; redirects are not followed;
size and time are limited.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec

from outbound_guard import http
from outbound_guard.clock import Clock
from outbound_guard.config.oidc import Oidc
from outbound_guard.config.oidc_checks import loopback
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.oidc import idtoken
from outbound_guard.desk.people.oidc.idtoken import Expected, SigningKey, UnknownKey
from outbound_guard.notify.reaching import Refused, Resolve, addresses_of

WELL_KNOWN = "/.well-known/openid-configuration"
FRESH = 300.0
"""Seconds until the description is read again before somebody is sent there: so that one is not sent to nobody."""
_AGAIN = 5.0
"""Seconds after the description could not be read until it is tried again."""
KEYS_AGAIN = 60.0
"""Seconds between two reads of the keys because of one that is not known."""
KEYS_OLD = 3600.0
"""Seconds until the keys are read again in any case: what the provider withdraws is good for no longer."""
_LONGEST = 262_144
"""Octets of an answer."""
_AT_ONCE = 20
"""Codes that are redeemed at the same time."""
_log = logging.getLogger(__name__)


class Unreached(DeskError):  # noqa: N818 -- it says how the provider is.
    """The provider does not answer, or not as it must; the text is a sentence for people."""


class CodeRefused(Exception):  # noqa: N818 -- It is the provider's answer.
    """The provider gives nothing for the code; the text says what it answered."""


class Document(msgspec.Struct, frozen=True):
    """What the provider says about itself (OpenID Connect Discovery 1.0, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    authorization_response_iss_parameter_supported: bool | None = None


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str
    access_token: str = ""


class Provider:
    """One provider. What it said is kept in memory."""

    def __init__(
        self,
        settings: Oidc,
        secret: Path,
        redirect: str,
        tls: ssl.SSLContext,
        resolve: Resolve,
        clock: Clock,
    ) -> None:
        """`secret`: the file of the client's secret, read each time. `redirect`: where people come back to."""
        self.settings, self.redirect = settings, redirect
        self._secret, self._tls, self._resolve, self._clock = secret, tls, resolve, clock
        self._host = urlsplit(settings.issuer).hostname or ""
        self._document: Document | None = None
        self._read = self._failed = 0.0
        self._keys: tuple[SigningKey, ...] = ()
        self._keys_read = self._keys_tried = 0.0
        self._one_by_one = asyncio.Lock()
        self._keys_one_by_one = asyncio.Lock()
        self._redeeming = asyncio.Semaphore(_AT_ONCE)
        self.trouble = ""
        """Why the last question came to nothing, as a sentence; empty: it did not."""

    async def document(self, *, fresh: bool = False) -> Document:
        """What the provider says about itself; `fresh`: as of the last minutes. Raises Unreached."""
        async with self._one_by_one:
            now = self._clock.now()
            age = now - self._read
            if self._document is not None and 0 <= age < (FRESH if fresh else KEYS_OLD):
                return self._document
            if self.trouble and 0 <= now - self._failed < _AGAIN:
                raise Unreached(self.trouble)
            try:
                with self._told():
                    # OpenID Connect Discovery 1.0, 4.1: a slash at the end of the issuer is taken away before.
                    page = await self._asked("GET", self.settings.issuer.rstrip("/") + WELL_KNOWN)
                    self._document = self._checked(_content(page))
            except Unreached:
                # Of this question alone: who sends wrong codes could keep everybody else from it otherwise.
                self._failed = self._clock.now()
                raise
            self._read = self._clock.now()
            return self._document

    async def redeem(self, code: str, verifier: str, nonce: str) -> tuple[dict[str, Any], str, str]:
        """The claims that the provider gives for a code, its ID token, and the access token (RFC 6749 4.1.3).

        Raises CodeRefused, TokenRefused, Unreached.
        """
        document = await self.document()
        async with self._redeeming:
            with self._told():
                tokens = await self._tokens(document, code, verifier)
            expected = Expected(issuer=self.settings.issuer, client=self.settings.client_id, nonce=nonce)
            claims = await self._believed(document, tokens.id_token, expected)
        if tokens.access_token:
            idtoken.check_access_token(tokens.id_token, claims, tokens.access_token)
        return claims, tokens.id_token, tokens.access_token

    async def more(self, claims: dict[str, Any], access_token: str) -> dict[str, Any]:
        """The claims, with those that the provider tells at its userinfo endpoint only. Raises Unreached."""
        document = await self.document()
        if not document.userinfo_endpoint or not access_token or not access_token.isascii():
            return claims
        with self._told():
            page = await self._asked("GET", document.userinfo_endpoint, {"Authorization": f"Bearer {access_token}"})
            if page.kind != "application/json":
                return claims
            told = _object(_content(page), "what it says of a user")
        # OpenID Connect Core 5.3.2: otherwise it may be about somebody else.
        return told | claims if told.get("sub") == claims["sub"] else claims

    async def sign_out_url(self, id_token: str, back: str) -> str:
        """Where a browser ends the provider's own session (RP-Initiated Logout 1.0); empty: nowhere."""
        try:
            endpoint = (await self.document()).end_session_endpoint
        except Unreached:
            return ""
        if not endpoint:
            return ""
        query = {"client_id": self.settings.client_id, "post_logout_redirect_uri": back}
        return with_query(endpoint, query | ({"id_token_hint": id_token} if id_token else {}))

    async def _tokens(self, document: Document, code: str, verifier: str) -> _Tokens:
        settings, secret = self.settings, await asyncio.to_thread(self._client_secret)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect,
            "code_verifier": verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if settings.client_authentication == "client_secret_basic":
            # RFC 6749 2.3.1: both are encoded as in a form before.
            pair = f"{quote_plus(settings.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": settings.client_id, "client_secret": secret}
        page = await self._asked("POST", document.token_endpoint, headers, urlencode(form).encode())
        if 400 <= page.status < 500:
            # Of a 429 too: then it is we who are asking too often, and whoever makes us do so has to wait.
            raise CodeRefused(self._error(page.body))
        try:
            return msgspec.json.decode(_content(page), type=_Tokens)
        except (msgspec.DecodeError, RecursionError):
            raise _Odd("it gives no ID token for a code") from None

    async def _believed(self, document: Document, token: str, expected: Expected) -> dict[str, Any]:
        known = await self._known_keys(document)
        try:
            return idtoken.read(token, known, expected, self._clock.now())
        except UnknownKey:
            # Providers change their keys, without saying so.
            newer = await self._known_keys(document, besides=known)
            if newer is known:
                raise
            return idtoken.read(token, newer, expected, self._clock.now())

    async def _known_keys(
        self, document: Document, besides: tuple[SigningKey, ...] | None = None
    ) -> tuple[SigningKey, ...]:
        """The provider's keys; others than `besides` if that can be."""
        async with self._keys_one_by_one:
            now = self._clock.now()
            if self._keys and self._keys is besides:
                # Counted from the try, so that one who fails is not asked again and again.
                if 0 <= now - self._keys_tried < KEYS_AGAIN:
                    return self._keys
            elif self._keys and 0 <= now - self._keys_read < KEYS_OLD:
                return self._keys
            self._keys_tried = now
            with self._told():
                page = await self._asked("GET", document.jwks_uri)
                try:
                    self._keys = idtoken.keys_of(_content(page))
                except ValueError as error:
                    raise _Odd(str(error)) from None
            self._keys_read = now
            return self._keys

    async def _asked(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> http.Page:
        """One answer; raises http.NotSent, Refused, OSError, TimeoutError, _Odd."""
        self._check_url(url)
        # What the operator named may be in the own network, what a description names may not lead there.
        private = urlsplit(url).hostname == self._host
        async with asyncio.timeout(self.settings.timeout):
            addresses = await addresses_of(url, self._resolve, private=private)
            # The scheme as it is compared everywhere: HTTPS:// without a look at the certificate would be anybody.
            tls = self._tls if urlsplit(url).scheme == "https" else None
            for number, address in enumerate(addresses):
                try:
                    return await http.exchange(
                        method,
                        url,
                        address,
                        body,
                        headers or {},
                        tls=tls,
                        seconds=self.settings.timeout,
                        longest=_LONGEST,
                    )
                except http.NotSent as error:
                    if not error.unreached or number + 1 == len(addresses):
                        raise
        raise OSError("its host has no address")

    def _checked(self, content: bytes) -> Document:
        try:
            found = msgspec.json.decode(content, type=Document)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _Odd(f"its description cannot be used: {str(error)[:150]}") from None
        if found.issuer != self.settings.issuer:
            # Discovery 1.0, 4.3: to the letter.
            raise _Odd(f"it calls itself {_plain(found.issuer)}, and console.oidc.issuer is {self.settings.issuer}")
        for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
            self._check_url(url)
        for other in (found.userinfo_endpoint, found.end_session_endpoint):
            if other:
                self._check_url(other)
        return found

    def _check_url(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            good = bool(parts.hostname) and parts.username is None and parts.port != 0 and not parts.fragment
        except ValueError:
            good = False
        if not good or not url.isascii() or not url.isprintable() or " " in url:
            raise _Odd(f"it names {_plain(url)}, which is no URL")
        secure = parts.scheme == "https" or (
            parts.scheme == "http" and self.settings.allow_http and loopback(parts.hostname or "")
        )
        if not secure:
            raise _Odd(f"it names {_plain(url)}, which is not https")

    def _client_secret(self) -> str:
        try:
            lines = self._secret.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            # Strangers read the sentence: it says neither where the file is, nor an octet of what is in it.
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise _Odd(f"our client secret cannot be read: {why}") from None
        return lines[0].strip() if lines else ""

    def _error(self, body: bytes) -> str:
        """The error code of RFC 6749 5.2."""
        try:
            found = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return "no reason given"
        said = _plain(str(found.get("error", "no reason given")))
        if said in ("invalid_client", "unauthorized_client"):
            _log.error("the OpenID Connect provider does not take us for its client: %s", said)
        return said

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Makes Unreached, with a sentence for people, of whatever goes wrong with a question."""
        try:
            yield
        except (http.NotSent, Refused, OSError, UnicodeError, TimeoutError, _Odd) as error:
            # UnicodeError: a host that no name server can be asked about, such as `sso..example.net`.
            why = f"no answer within {self.settings.timeout:g} s" if isinstance(error, TimeoutError) else str(error)
            text = f"the provider {self._host} cannot be used right now: {why}"
            if text != self.trouble:
                _log.error("signing in at the OpenID Connect provider is not possible: %s", text)
            self.trouble = text
            raise Unreached(text) from error
        self.trouble = ""


class _Odd(Exception):  # noqa: N818 -- It is what the provider does.
    """The provider answers, but not as it must."""


def with_query(url: str, query: dict[str, str]) -> str:
    """A URL with more in its query; what stands there already stays (RFC 6749 3.1)."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"


def _content(page: http.Page) -> bytes:
    if page.status != 200:
        raise _Odd(f"it answered {page.status}")
    return page.body


def _object(content: bytes, what: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise _Odd(f"{what} is no JSON object") from None


def _plain(text: str) -> str:
    return "".join(one for one in text if one.isascii() and one.isprintable())[:200]
