"""The memory of senders, against a real store."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from outbound_guard.config import Policy
from outbound_guard.learning import Learning
from outbound_guard.mail import Sender
from outbound_guard.reply import parse
from outbound_guard.reputation import Evidence, Memory, Observation, Reputation, recent, sums
from outbound_guard.reputation.memory import TRAITS
from outbound_guard.signals import Panel
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer

HOUR, DAY = 3600.0, 86400.0
START = 1_800_000_000.0 - 1_800_000_000.0 % DAY
ANNA = Sender("example.com", "anna@example.com", "mailbox", "sasl", "192.0.2.7")
SCRIPT = Sender("web1/uid1012", "web1/uid1012:mail.php", "script", "header:X-PHP-Originating-Script", script="mail.php")


@pytest.fixture
async def reputation(tmp_path: Path) -> AsyncIterator[Reputation]:
    server = EmbeddedServer(tmp_path, persist=False)
    assert await server.start()
    state = await State.connect(server.url, timeout=10.0, count=lambda *labels, by=1: None)
    yield Reputation(state)
    await state.close()
    await server.stop()


def seen(
    now: float, *recipients: str, sender: Sender = ANNA, network: str | None = "192.0", fingerprint: int = 0
) -> Observation:
    traits = {"network": network, "script": sender.script}
    return Observation(now, sender, recipients, tuple(traits.get(name) for name in TRAITS), fingerprint)


async def written(reputation: Reputation) -> None:
    await reputation._state.flush()


async def habit(reputation: Reputation, what: Observation) -> Memory:
    """One message that becomes a habit."""
    memory = await reputation.recall(what)
    reputation.learn(what, memory, (), habit=True)
    await written(reputation)
    return memory


async def test_recipients_are_new_once(reputation: Reputation) -> None:
    first = await habit(reputation, seen(START, "bob@example.net", "carol@example.net"))
    again = await reputation.recall(seen(START + 5, "bob@example.net", "dave@example.net"))
    assert (first.new_recipients, again.new_recipients) == (2, 1)


async def test_a_recipient_of_one_mailbox_is_new_to_another_but_known_to_the_scripts_of_an_account(
    reputation: Reputation,
) -> None:
    other = Sender("example.com", "otto@example.com", "mailbox", "sasl")
    second_script = Sender("web1/uid1012", "web1/uid1012:other.php", "script", "x", script="other.php")
    await habit(reputation, seen(START, "bob@example.net"))
    assert (await reputation.recall(seen(START, "bob@example.net", sender=other))).new_recipients == 1
    await habit(reputation, seen(START, "bob@example.net", sender=SCRIPT))
    memory = await reputation.recall(seen(START, "bob@example.net", sender=second_script))
    assert memory.new_recipients == 0
    assert memory.is_new("script")


async def test_looking_counts_and_remembers_nothing(reputation: Reputation) -> None:
    looked = await reputation.recall(seen(START, "bob@example.net"), count=False)
    assert looked.new_recipients == 1
    counted = await reputation.recall(seen(START, "bob@example.net"))
    assert counted.new_recipients == 1
    assert recent(counted.sender_traffic, "hour", "messages", START) == 1


async def test_windows_count_slide_and_end(reputation: Reputation) -> None:
    for number in range(10):
        memory = await habit(reputation, seen(START + number, f"r{number}@example.net", "bob@example.net"))
    record = memory.sender_traffic
    for window in ("minute", "hour", "day"):
        assert recent(record, window, "messages", START + 9) == 10
        assert recent(record, window, "recipients", START + 9) == 20
        assert recent(record, window, "new", START + 9) == 11
    later = (await reputation.recall(seen(START + HOUR + HOUR / 2, "bob@example.net"))).sender_traffic
    assert recent(later, "hour", "messages", START + HOUR + HOUR / 2) == pytest.approx(1 + 10 * 0.5)
    assert recent(later, "hour", "messages", START + 4 * HOUR) == 0
    assert recent(later, "day", "messages", START + 4 * HOUR) == 11


async def test_the_account_counts_all_its_senders(reputation: Reputation) -> None:
    otto = Sender("example.com", "otto@example.com", "mailbox", "sasl")
    await reputation.recall(seen(START, "bob@example.net"))
    memory = await reputation.recall(seen(START, "bob@example.net", sender=otto))
    assert recent(memory.sender_traffic, "hour", "messages", START) == 1
    assert recent(memory.account_traffic, "hour", "messages", START) == 2


async def test_a_calm_hour_becomes_the_habit_and_a_suspicious_one_does_not(reputation: Reputation) -> None:
    for number in range(30):
        await reputation.recall(seen(START + number, f"r{number}@example.net"))
    calm = await reputation.recall(seen(START + HOUR, "bob@example.net"))
    assert calm.sender_traffic.hour_peak == 10  # At most ten in the first step: one burst is no habit.

    bad = seen(START + HOUR + 60, *(f"x{n}@example.net" for n in range(25)))
    memory = await reputation.recall(bad)
    reputation.learn(bad, memory, [Evidence(3, 8.0, -1.0, 9.0)], habit=False)
    await written(reputation)
    after = await reputation.recall(seen(START + 2 * HOUR + 60, "bob@example.net"))
    assert after.sender_traffic.hour_peak == calm.sender_traffic.hour_peak


async def test_evidence_adds_up_within_its_bounds_and_fades(reputation: Reputation) -> None:
    what = seen(START, "bob@example.net")
    memory = await reputation.recall(what)
    reputation.learn(what, memory, [Evidence(1, 3.0, -2.0, 4.0), Evidence(2, -5.0, -1.5, 8.0)], habit=False)
    reputation.learn(what, memory, [Evidence(1, 3.0, -2.0, 4.0)], habit=False)
    await written(reputation)
    record = (await reputation.recall(seen(START, "bob@example.net"), count=False)).sender
    now = sums(record, START, reputation.half_life)
    assert (now[1], now[2]) == (4.0, -1.5)
    later = sums(record, START + reputation.half_life, reputation.half_life)
    assert (later[1], later[2]) == (2.0, -0.75)


async def test_habits_are_learned_from_calm_mail_only(reputation: Reputation) -> None:
    await habit(reputation, seen(START - DAY, "bob@example.net"))
    await habit(reputation, seen(START, "bob@example.net"))
    memory = await reputation.recall(seen(START + 1, "bob@example.net", network="198.51"))
    assert memory.is_new("network")
    reputation.learn(seen(START + 1, "bob@example.net", network="198.51"), memory, (), habit=False)
    await written(reputation)
    after = await reputation.recall(seen(START + 2, "bob@example.net"))
    assert after.habit("network") == (2.0, 1.0)
    assert not after.is_new("network")
    stranger = await reputation.recall(seen(START + 3, "bob@example.net", network="198.51"))
    assert stranger.is_new("network")


async def test_new_networks_of_late_are_counted_each_once(reputation: Reputation) -> None:
    await habit(reputation, seen(START, "bob@example.net"))
    for network in ("198.51", "203.0", "198.51", "203.0"):
        memory = await reputation.recall(seen(START + 1, "bob@example.net", network=network))
    assert memory.networks == 3  # The first one was new, too.


async def test_what_did_not_go_out_takes_nothing_from_the_limits(reputation: Reputation) -> None:
    what = seen(START, "bob@example.net", "carol@example.net")
    memory = await reputation.recall(what)
    reputation.learn(what, memory, (), habit=False, uncount=True)
    await written(reputation)
    after = await reputation.recall(what, count=False)
    for record in (after.sender_traffic, after.account_traffic):
        assert recent(record, "hour", "messages", START) == 0
        assert recent(record, "day", "recipients", START) == 0


async def test_a_suspension_is_seen_by_the_next_message_and_lifted_by_a_pardon(reputation: Reputation) -> None:
    what = seen(START, "bob@example.net")
    memory = await reputation.recall(what)
    assert not memory.sender.suspended
    reputation.learn(what, memory, [Evidence(1, 4.0, -2.0, 4.0)], habit=False, suspend="sender")
    await written(reputation)
    assert (await reputation.recall(seen(START + 1, "bob@example.net"))).sender.suspended == START
    await reputation.pardon(ANNA.name, ANNA.account, START + 2, mistake=True)
    record = (await reputation.recall(seen(START + 3, "bob@example.net"))).sender
    assert (record.suspended, record.trust) == (0, 1)
    assert not any(sums(record, START + 3, reputation.half_life))


async def test_outcomes_are_counted_with_what_they_say(reputation: Reputation) -> None:
    reputation.outcome(ANNA, START, [("delivered", 5)], [Evidence(2, -0.5, -1.5, 8.0)])
    what = seen(START, "bob@example.net")
    memory = await reputation.recall(what)
    reputation.learn(what, memory, [Evidence(2, 3.0, -1.5, 8.0)], habit=True, outcomes=[("unknown_user", 2)])
    await written(reputation)
    record = (await reputation.recall(seen(START, "bob@example.net"), count=False)).sender
    assert (record.delivered, record.unknown_user) == (5, 2)
    assert sums(record, START, reputation.half_life)[2] == 2.5


async def test_a_campaign_knows_its_senders_and_those_under_suspicion(reputation: Reputation) -> None:
    names = [f"user{n}@host{n}.example" for n in range(4)]
    for name in names:
        sender = Sender(name.partition("@")[2], name, "mailbox", "sasl")
        what = seen(START, "bob@example.net", sender=sender, fingerprint=77)
        memory = await reputation.recall(what)
        reputation.learn(what, memory, (), habit=False, suspicious=name != names[0])
        await written(reputation)
    asked = await reputation.recall(seen(START, "x@example.net", fingerprint=77))
    assert asked.campaign is not None
    assert (asked.campaign.senders, asked.campaign.hot) == (5, 3)
    reputation.judged(77, good=False)
    await written(reputation)
    asked = await reputation.recall(seen(START, "x@example.net", fingerprint=77))
    assert asked.campaign is not None
    assert (asked.campaign.bad, asked.campaign.good) == (1, 0)


async def test_without_the_store_nothing_is_known_and_nothing_is_raised(tmp_path: Path) -> None:
    state = await State.connect(f"unix://{tmp_path}/nobody", timeout=0.2, count=lambda *labels, by=1: None)
    reputation = Reputation(state)
    memory = await reputation.recall(seen(START, "bob@example.net", fingerprint=5))
    assert not memory.available
    reputation.learn(seen(START, "bob@example.net"), memory, (), habit=True)
    await state.close()


async def test_a_new_network_is_known_only_after_half_a_day(reputation: Reputation) -> None:
    first = await habit(reputation, seen(START, "bob@example.net"))
    assert (first.is_new("network"), first.first_seen) == (True, True)
    for hours in (0.01, 1, 11.9):
        memory = await habit(reputation, seen(START + hours * HOUR, "bob@example.net"))
        assert (memory.is_new("network"), memory.first_seen) == (True, False)
        assert memory.new_recipients == 0, "recipients are known at once"
    # Seen once, as something new; what it is used for meanwhile is neither.
    assert (await reputation.recall(seen(START, "bob@example.net"))).habit("network") == (1.0, 1.0)
    await habit(reputation, seen(START + 12 * HOUR, "bob@example.net"))
    known = await reputation.recall(seen(START + 12 * HOUR, "bob@example.net"))
    assert (known.is_new("network"), known.first_seen) == (False, False)
    other = await reputation.recall(seen(START + DAY, "somebody@else.example"))
    assert (other.new_recipients, other.first_seen) == (1, False)
    assert known.habit("network") == (2.0, 1.0)
    assert (await reputation.recall(seen(START + 12 * HOUR, "bob@example.net", network="198.51"))).is_new("network")


async def test_only_first_contacts_speak_of_a_list(reputation: Reputation) -> None:
    """A form that always writes to its owner has no good list for it when it is abused."""
    learning = Learning(reputation, Panel(Policy()), Policy(), observe=False)
    owner = seen(START, "owner@example.com", sender=SCRIPT)
    for second in range(40):
        memory = await reputation.recall(msgspec.structs.replace(owner, now=START + second))
        learning.answered(SCRIPT, memory.sender, START + second, [parse(250, "2.0.0 ok")], new=memory.new_share)
        reputation.learn(owner, memory, (), habit=True)
        await written(reputation)
    record = (await reputation.recall(owner, count=False)).sender
    assert record.delivered > 39
    assert record.reached == pytest.approx(1, rel=0.01)
    # An old customer who is gone says as little.
    learning.answered(SCRIPT, record, START + 99, [parse(550, "5.1.1 no such user")], new=0.0)
    learning.answered(SCRIPT, record, START + 99, [parse(550, "5.1.1 no such user")], new=1.0)
    await written(reputation)
    after = (await reputation.recall(owner, count=False)).sender
    assert after.unknown_user == pytest.approx(1, rel=0.01)


async def test_of_what_a_full_store_refuses_nothing_stays(reputation: Reputation) -> None:
    await reputation.state.command("CONFIG", "SET", "maxmemory", "1")
    gc.collect()
    gc.disable()
    try:
        for number in range(5):
            what = seen(START + number, f"bob{number}@example.net", fingerprint=7)
            known = await reputation.recall(what)
            assert not known.available
            del what, known
        # The loop forgets in its next turn what it did in this one.
        await asyncio.sleep(0)
        assert not [one for one in gc.get_objects() if isinstance(one, Observation)]
    finally:
        gc.enable()
        await reputation.state.command("CONFIG", "SET", "maxmemory", "0")
