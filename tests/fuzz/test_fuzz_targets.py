"""Every target of `scripts/fuzz`: its seeds, what was ever found, made-up inputs; and that it finds a mistake."""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import random
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import fuzz_smtp, run
from tests.fuzz.target import FOUND, Target

SEEDS = 100
"""So many of a target's seeds; `scripts/fuzz` takes all."""
MADE_UP = {
    "mime": 150,
    "config": 150,
    "html": 200,
    "spool": 150,
    "smtp": 100,
    "dns": 60,
    "redaction": 60,
    "answers": 100,
}
"""Inputs that are made up; of the others 200."""
NAMES = run.names()


@functools.cache
def seeds_of(name: str) -> list[bytes]:
    return list(itertools.islice(run.target(name).seeds(), SEEDS))


def made_up(name: str) -> st.SearchStrategy[bytes]:
    """Octets; words of the target; a seed in which words and octets stand in some places."""
    target = run.target(name)
    lead = st.binary(min_size=target.lead, max_size=target.lead)
    word = st.one_of(st.sampled_from(target.words), st.binary(max_size=6))
    words = st.lists(word, max_size=25).map(b"".join)
    spliced = st.builds(
        splice, st.sampled_from(seeds_of(name)), st.lists(st.tuples(st.integers(0, 4096), word), max_size=4)
    )
    return st.one_of(st.builds(bytes.__add__, lead, words), spliced).map(lambda octets: octets[: target.longest])


def splice(seed: bytes, put: list[tuple[int, bytes]]) -> bytes:
    for place, octets in put:
        place %= len(seed) + 1
        seed = seed[:place] + octets + seed[place + len(octets) // 2 :]
    return seed


# Those of sessions are played below.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "smtp"])
def test_seeds(name: str) -> None:
    known = seeds_of(name)
    assert len(known) > 3
    for octets in known:
        run.target(name).attempt(octets)


def test_sessions_get_mail_in_by_every_kind_of_listener() -> None:
    before = fuzz_smtp.TAKEN.copy()
    for octets in fuzz_smtp.TARGET.seeds():
        fuzz_smtp.attempt(octets)
    assert set(fuzz_smtp.TAKEN - before) == set(range(len(fuzz_smtp.KINDS)))


@pytest.mark.parametrize("name", NAMES)
def test_made_up(name: str) -> None:
    # The same inputs each time: to look for new ones is the business of scripts/fuzz.
    @settings(
        max_examples=MADE_UP.get(name, 200),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(made_up(name))
    def attempt(octets: bytes) -> None:
        run.target(name).attempt(octets)

    attempt()


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_found(path: Any) -> None:
    run.target(path.parent.name).attempt(path.read_bytes())


MISTAKES: tuple[tuple[str, str, str, str, str], ...] = (
    # target, module, function, what stands in it, what stands there by mistake
    ("data", "edge.data", "DataReader.feed", "self._last = window[-4:]", "self._last = window[-3:]"),
    ("data", "delivery.wire", "framed", "piece[0] == 0x2E or ", ""),
    ("smtp", "edge.wire", "Wire.start_tls", "self.unread.clear()", "pass"),
    ("smtp", "edge.lines", "Lines._refuse_bare_line_end", "raise Closed", "return"),
    (
        "smtp",
        "edge.transaction",
        "rcpt",
        "session.recipients.append(recipient)",
        'session.recipients.append("\\x07")',
    ),
    ("addresses", "delivery.wire", "Mail.commands", "RCPT TO:<%b>%b", "RCPT TO:%b%b"),
    ("config", "config.reading", "convert", "msgspec.ValidationError", "ZeroDivisionError"),
    ("feedback", "delivery.dsn", "_clean", ".translate(UNPRINTABLE)", ""),
    ("logs", "feedback.postfix", "time_of_line", "return min(time, now)", "return time"),
    ("answers", "delivery.replies", "ReplyReader._read", "data = self._rest + data", "pass"),
    ("hop", "delivery.connection", "Connection._end", "answer or final for answer in", "final for answer in"),
    ("hop", "delivery.connection", "Connection._answer", "code == 354 if data else code < 300", "code < 400"),
    ("html", "desk.reading.visible", "visible", "_ACTING.sub(_name, text.replace", "(text.replace"),
    ("spool", "spool.entry", "decode_entry", "UnicodeDecodeError", "ZeroDivisionError"),
    ("trace", "trace", "_transaction", "0 <= place", "place"),
    ("mime", "content.charset", "header_text", "value[:limit], True", "value, True"),
    ("redaction", "desk.redaction.redact", "_addresses", "_ADDRESS.sub(_address, text)", "text"),
    ("dns", "blocklist.spf", "_Check._count", "raise", "return"),
    ("proxy", "edge.proxied", "binary", "command & 15 == 0 or not version", "not version"),
)


@pytest.mark.parametrize(("name", "module", "function", "right", "wrong"), MISTAKES)
def test_a_mistake_is_found(name: str, module: str, function: str, right: str, wrong: str) -> None:
    original = functools.reduce(getattr, function.split("."), importlib.import_module(f"outbound_guard.{module}"))
    source = textwrap.dedent(inspect.getsource(original))
    assert right in source, f"{module}.{function} no longer has {right!r} in it: plant the mistake elsewhere"
    made: dict[str, Any] = dict(original.__globals__)
    exec(compile("from __future__ import annotations\n" + source.replace(right, wrong), "a mistake", "exec"), made)
    code, attempt = original.__code__, run.target(name).attempt
    # Whoever has imported the function has the mistake, too.
    original.__code__ = made[original.__name__].__code__
    try:
        known, dice = seeds_of(name), random.Random(1)
        tried = itertools.chain(known, (run.mutated(dice, known, run.target(name).words, 2000) for _ in range(2000)))
        assert any(run.fault(attempt, octets) for octets in tried)
    finally:
        original.__code__ = code


def test_what_is_found_is_made_small(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def attempt(octets: bytes) -> None:
        if b"\n" in octets and octets.count(b"x") > 2:
            raise ValueError("found")

    one = Target(attempt, lambda: iter((b"seed", b"a x b\n")), (b"x", b"\n"))
    monkeypatch.setattr(run, "target", lambda name: one)
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    assert run.main(["trace", "--blind", "--minutes", "1", "--seed", "1"]) == 1
    (found,) = (tmp_path / "trace").glob("found-*")
    assert sorted(found.read_bytes()) == sorted(b"xxx\n")
    said = capsys.readouterr().err
    assert str(found) in said
    assert "ValueError: found" in said


def test_nothing_is_found(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "FOLDER", tmp_path)
    assert run.main(["trace", "proxy", "--blind", "--minutes", "0.01"]) == 0
    assert "proxy: " in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["--minutes", "0"], ["--minutes", "x"], ["--what"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err
