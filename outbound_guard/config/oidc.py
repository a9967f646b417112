"""The tables of the configuration file about signing in to the console at an OpenID Connect provider."""

from __future__ import annotations

from typing import Literal

from outbound_guard.config.reading import Table


class OidcRoles(Table, frozen=True):
    """[console.oidc.roles]: values of the role claim, and the role that each gives; of several the first one here."""

    admin: tuple[str, ...] = ()
    operator: tuple[str, ...] = ()
    viewer: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()
    """Those who sign in with this role see the accounts that `accounts_claim` names, and no others."""


class Oidc(Table, frozen=True):
    """[console.oidc]: signing in at an OpenID Connect provider (docs/console.md)."""

    issuer: str = ""
    """As the provider calls itself, `https://sso.example.net/realms/staff`, to the letter; empty: there is none."""
    client_id: str = ""
    client_secret_file: str = ""
    """File whose first line is the secret that the provider gave out for that client."""
    client_authentication: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    """How the secret is shown to the provider: in the Authorization field, or in the form."""
    label: str = "single sign-on"
    """What follows `Sign in with` on the button."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    """That the provider is asked for; `openid` must be among them."""
    name_claim: str = "preferred_username"
    """Claim with the name that is shown, and from which the user's name here is made at the first time."""
    role_claim: str = "groups"
    """Claim with a text or a list of texts that gives the role; dots lead into tables, `realm_access.roles`."""
    roles: OidcRoles = OidcRoles()
    accounts_claim: str = ""
    """Claim with the accounts of a tenant, names and patterns as at `user add --accounts`; needed for that role."""
    password_users: tuple[str, ...] = ("*",)
    """Who may sign in with a password all the same: `*` everybody, or the names of admins for the day on which the
    provider is away."""
    token_seconds: float = 2_592_000.0
    """So long after having signed in last, the API tokens of a user of the provider rest until the next time; 0: they
    do not."""
    sign_out: Literal["here", "everywhere"] = "here"
    """everywhere: signing out leads on to the provider, which may end its own session too."""
    allow_http: bool = False
    """The provider may be spoken to by http, if it is on the loopback address: to try things out."""
    ca_file: str = ""
    """Certificates to trust; empty: the system's."""
    timeout: float = 10.0
    """Seconds for each question to the provider."""
