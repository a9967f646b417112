"""What the claims about somebody mean here: name, role, accounts. Pure."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Any

from outbound_guard.config.oidc import Oidc
from outbound_guard.desk.people.users import NAME, TENANT
from outbound_guard.ledger import tenant_queries

_SHOWN = 100
_VALUES = 2000
"""Values of one claim that are looked at."""
_DEPTH = 8


class NoEntry(Exception):  # noqa: N818 -- It says that somebody has no place here; no fault of ours.
    """The claims give no way in; the text says why, for the audit, `told` for the person, about what 'it' says."""

    def __init__(self, text: str, told: str) -> None:
        super().__init__(text)
        self.told = told


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """The value at a path such as `realm_access.roles`; None if there is none.

    Names may have dots in them (`https://example.net/roles`): the longest name that is there is taken first.
    """
    return _at(claims, path, _DEPTH)


def _at(value: Any, path: str, depth: int) -> Any:
    if not isinstance(value, Mapping) or not depth:
        return None
    if path in value:
        return value[path]
    place = len(path)
    while (place := path.rfind(".", 0, place)) > 0:
        if path[:place] in value:
            return _at(value[path[:place]], path[place + 1 :], depth - 1)
    return None


def texts(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """The texts of a claim that is a text or a list of texts; others in it are left out.

    A mail address counts only if the provider says that it is its owner's: everybody may enter one in some places.
    """
    if path == "email" and claims.get("email_verified") is not True:
        return ()
    value = claim(claims, path)
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(one for one in values[:_VALUES] if isinstance(one, str) and one)


def role_of(claims: Mapping[str, Any], settings: Oidc) -> str:
    """The first role, from admin down, that a value of the role claim gives. Raises NoEntry."""
    values = texts(claims, settings.role_claim)
    for role in settings.roles.__struct_fields__:
        if any(value in values for value in getattr(settings.roles, role)):
            return role
    told = "Nothing that it says about you gives you a role here; ask an admin of this console"
    if values:
        listed = ", ".join(values)
        raise NoEntry(f"no role for {settings.role_claim} = {_short(listed)}", told)
    if "_claim_names" in claims or "hasgroups" in claims:
        # What Entra ID says in the place of more than 200 groups.
        raise NoEntry(f"{settings.role_claim} was left out by the provider: too many groups; use app roles", told)
    raise NoEntry(f"no role: there is no claim {settings.role_claim}", told)


def accounts_of(claims: Mapping[str, Any], role: str, settings: Oidc) -> tuple[str, ...]:
    """The accounts of a tenant, each once; of others none. Raises NoEntry."""
    if role != TENANT:
        return ()
    theirs = tuple(dict.fromkeys(one.strip() for one in texts(claims, settings.accounts_claim) if one.strip()))
    if wrong := tenant_queries.check_accounts(theirs):
        raise NoEntry(
            f"accounts in {settings.accounts_claim}: {_short(wrong)}",
            "It does not say which accounts you may see; ask an admin of this console",
        )
    return theirs


def shown_of(claims: Mapping[str, Any], settings: Oidc) -> str:
    """The name for people to read: what can be seen of it, in one line."""
    value = claim(claims, settings.name_claim)
    for other in ("name", "sub"):
        if isinstance(value, str) and value.strip():
            break
        value = claims.get(other)
    text = unicodedata.normalize("NFC", value) if isinstance(value, str) else ""
    return "".join(one for one in text if one.isprintable()).strip()[:_SHOWN]


def names_of(shown: str, issuer: str, subject: str) -> tuple[str, ...]:
    """Names that a new user may get, the one to try first first; the last ones nobody else can have."""
    plain = unicodedata.normalize("NFKD", shown.lower()).encode("ascii", "ignore").decode()
    name = "".join(one if one.isalnum() or one in "._@-" else "-" for one in plain).strip("._@-")
    mark = hashlib.sha256(f"{issuer}\n{subject}".encode("utf-8", "replace")).hexdigest()
    found = [name[:64], f"{name[:57].rstrip('._@-') or 'user'}-{mark[:6]}", f"user-{mark[:24]}"]
    return tuple(one for one in found if NAME.fullmatch(one))


def _short(text: str) -> str:
    seen = "".join(one for one in text if one.isprintable())
    return seen if len(seen) <= 200 else f"{seen[:200]} ..."
