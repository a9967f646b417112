"""The listening sockets, bound once by the supervisor and handed on, so that no restart loses a connection."""

from __future__ import annotations

import socket

from outbound_guard.config import ConfigError, host_port

_BACKLOG = 1024
"""Connections that wait to be accepted."""


def bind(address: str) -> socket.socket:
    """A listening socket for HOST:PORT or [IPV6]:PORT; port 0: any free one. Raises ConfigError."""
    try:
        host, port = host_port(address)
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, ValueError) as error:
        raise ConfigError(f"listener.address: {address}: {error}") from error
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
        raise ConfigError(f"listener.address: {address}: {error.strerror or error}") from error
    return listening


def bound_address(listening: socket.socket) -> str:
    """The address with its real port, as it is written in the configuration."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if listening.family == socket.AF_INET6 else f"{host}:{port}"
