"""The password file."""

from __future__ import annotations

from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config import ConfigError
from outbound_guard.edge import passwords as module
from outbound_guard.edge.passwords import Overloaded, Passwords
from tests.live_edge import password_lines


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "passwords"
    path.write_text(password_lines())
    return path


def remove(file: Path) -> None:
    file.unlink()


def rewrite(file: Path, text: str) -> None:
    file.write_text(text)


async def test_right_and_wrong(file: Path) -> None:
    passwords = Passwords(file, VirtualClock())
    assert len(passwords) == 5
    for user in ("alice", "bob"):
        for _ in range(2):  # The second time from memory.
            assert await passwords.check(user, b"secret")
            assert not await passwords.check(user, b"Secret")
            assert not await passwords.check(user, b"")
            assert not await passwords.check(user, b"secret\0")
    assert not await passwords.check("nobody", b"secret")
    assert not await passwords.check("Alice", b"secret")
    # bcrypt looks at 72 octets.
    assert await passwords.check("long", b"x" * 80)
    passwords.close()


async def test_right_passwords_are_remembered_for_a_while(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    fits = module._fits
    monkeypatch.setattr(module, "_fits", lambda hash_, password: checked.append(password) or fits(hash_, password))
    monkeypatch.setattr(module, "_KEPT", 1)
    clock = VirtualClock(1000)
    passwords = Passwords(file, clock)
    for password, times in ((b"secret", 1), (b"secret", 1), (b"wrong", 2), (b"wrong", 3), (b"secret", 3)):
        await passwords.check("alice", password)
        assert len(checked) == times
    clock.advance(301)
    assert await passwords.check("alice", b"secret")
    assert len(checked) == 4
    await passwords.check("bob", b"secret")  # There is room for one.
    assert await passwords.check("alice", b"secret")
    assert len(checked) == 6
    assert b"secret" not in repr(passwords._known).encode()
    passwords.close()


async def test_reload_counts_at_once_and_a_mistake_changes_nothing(file: Path) -> None:
    passwords = Passwords(file, VirtualClock())
    assert await passwords.check("alice", b"secret")
    rewrite(file, "alice\n")
    with pytest.raises(ConfigError, match="line 1: is not user:hash"):
        passwords.reload()
    assert await passwords.check("alice", b"secret")
    rewrite(file, "# nobody\n")
    passwords.reload()
    assert not await passwords.check("alice", b"secret")
    passwords.close()


async def test_a_changed_file_counts_at_the_next_login(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    counted = []
    passwords = Passwords(file, VirtualClock(), count=lambda *labels: counted.append(labels))
    assert await passwords.check("alice", b"secret")
    lines = password_lines()
    rewrite(file, lines.replace("alice:", "carol:"))
    assert not await passwords.check("alice", b"secret")  # Also one that was remembered.
    assert await passwords.check("carol", b"secret")
    rewrite(file, "carol\n")
    assert await passwords.check("carol", b"secret")
    assert await passwords.check("carol", b"secret")
    remove(file)
    assert await passwords.check("carol", b"secret")
    rewrite(file, lines)
    assert await passwords.check("alice", b"secret")
    assert [labels[1:] for labels in counted] == [
        ("passwords", "ok"), ("passwords", "refused"), ("passwords", "refused"), ("passwords", "ok")
    ]  # fmt: skip
    assert "line 1: is not user:hash" in caplog.text
    passwords.close()


async def test_unknown_users_cost_what_known_ones_cost(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    monkeypatch.setattr(module, "_fits", lambda hash_, password: checked.append(hash_) or True)
    passwords = Passwords(file, VirtualClock())
    for number in range(200):
        for _ in range(2):
            assert not await passwords.check(f"nobody{number}", b"secret")
    hashes = [line.partition(":")[2] for line in password_lines().splitlines() if ":" in line]
    assert set(checked) == set(hashes)
    # The same for the same name, as it is with those who exist.
    assert checked[::2] == checked[1::2]
    passwords.close()


async def test_no_more_than_can_be_checked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAITING", 0)
    passwords = Passwords(file, VirtualClock())
    with pytest.raises(Overloaded):
        await passwords.check("alice", b"secret")
    passwords.close()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("alice", "line 1: is not user:hash"),
        ("\n# c\n:$2b$04$x", "line 3: is not user:hash"),
        ("alice:secret", "line 1: the hash is neither argon2 nor bcrypt"),
        ("alice:$2b$04$short", "line 1: the hash is neither argon2 nor bcrypt"),
        ("alice:$argon2id$v=19$nonsense", "line 1: the hash is neither argon2 nor bcrypt"),
        ("alice:$6$rounds=5000$x$y", "line 1: the hash is neither argon2 nor bcrypt"),
        (password_lines() + password_lines(), "line 10: user 'alice' stands here twice"),
    ],
)
def test_mistakes_are_named_by_line_without_the_hash(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "passwords"
    path.write_text(text)
    with pytest.raises(ConfigError, match=error) as raised:
        Passwords(path)
    assert str(path) in str(raised.value)
    assert "secret" not in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"auth\.passwords: .*cannot be read"):
        Passwords(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"m\xfcller:x\n")
    with pytest.raises(ConfigError, match="is not UTF-8 at octet 1"):
        Passwords(tmp_path / "latin")
