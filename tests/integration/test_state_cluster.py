"""The way to a cluster, over TLS and with a password: keys in many slots, slots that move, servers that forget."""

from __future__ import annotations

import asyncio
import collections
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from outbound_guard.config import ConfigError, load, state_url
from outbound_guard.mail import Sender
from outbound_guard.reputation import TRAITS, Observation, Reputation
from outbound_guard.reputation.portrait import erase, forget_log, keys_of_account, portraits
from outbound_guard.state import State, StateDown
from outbound_guard.state.slots import slot_of
from tests.stateservers import Servers, has_tls

PATIENT = 30.0
PUSH = "return redis.call('RPUSH', KEYS[1], ARGV[1])"
NAMES = [f"{number**7}.test" for number in range(12)]
"""Spread over all slots; names that differ in one digit may all lie on one server."""


class Counts(collections.Counter[tuple[str, ...]]):
    def __call__(self, name: str, *labels: str, by: int = 1) -> None:
        self[(name, *labels)] += by


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it has not happened")


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with (
        tempfile.TemporaryDirectory(prefix="og") as folder,
        Servers(Path(folder), tls=has_tls(), password="a secret of /ten+") as servers,
    ):
        servers.cluster(masters=3)
        yield servers


@pytest.fixture
def url(servers: Servers) -> str:
    """As a configuration makes it: the password from a file, the certificates to trust likewise."""
    more = 'ca_file = "ca.pem"\n' if servers.tls else ""
    config = servers.folder / "guard.toml"
    config.write_text(
        f'[delivery]\nmode = "sink"\n[state]\nurl = "{servers.cluster_url}"\npassword_file = "password"\n{more}'
    )
    return state_url(load(config))


@pytest.fixture
async def state(servers: Servers, url: str) -> AsyncIterator[State]:
    for node in servers.nodes:
        node.say("FLUSHALL")
    counts = Counts()
    state = await State.connect(url, timeout=PATIENT, count=counts)
    assert (state.up, counts) == (True, {})
    yield state
    await state.close()


async def test_keys_of_many_slots(state: State, servers: Servers) -> None:
    for number in range(60):
        await state.command("SET", f"k{number}", number)
    assert all(node.say("DBSIZE") > 5 for node in servers.nodes), "they lie on all of them"
    keys = [f"k{number}" for number in range(65)]
    assert await state.get(keys) == [*(b"%d" % number for number in range(60)), *[None] * 5]
    assert {key async for key in state.scan("k?")} == {b"k%d" % number for number in range(10)}
    assert await state.remove(keys) == 60
    assert await state.everywhere("DBSIZE") == [0, 0, 0]
    assert (await state.get([]), await state.remove([])) == ([], 0)


async def test_what_is_remembered_of_accounts_everywhere(state: State, servers: Servers) -> None:
    memory = Reputation(state)
    seen = [
        Observation(1e9, Sender(name, f"anna@{name}", "mailbox", "sasl"), ("b@there.test",), (None,) * len(TRAITS))
        for name in NAMES
    ]
    for _ in range(2):
        found = await asyncio.gather(*[memory.recall(one) for one in seen])
    assert [one.sender_traffic.minute_messages for one in found] == [2.0] * len(NAMES)
    for one, of_it in zip(seen, found, strict=True):
        memory.learn(one, of_it, [], habit=True)
    await state.flush()
    assert all(node.say("DBSIZE") for node in servers.nodes), "they lie on all of them"
    known = await portraits(memory, [(name, f"anna@{name}") for name in NAMES])
    assert [(one.profile.messages, one.traffic.minute_messages) for one in known] == [(1.0, 2.0)] * len(NAMES)
    assert len([key async for key in keys_of_account(memory, NAMES[3])]) == await erase(memory, NAMES[3]) == 2
    known = await portraits(memory, [(name, f"anna@{name}") for name in NAMES])
    assert [one.known for one in known] == [name != NAMES[3] for name in NAMES]
    await forget_log(memory)


async def test_a_slot_that_moves_takes_its_calls_along(servers: Servers, url: str) -> None:
    counts = Counts()
    state = await State.connect(url, timeout=PATIENT, count=counts)
    push = state.script(PUSH)
    key = next(f"moving{number}" for number in range(99999) if slot_of(f"moving{number}") < 5000)
    slot, (old, new) = slot_of(key), servers.nodes[:2]
    assert await state.call(push, [key], ["first"]) == 1
    ids = [one.say("CLUSTER", "MYID") for one in (old, new)]
    new.say("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    old.say("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    old.say("DEL", key)
    # ASK: the old server has the slot still, but the key no more.
    assert await asyncio.gather(*[state.call(push, [key], ["second"]) for _ in range(3)]) == [1, 2, 3]
    state.later(push, [key], ["third"])
    await state.flush()
    # MOVED: the slot is the new server's.
    for one in servers.nodes:
        one.say("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
    state.later(push, [key], ["fourth"])
    await state.flush()
    assert await state.call(push, [key], ["fifth"]) == 6
    assert await state.command("LLEN", key) == 6
    assert not counts
    await state.close()
    new.say("DEL", key)
    for one in servers.nodes:
        one.say("CLUSTER", "SETSLOT", slot, "NODE", ids[0])


async def test_one_server_forgets_the_scripts(state: State, servers: Servers) -> None:
    push = state.script(PUSH)
    await asyncio.gather(*[state.call(push, [f"list{number}"], ["a"]) for number in range(20)])
    servers.nodes[1].say("SCRIPT", "FLUSH")
    assert await asyncio.gather(*[state.call(push, [f"list{number}"], ["a"]) for number in range(20)]) == [2] * 20


async def test_one_server_hangs_and_the_others_answer(servers: Servers, url: str) -> None:
    counts = Counts()
    state = await State.connect(url, timeout=1.0, count=counts)
    push = state.script(PUSH)
    there = {slot_of(f"h{number}") // 5462: f"h{number}" for number in range(100)}
    servers.nodes[2].signal(signal.SIGSTOP)
    try:
        with pytest.raises(StateDown):
            await state.call(push, [there[2]], ["lost"])
        assert not state.up
        with pytest.raises(StateDown):
            state.start(push, [there[2]], ["not sent"])
        assert await state.call(push, [there[0]], ["a"]) == await state.call(push, [there[1]], ["a"]) == 1
        state.later(push, [there[2]], ["kept"])
    finally:
        servers.nodes[2].signal(signal.SIGCONT)
    await until(lambda: state.up)
    await state.flush()
    assert (await state.command("LRANGE", there[2], 0, -1))[-1] == b"kept"
    assert counts["state_errors_total", "timeout"] == 1
    assert ("state_dropped_total",) not in counts
    await state.close()


async def test_a_cluster_named_as_a_single_server_gets_one_slot_a_call(tmp_path: Path) -> None:
    """So does one behind a proxy; a server by itself is asked everything at once, and says the same."""
    for alone in (False, True):
        folder = tmp_path / str(alone)
        folder.mkdir()
        with Servers(folder) as servers:
            port = (servers.node() if alone else servers.cluster(masters=1)[0]).port
            state = await State.connect(f"redis://127.0.0.1:{port}", timeout=PATIENT, count=Counts())
            assert state.one_server == alone
            reputation = Reputation(state)
            sender = Sender("a.test", "anna@a.test", "mailbox", "sasl", client_ip="192.0.2.7")
            traits = tuple("value" for _ in TRAITS)
            what = Observation(1e9, sender, ("bob@b.test",), traits, 7, 9.0, "mx1", lambda: (1, 2, 3))
            for times in (1, 2):
                memory = await reputation.recall(what)
                assert memory.campaign is not None
                assert memory.near is not None
                assert (memory.campaign.times, memory.near.times) == (times, times)
                assert {company.times for company in memory.neighbours.values()} == {times}
                reputation.learn(what, memory, (), habit=True, suspicious=True)
                await state.flush()
            other = Sender("c.test", "otto@c.test", "mailbox", "sasl", client_ip="192.0.2.7")
            memory = await reputation.recall(Observation(1e9, other, (), traits, 7, 9.0, "mx1", lambda: (1, 2, 3)))
            assert memory.campaign is not None
            assert (memory.campaign.hot, memory.neighbours["server"].hot) == (1, 1)
            await state.close()


async def test_a_cluster_that_is_not_there(servers: Servers) -> None:
    counts = Counts()
    gone = Servers(servers.folder)
    state = await State.connect(f"redis+cluster://127.0.0.1:{gone.port()}", timeout=PATIENT, count=counts)
    assert (state.up, counts) == (False, {("state_errors_total", "connect"): 1})
    state.later(state.script(PUSH), ["key"], ["a"])
    with pytest.raises(StateDown):
        await state.command("GET", "key")
    with pytest.raises(StateDown):
        await state.everywhere("PING")
    await state.close()
    assert counts["state_dropped_total",] == 1
    gone.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+cluster://", "names no host"),
        ("redis+cluster://a:7000/3", "no other database"),
        ("redis+cluster://a:x", "HOST:PORT"),
        ("redis+cluster://a?nonsense=1", "not known"),
        ("redis+sentinel://a,b", "names no service"),
        ("redis+sentinel://a/main/x", "number of a database"),
        ("redis+other://a", "not possible"),
    ],
)
async def test_urls_that_cannot_be_used(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"state.url.*{said}"):
        await State.connect(url, timeout=PATIENT, count=Counts())
