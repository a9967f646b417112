"""MTA-STS: domains that say by https how their mail servers are to be known (RFC 8461).

A policy is kept in a file for as long as it says, so that who can hide the DNS record or the web server from us for a
moment cannot take the protection away.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import ssl
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Literal

import msgspec

from outbound_guard import durable
from outbound_guard.clock import Clock
from outbound_guard.dns import NoAnswer, Records
from outbound_guard.http import NotFetched, fetch

FETCH_SECONDS = 30.0
"""RFC 8461 3.3 asks for a timeout of one minute at most."""
_AGAIN = 300.0
"""Seconds after which what could not be fetched is tried again (RFC 8461 3.3)."""
_LONGEST_AGE = 31_557_600
_LONGEST_RECORD = 1000
_RECORD = re.compile(r"v=STSv1[ \t]*;[ \t]*(?:.*;[ \t]*)?id[ \t]*=[ \t]*([A-Za-z0-9]{1,32})[ \t]*(?:;.*)?")
_MX = re.compile(r"(?:\*\.)?(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")

_log = logging.getLogger(__name__)


class Policy(msgspec.Struct, frozen=True):
    """What a domain says about its mail servers."""

    id: str
    mode: Literal["enforce", "testing", "none"]
    mx: tuple[str, ...]
    until: float
    """Unix seconds to which it holds."""

    def names(self, host: str) -> bool:
        """True if this host is one of the domain's mail servers (RFC 8461 4.1)."""
        host = host.lower().rstrip(".")
        parent = host.partition(".")[2]
        return any(pattern == host or (pattern[:2] == "*." and pattern[2:] == parent) for pattern in self.mx)


class PolicyError(Exception):
    """A policy that cannot be used; the text says why."""


def parse(content: bytes, id_: str, now: float) -> Policy:
    """A policy as it was served at `now` (unix seconds). Raises PolicyError."""
    try:
        lines = content.decode("utf-8").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise PolicyError("is not UTF-8") from None
    fields: dict[str, str] = {}
    patterns = []
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon:
            continue
        if name == "mx":
            if not _MX.fullmatch(value.lower().rstrip(".")):
                raise PolicyError("names a mail server that is none")
            patterns.append(value.lower().rstrip("."))
        else:
            fields.setdefault(name, value)  # RFC 8461 3.2: of fields that stand twice the first counts.
    if fields.get("version") != "STSv1":
        raise PolicyError("has no version STSv1")
    age = fields.get("max_age", "")
    match fields.get("mode"):
        case "enforce" | "testing" | "none" as mode:
            pass
        case _:
            raise PolicyError("has no mode")
    if not re.fullmatch(r"[0-9]{1,10}", age):
        raise PolicyError("has no max_age")
    if not patterns and mode != "none":
        raise PolicyError("names no mail server")
    return Policy(id_, mode, tuple(patterns), now + min(int(age), _LONGEST_AGE))


class Policies:
    """The policies of all domains that mail goes to."""

    def __init__(
        self,
        records: Records,
        directory: Path,
        clock: Clock,
        *,
        tls: ssl.SSLContext,
        allowed: Callable[[str], bool],
        port: int = 443,
    ) -> None:
        """`directory` is created when it is needed. `tls` checks certificates; only `allowed` addresses are asked."""
        self._records, self._directory, self._clock = records, directory, clock
        self._tls, self._allowed, self._port = tls, allowed, port
        self._known: dict[str, Policy | None] = {}
        self._tried: dict[str, float] = {}

    async def of(self, domain: str) -> Policy | None:
        """The policy of a domain (ASCII, lower case), if it has one that holds now."""
        now = self._clock.now()
        id_ = await self._id(domain)
        known = self._known[domain] if domain in self._known else await asyncio.to_thread(self._read, domain)
        if known is not None and known.until <= now:
            known = None
        if id_ and (known is None or known.id != id_) and not 0 <= now - self._tried.get(domain, -_AGAIN) < _AGAIN:
            self._tried[domain] = now
            # What holds still does if the new one cannot be had (RFC 8461 5.1).
            known = await self._fetched(domain, id_) or known
        if len(self._known) > 50_000:
            self._known.clear()
            self._tried.clear()
        self._known[domain] = known
        return known

    async def _id(self, domain: str) -> str:
        """The id of its policy by the DNS; empty if it has none, or if that is not known."""
        try:
            found = await self._records.find(f"_mta-sts.{domain}", "TXT")
        except NoAnswer:
            return ""
        ours = [record for record in found.records if record.startswith("v=STSv1") and len(record) <= _LONGEST_RECORD]
        match = _RECORD.fullmatch(ours[0]) if len(ours) == 1 else None  # RFC 8461 3.1: of several none counts.
        return match[1] if match else ""

    async def _fetched(self, domain: str, id_: str) -> Policy | None:
        host = f"mta-sts.{domain}"
        try:
            known = [(await self._records.find(host, kind)).records for kind in ("A", "AAAA")]
            addresses = [address for address in chain(*known) if self._allowed(address)]
            if not addresses:
                raise NotFetched("has no address that is asked")
            path = "/.well-known/mta-sts.txt"
            kind, content = await fetch(host, addresses[0], path, tls=self._tls, port=self._port, seconds=FETCH_SECONDS)
            if kind != "text/plain":
                raise PolicyError("is no text/plain")
            policy = parse(content, id_, self._clock.now())
        except (NoAnswer, NotFetched, PolicyError) as error:
            _log.info("the MTA-STS policy of %s cannot be used: %s", domain, error)
            return None
        try:
            await asyncio.to_thread(self._write, domain, policy)
        except OSError as error:
            _log.warning("the MTA-STS policy of %s cannot be kept: %s", domain, error)
        return policy

    def _path(self, domain: str) -> Path:
        # Not by its name, which the world has made up.
        return self._directory / hashlib.sha256(domain.encode()).hexdigest()[:32]

    def _read(self, domain: str) -> Policy | None:
        try:
            return msgspec.json.decode(self._path(domain).read_bytes(), type=Policy)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _write(self, domain: str, policy: Policy) -> None:
        durable.make_directories(self._directory)
        durable.write(self._path(domain), (msgspec.json.encode(policy),))
