"""The control panels of the configuration, as routes of the outbox."""

from __future__ import annotations

import functools
import ssl

from outbound_guard.app.parts import Parts
from outbound_guard.config import Config, ConfigError
from outbound_guard.config.panels import Panel
from outbound_guard.ledger.database import Ledger
from outbound_guard.notify.panels import carrier
from outbound_guard.notify.panels.reach import Reach
from outbound_guard.notify.reaching import Resolve
from outbound_guard.notify.routes import Route


def panel_routes(parts: Parts, ledger: Ledger, resolve: Resolve) -> list[Route]:
    """A route for each panel that is not off. Raises ConfigError."""
    return [
        Route(
            name=panel.name,
            carry=functools.partial(
                carrier.carry,
                carrier.Place(reach=reach_of(parts.config, panel, resolve), ledger=ledger, note=parts.journal.append),
            ),
            kinds=carrier.KINDS,
            accounts=panel.accounts,
            expiry=parts.config.notices.expiry,
        )
        for panel in parts.config.panel
        if panel.mode != "off"
    ]


def reach_of(config: Config, panel: Panel, resolve: Resolve) -> Reach:
    """How to speak to a panel. Raises ConfigError."""
    try:
        tls = ssl.create_default_context(cafile=str(config.resolve(panel.ca_file)) if panel.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{config.path}: panel {panel.name}: ca_file: {panel.ca_file}: {error}") from error
    return Reach(panel=panel, token_file=config.resolve(panel.token_file), tls=tls, resolve=resolve)
