"""The configuration file: every setting, its type, its default. Wrong input is refused with the path of the mistake."""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_T = TypeVar("_T")


class ConfigError(Exception):
    """The configuration cannot be used; the text says where the mistake is and what would be right."""


class _Table(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table of the file. Every key is optional unless it has no default."""


class Server(_Table, frozen=True):
    """[server]"""

    hostname: str = ""
    """Name in the greeting and in Received fields; empty: the machine's own name."""
    data_dir: str = "./data"
    relay_processes: int = 0
    """0: one per core."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Listener(_Table, frozen=True):
    """[[listener]]"""

    address: str = "127.0.0.1:2525"
    tls: Literal["none", "starttls", "implicit"] = "none"
    auth: Literal["none", "optional", "required"] = "none"
    trusted: tuple[str, ...] = ()
    """Networks that may relay without AUTH."""
    proxy_protocol: tuple[str, ...] = ()
    """Networks that may send a PROXY header."""
    xclient: tuple[str, ...] = ()
    """Networks that may use XCLIENT."""
    certificate: str = ""
    private_key: str = ""


class Auth(_Table, frozen=True):
    """[auth]"""

    passwords: str = ""
    """File with lines `user:hash`, argon2 or bcrypt."""
    server_logins: tuple[str, ...] = ()
    """Patterns (`relay-*`) of logins that belong to MTAs: they name a server, not a sender."""


class Identity(_Table, frozen=True):
    """[[identity]]: where the sender can be read. The first rule that yields one wins."""

    from_: str = msgspec.field(name="from")
    """sasl | header:NAME | mail_from | client_ip"""
    trusted: tuple[str, ...] = ()
    """Networks that may assert it, besides `server_logins`."""
    pattern: str = ""
    """Regular expression; its first group is the sender."""
    strip: bool = True
    """Remove the header before relaying (never done to Received)."""


class Limits(_Table, frozen=True):
    """[limits]: of the SMTP sessions."""

    message_size: int = 52_428_800
    recipients: int = 1000
    connections: int = 10_000
    connections_per_address: int = 200
    idle_seconds: float = 300.0
    data_seconds: float = 600.0
    """Longest time one message may take to arrive."""
    errors: int = 20
    """Wrong commands until the session is closed."""
    auth_tries: int = 10
    hops: int = 50
    """Received fields from which on a message is taken to be in a loop (RFC 5321 6.3)."""


class State(_Table, frozen=True):
    """[state]: counters, in Redis or Valkey."""

    url: str = "embedded"
    """embedded | redis:// | rediss:// | unix:// | redis+sentinel:// | redis+cluster://"""
    max_memory: int = 1_073_741_824
    """Octets the embedded server may use."""
    timeout: float = 0.5
    """Seconds until a call is given up and mail goes on without memory."""


class Ledger(_Table, frozen=True):
    """[ledger]: what happened, in SQL."""

    url: str = "embedded"
    """embedded (SQLite in data_dir) | postgresql://..."""
    keep_days: int = 30
    """Days a decision is kept."""


class Spool(_Table, frozen=True):
    """[spool]: messages at rest."""

    free_bytes: int = 268_435_456
    """Below this much free disk, new messages that would need the spool are answered 452."""
    hold_expiry: float = 604_800.0
    """Seconds after which a message that waits for a person is returned to its sender."""


class Pool(_Table, frozen=True):
    """[[delivery.pool]]: next hops that do the same work, and the addresses to send from."""

    name: str = "default"
    smarthosts: tuple[str, ...] = ()
    source_addresses: tuple[str, ...] = ()
    tls: Literal["none", "opportunistic", "required"] = "opportunistic"
    """With `required` the certificate must be valid for the smarthost's name."""
    ca_file: str = ""
    """Certificates to trust; empty: the system's."""
    user: str = ""
    password_file: str = ""
    """File whose first line is the password for AUTH to the smarthosts."""
    connections: int = 50
    """At most so many connections per relay process and smarthost."""
    connect_seconds: float = 10.0
    reply_seconds: float = 300.0
    """RFC 5321 4.5.3.2 asks for minutes, not seconds."""


class Delivery(_Table, frozen=True):
    """[delivery]"""

    mode: Literal["smarthost", "direct", "sink"] = "smarthost"
    retry: tuple[float, ...] = (5, 30, 120, 600, 1800, 3600)
    """Seconds until the next try; the last repeats until expiry."""
    expiry: float = 432_000.0
    pool: tuple[Pool, ...] = ()


class PolicyFile(_Table, frozen=True):
    """[policy]"""

    file: str = ""
    mode: Literal["enforce", "observe"] = "enforce"


class Dns(_Table, frozen=True):
    """[dns]"""

    resolvers: tuple[str, ...] = ()


class Blocklist(_Table, frozen=True):
    """[blocklist]"""

    file: str = ""
    addresses: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


class Console(_Table, frozen=True):
    """[console]"""

    address: str = "127.0.0.1:8080"


class Metrics(_Table, frozen=True):
    """[metrics]"""

    address: str = "127.0.0.1:9109"
    """Empty: none."""


PACKAGED_IDENTITY = (
    Identity(from_="sasl"),
    Identity(from_="header:X-PHP-Originating-Script"),
    Identity(from_="header:X-AuthUser"),
    Identity(from_="header:X-Authenticated-Sender"),
    Identity(from_="header:X-Get-Message-Sender-Via"),
    Identity(from_="header:X-PPP-Vhost"),
    Identity(from_="header:Received", pattern=r"Authenticated sender: (\S+?)\)"),
    Identity(from_="header:Received", pattern=r"from userid (\d+)\)"),
    Identity(from_="mail_from"),
    Identity(from_="client_ip"),
)


class Config(_Table, frozen=True):
    """The whole file."""

    server: Server = Server()
    listener: tuple[Listener, ...] = ()
    auth: Auth = Auth()
    identity: tuple[Identity, ...] = PACKAGED_IDENTITY
    limits: Limits = Limits()
    state: State = State()
    ledger: Ledger = Ledger()
    spool: Spool = Spool()
    delivery: Delivery = Delivery()
    policy: PolicyFile = PolicyFile()
    dns: Dns = Dns()
    blocklist: Blocklist = Blocklist()
    console: Console = Console()
    metrics: Metrics = Metrics()

    path: str = ""
    """Where the file lies; set by `load`, refused in the file."""

    @property
    def data_dir(self) -> Path:
        """The data directory as an absolute path."""
        return self.resolve(self.server.data_dir)

    def resolve(self, name: str) -> Path:
        """A path of the file: relative ones start at the file's folder."""
        return (Path(self.path).parent / Path(name).expanduser()).absolute()


class Thresholds(_Table, frozen=True):
    """[threshold]: what a sum of evidence (nats) leads to."""

    watch: float = 3.0
    hold: float = 6.0
    quarantine: float = 9.0
    suspend: float = 12.0


class Hold(_Table, frozen=True):
    """[hold]"""

    wait: float = 900.0
    """Seconds until a message held on suspicion is looked at again."""
    longest: float = 21_600.0
    """Seconds after which a hold about volume alone drains, and any other hold waits for a person."""


class Defer(_Table, frozen=True):
    """[defer]"""

    retry_after: float = 900.0
    """Seconds named in the reply."""


class Limit(_Table, frozen=True):
    """Messages and recipients one account or sender may send; 0: no limit."""

    messages_per_minute: int = 0
    messages_per_hour: int = 0
    messages_per_day: int = 0
    recipients_per_minute: int = 0
    recipients_per_hour: int = 0
    recipients_per_day: int = 0

    def under(self, outer: Limit) -> Limit:
        """This limit where it says something, else `outer`'s."""
        return Limit(**{f: getattr(self, f) or getattr(outer, f) for f in self.__struct_fields__})


class LimitTables(_Table, frozen=True):
    """[limit]: the provider's own; accounts and senders can have others."""

    action: Literal["defer", "hold"] = "defer"
    account: Limit = Limit(recipients_per_hour=5_000, recipients_per_day=50_000)
    sender: Limit = Limit(recipients_per_hour=3_000, recipients_per_day=30_000)


class Allow(_Table, frozen=True):
    """[[allow]]: a rule that exempts senders until a date. All conditions given must hold."""

    reason: str
    until: str
    """Last day, YYYY-MM-DD."""
    account: str = ""
    sender: str = ""
    server: str = ""
    mail_from: str = ""
    """Patterns with `*`."""


class Quarantine(_Table, frozen=True):
    """[quarantine]"""

    samples: int = 20
    """Messages kept per convicted sender and campaign; what comes after is refused."""


class Policy(_Table, frozen=True):
    """The policy file: how the weights of evidence become actions. Reloaded on SIGHUP."""

    threshold: Thresholds = Thresholds()
    hold: Hold = Hold()
    defer: Defer = Defer()
    limit: LimitTables = LimitTables()
    quarantine: Quarantine = Quarantine()
    allow: tuple[Allow, ...] = ()
    signal: dict[str, dict[str, Any]] = {}
    """One table a signal; what may stand in it is the signal's own business (signals/__init__.py)."""


def find(named: str | None) -> Path | None:
    """The configuration file to use: `named`, else $OUTBOUND_GUARD_CONFIG, ./config/, /etc/outbound-guard/; or None."""
    if named:
        return Path(named)
    if os.environ.get("OUTBOUND_GUARD_CONFIG"):
        return Path(os.environ["OUTBOUND_GUARD_CONFIG"])
    for place in (Path("config/outbound-guard.toml"), Path("/etc/outbound-guard/outbound-guard.toml")):
        if place.is_file():
            return place
    return None


def load(path: Path) -> Config:
    """Read and check the configuration file. Raises ConfigError with file, path of the key and cause."""
    table = _read(path)
    if "path" in table:
        raise ConfigError(f"{path}: unknown key `path`")
    table["path"] = str(path.absolute())
    config = _convert(path, table, Config)
    _check(path, config)
    return config


def load_policy(path: Path) -> Policy:
    """Read and check a policy file. Raises ConfigError with file, path of the key and cause."""
    return _convert(path, _read(path), Policy)


def policy_of(config: Config) -> Policy:
    """The policy that the configuration names, or the packaged one."""
    return load_policy(config.resolve(config.policy.file)) if config.policy.file else Policy()


def host_port(address: str) -> tuple[str, int]:
    """("127.0.0.1", 2525) from "127.0.0.1:2525", ("::1", 25) from "[::1]:25". Raises ValueError."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]]+)):(\d{1,5})", address)
    if not found or int(found[3]) > 65535:
        raise ValueError(f"{address!r} is not HOST:PORT or [IPV6]:PORT")
    return found[1] or found[2], int(found[3])


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks or single addresses, parsed. Raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def contains(nets: tuple[Network, ...], address: str) -> bool:
    """True if `address` lies in one of the networks; an IPv4-mapped IPv6 address counts as IPv4."""
    if not nets:
        return False
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return any(ip.version == net.version and ip in net for net in nets)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 at octet {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error


def _convert(path: Path, table: dict[str, Any], type_: type[_T]) -> _T:
    try:
        return msgspec.convert(table, type_)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_readable(str(error))}") from error


def _readable(message: str) -> str:
    """msgspec's message with the path in front, as it stands in the file: `listener[0].tls: Invalid enum value`."""
    what, _, where = message.partition(" - at `$")
    where = where.rstrip("`").lstrip(".")
    return f"{where}: {what}" if where else what


def _check(path: Path, config: Config) -> None:
    """What types cannot say. Raises ConfigError."""
    if config.delivery.mode == "smarthost" and not any(pool.smarthosts for pool in config.delivery.pool):
        raise ConfigError(
            f'{path}: delivery: mode is "smarthost", but no [[delivery.pool]] names a smarthost; '
            'name one, or say mode = "sink" to write mail to data_dir/sink instead of sending it'
        )
