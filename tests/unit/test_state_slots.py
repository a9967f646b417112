"""All keys of one call lie in one hash slot, whatever the names in them: what a Redis Cluster asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

import outbound_guard
from outbound_guard.app.news import News
from outbound_guard.clock import SystemClock
from outbound_guard.config import Auth
from outbound_guard.delivery.warming import add_up
from outbound_guard.edge import Guesses
from outbound_guard.ledger.records import Standing
from outbound_guard.mail import Sender
from outbound_guard.reputation import TRAITS, Evidence, Observation, Reputation
from outbound_guard.reputation.memory import NOTHING
from outbound_guard.reputation.past import Hour, Past
from outbound_guard.state.script import Script
from outbound_guard.state.slots import grouped, slot_of

NAMES = ("customer.test", "a{b}c", "}", "}x{y}", "{", "{}", "b\u00fc\u00dfe.test", "a:b", "*")
SHARED = {"list", "record", "known", "company"}
"""Lua that stands in front of others."""
PACKAGE = Path(outbound_guard.__file__).parent


class Written:
    """A state that keeps what it is told, in place of a server."""

    one_server = False

    def __init__(self) -> None:
        self.calls: list[tuple[str, Sequence[Any]]] = []

    def script(self, name_or_text: str) -> Script:
        named = PACKAGE / name_or_text if name_or_text.endswith(".lua") else None
        return Script(named.read_text() if named else name_or_text)

    def start(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> asyncio.Future[Any]:
        self.calls.append((script.text, keys))
        return asyncio.get_running_loop().create_future()

    async def call(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        self.calls.append((script.text, keys))
        return [1, 1000]

    def later(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> None:
        self.calls.append((script.text, keys))

    async def command(self, *words: Any) -> int:
        # One key, the second word, is all that a command may have (State.command).
        self.calls.append((str(words[0]), words[1:2]))
        return 1


async def _remember(state: Any, account: str, kind: str) -> None:
    sender = Sender(account, f"anna@{account}", kind, "sasl", client_ip="192.0.2.7")
    traits = tuple("value" for _ in TRAITS)
    seen = Observation(
        1e9, sender, ("bob@there.test",), traits, fingerprint=7, content=9.0, server=account, sketch=lambda: (1, 2, 3)
    )
    reputation = Reputation(state)
    _begun(reputation.recall(seen))
    stranger = msgspec.structs.replace(NOTHING, company=((b"~1", "a"), (b"&" + account.encode(), "b")))
    # The second question, about what strangers share, is asked when the first is answered.
    _begun(reputation._with_company(stranger, seen, count=True))
    reputation.learn(seen, stranger, [Evidence(0, 1.0, -1.0, 1.0)], habit=True, suspicious=True, uncount=True)
    reputation.outcome(sender, 1e9, [("delivered", 1)], [])
    reputation.judged(7, good=True)
    reputation.complained(7, sender.name)
    await reputation.pardon(sender.name, account, 1e9, mistake=False)
    past = Past(state, 1e9)
    past.sender(sender, Hour(1e9, 1, 1), "log")
    past.account(sender, 1e9, 1, "log")


def _begun(work: Coroutine[Any, Any, Any]) -> None:
    """Carry a coroutine to its first wait, which nobody answers."""
    work.send(None)
    work.close()


async def _guess(state: Any, name: str) -> None:
    guesses = Guesses(Auth(), b"key", SystemClock(), state)
    guesses.wrong("192.0.2.7", name)
    guesses.right("192.0.2.7", name)
    await asyncio.gather(*guesses._asked)


@pytest.mark.parametrize("name", NAMES)
async def test_each_call_has_its_keys_in_one_slot(name: str) -> None:
    state = Written()
    for kind in ("mailbox", "script"):
        await _remember(state, name, kind)
    await _guess(state, name)
    anything: Any = state
    News(anything).tell(Standing(1.0, "account", name, "suspended"))
    await add_up(anything, f"sent:{name}", 1, 1)
    assert len(state.calls) > 20
    for _, keys in state.calls:
        assert len({slot_of(key) for key in keys}) == 1, keys
    # No script of the package is left out above.
    called = {text for text, _ in state.calls}
    for file in PACKAGE.rglob("*.lua"):
        if file.stem not in SHARED:
            headline = file.read_text().partition("\n")[0]
            assert any(headline in text for text in called), file


def test_slots_are_those_of_the_specification() -> None:
    # The examples of the Redis Cluster specification, "Hash tags".
    assert slot_of(b"123456789") == 0x31C3
    assert slot_of(b"{user1000}.following") == slot_of("{user1000}.followers") == slot_of("user1000")
    assert slot_of(b"foo{{bar}}zap") == slot_of("{bar")
    assert slot_of(b"foo{bar}{zap}") == slot_of("bar")
    assert grouped(["{a}1", b"b", "{a}2"]) == {slot_of("a"): [0, 2], slot_of("b"): [1]}
