"""What types cannot say about signing in at an OpenID Connect provider. Raises Mistake with the path of the setting."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from outbound_guard.config.files import readable
from outbound_guard.config.reading import Mistake
from outbound_guard.config.settings import Config
from outbound_guard.config.values import positive

_WHERE = "console.oidc"
_EXAMPLE = "https://sso.example.net/realms/staff"
_LONGEST = 255
"""Characters of an issuer, which stands beside each of its users in the ledger."""


def check_oidc(config: Config) -> None:
    """[console.oidc], and the address of the console that it needs."""
    console, oidc = config.console, config.console.oidc
    if console.url:
        _site("console.url", console.url)
    if not oidc.issuer:
        if oidc.client_id:
            raise Mistake(f"{_WHERE}.issuer", "is empty; name the provider, or leave client_id empty too")
        return
    _issuer(f"{_WHERE}.issuer", oidc.issuer, http=oidc.allow_http)
    if not console.url:
        raise Mistake("console.url", "is needed for console.oidc: the provider sends people back there")
    if not oidc.client_id or not oidc.client_id.isprintable():
        raise Mistake(f"{_WHERE}.client_id", "is needed; the provider shows it where the client was registered")
    if not oidc.client_secret_file:
        raise Mistake(f"{_WHERE}.client_secret_file", "is needed; name a file whose first line is the client's secret")
    readable(config, f"{_WHERE}.client_secret_file", oidc.client_secret_file)
    if oidc.ca_file:
        readable(config, f"{_WHERE}.ca_file", oidc.ca_file)
    if not oidc.label.strip() or not oidc.label.isprintable() or len(oidc.label) > 60:
        raise Mistake(f"{_WHERE}.label", "must be one line of 1 to 60 characters")
    _scopes(oidc.scopes)
    for key in ("name_claim", "role_claim"):
        if not getattr(oidc, key):
            raise Mistake(f"{_WHERE}.{key}", "is empty; name a claim")
    _roles(config)
    _passwords(config)
    positive(_WHERE, oidc, "timeout")


def _scopes(scopes: tuple[str, ...]) -> None:
    for number, scope in enumerate(scopes):
        # RFC 6749 3.3.
        if not re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}", scope):
            raise Mistake(f"{_WHERE}.scopes[{number}]", f'"{scope}" is no scope; one word for each')
    if "openid" not in scopes:
        raise Mistake(f"{_WHERE}.scopes", 'must have "openid"; without it no provider says who somebody is')


def _roles(config: Config) -> None:
    oidc = config.console.oidc
    names: dict[str, str] = {}
    for role in oidc.roles.__struct_fields__:
        for number, value in enumerate(getattr(oidc.roles, role)):
            where = f"{_WHERE}.roles.{role}[{number}]"
            if not value:
                raise Mistake(where, "is empty; name a value of the role claim")
            if value in names:
                raise Mistake(where, f'"{value}" gives the role {names[value]} already')
            names[value] = role
    if not names:
        raise Mistake(f"{_WHERE}.roles", "is empty: nobody would get in; name values of the role claim for each role")
    if oidc.roles.tenant and not oidc.accounts_claim:
        raise Mistake(f"{_WHERE}.accounts_claim", "is needed for the role tenant, who sees no account otherwise")


def _passwords(config: Config) -> None:
    users = config.console.oidc.password_users
    if not users:
        raise Mistake(
            f"{_WHERE}.password_users",
            'is empty: nobody could sign in while the provider is away; name an admin, or "*" for everybody',
        )
    for number, name in enumerate(users):
        if name != "*" and not re.fullmatch(r"[a-z0-9][a-z0-9._@-]{0,63}", name):
            raise Mistake(f"{_WHERE}.password_users[{number}]", f'"{name}" is no name of a user, and not "*"')


def _issuer(where: str, text: str, *, http: bool) -> None:
    parts = _parts(where, text, _EXAMPLE)
    # OpenID Connect Discovery 1.0, 2: an issuer has neither query nor fragment.
    if parts.query or parts.fragment or "?" in text or "#" in text or len(text) > _LONGEST:
        raise Mistake(where, f'"{text}" cannot be used; expected one like "{_EXAMPLE}"')
    if parts.scheme != "https" and not (http and loopback(parts.hostname or "")):
        raise Mistake(
            where, "must begin with https://; http is for a provider on the loopback address, with allow_http"
        )


def _site(where: str, text: str) -> None:
    parts = _parts(where, text, "https://guard.example.net")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Mistake(where, f'"{text}" cannot be used; expected one like "https://guard.example.net"')
    if parts.scheme != "https" and not loopback(parts.hostname or ""):
        raise Mistake(where, "must begin with https://, unless it is the loopback address")


def _parts(where: str, text: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0 and parts.username is None
    except ValueError as error:
        raise Mistake(where, f'"{text}" is no URL: {error}') from None
    if not good or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise Mistake(where, f'"{text}" is no URL; expected one like "{example}"')
    return parts


def loopback(host: str) -> bool:
    """True for the names and addresses of this machine's own loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
