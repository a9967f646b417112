"""The file that describes the lists: `blocklists.toml`, the packaged one or the one that the configuration names."""

from __future__ import annotations

import ipaddress
import re
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from outbound_guard.config import Config, ConfigError
from outbound_guard.config.reading import Mistake, Table, convert, read

_ZONE = re.compile(r"(?:\{key\}\.)?(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))+\.?")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,63}")
_LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")

Scope = Literal["address", "range", "network"]


class Code(Table, frozen=True):
    """A return code that differs from its list's other codes."""

    meaning: str
    scope: Scope | None = None
    weight: float | None = None


class Dnsbl(Table, frozen=True):
    """[[list]]: one list in the DNS (RFC 5782)."""

    zone: str
    """Where it is asked; of a paid one with `{key}` in the place of the key."""
    name: str = ""
    """What people call it."""
    kind: Literal["ip", "domain"] = "ip"
    scope: Scope = "address"
    """What a listing is about: the address itself, a range around it, or all of a network's operator."""
    ipv6: bool = False
    """It knows IPv6 addresses too."""
    codes: dict[str, str | Code] = {}  # noqa: RUF012 -- msgspec gives every instance its own.
    """What answers mean: `127.0.0.2`, `127.0.1.0/24`, or a bit of the last octet, `&8`. Empty: every one in 127/8 that
    is no error is a listing. Otherwise an answer with none of these is unknown."""
    errors: dict[str, str] = {}  # noqa: RUF012
    """Answers that are no listing, and why; besides 127.255.255.0/24 and 127.0.0.1."""
    weight: float = 1.0
    """How much receivers heed it; 0: not at all."""
    test_entries: bool = True
    """False: it has no entry that is always listed, so that a dead list cannot be told from one that lists nothing."""
    test_listed: tuple[str, ...] = ()
    """Entries of which one must be listed; empty: 127.0.0.2, ::ffff:7f00:2, or the domain `test` (RFC 5782 5)."""
    test_clean: tuple[str, ...] = ()
    """Entries that must not be listed; empty: 127.0.0.1, ::ffff:7f00:1, or the domain `invalid`."""
    per_second: float = 0.0
    """Questions a second; 0: as the configuration says."""
    key_file: str = ""
    """File whose first line is the key of a paid list; without it a zone with `{key}` is not asked."""
    enabled: bool = True
    """False: it is not asked; for lists that must be signed up for."""
    policy: str = ""
    """How it lists and delists."""
    lookup: str = ""
    """Page that says why something is listed; `{subject}` stands for the address or domain."""
    removal: str = ""
    """Page to ask for removal."""

    @property
    def label(self) -> str:
        """The zone as it is shown and kept: without the key."""
        return self.zone.removeprefix("{key}.").rstrip(".").lower()


class _File(Table, frozen=True):
    list: tuple[Dnsbl, ...] = ()


class Lists(msgspec.Struct, frozen=True):
    """The lists that are asked."""

    lists: tuple[Dnsbl, ...]
    keys: dict[str, str] = {}
    """Keys of paid lists, by label."""
    packaged: bool = False
    """Public lists of the internet: they know nothing of addresses that are not in it."""

    def asked_in(self, dnsbl: Dnsbl) -> str:
        """The zone to ask in, with its key. Never to be shown."""
        return dnsbl.zone.replace("{key}", self.keys.get(dnsbl.label, "")).rstrip(".")


def lists_of(config: Config) -> Lists:
    """The lists that the configuration names, or the packaged ones, without those that are not asked.

    Raises ConfigError.
    """
    if config.blocklist.file:
        path = config.resolve(config.blocklist.file)
        return _wanted(described(path), path, packaged=False)
    with resources.as_file(resources.files("outbound_guard.blocklist").joinpath("blocklists.toml")) as path:
        return _wanted(described(path), path, packaged=True)


def described(path: Path) -> tuple[Dnsbl, ...]:
    """All lists of a file, also those that are not asked. Raises ConfigError with file, path of the key and cause."""
    lists = convert(path, read(path), _File).list
    try:
        _check(lists)
    except Mistake as mistake:
        raise ConfigError(f"{path}: {mistake}") from None
    return lists


def _wanted(lists: tuple[Dnsbl, ...], path: Path, *, packaged: bool) -> Lists:
    wanted, keys = [], {}
    for number, dnsbl in enumerate(lists):
        if not dnsbl.enabled:
            continue
        if "{key}" in dnsbl.zone:
            if not dnsbl.key_file:
                continue
            keys[dnsbl.label] = _key(
                f"{path}: list[{number}].key_file", path.parent / Path(dnsbl.key_file).expanduser()
            )
        wanted.append(dnsbl)
    return Lists(tuple(wanted), keys, packaged)


def _key(where: str, path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{where}: "{path}" cannot be read: {error}') from error
    if not _KEY.fullmatch(key):
        raise ConfigError(f"{where}: the first line of {path} is no key; expected letters, digits, - and _")
    return key


def _check(lists: tuple[Dnsbl, ...]) -> None:
    known: dict[str, int] = {}
    for number, dnsbl in enumerate(lists):
        where = f"list[{number}]"
        if not _ZONE.fullmatch(dnsbl.zone) or len(dnsbl.zone) > 128:
            raise Mistake(f"{where}.zone", f'"{dnsbl.zone}" is no zone; expected one like "dnsbl.example.org"')
        if known.setdefault(dnsbl.label, number) != number:
            raise Mistake(f"{where}.zone", f'"{dnsbl.label}" is already the zone of list[{known[dnsbl.label]}]')
        if dnsbl.ipv6 and dnsbl.kind == "domain":
            raise Mistake(f"{where}.ipv6", 'means nothing for kind = "domain"')
        for key in ("weight", "per_second"):
            if not 0 <= getattr(dnsbl, key) <= 1000:
                raise Mistake(f"{where}.{key}", f"{getattr(dnsbl, key)} is not possible; expected 0 to 1000")
        for code, meaning in dnsbl.codes.items():
            if isinstance(meaning, Code) and meaning.weight is not None and not 0 <= meaning.weight <= 1000:
                raise Mistake(f"{where}.codes", f'weight of "{code}" is not possible; expected 0 to 1000')
        for key in ("codes", "errors"):
            for code in getattr(dnsbl, key):
                if not _sound(code):
                    raise Mistake(
                        f"{where}.{key}",
                        f'"{code}" is no answer of a list; expected "127.0.0.2", "127.0.1.0/24" or "&8"',
                    )
        for key in ("test_listed", "test_clean"):
            for entry in getattr(dnsbl, key):
                if dnsbl.kind == "ip" and not _is_address(entry):
                    raise Mistake(f"{where}.{key}", f'"{entry}" is no IP address')


def _sound(code: str) -> bool:
    try:
        if code.startswith("&"):
            return code[1:].isdecimal() and 1 <= int(code[1:]) <= 255
        return ipaddress.IPv4Network(code).subnet_of(_LOOPBACK)
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
