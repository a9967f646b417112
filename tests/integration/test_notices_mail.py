"""Letters: whom they go to and never go to, what is one letter, how many, and what is in them. The clock is set."""

from __future__ import annotations

import email
import email.policy
import functools
import shutil
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config
from outbound_guard.config.notice_checks import LANGUAGES
from outbound_guard.config.notices import NoticeRoute, Notices
from outbound_guard.delivery.bounce import CODE
from outbound_guard.desk.redaction.redact import redact
from outbound_guard.ledger import outbox_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.outbox_records import KINDS
from outbound_guard.ledger.records import AccountEntry, Delivered, Notice, Standing
from outbound_guard.notify import mail, words
from outbound_guard.notify.addressee import is_suspect
from outbound_guard.notify.routes import GATHER, Route, route_of
from outbound_guard.notify.sender import LONGEST_TRY, Sender
from outbound_guard.notify.writing import Frame
from outbound_guard.spool import Entry, Spool
from tests.records import Books, books, decision, entry

NOW = 1_764_000_000.0
DAY = 86_400.0


class Office:
    """Books, a spool, a clock, and a sender of letters."""

    def __init__(self, opened: Books, clock: VirtualClock, folder: Path) -> None:
        self.books, self.clock = opened, clock
        self.reader = Ledger(opened.url)
        self.spool = Spool(folder / "spool", clock, 0)
        self.routes: list[Route] = []
        self.settings = Notices(retry=(10,), failures=99)
        self.links: list[str] = []

    def by(self, to: str, **more: Any) -> None:
        """Add a route by mail."""
        settings = NoticeRoute(**{"name": f"mail-{len(self.routes)}", "carrier": "mail", "to": to} | more)
        frame = Frame(
            hostname="guard.test",
            organisation="Example Hosting",
            from_address="postmaster@guard.test",
            reply_to="abuse@guard.test",
            language=settings.language or "en",
            html=settings.html,
            details=settings.details,
            customer=to == "customer",
        )
        post = mail.Post(
            settings=settings,
            frame=frame,
            spool=self.spool,
            ledger=self.reader,
            desk="abuse@guard.test",
            link=self.link,
            redact=redact,
        )
        carry = functools.partial(mail.carry, post)
        self.routes.append(route_of(Config(notices=self.settings), settings, carry, tuple(KINDS)))

    def link(self, account: str, notices: object, now: float) -> str:
        self.links.append(account)
        return f"https://guard.test/c/{account}"

    async def work(self, now: float) -> None:
        self.clock.set(now)
        sender = Sender(self.books.ledger, self.reader, self.routes, self.clock, self.settings, jitter=lambda: 0.5)
        await sender.once()
        await sender.settled()

    async def letters(self) -> list[tuple[Entry, EmailMessage]]:
        """What lies in the queue, oldest first."""
        found = []
        for one in self.spool.entries("incoming"):
            content = await self.spool.content(one.id)
            message = email.message_from_bytes(content, policy=email.policy.SMTP)
            assert isinstance(message, EmailMessage)
            assert b"\n" not in content.replace(b"\r\n", b"")
            assert content.isascii()
            found.append((one, message))
        return found

    def states(self) -> list[tuple[str, str]]:
        return [(one.state, one.answer) for one in outbox_queries.listing(self.reader)]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with its schema, made once: that takes longer than most of these tests."""
    file = tmp_path_factory.mktemp("empty") / "ledger.sqlite3"
    ledger = Ledger(f"sqlite:///{file}", writer=True)
    ledger.migrate()
    ledger.close()
    return file


@pytest.fixture
def office(tmp_path: Path, empty: Path) -> Iterator[Office]:
    clock = VirtualClock(NOW)
    shutil.copy(empty, tmp_path)
    with books(tmp_path, clock) as opened:
        opened.keep(AccountEntry(NOW - 9, "example.org", "Example", "owner@private.test", senders=("*@example.org",)))
        made = Office(opened, clock, tmp_path)
        yield made
        made.spool.close()
        made.reader.close()


def suspended(subject: str = "joe@example.org", time: float = NOW, scope: str = "sender", **more: Any) -> Standing:
    fields = {"time": time, "scope": scope, "subject": subject, "change": "suspended", "account": "example.org"}
    return Standing(**fields | {"reason": "wrote to secret@person.test"} | more)


async def test_what_happens_to_an_account_in_a_while_is_one_letter(office: Office) -> None:
    office.by("customer", window=900)
    office.by("desk", window=900, details=True)
    office.books.keep(suspended(), decision(received=NOW + 1, sender="joe@example.org"))
    await office.work(NOW + 2)
    assert await office.letters() == [], "it waits for what comes with it"
    await office.work(NOW + 2 + GATHER)
    letters = {message["To"]: message for _, message in await office.letters()}
    assert set(letters) == {"owner@private.test", "abuse@guard.test"}
    text = letters["owner@private.test"].get_content()
    assert "joe@example.org may not send mail any more" in text
    assert "Mail from joe@example.org was held back" in text
    assert "https://guard.test/c/example.org" in text
    assert "Change the password" in text
    assert "secret@person.test" not in text
    assert "many new recipients" not in text
    assert "secret@person.test" in letters["abuse@guard.test"].get_content()
    assert letters["abuse@guard.test"]["Subject"] == "2 notices about example.org: Sending stopped"
    # The next ones are together, when the window has passed.
    office.books.keep(suspended("ann@example.org", NOW + 30))
    office.books.keep(suspended("ben@example.org", NOW + 300))
    await office.work(NOW + 400)
    assert len(await office.letters()) == 2
    await office.work(NOW + 2 + GATHER + 900)
    third = [message for _, message in await office.letters() if message["To"] == "owner@private.test"][1]
    assert "ann@example.org" in third.get_content()
    assert "ben@example.org" in third.get_content()
    assert {state for state, _ in office.states()} == {"sent"}


async def test_it_is_a_letter_of_ours_that_nothing_comes_back_to(office: Office) -> None:
    office.by("customer", window=0, html=True, language="pl")
    office.books.keep(suspended())
    await office.work(NOW)
    [(one, message)] = await office.letters()
    assert (one.envelope.mail_from, one.envelope.recipients, one.code) == ("", ("owner@private.test",), CODE)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"] == "Example Hosting <postmaster@guard.test>"
    assert message["Reply-To"] == "abuse@guard.test"
    assert message["Message-ID"] == f"<{one.id}@guard.test>"
    plain, html = message.iter_parts()
    assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert "joe@example.org nie może już wysyłać poczty" in plain.get_content()
    assert "<li>" in html.get_content()


@pytest.mark.parametrize(
    ("contact", "standing", "why"),
    [
        ("joe@example.org", suspended(), "its contact is a mailbox that is suspect itself"),
        ("JOE+spam@Example.ORG", suspended(), "its contact is a mailbox that is suspect itself"),
        (
            "boss@example.org",
            suspended("example.org", scope="account"),
            "its contact is a mailbox that is suspect itself",
        ),
        (
            "a@mail.example.org",
            suspended("example.org", scope="account"),
            "its contact is a mailbox that is suspect itself",
        ),
        ("", suspended(), "the directory has no contact for it"),
        ("nobody", suspended(), "its contact is no address"),
        ("a@b.test, c@d.test", suspended(), "its contact is no address"),
        ("a@b.test\r\nBcc: c@d.test", suspended(), "its contact is no address"),
    ],
)
async def test_nobody_is_written_to_who_must_not_know(
    office: Office, contact: str, standing: Standing, why: str
) -> None:
    office.by("customer", window=0)
    gone = ("contact",) if not contact else ()
    office.books.keep(AccountEntry(NOW - 1, "example.org", contact=contact, emptied=gone), standing)
    await office.work(NOW)
    assert await office.letters() == []
    assert office.states() == [("left_out", why)]


async def test_another_mailbox_of_the_account_may_know_of_one_that_is_suspended(office: Office) -> None:
    office.by("customer", window=0)
    office.books.keep(AccountEntry(NOW - 1, "example.org", contact="boss@example.org"), suspended())
    await office.work(NOW)
    assert len(await office.letters()) == 1
    # Unless it is suspect as well, since this morning.
    office.books.keep(decision(received=NOW + 5, sender="boss@example.org"), suspended("ann@example.org", NOW + 9))
    await office.work(NOW + 10)
    assert len(await office.letters()) == 1


def test_whose_address_is_suspect() -> None:
    assert is_suspect("a@b.test", "acc", {"a@b.test"}, [])
    assert not is_suspect("a@b.test", "acc", {"c@b.test", "server/1012:x.php"}, ["*@b.test"])
    assert is_suspect("a@b.test", "acc", {"acc"}, ["*@b.test"])
    assert is_suspect("a@b.test", "b.test", {"b.test"}, [])
    assert not is_suspect("a@isp.test", "acc", {"acc"}, ["other@isp.test"])


async def test_nobody_gets_more_letters_than_they_can_read(office: Office) -> None:
    office.by("customer", window=0, most_per_day=3)
    office.books.keep(*(suspended(f"s{n}@example.org", NOW + n) for n in range(6)))
    await office.work(NOW + 10)
    assert len(await office.letters()) == 3
    assert office.states()[0] == ("waiting", "3 letters went to this address today; it waits")
    # Another account with the same contact is the same person.
    office.books.keep(AccountEntry(NOW, "other.test", contact="Owner@private.test", senders=("*@other.test",)))
    office.books.keep(suspended("x@other.test", NOW + 20, account="other.test"))
    await office.work(NOW + 30)
    assert len(await office.letters()) == 3
    await office.work(NOW + 11 + DAY)
    assert len(await office.letters()) == 6


async def test_accounts_one_after_the_other_do_not_use_up_the_letters_of_the_desk(office: Office) -> None:
    office.by("desk", window=900, most_per_day=3)
    office.books.keep(
        *(decision(f"m{n}", received=NOW + n, account=f"a{n}.test", sender=f"x@a{n}.test") for n in range(9))
    )
    await office.work(NOW + 10)
    await office.work(NOW + 10 + GATHER)
    assert len(await office.letters()) == 3
    office.books.keep(suspended(time=NOW + 40))
    await office.work(NOW + 50)
    await office.work(NOW + 50 + GATHER)
    assert len(await office.letters()) == 3
    # All of it comes with the next letter: it waits for another hour, and is taken along by what is new.
    office.books.keep(suspended("late@other.test", NOW + DAY, account="other.test"))
    await office.work(NOW + DAY + 25)
    assert len(await office.letters()) == 3
    await office.work(NOW + DAY + 25 + GATHER)
    assert {state for state, _ in office.states()} == {"sent"}
    letters = await office.letters()
    assert len(letters) == 4
    text = letters[-1][1].get_content()
    for name in ("x@a8.test", "joe@example.org", "late@other.test"):
        assert name in text
    assert letters[-1][1]["Subject"] == "8 notices about example.org …: Sending stopped"


async def test_what_waits_for_another_day_is_given_up_when_its_time_is_up(office: Office) -> None:
    office.by("desk", window=0, most_per_day=1)
    office.books.keep(suspended("a@example.org"), suspended("b@example.org"))
    await office.work(NOW)
    office.books.sql(f"UPDATE outbox_sending SET tried = {NOW + 2 * DAY} WHERE state = 'sent'")
    await office.work(NOW + 2 * DAY + 3600)
    assert sorted(state for state, _ in office.states()) == ["failed", "sent"]


async def test_a_letter_that_is_in_the_queue_already_is_not_put_there_again(office: Office) -> None:
    office.by("desk", window=0)
    office.books.keep(suspended())
    await office.work(NOW)
    [(one, _)] = await office.letters()
    # As if it had been killed before it could write that down.
    office.books.sql("UPDATE outbox_sending SET state = 'waiting', attempts = 0")
    await office.work(NOW + LONGEST_TRY)
    assert len(await office.letters()) == 1
    assert office.states() == [("sent", f"was in the queue already, as {one.id}")]
    await office.spool.remove(one.id)
    office.books.keep(Delivered(one.id, NOW, "abuse@guard.test", 250))
    office.books.sql("UPDATE outbox_sending SET state = 'waiting', attempts = 0")
    await office.work(NOW + 2 * LONGEST_TRY)
    assert await office.letters() == []


async def test_a_letter_that_is_in_the_queue_already_counts_for_its_day(office: Office) -> None:
    """Otherwise it would lose its id, and be written once more the day after."""
    office.by("desk", window=0, most_per_day=1)
    office.books.keep(suspended())
    await office.work(NOW)
    office.books.sql("UPDATE outbox_sending SET state = 'waiting', attempts = 0")
    office.books.keep(suspended("ann@example.org", NOW + 1))
    await office.work(NOW + 1)
    await office.work(NOW + LONGEST_TRY)
    assert [state for state, _ in office.states()] == ["sent", "sent"]
    assert len(await office.letters()) == 2


async def test_a_letter_that_is_tried_again_has_the_link_that_it_had(office: Office) -> None:
    """Each is a secret that opens the page, and stands in the audit."""
    office.by("customer", window=0)
    office.spool.files._free_bytes = 2**62
    office.books.keep(suspended())
    for second in (0, 20, 40):
        await office.work(NOW + second)
    assert office.states() == [("waiting", "the spool is full")]
    office.spool.files._free_bytes = 0
    await office.work(NOW + 60)
    [(_, message)] = await office.letters()
    assert "https://guard.test/c/example.org" in message.get_content()
    assert office.links == ["example.org"]


SPAM = (
    b"From: Joe Doe <joe@example.org>\r\nTo: Vera Victim <vera@victim.test>\r\nSubject: Win, vera@victim.test!\r\n"
    b"Message-ID: <1@example.org>\r\nDate: Mon, 24 Nov 2025 16:00:00 +0000\r\n"
    b"Received: from x for <vera@victim.test>\r\n\r\nDear vera@victim.test,\r\n"
    b"call +49 170 1234567 now.\r\n--=_boundary\r\n.\r\n"
)


@pytest.mark.parametrize("details", [False, True])
async def test_a_report_of_abuse_has_its_three_parts_and_no_recipients(office: Office, details: bool) -> None:
    office.by("abuse@provider.test", carrier="arf", details=details)
    kept = decision(received=NOW - 1, sender="joe@example.org", mail_from="joe@example.org", client_ip="192.0.2.7")
    await office.spool.put(entry("m1", account="example.org"), (SPAM,), "held")
    office.books.keep(kept)
    office.books.keep(Notice("c", NOW, "case_opened", subject="K1"))
    await office.work(NOW)
    [(one, message)] = await office.letters()
    assert one.envelope.recipients == ("abuse@provider.test",)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "feedback-report"
    text, fields, sample = message.iter_parts()
    assert "joe@example.org" in text.get_content()
    assert fields.get_content_type() == "message/feedback-report"
    said = dict(fields.get_payload()[0].items())  # The library takes every message/ for a message.
    assert said["Feedback-Type"] == "abuse"
    assert said["Version"] == "1"
    assert said["Original-Mail-From"] == "<joe@example.org>"
    assert said["Source-IP"] == "192.0.2.7"
    assert said["Reporting-MTA"] == "dns; guard.test"
    assert said["Incidents"] == "1"
    assert sample.get_content_type() == ("message/rfc822" if details else "text/rfc822-headers")
    content = await office.spool.content(one.id)
    assert b"vera" not in content.lower()
    assert b"1234567" not in content
    assert b"Message-ID: <1@example.org>" in content
    assert (b"call" in content) is details


async def test_a_report_without_its_message_says_what_is_known(office: Office) -> None:
    office.by("abuse@provider.test", carrier="arf")
    office.books.keep(decision(received=NOW - 1, message_id="<7@example.org>"))
    await office.work(NOW)
    [(_, message)] = await office.letters()
    assert "<7@example.org>" in message.as_string()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_a_text_for_everything(language: str) -> None:
    of = words.texts(language)
    assert set(of.short) == set(of.long) == set(KINDS)
    for kind in KINDS:
        told = outbox_queries.Told(
            serial=1,
            time=NOW,
            kind=kind,
            account="acc.test",
            sender="joe@acc.test" if kind in ("suspended", "held") else "",
            subject="K1",
            reason="why",
            data={"until": NOW + 60, "zone": "z.test"},
            to="",
            due=0.0,
            count=3,
            last=NOW + 5,
        )
        line = words.sentence(of, told, details=True)
        assert "{" not in line
        assert "why" in line
        assert "{" not in words.subject(of, (told,)) + words.subject(of, (told, told))
    text = " ".join((of.greeting, of.steps, of.link, *of.todo, *of.long.values()))
    assert language == "en" or text != " ".join(words.texts("en").long.values())
    assert len(of.todo) == len(words.texts("en").todo)
