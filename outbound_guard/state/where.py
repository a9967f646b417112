"""Where the store is: one server, the master that sentinels name, or the masters of a cluster with their hash slots.

redis-py reads the URLs, asks the sentinels and talks to the servers of a cluster. What comes out are places: URLs of
single servers, each with the slots that lie there.

    redis://HOST:PORT/N   rediss://...   unix:///PATH
    redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/N
    redis+cluster://HOST:PORT,HOST:PORT

`rediss+sentinel` and `rediss+cluster` are the same over TLS.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec
from redis import exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff

from outbound_guard.config import ConfigError

_ALL = ((0, 16_383),)
_ASK = 0.7
"""Seconds that a sentinel, or a server of a cluster, gets to say where the others are."""
_ASKED = 4
"""Servers of a cluster that are asked at a time; the first answer counts."""
_new_sentinel: Any = Sentinel  # It has no types.
_SENTINEL_OPTIONS = ("sentinel_user", "sentinel_password", "sentinel_password_file")


class Place(msgspec.Struct, frozen=True):
    """One server that takes writes: its URL, with files instead of passwords, and its hash slots (first, last)."""

    url: str
    slots: tuple[tuple[int, int], ...] = _ALL


class One:
    """Always the same server."""

    watch = 0.0
    """Seconds until it is asked again though nothing was lost; 0: never."""
    limit = 2.0
    """Seconds that opening a connection may take; nobody waits for it."""

    def __init__(self, url: str) -> None:
        self._place = Place(url)

    async def find(self) -> list[Place]:
        """The server."""
        return [self._place]

    async def close(self) -> None:
        """Nothing is open."""


class Sentinels:
    """The master of a service, as its sentinels say."""

    watch = 1.0
    limit = 1.5

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._sentinel: Any = None

    async def find(self) -> list[Place]:
        """The master now. Raises FAILURES."""
        if self._sentinel is None:
            self._sentinel = _new_sentinel(self._parts.hosts, sentinel_kwargs=self._options())
        # One that is cut off from the others may not be asked for ever.
        self._sentinel.sentinels.append(self._sentinel.sentinels.pop(0))
        try:
            host, port = await self._sentinel.discover_master(self._parts.service)
        except MasterNotFoundError:
            # What it says of each sentinel fills a screen.
            raise exceptions.ConnectionError(f"no sentinel names a master of {self._parts.service}") from None
        return [Place(self._parts.url_of(host, port))]

    async def close(self) -> None:
        """Disconnect from the sentinels."""
        if self._sentinel is not None:
            await self._sentinel.aclose()

    def _options(self) -> dict[str, Any]:
        """What redis-py needs to ask a sentinel: the TLS of the servers, a user and a password of its own."""
        options: dict[str, Any] = dict(parse_url(self._parts.url_of(*self._parts.hosts[0])))
        options["ssl"] = options.pop("connection_class", None) is SSLConnection
        for name in ("host", "port", "db", "username", "password", "password_file"):
            options.pop(name, None)
        user, password, file = (self._parts.options.get(name, "") for name in _SENTINEL_OPTIONS)
        if user:
            options["username"] = user
        if password or file:
            options["password"] = password or _first_line(file)
        retry = Retry(NoBackoff(), 0)
        return {**options, "socket_timeout": _ASK, "socket_connect_timeout": _ASK, "retry": retry}


class Cluster:
    """The masters of a cluster, as one of its servers says."""

    watch = 0.0
    limit = 1.5

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: set[tuple[str, int]] = set(parts.hosts)

    async def find(self) -> list[Place]:
        """All masters that have slots. Raises FAILURES."""
        # In any order: one that is cut off from the others may not be asked for ever.
        asked = random.sample(sorted(self._known), min(_ASKED, len(self._known)))
        asking = [asyncio.ensure_future(self._ask(host, port)) for host, port in asked]
        try:
            why: BaseException | None = None
            for answer in asyncio.as_completed(asking):
                try:
                    return self._places(*await answer)
                except (exceptions.RedisError, OSError, TimeoutError) as error:
                    why = error
            # Those that were never named by the configuration may all have gone.
            self._known |= set(self._parts.hosts)
            raise why or exceptions.ConnectionError("no server of the cluster is known")
        finally:
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def close(self) -> None:
        """Nothing is open."""

    async def _ask(self, host: str, port: int) -> tuple[str, Any]:
        client: Any = Redis.from_url(
            with_password(self._parts.url_of(host, port)),
            protocol=2,
            socket_timeout=_ASK,
            socket_connect_timeout=_ASK,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            async with asyncio.timeout(2 * _ASK):
                return host, await client.execute_command("CLUSTER SLOTS")
        finally:
            await client.aclose()

    def _places(self, asked: str, ranges: list[Any]) -> list[Place]:
        """What `CLUSTER SLOTS` says: first and last slot, then its master and the replicas, each [host, port, ...]."""
        slots: dict[tuple[str, int], list[tuple[int, int]]] = {}
        known = set()
        for first, last, *nodes in ranges:
            # A server that knows no name of its own means the one by which it was asked.
            servers = [((node[0] or b"").decode().strip("?") or asked, int(node[1])) for node in nodes]
            known.update(servers)
            slots.setdefault(servers[0], []).append((first, last))
        if not slots:
            raise exceptions.ClusterDownError("the cluster has no slots yet")
        self._known = known
        return [Place(self._parts.url_of(*server), tuple(spans)) for server, spans in slots.items()]

    def url_of(self, host: str, port: int) -> str:
        """The URL of one of its servers."""
        return self._parts.url_of(host, port)


class Parts(msgspec.Struct, frozen=True):
    """A URL of sentinels or of a cluster, taken apart."""

    scheme: str
    """redis | rediss: that of each server."""
    login: str
    """USER:PASSWORD@ as it stood there, or nothing."""
    hosts: tuple[tuple[str, int], ...]
    service: str
    database: str
    options: dict[str, str]

    def url_of(self, host: str, port: int) -> str:
        """The URL of one server."""
        options = {name: value for name, value in self.options.items() if name not in _SENTINEL_OPTIONS}
        name = f"[{host}]" if ":" in host else host
        query = f"?{urlencode(options)}" if options else ""
        return f"{self.scheme}://{self.login}{name}:{port}/{self.database}{query}"


Where = One | Sentinels | Cluster


def where_of(url: str) -> Where:
    """Where a URL leads to. Raises ConfigError if it cannot be used."""
    scheme, _, rest = url.partition("://")
    secure, _, kind = scheme.partition("+")
    try:
        if not kind:
            _usable(url)
            return One(url)
        if secure not in ("redis", "rediss") or kind not in ("sentinel", "cluster"):
            raise ValueError(f"{scheme}:// is not possible")
        parts = _taken_apart(secure, kind, rest)
        _usable(parts.url_of(*parts.hosts[0]))
        return Sentinels(parts) if kind == "sentinel" else Cluster(parts)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"state.url: {error}") from error


def host_of(url: str) -> str:
    """The host in the URL of one server."""
    return urlsplit(url).hostname or ""


def with_password(url: str) -> str:
    """The URL with the password in place of the file that it names (`password_file=PATH`). Raises OSError."""
    if "password_file=" not in url:
        return url
    begin, _, query = url.partition("?")
    options = dict(parse_qsl(query))
    if file := options.pop("password_file", ""):
        options["password"] = _first_line(file)
    return f"{begin}?{urlencode(options, quote_via=quote)}"


def _taken_apart(scheme: str, kind: str, rest: str) -> Parts:
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    login, at, names = authority.rpartition("@")
    usual = 26_379 if kind == "sentinel" else 6_379
    hosts = tuple(_host(name, usual) for name in names.split(",") if name)
    if not hosts:
        raise ValueError("names no host")
    service, _, database = path.strip("/").partition("/")
    if kind == "cluster":
        service, database = "", service
        if database not in ("", "0"):
            raise ValueError("a cluster has no other database than 0")
    elif not service:
        raise ValueError("names no service; expected redis+sentinel://HOST:PORT,HOST:PORT/SERVICE")
    if not (database or "0").isdigit():
        raise ValueError(f'"{database}" is no number of a database')
    return Parts(scheme, login + at, hosts, unquote(service), database or "0", dict(parse_qsl(query)))


def _host(text: str, usual: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(usual)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(f'"{text}" is no HOST:PORT')
    return host, int(port)


def _usable(url: str) -> None:
    """Raises ValueError or TypeError for options that redis-py does not know."""
    begin, _, query = url.partition("?")
    options = {name: value for name, value in parse_qsl(query) if name != "password_file"}
    pool: Any = ConnectionPool.from_url(f"{begin}?{urlencode(options)}" if options else begin)
    try:
        pool.make_connection()
    except TypeError as error:
        raise ValueError(f"has an option that is not known: {error}") from error


def _first_line(file: str) -> str:
    try:
        with Path(file).open(encoding="utf-8") as lines:
            return lines.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        # It may be about to be replaced, and is read again.
        raise OSError(f"{file} cannot be read: {error}") from error
