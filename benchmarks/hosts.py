"""Three hosts on one PostgreSQL and one Redis or Valkey: how soon they act alike, and what a fault costs under load.

    python -m benchmarks.hosts [--repetitions 20] [--rate 10] [--away 10] [--only cluster,sentinel]

Three products are started, each as an operator would start one, with a data directory of its own, on one PostgreSQL
and a cluster of six state servers; then three on another database and a master with a replica and three sentinels. All
are real servers in temporary folders, on ports of the system's. `--rate` messages a second go to each host all the
while.

It prints tables in markdown, and writes `hosts.json` into the folder of results. The exit code is 1 if a time is over
its aim, or if a message was lost or doubled, or is missing in the ledger.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec

from benchmarks.hosts_acts import ACTS
from benchmarks.hosts_faults import Cost, Fault, away, back, cost, hangs, master, restarted
from benchmarks.hosts_house import POSTGRESQL, START_SECONDS, Hosts, hosts
from tests import postgres, product
from tests.stateservers import PROGRAM, Server, Servers

RESULTS = Path(__file__).resolve().parent / "results"
ACT_SECONDS, GAP_SECONDS = 1.0, 3.0
"""The aims: until a decision acts on all hosts; without an accepted message, and until an answer."""
_STILL = 0.5
"""Seconds that the measuring program may stand still in a repetition; else that is done again."""
_AGAIN = 3
"""Times that one is done again."""
_STORED = 15.0
"""Seconds until the ledger has what was answered last."""
_NEWS = "news"
"""The key by which hosts tell each other of suspensions: the master that has it is the one to lose."""


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """How soon a kind of decision acted on the slowest other host. Seconds."""

    act: str
    times: list[float]
    stalled: list[float]
    """How long the measuring program itself stood still at most, in each of them: how busy the machine was."""
    left_out: int
    """Repetitions that were done again, since it stood still for too long."""

    @property
    def most(self) -> float:
        """The slowest of all."""
        return max(self.times)


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the load."""

    messages: int
    lost: int
    changed: int
    duplicated: int
    not_in_ledger: int
    twice_in_ledger: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured on one kind of state."""

    state: str
    acts: list[Acted]
    costs: list[Cost]
    counted: Counted


def main() -> int:
    """Measure; tables on standard output, progress on standard error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hosts", description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=20, help="of each kind of decision (default %(default)s)")
    parser.add_argument("--commands", type=int, help="of those made by command, which take longest (as many)")
    parser.add_argument("--rate", type=float, default=10.0, help="messages a second to each host (%(default)s)")
    parser.add_argument("--away", type=float, default=10.0, help="seconds that PostgreSQL is away, and hangs")
    parser.add_argument("--what", default="decisions,faults", help="comma list (default %(default)s)")
    parser.add_argument("--only", default="cluster,sentinel", help="comma list (default %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args()
    if postgres.binaries() is None:
        print("benchmarks.hosts: PostgreSQL is not installed (Debian package postgresql-15)", file=sys.stderr)
        return 1
    # Otherwise what was started would not be stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    product.START_SECONDS = START_SECONDS
    begun, load = time.time(), os.getloadavg()[0]
    parts = [_PARTS[name](options) for name in options.only.split(",")]
    wrong = [text for part in parts for text in misses(part)]
    told = {
        "began": begun,
        "load": [load, os.getloadavg()[0]],
        "cores": os.cpu_count(),
        "rate": options.rate,
        "parts": msgspec.to_builtins(parts),
        "misses": wrong,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "hosts.json").write_text(json.dumps(told, indent=1))
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load of the machine {load:.1f} at the start and "
        f"{os.getloadavg()[0]:.1f} at the end; {options.rate:g} messages a second to each of three hosts\n"
    )
    for part in parts:
        print(tables(part))
    print(
        "\n".join(["Over their aims:", *(f"- {one}" for one in wrong)] if wrong else ["Everything is within its aim."])
    )
    return bool(wrong)


# -- Measuring ---------------------------------------------------------------------------------------------------------


def cluster(options: argparse.Namespace) -> Part:
    """Six state servers; everything is measured here."""
    with _opened() as (folder, servers, database):
        nodes = servers.cluster(masters=3, replicas=1)
        first = int(nodes[0].say("CLUSTER", "KEYSLOT", _NEWS)) * 3 // 16384
        other = (first + 1) % 3
        dies = master(nodes[first], nodes[first + 3], signal.SIGKILL)
        hung = master(nodes[other], nodes[other + 3], signal.SIGSTOP)
        faults: list[tuple[str, Fault, Server | None]] = [
            ("a master of the cluster dies, the one with the news", dies, nodes[first]),
            ("another master hangs", hung, nodes[other]),
            ("PostgreSQL is restarted three times", restarted(database), None),
            (f"PostgreSQL is away for {options.away:g} s", away(database, options.away), None),
            (f"PostgreSQL hangs for {options.away:g} s", hangs(database, options.away), None),
        ]
        by_command = options.repetitions if options.commands is None else options.commands
        numbers = {name: by_command if name.endswith("command") else options.repetitions for name in ACTS}
        with hosts(folder, servers.cluster_url, database, options.rate) as there:
            wanted = [one for one in numbers.items() if one[1] > 0 and "decisions" in options.what]
            acts = [_acted(there, name, number) for name, number in wanted]
            costs = [_cost(there, *one) for one in faults if "faults" in options.what]
            return Part(state="cluster of six", acts=acts, costs=costs, counted=_counted(there))


def sentinel(options: argparse.Namespace) -> Part:
    """A master, its replica and three sentinels."""
    with _opened() as (folder, servers, database):
        first = servers.watched(replicas=1, sentinels=3)
        second = servers.nodes[1]
        with hosts(folder, servers.sentinel_url, database, options.rate) as there:
            costs = [
                _cost(there, "the master of the sentinels dies", master(first, second, signal.SIGKILL), first),
                _cost(there, "the next one hangs", master(second, first, signal.SIGSTOP), second),
            ]
            return Part(state="master, replica, three sentinels", acts=[], costs=costs, counted=_counted(there))


_PARTS: dict[str, Callable[[argparse.Namespace], Part]] = {"cluster": cluster, "sentinel": sentinel}


@contextlib.contextmanager
def _opened() -> Iterator[tuple[Path, Servers, postgres.Server]]:
    """A folder, the state servers to be started, and PostgreSQL."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="og-hosts-")))
        servers = stack.enter_context(Servers(folder))
        yield folder, servers, stack.enter_context(postgres.Server(settings=POSTGRESQL))


def _acted(there: Hosts, name: str, repetitions: int) -> Acted:
    what, once = ACTS[name]
    times: list[float] = []
    stalled: list[float] = []
    left_out = 0
    while len(times) < repetitions:
        begun, slowest = time.monotonic(), None
        try:
            slowest = max(once(there, len(times) + left_out).values())
        except (AssertionError, OSError, subprocess.SubprocessError, httpx.HTTPError) as error:
            # On a machine on which all of this is stopped for minutes.
            if left_out >= _AGAIN * repetitions:
                raise
            _progress(f"{what}: done again: {type(error).__name__}: {str(error)[:200]}")
        still = there.stalls.longest(begun, time.monotonic())
        if slowest is None or (still > _STILL and left_out < _AGAIN * repetitions):
            left_out += 1
            continue
        times.append(slowest)
        stalled.append(still)
    acted = Acted(act=what, times=times, stalled=stalled, left_out=left_out)
    _progress(f"{what}: {statistics.median(times):.2f} s, most {acted.most:.2f} s, {left_out} left out")
    return acted


def _cost(there: Hosts, name: str, fault: Fault, taken: Server | None) -> Cost:
    found = cost(there, name, fault)
    if taken is not None:
        back(taken)
        there.well()
    _progress(f"{name}: longest gap {found.gap:.2f} s, longest answer {found.longest:.2f} s")
    return found


def _counted(there: Hosts) -> Counted:
    answered, account = there.end()
    there.well()
    keys = {one.mail.key for one in answered}
    with contextlib.suppress(AssertionError):
        # What was answered last lies in a segment that is not sealed yet, of which no host says anything.
        product.until(lambda: keys <= there.decisions().keys(), seconds=_STORED)
    known = there.decisions()
    return Counted(
        messages=account.messages,
        lost=len(account.lost),
        changed=len(account.corrupted),
        duplicated=account.duplicated.total(),
        not_in_ledger=sum(one.mail.key not in known for one in answered),
        twice_in_ledger=sum(known.get(one.mail.key, 0) > 1 for one in answered),
    )


def _progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# -- Telling -----------------------------------------------------------------------------------------------------------


def misses(part: Part) -> list[str]:
    """What is not as it should be, one line each."""
    found = [f"{one.act}: {one.most:.2f} s" for one in part.acts if one.most > ACT_SECONDS]
    for one in part.costs:
        for what, seconds in (("gap", one.gap), ("answer", one.longest)):
            if seconds > GAP_SECONDS:
                still = f" (the measuring program stood still for {one.stalled:.1f} s)" * (one.stalled > _STILL)
                found.append(f"{one.fault}: longest {what} {seconds:.2f} s{still}")
    for what, number in msgspec.to_builtins(part.counted).items():
        if number and what != "messages":
            found.append(f"{part.state}: {number} {what.replace('_', ' ')}")
    return found


_COLUMNS = (
    "under load",
    "longest gap s",
    "longest answer s",
    "both before it",
    "accepted at once",
    "other answers",
    "state away s",
    "ledger away s",
    "most segments",
    "all well after s",
    "a verdict's suspension s",
    "a person's s",
    "aim",
)


def tables(part: Part) -> str:
    """All of one part in markdown."""
    lines = [f"State: {part.state} ({Path(PROGRAM).name}).", ""]
    if part.acts:
        lines += [
            "| decided on one host | times | median s | most s | stood still s | aim |",
            "|---|---:|---:|---:|---:|---|",
        ]
        lines += [
            f"| {one.act} | {len(one.times)} | {statistics.median(one.times):.2f} | {one.most:.2f} | "
            f"{max(one.stalled):.2f} | {ACT_SECONDS:g}: {'met' if one.most <= ACT_SECONDS else 'missed'} |"
            for one in part.acts
        ]
        lines.append("")
    if part.costs:
        lines += [f"| {' | '.join(_COLUMNS)} |", f"|---|{'---:|' * (len(_COLUMNS) - 2)}---|"]
        lines += [_cost_row(one) for one in part.costs]
        lines.append("")
    counted = part.counted
    lines += [
        f"{counted.messages} messages: {counted.lost} lost, {counted.changed} changed, {counted.duplicated} "
        f"duplicated; {counted.not_in_ledger} not in the ledger, {counted.twice_in_ledger} there twice.",
        "",
    ]
    return "\n".join(lines)


def _cost_row(one: Cost) -> str:
    cells = [
        one.fault,
        f"{one.gap:.2f}",
        f"{one.longest:.2f}",
        f"{one.gap_before:.2f}, {one.longest_before:.2f}",
        one.accepted,
        one.other,
        f"{one.state_away:.1f}",
        f"{one.ledger_away:.1f}",
        f"{one.backlog:.0f}",
        f"{one.well:.1f}",
        f"{one.by_verdict:.2f}",
        f"{one.by_person:.2f}",
        f"{GAP_SECONDS:g}: {'met' if max(one.gap, one.longest) <= GAP_SECONDS else 'missed'}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    raise SystemExit(main())
