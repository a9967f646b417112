"""`user` over a data directory: users and tokens come, change and go; passwords are never arguments."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from outbound_guard.__main__ import main
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.user_queries import credentials
from tests.product import GUARD

PASSWORD = "correct horse battery staple"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "guard.toml").write_text('[server]\ndata_dir = "./data"\n[delivery]\nmode = "sink"\n')
    return tmp_path / "data"


@pytest.fixture
def run(data: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*words: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = main([*words, "--config", str(data.parent / "guard.toml")])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def add(run: Run, name: str, role: str) -> None:
    assert run("user", "add", name, "--role", role, "--password-stdin", stdin=f"{PASSWORD}\n")[0] == 0


def test_users_come_change_and_go(run: Run, data: Path) -> None:
    # The first one before the service has ever been started.
    added = run("user", "add", " Ann ", "--role", "admin", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert added == (0, "user ann added as admin\n", "")
    add(run, "bob", "viewer")
    assert run("user", "role", "bob", "operator")[1] == "user bob is operator now\n"
    listed = json.loads(run("user", "list", "--json")[1])
    assert [(user["name"], user["role"], user["state"]) for user in listed] == [
        ("ann", "admin", "active"),
        ("bob", "operator", "active"),
    ]
    table = run("user", "list")[1].splitlines()
    assert table[0].split()[:3] == ["name", "role", "state"]
    assert run("user", "disable", "bob", "--by", "carol")[1] == "user bob disabled\n"
    assert json.loads(run("user", "list", "--json")[1])[1]["state"] == "disabled"
    assert run("user", "enable", "bob")[0] == 0
    assert run("user", "sign-out", "bob")[0] == 0
    assert run("user", "remove", "bob")[1] == "user bob removed\n"
    assert len(json.loads(run("user", "list", "--json")[1])) == 1
    mode = (data / "ledger.sqlite3").stat().st_mode
    assert mode & 0o777 == 0o600


def test_another_password(run: Run, data: Path) -> None:
    add(run, "ann", "admin")
    ledger = Ledger(url_of("embedded", data))
    before = credentials(ledger, "ann")
    assert run("user", "password", "ann", "--password-stdin", stdin="an even longer one here\n")[0] == 0
    after = credentials(ledger, "ann")
    ledger.close()
    assert before is not None
    assert after is not None
    assert before.password != after.password
    assert after.password.startswith("$argon2id$")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("remove", "ann"), "ann is the last admin; make another one first"),
        (("disable", "ann"), "ann is the last admin; make another one first"),
        (("role", "ann", "viewer"), "ann is the last admin; make another one first"),
        (("remove", "nobody"), "no user nobody"),
        (("totp-reset", "ann"), "ann has no second factor"),
        (("add", "ann", "--password-stdin"), "there is a user ann already"),
        (("password", "ann", "--password-stdin"), "there is a user"),
        (("token-add", "nobody", "ci"), "no user nobody"),
        (("token-add", "ann", "ci", "--scopes", "king"), "king: no such scope"),
        (("token-revoke", "0123"), "no such token"),
    ],
)
def test_what_is_refused_is_one_line(run: Run, words: tuple[str, ...], why: str) -> None:
    add(run, "ann", "admin")
    if words[0] == "password":
        code, out, err = run("user", *words, stdin="short\n")
        why = "a password has at least 12 characters"
    else:
        code, out, err = run("user", *words, stdin=f"{PASSWORD}\n")
    assert (code, out) == (1, "")
    assert err.startswith(f"outbound-guard: {why}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [(), ("add",), ("add", "ann", "--role", "king"), ("role", "ann", "king"), ("role", "ann")]
)
def test_wrong_usage(run: Run, data: Path, words: tuple[str, ...]) -> None:
    code, out, err = run("user", *words)
    assert (code, out) == (2, "")
    assert err.startswith("usage:")
    assert not data.exists()


def test_tokens(run: Run) -> None:
    add(run, "ann", "admin")
    add(run, "olga", "operator")
    made = json.loads(run("user", "token-add", "olga", "ci", "--scopes", "held,read", "--for", "90d", "--json")[1])
    assert made["token"].startswith(f"og_{made['id']}_")
    code, _, err = run("user", "token-add", "olga", "more", "--scopes", "users")
    assert (code, err) == (1, "outbound-guard: users: beyond what olga may do\n")
    plain = run("user", "token-add", "ann", "other")[1]
    assert plain.startswith("og_")
    (token,) = json.loads(run("user", "tokens", "olga", "--json")[1])
    assert (token["name"], token["scopes"]) == ("ci", ["read", "held"])
    assert token["expires"] - token["created"] == pytest.approx(90 * 86400, abs=60)
    table = run("user", "tokens")[1]
    assert "active" in table
    assert made["token"] not in table
    assert run("user", "token-revoke", made["id"])[1] == "token ci of olga revoked\n"
    assert "revoked" in run("user", "tokens", "olga")[1]


def test_the_password_is_asked_for_at_the_terminal(data: Path) -> None:
    def typed(*passwords: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        command = [GUARD, "user", "add", "ann", "--role", "admin", "--config", str(data.parent / "guard.toml")]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        said = b""
        for password, prompt in zip(passwords, (b"Password: ", b"Once more: "), strict=True):
            while prompt not in said:
                said += os.read(ours, 1000)
            os.write(ours, f"{password}\n".encode())
        try:
            while more := os.read(ours, 1000):
                said += more
        except OSError:
            pass  # The other end has gone.
        os.close(ours)
        return process.wait(60), said.decode()

    code, said = typed(PASSWORD, PASSWORD + "x")
    assert code == 1
    assert "the two passwords differ" in said
    code, said = typed(PASSWORD, PASSWORD)
    assert code == 0, said
    assert "user ann added as admin" in said
    # It is not shown while it is typed.
    assert PASSWORD not in said


def test_without_a_terminal_and_without_a_password(data: Path) -> None:
    command = [GUARD, "user", "add", "ann", "--config", str(data.parent / "guard.toml")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "outbound-guard: no terminal to ask for the password; give it with --password-stdin\n"
