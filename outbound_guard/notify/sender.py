"""Works the outbox off: routes what is new, sends what is due, writes down how that went.

At least once: a letter has its id before it is tried for the first time, and what was answered is written down after
it. Who is killed in between sends it again, with the same id. To give a letter its id is to claim it: of two hosts that
both think that it is theirs to send, one sends it. Each route is worked by a task of its own, letter by letter, so that
one that hangs keeps no other waiting; one that fails again and again is left alone for a while.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from outbound_guard.clock import Clock
from outbound_guard.config.notices import Notices
from outbound_guard.ledger import outbox_queries, outbox_sending
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.outbox_queries import Sending, Told
from outbound_guard.ledger.outbox_sending import Way
from outbound_guard.mail import new_id
from outbound_guard.notify import routes
from outbound_guard.notify.letter import Answer, Letter
from outbound_guard.notify.routes import Route
from outbound_guard.scanners.breaker import Breaker

LONGEST_TRY = 120.0
"""Seconds for one try of any carrier. After it a letter whose sender was killed is sent again."""
LONGEST_WAIT = 86_400.0
"""Seconds that the other side may ask us to wait."""
_PATIENCE, _PAUSE = 5, 1.0
"""Tries to write something down, and seconds between them, beside those that the database takes for itself."""
_LETTERS = 100
"""Letters of a route in one go; then its rows are read anew."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Sender:
    """One for all machines that share a ledger: `may_i` says whether it is this one."""

    def __init__(
        self,
        ledger: Ledger,
        reader: Ledger,
        ways: Sequence[Route],
        clock: Clock,
        settings: Notices,
        *,
        may_i: Callable[[], bool] = lambda: True,
        count: Callable[[str, str, int], None] = lambda route, result, number: None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`ledger` is the writer's, whose every transaction keeps other writers waiting; `reader` is for questions.

        `count` gets route, result and number of tries; `jitter` yields 0 to 1.
        """
        self.routes = {route.name: route for route in ways}
        self._ledger, self._reader, self._clock, self._settings = ledger, reader, clock, settings
        self._may_i, self._count, self._jitter = may_i, count, jitter
        self._breakers = {name: Breaker(settings.failures, settings.pause) for name in self.routes}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._writing = asyncio.Lock()
        """Our own writers wait here, and not for the database's lock."""

    async def once(self) -> None:
        """Route what is new, and set to work every route by which something is due. Raises LedgerError."""
        if not self._may_i():
            return
        await self._write(self._route)
        for name in await asyncio.to_thread(outbox_queries.due_routes, self._reader, self._clock.now()):
            if name not in self.routes:
                await self._write(self._forsake, name)
            elif name not in self._working and self._breakers[name].admits(self._clock.now()):
                task = asyncio.get_running_loop().create_task(self._work(self.routes[name]))
                self._working[name] = task
                task.add_done_callback(functools.partial(self._done, name))

    async def settled(self) -> None:
        """Wait until no route is at work."""
        while self._working:
            await asyncio.gather(*self._working.values(), return_exceptions=True)

    async def close(self) -> None:
        """Give up what is being tried; it is due again when its time is up."""
        for task in list(self._working.values()):
            task.cancel()
        await self.settled()

    async def _write(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Do it in a thread, a few times if the ledger is busy: what was sent and not noted is sent again."""
        async with self._writing:
            for _ in range(_PATIENCE):
                try:
                    return await asyncio.to_thread(work, *arguments)
                except LedgerError:
                    await asyncio.sleep(_PAUSE)
            return await asyncio.to_thread(work, *arguments)

    def _done(self, name: str, _: asyncio.Task[None]) -> None:
        self._working.pop(name, None)

    def _route(self) -> None:
        """Find the routes of each new notice."""
        now = self._clock.now()
        while notices := outbox_queries.unrouted(self._reader, now):
            last = functools.cache(functools.partial(outbox_queries.last_of_group, self._reader))
            ways = [way for notice in notices for way in self._ways(notice, now, last)]
            outbox_sending.route(self._ledger, [notice.serial for notice in notices], ways)

    def _ways(self, notice: Told, now: float, last_of: Callable[[str, str], float]) -> list[Way]:
        if notice.due and notice.kind == "resumed" and not outbox_queries.still_suspended(self._reader, notice):
            # It tells of a suspension that ends by itself, and somebody has changed that meanwhile.
            return []
        found = []
        for route in self.routes.values():
            if not route.wants(notice):
                continue
            group = route.group(notice)
            last = last_of(route.name, group) if group else 0.0
            found.append(
                Way(
                    notice=notice.serial,
                    route=route.name,
                    created=now,
                    due=routes.due(route, notice, now, last),
                    expires=now + route.expiry,
                    grouped=group,
                )
            )
        return found

    def _forsake(self, name: str) -> None:
        """A route that the configuration no longer has."""
        while rows := outbox_queries.due(self._reader, name, self._clock.now()):
            fields = {"state": "left_out", "answer": "there is no such route any more"}
            outbox_sending.note(self._ledger, [row.serial for row in rows], **fields)

    async def _work(self, route: Route) -> None:
        breaker = self._breakers[route.name]
        try:
            for _ in range(_LETTERS):
                now = self._clock.now()
                waiting = await asyncio.to_thread(outbox_queries.due, self._reader, route.name, now, 1)
                if not waiting or not self._may_i():
                    break
                answer = await self._send(route, waiting[0])
                if answer is None:
                    continue
                if answer.result != "later":
                    breaker.succeeded()
                elif breaker.failed(self._clock.now()):
                    pause = self._settings.pause
                    _log.warning("notices by route %s fail, and wait for %g s: %s", route.name, pause, answer.text)
                if breaker.open:
                    # One at a time is tried from now on, which must not keep what is too late for ever.
                    late = await self._write(outbox_sending.expire, self._ledger, route.name, self._clock.now())
                    self._count(route.name, "failed", late)
                    break
        except LedgerError as error:
            _log.error("notices by route %s wait: %s", route.name, error)
        except Exception:
            _log.exception("notices by route %s wait, by a fault of ours", route.name)
        finally:
            breaker.unsettled()

    async def _send(self, route: Route, first: Sending) -> Answer | None:
        """Try it once, with what goes out with it. None: another host or a person was there first."""
        now = self._clock.now()
        sendings = await asyncio.to_thread(outbox_queries.together, self._reader, first)
        serials = [sending.serial for sending in sendings]
        letter = Letter(id=first.letter or new_id(now), sendings=tuple(sendings), now=now)
        claim = functools.partial(outbox_sending.claim, self._ledger, serials, first.letter)
        if not sendings or not await self._write(claim, letter.id, now, now + LONGEST_TRY):
            return None
        try:
            async with asyncio.timeout(LONGEST_TRY):
                answer = await route.carry(letter)
        except TimeoutError:
            answer = Answer(result="later", text=f"not done within {LONGEST_TRY:g} s")
        except LedgerError:
            raise
        except Exception:
            _log.exception("notice %s cannot be sent by route %s, by a fault of ours", letter.id, route.name)
            answer = Answer(result="later", text="a fault of ours; the log of the service has it")
        expires = min(sending.expires for sending in sendings)
        # One that has an id and no answer was tried as well: its sender was killed meanwhile.
        attempts = max(first.attempts, 1 if first.letter else 0) + 1
        fields = self._fields(answer, attempts, self._clock.now(), expires)
        await self._write(functools.partial(outbox_sending.note, self._ledger, serials, **fields))
        self._count(route.name, fields.get("state", answer.result), 1)
        if answer.result == "wait":
            late = await self._write(outbox_sending.expire, self._ledger, route.name, self._clock.now())
            self._count(route.name, "failed", late)
        return answer

    def _fields(self, answer: Answer, attempts: int, now: float, expires: float) -> dict[str, Any]:
        """What is written down of a try: columns of `outbox_sending`."""
        fields: dict[str, Any] = {"answer": answer.text[:500]}
        if answer.result == "wait":
            # Without its id it goes out with whatever comes until then.
            fields |= {"grouped": answer.grouped} if answer.grouped else {}
            return fields | {"letter": "", "attempts": attempts - 1, "due": now + answer.wait}
        fields |= {"attempts": attempts, "tried": now}
        if answer.result != "later":
            return fields | {"state": answer.result, "addressee": answer.addressee}
        if now >= expires:
            return fields | {"state": "failed"}
        retry = self._settings.retry
        pause = retry[min(attempts, len(retry)) - 1] * (0.75 + 0.5 * self._jitter())
        # The last try is when its time is up.
        return fields | {"due": min(now + max(pause, min(answer.wait, LONGEST_WAIT)), expires)}
