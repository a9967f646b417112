"""What senders did before the product was there, put into a real store."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.config import Config
from outbound_guard.history.importing import Source, Summary, import_logs
from outbound_guard.mail import Sender
from outbound_guard.reputation import Memory, Observation, Reputation
from outbound_guard.reputation.memory import TRAITS
from outbound_guard.reputation.past import Hour, Past
from outbound_guard.signals.traits import network
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer
from tests.product import Hops, Product

LOGS = Path(__file__).parents[1] / "logs"
START = datetime.datetime(2026, 3, 2, tzinfo=datetime.UTC).timestamp()
NOW = START + 2 * 86_400
ANNA = Sender("a.example", "anna@a.example", "mailbox", "sasl", "192.0.2.7")
MAIL = ANNA.name


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    server = EmbeddedServer(tmp_path / "store", persist=False)
    assert await server.start()
    state = await State.connect(server.url, timeout=10.0, count=lambda *labels, by=1: None)
    yield state
    await state.close()
    await server.stop()


def exim_lines(sender: str, times: Iterable[float], to: str = "friend{n}@b.example", refused: int = 0) -> list[str]:
    """Messages of a mailbox, one recipient each; of every ten the first `refused` do not exist."""
    found = []
    for number, time in enumerate(times):
        stamp = datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
        recipient = to.format(n=number % 3, each=number)
        id_ = f"1wK{len(sender):03d}-{number:06d}-2A"
        found.append(
            f"{stamp} {id_} <= {sender} H=(pc) [192.0.2.7]:5 P=esmtpsa A=dovecot_login:{sender} S=900 for {recipient}"
        )
        where = f"{recipient} R=dnslookup T=remote_smtp H=mx.b.example [198.51.100.9]"
        found.append(
            f"{stamp} {id_} ** {where}: SMTP error from remote mail server after RCPT TO:<{recipient}>: "
            "550 5.1.1 User unknown"
            if number % 10 < refused
            else f'{stamp} {id_} => {where} C="250 OK"'
        )
        found.append(f"{stamp} {id_} Completed")
    return found


def written(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    os.utime(path, (NOW, NOW))
    return path


async def learned(state: State | None, *files: Path, kind: str = "exim", server: str = "") -> Summary:
    source = Source(kind, files, server, {}, datetime.UTC)
    past = Past(state, NOW) if state else None
    return await import_logs(source, Config(), lambda name: None, past, lambda path, share, count: None)


async def remembered(state: State, *recipients: str, sender: Sender = ANNA, ip: str = "192.0.2.7") -> Memory:
    traits = {"network": network(ip)}
    seen = Observation(NOW, sender, recipients, tuple(traits.get(name) for name in TRAITS))
    return await Reputation(state).recall(seen, count=False)


async def test_usual_mail_is_not_new_on_the_first_day(state: State, tmp_path: Path) -> None:
    log = written(tmp_path / "mainlog", exim_lines(MAIL, [START + 1000 * n for n in range(90)]))
    summary = await learned(state, log)
    assert (summary.messages, summary.recipients, summary.accounts, summary.lines) == (90, 90, 1, 270)
    assert summary.outcomes == {"delivered": 90}
    known = await remembered(state, "friend1@b.example", "Friend2@b.example", "stranger@b.example")
    assert known.new_recipients == 1
    assert not known.is_new("network")
    assert known.habit("network") == (90, 1)
    assert (known.sender.messages, known.sender.recipients, known.sender.new) == (90, 90, 3)
    assert known.sender.delivered == pytest.approx(90, rel=0.1)
    # Four messages are the most in an hour; a day or two later that has hardly faded.
    assert 3.5 < known.hour_peak <= 4
    assert 3.5 < known.account_traffic.hour_peak <= 4
    assert known.sender_traffic.day_peak > 9
    # What a log does not tell stays unknown, and so says nothing.
    assert known.habit("from") == known.habit("software") == (0, 0)


async def test_importing_the_same_again_counts_nothing_twice(state: State, tmp_path: Path) -> None:
    lines = exim_lines(MAIL, [START + 1000 * n for n in range(90)])
    log = written(tmp_path / "mainlog", lines)
    await learned(state, log)
    first = await remembered(state)
    again = await learned(state, log)
    assert again.hours_known == again.hours > 0
    zipped = tmp_path / "mainlog.1.gz"
    zipped.write_bytes(gzip.compress(log.read_bytes()))
    # As rotated, and together with the log that begins with the last day of it.
    await learned(state, zipped, written(tmp_path / "newer", lines[150:]), log)
    assert await remembered(state) == first


async def test_an_import_that_broke_off_can_be_made_again(state: State, tmp_path: Path) -> None:
    lines = exim_lines(MAIL, [START + 1000 * n for n in range(90)])
    await learned(state, written(tmp_path / "whole", lines), server="other")
    whole = await remembered(state)
    await state.command("FLUSHALL")
    # Up to a full hour; what follows is learned later.
    await learned(state, written(tmp_path / "part", lines[: 3 * 36]))
    await learned(state, written(tmp_path / "part", lines))
    assert (await remembered(state)).sender == pytest.approx(whole.sender)


async def test_two_logs_in_one_go_overlap(state: State, tmp_path: Path) -> None:
    lines = exim_lines(MAIL, [START + 1000 * n for n in range(90)])
    older, newer = written(tmp_path / "older", lines[:180]), written(tmp_path / "newer", lines[90:])
    summary = await learned(None, newer, older)
    assert summary.dry_run
    assert summary.messages in (90, 91)  # One second is in both.


async def test_a_break_in_of_then_is_not_taken_for_usual(state: State, tmp_path: Path) -> None:
    calm = exim_lines(MAIL, [START + 1000 * n for n in range(40)])
    spam = exim_lines(MAIL, [START + 60_000 + n for n in range(1000)], "victim{each}@c.example", refused=4)
    summary = await learned(state, written(tmp_path / "mainlog", [*calm, *spam]))
    assert summary.hours_left_out == 1
    known = await remembered(state, "victim5@c.example")
    assert known.new_recipients == 1
    assert known.sender.unknown_user == 0
    assert known.hour_peak < 5


async def test_one_large_mailing_is_no_habit_but_a_growing_sender_is_followed(state: State, tmp_path: Path) -> None:
    hours = [(4, 1), (500, 2), (500, 3), (500, 4), (500, 5), (500, 6), (500, 7)]
    times = [START + hour * 3600 + n * 5 for count, hour in hours for n in range(count)]
    await learned(state, written(tmp_path / "one", exim_lines(MAIL, times[:504])))
    assert (await remembered(state)).hour_peak < 20
    await state.command("FLUSHALL")
    await learned(state, written(tmp_path / "many", exim_lines(MAIL, times)))
    assert (await remembered(state)).hour_peak > 300


async def test_mail_that_came_in_since_is_neither_lost_nor_harmed(state: State, tmp_path: Path) -> None:
    reputation = Reputation(state)
    seen = Observation(NOW, ANNA, ("new@b.example",), (None,) * len(TRAITS))
    memory = await reputation.recall(seen)
    reputation.learn(seen, memory, (), habit=True, outcomes=[("delivered", 1)])
    await state.flush()
    await learned(state, written(tmp_path / "mainlog", exim_lines(MAIL, [START + 1000 * n for n in range(90)])))
    known = await remembered(state, "new@b.example", "friend0@b.example")
    assert known.new_recipients == 0
    assert known.sender.messages == 91
    assert 75 < known.sender.delivered < 91  # The older ones have faded a little.
    assert known.sender.outcomes_at == NOW
    assert known.sender_traffic.hour_messages == 1


async def test_the_scripts_of_an_account_share_its_habits(state: State) -> None:
    log = LOGS / "postfix.log"
    os.utime(log, (NOW, NOW))
    summary = await learned(state, log, kind="postfix", server="relay-web1")
    assert set(summary.senders) == {"anna@a.example", "relay-web1/uid1012"}
    # A day later the same account sends with a script, which the headers name.
    script = Sender("relay-web1/uid1012", "relay-web1/uid1012:shop.php", "script", "x", script="shop.php")
    known = await remembered(state, "carl@c.example", "x@nowhere.example", sender=script)
    assert known.new_recipients == 1
    assert known.keeper.messages == 1
    assert known.hour_peak > 1.5


async def test_a_network_of_this_morning_is_not_known_yet(state: State, tmp_path: Path) -> None:
    await learned(state, written(tmp_path / "mainlog", exim_lines(MAIL, [NOW - 7200, NOW - 7100])))
    known = await remembered(state, "friend0@b.example")
    assert known.new_recipients == 0
    assert known.is_new("network")


async def test_an_hour_of_very_many_recipients(state: State) -> None:
    past = Past(state, NOW)
    hour = Hour(START, 1, 30_000, took=[f"r{n}@b.example" for n in range(5000)], outcomes={"delivered": 90_000})
    assert await past.sender(ANNA, hour, "x") == 1
    known = await remembered(state, "r0@b.example", "r4999@b.example", "r5000@b.example")
    assert known.new_recipients == 1
    assert known.sender.recipients < 4001
    assert known.sender.new <= known.sender.recipients


# -- The command ------------------------------------------------------------------------------------------------------


def run(folder: Path, *words: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "outbound_guard", "import-history", "--config", folder / "guard.toml", *words],
        capture_output=True, text=True, timeout=100, env=os.environ | {"TZ": "UTC"},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "guard.toml").write_text('[delivery]\nmode = "sink"\n')
    shutil.copy(LOGS / "exim_mainlog", tmp_path / "mainlog")
    return tmp_path


def test_the_command_says_what_it_would_learn_and_learns_nothing(house: Path) -> None:
    said = run(house, "--exim", house / "mainlog", "--dry-run")
    assert said.startswith("would be learned:")
    assert "anna@a.example" in said
    found = json.loads(run(house, "--exim", house / "mainlog", "--dry-run", "--json"))
    assert (found["dry_run"], found["messages"], found["recipients"]) == (True, 2, 3)
    assert found["senders"][0] == {
        "sender": "anna@a.example",
        "account": "a.example",
        "messages": 2,
        "recipients": 3,
        "highest_hour": 3,
        "hours": 1,
        "left_out": 0,
        "outcomes": {"delivered": 1, "unknown_user": 2},
    }
    assert found["skipped"]["of a sender that cannot be told (local ones need --server)"] == 2
    assert not (house / "data" / "state").exists()


def test_without_a_running_service_the_memory_is_filled_and_kept(house: Path) -> None:
    words: tuple[Any, ...] = ("--exim", house / "mainlog", "--server", "relay-web1", "--json")
    first = json.loads(run(house, *words))
    assert (first["messages"], first["hours_known"]) == (3, 0)
    again = json.loads(run(house, *words))
    assert again["hours_known"] == again["hours"] == 2


@pytest.mark.long
def test_with_a_running_service(tmp_path: Path) -> None:
    shutil.copy(LOGS / "postfix.log", tmp_path / "mail.log")
    with Hops() as hops:
        hop = hops.start()
        with Product.made(tmp_path, smarthosts=[hop.address], relays=1) as product:
            words = ("import-history", "--postfix", str(tmp_path / "mail.log"), "--server", "relay-web1", "--json")
            first, again = json.loads(product.guard(*words)), json.loads(product.guard(*words))
            assert (first["messages"], first["hours_known"]) == (2, 0)
            assert again["hours_known"] == again["hours"] == 2


def test_mistakes_are_one_line(house: Path) -> None:
    assert "No such file" in run(house, "--exim", house / "nothing", code=1)
    (house / "picture").write_bytes(b"GIF89a")
    assert "is it a mail log" in run(house, "--postfix", house / "picture", code=1)
    assert "names no users" in run(house, "--exim", house / "mainlog", "--passwd", house / "picture", code=1)
    assert "is no time zone" in run(house, "--exim", house / "mainlog", "--timezone", "Mars/Base", code=2)
    run(house, code=2)


def test_a_store_that_cannot_be_reached(house: Path) -> None:
    (house / "guard.toml").write_text('[delivery]\nmode = "sink"\n[state]\nurl = "redis://127.0.0.1:1"\n')
    error = run(house, "--exim", house / "mainlog", code=1)
    assert "the memory of the product cannot be reached" in error
    assert len(error.strip().splitlines()) == 1
