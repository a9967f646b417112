"""Other people's filters, asked for their opinion: rspamd, SpamAssassin, ClamAV, blocklists of domains.

All are asked at once, each within its time. One that is down, slow or talks nonsense has no opinion: that is counted,
never held against the mail, and after some failures in a row it is left alone for a while. Nothing here raises.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Iterable

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Config, Scanner
from outbound_guard.content import Message
from outbound_guard.dns import Lookup
from outbound_guard.mail import Signal, Submission
from outbound_guard.metrics import Metrics
from outbound_guard.scanners import clamav, rspamd, spamassassin, uribl
from outbound_guard.scanners.breaker import Breaker
from outbound_guard.scanners.opinion import Ask, Nonsense, Opinion

__all__ = ["NAME", "Opinion", "Scanners"]

NAME = "scanners"
"""The signal that is made of the opinions."""

_log = logging.getLogger(__name__)
_BY_KIND: dict[str, Ask] = {"rspamd": rspamd.ask, "spamassassin": spamassassin.ask, "clamav": clamav.ask}
_AGREEMENT = {
    (True, True): "both",
    (False, False): "neither",
    (True, False): "scanner_only",
    (False, True): "verdict_only",
}


class Scanners:
    """The scanners of the configuration."""

    def __init__(self, config: Config, clock: Clock, metrics: Metrics) -> None:
        self._clock, self._metrics = clock, metrics
        self._lookup = Lookup(config.dns.resolvers, clock)
        kinds: dict[str, Ask] = {**_BY_KIND, "uribl": functools.partial(uribl.ask, lookup=self._lookup)}
        self._asked = [
            _Asked(_resolved(scanner, config), kinds[scanner.kind], clock, metrics) for scanner in config.scanner
        ]

    async def ask(self, submission: Submission, message: Message) -> tuple[Opinion, ...]:
        """The opinions of those that answer; never later than the longest of their time limits."""
        said = await asyncio.gather(*[asked.opinion(submission, message) for asked in self._asked])
        return tuple([opinion for opinion in said if opinion])

    def compare(self, opinions: Iterable[Opinion], signals: Iterable[Signal], hold: float) -> None:
        """Count how each agrees with our own judgement: would the other signals alone pass the threshold `hold`?"""
        own = sum([signal.weight for signal in signals if signal.name != NAME and not signal.shadow]) >= hold
        for opinion in opinions:
            self._metrics.count("scanner_agreement_total", opinion.scanner, _AGREEMENT[opinion.result != "clean", own])

    async def close(self) -> None:
        """Give up questions to the DNS that are still open."""
        await self._lookup.close()


class _Asked:
    """One scanner with its breaker."""

    def __init__(self, scanner: Scanner, ask: Ask, clock: Clock, metrics: Metrics) -> None:
        self._scanner, self._ask, self._clock, self._metrics = scanner, ask, clock, metrics
        self._name = scanner.name or scanner.kind
        self._breaker = Breaker(scanner.failures, scanner.pause)
        # What waits for a free connection waits within its time: a daemon with a queue is too slow as well.
        self._room = asyncio.Semaphore(scanner.connections)

    async def opinion(self, submission: Submission, message: Message) -> Opinion | None:
        """What it says; None if it says nothing. Raises nothing but CancelledError."""
        if self._scanner.kind != "uribl" and len(submission.content) > self._scanner.message_size:
            self._count("too_large")
        elif not self._breaker.admits(self._clock.now()):
            self._count("paused")
        else:
            return await self._hear(submission, message)
        return None

    async def _hear(self, submission: Submission, message: Message) -> Opinion | None:
        begun = (loop := asyncio.get_running_loop()).time()
        try:
            async with asyncio.timeout(self._scanner.timeout), self._room:
                said = await self._ask(self._scanner, submission, message)
        except asyncio.CancelledError:
            self._breaker.unsettled()
            raise
        except TimeoutError:
            self._failed("timeout", f"no answer within {self._scanner.timeout:g} s")
        except Nonsense as nonsense:
            self._failed("nonsense", f"cannot be understood: {nonsense}")
        except OSError as error:
            self._failed("down", str(error) or type(error).__name__)
        except Exception as fault:
            _log.exception("scanner %s: a fault of ours", self._name)
            self._failed("fault", type(fault).__name__)
        else:
            if said is None:
                self._breaker.unsettled()
                return None
            if self._breaker.succeeded():
                _log.info("scanner %s answers again", self._name)
            self._count(said[0])
            self._metrics.observe("scanner_seconds", loop.time() - begun, self._name)
            return Opinion(self._name, *said)
        return None

    def _failed(self, result: str, why: str) -> None:
        self._count(result)
        if self._breaker.failed(self._clock.now()):
            _log.warning("scanner %s is not asked for %g s: %s", self._name, self._scanner.pause, why)

    def _count(self, result: str) -> None:
        self._metrics.count("scanner_answers_total", self._name, result)


def _resolved(scanner: Scanner, config: Config) -> Scanner:
    """With the path of its socket made absolute."""
    kind, _, path = scanner.address.partition(":")
    if kind != "unix":
        return scanner
    return msgspec.structs.replace(scanner, address=f"unix:{config.resolve(path)}")
