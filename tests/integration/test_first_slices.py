"""What is held for its volume alone goes out in slices as long as it is taken well: replayed, in virtual time."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outbound_guard.config import Hold, Policy
from outbound_guard.replay import Relay, relay

NOW = 1_800_000_000.0
POLICY = Policy(signal={"content": {"mode": "off"}, "rate": {"proven": 1e9}})
"""The text says nothing, and good answers do not lower what volume weighs: what goes out goes out with a slice."""
NUMBER, EACH = 30, 25


async def ask(under_test: Relay, kind: str, now: float, number: int, **more: Any) -> dict[str, Any]:
    return await under_test.handle({"ev": kind, "t": now, "id": f"m{number}", **more})


async def mailing(under_test: Relay, folder: Path) -> list[int]:
    """Somebody new sends a mailing within half a minute; the numbers of the messages that are held."""
    archive, held = b"", []
    await under_test.handle({"ev": "start", "t": NOW, "trace": str(folder)})
    for number in range(NUMBER):
        text = f"From: News <news@shop.example>\r\nSubject: Spring {number}\r\n\r\nThe new seeds are here.\r\n"
        message = zlib.compress(text.encode())
        with (folder / "messages.zbin").open("ab") as file:
            file.write(message)
        answer = await ask(
            under_test,
            "tx",
            NOW + number,
            number,
            client_ip="192.0.2.7",
            server=None,
            sasl_user="news@shop.example",
            helo="pc",
            mail_from="news@shop.example",
            rcpt_to=[f"reader{number}x{place}@host{place}.example" for place in range(EACH)],
            message=f"messages.zbin:{len(archive)}:{len(message)}",
            size=len(text),
        )
        archive += message
        if answer["action"] == "hold":
            held.append(number)
            assert answer["release_after"] == POLICY.hold.wait
    return held


async def let_go(under_test: Relay, held: list[int], now: float, bad: int) -> list[int]:
    """Look at all that is held at `now`; what goes out is answered at once, by so many that do not exist."""
    out = []
    for number in held:
        answer = await ask(under_test, "release_due", now, number)
        if answer["action"] == "relay":
            out.append(number)
    for number in out:
        for to, reply in ((range(bad), "550 5.1.1 user unknown"), (range(bad, EACH), "250 2.0.0 OK")):
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
