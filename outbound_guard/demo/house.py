"""The demo's installation: a configuration for the product as it is, on loopback alone, in a folder of its own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

import bcrypt
import msgspec

from outbound_guard import durable
from outbound_guard.config import host_port
from outbound_guard.demo.provider import MAIL, PROVIDER, WEB
from outbound_guard.demo.receivers import REPORTS

GUARD = f"guard.{PROVIDER}"
FILE = "outbound-guard.toml"
POOLS = {
    "good": (("trusted", "normal"), ("127.51.100.10", "127.51.100.11")),
    "mass": (("new", "bulk"), ("127.51.100.20", "127.51.100.21")),
    "doubtful": (("doubtful", "forwarded", "bounces"), ("127.51.100.30", "127.51.100.31")),
}
"""Classes and source addresses of each pool. All of 127/8 is this machine itself (RFC 1122 3.2.1.3)."""
FROM = {"mail1": "127.51.0.11", "mail2": "127.51.0.12", "web1": "127.51.0.21", "web2": "127.51.0.22"}
"""From where the provider's servers speak to us."""
TRAPS, REPORTED, RANGES = "traps.lists.example", "reported.lists.example", "ranges.lists.example"
"""Zones of the demo's blocklists."""
_HASHING = 4
"""The cheapest cost of bcrypt: the password is random, and lives as long as the demo."""

_CONFIGURATION = """\
# The configuration that the demo runs the product with. Nothing in it leaves this machine.
[server]
hostname = {guard}
data_dir = "data"
relay_processes = 1
[[listener]]
address = {smtp}
auth = "required"
[auth]
passwords = "passwords"
server_logins = {logins}
[state]
max_memory = 268435456
[delivery]
retry = [15, 60, 300]
{pools}
[policy]
file = "policy.toml"
[dns]
resolvers = {resolvers}
[blocklist]
file = "blocklists.toml"
resolvers = {resolvers}
domains = [{provider}]
interval = 10
per_second_per_list = 50
[cases]
organisation = "Example Hosting"
contact = "abuse@{plain}"
[feedback]
address = "127.0.0.1:0"
recipients = [{reports}]
[spool]
free_bytes = 10000000
[console]
address = {console}
[metrics]
address = {metrics}
"""
_POOL = """\
[[delivery.pool]]
name = {name}
classes = {classes}
smarthosts = [{smarthost}]
source_addresses = {addresses}
tls = "none"
"""
_LISTS = f"""\
# The demo's own blocklists, answered by its own name server.
[[list]]
zone = "{TRAPS}"
name = "Trap List"
weight = 2.0
codes = {{ "127.0.0.2" = "sent to a spam trap" }}
policy = "Lists an address that has sent to a spam trap. Ends a week after the last such message, or on request."
lookup = "https://traps.lists.example/{{subject}}"
removal = "https://traps.lists.example/remove"
[[list]]
zone = "{REPORTED}"
name = "Reported Senders"
codes = {{ "127.0.0.2" = "recipients have complained" }}
[[list]]
zone = "{RANGES}"
name = "Ranges"
scope = "range"
weight = 0.5
codes = {{ "127.0.0.3" = "a range without reverse names" }}
"""


class House(msgspec.Struct, frozen=True):
    """Where it is, and the secrets of this run."""

    config: Path
    password: str
    """Of the provider's servers."""


class Ports(msgspec.Struct, frozen=True):
    """What it listens on; port 0: the system chooses one."""

    smtp: str = "127.0.0.1:0"
    console: str = "127.0.0.1:0"
    metrics: str = "127.0.0.1:0"


def build(folder: Path, ports: Ports, smarthost: str, resolvers: Sequence[str]) -> House:
    """Write everything into `folder`, which exists. `smarthost`, `resolvers`: HOST:PORT. Raises OSError, ValueError.

    ValueError: an address is not one of this machine's own.
    """
    for address in (ports.smtp, ports.console, ports.metrics):
        host, _ = host_port(address)
        if not host.startswith("127.") and host not in ("::1", "localhost"):
            raise ValueError(f"{address}: the demo listens on loopback alone, for example 127.0.0.1:8080")
    pools = "".join(
        _POOL.format(
            name=json.dumps(name),
            classes=json.dumps(classes),
            smarthost=json.dumps(smarthost),
            addresses=json.dumps(addresses),
        )
        for name, (classes, addresses) in POOLS.items()
    )
    password = secrets.token_urlsafe(24)
    hash_ = bcrypt.hashpw(password.encode(), bcrypt.gensalt(_HASHING)).decode()
    texts = {
        "passwords": "".join(f"{name}:{hash_}\n" for name in (*MAIL, *WEB)),
        "blocklists.toml": _LISTS,
        "policy.toml": "# Everything at its packaged value; the console changes this file.\n",
        FILE: _CONFIGURATION.format(
            guard=json.dumps(GUARD),
            smtp=json.dumps(ports.smtp),
            console=json.dumps(ports.console),
            metrics=json.dumps(ports.metrics),
            logins=json.dumps([*MAIL, *WEB]),
            resolvers=json.dumps(resolvers),
            provider=json.dumps(PROVIDER),
            plain=PROVIDER,
            reports=json.dumps(REPORTS),
            pools=pools,
        ),
    }
    for name, text in texts.items():
        durable.write(folder / name, [text.encode()], sync=False)
    return House(folder / FILE, password)
