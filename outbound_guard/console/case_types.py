"""Cases as the API gives and takes them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Stage = Literal["verify", "investigate", "contain", "notify", "appeal", "watch", "confirm", "prevent"]


class CaseAbout(msgspec.Struct, frozen=True, kw_only=True):
    """Who lists or refuses what of ours."""

    subject: str
    source: str = ""
    kind: str = "list"
    """list | receiver | person"""
    operator: str = ""
    state: str = "listed"
    """listed | clean"""
    scope: str = ""
    codes: str = ""
    reason: str = ""
    since: float = 0.0
    seen: float = 0.0
    clean_since: float = 0.0
    count: int = 0


class CaseLine(msgspec.Struct, frozen=True, kw_only=True):
    """A case in a list. Times are unix seconds, 0 if it has not come to that."""

    id: str
    state: str
    """open | closed"""
    stage: str
    stage_number: int
    kind: str
    title: str
    operator: str
    pool: str
    owner: str
    finding: str
    cause: str
    accounts: list[str]
    began: float
    opened: float
    round_since: float
    stage_since: float
    contained: float
    removed: float
    closed: float
    reopened: int
    due: float
    due_for: str
    reminded: float
    summary: str
    changed: float
    subjects: list[CaseAbout]
    overdue: bool
    open_items: list[str]
    ready: bool


class CaseItem(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the checklist."""

    stage: str
    item: str
    asks: str
    needs: str
    machine: bool
    skippable: bool
    state: str
    """open | done | not needed"""
    evidence: str
    by: str
    time: float


class CaseStep(msgspec.Struct, frozen=True, kw_only=True):
    """A stage, as this case sees it."""

    stage: str
    asks: str
    hours: float
    items: int
    open: int
    state: str
    """done | now | later"""


class CaseTimer(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is due."""

    what: str
    text: str
    time: float
    over: bool


class CaseLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of letter, and what hinders it."""

    kind: str
    to: str
    hindrance: str


class CasePaper(msgspec.Struct, frozen=True, kw_only=True):
    """A letter, call, answer or file."""

    event: str
    what: str
    time: float
    by: str
    with_: str = msgspec.field(name="with")
    channel: str
    about: str
    outcome: str
    name: str
    text: str
    original: str
    """Its id, as long as it is kept."""
    expires: float


class CaseNext(msgspec.Struct, frozen=True, kw_only=True):
    """What can be done with the case as a whole."""

    act: str
    """advance | close | reopen | work | none"""
    to: str
    hindrances: list[str]


class CaseEventLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the history."""

    id: str
    time: float
    by: str
    what: str
    text: str
    data: dict[str, Any]


class CaseShown(CaseLine, frozen=True, kw_only=True):
    """Everything about a case."""

    checklist: list[CaseItem]
    channels: dict[str, dict[str, Any]]
    """By list or receiver: its page, what it asks for, how long it takes."""
    hindrances: list[str]
    history: list[CaseEventLine]
    path: list[CaseStep]
    timers: list[CaseTimer]
    letters: list[CaseLetter]
    parties: list[str]
    papers: list[CasePaper]
    next: CaseNext


class CaseList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of cases."""

    items: list[CaseLine]
    total: int


class CaseDone(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, as it stands in the history."""

    id: str
    event: str = ""
    what: str = ""
    """Of an opening: opened, reopened, seen; empty: it was known already."""
    text: str = ""
    time: float = 0.0
    original: str = ""
    """Id of the original that is kept for a while."""


class CaseOpen(msgspec.Struct, frozen=True, kw_only=True):
    """A case to open by hand."""

    subject: str
    list: str = ""
    reason: str = ""


class CaseTake(msgspec.Struct, frozen=True):
    """Who is to own it; empty: who asks."""

    owner: str = ""


class CaseNote(msgspec.Struct, frozen=True):
    """A comment."""

    text: str


class CaseCheckOff(msgspec.Struct, frozen=True, kw_only=True):
    """An item ticked off, found not to be needed, or opened again."""

    item: str
    text: str
    """The evidence, or the reason."""
    state: Literal["done", "not needed", "open"] = "done"
    finding: str = ""
    cause: str = ""
    accounts: list[str] = []


class CaseAdvance(msgspec.Struct, frozen=True):
    """Where to; empty: to the next stage."""

    to: str = ""
    reason: str = ""


class CaseContact(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody was written to or called."""

    party: str
    """customer:ACCOUNT, list:ZONE or receiver:NAME."""
    channel: str
    about: str = ""
    text: str = ""


class CaseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody answered."""

    party: str
    channel: str
    outcome: str = "other"
    text: str = ""


class CaseFile(msgspec.Struct, frozen=True):
    """A file as evidence."""

    name: str
    content: bytes
    """Base64."""


class CaseOriginal(msgspec.Struct, frozen=True):
    """Which original is asked for: the id of its event."""

    event: str


class CaseOriginalText(msgspec.Struct, frozen=True):
    """An original."""

    id: str
    text: str


class CaseClose(msgspec.Struct, frozen=True):
    """The end; `unfinished` says why, if something is open."""

    summary: str
    unfinished: str = ""


class CaseReopen(msgspec.Struct, frozen=True):
    """Why."""

    reason: str


class CaseMerge(msgspec.Struct, frozen=True):
    """The case that goes on."""

    into: str


class CaseWay(msgspec.Struct, frozen=True, kw_only=True):
    """The official channel of whoever is written to."""

    name: str
    page: str
    lookup: str
    asks: list[str]
    account: str
    waiting_days: float
    next_step: str
    programmes: list[str]
    note: str


class CaseDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A letter that nobody has sent: to be read and changed before it is."""

    kind: str
    to: str
    subject: str
    body: str
    way: CaseWay | None


class CaseDrafts(msgspec.Struct, frozen=True):
    """Drafts."""

    items: list[CaseDraft]


class CaseExport(msgspec.Struct, frozen=True):
    """The case as one document, without personal contact data: `text`, or `document` if JSON was asked for."""

    id: str
    form: str
    text: str = ""
    document: dict[str, Any] = {}
