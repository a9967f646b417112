"""Training: deterministic, learns what tells spam from ham, and the composed samples are sound mail."""

import random

import pytest

from outbound_guard.content import parse
from outbound_guard.content.labelled import Raw, in_half
from outbound_guard.content.model import pack
from outbound_guard.content.samples import Template, compose, expand, templates
from outbound_guard.content.train import Examples, calibrate, train

BAD = ["cheap pills no prescription order now", "verify your mailbox password at once", "you won the lottery claim it"]
GOOD = ["the minutes of our meeting are attached", "your order was shipped today", "backup finished without errors"]


def examples(seed: int = 0) -> Examples:
    found = Examples()
    generator = random.Random(seed)
    for n in range(240):
        spam = n % 2 == 0
        text = generator.choice(BAD if spam else GOOD) + " " + generator.choice(["monday", "friday", "in spring"])
        content = f"From: a@b.example\r\nSubject: x\r\n\r\n{text} {n}\r\n".encode()
        found.add(Raw(f"source{n % 4}", f"group{n % 8}", spam, content))
    return found


def test_it_learns_and_is_the_same_twice() -> None:
    model = train(examples(), 1, say=lambda text: None)
    bad, _ = model.score(parse(b"From: a@b.example\r\nSubject: x\r\n\r\npills, no prescription\r\n"))
    good, _ = model.score(parse(b"From: a@b.example\r\nSubject: x\r\n\r\nthe minutes of our meeting\r\n"))
    assert bad > 1
    assert good < -1
    again = train(examples(), 1, say=lambda text: None)
    assert pack(again.by_name, again.about) == pack(model.by_name, model.about)


def test_calibration_never_falls_and_is_cautious() -> None:
    scored = [(n / 100, n > 60, 1.0) for n in range(-300, 300)]
    knots, weights = calibrate(scored)
    assert knots == sorted(knots)
    assert weights == sorted(weights)
    # Nobody can know from 240 spams that no ham scores so high: the evidence stays within what they can show.
    assert 0 < weights[-1] < 8


def test_choices_are_expanded() -> None:
    generator = random.Random(1)
    assert {expand("[a|b[c|d]] e", generator) for _ in range(60)} == {"a e", "bc e", "bd e"}
    assert expand("open [ stays", generator) == "open [ stays"


@pytest.mark.parametrize("template", templates(), ids=lambda t: f"{t.label}-{t.kind}-{t.language}")
def test_every_sample_is_a_sound_message(template: Template) -> None:
    for seed in range(6):
        content = compose(template, random.Random(seed))
        assert content == compose(template, random.Random(seed))
        message = parse(content)
        assert message.defects == ()
        assert message.from_address
        assert message.text
        for slot in ("{name}", "{own}", "{evil}", "{amount}", "{no}", "{firm}"):
            assert slot not in message.text + message.subject


def test_samples_of_both_labels_in_many_languages() -> None:
    for label in ("ham", "spam"):
        assert len({template.language for template in templates() if template.label == label}) >= 9


def test_halves_by_cluster() -> None:
    halves = [in_half(f"cluster{n}") for n in range(400)]
    assert halves == [in_half(f"cluster{n}") for n in range(400)]
    assert 150 < sum(halves) < 250
