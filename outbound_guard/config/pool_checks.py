"""What types cannot say about pools and their addresses. Every function raises Mistake with the path of the setting."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence

from outbound_guard.config.delivery import Delivery
from outbound_guard.config.files import readable
from outbound_guard.config.reading import Mistake
from outbound_guard.config.settings import Config
from outbound_guard.config.values import HOST, endpoint, host_name, ip_address, positive


def check_pools(config: Config) -> None:
    """The pools of [delivery], who goes by which, and their addresses."""
    delivery = config.delivery
    names: dict[str, int] = {}
    for number, pool in enumerate(delivery.pool):
        where = f"delivery.pool[{number}]"
        if not re.fullmatch(r"[\w.-]{1,64}", pool.name):
            raise Mistake(f"{where}.name", f'"{pool.name}" is no name; expected letters, digits, ".", "-" and "_"')
        if names.setdefault(pool.name, number) != number:
            raise Mistake(f"{where}.name", f'"{pool.name}" is already the name of delivery.pool[{names[pool.name]}]')
        if delivery.mode == "smarthost" and not pool.smarthosts:
            raise Mistake(f"{where}.smarthosts", 'is empty; expected for example ["smtp.example.net:25"]')
        for place, smarthost in enumerate(pool.smarthosts):
            host, port = endpoint(f"{where}.smarthosts[{place}]", smarthost, "smtp.example.net:25")
            if not port:
                raise Mistake(
                    f"{where}.smarthosts[{place}]", f'"{smarthost}" has no port to connect to; usually 25 or 587'
                )
            if ":" in host or host.replace(".", "").isdigit():
                ip_address(f"{where}.smarthosts[{place}]", host)
            elif not HOST.fullmatch(host):
                raise Mistake(f"{where}.smarthosts[{place}]", f'"{host}" is no host name')
        for place, address in enumerate(pool.source_addresses):
            ip_address(f"{where}.source_addresses[{place}]", address)
            if address in pool.source_addresses[:place]:
                raise Mistake(f"{where}.source_addresses[{place}]", f'"{address}" stands there twice; see weight')
        if pool.helo:
            host_name(f"{where}.helo", pool.helo)
        if pool.user and not pool.smarthosts:
            raise Mistake(f"{where}.user", "is for AUTH to smarthosts, and this pool has none")
        if bool(pool.user) != bool(pool.password_file):
            key = "password_file" if pool.user else "user"
            raise Mistake(f"{where}.{key}", "is missing; AUTH needs user and password_file")
        for key in ("password_file", "ca_file"):
            if getattr(pool, key):
                readable(config, f"{where}.{key}", getattr(pool, key))
        positive(where, pool, "connections", "connect_seconds", "reply_seconds")
    _classes(delivery)
    _schedule("delivery.warm_up", delivery.warm_up)
    _addresses(delivery)


def _classes(delivery: Delivery) -> None:
    carried: dict[str, int] = {}
    names = [pool.name for pool in delivery.pool]
    for number, pool in enumerate(delivery.pool):
        where = f"delivery.pool[{number}]"
        for place, class_ in enumerate(pool.classes):
            first = carried.setdefault(class_, number)
            if first != number or class_ in pool.classes[:place]:
                raise Mistake(f"{where}.classes[{place}]", f'"{class_}" is already carried by delivery.pool[{first}]')
        for place, name in enumerate(pool.otherwise):
            if name != "*" and name not in names:
                others = ", ".join(f'"{one}"' for one in ("*", *names) if one != pool.name)
                raise Mistake(f"{where}.otherwise[{place}]", f'"{name}" is no pool; expected {others}')
            if name == pool.name:
                raise Mistake(f"{where}.otherwise[{place}]", f'"{name}" is this pool itself; name others')


def _addresses(delivery: Delivery) -> None:
    known: dict[str, int] = {}
    used = {str(ipaddress.ip_address(source)) for pool in delivery.pool for source in pool.source_addresses}
    for number, table in enumerate(delivery.address):
        where = f"delivery.address[{number}]"
        ip_address(f"{where}.address", table.address)
        address = str(ipaddress.ip_address(table.address))
        if known.setdefault(address, number) != number:
            raise Mistake(
                f"{where}.address", f'"{table.address}" is already that of delivery.address[{known[address]}]'
            )
        if address not in used:
            raise Mistake(f"{where}.address", f'"{table.address}" stands in no source_addresses of a pool')
        if table.helo:
            host_name(f"{where}.helo", table.helo)
        positive(where, table, "weight")
        if table.warm_up:
            _day(f"{where}.warm_up", table.warm_up)
        if table.schedule and not table.warm_up:
            raise Mistake(f"{where}.schedule", "means nothing without warm_up, its first day")
        _schedule(f"{where}.schedule", table.schedule)


def _schedule(where: str, days: Sequence[int]) -> None:
    for place, number in enumerate(days):
        if number < 1:
            raise Mistake(f"{where}[{place}]", f"{number} is not possible; an address must send something to warm up")


def _day(where: str, text: str) -> None:
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError
        datetime.date.fromisoformat(text)
    except ValueError:
        raise Mistake(where, f'"{text}" is no day; expected YYYY-MM-DD') from None
