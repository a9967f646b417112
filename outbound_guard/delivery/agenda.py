"""Who is next: messages by due time, and of those that are due one of each account in turn.

    not due yet                      due                                                      under way
    by time  ──────────────►  account ─► line for a destination ─┐
                              account ─► line for a destination ─┼─ in turn ─────────────►  at most so many
                                     └─► line for a destination ─┘
                                               ▲    │ cannot go now
                                               └────┘ waits with its destination

A message that is due stands in the *line* of its account for its destination. Accounts have their turn one after the
other, and of one account its lines, so that a thousand messages of one do not stand before the single one of another.

A line whose destination cannot take a message now waits with it: because it is away or has asked for a pause (*closed*;
`outlook` says for how long), or because it has its share already (*full*). Nobody may get more than half as many places
as are free, no destination and no account: one that hangs takes a third of them all, the next a third of the rest, and
so on, so that it takes a dozen that hang at the same time until somebody else has to wait. A large message takes
several places, since what is under way lies in memory. One free place is enough for it all the same: else it would have
to wait until there are many at once, and the others behind it.

A destination that opens gets one line back, and every message that ends brings as many as there is room for. So what
waits for a destination that was away is not tried one by one meanwhile, goes as soon as it is back, and does not go all
at once. What must not wait longer than until some time (its expiry) goes then, whatever its destination.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable

from outbound_guard.delivery.turn import FINE, Outlook, Turn

_LOOKS = 200
"""Destinations that are looked at in one go: where a receiver has thousands of domains, and takes nothing now, nobody
waits until all of them were asked about."""


class _Line:
    __slots__ = ("account", "destination", "messages")

    def __init__(self, account: _Account, destination: _Destination) -> None:
        self.account, self.destination = account, destination
        self.messages: list[tuple[float, str]] = []
        """A heap: due time and id. Those that `_due` does not know with this time are out of date."""


class _Account:
    __slots__ = ("by_destination", "in_turn", "lines", "name", "places", "under_way")

    def __init__(self, name: str) -> None:
        self.name = name
        self.under_way = self.places = 0
        self.in_turn = False
        self.by_destination: dict[str, _Line] = {}
        self.lines: deque[_Line] = deque()
        """Those of its lines that do not wait with their destination."""


class _Destination:
    __slots__ = ("closed", "lines", "name", "places", "under_way", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.under_way = self.places = self.lines = 0
        self.closed = 0.0
        """Until when."""
        self.waiting: deque[_Line] | None = None


def _has_share(party: _Account | _Destination, free: int) -> bool:
    """True if it has so much under way that the places that are free are for others."""
    return 2 * party.places >= free > 0 < party.places


class Agenda:
    """Ids with their turns; small enough for 100,000 of them."""

    def __init__(self, places: int, outlook: Callable[[str], Outlook] = lambda _: FINE) -> None:
        """`places` are there at a time. `outlook` is asked about a destination before each message."""
        self._places, self._outlook = places, outlook
        self._later: dict[str, Turn] = {}
        self._due: dict[str, Turn] = {}
        self._under_way: dict[str, Turn] = {}
        self._taken = 0
        self._now = 0.0
        # Due times of what is not due yet, `latest` of what is; may hold entries that are out of date.
        self._times: list[tuple[float, str]] = []
        self._openings: list[tuple[float, str]] = []
        self._accounts: dict[str, _Account] = {}
        self._destinations: dict[str, _Destination] = {}
        self._in_turn: deque[_Account] = deque()
        # Who has too much under way for the places that are free: with at least one message each, so they are few.
        self._full: dict[str, _Destination] = {}
        self._over: dict[str, _Account] = {}
        self._stranded: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """All that are known, those under way included."""
        return len(self._later) + len(self._due) + len(self._under_way)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._due or id_ in self._later or id_ in self._under_way

    @property
    def under_way(self) -> int:
        """How many were taken and are not done."""
        return len(self._under_way)

    def waits(self, id_: str) -> bool:
        """True if it is known and not under way."""
        return id_ in self._due or id_ in self._later

    def put(self, id_: str, turn: Turn) -> None:
        """Note when a message has its turn, instead of what was noted before."""
        self._drop(id_)
        self._later[id_] = turn
        if turn.stranded:
            self._stranded.setdefault(turn.destination, set()).add(id_)
        heapq.heappush(self._times, (turn.due, id_))
        if len(self._times) > 2 * (len(self._later) + len(self._due)) + 64:
            self._times = [(one.due, known) for known, one in self._later.items()]
            self._times += [(one.latest, known) for known, one in self._due.items() if one.latest < math.inf]
            heapq.heapify(self._times)

    def keep(self, ids: set[str]) -> None:
        """Forget all but `ids` and what is under way."""
        for id_ in (self._later.keys() | self._due.keys()) - ids:
            self._drop(id_)

    def take(self, now: float) -> str | None:
        """The message whose turn it is at `now`, which is under way from then on. See `done`.

        None: none can go, or none was found among those that were looked at; then `next_time` says at once.
        """
        self._advance(now)
        free = self._places - self._taken
        looks = _LOOKS
        while free > 0 and looks > 0 and self._in_turn:
            account = self._in_turn.popleft()
            account.in_turn = False
            if account.name and _has_share(account, free):
                self._over[account.name] = account
                continue
            if not account.lines:
                continue
            line = account.lines.popleft()
            if not self._can_take(line.destination, free, now):
                looks -= line.destination.closed > now
                if line.destination.waiting is None:
                    line.destination.waiting = deque()
                line.destination.waiting.append(line)
                # The last one has its next turn after the others.
                self._queue(account, first=looks > 0)
                continue
            id_ = self._first(line)
            if line.messages:
                # Those who wait for the same destination come first.
                (account.lines if line.destination.waiting is None else line.destination.waiting).append(line)
            else:
                del account.by_destination[line.destination.name]
                line.destination.lines -= 1
            if id_ is None:
                # Nobody starts, so nobody will end who would bring the next line.
                self._release(line.destination, 1)
                self._queue(account, first=True)
                self._forget(account, line.destination)
                continue
            self._queue(account)
            turn = self._under_way[id_] = self._due.pop(id_)
            self._unstrand(id_, turn)
            self._taken += turn.places
            for party in (account, line.destination):
                party.under_way += 1
                party.places += turn.places
            if line.destination.name != turn.destination:
                # It could not wait any longer; its end is no news of the destination.
                self._under_way[id_] = turn._replace(destination="")
            return id_
        return None

    def done(self, id_: str) -> Turn:
        """The work on a message that was taken has ended; the turn it had."""
        turn = self._under_way.pop(id_)
        account, destination = self._accounts[turn.account], self._destinations[turn.destination]
        self._taken -= turn.places
        for party in (account, destination):
            party.under_way -= 1
            party.places -= turn.places
        destination.closed = 0.0
        free = self._places - self._taken
        self._release(destination, max(1, free // 2 - destination.places))
        for full in [one for one in self._full.values() if not _has_share(one, free)]:
            del self._full[full.name]
            self._release(full, 1)
        for over in [one for one in self._over.values() if not _has_share(one, free)]:
            del self._over[over.name]
            self._queue(over)
        self._forget(account, destination)
        return turn

    def answered(self, destination: str, now: float) -> list[str]:
        """A destination has answered: what was stranded there is due at `now`. The ids of those."""
        found = []
        for id_ in self._stranded.pop(destination, ()):
            turn = self._later.get(id_)
            if turn is not None and turn.stranded and turn.destination == destination:
                self.put(id_, turn._replace(due=min(turn.due, now), stranded=False))
                found.append(id_)
        return found

    def next_time(self) -> float | None:
        """When `take` is worth calling next, if nothing ends before; None: not before something ends, or is put.

        A time that has passed means at once.
        """
        if self._taken >= self._places:
            return None
        if self._in_turn:
            return 0.0
        self._clean()
        times = [heap[0][0] for heap in (self._times, self._openings) if heap]
        return min(times, default=None)

    def _drop(self, id_: str) -> None:
        """Forget what waits."""
        for known in (self._later, self._due):
            if (turn := known.pop(id_, None)) is not None:
                self._unstrand(id_, turn)

    def _unstrand(self, id_: str, turn: Turn) -> None:
        if turn.stranded and (ids := self._stranded.get(turn.destination)):
            ids.discard(id_)
            if not ids:
                del self._stranded[turn.destination]

    def _clean(self) -> None:
        """Leave out what is out of date at the front."""
        times, openings = self._times, self._openings
        while times and not self._is_valid(*times[0]):
            heapq.heappop(times)
        while openings and not self._is_opening(*openings[0]):
            heapq.heappop(openings)

    def _is_valid(self, time: float, id_: str) -> bool:
        turn = self._later.get(id_)
        if turn is not None:
            return turn.due == time
        turn = self._due.get(id_)
        return turn is not None and turn.latest == time

    def _is_opening(self, time: float, name: str) -> bool:
        destination = self._destinations.get(name)
        return destination is not None and destination.closed == time

    def _advance(self, now: float) -> None:
        """Let what has become due stand in its line, and open what was closed until now."""
        times, openings = self._times, self._openings
        if now < self._now:
            # A clock that was set back must not make the wait longer.
            for destination in self._destinations.values():
                destination.closed = 0.0
                self._release(destination, 1)
        self._now = now
        opened = 0
        # Fewer than are looked at, so that there is always room for what did not wait.
        while openings and openings[0][0] <= now and opened < _LOOKS // 2:
            time, name = heapq.heappop(openings)
            if self._is_opening(time, name):
                opened += 1
                destination = self._destinations[name]
                destination.closed = 0.0
                self._release(destination, 1)
        while times and times[0][0] <= now:
            time, id_ = heapq.heappop(times)
            if not self._is_valid(time, id_):
                continue
            turn = self._later.pop(id_, None)
            if turn is None:
                self._stand(id_, self._due[id_], "")
            elif id_ in self._under_way:
                # It was put back while its work was about to end.
                self.put(id_, turn._replace(due=now + 1.0))
            else:
                self._due[id_] = turn
                self._stand(id_, turn, turn.destination if turn.latest > now else "")
                if now < turn.latest < math.inf:
                    heapq.heappush(times, (turn.latest, id_))

    def _stand(self, id_: str, turn: Turn, name: str) -> None:
        account = self._accounts.get(turn.account)
        if account is None:
            account = self._accounts[turn.account] = _Account(turn.account)
        line = account.by_destination.get(name)
        if line is None:
            destination = self._destinations.get(name)
            if destination is None:
                destination = self._destinations[name] = _Destination(name)
            destination.lines += 1
            line = account.by_destination[name] = _Line(account, destination)
            if destination.waiting is None:
                account.lines.append(line)
                self._queue(account)
            else:
                destination.waiting.append(line)
        heapq.heappush(line.messages, (turn.due, id_))

    def _first(self, line: _Line) -> str | None:
        while line.messages:
            due, id_ = heapq.heappop(line.messages)
            turn = self._due.get(id_)
            if turn is not None and turn.due == due:
                return id_
        return None

    def _queue(self, account: _Account, first: bool = False) -> None:
        if account.lines and not account.in_turn and account.name not in self._over:
            account.in_turn = True
            (self._in_turn.appendleft if first else self._in_turn.append)(account)

    def _can_take(self, destination: _Destination, free: int, now: float) -> bool:
        if not destination.name:
            return True
        if destination.closed > now:
            return False
        if not _has_share(destination, free):
            outlook = self._outlook(destination.name)
            if outlook.wait > 0:
                destination.closed = now + outlook.wait
                heapq.heappush(self._openings, (destination.closed, destination.name))
                return False
            if not outlook.most or destination.under_way < outlook.most:
                return True
        self._full[destination.name] = destination
        return False

    def _release(self, destination: _Destination, number: int) -> None:
        """Let up to `number` lines that wait with a destination have their turn, which has come before."""
        back = []
        while number > 0 and destination.waiting:
            back.append(destination.waiting.popleft())
            number -= 1
        for line in reversed(back):
            line.account.lines.appendleft(line)
            self._queue(line.account, first=True)
        if not destination.waiting:
            destination.waiting = None

    def _forget(self, account: _Account, destination: _Destination) -> None:
        if not account.under_way and not account.by_destination:
            self._accounts.pop(account.name, None)
        if not destination.under_way and not destination.lines:
            self._destinations.pop(destination.name, None)
            self._full.pop(destination.name, None)
