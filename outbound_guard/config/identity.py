"""Where the sender can be read: the identity rules of the configuration file, and those that apply without any."""

from __future__ import annotations

from typing import Literal

import msgspec

from outbound_guard.config.reading import Table


class Identity(Table, frozen=True):
    """[[identity]]: where the sender can be read. The first rule that yields one wins."""

    from_: str = msgspec.field(name="from")
    """sasl | header:NAME | signed:NAME | mail_from | client_ip"""
    trusted: tuple[str, ...] = ()
    """Networks that may assert it, besides `server_logins`."""
    pattern: str = ""
    """Regular expression; its first group is the sender."""
    strip: bool = True
    """Remove the header before relaying (never done to Received)."""
    when: Literal["auto", "always"] = "auto"
    """auto: the header is believed only if the topmost Received field says that the message came in the way for which
    servers write it; always: however it came in (for a header that your servers set, or remove, on all mail)."""
    keys: str = ""
    """Of signed:NAME: file with lines `KEYID:SECRET`, or `KEYID:SECRET:ACCOUNT,ACCOUNT...` with the accounts that this
    key may speak for (`*` for any part of a name); read again when it changes."""
    life: float = 3600.0
    """Of signed:NAME: seconds for which a signature holds."""


# The order says whom we believe first. What the server itself wrote into the topmost Received field cannot be forged by
# the people whose mail it carries, so that goes first. Then the headers about a login, which the server adds: its word
# on a login is worth more than PHP's word on a script, which is written with the rights of whoever wrote the script.
# (Mostly the order between the two does not matter: the topmost Received says how the message came in, and only one of
# them can be true then. It matters for servers that write no such field, and there webmail, which logs in and also
# carries `X-PHP-Originating-Script: 0:rcube.php`, must be the mailbox and not everybody's script.) X-PPP-Vhost names
# only the domain, so it comes after what names the mailbox; the bare system user comes after what names its script.
PACKAGED_IDENTITY = (
    Identity(from_="sasl"),
    Identity(from_="header:Received", pattern=r"Authenticated sender: (\S+?)\)"),
    Identity(from_="header:X-AuthUser"),
    Identity(from_="header:X-Authenticated-Sender"),
    Identity(from_="header:X-Get-Message-Sender-Via"),
    Identity(from_="header:X-SmarterMail-Authenticated-As"),
    Identity(from_="header:X-PPP-Vhost"),
    Identity(from_="header:X-PHP-Originating-Script"),
    Identity(from_="header:X-PHP-Script"),
    Identity(from_="header:X-Source-Args"),
    Identity(from_="header:Received", pattern=r"(?:from userid|invoked by uid) (\d+)\)"),
    Identity(from_="header:Received", pattern=r"^\(?from\s+(\S+?)(?:@localhost\)|\s+by\s+\S+\s+with\s+local)"),
    Identity(from_="mail_from"),
    Identity(from_="client_ip"),
)
