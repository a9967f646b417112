"""The last findings about reverse DNS, greeting and SPF of our addresses, kept in a file of the data directory.

They are found anew every hour and after every start, so they need no place in the ledger; the file tells the other
commands of this machine, and since when something has been so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from outbound_guard import durable
from outbound_guard.blocklist.identity import Identity


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was found about one address."""

    identity: Identity
    since: float
    """Unix seconds since when these are its problems, as far as we have seen."""
    time: float
    """When it was looked at last."""


class Findings(msgspec.Struct, frozen=True):
    """Of all addresses that are looked at."""

    found: dict[str, Found] = {}
    """By address."""

    @property
    def time(self) -> float:
        """When the last look was; 0: never."""
        return max((one.time for one in self.found.values()), default=0.0)


def path_of(data_dir: Path) -> Path:
    """Where they lie."""
    return data_dir / "blocklist" / "identity.json"


def load(data_dir: Path) -> Findings:
    """Those of the last look; empty if there was none, or if they cannot be read."""
    try:
        return msgspec.json.decode(path_of(data_dir).read_bytes(), type=Findings)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Findings()


def keep(data_dir: Path, findings: Findings) -> None:
    """Have them in the file. Raises OSError."""
    path = path_of(data_dir)
    durable.make_directories(path.parent)
    # A file that is found anew every hour need not survive a power cut.
    durable.write(path, [msgspec.json.encode(findings)], sync=False)


def merged(
    before: Findings, identities: Iterable[Identity], now: float, *, only: Mapping[str, object] | None = None
) -> Findings:
    """The findings with these new ones; `only` (keys: addresses) says which of the others stay, None: all do."""
    found = {address: one for address, one in before.found.items() if only is None or address in only}
    for identity in identities:
        old = before.found.get(identity.address)
        same = old is not None and old.identity.problems == identity.problems
        since = old.since if old is not None and same else now
        found[identity.address] = Found(identity=identity, since=since, time=now)
    return Findings(found)
