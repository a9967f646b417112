"""Customers' links, kinds and answers at the desk's own functions, with a clock that the test sets."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Customers
from outbound_guard.console.customers import FREE_LOOKS, LONGEST_LOOK, _too_many
from outbound_guard.console.customers_texts import LANGUAGES, language_of, texts
from outbound_guard.desk.accounts.acts import Act, decide
from outbound_guard.desk.customers.answers import Answers
from outbound_guard.desk.customers.kinds import RELEASABLE, gravest, kinds_of
from outbound_guard.desk.customers.links import PATH, ContactError, find_link, make_link, revoke_link
from outbound_guard.desk.customers.offences import LATE, look_for_offences, reopen
from outbound_guard.desk.customers.seen import in_part, plain, script_of
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.held import bulk
from outbound_guard.desk.held.bulk import Eyes
from outbound_guard.desk.people.throttle import Throttle
from outbound_guard.ledger import bulk_queries, customer_queries, tables
from outbound_guard.ledger.customer_queries import Link
from outbound_guard.ledger.records import AccountEntry, Feedback, HeldChange, Record
from outbound_guard.mail import Signal
from outbound_guard.signals import CHECKS
from tests.records import Books, books, decision

DAY = 86400.0
ACCOUNT, SENDER = "shop.test", "anna@shop.test"
SETTINGS = Customers(url="https://guard.test/", releases_per_day=3)
VOLUME = (Signal("rate", 4.0, "many", volume=True),)


class Desk:
    """The desk over a ledger in a folder."""

    def __init__(self, opened: Books, clock: VirtualClock) -> None:
        self.opened, self.clock = opened, clock
        self.counted: list[tuple[Any, ...]] = []
        self.keep(AccountEntry(time=clock.now(), account=ACCOUNT, contact="owner@home.test"))
        self.answers = self.made(SETTINGS)

    def made(self, settings: Customers) -> Answers:
        return Answers(
            self.opened.ledger, self.opened.ledger, self.opened.journal, self.clock, settings, self.settle, self.count
        )

    def keep(self, *records: Record) -> None:
        self.opened.keep(*records)

    def count(self, *series: Any, by: float = 1.0) -> None:
        self.counted.append((*series, by))

    async def settle(self) -> None:
        self.opened.keep()

    def held(self, *ids: str, **other: Any) -> None:
        fields = {"account": ACCOUNT, "sender": SENDER, "received": self.clock.now(), "signals": VOLUME}
        self.keep(*(decision(id_, **fields | other) for id_ in ids))

    async def link(self, account: str = ACCOUNT) -> Link:
        made = await make_link(self.opened.ledger, self.opened.journal, self.clock, SETTINGS, account, by="console:ann")
        self.keep()
        found = await find_link(self.opened.ledger, made.url.rpartition("/")[2])
        assert found is not None
        return found

    async def releasable(self, link: Link, sender: str = SENDER) -> tuple[str, ...]:
        one = (await self.answers.seen(link)).of(sender)
        return one.releasable if one else ()

    async def offences(self) -> int:
        found = await look_for_offences(self.opened.ledger, self.opened.journal, self.clock, self.count)
        self.keep()
        return found


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_700_000_000.0)


@pytest.fixture
def desk(tmp_path: Path, clock: VirtualClock) -> Iterator[Desk]:
    with books(tmp_path, clock) as opened:
        yield Desk(opened, clock)


async def test_a_link_ends_and_can_be_revoked(desk: Desk, clock: VirtualClock) -> None:
    ledger, journal = desk.opened.ledger, desk.opened.journal
    made = await make_link(ledger, journal, clock, SETTINGS, ACCOUNT, by="console:ann")
    assert made.url.startswith(f"https://guard.test{PATH}{made.id}")
    token = made.url.rpartition("/")[2]
    assert await find_link(ledger, token) is None, "the ledger does not know it yet"
    desk.keep()
    found = await find_link(ledger, token)
    assert found is not None
    assert (found.account, found.state(clock.now())) == (ACCOUNT, "good")
    assert found.state(clock.now() + SETTINGS.link_seconds) == "expired"
    for forged in (
        token[:-1] + ("0" if token[-1] != "0" else "1"),
        token.upper(),
        token[:63],
        "",
        "../x",
        token + "\n",
    ):
        assert await find_link(ledger, forged) is None, forged
    await revoke_link(ledger, journal, clock, made.id, by="console:ann")
    desk.keep()
    revoked = await find_link(ledger, token)
    assert revoked is not None
    assert revoked.state(clock.now()) == "revoked"
    with pytest.raises(DeskError, match="no link"):
        await revoke_link(ledger, journal, clock, made.id, by="console:ann", account="other.test")


@pytest.mark.parametrize("column", ["account", "expires", "contact"])
async def test_a_row_that_was_changed_fits_no_link(desk: Desk, clock: VirtualClock, column: str) -> None:
    made = await make_link(desk.opened.ledger, desk.opened.journal, clock, SETTINGS, ACCOUNT, by="console:ann")
    desk.keep()
    with desk.opened.ledger.connection() as connection:
        changed = {"account": "other.test", "expires": clock.now() + 1e9, "contact": "0" * 64}[column]
        connection.execute(tables.customer_link.update().values({column: changed}))
    assert await find_link(desk.opened.ledger, made.url.rpartition("/")[2]) is None


@pytest.mark.parametrize(
    "contact", [SENDER, SENDER.upper(), "", "nobody", "a@b.test, c@d.test", "a@b.test\r\nBcc: x@y.test"]
)
async def test_who_may_not_be_written_to(desk: Desk, clock: VirtualClock, contact: str) -> None:
    desk.held("m1")
    desk.keep(AccountEntry(time=clock.now() + 1, account=ACCOUNT, contact=contact, emptied=("contact",)[: not contact]))
    with pytest.raises(DeskError, match="contact"):
        await desk.link()


async def test_a_suspended_account_is_not_asked_at_a_mailbox_of_its_own(desk: Desk, clock: VirtualClock) -> None:
    desk.keep(AccountEntry(time=clock.now() + 1, account=ACCOUNT, contact="info@shop.test"))
    await desk.link()
    act = Act(what="suspend", by="system", reason="spam")
    await decide(desk.opened.ledger, desk.opened.journal, clock, [("account", ACCOUNT)], act)
    desk.keep()
    with pytest.raises(DeskError, match="under suspicion itself"):
        await desk.link()


def test_every_signal_has_a_kind() -> None:
    for check in CHECKS:
        kinds = kinds_of([Signal(check.NAME, 3.0, "said", volume=check.VOLUME)])
        assert kinds != ("unknown",), check.NAME
    assert gravest(kinds_of([Signal("a_new_one", 3.0, "said"), *VOLUME])) == "unknown"
    assert gravest(()) == "unknown"


@pytest.mark.parametrize(
    ("signals", "code", "kind"),
    [
        (VOLUME, "rate", "volume"),
        ((), "limit", "volume"),
        ((*VOLUME, Signal("recipients", 2.0, "")), "rate", "recipients"),
        ((*VOLUME, Signal("clients", 2.0, "")), "rate", "habit"),
        ((*VOLUME, Signal("content", 2.0, "")), "rate", "content"),
        ((*VOLUME, Signal("content", 0.2, "")), "rate", "volume"),
        ((*VOLUME, Signal("from_address", -2.0, "")), "rate", "volume"),
        ((*VOLUME, Signal("structure", 3.0, "", shadow=True)), "rate", "volume"),
        ((*VOLUME, Signal("from_address", 2.0, "")), "rate", "pretence"),
        ((*VOLUME, Signal("scanners", 2.5, "uribl: listed, bank.test")), "rate", "pretence"),
        ((*VOLUME, Signal("scanners", 10.0, "clamav: virus, Eicar")), "rate", "danger"),
        ((*VOLUME, Signal("structure", 3.0, "defects: executable_attachment")), "rate", "danger"),
        ((*VOLUME, Signal("campaign", 6.0, "this text was confirmed as abuse")), "rate", "campaign"),
    ],
)
def test_what_decides_is_the_gravest(signals: tuple[Signal, ...], code: str, kind: str) -> None:
    assert gravest(kinds_of(signals, code)) == kind
    assert ("danger" in RELEASABLE, "pretence" in RELEASABLE, "campaign" in RELEASABLE) == (False, False, False)


async def test_what_may_be_released(desk: Desk) -> None:
    desk.held("v1", "v2", text="a" * 16)
    desk.held("q1", state="quarantine", action="quarantine")
    desk.held("p1", signals=(*VOLUME, Signal("from_address", 3.0, "")))
    desk.held("c1", signals=(*VOLUME, Signal("content", 3.0, "")))
    link = await desk.link()
    assert await desk.releasable(link) == ("v1", "v2")
    # Somebody has deleted the same text.
    desk.held("d1", text="a" * 16, sender="bob@shop.test")
    desk.keep(HeldChange(id="d1", time=desk.clock.now() + 1, to="deleted", by="console:ann"))
    assert await desk.releasable(link) == ()


async def test_a_campaign_of_several_accounts_waits_for_the_desk(desk: Desk) -> None:
    desk.held("v1", text="b" * 16)
    link = await desk.link()
    assert await desk.releasable(link) == ("v1",)
    desk.held("o1", text="b" * 16, account="other.test", sender="eve@other.test")
    assert await desk.releasable(link) == ()


async def test_only_so_many_a_day_whatever_the_link(desk: Desk, clock: VirtualClock) -> None:
    desk.held("v1", "v2", sender="bob@shop.test")
    desk.held("w1", "w2")
    first, second = await desk.link(), await desk.link()
    await desk.answers.me(first, "bob@shop.test")
    assert len(await desk.releasable(second)) == 1
    # A ledger that lags behind is no way around it.
    slow = desk.made(SETTINGS)

    async def late() -> None:
        return None

    slow._settle = late
    await slow.me(second, SENDER)
    assert (await slow.seen(first)).left == 0
    desk.keep()
    assert (await slow.seen(first)).left == 0
    clock.set(clock.now() + DAY + 1)
    assert (await desk.answers.seen(await desk.link())).left == 3


async def test_an_answer_is_given_once_and_undone_in_time(desk: Desk, clock: VirtualClock) -> None:
    desk.held("v1")
    link = await desk.link()
    one = await desk.answers.me(link, SENDER)
    assert one.bulk is not None
    assert (one.bulk.by, one.bulk.act, one.bulk.state) == (f"customer:{ACCOUNT}", "release", "placed")
    with pytest.raises(DeskError, match="answered already"):
        await desk.answers.not_me(link, SENDER)
    clock.set(clock.now() + 10)
    undone = await desk.answers.undo(link, SENDER)
    assert undone.open
    clock.set(clock.now() + 1)
    again = await desk.answers.me(link, SENDER)
    assert again.bulk is not None
    clock.set(clock.now() + 31)
    with pytest.raises(DeskError, match="too late"):
        await desk.answers.undo(link, SENDER)
    with pytest.raises(DeskError, match="no mail of this sender"):
        await desk.answers.me(link, "eve@other.test")


async def test_not_me_may_delete_what_is_held(desk: Desk) -> None:
    desk.held("v1")
    desk.held("q1", state="quarantine", action="quarantine")
    link = await desk.link()
    one = await desk.made(Customers(url="https://guard.test", not_me="delete")).not_me(link, SENDER)
    assert one.suspended
    assert one.bulk is not None
    assert (one.bulk.act, one.bulk.teach, one.bulk.number) == ("delete", False, 2)
    assert (await desk.releasable(link)) == ()


async def test_to_delete_much_waits_for_the_desk(desk: Desk, clock: VirtualClock) -> None:
    desk.held("v1", "v2")
    link = await desk.link()
    ledger, journal = desk.opened.ledger, desk.opened.journal
    settings = Customers(url="https://guard.test", not_me="delete")
    one = await Answers(ledger, ledger, journal, clock, settings, desk.settle, eyes=Eyes(1, 600.0)).not_me(link, SENDER)
    assert one.suspended
    assert one.bulk is not None
    assert (one.bulk.state, one.bulk.person) == ("waiting", f"customer:{ACCOUNT}")
    assert (await bulk.confirm(ledger, journal, clock, one.bulk.id, person="ann", by="console:ann")).state == "placed"


@pytest.mark.parametrize("answer", ["me", "not_me"])
@pytest.mark.parametrize("how", ["changed", "emptied", "stolen"])
async def test_a_link_whose_contact_is_lost_does_nothing(
    desk: Desk, clock: VirtualClock, answer: str, how: str
) -> None:
    desk.held("v1")
    link = await desk.link()
    if how == "stolen":
        desk.held("b1", sender="owner+x@home.test")
    else:
        contact = "new@home.test" if how == "changed" else ""
        emptied = () if contact else ("contact",)
        desk.keep(AccountEntry(time=clock.now() + 1, account=ACCOUNT, contact=contact, emptied=emptied))
    with pytest.raises(ContactError, match="contact"):
        await getattr(desk.answers, answer)(link, SENDER)
    one = (await desk.answers.seen(link)).of(SENDER)
    assert one is not None
    assert (one.open, one.suspended) == (True, False)


async def test_how_a_contact_is_written_does_not_matter(desk: Desk, clock: VirtualClock) -> None:
    desk.held("v1")
    link = await desk.link()
    desk.keep(AccountEntry(time=clock.now() + 1, account=ACCOUNT, contact="Owner@Home.test"))
    assert not (await desk.answers.me(link, SENDER)).open


async def test_the_mailbox_of_a_server_user_is_suspect_with_it(desk: Desk, clock: VirtualClock) -> None:
    desk.keep(AccountEntry(time=clock.now() + 1, account=ACCOUNT, contact="anna@shop.test"))
    desk.held("w1", sender="web1/uid1012:anna.php")
    await desk.link()
    desk.held("w2", sender="web1/anna")
    with pytest.raises(DeskError, match="under suspicion itself"):
        await desk.link()


@pytest.mark.parametrize("how", ["suspended", "quarantine", "complaint"])
async def test_who_offends_again_releases_nothing_more(desk: Desk, clock: VirtualClock, how: str) -> None:
    desk.held("v1")
    link = await desk.link()
    await desk.answers.me(link, SENDER)
    assert await desk.offences() == 0
    clock.set(clock.now() + DAY - 60)
    if how == "suspended":
        act = Act(what="suspend", by="system", reason="spam")
        await decide(desk.opened.ledger, desk.opened.journal, clock, [("sender", SENDER)], act)
    elif how == "quarantine":
        desk.held("n1", action="quarantine", state="quarantine")
    else:
        desk.keep(Feedback(key="c", time=clock.now(), kind="complaint", account=ACCOUNT, sender=SENDER, counts=True))
    desk.keep()
    clock.set(clock.now() + 3600)
    assert await desk.offences() == 1
    assert await desk.offences() == 0, "it is counted once"
    assert ("customer_reoffences_total", 1.0) in desk.counted
    desk.held("m9", sender="bob@shop.test")
    assert (await desk.answers.seen(link)).closed
    assert await desk.releasable(await desk.link(), "bob@shop.test") == ()
    answers = customer_queries.answers(desk.opened.ledger, ACCOUNT)
    assert answers[0].offended > 0
    await reopen(desk.opened.ledger, desk.opened.journal, clock, ACCOUNT, by="console:ann")
    desk.keep()
    assert await desk.releasable(await desk.link(), "bob@shop.test") == ("m9",)


async def test_what_comes_a_day_later_is_no_offence_after_it(desk: Desk, clock: VirtualClock) -> None:
    desk.held("v1")
    await desk.answers.me(await desk.link(), SENDER)
    clock.set(clock.now() + DAY + 60)
    desk.held("n1", action="quarantine", state="quarantine")
    assert await desk.offences() == 0


def test_no_placed_release_is_engaged_twice(desk: Desk) -> None:
    assert bulk_queries.LIVE == ("waiting", "placed", "running")


def test_all_languages_have_the_same_texts() -> None:
    import string

    def braces(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    english = texts("en")
    for language in LANGUAGES:
        told = texts(language)
        assert list(told) == list(english), language
        for name, text in told.items():
            assert braces(text) == braces(english[name]), (language, name)
            assert "<" not in text


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        ("", "", "en"),
        ("de", "fr", "de"),
        ("xx", "fr-CA", "fr"),
        ("", "de;q=0.1,es;q=0.2", "es"),
        ("", "de;q=x,es;q=2", "en"),
        ("", "DE-at", "de"),
        ("", "," * 5000, "en"),
    ],
)
def test_which_language(chosen: str, accepted: str, language: str) -> None:
    assert language_of(chosen, accepted, "en") == language


def test_texts_of_strangers() -> None:
    assert in_part("someone@there.test") == "so…@there.test"
    assert in_part("ab@x.test") == "a…@x.test"
    assert in_part("nonsense") == "no…"
    assert plain("a\u202eb\x00c\ud800") == "a\ufffdb\ufffdc\ufffd"
    assert script_of("web1/1012:contact.php") == "contact.php"
    assert script_of("anna@shop.test") == ""


@pytest.mark.parametrize(
    ("contact", "whole"),
    [
        ("Anna+news@shop.test", False),
        ("anna+x@shop.test", False),
        ("it@mail.shop.test", True),
        ("boss@own.test", True),
        ("anna+x@shop.test", True),
    ],
)
async def test_a_mailbox_under_suspicion_is_found_however_it_is_written(
    desk: Desk, clock: VirtualClock, contact: str, whole: bool
) -> None:
    desk.keep(AccountEntry(time=clock.now() + 1, account=ACCOUNT, contact=contact, senders=("*@own.test",)))
    await desk.link()
    if whole:
        act = Act(what="suspend", by="system", reason="spam")
        await decide(desk.opened.ledger, desk.opened.journal, clock, [("account", ACCOUNT)], act)
        desk.keep()
    else:
        desk.held("m1")
    with pytest.raises(DeskError, match="under suspicion itself"):
        await desk.link()


@pytest.mark.parametrize(("answer", "not_me"), [("me", "keep"), ("not_me", "keep"), ("not_me", "delete")])
async def test_an_answer_that_cannot_be_kept_was_not_given(
    desk: Desk, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, answer: str, not_me: str
) -> None:
    desk.held("v1")
    link = await desk.link()
    answers = desk.made(Customers(url="https://guard.test", not_me=not_me))
    if answer == "not_me":
        # Nothing but the answer itself is left to be written.
        act = Act(what="suspend", by="system", reason="spam")
        await decide(desk.opened.ledger, desk.opened.journal, clock, [("sender", SENDER)], act)
        desk.keep()

    def full(*records: Record) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(desk.opened.journal, "write", full)
        with pytest.raises(DeskError, match="nothing was done"):
            await getattr(answers, answer)(link, SENDER)
    one = (await answers.seen(link)).of(SENDER)
    assert one is not None
    assert one.open
    assert not (await getattr(answers, answer)(link, SENDER)).open


async def test_opening_a_link_counts_once_a_minute(desk: Desk, clock: VirtualClock) -> None:
    token = (await make_link(desk.opened.ledger, desk.opened.journal, clock, SETTINGS, ACCOUNT, by="x")).url[-64:]
    desk.keep()

    async def opened() -> int:
        for _ in range(2):
            link = await find_link(desk.opened.ledger, token)
            assert link is not None
            await desk.answers.opened(link)
        found = await find_link(desk.opened.ledger, token)
        return found.opened if found else 0

    assert await opened() == 1
    clock.set(clock.now() + 30)
    assert await opened() == 1
    clock.set(clock.now() + 31)
    assert await opened() == 2


async def test_releases_whose_day_is_over_are_not_looked_at_again(desk: Desk, clock: VirtualClock) -> None:
    ledger, journal, released = desk.opened.ledger, desk.opened.journal, clock.now()
    desk.held("v1")
    desk.held("w1", sender="bob@shop.test")
    link = await desk.link()
    await desk.answers.me(link, "bob@shop.test")
    clock.set(released + 60)
    await desk.answers.me(link, SENDER)
    assert [one.sender for one in customer_queries.releases(ledger, 0.0)] == [SENDER, "bob@shop.test"]
    clock.set(released + DAY - 60)
    desk.held("n1", action="quarantine", state="quarantine")
    clock.set(released + DAY + LATE + 120)
    assert await look_for_offences(ledger, journal, clock, looked=clock.now() - 30) == 0, "it was looked at in time"
    assert await look_for_offences(ledger, journal, clock, looked=released + DAY) == 1, "nobody looked meanwhile"


async def test_looking_is_free_for_so_many_times(clock: VirtualClock) -> None:
    throttle = Throttle(clock, free=FREE_LOOKS, longest=LONGEST_LOOK)
    of, other = (
        Link(id=id_ * 16, account=ACCOUNT, time=0, by="", expires=0, revoked=0, opened=0, last_opened=0) for id_ in "ab"
    )
    assert [_too_many(throttle, of) for _ in range(FREE_LOOKS)] == [0.0] * FREE_LOOKS
    assert _too_many(throttle, of) == 1.0
    assert _too_many(throttle, other) == 0.0
    clock.set(clock.now() + 1)
    assert [_too_many(throttle, of) for _ in range(2)] == [0.0, 2.0]
