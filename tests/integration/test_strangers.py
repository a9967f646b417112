"""Strangers and the company they keep, against a real store: one address in many accounts, one account or server taken
over, one text in many wordings. The path is the product's own: messages in, verdicts out."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outbound_guard.content.fingerprint import bands
from outbound_guard.content.message import Message
from outbound_guard.mail import Sender
from outbound_guard.reputation import Company, Memory, Observation, Reputation
from outbound_guard.reputation.keys import hashed
from outbound_guard.reputation.memory import TRAITS
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer

DAY = 86_400.0
START = 1_800_000_000.0 - 1_800_000_000.0 % DAY
BOT = "203.0.113.9"
SPAMMY = 4.0
"""Nats: a new sender is a stranger only if its text is suspect."""
TEXT = (
    "Dear customer, we were not able to deliver the parcel with the number {} to your address, since the postage was "
    "not paid in full. Please confirm the delivery within {} hours and pay the difference, or the parcel goes back "
    "to the sender. {} Your parcel service wishes you a pleasant day and looks forward to serving you again very soon."
)


@pytest.fixture
async def reputation(tmp_path: Path) -> AsyncIterator[Reputation]:
    server = EmbeddedServer(tmp_path, persist=False)
    assert await server.start()
    state = await State.connect(server.url, timeout=10.0, count=lambda *labels, by=1: None)
    yield Reputation(state)
    await state.close()
    await server.stop()


def mailbox(name: str, client: str = BOT) -> Sender:
    return Sender(name.partition("@")[2], name, "mailbox", "sasl", client)


def seen(
    sender: Sender, *, network: str = "203.0", text: str = "", server: str = "", now: float = START
) -> Observation:
    values: dict[str, Any] = {"network": network, "script": sender.script}
    message = Message(b"From: a@b.example\r\n\r\n" + text.encode())
    traits = tuple(values.get(name) for name in TRAITS)
    return Observation(now, sender, (), traits, message.fingerprint, SPAMMY, server, lambda: bands(message.sketch))


async def send(reputation: Reputation, what: Observation, *, suspicious: bool = False, times: int = 1) -> Memory:
    """Send it, under suspicion or as a habit; what was known of the sender at the last time."""
    for _ in range(times):
        memory = await reputation.recall(what)
        reputation.learn(what, memory, (), habit=not suspicious, suspicious=suspicious)
        await reputation._state.flush()
    return memory


async def acquaint(reputation: Reputation, sender: Sender) -> None:
    """A sender with a past at another place, long ago."""
    home = mailbox(sender.name, "192.0.2.7")
    await send(reputation, seen(home, network="192.0", now=START - 5 * DAY), times=25)
    await send(reputation, seen(home, network="192.0", now=START - 4 * DAY), times=4)


async def test_of_whom_much_is_known_nobody_else_is_asked(reputation: Reputation) -> None:
    anna = mailbox("anna@example.com")
    await acquaint(reputation, anna)
    at_home = await reputation.recall(seen(anna, network="192.0", text=TEXT))
    assert not at_home.strange(SPAMMY)
    assert (at_home.neighbours, at_home.near, at_home.company) == ({}, None, ())
    away = await reputation.recall(seen(anna, text=TEXT))
    assert away.strange(-1.0)
    assert away.neighbours["address"] == Company(senders=1, times=1)


async def test_a_new_sender_is_no_stranger_unless_its_text_is_suspect(reputation: Reputation) -> None:
    letter = msgspec.structs.replace(seen(mailbox("new@example.com"), text=TEXT), content=1.0)
    assert (await reputation.recall(letter)).company == ()
    assert (await reputation.recall(seen(mailbox("new@example.com"), text=TEXT))).company


async def test_one_address_that_is_new_to_many_accounts(reputation: Reputation) -> None:
    for number in range(3):
        await send(reputation, seen(mailbox(f"one@customer{number}.example")), suspicious=True)
    memory = await reputation.recall(seen(mailbox("anna@example.com")))
    address = memory.neighbours["address"]
    assert (address.senders, address.hot) == (4, 3)
    # Elsewhere it is another story, and an office is one account.
    assert (await reputation.recall(seen(mailbox("anna@example.com", "203.0.113.10")))).neighbours["address"].hot == 0
    for number in range(3):
        await send(reputation, seen(mailbox(f"{number}@office.example", "203.0.113.77")), suspicious=True)
    office = await reputation.recall(seen(mailbox("boss@office.example", "203.0.113.77")))
    assert (office.neighbours["address"].senders, office.neighbours["address"].hot) == (1, 0)
    assert (office.neighbours["account"].senders, office.neighbours["account"].hot) == (4, 3)


async def test_a_server_that_was_taken_over(reputation: Reputation) -> None:
    def script(account: str) -> Sender:
        return Sender(f"web1/{account}", f"web1/{account}:x.php", "script", "header:X-PHP-Script", script="x.php")

    for number in range(3):
        await send(reputation, seen(script(f"uid{number}"), server="web1"), suspicious=True)
    memory = await reputation.recall(seen(script("uid9"), server="web1"))
    assert (memory.neighbours["server"].senders, memory.neighbours["server"].hot) == (4, 3)
    assert "server" not in (await reputation.recall(seen(script("uid9")))).neighbours


async def test_a_reworded_text_is_known_and_another_is_not(reputation: Reputation) -> None:
    closings = ("Thank you for your trust.", "We are sorry for the delay.", "Have a look at our new tariffs!")
    for number, closing in enumerate(closings):
        wording = seen(mailbox(f"one@customer{number}.example"), text=TEXT.format(4711, 48, closing))
        memory = await send(reputation, wording, suspicious=True)
        assert memory.campaign is not None
        assert memory.campaign.senders == 1  # The text itself is another one each time.
        assert memory.near is not None
        assert memory.near.hot == number
    # How often this account has sent nearly the text, whatever others have.
    for times in (1, 2, 3):
        wording = seen(mailbox("anna@example.com"), text=TEXT.format(times, 50 + times, closings[0]))
        memory = await send(reputation, wording)
        assert memory.near is not None
        assert memory.near.times == times
    letter = (
        "Good morning Bob, as we said on the telephone I send you the minutes of our last meeting. Please look "
        "through them and tell me by Friday what is missing; the next meeting will be in the small hall, with cake."
    )
    memory = await reputation.recall(seen(mailbox("anna@example.com"), text=letter))
    assert memory.near is not None
    assert (memory.near.hot, memory.near.times) == (0, 1)


async def test_a_sender_is_not_its_own_company(reputation: Reputation) -> None:
    anna = seen(mailbox("anna@example.com"), text=TEXT, server="mx1")
    await send(reputation, anna, suspicious=True, times=3)
    memory = await reputation.recall(anna)
    assert memory.campaign is not None
    assert memory.campaign.times == 4
    assert memory.near is not None
    assert {memory.campaign.hot, memory.near.hot, *(c.hot for c in memory.neighbours.values())} == {0}
    assert {memory.campaign.senders, memory.near.senders, *(c.senders for c in memory.neighbours.values())} == {1}


async def test_each_of_many_senders_of_a_text_is_told_apart(reputation: Reputation) -> None:
    """Few lie in a row, many in a table, which grows: nobody's number is lost, nor who was under suspicion."""
    people = [mailbox(f"one@customer{number}.example") for number in range(300)]
    for number, sender in enumerate(people, 1):
        what = msgspec.structs.replace(seen(sender), fingerprint=9)
        memory = await send(reputation, what, suspicious=number % 3 == 0)
        assert memory.campaign == Company(senders=number, hot=(number - 1) // 3, times=1)
    for number, sender in enumerate(people, 1):
        again = await reputation.recall(msgspec.structs.replace(seen(sender), fingerprint=9))
        # Nobody is in its own company.
        assert again.campaign == Company(senders=300, hot=100 - (number % 3 == 0), times=2)
    looked = msgspec.structs.replace(seen(mailbox("else@where.example")), fingerprint=9)
    assert (await reputation.recall(looked, count=False)).campaign == Company(senders=300, hot=100)
    reputation.judged(9, good=True)
    reputation.complained(9, people[0].name)
    reputation.complained(9, "somebody@new.example")
    await reputation.state.flush()
    assert (await reputation.recall(looked, count=False)).campaign == Company(senders=300, hot=102, good=1)
    (key,) = [key async for key in reputation.state.scan("c=*")]
    assert await reputation.state.command("STRLEN", key) < 16 * 300
    assert await reputation.state.command("TTL", key) > 6 * DAY


async def test_a_row_of_many_as_an_older_version_left_it_goes_on_as_a_table(reputation: Reputation) -> None:
    row = b"".join(hashed(f"one@customer{number}.example") + (4).to_bytes(4, "little") for number in range(100))
    key = b"c=" + (9).to_bytes(8)
    await reputation.state.command("SET", key, struct.pack("<HHHHH", 1, 2, 3, 100, 0) + row, "EX", 1000)
    known = msgspec.structs.replace(seen(mailbox("one@customer50.example")), fingerprint=9)
    added = msgspec.structs.replace(seen(mailbox("else@where.example")), fingerprint=9)
    for what, senders, times in ((known, 100, 3), (added, 101, 1), (known, 101, 4), (added, 101, 2)):
        told = (await reputation.recall(what)).campaign
        assert told == Company(senders=senders, good=2, bad=3, times=times)
    assert (await reputation.state.command("GETRANGE", key, 10, 13)) == bytes(4)


async def test_looking_counts_nobody(reputation: Reputation) -> None:
    anna = seen(mailbox("anna@example.com"), text=TEXT)
    looked = await reputation.recall(anna, count=False)
    assert looked.neighbours["address"] == Company()
    assert (await reputation.recall(anna)).neighbours["address"] == Company(senders=1, times=1)


async def test_who_repeats_texts_is_known_for_it(reputation: Reputation) -> None:
    what = seen(mailbox("shop@example.com"), text=TEXT)
    for _ in range(40):
        memory = await reputation.recall(what)
        assert memory.campaign is not None
        reputation.learn(what, memory, (), habit=True, copy=memory.campaign.times > 2)
        await reputation._state.flush()
    memory = await reputation.recall(what, count=False)
    assert 0.9 < memory.sender.copied < 1


async def test_without_the_store_strangers_are_let_pass(tmp_path: Path) -> None:
    state = await State.connect(f"unix://{tmp_path}/none.sock", timeout=1.0, count=lambda *labels, by=1: None)
    memory = await Reputation(state).recall(seen(mailbox("anna@example.com"), text=TEXT))
    assert not memory.available
    assert not memory.strange(SPAMMY)
    await state.close()
