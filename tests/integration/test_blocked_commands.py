"""`classify`, `blocked` and `redact` as their users run them: text in, text or JSON out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.listserver import Zone, list_server_in_thread

CONTRACT = {"class", "provider", "list", "side", "address", "next"}
CLASSES = {
    "our_address_blocked",
    "content",
    "policy_auth",
    "rate",
    "unknown_user",
    "mailbox_full",
    "greylisting",
    "tls",
    "dns",
    "other",
}


def run(folder: Path, given: str | bytes, *words: str, code: int = 0) -> str:
    """Standard output of a command in a folder, where a configuration may lie."""
    octets = given if isinstance(given, bytes) else given.encode()
    done = subprocess.run(
        [sys.executable, "-m", "outbound_guard", *words],
        input=octets,
        capture_output=True,
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert code or not done.stderr, done.stderr
    return (done.stdout or done.stderr).decode("latin-1" if b"\xfc" in done.stdout else "utf-8")


def found(folder: Path, given: str, *words: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run(folder, given, "blocked", "--json", *words))
    assert set(result) >= CONTRACT
    assert result["class"].partition(".")[0] in CLASSES
    assert result["side"] in ("provider", "customer", "recipient", "receiver")
    return result


class TestClassify:
    def test_one_object_a_line(self, tmp_path: Path) -> None:
        lines = "550 5.1.1 User unknown\n\n421 4.7.28 unusual rate of unsolicited mail - gsmtp\nwhat is this\n"
        rows = [json.loads(line) for line in run(tmp_path, lines, "classify", "--json").splitlines()]
        assert [row["class"].partition(".")[0] for row in rows] == ["unknown_user", "rate", "other"]
        assert [row["provider"] for row in rows] == [None, "Google", None]
        assert rows[0]["advice"]

    def test_for_people(self, tmp_path: Path) -> None:
        assert "mailbox_full" in run(tmp_path, "552 5.2.2 over quota \x1b[31m", "classify")

    def test_whatever_comes_in(self, tmp_path: Path) -> None:
        rows = run(
            tmp_path, b"\xff\xfe\x00 550\n" + b"x" * 100_000 + b"\n550 user unknown", "classify", "--json"
        ).splitlines()
        assert len(rows) == 3

    def test_nothing_in_nothing_out(self, tmp_path: Path) -> None:
        assert run(tmp_path, "", "classify", "--json") == ""


class TestRedact:
    def test_text_in_text_out(self, tmp_path: Path) -> None:
        given = (
            "From: Jane Doe <jane@example.com>\r\nHi Bob,\r\nask abuse@example.com or +1 555 123 "
            "4567 about 192.0.2.7\r\n"
        )
        assert run(tmp_path, given, "redact") == (
            "From: [name removed] <[address removed]>\r\nHi [name removed],\r\n"
            "ask abuse@example.com or [number removed] about 192.0.2.7\r\n"
        )

    def test_twice_is_once(self, tmp_path: Path) -> None:
        once = run(tmp_path, "Best regards,\nJörg Müller\nTel. 089 1234567", "redact")
        assert run(tmp_path, once, "redact") == once

    def test_text_that_is_not_utf8_keeps_its_octets(self, tmp_path: Path) -> None:
        assert run(tmp_path, "Grüße für jane@example.com".encode("latin-1"), "redact") == "Grüße für [address removed]"

    def test_json(self, tmp_path: Path) -> None:
        assert json.loads(run(tmp_path, "a@b.example", "redact", "--json")) == {
            "text": "[address removed]",
            "changed": True,
        }


class TestBlocked:
    LISTED = "554 5.7.1 Service unavailable; Client host [203.0.113.5] blocked using zen.spamhaus.org"

    def test_without_a_configuration(self, tmp_path: Path) -> None:
        result = found(tmp_path, self.LISTED)
        assert result["class"] == "our_address_blocked.list"
        assert (result["list"], result["side"], result["address"]) == ("zen.spamhaus.org", "provider", "203.0.113.5")
        assert result["channel"]["removal"] == "https://check.spamhaus.org/results/?query=203.0.113.5"

    def test_for_people(self, tmp_path: Path) -> None:
        shown = run(tmp_path, self.LISTED, "blocked")
        for words in (
            "our_address_blocked.list",
            "zen.spamhaus.org",
            "official channel:",
            "To the customer:",
            "it asks for:",
        ):
            assert words in shown

    def test_nothing_pasted(self, tmp_path: Path) -> None:
        assert "nothing on standard input" in run(tmp_path, " \n", "blocked", code=1)

    def test_a_configuration_that_cannot_be_used(self, tmp_path: Path) -> None:
        (tmp_path / "bad.toml").write_text('[blocklist]\nchannels = "nowhere.toml"\n[delivery]\nmode = "sink"\n')
        assert "blocklist.channels" in run(tmp_path, self.LISTED, "blocked", "--config", "bad.toml", code=1)

    def test_channels_of_ones_own(self, tmp_path: Path) -> None:
        (tmp_path / "own.toml").write_text(
            '[[channel]]\nname = "Mine"\nkind = "list"\nzones = ["zen.spamhaus.org"]\nremoval = '
            '"https://x.example/{subject}"\n'
        )
        (tmp_path / "og.toml").write_text('[blocklist]\nchannels = "own.toml"\n[delivery]\nmode = "sink"\n')
        result = found(tmp_path, self.LISTED, "--config", "og.toml")
        assert result["channel"]["name"] == "Mine"
        assert result["channel"]["removal"] == "https://x.example/203.0.113.5"

    def test_an_address_that_is_not_ours(self, tmp_path: Path) -> None:
        (tmp_path / "og.toml").write_text('[blocklist]\naddresses = ["192.0.2.1"]\n[delivery]\nmode = "sink"\n')
        assert found(tmp_path, self.LISTED, "--config", "og.toml")["side"] == "customer"

    def test_the_lists_are_asked_about_an_address(self, tmp_path: Path) -> None:
        with list_server_in_thread() as server:
            server.zones["one.test"] = Zone(listed={"192.0.2.7": ["127.0.0.2"]}, texts={"192.0.2.7": "sent spam"})
            server.zones["two.test"] = Zone()
            (tmp_path / "lists.toml").write_text('[[list]]\nzone = "one.test"\n[[list]]\nzone = "two.test"\n')
            (tmp_path / "og.toml").write_text(
                f'[dns]\nresolvers = ["{server.address}"]\n[blocklist]\nfile = '
                f'"lists.toml"\naddresses = ["192.0.2.7"]\n'
                '[delivery]\nmode = "sink"\n'
            )
            result = found(tmp_path, "192.0.2.7\n", "--config", "og.toml")
            assert result["class"] == "our_address_blocked.list"
            assert (result["list"], result["side"], result["address"]) == ("one.test", "provider", "192.0.2.7")
            assert {row["zone"]: row["state"] for row in result["listings"]} == {
                "one.test": "listed",
                "two.test": "clean",
            }
            asked = server.zones["one.test"].asked
            assert found(tmp_path, "192.0.2.7\n", "--config", "og.toml", "--no-ask")["class"] == "other"
            assert server.zones["one.test"].asked == asked
            clean = found(tmp_path, "192.0.2.8\n", "--config", "og.toml", "--ask")
            assert (clean["class"], clean["list"]) == ("other", None)

    def test_ask_and_not_ask_exclude_each_other(self, tmp_path: Path) -> None:
        assert "not allowed with" in run(tmp_path, "192.0.2.7", "blocked", "--ask", "--no-ask", code=2)


@pytest.mark.parametrize("command", ["classify", "blocked", "redact"])
def test_the_commands_take_a_configuration(tmp_path: Path, command: str) -> None:
    (tmp_path / "og.toml").write_text('[delivery]\nmode = "sink"\n')
    assert run(tmp_path, "550 user unknown", command, "--config", "og.toml")
