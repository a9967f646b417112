"""Identity on generated traffic: one true account, one sender, except where a foreign script was planted in it."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections import defaultdict
from pathlib import Path

import pytest

from outbound_guard.accounts import Identifier
from outbound_guard.config import Config
from outbound_guard.mail import Envelope, Headers, Submission

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "traffic").is_dir(), reason="the traffic generator (../shared) is not here")
@pytest.mark.parametrize("seed", ["1", "2"])
def test_every_account_is_told_apart(tmp_path: Path, seed: str) -> None:
    arguments = ["--corpus", str(SHARED / "corpus"), "--out", str(tmp_path), "--size", "tiny", "--seed", seed]
    subprocess.run(
        [sys.executable, "-B", "-m", "tracelab.generate", *arguments],
        cwd=SHARED / "traffic",
        check=True,
        capture_output=True,
        timeout=100,
    )
    messages = (tmp_path / "messages.zbin").read_bytes()
    truth = {label["id"]: label for label in map(json.loads, (tmp_path / "labels.jsonl").read_text().splitlines())}
    identifier = Identifier(Config(), lambda name: None)
    senders, accounts, owners, scripts = defaultdict(set), defaultdict(set), defaultdict(set), defaultdict(set)
    for event in map(json.loads, (tmp_path / "trace.jsonl").read_text().splitlines()):
        _, offset, length = event["message"].split(":")
        content = zlib.decompress(messages[int(offset) : int(offset) + int(length)])
        envelope = Envelope(event["mail_from"], tuple(event["rcpt_to"]))
        submission = Submission(
            event["id"],
            event["t"],
            envelope,
            content,
            event["client_ip"],
            login=event["sasl_user"],
            server=event["server"],
        )
        sender = identifier.identify(submission, Headers(content))
        label = truth[event["id"]]
        senders[label["account"]].add(sender.name)
        accounts[label["account"]].add(sender.account)
        owners[sender.account].add(label["account"])
        if label["scenario"] == "php_injection":
            scripts[label["account"]].add(sender.name)
        assert sender.source != "client_ip"
    assert len(senders) > 20
    assert all(len(names) == 1 for names in accounts.values())
    assert all(len(names) == 1 for names in owners.values())
    assert all(len(names - scripts[account]) <= 1 for account, names in senders.items())
