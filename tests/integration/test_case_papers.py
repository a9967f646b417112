"""What leaves a case: drafts, exports, originals. Hostile texts stay texts, personal contact data stays where it is."""

from __future__ import annotations

import html.parser
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.cli import case as commands
from outbound_guard.desk.cases import drafts, letters, stages
from outbound_guard.ledger.tables import audit, case_event
from tests.casehouse import CONFIG, DAY, House, opened

LETTER = (
    "Dear colleague,\nplease write to jane.roe@operator.example or call +49 30 1234 5678.\n"
    "The form is at https://lookup.example/removal, our role address is abuse@operator.example.\n\n"
    "Kind regards\nJane Roe\n"
)
HOSTILE = '<script>alert(1)</script> & "quoted" \x1b[31mred \u202ereversed <img src=x onerror=alert(2)>'


@pytest.fixture
def house(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with opened(tmp_path, capfd, monkeypatch) as one:
        yield one


def started(house: House, reason: str = "") -> str:
    """A case of one listing."""
    house.listed("192.0.2.10", "zen.spamhaus.org", reason=reason)
    house.work.once()
    return str(house.cases[0]["id"])


def said_by(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What standard input holds."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


class Page(html.parser.HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_an_export_holds_hostile_texts_as_texts_and_no_personal_contact_data(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    id_ = started(house, reason=HOSTILE)
    house.case("note", id_, HOSTILE)
    house.case("check", id_, "ours", "--evidence", f"{HOSTILE} says joe.bloggs@operator.example")
    said_by(monkeypatch, LETTER)
    house.case("answer", id_, "list:zen.spamhaus.org", "--channel", "mail", "--file", "-", "--outcome", "question")
    page = house.run("case", "export", id_, "--html")
    text = house.run("case", "export", id_)
    seen = Page(page)
    assert set(seen.tags) <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "table", "tr", "th", "td"}
    assert set(seen.attributes) <= {"lang", "charset", "http-equiv", "content"}
    assert "default-src 'none'" in page.replace("&#x27;", "'")
    for export in (seen.words, text):
        assert "<script>alert(1)</script>" in export
        assert "192.0.2.10" in export
        assert "https://lookup.example/removal" in export
        assert "abuse@operator.example" in export
        assert "zen.spamhaus.org" in export
        for secret in ("jane.roe@", "joe.bloggs@", "1234 5678", "\x1b", "\u202e"):
            assert secret not in export
    file = tmp_path / "case.html"
    house.run("case", "export", id_, "--html", "--out", str(file))
    assert Page(file.read_text(encoding="utf-8")).tags == seen.tags
    # The terminal gets no control characters either.
    shown = house.run("case", "show", id_, "--history")
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_the_ledger_holds_no_original_and_only_named_logins_read_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = started(house)
    said_by(monkeypatch, LETTER)
    event = house.case("answer", id_, "list:zen.spamhaus.org", "--channel", "mail", "--file", "-")
    stored = house.books.file.read_bytes()
    for file in house.books.file.parent.glob("ledger.sqlite3-wal"):
        stored += file.read_bytes()
    assert b"jane.roe@" not in stored
    assert b"1234 5678" not in stored
    (path,) = (house.config.parent / "data/cases/originals").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700

    monkeypatch.setenv("SUDO_USER", "eve")
    assert "may not read originals" in house.run("case", "original", id_, event["original"], code=1)
    monkeypatch.setenv("SUDO_USER", "dana")
    assert house.run("case", "original", id_, event["original"]) == LETTER
    assert "no case" in house.run("case", "original", "20200101-aaaa", event["original"], code=1)
    assert "no original" in house.run("case", "original", id_, "nothing", code=1)
    assert "is no id" in house.run("case", "original", id_, "../x", code=1)
    with house.books.ledger.connection() as connection:
        rows = connection.execute(audit.select().where(audit.c.what == "case.original")).all()
    assert [(row.by, row.detail) for row in rows] == [("cli:dana", event["original"])]

    # It expires, and that is written down; what was redacted stays.
    house.clock.advance(30 * DAY - 60)
    house.work.once()
    assert path.exists()
    house.clock.advance(60)
    assert "has expired" in house.run("case", "original", id_, event["original"], code=1)
    house.work.once()
    assert not path.exists()
    history = house.case("show", id_)["history"]
    assert "expired" in [one["what"] for one in history]
    assert any("abuse@operator.example" in one["text"] for one in history)


def test_a_file_as_evidence(house: House, tmp_path: Path) -> None:
    id_ = started(house)
    file = tmp_path / "bounce of joe.bloggs@operator.example.eml"
    file.write_bytes(b"Diagnostic-Code: 550 refused\nTo: joe.bloggs@operator.example\n\xff\x00\n")
    event = house.case("attach", id_, str(file))
    assert "550 refused" in event["text"]
    assert "joe.bloggs" not in event["text"]
    assert house.run("case", "attach", id_, str(tmp_path / "nothing"), code=1).endswith("No such file or directory\n")
    (tmp_path / "large").write_bytes(b"x" * 1_100_000)
    assert "too many octets" in house.run("case", "attach", id_, str(tmp_path / "large"), code=1)
    assert [one["what"] for one in house.case("show", id_)["history"]].count("attached") == 1


def test_a_customer_taken_for_a_spammer_gets_an_apology(house: House) -> None:
    house.refused(1, "a@there.test", "no such user", account="honest.example")
    house.run("account", "suspend", "honest.example", "--reason", "thought to be it")
    id_ = started(house)
    for item in ("resolvers", "ours", "customer"):
        house.case("check", id_, item, "--evidence", "asked")
    house.case("advance", id_)
    house.case("check", id_, "cause", "--finding", "false", "--cause", "mistake", "--evidence",
               "the mail the list names never left honest.example")  # fmt: skip
    house.run("account", "resume", "honest.example")
    house.case("advance", id_)
    contained = house.items(id_)
    house.case("advance", id_)
    assert house.items(id_)["contained"]["state"] == "not needed", contained
    assert "apology still open" in house.run("case", "advance", id_, code=1)
    # The machine knows to whom it is owed.
    assert "owed to honest.example" in house.items(id_)["apology"]["evidence"]
    (apology,) = house.case("draft", id_, "apology")
    assert apology["to"] == "customer:honest.example"
    assert "our mistake, and we are sorry" in apology["body"]
    house.case("contact", id_, "customer:honest.example", "--channel", "telephone", "--about", "apology")
    house.case("advance", id_)
    # What is said to the list names no customer.
    (appeal,) = house.case("draft", id_, "appeal")
    assert "honest.example" not in appeal["body"]
    assert "never left a customer" in appeal["body"]


def test_texts_of_ones_own_and_in_another_language(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "texts" / "de"
    folder.mkdir(parents=True)
    (folder / "notice.txt").write_text("Subject: Ihr Konto $account\n\nGuten Tag,\nVorgang $case.\n$contained\n")
    (folder / "update.txt").write_text("Subject: x\n\n$nothing\n")
    with opened(tmp_path, capfd, monkeypatch, CONFIG + 'texts = "texts"\n') as house:
        id_ = started(house)
        house.case("check", id_, "cause", "--finding", "false", "--cause", "mistake", "--evidence", "seen")
        (draft,) = house.case("draft", id_, "notice", "--to", "shop.example", "--language", "de")
        assert draft["subject"] == "Ihr Konto shop.example"
        # A line without a value for its name is left out.
        assert draft["body"] == f"Guten Tag,\nVorgang {id_}.\n"
        assert "nothing" in house.run("case", "draft", id_, "update", "--to", "a", "--language", "de", code=1)
        # What there is not in that language is in English.
        (draft,) = house.case("draft", id_, "advice", "--to", "shop.example", "--language", "de")
        assert draft["body"].startswith("Dear customer")


def test_the_words_of_the_command_line_are_those_of_the_cases() -> None:
    assert commands.STAGES == stages.NAMES
    assert (*commands.CAUSES, *commands.OTHER_CAUSES) == tuple(stages.CAUSES)
    assert commands.ABOUT == letters.ABOUT
    assert commands.OUTCOMES == letters.OUTCOMES
    assert commands.LETTERS == drafts.KINDS


def test_only_known_words_stand_in_the_history(house: House) -> None:
    id_ = started(house)
    house.case("take", id_)
    house.case("note", id_, "a comment")
    with house.books.ledger.connection() as connection:
        words = {row.what for row in connection.execute(case_event.select())}
    assert words <= stages.WHAT
    assert {"opened", "found", "taken", "noted"} <= words
