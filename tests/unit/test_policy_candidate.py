"""The text of a policy before it is used: what is wrong with it, and what it would change."""

from pathlib import Path

import pytest

from outbound_guard.config import Policy
from outbound_guard.desk.policy.candidate import changes, difference, line_of, read_candidate, said, settings, written

SAMPLE = Path(__file__).parents[2] / "config/policy.toml"
MISTAKES = """\
[threshold]
hold = 9.0
quarantine = "x"
susp = 3
[hold]
wait = -5
[[allow]]
reason = "a"
until = "2027-01-01"
sender = "x"
[[allow]]
reason = " "
until = "2027-01-01"
account = "b"
[signal.rate]
mode = "maybe"
flor = 3
floor = "a"
[signal.nothing]
x = 1
[limit.account]
messages_per_hour = 1.5
[odd]
"""


def test_the_sample_is_the_packaged_policy() -> None:
    sample = read_candidate(SAMPLE.read_text())
    assert sample.policy is not None
    assert changes(Policy(), sample.policy) == []


def test_every_mistake_is_found_with_its_line() -> None:
    found = {(problem.where, problem.line): problem.what for problem in read_candidate(MISTAKES).problems}
    assert list(found) == [
        ("threshold.quarantine", 3),
        ("threshold.susp", 4),
        ("limit.account.messages_per_hour", 22),
        ("odd", 23),
        ("hold.wait", 6),
        ("allow[1].reason", 12),
        ("signal.rate.flor", 17),
        ("signal.rate.floor", 18),
        ("signal.rate.mode", 16),
        ("signal.nothing", 19),
    ]
    assert found["threshold.susp", 4] == "unknown key; did you mean `suspend`?"
    assert found["signal.rate.floor", 18] == 'is a text in quotes, "..."; expected a number'


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[threshold]\nhold = \n", 2, "is not TOML"),
        ("a = " + "[" * 5000, 0, "is not TOML"),
        ("x" * 300_000, 0, "is longer than"),
        ("[signal]\nrate = 3\n", 1, "is a whole number; expected a table"),
        ("signal = 3\n", 1, "is a whole number; expected a table"),
        ("allow = [1]\n", 1, "is a whole number; expected a table"),
        ("\0", 1, "is not TOML"),
    ],
)
def test_other_mistakes(text: str, line: int, what: str) -> None:
    candidate = read_candidate(text)
    assert candidate.policy is None
    problem = candidate.problems[0]
    assert what in problem.what
    assert problem.line == line


def test_what_changes_is_told_by_settings() -> None:
    after = read_candidate(
        "[threshold]\nhold = 6.5\n[signal.rate]\nmode = 'shadow'\n"
        "[[allow]]\nreason = 'moving house'\nuntil = '2027-01-01'\naccount = 'b'\n"
    ).policy
    assert after is not None
    assert [said(change) for change in changes(Policy(), after)] == [
        "threshold.hold: 5.0 -> 6.5",
        'signal.rate.mode: "on" -> "shadow"',
        "allow rule added: reason moving house, until 2027-01-01, account b",
    ]
    assert said(changes(after, Policy())[-1]).startswith("allow rule taken away: reason moving house")


def test_a_policy_written_out_says_the_same() -> None:
    text = (
        "[limit]\naction = 'hold'\n[signal.content]\nhigh = 2.5\n"
        "[[allow]]\nreason='q\"\\\\'\nuntil='2027-01-01'\nsender='x'\n"
    )
    policy = read_candidate(text).policy
    assert policy is not None
    again = read_candidate(written(policy)).policy
    assert again is not None
    assert changes(policy, again) == []
    assert dict(settings(again))["signal.content.high"] == 2.5


def test_lines_that_differ() -> None:
    assert difference("a\nb\nc\nd\ne\n", "a\nb\nc\nD\ne\n") == ["@@ -2,4 +2,4 @@", " b", " c", "-d", "+D", " e"]
    assert difference("a", "a") == []


def test_where_a_setting_stands() -> None:
    assert line_of("[a]\n[a.b]\nx = 1\n", "a.b.x") == 3
    assert line_of("x = 1\n[a]\nx = 2\n", "a.x") == 3
    assert line_of("x = 1\n[a]\nx = 2\n", "x") == 1
    assert line_of("[a]\n", "b.c") == 0
