"""Checks of single values of a configuration."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from outbound_guard.config.addresses import host_port
from outbound_guard.config.reading import Mistake

HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
"""A host name."""


def numbers(where: str, value: Any) -> None:
    """No setting is negative, infinite or not a number."""
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            inner = f"{where}.{field.encode_name}" if where else field.encode_name
            numbers(inner, getattr(value, field.name))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            numbers(f"{where}[{number}]", item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value) or value < 0:
            raise Mistake(where, f"{value} is not possible; expected 0 or more")
        if value > 2**53:
            raise Mistake(where, f"{value} is too large; at most {2**53}")


def positive(where: str, table: msgspec.Struct, *keys: str) -> None:
    """Raises Mistake unless the settings `keys` of a table are more than 0."""
    for key in keys:
        if getattr(table, key) <= 0:
            raise Mistake(f"{where}.{key}", f"{getattr(table, key)} is not possible; it must be more than 0")


def resolver_address(where: str, text: str) -> None:
    """Raises Mistake unless it is ADDRESS:PORT."""
    host, port = endpoint(where, text, "127.0.0.1:53")
    ip_address(where, host)
    if not port:
        raise Mistake(where, f'"{text}" has no port to ask; usually 53')


def endpoint(where: str, text: str, example: str) -> tuple[str, int]:
    """Host and port of HOST:PORT. Raises Mistake, with an example."""
    try:
        return host_port(text)
    except ValueError as error:
        raise Mistake(where, f"{error}; for example {example}") from None


def ip_address(where: str, text: str) -> None:
    """Raises Mistake unless it is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise Mistake(where, f'"{text}" is no IP address') from None


def network_list(where: str, texts: Sequence[str]) -> None:
    """Raises Mistake unless all are networks or addresses."""
    for number, text in enumerate(texts):
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise Mistake(
                f"{where}[{number}]", f'"{text}" is no network; expected one like "192.0.2.0/24", "192.0.2.7" or "::1"'
            ) from None


def host_name(where: str, text: str) -> None:
    """Raises Mistake unless it is a host name of at most 253 octets."""
    if not (len(text) <= 253 and HOST.fullmatch(text)):
        raise Mistake(where, f'"{text}" is no host name; expected one like "out1.example.net"')
