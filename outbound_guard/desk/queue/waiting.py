"""A queued message as lists show it, and the condition by which people say which ones they mean. Pure."""

from __future__ import annotations

import datetime
import functools
import re
import sys
from collections.abc import Sequence

import msgspec

from outbound_guard.delivery.answers import CLASSES as ANSWER_CLASSES
from outbound_guard.delivery.answers import meaning_of
from outbound_guard.delivery.bounce import CODE, may_bounce
from outbound_guard.delivery.retry import recipients_left
from outbound_guard.desk.errors import DeskError
from outbound_guard.mail import domain_of
from outbound_guard.reply import Reply
from outbound_guard.reputation.classes import CLASSES as SENDER_CLASSES
from outbound_guard.spool import Entry, Progress, due_of, last_reply

KEPT = 20
"""Recipients of a message that lists keep in memory. Of one with more the file is asked."""
_SUBJECT, _TEXT = 120, 300
"""Characters of a subject and of an answer that lists keep."""
# What differs from one message to the next: addresses, names of machines and queues, numbers, ids, times.
_VARIABLE = re.compile(r"<[^<>\s]*>|\S+@\S+|\b(?=[\w.:/+-]*\d)[\w.:/+-]{8,}|\b\d[\d.:]*\b")


class Answer(msgspec.Struct, frozen=True):
    """What a recipient's server, or we ourselves, said last."""

    text: str
    """On one line."""
    wording: str
    """The same without what differs from one message to the next, by which answers are counted."""
    class_: str = msgspec.field(name="class")
    """One of delivery.answers.CLASSES, or a finer one."""


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A queued message. Times are unix seconds."""

    id: str
    received: float
    account: str
    sender: str
    sender_class: str
    """The class of its sender when it came in, by which its pool is chosen; empty: not known."""
    mail_from: str
    subject: str
    size: int
    attempts: int
    due: float
    """When it is tried next."""
    since: float
    """When its time in the queue began, from which expiry counts."""
    report: bool
    """It is a report of our own (a bounce)."""
    returnable: bool
    """Its sender would be told if it were given up: the account owns the address."""
    number: int
    """Recipients left."""
    recipients: tuple[str, ...]
    """Those left; the first KEPT of them if `cut`."""
    destinations: tuple[str, ...]
    """Their domains, each once."""
    answers: tuple[Answer, ...]
    """The last answers to them, each once; none if nothing was answered yet."""
    which: tuple[int, ...]
    """For each recipient its place in `answers`, -1: none; empty if all have the same."""
    cut: bool


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """Which queued messages are meant: those for which every field holds that is not empty.

    Fields about recipients must hold for the same one; a message is meant if they hold for any of its recipients.
    """

    account: str = ""
    sender: str = ""
    """The sender, or MAIL FROM."""
    sender_class: str = ""
    recipient: str = ""
    """A whole address."""
    destination: str = ""
    """The recipient's domain."""
    reply: str = ""
    """Words of the last answer, or of its wording."""
    reply_class: str = ""
    """What the last answer means: a class, with all finer ones, or a finer one."""
    subject: str = ""
    """Words of the subject's beginning."""
    since: float = 0.0
    """Received at this time or later, unix seconds."""
    before: float = 0.0
    """Received before this time."""

    @property
    def empty(self) -> bool:
        """True if every message fits."""
        given: list[str | float] = [getattr(self, name) for name in self.__struct_fields__]
        return not any(one.strip() if isinstance(one, str) else one > 0 for one in given)

    @property
    def about_recipients(self) -> bool:
        """True if it is not about messages alone."""
        return bool(self.recipient or self.destination or self.reply or self.reply_class)


def waiting(entry: Entry, progress: Progress, most: int = KEPT) -> Waiting:
    """A queued message with at most so many of its recipients (0: all)."""
    left = recipients_left(entry, progress)
    shown = left[:most] if most else left
    said = [last_reply(entry, progress, recipient) for recipient in shown]
    found = list(dict.fromkeys(reply for reply in said if reply is not None))
    answers = tuple(answer_of(reply) for reply in found)
    # Nearly always one and the same.
    alike = len(answers) <= 1 and None not in said
    return Waiting(
        id=entry.id,
        received=entry.received,
        account=sys.intern(entry.account),
        sender=sys.intern(entry.sender),
        sender_class=sys.intern(entry.meta.get("class", "")),
        mail_from=sys.intern(entry.envelope.mail_from),
        subject=entry.subject[:_SUBJECT],
        size=entry.size,
        attempts=progress.attempts or entry.attempts,
        due=due_of(entry, progress),
        since=progress.since or entry.received,
        report=entry.code == CODE,
        returnable=may_bounce(entry),
        number=len(left),
        recipients=tuple(shown),
        destinations=tuple(dict.fromkeys(sys.intern(domain_of(recipient)) for recipient in shown)),
        answers=answers,
        which=() if alike else tuple(-1 if reply is None else found.index(reply) for reply in said),
        cut=len(shown) < len(left),
    )


def answer_of(reply: Reply) -> Answer:
    """A reply as lists show it."""
    code = f"{reply.code} {reply.enhanced}".rstrip()
    text = " ".join(reply.text.split())[:_TEXT]
    wording = _VARIABLE.sub("…", text)
    return _answer(f"{code} {text}", sys.intern(f"{code} {wording}"), _class(code, wording, reply))


@functools.lru_cache(4096)
def _answer(text: str, wording: str, class_: str) -> Answer:
    # Outages give a hundred thousand messages the same answer.
    return Answer(text, wording, class_)


_classes: dict[tuple[str, str], str] = {}


def _class(code: str, wording: str, reply: Reply) -> str:
    """What an answer means; of those with the same wording the first alone is looked at, which takes a while."""
    key = code, wording
    if key not in _classes:
        if len(_classes) > 10_000:
            _classes.clear()
        _classes[key] = sys.intern(meaning_of(reply).class_)
    return _classes[key]


def _known(what: str, given: str, classes: tuple[str, ...]) -> None:
    if given and given not in classes:
        raise DeskError(f"no class of {what}s is called {given!r}: it is one of {', '.join(classes)}")


class Fit:
    """Which messages, and which of their recipients, a search means."""

    def __init__(self, search: Search) -> None:
        """Raises DeskError for a class that does not exist, which would otherwise mean no message at all."""
        _known("sender", search.sender_class, SENDER_CLASSES)
        _known("answer", search.reply_class.partition(".")[0], ANSWER_CLASSES)
        self._search = search
        self._sender, self._recipient = search.sender.lower(), search.recipient.lower()
        self._destination = search.destination.lower().removeprefix("@") or search.destination
        self._domain = domain_of(search.recipient)
        # Quicker than to fold a hundred thousand answers.
        self._reply = re.compile(re.escape(" ".join(search.reply.split())), re.IGNORECASE) if search.reply else None
        self._of_answers = bool(search.reply or search.reply_class)
        self._subject = search.subject.casefold()

    def message(self, one: Waiting) -> bool:
        """True if what is said about the message itself holds."""
        search = self._search
        return (
            (not search.account or one.account == search.account)
            and (not search.sender_class or one.sender_class == search.sender_class)
            and (not self._sender or self._sender in (one.sender.lower(), one.mail_from.lower()))
            and (not search.since or one.received >= search.since)
            and (not search.before or one.received < search.before)
            and (not self._subject or self._subject in one.subject.casefold())
        )

    def anybody(self, one: Waiting) -> bool:
        """True if a recipient fits that is known; quicker than to look at each."""
        domain = self._destination or self._domain
        if domain and domain not in one.destinations:
            return False
        if self._of_answers and not any(map(self._said, one.answers)):
            return False
        if not self._recipient and not one.which and (not domain or len(one.destinations) == 1):
            return True
        return bool(self.recipients(one))

    def recipients(self, one: Waiting) -> tuple[str, ...]:
        """Those of the message's recipients for whom all holds that is said about recipients."""
        if not self._search.about_recipients:
            return one.recipients
        fitting = [self._said(answer) for answer in one.answers]
        return tuple(
            recipient
            for place, recipient in enumerate(one.recipients)
            if (not self._recipient or recipient.lower() == self._recipient)
            and (not self._destination or domain_of(recipient) == self._destination)
            and self._answered(one, place, fitting)
        )

    def _answered(self, one: Waiting, place: int, fitting: Sequence[bool]) -> bool:
        if not self._of_answers:
            return True
        which = one.which[place] if one.which else 0 if fitting else -1
        return which >= 0 and fitting[which]

    def _said(self, answer: Answer) -> bool:
        class_ = self._search.reply_class
        if class_ and answer.class_ != class_ and not answer.class_.startswith(class_ + "."):
            return False
        words = self._reply
        return words is None or bool(words.search(answer.text) or words.search(answer.wording))


def described(search: Search) -> str:
    """Which messages are meant, in words."""
    names = {
        "sender_class": "class of sender",
        "recipient": "to",
        "destination": "for",
        "reply": "answered",
        "reply_class": "class of answer",
    }
    told = [
        f"{names.get(name, name)} {value}"
        for name in ("account", "sender", "sender_class", "recipient", "destination", "reply", "reply_class", "subject")
        if (value := getattr(search, name))
    ]
    told += [f"received since {_moment(search.since)}"] if search.since else []
    told += [f"received before {_moment(search.before)}"] if search.before else []
    return ", ".join(told)


def _moment(seconds: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f}"
