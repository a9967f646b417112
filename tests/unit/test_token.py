"""The token that leads a complaint back to the decision, and the secret it is made with."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.accounts import Tokens, secret
from outbound_guard.config import ConfigError
from outbound_guard.mail import new_id

TOKENS = Tokens(b"k" * 32)


def test_a_token_carries_the_id_and_nothing_else() -> None:
    id_ = new_id(1_772_409_600.0)
    token = TOKENS.seal(id_)
    assert token.startswith(f"{id_}-")
    assert len(token) == len(id_) + 13
    assert token.replace("-", "").isalnum()
    assert TOKENS.verify(token) == id_
    assert TOKENS.verify(f" {token.upper()}\n") == id_


def test_upper_case_is_forgiven_where_the_seal_has_no_letters() -> None:
    """One in 300 seals is of digits alone."""
    tokens = (TOKENS.seal(f"a{number}") for number in range(100_000))
    token = next(token for token in tokens if token.partition("-")[2].isdigit())
    assert TOKENS.verify(token.upper()) == token.partition("-")[0]


def test_tokens_of_others_lead_nowhere() -> None:
    id_ = new_id(1_772_409_600.0)
    token = TOKENS.seal(id_)
    assert Tokens(b"o" * 32).verify(token) is None
    other = new_id(1_772_409_601.0)
    for forged in (
        token[:-1],
        token + "a",
        id_,
        f"{other}-{token[-12:]}",
        f"{id_}-aaaaaaaaaaaa",
        "",
        "-",
        "x" * 10_000,
    ):
        assert TOKENS.verify(forged) is None


@given(st.text(max_size=60))
def test_no_text_is_taken_for_a_token(text: str) -> None:
    assert TOKENS.verify(text) is None


def test_one_secret_for_all_processes_however_they_race(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda _: secret(data_dir), range(32)))
    assert len(found) == 1
    assert len(found.pop()) == 32
    assert [path.name for path in data_dir.iterdir()] == ["secret"]
    assert stat.S_IMODE((data_dir / "secret").stat().st_mode) == 0o600


def test_secrets_differ_between_installations(tmp_path: Path) -> None:
    assert secret(tmp_path / "a") != secret(tmp_path / "b")


def test_a_broken_secret_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(ConfigError, match="holds 5 octets instead of 32"):
        secret(tmp_path)
