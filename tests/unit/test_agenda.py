"""Whose turn it is: fairness, shares, and that nothing is forgotten, in virtual time."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from outbound_guard.delivery.agenda import Agenda
from outbound_guard.delivery.turn import FINE, Outlook, Turn, places_of

NOW = 1000.0


def taken(agenda: Agenda, now: float, number: int = 10_000) -> list[str]:
    """What is taken at `now`, until there is nothing, or there are `number`."""
    found: list[str] = []
    while len(found) < number and (id_ := agenda.take(now)) is not None:
        found.append(id_)
    return found


def test_of_one_account_what_is_due_goes_in_order_of_time_and_the_index_stays_small() -> None:
    agenda = Agenda(100)
    for number in range(1000):
        agenda.put(str(number % 10), Turn(float(number)))
    assert len(agenda) == 10
    assert len(agenda._times) < 100
    assert agenda.next_time() == 990.0
    agenda.keep({"3", "5", "x"})
    assert agenda.take(992.0) is None
    assert taken(agenda, 2000.0) == ["3", "5"]
    assert agenda.next_time() is None


def test_a_single_message_does_not_wait_behind_anothers_thousand() -> None:
    agenda = Agenda(10)
    for number in range(1000):
        agenda.put(f"bulk{number:03}", Turn(NOW, "bulk", "slow.test"))
    under_way = taken(agenda, NOW)
    assert under_way == [f"bulk{number:03}" for number in range(4)]
    agenda.put("single", Turn(NOW, "other", "elsewhere.test"))
    # A place is free all the time, and one for the same destination is the next.
    assert taken(agenda, NOW) == ["single"]
    agenda.done("single")
    agenda.put("single", Turn(NOW, "other", "slow.test"))
    assert taken(agenda, NOW) == []
    agenda.done(under_way[0])
    agenda.done(under_way[1])
    assert "single" in taken(agenda, NOW)


def test_thousands_of_domains_of_a_receiver_that_takes_nothing_keep_nobody_waiting() -> None:
    asked: list[str] = []

    def outlook(name: str) -> Outlook:
        asked.append(name)
        return FINE if name == "elsewhere.test" else Outlook(0.25)

    agenda = Agenda(100, outlook)
    for number in range(5000):
        agenda.put(f"bulk{number}", Turn(NOW, "bulk", f"d{number}.test"))
    now, most, rounds, found = NOW, 0, 0, list[str]()
    while len(found) < 20:
        if rounds % 50 == 0:
            agenda.put(f"single{rounds}", Turn(now, "other", "elsewhere.test"))
            since = rounds
        before = len(asked)
        if (id_ := agenda.take(now)) is not None:
            found.append(id_)
            agenda.done(id_)
            assert rounds - since <= 3, "it was passed over"
        most, rounds, now = max(most, len(asked) - before), rounds + 1, now + 0.01
        assert rounds < 1100
    assert most <= 201
    # Nor is one of the thousands forgotten.
    assert len(set(asked)) == 5001
    assert agenda.next_time() is not None


def test_accounts_and_destinations_take_turns() -> None:
    agenda = Agenda(1000)
    for number in range(30):
        agenda.put(f"a-{number % 2}-{number:02}", Turn(NOW, "a", f"d{number % 2}.test"))
        if number < 10:
            agenda.put(f"b-0-{number:02}", Turn(NOW, "b", "d0.test"))
    order = taken(agenda, NOW)
    assert [id_[0] for id_ in order[:20]] == ["a", "b"] * 10
    assert [id_[2] for id_ in order if id_[0] == "a"] == ["0", "1"] * 15
    assert len(order) == 40


@pytest.mark.parametrize("hanging", [1, 2, 3, 8])
def test_those_that_hang_leave_places_for_others(hanging: int) -> None:
    agenda = Agenda(50)
    for destination in range(hanging):
        for number in range(200):
            agenda.put(f"h{destination}-{number}", Turn(NOW, f"a{number}", f"hangs{destination}.test"))
    stuck = Counter(id_.partition("-")[0] for id_ in taken(agenda, NOW))
    assert max(stuck.values()) == 17
    assert sum(stuck.values()) < 50
    for number in range(100):
        agenda.put(f"fine{number}", Turn(NOW, "other", f"d{number}.test"))
    gone = 0
    while found := taken(agenda, NOW):
        gone += len(found)
        for id_ in found:
            agenda.done(id_)
    assert gone == 100


def test_one_account_with_many_slow_destinations_leaves_places_for_others() -> None:
    agenda = Agenda(50)
    for number in range(200):
        agenda.put(f"bulk{number}", Turn(NOW, "bulk", f"d{number}.test"))
    assert len(taken(agenda, NOW)) == 17
    agenda.put("single", Turn(NOW, "other", "x.test"))
    assert taken(agenda, NOW) == ["single"]


def test_what_waits_for_a_destination_that_is_away_is_not_tried_and_goes_when_it_is_back() -> None:
    looks = {"away.test": Outlook(5.0)}
    agenda = Agenda(50, lambda name: looks.get(name, FINE))
    for number in range(100):
        agenda.put(str(number), Turn(NOW, f"a{number % 7}", "away.test"))
    assert taken(agenda, NOW) == []
    assert agenda.next_time() == NOW + 5.0
    looks["away.test"] = Outlook(most=1)  # It may be tried whether it is back.
    [probe] = taken(agenda, NOW + 5.0)
    looks["away.test"] = Outlook(10.0)
    agenda.done(probe)
    assert taken(agenda, NOW + 6.0) == []
    assert agenda.next_time() == NOW + 16.0
    looks["away.test"] = Outlook(most=1)
    [probe] = taken(agenda, NOW + 16.0)
    del looks["away.test"]
    agenda.done(probe)
    gone = 0
    while found := taken(agenda, NOW + 16.0):
        gone += len(found)
        assert len(found) <= 17  # Not all at once.
        for id_ in found:
            agenda.done(id_)
    assert gone == 98


def test_what_is_stranded_is_due_as_soon_as_its_destination_answers() -> None:
    agenda = Agenda(50)
    agenda.put("one", Turn(NOW + 600, "a", "away.test", stranded=True))
    agenda.put("two", Turn(NOW + 600, "a", "away.test"))
    agenda.put("three", Turn(NOW + 600, "a", "other.test", stranded=True))
    assert agenda.answered("away.test", NOW) == ["one"]
    assert taken(agenda, NOW) == ["one"]
    assert agenda.answered("away.test", NOW) == []


def test_what_must_not_wait_any_longer_goes_though_its_destination_is_closed() -> None:
    agenda = Agenda(50, lambda name: Outlook(1e9))
    agenda.put("expires", Turn(NOW, "a", "away.test", latest=NOW + 100))
    agenda.put("waits", Turn(NOW, "a", "away.test", latest=NOW + 200))
    assert taken(agenda, NOW) == []
    assert agenda.next_time() == NOW + 100
    assert taken(agenda, NOW + 99) == []
    assert taken(agenda, NOW + 100) == ["expires"]
    agenda.put("at once", Turn(NOW + 100, "a", "away.test", latest=NOW + 100))
    assert taken(agenda, NOW + 100) == ["at once"]


def test_a_clock_that_was_set_back_makes_no_wait_longer() -> None:
    looks = {"away.test": Outlook(10.0)}
    agenda = Agenda(50, lambda name: looks.get(name, FINE))
    agenda.put("one", Turn(NOW - 900, "a", "away.test"))
    assert taken(agenda, NOW) == []
    looks.clear()
    assert taken(agenda, NOW - 500) == ["one"]


def test_large_messages_take_several_places_and_one_that_is_free_is_enough() -> None:
    assert (places_of(0), places_of(2**21), places_of(50 * 2**20)) == (1, 2, 26)
    agenda = Agenda(100)
    for number in range(100):
        agenda.put(f"{number:02}", Turn(NOW + number / 1000, f"a{number}", f"d{number}.test", places=26))
    under_way = taken(agenda, NOW + 1)
    assert len(under_way) == 4
    assert agenda.next_time() is None
    agenda.put("small", Turn(NOW, "b", "b.test"))
    agenda.done(under_way.pop(0))
    # It is the last of those that have their turn.
    for _ in range(100):
        under_way += taken(agenda, NOW + 1)
        assert len(under_way) <= 5
        agenda.done(under_way.pop(0))
    assert len(agenda) == 0


def test_one_accounts_large_messages_leave_places_for_others() -> None:
    agenda = Agenda(100)
    for number in range(50):
        agenda.put(f"large{number}", Turn(NOW, "a", f"d{number}.test", places=13))
    assert len(taken(agenda, NOW)) == 3
    agenda.put("single", Turn(NOW, "other", "x.test"))
    assert taken(agenda, NOW) == ["single"]


class Model(RuleBasedStateMachine):
    """Anything in any order; at the end all destinations are well, and then everything must go."""

    @initialize(places=st.integers(1, 12))
    def begin(self, places: int) -> None:
        self.places, self.now, self.latest = places, NOW, NOW
        self.looks: dict[str, Outlook] = {}
        self.agenda = Agenda(places, lambda name: self.looks.get(name, FINE))
        self.known: dict[str, Turn] = {}
        self.under_way: dict[str, Turn] = {}
        self.number = 0

    @rule(
        due=st.integers(-5, 20), account=st.integers(0, 3), destination=st.integers(0, 3), latest=st.integers(0, 100),
        many=st.integers(1, 5), stranded=st.booleans(), places=st.sampled_from([1, 1, 1, 5]),
    )  # fmt: skip
    def put(
        self, due: int, account: int, destination: int, latest: int, many: int, stranded: bool, places: int
    ) -> None:
        for _ in range(many):
            self.number += 1
            end = self.now + latest if latest < 50 else float("inf")
            name = f"d{destination}" if destination else ""
            turn = Turn(self.now + due, f"a{account}", name, end, stranded, places)
            self.known[str(self.number)] = turn
            self.agenda.put(str(self.number), turn)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), later=st.integers(0, 20))
    def put_again(self, data: st.DataObject, later: int) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.known)))
        self.known[id_] = self.known[id_]._replace(due=self.now + later)
        self.agenda.put(id_, self.known[id_])

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def forget_one(self, data: st.DataObject) -> None:
        del self.known[data.draw(st.sampled_from(sorted(self.known)))]
        self.agenda.keep(set(self.known))

    @rule(destination=st.integers(1, 3))
    def answered(self, destination: int) -> None:
        for id_ in self.agenda.answered(f"d{destination}", self.now):
            turn = self.known[id_]
            self.known[id_] = turn._replace(due=min(turn.due, self.now), stranded=False)

    @rule(number=st.integers(1, 30))
    def take(self, number: int) -> None:
        for id_ in taken(self.agenda, self.now, number):
            turn = self.known.pop(id_)
            # What has come due once stays so, also if the clock is set back then.
            assert turn.due <= self.latest
            self.under_way[id_] = turn

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), again=st.booleans())
    def done(self, data: st.DataObject, again: bool) -> None:
        id_ = data.draw(st.sampled_from(sorted(self.under_way)))
        turn = self.under_way.pop(id_)
        self.agenda.done(id_)
        if again:
            self.known[id_] = turn._replace(due=self.now + 3)
            self.agenda.put(id_, self.known[id_])

    @rule(destination=st.integers(1, 3), wait=st.sampled_from([0, 0, 2, 30]), most=st.integers(0, 2))
    def look(self, destination: int, wait: int, most: int) -> None:
        self.looks[f"d{destination}"] = Outlook(wait, most)

    @rule(seconds=st.integers(-10, 30))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        self.latest = max(self.latest, self.now)

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "agenda"):
            assert len(self.agenda) == len(self.known) + len(self.under_way)
            assert self.agenda.under_way == len(self.under_way) <= self.places
            assert all(self.agenda.waits(id_) for id_ in self.known)
            used = [turn.places for turn in self.under_way.values()]
            assert sum(used) < self.places + max(used, default=1)

    def teardown(self) -> None:
        if not hasattr(self, "agenda"):
            return
        self.looks.clear()
        for _ in range(10 * self.number + 10):
            for id_ in taken(self.agenda, self.now):
                self.under_way[id_] = self.known.pop(id_)
            if self.under_way:
                id_ = next(iter(self.under_way))
                del self.under_way[id_]
                self.agenda.done(id_)
            elif (time := self.agenda.next_time()) is not None:
                assert time > self.now
                self.now = time
        assert not self.known
        assert not self.under_way
        # Nothing of it stays in memory.
        agenda = self.agenda
        kept = (agenda._accounts, agenda._destinations, agenda._full, agenda._over, agenda._stranded, agenda._taken)
        assert not any(kept)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40)


@settings(max_examples=100)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=6), st.integers(2, 20), st.integers(0, 2**32))
def test_no_account_is_passed_over(sizes: list[int], places: int, seed: int) -> None:
    """While an account has something to go and nothing under way, others have only a few turns before it."""
    rng = random.Random(seed)
    agenda = Agenda(places)
    for account, size in enumerate(sizes):
        for number in range(size):
            agenda.put(f"{account}-{number}", Turn(NOW, f"a{account}", f"d{rng.randrange(3)}.test"))
    left = Counter(dict(enumerate(sizes)))
    under_way: list[str] = []
    since: Counter[int] = Counter()
    while left.total() or under_way:
        for id_ in taken(agenda, NOW):
            account = int(id_.partition("-")[0])
            left[account] -= 1
            since[account] = 0
            busy = {int(one.partition("-")[0]) for one in under_way}
            since.update(other for other in left if left[other] and other != account and other not in busy)
            under_way.append(id_)
            assert max(since.values(), default=0) <= 5 * (len(sizes) + places)
        agenda.done(under_way.pop(0))  # All take the same time.
