"""What is ours: the addresses that mail leaves from, and the domains that it is sent in the name of."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from outbound_guard.config import Config, ConfigError

MOST = 65_536
"""Addresses of one network, or of all together, that can be watched."""


def own_subjects(config: Config, *, everywhere: bool = True) -> tuple[str, ...]:
    """Own addresses and domains in their usual form, each once. Raises ConfigError if they are too many.

    Of the pools and of [blocklist], those of customers last. Without `everywhere`, addresses of pools that are not in
    the public internet are left out: no public list can know them.
    """
    addresses = [address for addresses in pools_of(config).values() for address in addresses]
    if not everywhere:
        addresses = [address for address in addresses if ipaddress.ip_address(address).is_global]
    settings = config.blocklist
    subjects = dict.fromkeys(map(subject_of, addresses))
    subjects |= dict.fromkeys(_named(config, "addresses", settings.addresses))
    subjects |= dict.fromkeys(_named(config, "domains", settings.domains))
    subjects |= dict.fromkeys(customers_of(config))
    if len(subjects) > MOST:
        raise ConfigError(f"{config.path}: blocklist.addresses: {len(subjects)} in all are too many; at most {MOST}")
    return tuple(subjects)


def customers_of(config: Config) -> dict[str, str]:
    """The accounts of addresses and domains that belong to customers, by subject. Raises ConfigError.

    Of a subject that several accounts name, the last one's.
    """
    return {
        subject: account
        for account, texts in config.blocklist.customers.items()
        for subject in _named(config, f'customers."{account}"', texts)
    }


def pools_of(config: Config) -> dict[str, tuple[str, ...]]:
    """The source addresses of each pool that has some, in their usual form."""
    return {
        pool.name: tuple(dict.fromkeys(map(subject_of, pool.source_addresses)))
        for pool in config.delivery.pool
        if pool.source_addresses
    }


def greetings_of(config: Config) -> dict[str, str]:
    """What source addresses say in EHLO, of those that do not say server.hostname, by address in its usual form."""
    names = {subject_of(source): pool.helo for pool in config.delivery.pool for source in pool.source_addresses}
    names |= {subject_of(table.address): table.helo for table in config.delivery.address if table.helo}
    return {address: name.rstrip(".").lower() for address, name in names.items() if name}


def subject_of(text: str) -> str:
    """An address or domain in its usual form. Raises ValueError if it is neither."""
    text = text.strip()
    try:
        ip = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        pass
    else:
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return str(mapped or ip)
    try:
        name = text.rstrip(".").lower().encode("idna").decode()
    except UnicodeError:
        name = ""
    if "." not in name or len(name) > 200 or not all(_is_label(label) for label in name.split(".")):
        raise ValueError(f"{text!r} is no address and no domain")
    if name.rpartition(".")[2].isdigit():
        raise ValueError(f"{text!r} is no address")
    return name


def family_of(subject: str) -> str:
    """ip4 | ip6 | domain, of a subject in its usual form."""
    if ":" in subject:
        return "ip6"
    return "ip4" if subject.replace(".", "").isdigit() else "domain"


def _named(config: Config, key: str, texts: Sequence[str]) -> tuple[str, ...]:
    subjects: list[str] = []
    for number, text in enumerate(texts):
        try:
            subjects += expanded([text])
        except ValueError as error:
            raise ConfigError(f"{config.path}: blocklist.{key}[{number}]: {error}") from None
    return tuple(subjects)


def expanded(texts: Sequence[str]) -> tuple[str, ...]:
    """Addresses, networks and domains as people name them: subjects, each once. Raises ValueError."""
    subjects: list[str] = []
    for text in texts:
        if "/" in text:
            network = ipaddress.ip_network(text, strict=False)
            if network.num_addresses > MOST:
                raise ValueError(f"{text} has too many addresses to ask about each; at most {MOST}")
            # The first and the last address of an IPv4 network may send mail as well: routed networks use all of them.
            subjects += [subject_of(str(address)) for address in network]
        else:
            subjects.append(subject_of(text))
    return tuple(dict.fromkeys(subjects))


def _is_label(label: str) -> bool:
    return 0 < len(label) < 64 and label.replace("-", "").replace("_", "").isalnum() and label.isascii()
