"""What answers mean: texts as servers of many kinds and languages give them, and what the rule file may say."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from outbound_guard.config.reading import ConfigError
from outbound_guard.delivery import answers
from outbound_guard.delivery.lines import meaning_of_line, reply_in
from outbound_guard.delivery.phrases import LONGEST, fold, phrase

KNOWN = Path(__file__).with_name("reply_answers.txt")


def cases() -> list[tuple[str, str | None, str]]:
    found = []
    for line in KNOWN.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        class_, provider, text = line.split(" | ", 2)
        found.append((class_, None if provider == "-" else provider, text))
    return found


@pytest.mark.parametrize(("class_", "provider", "line"), cases())
def test_an_answer_is_classed(class_: str, provider: str | None, line: str) -> None:
    found = meaning_of_line(line)
    assert found.class_ == class_ or found.coarse == class_, found
    if provider:
        assert found.provider == provider
    assert found.advice or not found.rule


def test_an_answer_over_several_lines_is_read_as_one_sentence() -> None:
    found = meaning_of_line(
        "550-5.7.1 The message is refused, its sender is on a 550-5.7.1 block 550 5.7.1 list: 192.0.2.7"
    )
    assert found.coarse == "our_address_blocked"


def test_a_log_line_keeps_code_and_host() -> None:
    line = "host gmail-smtp-in.l.google.com[192.0.2.9] said: 550-5.1.1 The account does not exist (in reply to RCPT TO)"
    reply = reply_in(line)
    assert (reply.code, reply.enhanced) == (550, "5.1.1")
    assert meaning_of_line(line).provider == "Google"


@pytest.mark.parametrize(
    "line", ["", " ", "\x00", "550", "550 ", "5.7.1", "ÿ" * 300, "ﷺ" * 5000, "550-5.7.1", "[" * 3000]
)
def test_anything_is_answered(line: str) -> None:
    assert meaning_of_line(line).coarse in answers.CLASSES


def test_whatever_is_accepted_has_no_class_of_refusals() -> None:
    assert meaning_of_line("250 2.0.0 Ok: queued, your IP is listed nowhere").class_ == "other.accepted"


def test_no_text_takes_long() -> None:
    """Words of the rules, many times over, are the worst a text can do; the cut keeps even that bounded."""
    words = (
        "user ",
        "your ip ",
        "mailbox not ",
        "sender domain ",
        "policy spf ",
        "message too ",
        "connection ",
        "reverse ",
    )
    for word in words:
        started = time.process_time()
        meaning_of_line("550 " + word * 10_000)
        # Seconds that only a search without bounds would need.
        assert time.process_time() - started < 5
    assert len(fold("user " * 10_000)) <= LONGEST


class TestPhrases:
    @pytest.mark.parametrize(
        ("text", "says", "fits"),
        [
            ("user unknown", "550 User   UNKNOWN here", True),
            ("user unknown", "superuser unknown", False),
            ("user*unknown", "the user (alice) is unknown", True),
            ("user*unknown", "the user" + "x" * 60 + " unknown", False),
            ("reject", "Rejected", True),
            ("full$", "the box is fully usable", False),
            ("full$", "full.", True),
            ("(no|unknown) user", "no user", True),
            ("(no|unknown) user", "unknown user", True),
            ("(no|unknown) user", "some user", False),
            ("from <ip>", "mail from 192.0.2.7 refused", True),
            ("from <ip>", "mail from 2001:db8::7 refused", True),
            ("from <ip>", "mail from 1.2.3 refused", False),
            ("boîte pleine", "BOITE PLEINE", True),
            ("boite pleine", "boîte pleine", True),
            ("doesn't", "doesn’t", True),
            ("rate limit", "rate\r\n limit", True),
            ("(rtr:", "554- (RTR:BL)", True),
        ],
    )
    def test_a_phrase_fits(self, text: str, says: str, fits: bool) -> None:
        assert phrase(text).stands_in(fold(says)) is fits


MINIMAL = "".join(f'[class.{name}]\nside = "receiver"\nadvice = "x"\n' for name in answers.CLASSES)


@pytest.mark.parametrize(
    ("added", "error"),
    [
        ('[[rule]]\nname = "a"\nclass = "spam"\nsays = ["x"]', "rule[0].class: `spam` is not known"),
        ('[[rule]]\nname = "a"\nclass = "rate"', "rule[0]: needs `says` or `codes`"),
        ('[[rule]]\nname = "a"\nclass = "rate"\nsays = [""]', "rule[0].says: a phrase is empty"),
        ('[[rule]]\nname = "a"\nclass = "rate"\nsays = ["a*b*c*d*e"]', "has more than 3 gaps"),
        ('[[rule]]\nname = "a"\nclass = "rate"\nsays = ["*b"]', "begins with a gap"),
        (
            '[[rule]]\nname = "a"\nclass = "rate"\nsays = ["{nothing} b"]',
            "names a list of words that is not there: nothing",
        ),
        ('[[rule]]\nname = "a"\nclass = "rate"\ncodes = ["5.x"]', "rule[0].codes: `5.x` is no code"),
        ('[[rule]]\nname = "a"\nclass = "rate"\nsays = ["x"]\nfrom = ["Nobody"]', "no provider `Nobody`"),
        ('[[rule]]\nname = "a"\nclass = "rate"\nsays = ["x"]\nsids = 1', "rule[0].sids: unknown key"),
        ('[[rule]]\nname = "a"\nclass = "rate"\nsays = ["x"]\n' * 2, "there is a rule `a` already"),
        ('[class.new]\nside = "receiver"\nadvice = ""', "class: must be"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path: Path, added: str, error: str) -> None:
    file = tmp_path / "answers.toml"
    file.write_text(MINIMAL + added)
    with pytest.raises(ConfigError) as raised:
        answers.load(file)
    assert error in str(raised.value)


def test_every_class_of_the_file_can_be_reached() -> None:
    """Every class that the contract names comes out of the texts above."""
    reached = {meaning_of_line(text).coarse for _, _, text in cases()}
    assert reached == set(answers.CLASSES)


def test_no_rule_hides_another_of_the_same_words() -> None:
    rules = answers.packaged()._rules
    for one, other in itertools.combinations(rules, 2):
        assert (one.says, one.also, one.codes, one.from_) != (other.says, other.also, other.codes, other.from_), (
            one.name
        )
