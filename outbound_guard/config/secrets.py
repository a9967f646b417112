"""Who on this machine may read the secrets that a configuration names, and what lies in the data directory."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from outbound_guard.config.settings import Config

_ANYBODY = stat.S_IROTH | stat.S_IWOTH
_ANYBODY_IN = stat.S_IRWXG | stat.S_IRWXO


def exposed(config: Config) -> Iterator[str]:
    """A sentence for each secret file that every user of the machine may read, and for an open data directory.

    A group may be let in, as Debian does with private keys (`ssl-cert`). It is no mistake of the configuration, so that
    nothing is refused for it.
    """
    for where, path in _files(config):
        if _mode(path) & _ANYBODY:
            yield f"{where}: {path} can be read by every user of this machine; chmod 600 {path}"
    if _mode(config.data_dir) & _ANYBODY_IN:
        yield f"server.data_dir: {config.data_dir} is open to other users; chmod 700 {config.data_dir}"


def _files(config: Config) -> Iterator[tuple[str, Path]]:
    try:
        if urlsplit(config.ledger.url).password:
            yield "ledger.url", Path(config.path)
    except ValueError:
        pass
    named = [
        ("auth.passwords", config.auth.passwords),
        *((f"identity[{number}].keys", one.keys) for number, one in enumerate(config.identity)),
        ("state.password_file", config.state.password_file),
        ("state.sentinel_password_file", config.state.sentinel_password_file),
        ("state.private_key", config.state.private_key),
        ("console.private_key", config.console.private_key),
        ("console.oidc.client_secret_file", config.console.oidc.client_secret_file),
        *((f"listener[{number}].private_key", one.private_key) for number, one in enumerate(config.listener)),
        *((f"dkim[{number}].private_key", one.private_key) for number, one in enumerate(config.dkim)),
        *((f"panel[{number}].token_file", one.token_file) for number, one in enumerate(config.panel)),
        *(
            (f"delivery.pool[{number}].password_file", one.password_file)
            for number, one in enumerate(config.delivery.pool)
        ),
        *((f"notice[{number}].secret_file", one.secret_file) for number, one in enumerate(config.notice)),
        *((f"notice[{number}].authorization_file", one.authorization_file) for number, one in enumerate(config.notice)),
    ]
    yield from ((where, config.resolve(name)) for where, name in named if name)


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0
