"""The tables of the configuration file that say who is told what, and how."""

from __future__ import annotations

from typing import Literal

from outbound_guard.config.reading import Table

KINDS = (
    "suspended",
    "resumed",
    "held",
    "quarantined",
    "customer_released",
    "customer_reported",
    "case_opened",
    "case_step",
    "case_closed",
    "address_listed",
    "address_clean",
    "backlog",
)
"""What notices are about; ledger/outbox_records.py says what each means."""
FOR_CUSTOMERS = KINDS[:6]
"""What concerns an account, and is told to its contact."""
ABUSE = ("suspended", "held", "quarantined")
"""What can be reported as abuse, and told in the keys of MailChannels."""


class Notices(Table, frozen=True):
    """[notices]: what people and programs are told. Who is told what says [[notice]]; without one nobody is."""

    desk: str = ""
    """Address of your abuse desk, for `to = "desk"`; empty: `cases.contact`."""
    address: str = ""
    """From whom our letters are; empty: postmaster at server.hostname, whose key signs them."""
    language: str = "en"
    """Of letters: en, de, fr, es, it, pt, nl or pl."""
    retry: tuple[float, ...] = (10, 60, 300, 1800, 7200)
    """Seconds until the next try, more or less; the last repeats until expiry."""
    expiry: float = 172_800.0
    """Seconds after which a notice that cannot be sent is given up."""
    failures: int = 5
    """After so many failures in a row a route is left alone."""
    pause: float = 300.0
    """Seconds it is left alone for; then one notice tries it again."""
    backlog: int = 10_000
    """Messages in the queue of one machine from which on a notice of kind `backlog` is made, once a day; 0: none is."""


class NoticeRoute(Table, frozen=True):
    """[[notice]]: a route by which somebody is told."""

    name: str
    """In the outbox, metrics and commands."""
    carrier: Literal["webhook", "chat", "mail", "arf"]
    """webhook: a signed POST | chat: a POST of `{"text": ...}` | mail: a letter | arf: a report of abuse (RFC 5965)"""
    kinds: tuple[str, ...] = ()
    """What is told by it; empty: everything that fits."""
    accounts: tuple[str, ...] = ()
    """Accounts, or patterns (`*.example.net`), it is for; empty: all, and what concerns no account."""
    to: str = ""
    """Of mail and arf: `customer` (the account's contact in the directory), `desk`, or an address."""
    url: str = ""
    """Of webhook and chat."""
    form: Literal["own", "mailchannels", "template"] = "own"
    """Of webhook: our own JSON, the keys that receivers of MailChannels' notices know, or a template of yours."""
    template: str = ""
    """Of form = "template": a file with ${kind}, ${account} and other names in it; one that ends in .json is JSON."""
    secret_file: str = ""
    """Of webhook and chat: file whose first line is the key of the signature (HMAC-SHA256); empty: not signed."""
    authorization_file: str = ""
    """Of webhook and chat: file whose first line is the value of an Authorization field to send."""
    ca_file: str = ""
    """Certificates to trust; empty: the system's."""
    allow_private: bool = False
    """The URL may lead to addresses that are not of the internet, and may be http."""
    timeout: float = 10.0
    """Seconds for a try, all in all."""
    details: bool = False
    """Also tell what the decision was made on: reason, numbers, envelope sender, address of the client, Message-ID."""
    language: str = ""
    """Of mail; empty: that of [notices]."""
    html: bool = False
    """Of mail: also as simple HTML."""
    window: float = 900.0
    """Of mail: what happens to an account within so many seconds is one letter; 0: each is one."""
    most_per_day: int = 24
    """Of mail and arf: letters to one address in 24 hours; what is more waits, and comes together."""
