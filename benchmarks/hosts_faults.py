"""What a fault of the state or the ledger costs three hosts under load."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import msgspec

from benchmarks import processes
from benchmarks.hosts_acts import Times, convicted, suspended_by_command
from benchmarks.hosts_house import SETTLED, Hosts, Look
from tests import postgres
from tests.loadclient import Answered
from tests.product import until
from tests.stateservers import Server

_BESIDE = 5.0
"""Seconds of load before a fault, and after everything is well again."""
_RESTARTS = 3

Fault = Callable[[Hosts], AbstractContextManager[object]]
"""The part is away when the block begins; when it has ended, it is back, or another is in its place."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen from a fault to five seconds after all was well again. Times in seconds."""

    fault: str
    well: float
    """From the fault until every host said that all is well."""
    accepted: int
    other: int
    """Messages of the load with another answer than 250, or that needed a second try."""
    gap: float
    """Longest time in which a host took no message."""
    longest: float
    """Longest time that a message took from its offer to its answer, everything before it included."""
    gap_before: float
    longest_before: float
    """The same in the seconds before the fault."""
    state_away: float
    ledger_away: float
    """Longest time that a host said so."""
    backlog: float
    """Most segments of the journal that waited on a host."""
    by_verdict: float
    by_person: float
    """Until a suspension that was decided during the fault was in force on the other hosts."""
    stalled: float
    """Longest time that the measuring program itself stood still."""


def cost(hosts: Hosts, name: str, fault: Fault) -> Cost:
    """Let mail flow, do it, and see what becomes of the mail and of what is decided meanwhile."""
    word = "-".join(re.findall("[a-z0-9]+", name.lower()))[:50]
    hosts["alpha"].calm_past(f"owner@{word}0.test")
    before = time.monotonic()
    hosts.goes_on(_BESIDE)
    with ThreadPoolExecutor() as pool:
        begun = time.monotonic()
        with fault(hosts):
            verdict = pool.submit(convicted, hosts, 0, word, calm=False)
            person = pool.submit(suspended_by_command, hosts, 0, word)
        hosts.well()
        over = time.monotonic()
        hosts.goes_on(_BESIDE)
        ended = time.monotonic()
        by_verdict, by_person = _slowest(verdict), _slowest(person)
    answered, looks = hosts.answered(), [one for one in hosts.looks if begun <= one.at <= ended]
    every = [one for some in answered.values() for one in some]
    during = [one for one in every if one.ended >= begun and one.began <= ended]
    accepted = [one for one in during if one.reply.startswith("250 ") and one.tries == 1]
    return Cost(
        fault=name,
        well=over - begun,
        accepted=len(accepted),
        other=len(during) - len(accepted),
        gap=max(_gap(some, begun, ended) for some in answered.values()),
        longest=max(one.ended - one.began for one in during),
        gap_before=max(_gap(some, before, begun) for some in answered.values()),
        longest_before=max((one.ended - one.began for one in every if before <= one.ended < begun), default=0.0),
        state_away=_away(looks, lambda look: look.state_up),
        ledger_away=_away(looks, lambda look: look.ledger_up),
        backlog=max((one.backlog for one in looks), default=0.0),
        by_verdict=by_verdict,
        by_person=by_person,
        stalled=hosts.stalls.longest(begun, ended),
    )


# -- Faults ------------------------------------------------------------------------------------------------------------


def master(server: Server, after: Server, how: signal.Signals) -> Fault:
    """A master of the state dies or hangs, and `after` takes its place."""

    @contextmanager
    def fault(hosts: Hosts) -> Iterator[None]:
        server.signal(how)
        yield
        until(lambda: after.say("ROLE")[0] == "master", "another one is the master", SETTLED)

    return fault


def back(server: Server) -> None:
    """A server that was taken away comes back, and follows the master that there is now."""
    if server.process is not None and server.process.poll() is None:
        server.signal(signal.SIGCONT)
    if server.process is None or server.process.poll() is not None:
        server.start()

    def follows() -> bool:
        with contextlib.suppress(Exception):
            role = server.say("ROLE")
            return bool(role[0] == "slave" and role[3] == "connected")
        return False

    until(follows, "it follows the new master", SETTLED)


def restarted(server: postgres.Server) -> Fault:
    """PostgreSQL is restarted three times; each time all connections are cut in the middle of whatever they do."""

    @contextmanager
    def fault(hosts: Hosts) -> Iterator[None]:
        for number in range(_RESTARTS):
            server.stop()
            if not number:
                yield
            server.start()
            hosts.goes_on(1.0)

    return fault


def away(server: postgres.Server, seconds: float) -> Fault:
    """PostgreSQL is stopped, and comes back after so long."""

    @contextmanager
    def fault(hosts: Hosts) -> Iterator[None]:
        server.stop()
        yield
        hosts.goes_on(seconds)
        server.start()

    return fault


def hangs(server: postgres.Server, seconds: float) -> Fault:
    """PostgreSQL takes connections and questions, and answers nothing for so long."""

    @contextmanager
    def fault(hosts: Hosts) -> Iterator[None]:
        pids = processes.tree(server.pid)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
            hosts.goes_on(seconds)
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    return fault


# -- Seeing ------------------------------------------------------------------------------------------------------------


def _slowest(times: Future[Times]) -> float:
    return max(times.result(SETTLED).values())


def _gap(answered: Sequence[Answered], begun: float, ended: float) -> float:
    """The longest time without an accepted message at one host."""
    times = sorted(one.ended for one in answered if one.reply.startswith("250 "))
    return max((b - a for a, b in itertools.pairwise(times) if b >= begun and a <= ended), default=0.0)


def _away(looks: Sequence[Look], up: Callable[[Look], bool]) -> float:
    """The longest time that one host said that something is away."""
    longest = 0.0
    for host in {look.host for look in looks}:
        since = None
        for look in (one for one in looks if one.host == host):
            if up(look):
                since = None
            else:
                since = look.at if since is None else since
                longest = max(longest, look.at - since)
    return longest
