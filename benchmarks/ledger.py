"""What a message costs on disk: octets of the journal and of the ledger; and what time and CPU the ledger takes.

    python -m benchmarks.ledger [--messages 100000] [--url postgresql://...] [--hosts 1]

The messages are those of `benchmarks.console`: 95 % relayed, 5 % held, one recipient and a bit each, four signals. They
are written to a journal as relays do, and put into an empty ledger as the scribe does; then the database is looked at.
Without `--url` it is SQLite in a temporary folder. The PostgreSQL database must be empty; nothing of it is removed.
With several hosts each has a journal and a scribe, and all are at work at the same time.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.console_data import Size, traffic
from outbound_guard.clock import SystemClock
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.nodes import Here
from outbound_guard.ledger.records import Decision
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.ledger.segments import sealed

_SECOND = 1000
"""Messages in a segment: those of a second of a busy host."""
_SQLITE = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name"
_POSTGRESQL = (
    "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--url", default="embedded")
    parser.add_argument("--hosts", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        _measure(Path(name), url_of(arguments.url, Path(name)), arguments.messages, arguments.hosts)


def _measure(folder: Path, url: str, messages: int, hosts: int) -> None:
    ledger = Ledger(url, writer=True)
    ledger.migrate()
    before = _octets(ledger)
    recipients, octets = 0, 0
    for host in range(hosts):
        told = _journal(folder / f"journal{host}", messages // hosts, host)
        recipients, octets = recipients + told[0], octets + told[1]
    print(f"{messages} messages with {recipients} recipients from {hosts} hosts")
    print(f"journal: {octets / messages:.0f} octets a message")
    begun, used = time.monotonic(), time.process_time()
    scribes = [threading.Thread(target=_take_in, args=(folder / f"journal{host}", url, host)) for host in range(hosts)]
    for scribe in scribes:
        scribe.start()
    for scribe in scribes:
        scribe.join()
    seconds, used = time.monotonic() - begun, time.process_time() - used
    after = _octets(ledger)
    print(f"ledger: {(after - before) / messages:.0f} octets a message, indexes included")
    for table, size in _tables(ledger)[:8]:
        print(f"    {table}: {size / messages:.0f}")
    print(
        f"taken in at {messages / seconds:.0f} messages a second, with {used / messages * 1e6:.0f} us of CPU a message"
    )
    ledger.close()


def _journal(folder: Path, messages: int, host: int) -> tuple[int, int]:
    """Recipients, and octets of the journal."""
    clock = SystemClock()
    journal = Journal(folder, "relay-0", clock)
    size = Size(decisions=messages, held=messages // 20, one_account=messages // 100, one_campaign=messages // 70)
    recipients = 0
    for number, records in enumerate(itertools.islice(traffic(size, clock.now(), 20 + host), messages)):
        for record in records:
            journal.append(record)
            recipients += len(record.recipients) if isinstance(record, Decision) else 0
        if number % _SECOND == _SECOND - 1:
            journal.seal()
    journal.close()
    return recipients, sum(path.stat().st_size for path in sealed(folder))


def _take_in(folder: Path, url: str, host: int) -> None:
    ledger = Ledger(url, writer=True)
    scribe = Scribe(folder, ledger, SystemClock(), here=Here(name=f"host{host}", identity=str(host)))
    scribe.once()
    scribe.close()
    ledger.close()


def _octets(ledger: Ledger) -> int:
    with ledger.connection() as connection:
        if ledger.shared:
            return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar() or 0)
        pages, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0 for name in ("page_count", "page_size")
        )
        return int(pages) * int(size)


def _tables(ledger: Ledger) -> list[tuple[str, int]]:
    """Octets by table (PostgreSQL: with its indexes; SQLite: an index by itself), the largest first."""
    with ledger.connection() as connection:
        try:
            rows = connection.exec_driver_sql(_POSTGRESQL if ledger.shared else _SQLITE).all()
        except Exception as error:
            print(f"    (by table: {error})")
            return []
    return sorted(((str(name), int(size)) for name, size in rows), key=lambda row: -row[1])


if __name__ == "__main__":
    main()
