"""The demo from its beginning to its end: a folder, the past, the product itself, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from outbound_guard.clock import SystemClock
from outbound_guard.config import Config, load
from outbound_guard.demo.house import FILE, GUARD, POOLS, RANGES, REPORTED, TRAPS, House, Ports, build
from outbound_guard.demo.live import OUTCOMES, Live
from outbound_guard.demo.past import Past
from outbound_guard.demo.product import resume, served
from outbound_guard.demo.provider import PROVIDER, Provider, provider
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.passwords import Hashing
from outbound_guard.desk.people.users import Users
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import AccountEntry
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.loops import loop_factory

USER = "demo"
_DAYS, _A_DAY = 2.05, 600
"""How far back the past goes, and how many messages a day it has: some seconds' work."""
_KNOWN = 90 * 86_400.0
"""Seconds for which the customers have been in the directory."""
_TOLD = 5.0
"""Seconds between two lines about the traffic."""
_LOOK = 0.1


class Wanted(msgspec.Struct, frozen=True):
    """What the command line asks for."""

    seconds: float = 0.0
    """How long it runs once everything is there; 0: until it is told to end."""
    speed: float = 1.0
    seed: int = 1
    data: Path | None = None
    """A folder that is kept; None: a temporary one, which is removed."""
    ports: Ports = Ports()


Tell = Callable[[str, dict[str, Any]], None]
"""Told of what happens: its kind, and its fields."""


def run(wanted: Wanted, tell: Tell) -> None:
    """Run the demo until it is told to end (SIGINT, SIGTERM, SIGHUP), or its time is over.

    Raises DeskError (it cannot be run so), ConfigError, LedgerError, OSError.
    """
    with _folder(wanted.data) as folder, asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(folder, wanted, tell))


async def _run(folder: Path, wanted: Wanted, tell: Tell) -> None:
    work = asyncio.current_task()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def end() -> None:
        # Once: whoever is impatient must not keep it from tidying up.
        if not ended.is_set() and work is not None:
            ended.set()
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    try:
        await _play(folder, wanted, tell, ended.set)
    except asyncio.CancelledError:
        if not ended.is_set():
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
    tell("end", {"text": "the demo has ended"})


async def _play(folder: Path, wanted: Wanted, tell: Tell, ends: Callable[[], None]) -> None:
    """The whole demo. `ends` is called when it ends by itself: from then on nothing breaks it off."""
    made = provider(wanted.seed)
    config_path = folder / FILE
    live = Live(
        made,
        wanted.seed,
        wanted.speed,
        lambda kind, text: tell(kind, {"text": text}),
        lambda senders: resume(config_path, senders),
    )
    async with contextlib.AsyncExitStack() as stack:
        for part in (live.nameserver, live.second, live.hop):
            await part.start()
            stack.push_async_callback(part.stop)
        _fill(live)
        house = _built(folder, wanted, live)
        config = load(house.config)
        tell("making", {"text": f"making the past of {len(made.customers)} customers", "folder": str(folder)})
        password = secrets.token_urlsafe(9)
        past = await _prepare(config, made, wanted.seed, password)
        tell("starting", {"text": f"{past.messages} messages of the last days are judged; the product starts"})
        addresses = await stack.enter_async_context(served(house, config.data_dir))
        console = f"http://{addresses['console']}"
        where = {"console": console, "user": USER, "password": password, "metrics": f"http://{addresses['metrics']}"}
        tell("ready", where | {"smtp": addresses["listeners"][0], "config": str(house.config)})
        live.start(addresses["listeners"][0], addresses["feedback"], house.password, past.victims)
        stack.push_async_callback(live.stop)
        stack.callback(ends)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wanted.seconds or None):
                await _report(live, folder / "mail.log", tell)


def _built(folder: Path, wanted: Wanted, live: Live) -> House:
    try:
        return build(folder, wanted.ports, live.hop.address, (live.nameserver.address, live.second.address))
    except ValueError as error:
        raise DeskError(str(error)) from None


def _fill(live: Live) -> None:
    """What the name server knows from the beginning: each list's test entry (RFC 5782 5), and the provider's names."""
    for zone, code in ((TRAPS, "127.0.0.2"), (REPORTED, "127.0.0.2"), (RANGES, "127.0.0.3")):
        live.nameserver.list("127.0.0.2", zone, code, "a test entry")
    live.nameserver.records[GUARD, "A"] = [POOLS["good"][1][0]]
    live.nameserver.records[PROVIDER, "TXT"] = ["v=spf1 ip4:127.51.100.0/24 -all"]


async def _prepare(config: Config, made: Provider, seed: int, password: str) -> Past:
    """The directory, a user of the console, and the past."""
    clock, now = SystemClock(), time.time()
    for place in (config.data_dir, config.data_dir / "run", config.data_dir / "state"):
        place.mkdir(mode=0o700)
    url, segments = url_of(config.ledger.url, config.data_dir), config.data_dir / "journal"
    with contextlib.ExitStack() as stack:
        journal = Journal(segments, "demo", clock)
        stack.callback(journal.close)
        for one in made.customers:
            contact = f"owner@{one.account}"
            journal.append(AccountEntry(now - _KNOWN, one.account, one.name, contact, senders=one.senders))
        journal.seal()
        writer = Ledger(url, writer=True)
        stack.callback(writer.close)
        scribe = Scribe(segments, writer, clock)
        stack.callback(scribe.close)
        scribe.once()
        reader = Ledger(url)
        stack.callback(reader.close)
        hashing = Hashing()
        stack.callback(hashing.close)
        await Users(reader, journal, clock, hashing).add(USER, "admin", password, by="demo")
        past = Past(config, made, seed, scribe, journal)
        stack.callback(past.close)
        await past.play(reader, now, _DAYS, _A_DAY)
        journal.seal()
        await asyncio.to_thread(scribe.once)
        return past


async def _report(live: Live, log: Path, tell: Tell) -> None:
    """Tell of what happens, until cancelled."""
    begun = told = time.monotonic()
    with log.open("rb") as file:
        rest = b""
        while True:
            await asyncio.sleep(_LOOK)
            *lines, rest = (rest + file.read()).split(b"\n")
            for line in lines:
                if news := _news(line):
                    tell(*news)
            if (now := time.monotonic()) - told >= _TOLD:
                told = now
                groups = {"honest": live.honest, "taken_over": live.taken_over, "spam": live.spam}
                figures = {
                    name: {one: counted[one] for one in OUTCOMES if counted[one]} for name, counted in groups.items()
                }
                tell("traffic", {"seconds": round(now - begun), **figures, "complaints": live.complaints})


def _news(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """What a line of the product's mail log is worth telling; None: nothing."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    kind = event.get("type")
    if kind == "Suspension":
        return "suspended", {"text": f"{event['identity']} is suspended: {event['reason']}"}
    if kind == "Address" and event["state"] != "in_use":
        return "address", {"text": f"{event['address']} of pool {event['pool']} {event['state']}: {event['reason']}"}
    if kind == "Case" and event["what"] == "opened":
        return "case", {"text": f"case {event['case']} is opened: {event['text']}", "case": event["case"]}
    return None


@contextlib.contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    """The folder that everything lies in. Raises DeskError if it is in use."""
    if wanted is None:
        folder = Path(tempfile.mkdtemp(prefix="outbound-guard-demo-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(wanted.iterdir()):
        raise DeskError(f"{wanted} is not empty; name a new folder, in which everything is kept")
    yield wanted.absolute()
