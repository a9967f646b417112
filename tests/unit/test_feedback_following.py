"""A log is followed across rotation, cut lines and restarts; and what its lines say."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.feedback import kumo
from outbound_guard.feedback.following import Follower
from outbound_guard.feedback.postfix import Postfix, time_of_line

LOGS = Path(__file__).resolve().parents[1] / "logs"


Follow = Callable[..., Follower]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Makes followers; all are closed at the end."""
    opened: list[Follower] = []

    def make(*arguments: Any, **options: Any) -> Follower:
        opened.append(Follower(*arguments, **options))
        return opened[-1]

    yield make
    for follower in opened:
        follower.close()


class Followed:
    """A log, and who follows it."""

    def __init__(self, folder: Path, follow: Follow) -> None:
        self.log, self._position, self._follow = folder / "mail.log", folder / "state" / "position.json", follow
        self.log.write_bytes(b"")
        self.follower = follow(self.log, self._position)
        assert self.read() == []

    def write(self, octets: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(octets)

    def read(self) -> list[str]:
        """What is new; noted as dealt with."""
        found = self.follower.lines()
        if found:
            self.follower.keep(found[-1][1])
        return [line for line, _ in found]

    def restart(self) -> None:
        self.follower.close()
        self.follower = self._follow(self.log, self._position)


def words(follower: Follower) -> list[str]:
    return [line for line, _ in follower.lines()]


def test_what_was_there_before_is_left_out_unless_it_is_wanted(tmp_path: Path, follow: Follow) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(b"old\n")
    follower = follow(log, tmp_path / "a.json")
    assert words(follower) == []
    log.write_bytes(b"old\nnew\n")
    assert words(follower) == ["new"]
    assert words(follow(log, tmp_path / "b.json", from_start=True)) == ["old", "new"]
    later = follow(log, tmp_path / "c.json")
    later.begin()
    log.write_bytes(b"old\nnew\nnewest\n")
    assert words(later) == ["newest"]
    log.write_bytes(b"old\nnew\n")
    # Known from the first look on, even if nothing had come by then.
    assert words(follow(log, tmp_path / "a.json")) == ["new"]


def test_a_line_is_read_when_it_is_whole(tmp_path: Path, follow: Follow) -> None:
    log = Followed(tmp_path, follow)
    log.write(b"one\ntw")
    assert log.read() == ["one"]
    log.restart()
    log.write(b"o\nthree\r\n")
    assert log.read() == ["two", "three"]


def test_renamed_and_begun_anew(tmp_path: Path, follow: Follow) -> None:
    log = Followed(tmp_path, follow)
    log.write(b"one\n")
    assert log.read() == ["one"]
    log.write(b"two\n")
    os.rename(log.log, log.log.with_suffix(".log.1"))
    assert log.read() == ["two"]
    log.log.write_bytes(b"three\n")
    assert log.read() == ["three"]


def test_rotated_while_nobody_looked(tmp_path: Path, follow: Follow) -> None:
    log = Followed(tmp_path, follow)
    log.write(b"one\n")
    assert log.read() == ["one"]
    log.follower.close()
    log.write(b"two\ncut in the mid")
    os.rename(log.log, tmp_path / "mail.log-20260704")
    log.log.write_bytes(b"three\n")
    log.restart()
    assert log.read() == ["two", "three"]
    assert log.follower.skipped == 1


def test_emptied_in_place(tmp_path: Path, follow: Follow) -> None:
    log = Followed(tmp_path, follow)
    log.write(b"a long line " * 50 + b"\n")
    assert len(log.read()) == 1
    os.truncate(log.log, 0)
    assert log.read() == []
    log.write(b"new\n")
    assert log.read() == ["new"]
    # Emptied, and grown beyond where we were, while nobody looked.
    log.write(b"x" * 400 + b"\n")
    log.read()
    log.follower.close()
    log.log.write_bytes(b"other\n" * 400)
    log.restart()
    assert log.read() == ["other"] * 400


def test_endless_lines_and_a_damaged_position(tmp_path: Path, follow: Follow) -> None:
    log = Followed(tmp_path, follow)
    log.write(b"x" * 3_000_000 + b"\nnext\n" + b"\xff\n")
    assert log.read() == ["next", "\ufffd"]
    assert log.follower.skipped == 1
    (tmp_path / "state" / "position.json").write_bytes(b'{"inode": 1')
    log.restart()
    # Twice is better than never: findings have keys.
    assert log.read() == ["next", "\ufffd"]


def test_a_log_that_comes_later(tmp_path: Path, follow: Follow) -> None:
    follower = follow(tmp_path / "mail.log", tmp_path / "position.json")
    with pytest.raises(FileNotFoundError):
        follower.lines()
    (tmp_path / "mail.log").write_bytes(b"first\n")
    assert words(follower) == ["first"]


def test_lines_of_postfix() -> None:
    reader = Postfix()
    lines = (LOGS / "postfix.log").read_text().splitlines()
    told = [found for line in lines if (found := reader.read(line, time.time())) is not None]
    said = {(one.queue_id, one.fate.recipient, one.fate.reply.code): one for one in told}
    sent = said["4F1A2B3C4D", "bob@b.example", 250]
    assert (sent.message_id, sent.fate.final, sent.fate.reply.enhanced) == ("x@a.example", True, "2.0.0")
    gone = said["4F1A2B3C4D", "nobody@c.example", 550]
    assert (gone.fate.also, gone.fate.reply.enhanced, gone.fate.final) == ("alias@a.example", "5.1.1", True)
    assert "User unknown in virtual mailbox table" in gone.fate.reply.text
    assert gone.fate.peer == "mx.c.example[198.51.100.10]:25"
    late = said["4F1A2B3C4D", "slow@d.example", 451]
    assert (late.fate.final, late.fate.reply.enhanced) == (False, "4.7.1")
    # To a filter of its own: it comes back under another name.
    assert said["4Q8xYz1bVczJ2", "carl@c.example", 250].passed_on == "4Q8xYz3cWdzK3"
    assert said["4Q8xYz3cWdzK3", "x@nowhere.example", 550].fate.reply.enhanced == "5.4.4"
    assert said["4Q8xYz3cWdzK3", "y@down.example", 450].fate.final is False


def test_lines_that_are_cut_or_made_up() -> None:
    reader = Postfix()
    whole = (
        "Jul  4 10:00:00 out1 postfix/smtp[9]: 4F1A2B3C4D: to=<bob@b.test>, relay=mx.b.test[198.51.100.9]:25, delay=1, "
        "delays=0/0/0/1, dsn=5.7.1, status=bounced (host mx.b.test[198.51.100.9] said: 550 5.7.1 spam status=sent (250 "
        "2.0.0 Ok (in reply to end of DATA command))"
    )
    for end in range(len(whole)):
        said = reader.read(whole[:end], 0.0)
        assert said is None or said.fate.reply.code in (550, 450)
    said = reader.read(whole, 0.0)
    assert said is not None
    # What the other server says cannot change the verdict that stands before it.
    assert said.fate.reply.code == 550
    assert reader.read("x" * 60_000, 0.0) is None
    assert reader.read(whole.replace("5.7.1, status", "5.7.1, " + "a=b, " * 10_000 + "status"), 0.0) is None


@pytest.mark.parametrize(
    "line",
    [
        "postfix/smtpd[1]: NOQUEUE: reject: RCPT from x[192.0.2.1]: 554 5.7.1 <a@b.test>: denied; helo=<%s>",
        "postfix/smtpd[1]: lost connection after %s from x[192.0.2.1]",
        "dovecot: imap-login: Aborted login (auth failed): user=<%s>, rip=192.0.2.1",
        "sshd[7]: Invalid user %s",
    ],
)
def test_what_strangers_say_in_the_log_is_no_line(line: str) -> None:
    words = "postfix/smtp[9]: 4F1A2B3C4D: to=<bob@b.test>, relay=x[192.0.2.1]:25, dsn=5.1.1, status=bounced (unknown"
    for date in ("Jul  4 10:00:00 out1", "2026-07-04T10:00:00.5+02:00 out1", "<22>Jul  4 10:00:00 out1"):
        assert Postfix().read(f"{date} {line % words}", 0.0) is None
        assert Postfix().read(f"{date} {words})", 0.0) is not None


def test_times_of_lines() -> None:
    now = 1_783_000_000.0
    assert time_of_line("2026-07-01T10:00:00.5+02:00 out1 postfix", now) == 1_782_892_800.5
    assert time_of_line("no time", now) == now
    assert time_of_line("2026-99-99T10:00:00 x", now) == now
    old = time.strftime("%b %e %H:%M:%S ", time.localtime(now - 3600)) + "out1 postfix"
    assert time_of_line(old, now) == now - 3600
    # In January the lines of December are of last year.
    december = time.mktime((2025, 12, 31, 23, 0, 0, 0, 0, -1))
    assert time_of_line("Dec 31 23:00:00 x", december + 7200) == december
    assert time_of_line("Feb 30 23:00:00 x", now) == now


def test_records_of_kumomta() -> None:
    bounce = {
        "type": "Bounce",
        "id": "d7ef132b5d7711eea8c8000c29c33806",
        "sender": "anna@a.test",
        "recipient": "bob@b.test",
        "response": {
            "code": 550,
            "enhanced_code": {"class": 5, "subject": 1, "detail": 1},
            "content": "no such user",
            "command": None,
        },
        "peer_address": {"name": "mx.b.test.", "addr": "198.51.100.9"},
        "timestamp": 1_783_000_000,
        "headers": {"X-Outbound-Guard-Id": "0abcdefghjkmnpqr-0123456789ab", "Message-ID": "<1@a.test>"},
    }
    [said] = kumo.results(bounce, 1_783_000_100.0)
    assert (said.fate.recipient, said.fate.reply.code, said.fate.reply.enhanced) == ("bob@b.test", 550, "5.1.1")
    assert (said.token, said.message_id, said.time) == ("0abcdefghjkmnpqr-0123456789ab", "1@a.test", 1_783_000_000.0)
    [late] = kumo.results({**bounce, "type": "TransientFailure", "response": {"code": 451, "content": "later"}}, 0.0)
    assert not late.fate.final
    assert kumo.results({**bounce, "type": "Reception"}, 0.0) == []
    said_by = kumo.complaint(
        {
            "type": "Feedback",
            "id": "x",
            "feedback_report": {
                "feedback_type": "abuse",
                "user_agent": "Loop/1",
                "original_rcpt_to": ["bob@b.test"],
                "original_message": "X-Outbound-Guard-Id: 0abcdefghjkmnpqr-0123456789ab\nMessage-ID: <1@a.test>\n\nx",
            },
        }
    )
    assert said_by is not None
    assert said_by.original.tokens == ("0abcdefghjkmnpqr-0123456789ab",)
    lines = b"\n".join([json.dumps(bounce).encode(), b"{cut", b"[" * 100_000, b"7", b""])
    assert [one is not None for one in kumo.records(lines)] == [True, False, False, False]
    assert len(list(kumo.records(json.dumps([bounce, bounce, 7]).encode()))) == 3


def test_hostile_records() -> None:
    for record in (
        {"type": ["Bounce"]},
        {"type": "Bounce", "recipient": {"a": 1}, "response": []},
        {"type": "Bounce", "recipient": ["@", 7, None, "x" * 100_000], "response": {"code": "550"}},
        {"type": "Bounce", "recipient": "b@b.test", "response": {"code": 10**30, "enhanced_code": {"class": "5"}}},
        {"type": "Bounce", "recipient": "b@b.test", "timestamp": float("inf"), "headers": [1], "meta": {"x": {}}},
        {"type": "Feedback", "feedback_report": {"original_message": ["x"], "original_rcpt_to": {"a": "b"}}},
    ):
        kumo.results(record, 0.0)
        kumo.complaint(record)
