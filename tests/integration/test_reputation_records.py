"""How the memory lies in a real store: one record a sender, what is much lies apart, and what may be in the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.mail import Sender
from outbound_guard.reputation import Memory, Observation, Reputation, recent
from outbound_guard.reputation.keys import keys_of, record_of
from outbound_guard.reputation.memory import TRAITS
from outbound_guard.reputation.portrait import erase, keys_of_account, portraits
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer

DAY = 86_400.0
START = 1_800_000_000.0
ANNA = Sender("example.com", "anna@example.com", "mailbox", "sasl", "192.0.2.7")
SCRIPT = Sender("web1/uid7", "web1/uid7:mail.php", "script", "header:X-PHP-Originating-Script", script="mail.php")


@pytest.fixture
async def reputation(tmp_path: Path) -> AsyncIterator[Reputation]:
    server = EmbeddedServer(tmp_path, persist=False)
    assert await server.start()
    state = await State.connect(server.url, timeout=10.0, count=lambda *labels, by=1: None)
    yield Reputation(state)
    await state.close()
    await server.stop()


def seen(now: float, *recipients: str, sender: Sender = ANNA, text: int = 0) -> Observation:
    traits = {"network": "192.0", "from": "anna", "hours": "day", "script": sender.script}
    return Observation(now, sender, recipients, tuple(traits.get(name) for name in TRAITS), text)


async def send(reputation: Reputation, what: Observation) -> Memory:
    memory = await reputation.recall(what)
    reputation.learn(what, memory, (), habit=True, went_out=True, outcomes=[("delivered", len(what.recipients))])
    await reputation.state.flush()
    return memory


async def keys(reputation: Reputation) -> set[bytes]:
    return {key async for key in reputation.state.scan("*")}


def people(first: int, last: int) -> list[str]:
    return [f"r{number}@there.example" for number in range(first, last)]


@pytest.mark.parametrize("sender", [ANNA, SCRIPT])
async def test_whoever_knows_many_is_known_by_a_set_of_its_own(reputation: Reputation, sender: Sender) -> None:
    """All that was known inside the record is known apart as well."""
    known = keys_of(sender).known
    await send(reputation, seen(START, *people(0, 50), sender=sender))
    assert known not in await keys(reputation)
    assert (await reputation.recall(seen(START, *people(0, 60), sender=sender))).new_recipients == 10
    await send(reputation, seen(START + 1, *people(40, 300), sender=sender))
    assert known in await keys(reputation)
    assert await reputation.state.command("TTL", known) > 59 * DAY
    memory = await send(reputation, seen(START + 2, *people(0, 310), sender=sender))
    assert (memory.new_recipients, memory.new_domains) == (10, 0)
    assert (await reputation.recall(seen(START + 3, *people(0, 310), sender=sender))).new_recipients == 0
    assert await erase(reputation, sender.account) == 3
    assert await keys(reputation) == set()


async def test_traits_become_known_whether_inside_or_apart(reputation: Reputation) -> None:
    for number in (20, 400):
        await reputation.state.command("FLUSHALL")
        first = await send(reputation, seen(START, *people(0, number)))
        again = await send(reputation, seen(START + DAY, *people(0, number)))
        known = await send(reputation, seen(START + DAY, *people(0, number)))
        assert [one.is_new("from") for one in (first, again, known)] == [True, True, False]
        assert [one.has("from") for one in (first, known)] == [True, True]
        assert not known.has("reply")
        assert known.habit("from") == (2.0, 1.0)
        assert (known.sender.messages, known.sender.recipients, known.sender.new) == (2.0, 2.0 * number, float(number))


async def test_records_of_another_form_are_as_good_as_none(reputation: Reputation) -> None:
    """Memory may be lost, mail may not wait for it: also what an older version left lies in nobody's way."""
    for key in (b"t:{example.com}", b"p:{example.com}:anna@example.com"):
        await reputation.state.command("SET", key, "x" * 92)
    await reputation.state.command("SADD", b"k:{example.com}:anna@example.com", 1, 2)
    await reputation.state.command("HSET", b"c:{4d}", "good", 3)
    for odd in (b"", b"\xff", b"\xff" * 93, bytes(500)):
        for key in keys_of(ANNA)[:2]:
            await reputation.state.command("SET", key, odd, "EX", 1000)
        assert not (await portraits(reputation, [(ANNA.account, ANNA.name)]))[0].known
        await reputation.pardon(ANNA.name, ANNA.account, START, mistake=False)
        for key in keys_of(ANNA)[:2]:
            await reputation.state.command("SET", key, odd)
        memory = await send(reputation, seen(START, "bob@there.example", text=77))
        assert memory.new_recipients == 1
        assert recent(memory.account_traffic, "hour", "messages", START) == 1
        assert (await reputation.recall(seen(START, "bob@there.example"), count=False)).new_recipients == 0
    # What is left of that form goes with the account.
    assert b"p:{example.com}:anna@example.com" in [key async for key in keys_of_account(reputation, ANNA.account)]


async def test_a_text_that_was_sent_once_is_forgotten_soon(reputation: Reputation) -> None:
    for number in range(2):
        await send(reputation, seen(START + number, "bob@there.example", text=77))
        (text,) = [key for key in await keys(reputation) if key.startswith(b"c=")]
        kept = await reputation.state.command("TTL", text)
        assert (kept <= 1.5 * DAY) == (number == 0)
    await reputation.recall(seen(START, "bob@there.example", text=78))
    reputation.judged(78, good=True)
    await reputation.state.flush()
    for key in await keys(reputation):
        if key.startswith(b"c="):
            assert await reputation.state.command("TTL", key) > 6 * DAY


async def test_a_sender_takes_less_than_a_kilobyte(reputation: Reputation) -> None:
    for day in range(10):
        await send(reputation, seen(START + day * DAY, *people(day, day + 10)))
    used = [await reputation.state.command("MEMORY", "USAGE", key) for key in await keys(reputation)]
    assert sum(used) < 1000, used


NAME = st.text("ab@:+.{}", min_size=1, max_size=6)


@given(st.tuples(NAME, NAME), st.tuples(NAME, NAME))
def test_two_senders_of_an_account_never_share_a_record(one: tuple[str, str], two: tuple[str, str]) -> None:
    account = one[0]
    first, second = record_of(account, one[1]), record_of(account, two[1])
    assert (first == second) == (one[1] == two[1])
    assert record_of(account) not in (first, second)
