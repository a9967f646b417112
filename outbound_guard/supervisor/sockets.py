"""The listening sockets, bound once by the supervisor and handed on, so that no restart loses a connection."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable

from outbound_guard.config import ConfigError, host_port

_BACKLOG = 1024
"""Connections that wait to be accepted."""
_PATIENCE = 5.0
"""Seconds in which the ports of processes that were killed become free."""


async def bind_all(addresses: Iterable[str], patient: bool, setting: str = "listener.address") -> list[socket.socket]:
    """Bind all, or none. `patient`: ports that are in use may become free any moment; `setting` is where they stand.

    Raises ConfigError.
    """
    clock = asyncio.get_running_loop().time
    latest = clock() + (_PATIENCE if patient else 0)
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            while True:
                try:
                    sockets.append(bind(address, setting))
                    break
                except ConfigError as error:
                    cause = error.__cause__
                    in_use = isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
                    if not in_use or clock() > latest:
                        raise
                    await asyncio.sleep(0.02)
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def bind(address: str, setting: str = "listener.address") -> socket.socket:
    """A listening socket for HOST:PORT or [IPV6]:PORT; port 0: any free one. Raises ConfigError."""
    try:
        host, port = host_port(address)
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{setting}: {address}: {error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # So that "[::]:25" and "0.0.0.0:25" can stand beside each other.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(where)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ConfigError(f"{setting}: {address}: {error.strerror or error}") from error
    return listening


def bound_address(listening: socket.socket) -> str:
    """The address with its real port, as it is written in the configuration."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if listening.family == socket.AF_INET6 else f"{host}:{port}"
