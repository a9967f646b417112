"""What of deploy/mta needs no mail server: scripts, and the grammar of files for programs that are not run here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from outbound_guard.accounts.forms import php_script
from tests.monitoring import ROOT

MTA = ROOT / "deploy/mta"
SCRIPTS = [file for file in sorted(MTA.rglob("*")) if file.is_file() and file.read_text().startswith("#!/bin/sh")]
CHECKS = {
    "haraka/plugins/outbound_guard.js": ["node", "--check"],
    "kumomta/outbound_guard.lua": ["luac5.4", "-p"],
    "firewall/nftables.conf": ["nft", "--check", "--file"],
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: str(file.relative_to(MTA)))
def test_scripts_are_posix_shell(script: Path) -> None:
    done = subprocess.run([shutil.which("dash") or "sh", "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize("name", CHECKS)
def test_the_grammar_is_right(name: str) -> None:
    program, *options = CHECKS[name]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *options, MTA / name], capture_output=True, text=True)
    if "Operation not permitted" in done.stderr:
        pytest.skip(f"{program} may not be used here")
    assert (done.returncode, done.stderr) == (0, "")


def sendmail(tmp_path: Path, content: bytes, **environment: str) -> bytes:
    """What the wrapper for PHP hands to sendmail(1)."""
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/words\ncat >{tmp_path}/content\n')
    program.chmod(0o755)
    variables = {"PATH": os.environ["PATH"], "SENDMAIL": str(program), **environment}
    subprocess.run([MTA / "php/sendmail", "-t", "-i", "-f", "a b@x.test"], input=content, env=variables, check=True)
    assert (tmp_path / "words").read_text() == "-t -i -f a b@x.test\n"
    return (tmp_path / "content").read_bytes()


def test_the_wrapper_for_php_names_the_script(tmp_path: Path) -> None:
    content = b"To: b@y.test\n\n.\n\xff\n"
    web = {"SERVER_NAME": "shop.example", "SCRIPT_NAME": "/blog/contact.php", "REMOTE_ADDR": "203.0.113.9"}
    got = sendmail(tmp_path, content, **web)
    assert got == b"X-PHP-Script: shop.example/blog/contact.php for 203.0.113.9\n" + content
    assert php_script(got.split(b"\n")[0].decode().partition(": ")[2]) == ("shop.example", "/blog/contact.php")


def test_the_wrapper_for_php_lets_a_visitor_write_no_header(tmp_path: Path) -> None:
    web = {"SERVER_NAME": "shop.example\nBcc: all@y.test", "SCRIPT_NAME": "/x.php\r\n\r\nbody" + "y" * 5000}
    got = sendmail(tmp_path, b"To: b@y.test\n\n", **web)
    assert got.count(b"\n") == 3
    assert len(got) < 600


def test_the_wrapper_for_php_changes_nothing_else(tmp_path: Path) -> None:
    assert sendmail(tmp_path, b"To: b@y.test\n\nof cron\n") == b"To: b@y.test\n\nof cron\n"


def test_the_firewall_lets_the_mail_server_through_and_nobody_else(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", MTA / "firewall/iptables", "postfix", "203.0.113.25", "2001:db8::25"],
        env={**os.environ, "DRY_RUN": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    rules = [line for line in done.stdout.splitlines() if " -A " in line]
    assert [line.split()[0] for line in rules] == ["iptables"] * 5 + ["ip6tables"] * 5
    for tool, address in (("iptables", "203.0.113.25"), ("ip6tables", "2001:db8::25")):
        ours = [line.partition("OUTBOUND_GUARD ")[2] for line in rules if line.startswith(f"{tool} ")]
        assert ours[1:3] == [f"-d {address} -m owner --uid-owner {who} -j RETURN" for who in ("root", "postfix")]
        assert ours[-1] == "-p tcp -j REJECT --reject-with tcp-reset"


def test_the_document_names_every_file() -> None:
    document = (ROOT / "docs/mta.md").read_text()
    named = set(re.findall(r"\(\.\./deploy/mta/([^)#]+)\)", document))
    files = {str(file.relative_to(MTA)) for file in MTA.rglob("*") if file.is_file()}
    assert {
        file for file in files if not any(file == one or file.startswith(f"{one.rstrip('/')}/") for one in named)
    } == set()
