"""The tables of the configuration file: every setting, its type, its default."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from outbound_guard.config.console import Console
from outbound_guard.config.delivery import Delivery
from outbound_guard.config.identity import PACKAGED_IDENTITY, Identity
from outbound_guard.config.notices import NoticeRoute, Notices
from outbound_guard.config.panels import Panel
from outbound_guard.config.reading import Table


class Server(Table, frozen=True):
    """[server]"""

    hostname: str = ""
    """Name in the greeting and in Received fields; empty: the machine's own name."""
    node: str = ""
    """Name of this host among those that share a ledger; empty: hostname. No two may have the same."""
    data_dir: str = "./data"
    """Spool, ledger, state, journal and run files lie here."""
    relay_processes: int = 0
    """0: one per core."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Of program messages; the mail log is always whole."""


class Listener(Table, frozen=True):
    """[[listener]]"""

    address: str = "127.0.0.1:2525"
    """HOST:PORT, [IPV6]:PORT for IPv6; port 0: one the system picks."""
    tls: Literal["none", "starttls", "implicit"] = "none"
    auth: Literal["none", "optional", "required"] = "none"
    trusted: tuple[str, ...] = ()
    """Networks that may relay without AUTH."""
    proxy_protocol: tuple[str, ...] = ()
    """Networks of load balancers: each connection from there must begin with a PROXY header (version 1 or 2)."""
    xclient: tuple[str, ...] = ()
    """Networks that may use XCLIENT: what they say about their clients and their logins is believed."""
    certificate: str = ""
    """PEM file, chain included; needed for TLS. Read again when it changes."""
    private_key: str = ""
    """PEM file."""


class Auth(Table, frozen=True):
    """[auth]"""

    passwords: str = ""
    """File with lines `user:hash`, argon2 or bcrypt; read again when it changes."""
    server_logins: tuple[str, ...] = ()
    """Patterns (`relay-*`) of logins that belong to MTAs: they name a server, not a sender."""
    tries_per_address: int = 50
    """Wrong passwords from one address (IPv6: one /64) within `tries_seconds`, from which on AUTH is answered 454."""
    tries_per_login: int = 20
    """The same for one login, from all addresses that have not logged in with it before."""
    tries_seconds: float = 3600.0


class Limits(Table, frozen=True):
    """[limits]: of the SMTP sessions."""

    message_size: int = 52_428_800
    """Octets."""
    recipients: int = 1000
    """Of one message; the ones beyond are answered 452."""
    connections: int = 10_000
    """At once, for each relay process, all listeners together."""
    connections_per_address: int = 200
    """At once, for each relay process; of IPv6 from one /64."""
    memory: int = 134_217_728
    """Octets of messages in memory, for each relay process. Large ones go to disk while they arrive; beyond it new ones
    are answered 452."""
    header_size: int = 524_288
    """Octets of a message's header section; at most 524288. With more than 2,000 fields it is refused at any size."""
    commands: int = 200
    """Commands in a row that bring no message nearer (EHLO, RSET, NOOP, VRFY ...) until the session is closed."""
    idle_seconds: float = 300.0
    """Until a session is closed with 421: for each command line as a whole, and for a silence inside a message."""
    data_seconds: float = 600.0
    """Longest time one message may take to arrive."""
    errors: int = 20
    """Wrong commands until the session is closed."""
    auth_tries: int = 10
    """Failed AUTH commands until the session is closed."""
    hops: int = 50
    """Received fields from which on a message is taken to be in a loop (RFC 5321 6.3)."""


class State(Table, frozen=True):
    """[state]: counters, in Redis or Valkey."""

    url: str = "embedded"
    """embedded | redis://HOST:PORT/N | unix:///PATH | redis+sentinel://HOST:PORT,.../SERVICE | redis+cluster://HOST:PORT,...;
    over TLS rediss:// | rediss+sentinel:// | rediss+cluster://"""
    password_file: str = ""
    """File whose first line is the password. The user, if it has one, stands in url: redis://USER@HOST:PORT."""
    sentinel_password_file: str = ""
    """The same of the sentinels, if they want one of their own."""
    ca_file: str = ""
    """Certificates to trust, for TLS; empty: the system's. The server's certificate must be for its host in url, in a
    cluster for the address by which the servers name each other."""
    certificate: str = ""
    """PEM file with a certificate of our own, if the server wants one."""
    private_key: str = ""
    """PEM file with its key."""
    max_memory: int = 1_073_741_824
    """Octets the embedded server may use."""
    timeout: float = 0.5
    """Seconds until a call is given up and mail goes on without memory."""


class Ledger(Table, frozen=True):
    """[ledger]: what happened, in SQL."""

    url: str = "embedded"
    """embedded (SQLite in data_dir) | postgresql://USER@HOST:PORT/DATABASE, with what libpq knows behind it:
    ?sslmode=verify-full&passfile=/etc/outbound-guard/ledger.pass"""
    keep_days: int = 30
    """Days a decision is kept. How long everything else is kept says [retention]."""


class Retention(Table, frozen=True):
    """[retention]: days for which the ledger keeps what is not a decision; 0: for ever. What is held now stays."""

    deliveries: int = 30
    """Tries to deliver, and their answers; never fewer days than the decisions they belong to (`ledger.keep_days`)."""
    held: int = 30
    """Messages that were held, and what became of them; at least `ledger.keep_days` too."""
    audit: int = 0
    """Who did what, and why."""
    standings: int = 0
    """The history of suspensions, limits, exemptions, pins and classes; those in force stay."""
    listings: int = 0
    """When our addresses and domains were listed where."""
    cases: int = 0
    """Cases, from their end on."""
    traffic: int = 400
    """Numbers of messages by hour and account."""
    notices: int = 30
    """What was told to whom, and how that went."""


class Spool(Table, frozen=True):
    """[spool]: messages at rest."""

    free_bytes: int = 268_435_456
    """Below this much free disk, new messages that would need the spool are answered 452."""
    hold_expiry: float = 604_800.0
    """Seconds after which a message that waits for a person is returned to its sender."""
    hold_warning: float = 86_400.0
    """So many seconds before that end, the console, the mail log and a metric say that it comes; 0: they do not."""


class Dkim(Table, frozen=True):
    """[[dkim]]: a key to sign with, for messages whose From is in this domain and whose account owns it. A domain may
    have several."""

    domain: str
    selector: str
    """The public key stands in the DNS at SELECTOR._domainkey.DOMAIN."""
    private_key: str
    """PEM file: RSA or Ed25519, without passphrase."""


class PolicyFile(Table, frozen=True):
    """[policy]"""

    file: str = ""
    """Empty: the packaged policy."""
    model: str = ""
    """Content model, as `outbound-guard train` makes it; empty: the packaged one."""
    model_texts: int = 4096
    """Texts of which a relay process keeps what the content model said, so that the copies of a mailing are not read
    one by one; 0: every message is read."""
    mode: Literal["enforce", "observe"] = "enforce"
    """observe: scores and records everything, changes no reply and holds nothing."""
    learn: bool = True
    """What people decide about held mail adapts the weights of the signals. Without it nothing is learned, and what was
    learned has no effect."""


class Recording(Table, frozen=True):
    """[recording]: the traffic, kept as a trace that `outbound-guard replay` reads."""

    enabled: bool = False
    directory: str = ""
    """Where it lies; empty: `recording` in data_dir."""
    content: bool = False
    """Keep whole messages. Without it their header sections are kept, and what their texts said as evidence."""
    keep_days: int = 14
    """Days it is kept, also after it was switched off."""
    max_bytes: int = 10_737_418_240
    """Octets of all of it; the oldest days go first, then the rest of the day is left out."""


class Dns(Table, frozen=True):
    """[dns]"""

    resolvers: tuple[str, ...] = ()
    """ADDRESS:PORT; empty: those of the system."""
    validating: bool = False
    """They validate DNSSEC, and nobody is between them and us: mail servers are known by TLSA records (DANE)."""


class Blocklist(Table, frozen=True):
    """[blocklist]"""

    file: str = ""
    """The lists to ask; empty: the packaged ones."""
    channels: str = ""
    """The official channels of receivers and lists; empty: the packaged ones."""
    addresses: tuple[str, ...] = ()
    """Own addresses and networks to watch, besides those of the pools."""
    domains: tuple[str, ...] = ()
    """Own domains to watch."""
    customers: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 -- msgspec gives every instance its own.
    """Addresses, networks and domains of customers who send by themselves, by account. They are watched too."""
    resolvers: tuple[str, ...] = ()
    """ADDRESS:PORT of the name servers to ask lists through; empty: those of [dns]. Many lists refuse public ones."""
    interval: float = 3600.0
    """Seconds from one round to the next, at most: so long it takes until a listing is found. 0: nothing is watched."""
    per_second: float = 200.0
    """Questions a second, on average: to all lists together."""
    per_second_per_list: float = 5.0
    """Questions a second, on average: to one list, unless its own entry in the file says otherwise."""
    rest_weight: float = 2.0
    """Weight of listings from which on a source address rests: its pool uses the others. 0: none ever does."""
    rest_clean: float = 86_400.0
    """Seconds without such listings until it is used again."""


class Cases(Table, frozen=True):
    """[cases]: listings of own addresses, and refusals of them, worked through to their end."""

    clean_days: int = 7
    """Days without a listing or refusal until a case is confirmed to be over."""
    reopen_days: int = 30
    """Days after its end within which a new listing opens the same case again."""
    refusals: int = 10
    """Messages that one receiver refuses because of our address within `refusal_seconds`, until that is a case."""
    refusal_seconds: float = 3600.0
    original_days: int = 30
    """Days the unredacted originals of letters are kept, apart from everything else."""
    original_readers: tuple[str, ...] = ()
    """Logins of those who may read them, of users of the console as `console:NAME`; empty: nobody may."""
    organisation: str = ""
    """In whose name drafts are written; empty: that of server.hostname."""
    contact: str = ""
    """Address of your abuse desk, for drafts: a role address such as abuse@example.net, not a person's."""
    language: str = "en"
    """Of drafts to customers, unless another is asked for. Letters to list operators are in English."""
    texts: str = ""
    """Folder with texts of your own, LANGUAGE/NAME.txt; what is not there is taken from the packaged ones."""


class Scanner(Table, frozen=True):
    """[[scanner]]: another filter whose opinion is asked for. Without such a table none is."""

    kind: Literal["rspamd", "spamassassin", "clamav", "uribl"]
    """rspamd: its normal worker, by HTTP | spamassassin: spamd | clamav: clamd | uribl: a blocklist of domains in the
    DNS, asked about the links."""
    name: str = ""
    """As in reasons and metrics; empty: the kind. Two scanners need two names."""
    address: str = ""
    """HOST:PORT or unix:PATH; not for uribl. The content goes there unencrypted."""
    zone: str = ""
    """Of uribl: the zone to ask in."""
    codes: dict[str, str] = {}  # noqa: RUF012 -- msgspec gives every instance its own.
    """Of uribl: which answers count, and what they mean: `"127.0.1.2"`, `"127.0.1.0/24"` or a bit of the last octet,
    `"&8"`. Empty: every one in 127/8. 127.0.0.1 and 127.255.255.x never count: they say that the list refuses us."""
    timeout: float = 1.0
    """Seconds. All scanners are asked at once, so mail waits for the slowest, and no longer than this."""
    message_size: int = 1_048_576
    """Octets; it is not asked about larger messages."""
    connections: int = 20
    """At once, for each relay process."""
    failures: int = 5
    """After so many in a row it is left alone."""
    pause: float = 60.0
    """Seconds it is left alone for; then one message asks it again."""


class Feedback(Table, frozen=True):
    """[feedback]: what the world answers after it has taken a message: complaints, late bounces, logs of next hops."""

    address: str = ""
    """HOST:PORT of a listener that takes reports by SMTP or LMTP; empty: none."""
    recipients: tuple[str, ...] = ()
    """Addresses that reports come to, or local parts (`fbl`), which hold for every domain; needed for the listener."""
    networks: tuple[str, ...] = ("127.0.0.0/8", "::1")
    """Networks that may hand reports in: your own mail servers."""
    trusted: tuple[str, ...] = ()
    """Those of them whose reports count without our token in them, since only checked ones come from there."""
    message_size: int = 10_485_760
    """Octets of a report."""
    postfix_logs: tuple[str, ...] = ()
    """Mail logs of next hops (Postfix), which are followed."""
    suppress: Literal["record", "refuse"] = "record"
    """record: suppression lists are kept and shown; refuse: an account's mail to recipients on its list is refused."""


class Customers(Table, frozen=True):
    """[customers]: the page on which customers say whether held mail is theirs (docs/customers.md)."""

    url: str = ""
    """Where customers reach the console, `https://guard.example.net`; empty: there are no links, and no such page."""
    link_seconds: float = 604_800.0
    """So long a link is good."""
    language: Literal["en", "de", "fr", "es"] = "en"
    """Of the page, for those whose browser asks for none that there is."""
    help: str = ""
    """How they reach the abuse desk, as it stands on the page: an address, a telephone number."""
    release: tuple[Literal["volume", "recipients", "habit", "content"], ...] = ("volume", "recipients", "habit")
    """What mail they may release: held for its number, for its recipients, for where it comes from, for what it says.
    Never: what pretends to be somebody else, what is dangerous, campaigns, mail in quarantine."""
    releases_per_day: int = 20
    """Messages that they may release for an account within 24 hours; 0: none."""
    not_me: Literal["keep", "delete"] = "keep"
    """What becomes of the held mail of a sender of which they say that they did not send it."""


class Metrics(Table, frozen=True):
    """[metrics]"""

    address: str = "127.0.0.1:9109"
    """Empty: none."""


class Config(Table, frozen=True):
    """The whole file."""

    server: Server = Server()
    listener: tuple[Listener, ...] = ()
    auth: Auth = Auth()
    identity: tuple[Identity, ...] = PACKAGED_IDENTITY
    limits: Limits = Limits()
    state: State = State()
    ledger: Ledger = Ledger()
    retention: Retention = Retention()
    spool: Spool = Spool()
    delivery: Delivery = Delivery()
    dkim: tuple[Dkim, ...] = ()
    policy: PolicyFile = PolicyFile()
    recording: Recording = Recording()
    dns: Dns = Dns()
    blocklist: Blocklist = Blocklist()
    cases: Cases = Cases()
    scanner: tuple[Scanner, ...] = ()
    feedback: Feedback = Feedback()
    notices: Notices = Notices()
    notice: tuple[NoticeRoute, ...] = ()
    panel: tuple[Panel, ...] = ()
    console: Console = Console()
    customers: Customers = Customers()
    metrics: Metrics = Metrics()

    path: str = ""
    """Where the file lies; set by `load`, refused in the file."""

    @property
    def data_dir(self) -> Path:
        """The data directory as an absolute path."""
        return self.resolve(self.server.data_dir)

    @property
    def recording_dir(self) -> Path:
        """Where recorded traffic lies, as an absolute path."""
        return self.resolve(self.recording.directory) if self.recording.directory else self.data_dir / "recording"

    def resolve(self, name: str) -> Path:
        """A path of the file: relative ones start at the file's folder."""
        return (Path(self.path).parent / Path(name).expanduser()).absolute()
