"""The configuration: two TOML files, the settings (restart) and the policy (SIGHUP). Wrong input is refused.

A mistake raises ConfigError with `FILE: path.to[0].key: what is wrong; what would be right`.
"""

from __future__ import annotations

import os
from pathlib import Path

from outbound_guard.config.addresses import Network, contains, host_port, networks
from outbound_guard.config.checks import check, check_policy
from outbound_guard.config.console import Console
from outbound_guard.config.delivery import Address, Delivery, Pool
from outbound_guard.config.identity import PACKAGED_IDENTITY, Identity
from outbound_guard.config.policy import (
    Allow,
    Defer,
    Hold,
    Limit,
    LimitTables,
    Policy,
    Probation,
    Quarantine,
    Thresholds,
)
from outbound_guard.config.reading import ConfigError, Mistake, convert, read
from outbound_guard.config.settings import (
    Auth,
    Blocklist,
    Cases,
    Config,
    Customers,
    Dkim,
    Dns,
    Ledger,
    Limits,
    Listener,
    Metrics,
    PolicyFile,
    Recording,
    Scanner,
    Server,
    Spool,
    State,
)
from outbound_guard.config.state_url import state_url

__all__ = [
    "PACKAGED_IDENTITY",
    "Address",
    "Allow",
    "Auth",
    "Blocklist",
    "Cases",
    "Config",
    "ConfigError",
    "Console",
    "Customers",
    "Defer",
    "Delivery",
    "Dkim",
    "Dns",
    "Hold",
    "Identity",
    "Ledger",
    "Limit",
    "LimitTables",
    "Limits",
    "Listener",
    "Metrics",
    "Mistake",
    "Network",
    "Policy",
    "PolicyFile",
    "Pool",
    "Probation",
    "Quarantine",
    "Recording",
    "Scanner",
    "Server",
    "Spool",
    "State",
    "Thresholds",
    "check_policy",
    "contains",
    "convert",
    "find",
    "host_port",
    "load",
    "load_policy",
    "networks",
    "policy_of",
    "pools_of",
    "state_url",
]


PLACES = (Path("config/outbound-guard.toml"), Path("/etc/outbound-guard/outbound-guard.toml"))
"""Where a configuration is looked for, in this order, if none is named."""


def find(named: str | None) -> Path | None:
    """The configuration file to use: `named`, else $OUTBOUND_GUARD_CONFIG, ./config/, /etc/outbound-guard/; or None."""
    if named:
        return Path(named)
    if os.environ.get("OUTBOUND_GUARD_CONFIG"):
        return Path(os.environ["OUTBOUND_GUARD_CONFIG"])
    for place in PLACES:
        if place.is_file():
            return place
    return None


def load(path: Path) -> Config:
    """Read and check the configuration file. Raises ConfigError with file, path of the key and cause."""
    table = read(path)
    if "path" in table:
        raise ConfigError(f"{path}: path: unknown key")
    table["path"] = str(path.absolute())
    config = convert(path, table, Config)
    try:
        check(config)
    except Mistake as mistake:
        raise ConfigError(f"{path}: {mistake}") from None
    return config


def load_policy(path: Path) -> Policy:
    """Read and check a policy file. Raises ConfigError with file, path of the key and cause."""
    policy = convert(path, read(path), Policy)
    try:
        check_policy(policy)
    except Mistake as mistake:
        raise ConfigError(f"{path}: {mistake}") from None
    return policy


def pools_of(config: Config) -> tuple[str, ...]:
    """The names of the egress pools, in the order of the configuration."""
    return tuple(pool.name for pool in config.delivery.pool) or (
        (Pool().name,) if config.delivery.mode == "direct" else ()
    )


def policy_of(config: Config) -> Policy:
    """The policy that the configuration names, or the packaged one."""
    return load_policy(config.resolve(config.policy.file)) if config.policy.file else Policy()
