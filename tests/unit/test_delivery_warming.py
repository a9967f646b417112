"""What new addresses may send, day by day, and how several processes keep to one number."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.config import Address, Config, Delivery
from outbound_guard.delivery.warming import DAY, Budget, Warming, budget_of, budgets_of, day_of

FIRST = 20_000 * DAY
"""2024-10-04, in unix seconds."""
TABLE = Address(address="192.0.2.1", warm_up="2024-10-04")


@pytest.mark.parametrize(
    ("day", "budget"),
    [
        (-1, Budget("192.0.2.1", 0, 0)),
        (0, Budget("192.0.2.1", 1, 10)),
        (1, Budget("192.0.2.1", 2, 20)),
        (2, None),
        (400, None),
    ],
)
def test_the_number_of_each_day(day: int, budget: Budget | None) -> None:
    for second in (0.0, DAY - 0.001):
        assert budget_of("192.0.2.1", "2024-10-04", (10, 20), FIRST + day * DAY + second) == budget


def test_a_schedule_of_its_own_comes_before_that_of_all() -> None:
    tables = (TABLE, Address(address="192.0.2.2", warm_up="2024-10-04", schedule=(7,)), Address(address="192.0.2.3"))
    config = Config(delivery=Delivery(warm_up=(5, 9), address=tables))
    assert [(one.address, one.most) for one in budgets_of(config, FIRST)] == [("192.0.2.1", 5), ("192.0.2.2", 7)]
    assert [(one.address, one.most) for one in budgets_of(config, FIRST + DAY)] == [("192.0.2.1", 9)]


def test_the_default_schedule_rises_for_a_month() -> None:
    days = Delivery().warm_up
    assert len(days) == 30
    assert all(1.2 <= after / before <= 1.5 for before, after in itertools.pairwise(days))


class Counter:
    """The counter that all processes share."""

    def __init__(self) -> None:
        self.sent: dict[tuple[str, int], int] = {}
        self.away = False

    async def add(self, address: str, day: int, number: int) -> int:
        if self.away:
            raise ConnectionError
        self.sent[address, day] = self.sent.get((address, day), 0) + number
        return self.sent[address, day]


def sends(process: Warming, wanted: int) -> int:
    """How many of so many messages go from the address."""
    sent = 0
    for _ in range(wanted):
        if not process.spent("192.0.2.1"):
            process.spend("192.0.2.1")
            sent += 1
    return sent


async def test_processes_share_the_number_of_a_day() -> None:
    counter = Counter()
    processes = [Warming([TABLE], (100,), FIRST, 3) for _ in range(3)]
    sent = 0
    for second in range(60):
        for process in processes:
            await process.sync(FIRST + second, counter.add)
            sent += sends(process, 20)
    assert sent == 100
    for process in processes:
        [(budget, total)] = (await process.sync(FIRST + 60, counter.add)).values()
    assert (budget.most, total) == (100, 100)
    assert all(process.spent("192.0.2.1") for process in processes)
    assert processes[0].wait(FIRST + 60, ["192.0.2.1"]) == 1800.0
    assert processes[0].wait(FIRST + DAY - 10, ["192.0.2.1"]) == 15.0
    # The next day there is no limit any more; others never had one.
    assert await processes[0].sync(FIRST + DAY, counter.add) == {}
    assert sends(processes[0], 1000) == 1000
    assert not processes[0].spent("192.0.2.2")
    assert not processes[0].spent(None)


async def test_one_process_alone_may_use_nearly_all_of_it() -> None:
    counter, idle, busy = Counter(), Warming([TABLE], (100,), FIRST, 2), Warming([TABLE], (100,), FIRST, 2)
    assert sends(busy, 1) == 0
    sent = 0
    for second in range(30):
        await idle.sync(FIRST + second, counter.add)
        await busy.sync(FIRST + second, counter.add)
        if second == 3:
            assert sends(busy, 5) == 5
            assert busy.wait(FIRST, ["192.0.2.1"]) == 5.0
            sent += 5
        sent += sends(busy, 1000)
    assert sent == 99
    # The other has kept one for what may come.
    assert sends(idle, 5) == 1


async def test_without_the_counter_a_process_keeps_to_its_share() -> None:
    counter, process = Counter(), Warming([TABLE], (100,), FIRST, 2)
    await process.sync(FIRST, counter.add)
    assert sends(process, 10) == 1
    counter.away = True
    sent = 1
    for _ in range(10):
        with pytest.raises(ConnectionError):
            await process.sync(FIRST, counter.add)
        sent += sends(process, 1000)
    assert sent == 50
    counter.away = False
    [(budget, total)] = (await process.sync(FIRST, counter.add)).values()
    assert (budget.most, total) == (100, 50)
    other, rest = Warming([TABLE], (100,), FIRST, 2), 0
    for _ in range(30):
        await process.sync(FIRST, counter.add)
        await other.sync(FIRST, counter.add)
        rest += sends(other, 1000)
    assert rest == 49


async def test_before_its_first_day_nothing_goes() -> None:
    process = Warming([TABLE], (100,), FIRST - 1, 2)
    await process.sync(FIRST - 1, Counter().add)
    assert process.spent("192.0.2.1")
    await process.sync(FIRST, Counter().add)
    assert not process.spent("192.0.2.1")


@given(st.integers(1, 500), st.integers(1, 8), st.lists(st.integers(0, 60), min_size=1, max_size=40))
async def test_never_more_than_the_number(most: int, number: int, wanted: list[int]) -> None:
    counter = Counter()
    processes = [Warming([TABLE], (most,), FIRST, number) for _ in range(number)]
    sent = 0
    for second, messages in enumerate(wanted):
        for process in processes[second % 2 :: 2]:
            sent += sends(process, messages)
            await process.sync(FIRST + second, counter.add)
    assert sent <= most
    assert day_of(FIRST) == 20_000
