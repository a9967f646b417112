"""The password file: lines `user:hash`, hashes of argon2 or bcrypt, checked in threads and remembered for a while."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import argon2
import bcrypt

from outbound_guard.clock import Clock, SystemClock
from outbound_guard.config import Auth, ConfigError
from outbound_guard.edge.files import stamp
from outbound_guard.edge.guesses import Guesses

log = logging.getLogger(__name__)

_BCRYPT = re.compile(r"\$2[abxy]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
_KEPT = 10_000
"""Logins remembered at most."""
_KEPT_SECONDS = 300.0
_WAITING = 200
"""Checks under way or waiting at most; each takes a processor for tens of milliseconds."""


class Overloaded(Exception):  # noqa: N818 - it says how busy we are, not that something broke.
    """Too many passwords wait to be checked; the client may try again."""


class Passwords:
    """Who may log in. A change of the file counts at once; one with a mistake changes nothing, and the log says so."""

    def __init__(
        self,
        path: Path,
        clock: Clock | None = None,
        guesses: Guesses | None = None,
        count: Callable[..., None] | None = None,
    ) -> None:
        """Read the file. Raises ConfigError naming the line. `guesses` counts wrong passwords; `count` metrics."""
        self._path, self._metric = path, count
        self._seen = stamp(path)
        self._reading = asyncio.Lock()
        self._clock = clock or SystemClock()
        self.guesses = guesses or Guesses(Auth(), secrets.token_bytes(32), self._clock)
        self._hashes: dict[str, str] = {}
        # login -> (keyed digest of hash and password, end in unix seconds). Only right passwords are remembered, and
        # the key lives and dies with the process, so that what is remembered is of no use to who reads it.
        self._known: dict[str, tuple[bytes, float]] = {}
        self._key = secrets.token_bytes(32)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="password")
        self._waiting = 0
        # Checked for unknown users where there are no known ones. No password fits it: it is made of dice.
        self._nobody = [f"$argon2id$v=19$m=65536,t=3,p=4${_dice(16)}${_dice(32)}"]
        self._patterns: list[str] = []
        self.reload()

    def __len__(self) -> int:
        return len(self._hashes)

    def reload(self) -> None:
        """Read the file again. Raises ConfigError naming the line; the passwords read before then stay in force."""
        self._use(_read(self._path))

    def _use(self, hashes: dict[str, str]) -> None:
        self._hashes = hashes
        self._known.clear()
        self._patterns = list(hashes.values()) or self._nobody

    async def refresh(self) -> None:
        """Read the file again if it has changed. Never raises: a mistake in it is logged and counted."""
        async with self._reading:
            now = stamp(self._path)
            if now == self._seen:
                return
            self._seen = now
            try:
                self._use(await asyncio.to_thread(_read, self._path))
                result = "ok"
                log.info("passwords read again: %d logins", len(self))
            except ConfigError as error:
                result = "refused"
                log.error("the passwords stay as they were: %s", error)
            if self._metric is not None:
                self._metric("file_reloads_total", "passwords", result)

    async def check(self, user: str, password: bytes) -> bool:
        """True if this is the user's password. Raises Overloaded."""
        if stamp(self._path) != self._seen:
            await self.refresh()
        hash_ = self._hashes.get(user)
        digest = hmac.digest(self._key, f"{hash_}\0".encode() + password, hashlib.sha256)
        now = self._clock.now()
        known = self._known.get(user)
        if known is not None and known[1] > now and hmac.compare_digest(known[0], digest):
            return True
        if self._waiting >= _WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            right = await asyncio.get_running_loop().run_in_executor(
                self._threads, _fits, hash_ or self._pattern(user), password
            )
        finally:
            self._waiting -= 1
        if not right or hash_ is None:
            return False
        # The file may have been read again in the meantime.
        if self._hashes.get(user) == hash_:
            self._known.pop(user, None)
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            self._known[user] = (digest, now + _KEPT_SECONDS)
        return True

    def _pattern(self, user: str) -> str:
        """A hash for a user who does not exist, always the same: somebody's, so that it takes as long as somebody's."""
        number = int.from_bytes(hmac.digest(self._key, user.encode("utf-8", "replace"), hashlib.sha256)[:8], "big")
        return self._patterns[number % len(self._patterns)]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _dice(octets: int) -> str:
    return base64.b64encode(secrets.token_bytes(octets)).rstrip(b"=").decode()


def _fits(hash_: str, password: bytes) -> bool:
    if hash_.startswith("$argon2"):
        try:
            return argon2.PasswordHasher().verify(hash_, password)
        except argon2.exceptions.VerifyMismatchError:
            return False
    if b"\0" in password:
        # bcrypt stops at a NUL; half a password is none.
        return False
    # bcrypt has never looked at more than 72 octets; its newer releases want that said.
    return bcrypt.checkpw(password[:72], hash_.encode())


def _read(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"auth.passwords: {path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"auth.passwords: {path}: is not UTF-8 at octet {error.start}") from error
    hashes: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        # The hash is never quoted in an error: errors are printed and logged.
        user, colon, hash_ = line.partition(":")
        if not colon or not user:
            raise ConfigError(f"auth.passwords: {path}: line {number}: is not user:hash")
        if user in hashes:
            raise ConfigError(f"auth.passwords: {path}: line {number}: user {user!r} stands here twice")
        if not _is_hash(hash_):
            raise ConfigError(f"auth.passwords: {path}: line {number}: the hash is neither argon2 nor bcrypt")
        hashes[user] = hash_
    return hashes


def _is_hash(text: str) -> bool:
    if text.startswith("$argon2"):
        try:
            argon2.extract_parameters(text)
        except (argon2.exceptions.InvalidHash, ValueError, IndexError):
            return False
        return True
    return _BCRYPT.fullmatch(text) is not None
