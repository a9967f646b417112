"""Small files of ours that a broken disk has damaged: they are as good as not there, and stop nothing."""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec
import pytest

from outbound_guard.blocklist import findings
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Cases, Config, Server
from outbound_guard.delivery.mta_sts import Policies
from outbound_guard.desk.cases.originals import Original, Originals
from outbound_guard.desk.errors import DeskError
from outbound_guard.dns import Records
from outbound_guard.feedback.following import Follower
from outbound_guard.trace import TraceError, labels, transactions

DAMAGED = (b"", b"{", b"null", b'{"id":"\xff\xfe"}', b"\0" * 64, b"\xff", b"[" * 100_000)


@pytest.fixture(params=DAMAGED, ids=range(len(DAMAGED)))
def damaged(request: pytest.FixtureRequest) -> bytes:
    octets: bytes = request.param
    return octets


def test_findings_about_our_addresses(tmp_path: Path, damaged: bytes) -> None:
    file = findings.path_of(tmp_path)
    file.parent.mkdir()
    file.write_bytes(damaged)
    assert findings.load(tmp_path) == findings.Findings()


def test_a_policy_of_mta_sts(tmp_path: Path, damaged: bytes) -> None:
    clock = VirtualClock(0.0)
    tls = ssl.create_default_context()
    policies = Policies(Records([], clock), tmp_path, clock, tls=tls, allowed=lambda address: True)
    path = policies._path("a.example")
    path.write_bytes(damaged)
    assert policies._read("a.example") is None


def test_an_original_of_a_case(tmp_path: Path, damaged: bytes) -> None:
    config = Config(
        path=str(tmp_path / "guard.toml"), server=Server(data_dir="."), cases=Cases(original_readers=("cli:ann",))
    )
    originals = Originals(config)
    originals.keep(Original("1", "CASE-1", 5.0, "ann"), b"content")
    assert originals.read("1", "CASE-1", by="cli:ann", now=6.0) == b"content"
    (path,) = (tmp_path / "cases" / "originals").iterdir()
    path.write_bytes(damaged + b"\ncontent")
    with pytest.raises(DeskError, match="no original"):
        originals.read("1", "CASE-1", by="cli:ann", now=6.0)
    # Nobody can say how old it is, so that it goes with the next ones.
    assert [one.id for one in originals.expired(1e10)] == ["1"]


def test_the_position_in_a_log(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "mail.log").write_text("one\n")
    (tmp_path / "position").write_bytes(damaged)
    log = Follower(tmp_path / "mail.log", tmp_path / "position")
    # Read again from its start: what is met twice is known by its key.
    assert [line for line, _ in log.lines()] == ["one"]
    log.close()


def test_a_trace(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "trace.jsonl").write_bytes(damaged)
    (tmp_path / "labels.jsonl").write_bytes(damaged)
    with pytest.raises(TraceError, match=r"trace\.jsonl"):
        list(transactions(tmp_path))
    if damaged:
        with pytest.raises(TraceError, match="line 1"):
            labels(tmp_path)


def test_a_recorded_trace(tmp_path: Path, damaged: bytes) -> None:
    line = {"id": "1", "t": 1.0, "client_ip": "", "server": None, "sasl_user": None, "helo": "", "mail_from": ""}
    whole = msgspec.json.encode(line | {"rcpt_to": ["a@b.example"], "message": "", "size": 0})
    (tmp_path / "20261122-relay-0.jsonl").write_bytes(whole + b"\n" + damaged)
    (tmp_path / "20261122-relay-0.answers.jsonl").write_bytes(damaged)
    assert [transaction["id"] for transaction in transactions(tmp_path)] == ["1"]
