"""Three hosts, as `benchmarks.hosts` measures them: their servers, their mail, and what they say of themselves."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from tests import house, postgres
from tests.house import House
from tests.loadclient import Account, Answered, Load, Mail, mail, reconcile
from tests.nexthop import Message
from tests.product import Hops, Product, until
from tests.webconsole import Visit, add_user, signed_in

NAMES = ("alpha", "beta", "gamma")
START_SECONDS = 900.0
"""Three at a time, on a machine that may be busy, into an empty database."""
SETTLED = 600.0
"""Seconds that everything gets to be well again, and the ledger to have all."""
_SENDERS = 4
"""Of the load, on each host."""
_TRIES = 5
_LOOK = 0.5
"""Seconds between two looks at the metrics."""
_FLOWING = 3.0
"""Segments of the journal that may be on their way while mail flows."""
_LOADED = "load.test"
_SUBJECT = re.compile(rb"^Subject: (.*)\r$", re.M)
_GAUGES = re.compile(r"^outbound_guard_(state_up|ledger_up|ledger_backlog_segments) (\S+)$", re.M)

# A database that keeps what it has said it keeps.
POSTGRESQL = ("listen_addresses=", "max_connections=200", "shared_buffers=64MB")
_CONFIGURATION = """
[ledger]
url = "{ledger}"
[state]
url = "{state}"
[limits]
commands = 1000000
"""
# The load is made of texts that nobody writes; what is measured with it is not what it is judged as.
_POLICY = f"""
[[allow]]
reason = "the load"
until = "2099-12-31"
mail_from = "*.{_LOADED}"
"""


class Arrivals(list[Message]):
    """What a next hop has got, and when a subject came first (steady seconds)."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, float] = {}

    def append(self, message: Message) -> None:
        """Note one more."""
        found = _SUBJECT.search(message.content[:4000])
        if found:
            self.at.setdefault(found[1].decode(), time.monotonic())
        super().append(message)


class Stalls:
    """When this very program stood still: the machine was busy, or somebody had stopped all of it."""

    _STEP = 0.02

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []
        threading.Thread(target=self._look, daemon=True).start()

    def longest(self, begun: float, ended: float) -> float:
        """Seconds of the longest between two moments."""
        return max(
            (until_ - since for since, until_ in list(self._found) if until_ > begun and since < ended), default=0.0
        )

    def _look(self) -> None:
        before = time.monotonic()
        while True:
            time.sleep(self._STEP)
            now = time.monotonic()
            if now - before > 5 * self._STEP:
                self._found.append((before, now))
            before = now


class Look(msgspec.Struct, frozen=True):
    """What one host said of itself at one moment."""

    at: float
    host: str
    state_up: bool
    ledger_up: bool
    backlog: float


class Hosts:
    """The three, what is sent to them all the while, and what arrives at their next hop."""

    def __init__(self, hops: Hops, houses: dict[str, House], arrivals: Arrivals, ledger: str, rate: float) -> None:
        self.hops, self.houses, self.arrivals, self.ledger = hops, houses, arrivals, ledger
        self.looks: list[Look] = []
        self.stalls = Stalls()
        self.visits: dict[str, Visit] = {}
        """Somebody at the console of each."""
        self._rng = random.Random(1)
        self._ending = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._loads = [self._load(one.product, rate) for one in houses.values()]

    def __getitem__(self, name: str) -> House:
        return self.houses[name]

    def others(self, name: str) -> dict[str, House]:
        """All but one."""
        return {other: one for other, one in self.houses.items() if other != name}

    def start(self) -> None:
        """Begin to send, and to watch."""
        self._watching.start()
        for load in self._loads:
            self.hops.call(load.start())

    def answered(self) -> dict[str, list[Answered]]:
        """What was answered up to now, by host."""
        return {name: list(load.answered.values()) for name, load in zip(self.houses, self._loads, strict=True)}

    def accepted(self) -> int:
        """How many messages of the load were."""
        return sum(len(load.answered) for load in self._loads)

    def goes_on(self, seconds: float) -> None:
        """Let some time pass in which every host answers."""
        end = time.monotonic() + seconds
        before = [len(load.answered) for load in self._loads]
        until(
            lambda: (
                time.monotonic() >= end
                and all(len(load.answered) > number for load, number in zip(self._loads, before, strict=True))
            ),
            "mail is answered",
            SETTLED,
        )

    def well(self) -> None:
        """Return when every host says that all is well, and its ledger has everything."""
        for name, one in self.houses.items():
            until(lambda one=one: one.product.get("/readyz")[0] == 200, f"{name} is ready", SETTLED)  # type: ignore[misc]
            until(lambda one=one: _well(one.product), f"{name} is well", SETTLED)  # type: ignore[misc]

    def end(self) -> tuple[list[Answered], Account]:
        """Send nothing new; when all is delivered, what was answered, and how it fits to what has arrived."""
        answered = [one for load in self._loads for one in self.hops.call(load.finish()).values()]
        self._ending.set()
        for one in self.houses.values():
            spool = one.product.data / "spool"
            until(lambda spool=spool: not any((spool / "queue").iterdir()), "all is delivered", SETTLED)  # type: ignore[misc]
        return answered, reconcile(answered, self.arrivals)

    def decisions(self) -> dict[str, int]:
        """How often the ledger has each message of the load, by its key."""
        found: dict[str, int] = {}
        for (subject,) in self.asked("SELECT subject FROM decision WHERE mail_from LIKE %s", f"%.{_LOADED}"):
            key = subject.removeprefix("load ")
            found[key] = found.get(key, 0) + 1
        return found

    def asked(self, query: str, *values: Any) -> Sequence[Any]:
        """The rows that the ledger's database answers, as soon as it does: it may be what is away."""
        (rows,) = until(lambda: self._rows(query, values), "the database answers", seconds=60.0)
        return rows

    def _rows(self, query: str, values: Sequence[Any]) -> tuple[Sequence[Any], ...]:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.ledger) as connection:
            return (connection.execute(query.encode(), values).fetchall(),)
        return ()

    def _load(self, product: Product, rate: float) -> Load:
        load = Load(lambda: product.address, self._mail, _SENDERS)
        load.pause = _SENDERS / rate
        return load

    def _mail(self, key: str) -> Mail:
        # So many senders that nobody's volume is out of the ordinary.
        sender = f"sender{self._rng.randrange(2000)}@customer{self._rng.randrange(200)}.{_LOADED}"
        return mail(key, sender, [f"recipient-{key}@there.test"], 2000, self._rng)

    def _watch(self) -> None:
        while not self._ending.wait(_LOOK):
            for name, one in self.houses.items():
                with contextlib.suppress(OSError):
                    state, ledger, backlog = _told(one.product)
                    self.looks.append(Look(time.monotonic(), name, state == 1, ledger == 1, backlog))


def _told(product: Product) -> tuple[float, float, float]:
    """Whether its state and its ledger are up, and how many segments of the journal wait."""
    told = {name: float(value) for name, value in _GAUGES.findall(product.get("/metrics")[1])}
    return told.get("state_up", 0.0), told.get("ledger_up", 0.0), told.get("ledger_backlog_segments", 0.0)


def _well(product: Product) -> bool:
    state, ledger, backlog = _told(product)
    return state == ledger == 1 and backlog <= _FLOWING


@contextlib.contextmanager
def hosts(folder: Path, state: str, server: postgres.Server, rate: float) -> Iterator[Hosts]:
    """Start three products on one state (a URL) and one database, and send `rate` messages a second to each."""
    ledger = server.database()
    arrivals = Arrivals()
    with Hops() as hops, contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        hop = hops.start()
        hop.messages = arrivals
        houses = {}
        for name in NAMES:
            product = Product.made(
                folder / name,
                smarthosts=[hop.address],
                relays=1,
                # What is odd is held; what is odd again and again is a conviction.
                policy=house.policy(quarantine=7.0, suspend=9.0) + _POLICY,
                more=house.MORE + _CONFIGURATION.format(ledger=ledger, state=state),
            )
            text = product.config.read_text().replace("[server]\n", f'[server]\nnode = "{name}"\n')
            product.config.write_text(text)
            houses[name] = House(product, hop)
        # All at the same time, so that they meet at the empty database.
        for started in [pool.submit(stack.enter_context, one.product) for one in houses.values()]:
            started.result()
        made = Hosts(hops, houses, arrivals, ledger, rate)
        for name, one in houses.items():
            _added(one.product, f"user-{name}")
            made.visits[name] = stack.enter_context(signed_in(one.product, f"user-{name}", add=False))
        made.start()
        made.goes_on(3.0)
        yield made


def _added(product: Product, name: str) -> None:
    """A user of the console; on a machine that stands still for a while it is tried again."""
    for _ in range(_TRIES):
        with contextlib.suppress(subprocess.TimeoutExpired):
            add_user(product, name, "admin")
            return
        if name in product.guard("user", "list"):
            return
    raise AssertionError(f"{name} could not be added")
