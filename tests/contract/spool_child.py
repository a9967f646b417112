"""A process for the crash test to kill: it puts, moves or delivers, and says on standard output what it has done.

    spool_child.py put DIRECTORY SEED      puts messages until killed; prints an id after `put` has returned
    spool_child.py move DIRECTORY SEED     holds, releases and quarantines what it finds until killed
    spool_child.py deliver DIRECTORY SEED  delivers until killed
    spool_child.py drain DIRECTORY SEED    releases what is held and delivers until the spool is empty

What the next hop has accepted stands in DIRECTORY/accepted, one line `id recipient` each.
"""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from outbound_guard.clock import SystemClock
from outbound_guard.config import Delivery
from outbound_guard.delivery.queue import Queue
from outbound_guard.delivery.result import Result
from outbound_guard.mail import Envelope, Verdict, new_id
from outbound_guard.reply import Reply
from outbound_guard.spool import Busy, Entry, NotInSpool, Spool

OK, LATER, NEVER = Reply(250, "2.0.0", "ok"), Reply(451, "4.3.0", "later"), Reply(550, "5.1.1", "never")
CONCURRENCY = 5

clock = SystemClock()
directory = Path(sys.argv[2])
chance = random.Random(int(sys.argv[3]))
spool = Spool(directory / "spool", clock, 0)
accepted = os.open(directory / "accepted", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def say(line: str) -> None:
    # One system call: a line is there or not there, whenever the kill comes.
    os.write(1, f"{line}\n".encode())


async def put_one() -> None:
    recipients = tuple(r for r in ("good@x", "later@x", "never@x") if r == "good@x" or chance.random() < 0.5)
    id_ = new_id(clock.now())
    entry = Entry(id_, clock.now(), Envelope("a@example.com", recipients), bounce_to="a@example.com", due=clock.now())
    state = chance.choice(("incoming", "incoming", "held"))
    await spool.put(entry, [f"X-Id: {id_}\r\n".encode(), b"Subject: x\r\n\r\n", b"x" * chance.randrange(9000)], state)
    say(f"{id_} {' '.join(recipients)}")


async def put() -> None:
    while True:
        await asyncio.gather(*(put_one() for _ in range(4)))
        # Slow enough for the delivery of it all to end in reasonable time.
        await asyncio.sleep(0.01)


async def move() -> None:
    while True:
        for frm, to in (("held", "incoming"), ("queue", "held"), ("held", "quarantine"), ("quarantine", "held")):
            for id_ in (await spool.ids(frm))[:3]:
                with contextlib.suppress(NotInSpool, Busy):
                    # A message in the hands of a person is not delivered, so that there is something to move.
                    await spool.move(id_, to, frm=frm, due=None if to == "incoming" else 0)
                    say(f"moved {id_}")
        say("round")
        await asyncio.sleep(0.001)


async def next_hop(envelope: Envelope, content: Sequence[bytes]) -> Result:
    data = b"".join(content)
    field = b"X-Id: " if envelope.mail_from else b"X-Outbound-Guard-Id: "
    id_ = data.partition(field)[2].partition(b"\r\n")[0].decode()
    replies = []
    for recipient in envelope.recipients:
        if recipient == "never@x":
            replies.append(NEVER)
        elif recipient == "later@x" and chance.random() < 0.6:
            replies.append(LATER)
        else:
            os.write(accepted, f"{id_} {recipient}\n".encode())
            replies.append(OK)
    await asyncio.sleep(0)
    say(f"answered {id_}")
    return Result(tuple(replies), "127.0.0.1:25")


async def review(entry: Entry, content: bytes) -> Verdict:
    return Verdict("hold", 0.0, "test", ())


def new_queue() -> Queue:
    return Queue(
        spool,
        next_hop,
        delivery=Delivery(retry=(0.01, 0.05), expiry=3600),
        hold_expiry=3600,
        clock=clock,
        hostname="guard.example.net",
        review=review,
        concurrency=CONCURRENCY,
    )


async def drain() -> None:
    queue = new_queue()
    running = asyncio.create_task(queue.run())
    while any((await spool.counts()).values()):
        for state in ("held", "quarantine"):
            for id_ in await spool.ids(state):
                with contextlib.suppress(NotInSpool, Busy):
                    await spool.move(id_, "incoming", frm=state)
        queue.nudge()
        await asyncio.sleep(0.02)
    queue.stop()
    await running


async def deliver() -> None:
    await new_queue().run()


asyncio.run({"put": put, "move": move, "deliver": deliver, "drain": drain}[sys.argv[1]]())
