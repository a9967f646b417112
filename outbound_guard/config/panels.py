"""The tables of the configuration file about hosting control panels."""

from __future__ import annotations

from typing import Literal

from outbound_guard.config.reading import Table


class Panel(Table, frozen=True):
    """[[panel]]: a control panel that is told who is suspended, and who no longer is (docs/panels.md)."""

    name: str
    """In the audit, the outbox and commands."""
    kind: Literal["cpanel", "plesk", "directadmin"]
    url: str
    """Where its API is: `https://web1.example.net:2087` (WHM), `:8443` (Plesk), `:2222` (DirectAdmin)."""
    token_file: str
    """File whose first line is the API token (WHM), the secret key (Plesk) or the login key (DirectAdmin)."""
    user: str = "root"
    """Of cpanel and directadmin: whose token that is; for DirectAdmin mostly `admin`."""
    mode: Literal["off", "dry_run", "ask", "act"] = "dry_run"
    """dry_run: only questions are sent, the audit has the calls that would be made | ask: a person says so for each, by
    command or on the account's page | act: at once."""
    stop: Literal["suspend", "hold"] = "suspend"
    """suspend: outgoing mail is refused there | hold: it is kept in the server's queue, and sent later (of cpanel)."""
    whole_accounts: bool = True
    """Tell it of suspended accounts, not only of mailboxes. For DirectAdmin this would stop their web sites too, so it
    must say false there."""
    accounts: tuple[str, ...] = ()
    """Accounts, or patterns (`*.example.net`), it is told of; empty: all."""
    servers: tuple[str, ...] = ()
    """Names of servers (their logins, `relay-web1`), or patterns: it is told of senders whose mail came in by these
    last; empty: all."""
    limit: str = "default"
    """Of plesk: the limit of outgoing messages that is set again in the end: `default`, `-1` (none) or a number."""
    ca_file: str = ""
    """Certificates to trust; empty: the system's."""
    allow_private: bool = False
    """Its address may be one that is not of the internet, and the URL may be http."""
    timeout: float = 30.0
    """Seconds for each call."""
