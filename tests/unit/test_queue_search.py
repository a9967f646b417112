"""Which queued messages a search means: the quick way of lists against the plain reading of each field."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.queue.listing import found, in_order, summary
from outbound_guard.desk.queue.waiting import KEPT, Fit, Search, Waiting, answer_of, described, waiting
from outbound_guard.mail import Envelope
from outbound_guard.reply import Reply
from outbound_guard.spool import Entry, Progress

REPLIES = (
    Reply(451, "4.7.1", "Greylisted, try again in 300 seconds"),
    Reply(452, "4.2.2", "<a@one.test> mailbox is full"),
    Reply(421, "4.7.0", "too many connections from 192.0.2.7"),
)
ADDRESSES = tuple(f"{name}@{domain}.test" for name in ("a", "B", "c") for domain in ("one", "Two", "three"))


def message(
    id_: str, recipients: tuple[str, ...], replies: dict[str, Reply], *, account: str = "x.test", received: float = 50.0
) -> tuple[Entry, Progress]:
    entry = Entry(
        id=id_,
        received=received,
        envelope=Envelope(f"Anna@{account}", recipients),
        account=account,
        sender=f"anna@{account}",
        subject="Last CHANCE",
        meta={"class": "bulk"} if account == "y.test" else {},
    )
    return entry, Progress(attempts=1, due=100.0, replies=replies)


@st.composite
def messages(draw: st.DrawFn) -> tuple[Entry, Progress]:
    many = draw(st.booleans())
    base = draw(st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=4, unique=True))
    # Those beyond what lists keep must count as well.
    recipients = (*(f"n{number}@zero.test" for number in range(KEPT + 2) if many), *base)
    said = {one: draw(st.sampled_from(REPLIES)) for one in recipients if draw(st.booleans())}
    account = draw(st.sampled_from(("x.test", "y.test")))
    return message(draw(st.from_regex(r"[a-z]{16}", fullmatch=True)), recipients, said, account=account)


SEARCHES = st.builds(
    Search,
    account=st.sampled_from(("", "x.test", "X.test")),
    sender=st.sampled_from(("", "ANNA@x.test", "anna")),
    sender_class=st.sampled_from(("", "bulk", "new")),
    recipient=st.sampled_from(("", "A@ONE.test", "c@two.test", "nobody")),
    destination=st.sampled_from(("", "@", "one.test", "TWO.test", "zero.test", "test")),
    reply=st.sampled_from(("", "greyLISTED", "mailbox", "451", "nothing of the kind")),
    reply_class=st.sampled_from(("", "greylisting", "mailbox_full", "rate", "content")),
    subject=st.sampled_from(("", "chance", "other")),
    since=st.sampled_from((0.0, 50.0, 51.0)),
    before=st.sampled_from((0.0, 50.0, 51.0)),
)


def plainly(search: Search, entry: Entry, progress: Progress) -> tuple[str, ...]:
    """What the fields say, one after the other, without anything that makes it quick."""
    if search.account and entry.account != search.account:
        return ()
    if search.sender_class and entry.meta.get("class") != search.sender_class:
        return ()
    names = (entry.sender.lower(), entry.envelope.mail_from.lower())
    if search.sender and search.sender.lower() not in names:
        return ()
    if search.subject and search.subject.lower() not in entry.subject.lower():
        return ()
    if entry.received < search.since or (search.before and entry.received >= search.before):
        return ()
    fitting = []
    for recipient in entry.envelope.recipients:
        said = progress.replies.get(recipient)
        answer = answer_of(said) if said else None
        if search.recipient and recipient.lower() != search.recipient.lower():
            continue
        if search.destination and recipient.lower().split("@")[1] != search.destination.lower():
            continue
        if search.reply and (answer is None or search.reply.lower() not in answer.text.lower()):
            continue
        if search.reply_class and (answer is None or not re.match(rf"{search.reply_class}(\.|$)", answer.class_)):
            continue
        fitting.append(recipient)
    return tuple(fitting)


@settings(max_examples=150)
@given(st.lists(messages(), max_size=6, unique_by=lambda one: one[0].id), SEARCHES)
def test_lists_find_what_the_fields_say(queued: list[tuple[Entry, Progress]], search: Search) -> None:
    whole = {entry.id: waiting(entry, progress, most=0) for entry, progress in queued}
    rows = [waiting(entry, progress) for entry, progress in queued]
    meant = {entry.id: plainly(search, entry, progress) for entry, progress in queued}
    assert [one.id for one in found(rows, search, whole.get)] == [id_ for id_, to in meant.items() if to]
    fit = Fit(search)
    for id_, one in whole.items():
        assert (fit.recipients(one) if fit.message(one) else ()) == meant[id_]


@settings(max_examples=50)
@given(st.lists(messages(), max_size=8, unique_by=lambda one: one[0].id))
def test_the_numbers_are_those_of_the_messages(queued: list[tuple[Entry, Progress]]) -> None:
    rows = [waiting(entry, progress, most=0) for entry, progress in queued]
    told = summary(rows)
    assert told.number == len(rows)
    assert told.recipients == sum(len(entry.envelope.recipients) for entry, _ in queued)
    assert told.untried == sum(set(e.envelope.recipients) > p.replies.keys() for e, p in queued)
    for share in told.destinations:
        domains = [{to.lower().split("@")[1] for to in entry.envelope.recipients} for entry, _ in queued]
        assert share.number == sum(share.key in each for each in domains)


@pytest.mark.parametrize("name", Search.__struct_fields__)
def test_a_search_with_any_field_is_not_empty(name: str) -> None:
    assert Search().empty
    search = Search(**{name: 1.0 if name in ("since", "before") else "x"})
    assert not search.empty
    assert described(search)


def test_answers_that_say_the_same_are_counted_together() -> None:
    first = answer_of(Reply(451, "4.7.1", "<a@x.test>: greylisted, see https://x.test/?id=8ab3f1c9 in 300 s"))
    second = answer_of(Reply(451, "4.7.1", "<longer.name@y.test>: greylisted,\nsee https://x.test/?id=77 in 5 s"))
    assert first.wording == second.wording
    assert first.wording.startswith("451 4.7.1 ")
    assert first.class_ == second.class_ == "greylisting"
    assert answer_of(Reply(452, "4.2.2", "mailbox full")).wording == "452 4.2.2 mailbox full"


def test_an_answer_of_any_length_stays_short() -> None:
    found = answer_of(Reply(451, "", "\n".join(f"line {number} 1.2.3.4" for number in range(10_000))))
    assert len(found.text) < 400
    assert "\n" not in found.text


def test_sorted_both_ways() -> None:
    rows: list[Waiting] = []
    for number, tries in enumerate((3, 1, 2)):
        entry, progress = message(f"m{number}", ("a@one.test",), {})
        rows.append(waiting(entry, Progress(attempts=tries, due=progress.due)))
    assert [one.id for one in in_order(rows, "attempts", down=False)] == ["m1", "m2", "m0"]
    assert [one.id for one in in_order(rows, "attempts", down=True)] == ["m0", "m2", "m1"]
    assert [one.id for one in in_order(rows, "received", down=True)] == ["m2", "m1", "m0"]


@pytest.mark.parametrize("search", [Search(sender_class="bulky"), Search(reply_class="spam")])
def test_a_class_that_does_not_exist_is_refused_by_name(search: Search) -> None:
    with pytest.raises(DeskError, match=r"no class of .*s is called '(bulky|spam)': it is one of "):
        found([], search, lambda _: None)
