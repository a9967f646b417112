"""The first user: a link that works once, while there is nobody who could make one.

Its secret lives in the memory of the console process alone. It is printed where the service prints, which only who runs
the service can read; it ends with its use, with the process, or as soon as there is a user by any other way.
"""

from __future__ import annotations

import hmac
import secrets

from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.users import Users


class FirstUser:
    """The one-time set-up."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._secret = ""

    async def path(self) -> str:
        """The path of the link, new with every call; empty if there are users. Raises LedgerError."""
        self._secret = "" if await self._users.anybody() else secrets.token_urlsafe(32)
        return f"/setup/{self._secret}" if self._secret else ""

    async def open(self, secret: str) -> bool:
        """True if this is the link's secret, and there is still nobody. Raises LedgerError."""
        right = bool(self._secret) and hmac.compare_digest(self._secret.encode(), secret.encode("utf-8", "replace"))
        return right and not await self._users.anybody()

    async def use(self, secret: str, name: str, password: str) -> str:
        """Make the first user, an admin; its name. Raises DeskError, and then the link still works; LedgerError."""
        if not await self.open(secret):
            raise DeskError("this link does not work any more")
        name = await self._users.add(name, "admin", password, by="console:set-up", first=True)
        self._secret = ""
        return name
