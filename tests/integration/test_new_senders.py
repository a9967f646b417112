"""On the first day every sender is new: that alone holds nobody's mail, so there is no learning period to switch on."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from outbound_guard import replay
from outbound_guard.config import Policy

START = 1_800_000_000.0
NETWORKS = ("192.0.2.7", "198.51.100.7", "203.0.113.7", "100.64.1.7")
PROGRAMS = ("User-Agent: Thunderbird", "X-Mailer: iPhone Mail", "X-Mailer: Roundcube")


def first_day(folder: Path, senders: int = 12, messages: int = 12) -> Path:
    """People of whom nothing is known: each message to somebody new, from one place or another, with this or that."""
    folder.mkdir()
    lines, archive = [], b""
    for number in range(messages):
        for who in range(senders):
            name = f"user{who}@a{who}.example"
            ip = NETWORKS[number // 2 % 4] if number % 5 else NETWORKS[who % 4]
            message = zlib.compress(
                f"Received: from pc ([{ip}])\r\n (Authenticated sender: {name})\r\n"
                f"\tby web1 (Postfix) with ESMTPSA id X; Mon, 2 Mar 2026 10:00:00 +0100\r\n"
                f"From: {'User' if number % 4 else 'U. Ser'} <{name}>\r\nTo: x{number}@y{who}.example\r\n"
                f"Subject: The minutes of meeting {number}\r\nMessage-ID: <{number}.{who}@a>\r\n"
                f"Date: Mon, 2 Mar 2026 10:00:00 +0{1 + number % 2}00\r\n{PROGRAMS[(number + who) % 3]}\r\n"
                f"\r\nHello, here are the minutes of meeting {number}, as we agreed.\r\nBest regards\r\n".encode()
            )
            line = {
                "id": f"{number}.{who}",
                "t": START + number * 1800 + who,
                "client_ip": "198.51.100.1",
                "server": "web1",
                "sasl_user": "relay-web1",
                "helo": "web1",
                "mail_from": name,
                "rcpt_to": [f"x{number}@y{who}.example"],
                "message": f"messages.zbin:{len(archive)}:{len(message)}",
                "size": 700,
                "outcomes": {"ok_after": 1.0},
            }
            lines.append(json.dumps(line) + "\n")
            archive += message
    (folder / "messages.zbin").write_bytes(archive)
    (folder / "trace.jsonl").write_text("".join(lines))
    return folder


def test_novelty_alone_holds_nobody_on_the_first_day(tmp_path: Path) -> None:
    run = replay.run(first_day(tmp_path / "trace"), Policy())
    touched = [record for record in run.driver.records.values() if record["final"] != "relay" or record.get("held")]
    assert len(run.driver.records) == 144
    assert touched == []
