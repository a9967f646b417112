"""The way to the master that sentinels name, and to one that takes no writes any more."""

from __future__ import annotations

import asyncio
import collections
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from outbound_guard.state import State, StateDown
from tests.stateservers import Servers

PATIENT = 30.0
PUSH = "return redis.call('RPUSH', KEYS[1], ARGV[1])"


class Counts(collections.Counter[tuple[str, ...]]):
    def __call__(self, name: str, *labels: str, by: int = 1) -> None:
        self[(name, *labels)] += by


async def until(condition: Callable[[], object]) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it has not happened")


async def test_another_server_becomes_the_master() -> None:
    with tempfile.TemporaryDirectory(prefix="og") as folder, Servers(Path(folder)) as servers:
        first = servers.watched(replicas=1, sentinels=2)
        second = servers.nodes[1]
        counts = Counts()
        state = await State.connect(servers.sentinel_url, timeout=PATIENT, count=counts)
        push = state.script(PUSH)
        assert await state.call(push, ["list"], ["before"]) == 1
        assert not counts
        await until(lambda: first.say("WAIT", 1, 1000) == 1)
        servers.sentinels[0].say("SENTINEL", "FAILOVER", "main")
        answers: collections.Counter[str] = collections.Counter()
        while second.say("ROLE")[0] != "master" or not state.up or not answers["elsewhere"]:
            try:
                await state.call(push, ["list"], ["during"])
                answers["elsewhere" if state._one.url.endswith(f":{second.port}/0") else "here"] += 1
            except StateDown:
                answers["down"] += 1
            await asyncio.sleep(0.01)
        state.later(push, ["list"], ["after"])
        await state.flush()
        assert second.say("LRANGE", "list", 0, 0) == ["before"]
        assert second.say("LINDEX", "list", -1) == "after"
        await state.close()


async def test_a_server_that_becomes_a_replica_is_left() -> None:
    with tempfile.TemporaryDirectory(prefix="og") as folder, Servers(Path(folder)) as servers:
        ours, other = servers.node(), servers.node()
        counts = Counts()
        state = await State.connect(f"redis://127.0.0.1:{ours.port}", timeout=PATIENT, count=counts)
        push = state.script(PUSH)
        assert await state.call(push, ["list"], ["a"]) == 1
        ours.say("REPLICAOF", "127.0.0.1", other.port)
        said = await asyncio.gather(*[state.call(push, ["list"], ["b"]) for _ in range(20)], return_exceptions=True)
        assert {type(one) for one in said} == {StateDown}
        assert not state.up
        assert counts["state_errors_total", "readonly"] == 1
        with pytest.raises(StateDown, match="replica"):
            await until(lambda: state.start(push, ["list"], ["c"]) and False)
        ours.say("REPLICAOF", "NO", "ONE")
        await until(lambda: state.up)
        await state.call(push, ["list"], ["d"])
        await state.close()
