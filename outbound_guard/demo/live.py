"""The demo while it runs: the provider's servers send, attacks come and go, the world complains, a list notices."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import msgspec

from outbound_guard.demo import receivers
from outbound_guard.demo.attacks import SCRIPT, Attack, attacks
from outbound_guard.demo.house import FROM, POOLS, TRAPS
from outbound_guard.demo.nameserver import NameServer
from outbound_guard.demo.nexthop import NextHop
from outbound_guard.demo.provider import MAIL, WEB, Provider
from outbound_guard.demo.sending import Server, report
from outbound_guard.demo.traffic import Traffic
from outbound_guard.demo.writing import Mail

OUTCOMES = ("let through", "refused by receivers", "held", "refused", "deferred")
_A_SECOND = 0.7
"""Honest messages a second, at speed 1."""
_FIRST, _BETWEEN = 6.0, 12.0
"""Seconds until the first attack, and from the end of one to the next."""
_NOTICES = 8.0
"""Seconds from the first hit of a spam trap until the list has the address."""
_AT_LATEST = 40.0
"""Seconds after which an address is listed in any case, so that there is something to see."""
_COMPLAINS = 5.0
_RESUMED = 150.0
"""Seconds after an attack until its victims have other passwords, and are resumed."""
_AGAIN = 20.0
"""Seconds until a server tries again what was deferred."""
_GIVES_UP = 3
"""An attacker goes after so many messages in a row that were answered with a suspension."""

Say = Callable[[str, str], None]
"""Tells people: what kind of news it is, and the sentence."""

Resume = Callable[[Sequence[str]], Coroutine[Any, Any, None]]
"""Resumes senders that were suspended, as the abuse desk does."""


class Siege(msgspec.Struct):
    """How an attack fares."""

    attack: Attack
    sent: int = 0
    suspended: int = 0
    """Answers in a row that its sender is suspended."""
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    contained: bool = False
    """Something of it was stopped."""


class Live:
    """What goes on around the product."""

    def __init__(self, provider: Provider, seed: int, speed: float, say: Say, resume: Resume) -> None:
        """`speed`: so many times the traffic, and so much less time between two attacks."""
        self.honest: Counter[str] = Counter()
        """Honest messages by outcome (OUTCOMES)."""
        self.taken_over: Counter[str] = Counter()
        """The honest mail of those that were attacked: once they are suspended it is refused as well, until a person
        resumes them."""
        self.spam: Counter[str] = Counter()
        self.complaints = 0
        self.nameserver, self.second = NameServer(), NameServer()
        # Two resolvers that say the same: so a listing is confirmed.
        self.second.records = self.nameserver.records
        self.listed: set[str] = set()
        self.hop = NextHop(self._taken, self.listed)
        self._speed, self._say, self._resume = speed, say, resume
        self._provider, self._traffic = provider, Traffic(provider, seed)
        self._attacks = attacks(provider, seed)
        self._draw = random.Random(f"live {seed}")  # noqa: S311 -- The same seed, the same gaps.
        self._reports: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._noticed = False
        self._victims: set[str] = set()
        self._servers: dict[str, Server] = {}
        for addresses in (addresses for _, addresses in POOLS.values()):
            for address in addresses:
                self.nameserver.own(address, f"out{address.rpartition('.')[2]}.hosting.example")

    def start(self, smtp: str, feedback: str, password: str, victims: Iterable[str]) -> None:
        """Begin to send, to the product's listeners (HOST:PORT). `victims` were attacked before."""
        self._victims.update(victims)
        self._servers = {name: Server(name, password, smtp, FROM[name]) for name in (*MAIL, *WEB)}
        for work in (self._honest(), self._attack(), self._report(feedback), self._list_at_last()):
            self._do(work)

    async def stop(self) -> None:
        """Stop sending."""
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await asyncio.gather(*(server.close() for server in self._servers.values()), return_exceptions=True)

    async def _honest(self) -> None:
        for sender in self._provider.of_kind("newsletter")[:2]:
            # Some of its readers have full mailboxes, so the queue has something to do.
            self._do(self._deliver(self._traffic.of(sender, time.time())))
        while True:
            await self._pause(self._draw.expovariate(_A_SECOND))
            self._do(self._deliver(self._traffic.mail(time.time())))

    async def _deliver(self, mail: Mail) -> None:
        for _ in range(3):
            outcome = outcome_of(await self._send(mail))
            if outcome != "deferred":
                break
            await self._pause(_AGAIN)
        counted = self.taken_over if mail.identity in self._victims else self.honest
        counted[outcome] += 1

    async def _attack(self) -> None:
        await self._pause(_FIRST)
        for attack in self._attacks:
            siege = Siege(attack)
            self._victims.update(attack.victims)
            self._say("attack", f"{attack.name}: {_names(attack.victims)} begins to send")
            for number in range(attack.messages):
                await self._hit(siege, attack.mail(number, time.time()))
                if siege.suspended >= _GIVES_UP:
                    break
                await self._pause(attack.pause)
            told = ", ".join(f"{siege.outcomes[one]} {one}" for one in OUTCOMES if siege.outcomes[one])
            self._say("attack", f"{attack.name}: over after {siege.sent} messages: {told}")
            if attack.name != SCRIPT:
                self._do(self._resumed(attack.victims))
            await self._pause(_BETWEEN)

    async def _resumed(self, victims: Sequence[str]) -> None:
        await self._pause(_RESUMED)
        await self._resume(victims)
        self._victims.difference_update(victims)

    async def _hit(self, siege: Siege, mail: Mail) -> None:
        reply = await self._send(mail)
        outcome = outcome_of(reply)
        siege.sent += 1
        siege.outcomes[outcome] += 1
        self.spam[outcome] += 1
        siege.suspended = siege.suspended + 1 if "OG-SUSPENDED" in reply else 0
        if outcome in ("held", "refused") and not siege.contained:
            siege.contained = True
            through = siege.sent - 1
            self._say("contained", f"{siege.attack.name}: contained after {through} message{'s' * (through != 1)}")

    async def _send(self, mail: Mail) -> str:
        try:
            return await self._servers[mail.server].send(mail.mail_from, mail.recipients, mail.content)
        except OSError:
            return "451 no session"

    def _taken(self, recipients: tuple[str, ...], content: bytes, source: str) -> None:
        """The next hop has taken a message."""
        if not self._noticed and any(map(receivers.is_trap, recipients)):
            self._noticed = True
            self._do(self._list(source))
        for recipient in recipients:
            if type_ := receivers.complains(recipient, content):
                self._reports.put_nowait(receivers.complaint(type_, recipient, content))

    async def _report(self, address: str) -> None:
        while True:
            content = await self._reports.get()
            await self._pause(_COMPLAINS)
            with contextlib.suppress(OSError, TimeoutError):
                await report(address, receivers.REPORTS, content)
                self.complaints += 1

    async def _list(self, address: str) -> None:
        await self._pause(_NOTICES)
        self.listed.add(address)
        self.nameserver.list(address, TRAPS, "127.0.0.2", f"{address} has sent to a spam trap")
        self._say("listed", f"a spam trap was hit from {address}, so {TRAPS} lists it")

    async def _list_at_last(self) -> None:
        await self._pause(_AT_LATEST)
        if not self._noticed:
            self._noticed = True
            await self._list(POOLS["mass"][1][0])

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)


def outcome_of(reply: str) -> str:
    """What a reply of the product says became of a message: one of OUTCOMES."""
    if reply.startswith("2"):
        return "held" if "held for review" in reply else "let through"
    if reply.startswith("4"):
        return "deferred"
    return "refused" if " OG-" in reply else "refused by receivers"


def _names(victims: tuple[str, ...]) -> str:
    return victims[0] if len(victims) == 1 else f"{victims[0]} and {len(victims) - 1} others"
