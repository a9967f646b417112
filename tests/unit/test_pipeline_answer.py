"""The answer to a message says what became of it; nothing that is noted about it afterwards can change that."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from outbound_guard.config import Policy
from outbound_guard.pipeline import Pipeline
from outbound_guard.reply import Reply

ANSWER = Reply(250, "2.0.0", "Ok")


class Failing:
    """Fails at whatever it is asked for, and counts how often."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, *_: object) -> None:
        self.asked += 1
        raise RuntimeError("a bug of ours")


async def test_a_fault_in_the_bookkeeping_does_not_change_the_answer() -> None:
    pipeline: Any = Pipeline.__new__(Pipeline)
    failing, faults = Failing(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    pipeline.policy = Policy()
    pipeline.learning = SimpleNamespace(judged=failing, answered=failing)

    async def judge(*_: object) -> Any:
        return SimpleNamespace(verdict=SimpleNamespace(score=0.0), sender=None, memory=None)

    async def carry_out(*_: object) -> Any:
        return SimpleNamespace(reply=ANSWER, answers=())

    pipeline.judge = judge
    told = Failing()
    answer = await pipeline.submit(SimpleNamespace(received=0.0), SimpleNamespace(carry_out=carry_out), told)
    assert answer is ANSWER
    assert told.asked == 0, "the client waits for what is only noted"
    await asyncio.sleep(0)
    assert told.asked == 1
    assert [str(fault) for fault in faults] == ["a bug of ours"]
