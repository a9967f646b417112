"""The product's own traffic recorded as a trace, and replayed."""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outbound_guard import replay, signals
from outbound_guard.accounts import Identifier
from outbound_guard.accounts.directory import Directory
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config, Policy, Recording
from outbound_guard.content import Message
from outbound_guard.content.packaged import packaged_model
from outbound_guard.mail import Envelope, Submission
from outbound_guard.pipeline import Pipeline
from outbound_guard.reply import Reply
from outbound_guard.reputation import Reputation
from outbound_guard.scanners import Opinion
from outbound_guard.state import State
from outbound_guard.state.embedded import EmbeddedServer
from outbound_guard.trace import TraceError, recorded, transactions
from outbound_guard.trace.tape import Tape, tidy
from tests.product import Hops, Product, until

START = 1_800_000_000.0
OK = Reply(250, "2.0.0", "Ok")
UNKNOWN = Reply(550, "5.1.1", "no such user")
OFFER = (
    "<html><body><p>Dear customer, your account was suspended. Click to verify your password within 24 hours or lose "
    'all your money: <a href="http://login.evil.example/x">https://bank.example/</a></p>'
    '<p style="display:none">meadow kettle harbour</p></body></html>'
)


def submission(number: int) -> Submission:
    """Ordinary mail of three people; then each in turn sends the same offer, with a program in it, to strangers."""
    who = ("anna", "bert", "carl")[number % 3]
    bad = number >= 45
    zone, network = ("+0700", f"203.0.{113 + number % 3}") if bad else ("+0100", "192.0.2")
    body = (
        f"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n{OFFER}\r\n"
        '--b\r\nContent-Type: application/octet-stream; name="invoice.pdf.exe"\r\nContent-Transfer-Encoding: base64\r\n'
        "\r\nTVqQAAMAAAAEAAAA\r\n--b--\r\n"
        if bad
        else f"Content-Type: text/plain\r\n\r\nHello, here are the minutes of meeting {number}, as we said.\r\n"
    )
    content = (
        f"Received: from pc ([{network}.7])\r\n (Authenticated sender: {who}@a.example)\r\n"
        f"\tby web1 (Postfix) with ESMTPSA id X; Mon, 2 Mar 2026 10:00:00 +0100\r\n"
        f"From: {who} <{who}@a.example>\r\nTo: x@y.example\r\nSubject: note {number}\r\nMessage-ID: <{number}@a>\r\n"
        f"Date: Mon, 2 Mar 2026 10:00:00 {zone}\r\nMIME-Version: 1.0\r\n{body}"
    ).encode()
    to = tuple(f"s{number}-{n}@host{n}.example" for n in range(3)) if bad else (f"friend{number % 4}@y.example",)
    received = START + (45 * 1800 + number * 30 if bad else number * 1800)
    envelope = Envelope(f"{who}@a.example", to)
    return Submission(f"m{number}", received, envelope, content, "198.51.100.1", helo="web1", server="relay-web1")


def tape_in(folder: Path, *, content: bool, **settings: Any) -> tuple[Tape, VirtualClock]:
    clock = VirtualClock(START)
    return Tape(folder, "relay-0", clock, Recording(enabled=True, content=content, **settings), free_bytes=0), clock


class Suspecting(recorded.Heard):
    """A scanner that dislikes every seventh message."""

    async def ask(self, submission: Submission, message: Message) -> tuple[Opinion, ...]:
        return (Opinion("rspamd", "spam" if int(submission.id[1:]) % 7 == 6 else "clean", "score 9.1"),)


async def judged(folder: Path, tape: Tape, count: int = 75) -> list[tuple[str, float]]:
    """The path over that mail, recorded; actions and scores."""
    server = EmbeddedServer(folder, persist=False)
    assert await server.start()
    state = await State.connect(server.url, timeout=10.0, count=lambda *labels, by=1: None)
    clock = VirtualClock()
    directory = Directory(None, clock)
    pipeline = Pipeline(
        Identifier(Config(), directory.account_of),
        directory,
        Reputation(state),
        Policy(),
        model=packaged_model(),
        observe=False,
        scanners=Suspecting(),
    )
    verdicts = []
    for number in range(count):
        one = submission(number)
        clock.set(one.received)
        judgement = await pipeline.judge(one, one.received)
        went_out = judgement.verdict.action == "relay"
        replies: Sequence[Reply] = [UNKNOWN if number >= 45 else OK] * len(one.envelope.recipients) if went_out else ()
        pipeline.learning.judged(judgement, replies)
        held = {"hold": "held", "quarantine": "quarantine"}
        tape.taken_in(judgement, replies, held.get(judgement.verdict.action, ""), 0.5)
        state.push()
        verdicts.append((judgement.verdict.action, judgement.verdict.score))
    tape.close()
    await state.close()
    await server.stop()
    return verdicts


@pytest.mark.parametrize("content", [True, False], ids=["content", "metadata"])
def test_replay_of_what_was_recorded_gives_the_same_verdicts(tmp_path: Path, *, content: bool) -> None:
    recording = tmp_path / "recording"
    tape, _ = tape_in(recording, content=content)
    verdicts = asyncio.run(judged(tmp_path / "data", tape))
    assert {"relay", "quarantine"} <= {action for action, _ in verdicts}
    assert max(score for _, score in verdicts) > 6
    records = list(replay.run(recording, Policy()).driver.records.values())
    assert len(records) == len(verdicts)
    assert any(reason.startswith("scanners ") for record in records for reason in record["reasons"])
    for number, (record, (action, score)) in enumerate(zip(records, verdicts, strict=True)):
        assert record["score"] == pytest.approx(score, abs=0.01), (number, record)
        assert bool(record.get("held")) == (action == "hold")
        assert action == "hold" or record["final"] == action
    assert (b"minutes of meeting" in unpacked(recording)) is content


def unpacked(recording: Path) -> bytes:
    found = b""
    for transaction in transactions(recording):
        name, offset, length = transaction["message"].split(":")
        data = (recording / name).read_bytes()
        found += zlib.decompress(data[int(offset) : int(offset) + int(length)])
    return found


async def test_it_is_in_the_format_of_a_trace(tmp_path: Path) -> None:
    tape, _ = tape_in(tmp_path / "recording", content=True)
    await judged(tmp_path / "data", tape, 3)
    one = next(transactions(tmp_path / "recording"))
    assert one["recorded"]["sender"]["name"] == "anna@a.example"
    del one["recorded"]
    message = one.pop("message")
    assert re.fullmatch(r"20270115-relay-0\.zbin:0:\d+", message)
    assert one == {
        "id": "m0",
        "t": START,
        "client_ip": "198.51.100.1",
        "server": "relay-web1",
        "sasl_user": "relay-web1",
        "helo": "web1",
        "mail_from": "anna@a.example",
        "rcpt_to": ["friend0@y.example"],
        "size": len(submission(0).content),
        "outcomes": {"ok_after": 0.5},
    }
    modes = {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "recording").iterdir()}
    assert modes == {"0o600"}


async def test_later_answers_are_brought_together_with_their_transaction(tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    tape, clock = tape_in(recording, content=False)
    await judged(tmp_path / "data", tape, 2)
    # Another process, and the day after.
    clock.set(START + 86_400)
    other = Tape(recording, "delivery-0", clock, Recording(enabled=True), free_bytes=0)
    other.answered("m0", START + 60, ["friend0@y.example"], [Reply(451, "4.3.0", "busy")])
    other.answered("m0", START + 90, ["friend0@y.example"], [UNKNOWN])
    other.complained("m1", START + 1800 + 50, "friend1@y.example")
    other.answered("m-of-a-bounce", START, ["x@y.example"], [OK])
    other.close()
    first, second = transactions(recording)
    assert first["outcomes"]["other"] == [
        {"rcpt": 0, "reply": "451 4.3.0 busy", "after": 60.0, "final": "550 5.1.1 no such user", "final_after": 90.0}
    ]
    assert second["outcomes"]["complaints"] == [{"rcpt": 0, "after": 50.0}]


async def test_a_process_that_is_killed_leaves_a_line_that_is_passed_over(tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    tape, _ = tape_in(recording, content=False)
    await judged(tmp_path / "data", tape, 2)
    (lines,) = recording.glob("*-relay-0.jsonl")
    with lines.open("a") as file:
        file.write('{"id": "torn", "t": 1800')
    again, _ = tape_in(recording, content=False)
    await judged(tmp_path / "data2", again, 3)
    assert [one["id"] for one in transactions(recording)] == ["m0", "m0", "m1", "m1", "m2"]


def test_nothing_recorded_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "20270115-relay-0.jsonl").touch()
    with pytest.raises(TraceError, match="nothing was recorded yet"):
        list(transactions(tmp_path))


def test_old_days_go_and_the_oldest_when_it_is_too_large(tmp_path: Path) -> None:
    for day in range(10, 16):
        (tmp_path / f"202701{day}-relay-0.jsonl").write_bytes(b"x" * 100)
    (tmp_path / "notes.txt").touch()
    assert tidy(tmp_path, Recording(keep_days=4, max_bytes=10_000), START) == 400
    assert tidy(tmp_path, Recording(keep_days=4, max_bytes=250), START) == 200
    # Today's stays even if it alone is too much; the tape then adds nothing.
    assert tidy(tmp_path, Recording(keep_days=4, max_bytes=50), START) == 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20270115-relay-0.jsonl", "notes.txt"]
    assert tidy(tmp_path / "nowhere", Recording(), START) == 0


async def test_when_it_is_full_or_cannot_be_written_it_counts_and_never_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "20270115-relay-1.jsonl").write_bytes(b"x" * 100)
    tape, _ = tape_in(full, content=True, max_bytes=50)
    await judged(tmp_path / "data", tape, 3)
    assert (tape.lost, len(list(full.iterdir()))) == (3, 1)

    (tmp_path / "file").touch()
    tape, _ = tape_in(tmp_path / "file", content=True)
    await judged(tmp_path / "data2", tape, 3)
    assert tape.lost == 3

    little = tmp_path / "little"
    tape = Tape(little, "relay-0", VirtualClock(START), Recording(enabled=True), free_bytes=2**60)
    await judged(tmp_path / "data3", tape, 2)
    assert (tape.lost, list(little.iterdir())) == (2, [])


def test_checks_read_nothing_of_a_text_that_is_not_recorded() -> None:
    """What checks ask of a message is in its header section, or among what is recorded of its text."""
    header = {"headers", "from_address", "from_domain", "display_name", "reply_to", "subject", "message_id", "mailer"}
    folder = Path(signals.__file__).parent
    source = "\n".join(
        path.read_text() for path in [*folder.glob("*.py"), folder.parent / "pipeline.py", folder.parent / "verdict.py"]
    )
    known = {name for name in dir(Message) if not name.startswith("_")}
    asked = set(re.findall(r"\bmessage\.(\w+)", source)) & known
    # `read` says when, not what.
    assert asked - header - {"size", "read"} <= set(recorded.PROPERTIES)
    assert set(recorded.PROPERTIES) | {"size", "opinion"} == set(recorded.Evidence.__struct_fields__)


def test_a_message_read_from_what_was_recorded_is_like_the_whole_one() -> None:
    whole = Message(submission(50).content)
    kept = msgspec.json.decode(msgspec.json.encode(recorded.evidence_of(whole, 2.5)), type=recorded.Evidence)
    content = recorded.HeaderOnly(submission(50).content[: whole.headers.end], kept)
    again = recorded.read(content)
    for name in (*recorded.PROPERTIES, "size", "from_address", "subject"):
        assert getattr(again, name) == getattr(whole, name)
    model = packaged_model()
    assert model is not None
    assert recorded.Opinions(model).score(again)[0] == 2.5
    assert recorded.Opinions(model).score(whole) == model.score(whole)
    assert "double_extension" in again.defects
    assert not again.text


@pytest.mark.long
def test_the_product_records_and_replay_reads_it(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        more = "[recording]\nenabled = true\n"
        with Product.made(tmp_path, smarthosts=[hop.address], more=more, relays=1) as product:
            with product.client() as client:
                for number in range(5):
                    one = submission(number)
                    assert client.submit("a@x.test", [f"b{number}@y.test"], one.content).startswith("250 ")
            until(lambda: len(recorded_by(product)) == 5, "all is recorded")
        lines = recorded_by(product)
        assert [line["rcpt_to"] for line in lines] == [[f"b{number}@y.test"] for number in range(5)]
        assert all(line["outcomes"]["ok_after"] > 0 for line in lines)
        assert lines[0]["t"] == pytest.approx(time.time(), abs=100)
        run = replay.run(product.data / "recording", Policy())
        assert [record["final"] for record in run.driver.records.values()] == ["relay"] * 5


@pytest.mark.long
def test_what_the_queue_hears_later_is_recorded_too(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        hop.answer("RCPT", "451 4.3.0 busy", when="slow@")
        hop.answer("RCPT", "550 5.1.1 no such user", when="gone@", times=None)
        more = "[recording]\nenabled = true\n"
        with Product.made(tmp_path, smarthosts=[hop.address], more=more, relays=1) as product:
            with product.client() as client:
                to = ["ok@y.test", "slow@y.test", "gone@y.test"]
                assert client.submit("a@x.test", to, submission(0).content).startswith("250 ")
            (line,) = until(lambda: [one for one in recorded_by(product) if "final" in str(one)], "the queue is heard")
        outcomes = line["outcomes"]
        assert [other["rcpt"] for other in outcomes["other"]] == [1, 2]
        slow, gone = outcomes["other"]
        assert slow["reply"] == "451 4.3.0 busy"
        assert slow["final"].startswith("250 ")
        assert slow["final_after"] > slow["after"]
        assert gone["reply"] == "550 5.1.1 no such user"
        run = replay.run(product.data / "recording", Policy())
        assert [record["final"] for record in run.driver.records.values()] == ["relay"]


@pytest.mark.long
def test_without_the_setting_nothing_is_recorded(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        with Product.made(tmp_path, smarthosts=[hop.address], relays=1) as product, product.client() as client:
            assert client.submit("a@x.test", ["b@y.test"], submission(0).content).startswith("250 ")
        assert not (product.data / "recording").exists()


def recorded_by(product: Product) -> list[dict[str, Any]]:
    try:
        return list(transactions(product.data / "recording"))
    except TraceError:
        return []
