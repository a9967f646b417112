"""Limits in force with where they come from; they are what the directory in memory says. Probation in verdicts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outbound_guard.accounts.directory import Directory
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Allow, Limit, LimitTables, Policy
from outbound_guard.content import parse
from outbound_guard.desk.accounts.limits import exempted_by_policy, limits_in_force
from outbound_guard.desk.policy.why import of_decision
from outbound_guard.ledger.records import Standing
from outbound_guard.mail import Envelope, Sender, Signal, Submission
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC, Memory
from outbound_guard.verdict import Circumstances, circumstances, decide
from tests.records import BOTH_LONG, books

LEDGERS = BOTH_LONG

NOW = 1_700_000_000.0
ANNA = Sender("c1", "a@example.org", "mailbox", "sasl")
NOTHING_KNOWN = Memory(NO_PROFILE, NO_PROFILE, NO_TRAFFIC, NO_TRAFFIC)

limits_ = st.dictionaries(st.sampled_from(Limit.__struct_fields__), st.integers(1, 50_000), max_size=3)


def standing(change: str, scope: str = "account", **other: object) -> Standing:
    subject = "c1" if scope == "account" else "a@example.org"
    fields: dict[str, object] = {"time": NOW, "scope": scope, "subject": subject, "change": change, "account": "c1"}
    return Standing(**(fields | other))  # type: ignore[arg-type]


@given(
    provider=st.builds(
        LimitTables,
        account=limits_.map(lambda fields: Limit(**fields)),
        sender=limits_.map(lambda fields: Limit(**fields)),
    ),
    account=limits_,
    sender=limits_,
    probation=st.sampled_from(["", "account", "sender"]),
)
@pytest.mark.long
@settings(max_examples=40)
async def test_they_are_what_the_relays_use(
    tmp_path_factory: pytest.TempPathFactory,
    provider: LimitTables,
    account: dict[str, int],
    sender: dict[str, int],
    probation: str,
) -> None:
    policy = Policy(limit=provider)
    standings = [
        *([standing("limited", limits=account)] if account else []),
        *([standing("limited", "sender", limits=sender)] if sender else []),
        *([standing("probation", probation, until=NOW + 60)] if probation else []),
    ]
    folder: Path = tmp_path_factory.mktemp("books")
    clock = VirtualClock(NOW)
    with books(folder, clock) as opened:
        opened.keep(standing("limited", limits={"messages_per_day": 5}, subject="other", account="other"), *standings)
        directory = Directory(opened.ledger, clock)
        await directory.refresh()
    expected = {
        "sender": directory.limit("a@example.org", "c1", policy.limit),
        "account": directory.account_limit("c1", policy.limit),
    }
    for scope, name in (("sender", "a@example.org"), ("account", "c1")):
        if directory.probation(scope, name, NOW):
            expected[scope] = expected[scope].within(policy.probation.limit)
    found = limits_in_force(policy, standings, "sender", "a@example.org", "c1", NOW)
    told = {(one.of, f"{one.what}_per_{one.window}"): one.most for one in found}
    assert told == {
        (scope, field): most
        for scope, limit in expected.items()
        for field in Limit.__struct_fields__
        if (most := getattr(limit, field))
    }


def test_what_is_over_says_nothing() -> None:
    over = [standing("probation", until=NOW - 1), standing("unlimited", "sender")]
    origins = {one.origin for one in limits_in_force(Policy(), over, "sender", "a@example.org", "c1", NOW)}
    assert origins == {"provider"}


def test_allow_rules_that_may_apply() -> None:
    rules = (
        Allow(reason="all", until="2030-01-01", account="c*"),
        Allow(reason="over", until="2020-01-01", account="c1"),
        Allow(reason="one sender", until="2030-01-01", sender="a@*"),
        Allow(reason="by MAIL FROM", until="2030-01-01", mail_from="a@*"),
        Allow(reason="another", until="2030-01-01", account="d1"),
    )
    policy = Policy(allow=rules)
    assert [r.reason for r in exempted_by_policy(policy, "account", "c1", "c1", NOW)] == ["all"]
    assert [r.reason for r in exempted_by_policy(policy, "sender", "a@example.org", "c1", NOW)] == ["all", "one sender"]


async def test_probation_makes_thresholds_sterner_and_limits_smaller_and_ends_by_itself(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    with books(tmp_path, clock) as opened:
        opened.keep(standing("probation", until=NOW + 3600))
        directory = Directory(opened.ledger, clock)
        await directory.refresh()
    submission = Submission("m1", NOW, Envelope("a@example.org", ("x@there.test",)), b"\r\n", "127.0.0.1")
    message = parse(submission.content)
    hour = int(NOW // 3600)
    busy = NO_TRAFFIC._replace(hour=hour, hour_messages=300.0, hour_recipients=300.0)
    memory = msgspec.structs.replace(NOTHING_KNOWN, account_traffic=busy)
    policy = Policy()

    def at(now: float) -> Circumstances:
        return circumstances(submission, message, ANNA, memory, directory, policy, now, None)

    assert at(NOW).probation
    assert at(NOW).over_limit == "rate limit of this account: 300 of 200 recipients in a hour"
    assert not at(NOW + 3600).probation
    assert not at(NOW + 3600).over_limit
    # Another account is not on probation.
    other = msgspec.structs.replace(ANNA, account="c2", name="b@example.net")
    assert not circumstances(submission, message, other, memory, directory, policy, NOW, None).probation

    for weight, usual, meanwhile in ((2.9, "relay", "relay"), (3.1, "relay", "hold"), (4.9, "relay", "quarantine")):
        signals = (Signal("content", weight, "because"),)
        found = [decide(ANNA, signals, NOTHING_KNOWN, policy, Circumstances(probation=p)).action for p in (False, True)]
        assert found == [usual, meanwhile]
    suspended = decide(ANNA, (Signal("content", 7.0, "x"),), NOTHING_KNOWN, policy, Circumstances(probation=True))
    assert suspended.suspend == ANNA.name


def test_a_decision_on_probation_can_be_explained() -> None:
    decision = {
        "account": "c1",
        "sender": "a@example.org",
        "sender_kind": "mailbox",
        "source": "sasl",
        "signals": [{"name": "content", "weight": 4.0, "reason": "because"}],
        "action": "hold",
        "code": "content",
        "reason": "because",
    }
    assert of_decision(decision, Policy()) is None
    found = of_decision(decision, Policy(), probation=True)
    assert found is not None
    assert found.outcome == "hold"
    assert found.sentences[-1].startswith("The sender or its account was on probation")
    assert found.below is not None
    assert found.below.at == pytest.approx(3.0)
