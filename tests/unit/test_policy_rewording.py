"""One thing changed in a policy's text; every comment and everything else stays."""

from pathlib import Path

import pytest

from outbound_guard.config import Allow
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.policy.candidate import difference, read_candidate
from outbound_guard.desk.policy.meaning import meanings
from outbound_guard.desk.policy.rewording import with_allow_rule, with_setting, without_allow_rule

SAMPLE = (Path(__file__).parents[2] / "config/policy.toml").read_text()
RULE = Allow(reason='the "big" move\x7f\n', until="2027-01-31", sender="web1/uid7:*")


@pytest.mark.parametrize(
    ("text", "where", "value", "after"),
    [
        ("", "signal.rate.mode", "shadow", '\n[signal.rate]\nmode = "shadow"\n'),
        ("[threshold] # x\n", "threshold.hold", "6.5", "[threshold] # x\nhold = 6.5\n"),
        ("[threshold]\n  hold=5.0#x\n", "threshold.hold", "6.5", "[threshold]\n  hold=6.5#x\n"),
        ("[limit]\naction = 'defer' # x", "limit.action", "hold", "[limit]\naction = \"hold\" # x"),
        ("[signal.rate]\nfloor = 1.0\n", "signal.rate.mode", "off", '[signal.rate]\nmode = "off"\nfloor = 1.0\n'),
        ("threshold.hold = 5.0\n", "threshold.watch", "2", None),
        ("[signal]\nrate = { mode = 'on' }\n", "signal.rate.mode", "off", None),
        ("[threshold]\nhold = 5.0\n", "threshold.hold", "99", None),
        ("[threshold]\nhold = 5.0\n", "threshold.hold", "high", None),
        ("[threshold]\nhold = 5.0\n", "threshold.hold]\nx = 1\n[y", "1", None),
        ("[threshold\n", "threshold.hold", "6", None),
        ("", "odd.setting", "6", None),
    ],
)  # fmt: skip
def test_a_setting(text: str, where: str, value: str, after: str | None) -> None:
    if after is None:
        with pytest.raises(DeskError):
            with_setting(text, where, value)
    else:
        assert with_setting(text, where, value) == after


def test_only_the_one_line_changes() -> None:
    assert [
        line for line in difference(SAMPLE, with_setting(SAMPLE, "signal.content.scale", "0.5")) if line[0] in "+-"
    ] == [
        "-scale = 1.0",
        "+scale = 0.5",
    ]


def test_an_allow_rule_comes_and_goes() -> None:
    text = with_allow_rule(SAMPLE, RULE)
    policy = read_candidate(text).policy
    assert policy is not None
    assert policy.allow == (RULE,)
    two = with_allow_rule(text, Allow(reason="x", until="2027-01-31", account="b"))
    assert without_allow_rule(two, 1).rstrip() == text.rstrip()
    left = read_candidate(without_allow_rule(two, 0)).policy
    assert left is not None
    assert [rule.account for rule in left.allow] == ["b"]


def test_what_follows_a_rule_stays() -> None:
    text = '[[allow]]\nreason = "a"\nuntil = "2027-01-31"\nsender = "s"\n\n# About holds.\n[hold]\nwait = 60.0\n'
    assert without_allow_rule(text, 0) == "\n# About holds.\n[hold]\nwait = 60.0\n"


def test_rules_that_are_none() -> None:
    for rule in (Allow(reason="x", until="soon", sender="a"), Allow(reason="x", until="2027-01-31")):
        with pytest.raises(DeskError):
            with_allow_rule(SAMPLE, rule)
    for text in ("", "allow = [{reason='x', until='2027-01-31', sender='a'}]\n", "["):
        with pytest.raises(DeskError):
            without_allow_rule(text, 0)


def test_every_signal_and_most_settings_are_explained() -> None:
    known = meanings()
    assert known["signal.rate"].startswith("More mail than this sender's habit.")
    assert known["signal.rate.floor"].startswith("Recipients an hour")
    assert known["hold.wait"].startswith("Seconds until a message held")
    assert known["signal.rate.mode"].startswith("on, shadow")
