"""Who tries out passwords, as one process sees it; with a real session at the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Auth
from outbound_guard.edge import guesses as module
from outbound_guard.edge.guesses import Guesses
from tests.live_edge import Client, LiveEdge

AUTH = Auth(tries_per_address=5, tries_per_login=3, tries_seconds=600)
WRONG, RIGHT, NOBODY = (
    b"AUTH PLAIN AGJvYgB3cm9uZw==\r\n",
    b"AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n",
    b"AUTH PLAIN AHgAeA==\r\n",
)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_700_000_000.0)


@pytest.fixture
def guesses(clock: VirtualClock) -> Guesses:
    return Guesses(AUTH, b"key", clock)


async def test_one_address_that_tries_many_logins(guesses: Guesses, clock: VirtualClock) -> None:
    for number in range(5):
        assert await guesses.refuses("192.0.2.1", f"login{number}") == ""
        guesses.wrong("192.0.2.1", f"login{number}")
    assert await guesses.refuses("192.0.2.1", "another") == "throttled_address"
    assert await guesses.refuses("192.0.2.2", "another") == ""
    clock.advance(601)
    assert await guesses.refuses("192.0.2.1", "another") == ""


async def test_many_addresses_that_try_one_login(guesses: Guesses) -> None:
    for number in range(3):
        guesses.wrong(f"192.0.2.{number}", "alice")
    assert await guesses.refuses("198.51.100.1", "alice") == "throttled_login"
    assert await guesses.refuses("198.51.100.1", "bob") == ""


async def test_the_networks_of_ipv6_are_one_host_each(guesses: Guesses) -> None:
    for number in range(5):
        guesses.wrong(f"2001:db8::{number}:1", f"login{number}")
    assert await guesses.refuses("2001:db8::ffff", "x") == "throttled_address"
    assert await guesses.refuses("2001:db8:0:1::1", "x") == ""


async def test_the_owner_is_not_locked_out(guesses: Guesses) -> None:
    guesses.right("192.0.2.1", "alice")
    for number in range(100):
        guesses.wrong(f"198.51.100.{number}", "alice")
        guesses.wrong("192.0.2.1", f"neighbour{number}")
    assert await guesses.refuses("192.0.2.1", "alice") == ""
    assert await guesses.refuses("192.0.2.1", "neighbour") == "throttled_address"
    assert await guesses.refuses("192.0.2.2", "alice") == "throttled_login"
    # From there it has as many tries as any login, and they do not count against the neighbours.
    for _ in range(3):
        guesses.wrong("192.0.2.1", "alice")
    assert await guesses.refuses("192.0.2.1", "alice") == "throttled_login"


async def test_what_is_known_has_bounds(guesses: Guesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 10)
    for number in range(100):
        guesses.wrong("192.0.2.1", f"login{number}")
        guesses.right("192.0.2.1", f"login{number}")
    assert len(guesses._counts) <= 10
    assert len(guesses._friends) <= 10


def test_names_of_counters_tell_nothing(guesses: Guesses) -> None:
    names = {guesses._name(*text) for text in (("a", "l"), ("l", "a"), ("a", "\0l"), ("p", "a\0b"), ("p", "a"))}
    assert len(names) == 5
    assert {len(name) for name in names} == {16}
    assert Guesses(AUTH, b"other", VirtualClock())._name("a", "l") not in names


async def test_the_answer_does_not_say_whether_a_login_exists(tmp_path: Path) -> None:
    settings = {"listener": {"auth": "required"}, "auth": {"tries_per_login": 2, "tries_per_address": 100}}
    async with LiveEdge(tmp_path, settings) as edge:
        said = []
        for words in (WRONG, NOBODY):
            client = await Client.connect(edge)
            await client.reply()
            await client.ask(b"EHLO a\r\n")
            said.append([await client.ask(words) for _ in range(4)])
            await client.close()
        assert said[0] == said[1]
        assert [reply[:9] for reply in said[0]] == ["535 5.7.8", "535 5.7.8", "454 4.7.0", "454 4.7.0"]
        assert edge.counts["smtp_logins_total", "throttled_login"] == 4
        # The right password is of no use to who only guesses it now.
        client = await Client.connect(edge)
        await client.reply()
        await client.ask(b"EHLO a\r\n")
        assert (await client.ask(RIGHT)).startswith("454 4.7.0 ")
        await client.close()


async def test_tries_that_are_put_off_count_for_the_session(tmp_path: Path) -> None:
    settings = {
        "listener": {"auth": "required"},
        "auth": {"tries_per_login": 1},
        "limits": {"auth_tries": 4},
    }
    async with LiveEdge(tmp_path, settings) as edge:
        client = await Client.connect(edge)
        await client.reply()
        await client.ask(b"EHLO a\r\n")
        assert [(await client.ask(WRONG))[:3] for _ in range(4)] == ["535", "454", "454", "454"]
        assert (await client.reply()).startswith("421 4.7.0 ")
        assert await client.reply() == ""
        await client.close()
        await asyncio.sleep(0)
