"""Golden cases: a message, its sender, what is remembered, and the signals expected. A new case is a new file.

A case is a TOML file: `message`, `opinion` (what the content model says: weight and sentence), `scanners` (what other
filters say: name, result, words), `[envelope]`,
`[sender]`, `[memory]` (fields of the keeper's records; `new_recipients`, `new_traits`, `[memory.campaign]`), and
`[expect]`: for each signal its least and greatest weight, or "silent".
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outbound_guard.config import Policy
from outbound_guard.content import parse
from outbound_guard.mail import Envelope, Sender, Submission
from outbound_guard.reputation import SLOTS, TRAITS, Company, Memory
from outbound_guard.reputation.memory import NO_PROFILE, NO_TRAFFIC
from outbound_guard.scanners import Opinion
from outbound_guard.signals import CHECKS, Panel, View

CASES = sorted(Path(__file__).parent.glob("*.toml"))
NOW = 1_800_000_000.0


def view_of(case: dict[str, Any]) -> View:
    content = case["message"].replace("\n", "\r\n").encode()
    envelope = Envelope(
        **{"mail_from": "anna@example.com", "recipients": ("bob@example.net",), **case.get("envelope", {})}
    )
    sender = msgspec.convert(
        {"account": "example.com", "name": "anna@example.com", "kind": "mailbox", "source": "sasl"}
        | case.get("sender", {}),
        Sender,
    )
    remembered = dict(case.get("memory", {}))
    companies = {name: Company(**remembered.pop(name)) for name in ("campaign", "near") if name in remembered}
    neighbours = {shared: Company(**company) for shared, company in remembered.pop("neighbours", {}).items()}
    new_traits = remembered.pop("new_traits", [])
    new_recipients = remembered.pop("new_recipients", 0)
    networks = remembered.pop("networks", 0)
    new_domains = remembered.pop("new_domains", 0)
    sent = {name: remembered.pop(name) for name in list(remembered) if name in NO_TRAFFIC._fields}
    profile = NO_PROFILE._replace(**remembered)
    traffic = NO_TRAFFIC._replace(hour=int(NOW // 3600), day=int(NOW // 86400), **sent)
    memory = Memory(
        profile,
        profile,
        traffic,
        traffic,
        networks=networks,
        new_recipients=new_recipients,
        domains=1,
        new_domains=new_domains,
        new_traits=tuple(trait in new_traits for trait in TRAITS),
        neighbours=neighbours,
        **companies,
    )
    submission = Submission("i", NOW, envelope, content, "192.0.2.1")
    opinion = tuple(case["opinion"]) if "opinion" in case else None
    opinions = tuple(Opinion(*said) for said in case.get("scanners", []))
    return View(submission, sender, parse(content), memory, opinion, NOW, opinions)


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_case(file: Path) -> None:
    case = tomllib.loads(file.read_text(encoding="utf-8"))
    signals, _ = Panel(Policy()).look(view_of(case), [0.0] * SLOTS)
    found = {signal.name: signal for signal in signals}
    for name, expected in case["expect"].items():
        weight = found[name].weight if name in found else 0.0
        if expected == "silent":
            assert abs(weight) < 0.01, found[name]
            continue
        least, greatest = expected
        assert least <= weight <= greatest, (name, weight, found.get(name))
        for word in case.get("words", {}).get(name, []):
            assert word in found[name].reason


def test_every_signal_has_a_case_in_which_it_speaks_and_one_in_which_it_is_silent_or_exonerates() -> None:
    spoken, calm = set(), set()
    for file in CASES:
        for name, expected in tomllib.loads(file.read_text(encoding="utf-8"))["expect"].items():
            (calm if expected == "silent" or expected[1] <= 0.1 else spoken).add(name)
    names = {check.NAME for check in CHECKS}
    # What the world answered is carried, not found fresh: tests/integration/test_reputation.py has it.
    assert spoken >= names - {"refusals"}
    assert calm >= names - {"refusals"}


def test_the_usual_form_is_no_proof_of_innocence() -> None:
    """Whatever was usual before, together the checks of habit say at most that nobody else is at work."""
    case = tomllib.loads((Path(__file__).parent / "usual_mail.toml").read_text(encoding="utf-8"))
    view = view_of(case | {"opinion": [3.0, "like spam"]})
    habit = {check.NAME for check in CHECKS if check.HABIT}
    long_usual = [check.LOW if check.HABIT else 0.0 for check in CHECKS] + [0.0] * (SLOTS - len(CHECKS))
    signals, _ = Panel(Policy()).look(view, long_usual)
    weights = {signal.name: signal.weight for signal in signals}
    assert sum(weights[name] for name in habit & weights.keys()) == pytest.approx(-0.5)
    assert all(weights[name] <= 0 for name in habit & weights.keys())
    assert weights["content"] == 3.0
    # What speaks against the sender is not cut down, and where the sum is above the bound nothing is.
    long_usual[[check.NAME for check in CHECKS].index("clients")] = 4.0
    from_elsewhere = {"memory": case["memory"] | {"new_traits": ["network"]}}
    signals, _ = Panel(Policy()).look(view_of(case | from_elsewhere), long_usual)
    weights = {signal.name: signal.weight for signal in signals}
    assert weights["clients"] > 2.0
    assert weights["recipients"] < -0.9
