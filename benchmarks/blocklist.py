"""What a round of blocklist questions costs: many addresses on many lists, at the pace of the configuration.

    .venv/bin/python -m benchmarks.blocklist [--addresses 1000] [--lists 40] [--per-second 200] [--per-list 5]

The lists are played by a name server of our own in another process. Each answer goes into a ledger, as in the product.
Prints one JSON object: seconds, CPU seconds of the asking process (ledger included), questions, and what was found.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from outbound_guard.blocklist import keeping
from outbound_guard.blocklist.asking import Asking
from outbound_guard.blocklist.listing import Listing
from outbound_guard.blocklist.lists import Dnsbl, Lists
from outbound_guard.clock import SystemClock
from outbound_guard.dns import Questions
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.loops import loop_factory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--addresses", type=int, default=1000)
    parser.add_argument("--lists", type=int, default=40)
    parser.add_argument("--listed", type=int, default=5, help="addresses that each list knows")
    parser.add_argument("--per-second", type=float, default=200.0)
    parser.add_argument("--per-list", type=float, default=5.0)
    arguments = parser.parse_args()
    addresses = [f"192.0.{number // 250}.{number % 250 + 1}" for number in range(arguments.addresses)]
    zones = [f"list{number}.test" for number in range(arguments.lists)]
    here, there = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=play, args=(there, zones, addresses[: arguments.listed]), daemon=True
    )
    server.start()
    try:
        resolver = here.recv()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            result = runner.run(ask(arguments, resolver, zones, addresses))
        here.send("done")
        result["questions"] = here.recv()
        result["questions_a_second"] = round(result["questions"] / result["seconds"], 1)
    finally:
        server.terminate()
        server.join()
    print(json.dumps(result))


async def ask(
    arguments: argparse.Namespace, resolver: str, zones: list[str], addresses: list[str]
) -> dict[str, object]:
    states: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(url_of("embedded", Path(folder)), writer=True)
        ledger.migrate()
        asking = Asking(
            Lists(tuple([Dnsbl(zone=zone) for zone in zones])),
            Questions([resolver]),
            SystemClock(),
            per_second=arguments.per_second,
            per_second_per_list=arguments.per_list,
        )

        async def keep(portion: list[Listing]) -> None:
            states.update(listing.state for listing in portion)
            await asyncio.to_thread(keeping.put, ledger, portion, time.time())

        begun, used = time.monotonic(), cpu()
        await asking.ask(addresses, keep)
        seconds, used = time.monotonic() - begun, cpu() - used
        ledger.close()
    return {
        "addresses": len(addresses),
        "lists": len(zones),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "states": dict(states),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def play(there: Connection, zones: list[str], listed: list[str]) -> None:
    """The lists, in a process of their own."""
    asyncio.run(_play(there, zones, listed))


async def _play(there: Connection, zones: list[str], listed: list[str]) -> None:
    from tests.listserver import Zone, list_server

    async with list_server() as server:
        server.zones |= {zone: Zone(listed={address: ["127.0.0.2"] for address in listed}) for zone in zones}
        there.send(server.address)
        await asyncio.to_thread(there.recv)
        there.send(sum(zone.asked for zone in server.zones.values()))


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
