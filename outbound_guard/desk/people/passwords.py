"""Passwords of the console's users: which may be set, and their argon2 hashes, worked out in threads."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2

from outbound_guard.desk.errors import DeskError

SHORTEST = 12
LONGEST = 1024
"""Characters."""
_AT_ONCE = 2
_WAITING = 50
"""Hashes being worked out or waited for at most; each takes a processor, and 64 MiB, for tens of milliseconds."""
# Long enough, and the first that are tried.
_OBVIOUS = (
    "password",
    "passwort",
    "administrator",
    "outboundguard",
    "changeme",
    "letmein",
    "welcome",
    "qwertz",
    "qwerty",
)
_ROWS = (
    "0123456789",
    "9876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop",
    "qwertzuiop",
    "asdfghjkl",
    "1q2w3e4r5t6y",
)
_T = TypeVar("_T")


class Overloaded(DeskError):  # noqa: N818 - it says how busy we are, not that something broke.
    """Too many passwords wait to be checked."""

    def __init__(self) -> None:
        super().__init__("too many people are signing in right now; try again in a moment")


class Hashing:
    """Makes and checks hashes with the parameters that argon2-cffi recommends, two at a time."""

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher()
        self._threads = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="console-password")
        self._waiting = 0
        # Checked for names that nobody has, so that these take as long as the others. Nobody knows its password.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))

    async def hash(self, password: str) -> str:
        """The hash to keep. Raises Overloaded."""
        return await self._in_thread(self._hasher.hash, password)

    async def fits(self, hash_: str, password: str) -> bool:
        """True if the hash is of this password; an empty one is of none, and takes as long. Raises Overloaded."""
        right = await self._in_thread(self._verify, hash_ or self._nobody, password[: LONGEST + 1])
        return right and bool(hash_)

    def is_old(self, hash_: str) -> bool:
        """True if the hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(hash_)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, hash_: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash_, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHash, UnicodeEncodeError):
            return False

    async def _in_thread(self, work: Callable[..., _T], *arguments: str) -> _T:
        if self._waiting >= _WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1


def check(name: str, password: str) -> None:
    """Raises DeskError if a user of this name should not have this password."""
    if len(password) < SHORTEST:
        raise DeskError(f"a password has at least {SHORTEST} characters; several words are easy to remember")
    if len(password) > LONGEST:
        raise DeskError(f"a password has at most {LONGEST} characters")
    if not password.isprintable():
        raise DeskError("a password consists of characters that can be seen, and spaces")
    plain = password.casefold()
    rest = plain.replace(name.casefold(), "") if name else plain
    if rest != plain and not rest.strip("0123456789!._- "):
        raise DeskError("a password is not the name")
    rest = re.sub(r"[\d\W_]+", "", plain)
    for obvious in _OBVIOUS:
        rest = rest.replace(obvious, "")
    if not rest and not plain.isdigit() and any(obvious in plain for obvious in _OBVIOUS):
        raise DeskError("this password is among the first that are tried; take several words")
    if len(set(plain)) < 5 or any(plain in row * 3 for row in _ROWS):
        raise DeskError("this password is a pattern that is easily guessed; take several words")
