"""What only answers can clear goes out in slices as long as it is taken well: replayed, in virtual time."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outbound_guard.config import Hold, Policy, Thresholds
from outbound_guard.replay import Relay, relay

NOW = 1_800_000_000.0
POLICY = Policy(signal={"content": {"mode": "off"}, "rate": {"proven": 1e9}})
"""The text says nothing, and good answers do not lower what volume weighs: what goes out goes out with a slice."""
NUMBER, EACH = 30, 25


async def ask(under_test: Relay, kind: str, now: float, number: int, **more: Any) -> dict[str, Any]:
    return await under_test.handle({"ev": kind, "t": now, "id": f"m{number}", **more})


async def submit(
    under_test: Relay, folder: Path, now: float, number: int, text: str, to: list[str], *, login: str, client: str
) -> dict[str, Any]:
    """A mailbox hands a message in; what became of it. The message goes into the trace's archive in `folder`."""
    message, archive = zlib.compress(text.encode()), folder / "messages.zbin"
    place = archive.stat().st_size if archive.exists() else 0
    with archive.open("ab") as file:
        file.write(message)
    return await ask(
        under_test,
        "tx",
        now,
        number,
        client_ip=client,
        server=None,
        sasl_user=login,
        helo="pc",
        mail_from=login,
        rcpt_to=to,
        message=f"messages.zbin:{place}:{len(message)}",
        size=len(text),
    )


async def mailing(under_test: Relay, folder: Path) -> list[int]:
    """Somebody new sends a mailing within half a minute; the numbers of the messages that are held."""
    held = []
    await under_test.handle({"ev": "start", "t": NOW, "trace": str(folder)})
    for number in range(NUMBER):
        text = f"From: News <news@shop.example>\r\nSubject: Spring {number}\r\n\r\nThe new seeds are here.\r\n"
        to = [f"reader{number}x{place}@host{place}.example" for place in range(EACH)]
        answer = await submit(
            under_test, folder, NOW + number, number, text, to, login="news@shop.example", client="192.0.2.7"
        )
        if answer["action"] == "hold":
            held.append(number)
            assert answer["release_after"] == POLICY.hold.wait
    return held


async def let_go(under_test: Relay, held: list[int], now: float, bad: int, *, each: int = EACH) -> list[int]:
    """Look at all that is held at `now`; what goes out is answered at once, by so many that do not exist."""
    out = []
    for number in held:
        answer = await ask(under_test, "release_due", now, number)
        if answer["action"] == "relay":
            out.append(number)
    for number in out:
        for to, reply in ((range(bad), "550 5.1.1 user unknown"), (range(bad, each), "250 2.0.0 OK")):
            whom = [f"reader{number}x{place}@host{place}.example" for place in to]
            if whom:
                await ask(under_test, "result", now + 1, number, rcpt_to=whom, reply=reply, stage="final")
    return out


@pytest.mark.parametrize(("bad", "slices"), [(0, [3, 9, 4]), (1, [3, 9, 4]), (5, [3, 0, 0])])
async def test_slices_grow_while_the_answers_are_good(tmp_path: Path, bad: int, slices: list[int]) -> None:
    async with relay(POLICY) as under_test:
        held = await mailing(under_test, tmp_path)
        # Twice the sixty recipients an hour that are nothing special weigh two nats, four times as many four.
        assert len(held) >= NUMBER - 13
        held, sizes = held[-16:], []
        for later in (330, 410, 500):
            out = await let_go(under_test, held, NOW + later, bad if later == 330 else 0)
            held = [number for number in held if number not in out]
            sizes.append(len(out))
        assert sizes == slices


async def test_what_is_held_for_more_than_volume_stays_whole(tmp_path: Path) -> None:
    policy = Policy(signal={**POLICY.signal, "content": {"mode": "on"}})
    async with relay(policy) as under_test:
        held = await mailing(under_test, tmp_path)
        # Complaints of the first that were let through: other evidence holds the rest now, without the volume.
        for number in range(3):
            await ask(under_test, "complaint", NOW + 60, number, rcpt_to=[], reply="abuse", stage="final")
        assert await let_go(under_test, held, NOW + 330, 0) == []


async def test_without_slices_all_of_it_waits_for_its_time(tmp_path: Path) -> None:
    async with relay(msgspec.structs.replace(POLICY, hold=Hold(first_slice=0))) as under_test:
        held = await mailing(under_test, tmp_path)
        assert [await let_go(under_test, held, NOW + later, 0) for later in (330, 3000)] == [[], []]
        assert await let_go(under_test, held, NOW + 21_631, 0) == held


SPAMMY = Policy(
    threshold=Thresholds(quarantine=6.0, suspend=7.0),
    signal={"content": {"low": 2.9, "high": 2.9}, "rate": {"mode": "off"}},
)
"""Each text weighs nearly three nats, and seven in the end: enough for a suspension."""


@pytest.mark.parametrize(
    ("bad", "slices", "rest"), [(0, [3, 3, 5], "hold"), (1, [3, 3, 5], "hold"), (8, [3, 0, 0], "quarantine")]
)
async def test_a_first_mailing_that_reads_like_spam_is_asked_about(
    tmp_path: Path, bad: int, slices: list[int], rest: str
) -> None:
    async with relay(SPAMMY) as under_test:
        held = await mailing(under_test, tmp_path)
        assert held == list(range(1, NUMBER)), "nothing is quarantined before its recipients have answered"
        sizes = []
        for later in (330, 410, 500):
            out = await let_go(under_test, held, NOW + later, bad if later == 330 else 0)
            held = [number for number in held if number not in out]
            sizes.append(len(out))
        # Twice as many as have answered well may be out, the first, which nothing held, not counted.
        assert sizes == slices
        answer = await ask(under_test, "release_due", NOW + 510, held[-1])
        assert (answer["action"], answer["suspended"]) == (rest, bad > 1)


async def test_to_single_friends_the_same_text_does_not_go(tmp_path: Path) -> None:
    """What reads like a stolen mailbox's letter to those whom its owner knows: that they exist is no excuse."""
    async with relay(SPAMMY) as under_test:
        text = "From: Anna <anna@shop.example>\r\nSubject: Look\r\n\r\n" + "Is this you there? " * 9
        await under_test.handle({"ev": "start", "t": NOW, "trace": str(tmp_path)})

        async def write(number: int, friend: int, now: float) -> dict[str, Any]:
            to, login = [f"friend{friend}@host{friend}.example"], "anna@shop.example"
            return await submit(under_test, tmp_path, now, number, text, to, login=login, client="192.0.2.7")

        assert (await write(0, 0, NOW))["action"] == "relay"
        await ask(
            under_test, "result", NOW + 1, 0, rcpt_to=["friend0@host0.example"], reply="250 2.0.0 OK", stage="final"
        )
        assert [(await write(number, 0, NOW + number))["action"] for number in (1, 2, 3, 4)] == ["hold"] * 4
        assert await let_go(under_test, [1, 2, 3, 4], NOW + 330, 0) == []


TOOL = Policy(signal={"content": {"mode": "off"}, "rate": {"mode": "off"}})
"""The text says nothing, and neither does the volume."""
LETTER = (
    "Dear {0},\r\n\r\nwe write about the paper {1} that you have sent to our conference on gardens in the city. It has "
    "been read by three of us, who like it well. Please register before the end of April.\r\n\r\nThe chairs\r\n"
)


@pytest.mark.parametrize(
    ("answers_to", "delivered"), [("chairs@garden.example", True), ("prize@elsewhere.example", False)]
)
async def test_what_a_tool_writes_for_a_login_is_asked_about(tmp_path: Path, answers_to: str, delivered: bool) -> None:
    """Decisions to sixty authors, from the cloud: the first ones' answers let the rest out, if its own domain asks."""
    async with relay(TOOL) as under_test:
        await under_test.handle({"ev": "start", "t": NOW, "trace": str(tmp_path)})

        async def write(number: int, now: float, to: str, text: str, client: str) -> str:
            login = "anna@garden.example"
            answer = await submit(under_test, tmp_path, now, number, text, [to], login=login, client=client)
            return str(answer["action"])

        author = "From: Anna <anna@garden.example>\r\nDate: Mon, 2 Mar 2026 10:00:00 +0100\r\n"
        for number in range(60):
            text = f"{author}Subject: Roses\r\n\r\nThe roses of bed {number} are in flower.\r\n"
            at = NOW - 86_400 * (30 - number // 2) + number % 2 * 7000
            assert await write(1000 + number, at, f"friend{number % 9}@host.example", text, "192.0.2.7") == "relay"
        tool = (
            "From: The chairs <anna@garden.example>\r\nX-Mailer: Papers 3\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n"
        )
        held = []
        for number in range(60):
            header = f"{tool}Reply-To: {answers_to}\r\nSubject: Your paper {number}\r\n\r\n"
            who = f"{chr(97 + number % 26)}{chr(97 + number // 26)}wen"
            text = header + LETTER.format(who.title(), number)
            if await write(number, NOW + 3 * number, f"reader{number}x0@host0.example", text, "203.0.113.9") != "relay":
                held.append(number)
        assert len(held) > 50
        for later in range(330, 330 + 60 * 30, 60):
            out = await let_go(under_test, held, NOW + later, 0, each=1)
            held = [number for number in held if number not in out]
        assert (held == []) is delivered
        assert delivered or len(held) > 50
