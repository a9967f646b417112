"""Users of the console: who there is, what each may do, and the changes that admins make.

A user has a role, and a role has scopes; a page or call names the scope it needs. The last admin can be neither
removed, disabled nor given another role. Changes go through the journal with their audit entry; the ledger ends the
sessions of whoever got another password or role, was disabled or removed, in the transaction that stores the change.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.people import passwords
from outbound_guard.desk.people.passwords import Hashing
from outbound_guard.ledger import tenant_queries, user_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, UserChange
from outbound_guard.ledger.user_queries import User

SCOPES = ("read", "content", "held", "accounts", "cases", "policy", "users", "erase", "originals", "feedback", "own")
"""read: all pages but content; content: messages themselves; held: to decide about held and queued mail; accounts,
cases: about these; policy: to change it; users: to manage users and all tokens; erase: an account's data; originals:
unredacted letters of cases; feedback: to hand in reports and records of next hops, and nothing else; own: to see what
a tenant sees, and nothing else."""
ROLES: dict[str, frozenset[str]] = {
    "viewer": frozenset({"read"}),
    "operator": frozenset({"read", "content", "held", "accounts", "cases", "feedback"}),
    "admin": frozenset(SCOPES) - {"own"},
    "tenant": frozenset({"own"}),
}
TENANT = "tenant"
"""The role of a user who sees some accounts and nothing of any other: a reseller, a customer."""
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")

Settle = Callable[[], Awaitable[object]]
"""Waits until the ledger has what the journal was given."""


async def at_once() -> None:
    """A `Settle` for those who read nothing afterwards."""


class Users:
    """The users, and what is done with them. One change after the other."""

    def __init__(
        self, ledger: Ledger, journal: Journal, clock: Clock, hashing: Hashing, settle: Settle = at_once
    ) -> None:
        self._ledger, self._journal, self._clock = ledger, journal, clock
        self._hashing, self._settle = hashing, settle
        self._one_by_one = asyncio.Lock()

    async def all(self) -> list[User]:
        """Every user, by name. Raises LedgerError."""
        return await asyncio.to_thread(user_queries.users, self._ledger)

    async def one(self, name: str) -> User:
        """The user of this name. Raises DeskError if there is none, LedgerError."""
        known = NAME.fullmatch(named(name))
        found = await asyncio.to_thread(user_queries.users, self._ledger, known[0]) if known else []
        if not found:
            raise DeskError(f"no user {name}")
        return found[0]

    async def anybody(self) -> bool:
        """True if there is a user. Raises LedgerError."""
        return await asyncio.to_thread(user_queries.anybody, self._ledger)

    async def add(
        self, name: str, role: str, password: str, *, by: str, first: bool = False, accounts: Sequence[str] = ()
    ) -> str:
        """Add a user; its name as it was written down. `first`: only if there is nobody yet. `accounts`: of a tenant.

        Raises DeskError, LedgerError.
        """
        name = named(name)
        if not NAME.fullmatch(name):
            raise DeskError("a name has 1 to 64 letters a-z, digits, and . _ @ - after the first")
        _check_role(role)
        theirs = _accounts_of(role, accounts)
        passwords.check(name, password)
        hash_ = await self._hashing.hash(password)
        async with self._one_by_one:
            if first and await self.anybody():
                raise DeskError("there is a user already; sign in")
            if await asyncio.to_thread(user_queries.users, self._ledger, name):
                raise DeskError(f"there is a user {name} already")
            detail = f"as {role}" + _listed(theirs)
            await self._write(name, "added", detail, by, role=role, password=hash_, accounts=theirs)
        return name

    async def set_role(self, name: str, role: str, *, by: str, accounts: Sequence[str] = ()) -> None:
        """Give a user another role; a tenant's `accounts` with it. Raises DeskError, LedgerError."""
        _check_role(role)
        async with self._one_by_one:
            user = await self.one(name)
            _check_ours(user, "role")
            if user.role != role:
                theirs = _accounts_of(role, accounts)
                await self._keep_an_admin(user, role)
                detail = f"{user.role} -> {role}" + _listed(theirs)
                await self._write(user.name, "role", detail, by, role=role, accounts=theirs)
            elif role == TENANT and accounts:
                await self._set_accounts(user, accounts, by)

    async def set_accounts(self, name: str, accounts: Sequence[str], *, by: str) -> None:
        """Say which accounts a tenant sees; its sessions end. Raises DeskError, LedgerError."""
        async with self._one_by_one:
            await self._set_accounts(await self.one(name), accounts, by)

    async def _set_accounts(self, user: User, accounts: Sequence[str], by: str) -> None:
        _check_ours(user, "accounts")
        if user.role != TENANT:
            raise DeskError(f"{user.name} is {user.role}, and sees all accounts; only a tenant sees some")
        theirs = _accounts_of(TENANT, accounts)
        if theirs != user.accounts:
            await self._write(user.name, "accounts", ", ".join(theirs)[:500], by, accounts=theirs)

    async def set_password(self, name: str, password: str, *, by: str) -> None:
        """Give a user another password; its sessions end. Raises DeskError, LedgerError."""
        user = await self.one(name)
        _check_ours(user, "password")
        passwords.check(user.name, password)
        hash_ = await self._hashing.hash(password)
        async with self._one_by_one:
            await self._write(user.name, "password", "", by, password=hash_)

    async def disable(self, name: str, *, by: str) -> None:
        """Let a user sign in no more, until enabled again; its tokens rest. Raises DeskError, LedgerError."""
        async with self._one_by_one:
            user = await self.one(name)
            if user.state == "active":
                await self._keep_an_admin(user, "")
                await self._write(user.name, "disabled", "", by)

    async def enable(self, name: str, *, by: str) -> None:
        """Let a disabled user sign in again. Raises DeskError, LedgerError."""
        async with self._one_by_one:
            user = await self.one(name)
            if user.state == "disabled":
                await self._write(user.name, "enabled", "", by)

    async def sign_out(self, name: str, *, by: str) -> None:
        """End all sessions of a user, from wherever. Raises DeskError, LedgerError."""
        async with self._one_by_one:
            user = await self.one(name)
            await self._write(user.name, "signed_out", "", by)

    async def remove(self, name: str, *, by: str) -> None:
        """Remove a user for good; its tokens are revoked. Raises DeskError, LedgerError."""
        async with self._one_by_one:
            user = await self.one(name)
            await self._keep_an_admin(user, "")
            await self._write(user.name, "removed", "", by)

    async def reset_second_factor(self, name: str, *, by: str) -> None:
        """Let a user who lost it sign in with the password alone. Raises DeskError, LedgerError."""
        async with self._one_by_one:
            user = await self.one(name)
            if not user.second_factor:
                raise DeskError(f"{user.name} has no second factor")
            await self._write(user.name, "factor_off", "reset", by)

    async def _keep_an_admin(self, user: User, role: str) -> None:
        # The ledger looks once more: this may be the command line, and the console may be at the same work.
        leaves = user.role == "admin" and role != "admin" and user.state == "active" and not user.issuer
        if leaves and await asyncio.to_thread(user_queries.admins, self._ledger) <= 1:
            raise DeskError(f"{user.name} is the last admin; make another one first")

    async def _write(
        self,
        name: str,
        what: str,
        detail: str,
        by: str,
        *,
        role: str = "",
        password: str = "",
        accounts: tuple[str, ...] = (),
    ) -> None:
        now = self._clock.now()
        on_disk(
            self._journal,
            UserChange(time=now, name=name, what=what, role=role, password=password, accounts=accounts),
            Audit(time=now, by=by, what=f"user.{what}", subject=name, detail=detail),
        )
        await self._settle()


def named(name: str) -> str:
    """A name as it is compared and kept."""
    return name.strip().lower()


def _accounts_of(role: str, accounts: Sequence[str]) -> tuple[str, ...]:
    """The accounts of a user of this role, each once. Raises DeskError."""
    theirs = tuple(dict.fromkeys(one.strip() for one in accounts if one.strip()))
    if role != TENANT:
        if theirs:
            raise DeskError(f"{role} sees all accounts; name accounts for the role {TENANT} alone")
        return ()
    if wrong := tenant_queries.check_accounts(theirs):
        raise DeskError(wrong)
    return theirs


def _listed(accounts: tuple[str, ...]) -> str:
    return f" of {', '.join(accounts)}"[:500] if accounts else ""


def _check_ours(user: User, what: str) -> None:
    if user.issuer:
        raise DeskError(f"{user.name} signs in at {user.issuer}, which decides about {what}; it can be disabled here")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise DeskError(f"{role!r} is no role; there are {', '.join(ROLES)}")
