"""The tables of the configuration file that say where mail goes, and from which addresses."""

from __future__ import annotations

from typing import Literal

from outbound_guard.config.reading import Table


class Pool(Table, frozen=True):
    """[[delivery.pool]]: next hops that do the same work, and the addresses to send from."""

    name: str = "default"
    smarthosts: tuple[str, ...] = ()
    """HOST:PORT of the next hops; empty (direct only): the servers of each domain."""
    source_addresses: tuple[str, ...] = ()
    """Local addresses to send from, in turn; empty: the system picks. With direct, a kind (IPv4, IPv6) that has none is
    not used."""
    classes: tuple[Literal["trusted", "normal", "new", "bulk", "bounces", "forwarded", "doubtful"], ...] = ()
    """Classes of sender whose mail it carries. Those that no pool names go by the pool `default`, else by the first."""
    otherwise: tuple[str, ...] = ("*",)
    """Pools that its mail goes by if our addresses are refused here, or rest; `*`: those that carry such mail already,
    or worse. Empty: it waits in the queue."""
    helo: str = ""
    """Name in the greeting; empty: server.hostname."""
    tls: Literal["none", "opportunistic", "required"] = "opportunistic"
    """With `required` the certificate must be valid for the smarthost's name."""
    ca_file: str = ""
    """Certificates to trust; empty: the system's."""
    user: str = ""
    """Login for AUTH to the smarthosts; empty: no AUTH."""
    password_file: str = ""
    """File whose first line is the password for AUTH to the smarthosts."""
    connections: int = 50
    """At most so many connections per relay process and smarthost."""
    connect_seconds: float = 10.0
    reply_seconds: float = 300.0
    """RFC 5321 4.5.3.2 asks for minutes, not seconds."""


class Address(Table, frozen=True):
    """[[delivery.address]]: what is special about one of the `source_addresses`."""

    address: str
    helo: str = ""
    """Name in the greeting; empty: that of the pool."""
    weight: float = 1.0
    """Its share of the messages of a pool, against the weights of the others."""
    warm_up: str = ""
    """Its first day, YYYY-MM-DD (UTC): from then on it sends so many messages a day as `schedule` says, before then
    none. Empty: as many as there are."""
    schedule: tuple[int, ...] = ()
    """Messages of its first day, its second, ...; after the last there is no limit. Empty: `delivery.warm_up`."""


class Delivery(Table, frozen=True):
    """[delivery]"""

    mode: Literal["smarthost", "direct", "sink"] = "smarthost"
    """smarthost: to the pools; direct: to the MX of each domain; sink: into data_dir/sink, nothing leaves."""
    retry: tuple[float, ...] = (5, 30, 120, 600, 1800, 3600)
    """Seconds until the next try; the last repeats until expiry."""
    expiry: float = 432_000.0
    """Seconds after which a message that cannot be delivered is returned."""
    delay_warning: float = 14_400.0
    """Seconds after which the sender of a message that still waits is told so, once, unless a mailing list or a program
    has written it; 0: only who asks for that (NOTIFY=DELAY) is told."""
    port: int = 25
    """direct: of the mail servers of the world."""
    connections: int = 20
    """direct: at most so many for each process to one server, and to one destination."""
    patience: float = 20.0
    """direct: seconds a client waits for a message to get on its way; then it is queued, and the client gets 250."""
    feedback_id: str = ""
    """What identifies us in the Feedback-ID field of messages that we sign (5 to 15 letters and digits); empty: no such
    field."""
    private_networks: tuple[str, ...] = ()
    """direct: networks that are not of the internet, whose addresses the DNS may name as mail servers all the same."""
    # fmt: off
    warm_up: tuple[int, ...] = (
        50, 70, 100, 140, 200, 280, 400, 550, 800, 1_100, 1_500, 2_100, 3_000, 4_200, 6_000, 8_500, 12_000, 17_000,
        24_000, 34_000, 48_000, 67_000, 94_000, 130_000, 180_000, 250_000, 350_000, 500_000, 700_000, 1_000_000,
    )
    # fmt: on
    """Messages a day of a new address that has a `warm_up` and no schedule of its own: on its first day, its second and
    so on, two fifths more each day, for a month. After the last there is no limit."""
    pool: tuple[Pool, ...] = ()
    address: tuple[Address, ...] = ()
