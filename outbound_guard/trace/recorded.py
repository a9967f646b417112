"""What is recorded of a message when its text is not: its header section, and what its text said.

The header section stands in the archive as it is. What is read below it by checks is kept as `Evidence`. On replay a
RecordedMessage answers from both, so that the path judges it as it judged the whole message.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from outbound_guard.content import Message, parse
from outbound_guard.content.model import Model, Reading
from outbound_guard.mail import Signal, Submission
from outbound_guard.scanners import Opinion, Scanners

PROPERTIES = ("fingerprint", "sketch", "defects", "language", "charset", "html", "links_elsewhere")
"""Properties of a message that are read below its header, and that Evidence keeps. A check that reads another one would
find nothing in a trace without texts: it belongs here, in Evidence and in RecordedMessage."""


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a text said, without the text."""

    size: int
    opinion: float = 0.0
    """Weight of evidence (nats) by the content model of then."""
    fingerprint: int = 0
    sketch: tuple[int, ...] = ()
    defects: tuple[str, ...] = ()
    language: str = ""
    charset: str = ""
    html: bool = False
    links_elsewhere: bool = False


def evidence_of(message: Message, opinion: float) -> Evidence:
    """What is to be kept of a message's text. `opinion`: what the content model said, in nats."""
    return Evidence(message.size, opinion, **{name: getattr(message, name) for name in PROPERTIES})


class RecordedMessage(Message):
    """A message of which the header section and the evidence are there, and no text."""

    __slots__ = ("_kept",)

    def __init__(self, header: bytes, kept: Evidence) -> None:
        super().__init__(header)
        self._kept = kept

    @property
    def kept(self) -> Evidence:
        """What its text said."""
        return self._kept

    @property
    def size(self) -> int:
        """Octets of the whole message."""
        return self._kept.size

    @property
    def fingerprint(self) -> int:
        """As recorded."""
        return self._kept.fingerprint

    @property
    def sketch(self) -> tuple[int, ...]:
        """As recorded."""
        return self._kept.sketch

    @property
    def defects(self) -> tuple[str, ...]:
        """As recorded."""
        return self._kept.defects

    @property
    def language(self) -> str:
        """As recorded."""
        return self._kept.language

    @property
    def charset(self) -> str:
        """As recorded."""
        return self._kept.charset

    @property
    def html(self) -> bool:
        """As recorded."""
        return self._kept.html

    @property
    def links_elsewhere(self) -> bool:
        """As recorded."""
        return self._kept.links_elsewhere


class HeaderOnly(bytes):
    """The header section of a message as the content of a submission, with the evidence about the rest."""

    kept: Evidence

    def __new__(cls, header: bytes, kept: Evidence) -> HeaderOnly:
        """`header` ends with the empty line."""
        made = super().__new__(cls, header)
        made.kept = kept
        return made


def read(content: bytes) -> Message:
    """Like content.parse, also for HeaderOnly."""
    return RecordedMessage(content, content.kept) if isinstance(content, HeaderOnly) else parse(content)


class Opinions(Model):
    """A content model that of a RecordedMessage says what was said when it was recorded."""

    __slots__ = ("_real",)

    def __init__(self, real: Model) -> None:
        self._real = real

    def score(self, message: Message) -> Reading:
        """As recorded, or what the real one says."""
        if isinstance(message, RecordedMessage):
            return message.kept.opinion, "as the content model said when it was recorded"
        return self._real.score(message)


class Heard(Scanners):
    """Scanners that say of a message what they said when it was recorded; nobody is asked."""

    def __init__(self) -> None:
        self.said: dict[str, tuple[Opinion, ...]] = {}
        """By the id of the submission."""

    async def ask(self, submission: Submission, message: Message) -> tuple[Opinion, ...]:
        """As recorded."""
        return self.said.get(submission.id, ())

    def compare(self, opinions: Iterable[Opinion], signals: Iterable[Signal], hold: float) -> None:
        """Nothing is counted in a replay."""

    async def close(self) -> None:
        """There is nothing to close."""
