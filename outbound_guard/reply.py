"""SMTP replies as values: code, enhanced status code, text. All of our own are made here."""

from __future__ import annotations

import functools

import msgspec

_LONGEST_CODE = len("5.999.999")


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """One SMTP reply (RFC 5321 4.2, RFC 3463). `text` may hold several lines, divided by "\\n"."""

    code: int
    enhanced: str
    text: str

    @property
    def accepted(self) -> bool:
        """True for 2xx."""
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        """True for 4xx: the client keeps the message and tries again."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """True for 5xx: the client gives the message back to its author."""
        return 500 <= self.code < 600

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}" if self.enhanced else f"{self.code} {self.text}"

    def wire(self) -> bytes:
        """The reply as octets, with every line but the last marked as continued (RFC 5321 4.2.1)."""
        lead = f"{self.enhanced} " if self.enhanced else ""
        if "\n" not in self.text:
            return f"{self.code} {lead}{self.text}\r\n".encode("utf-8", "replace")
        *first, last = self.text.split("\n")
        lines = [f"{self.code}-{lead}{line}\r\n" for line in first]
        lines.append(f"{self.code} {lead}{last}\r\n")
        return "".join(lines).encode("utf-8", "replace")


def parse(code: int, text: str) -> Reply:
    """A reply as another server gave it: finds the enhanced status code (RFC 2034) in front of the text."""
    line, more, _ = text.partition("\n")
    word, _, rest = line.partition(" ")
    if len(word) > _LONGEST_CODE or not _is_enhanced(word):
        return Reply(code, "", text)
    if not more:
        return Reply(code, word, rest.lstrip(" "))
    return Reply(code, word, "\n".join(line.removeprefix(word).lstrip(" ") for line in text.split("\n")))


@functools.lru_cache(256)
def _is_enhanced(word: str) -> bool:
    """True for an enhanced status code; a server has but a few of them."""
    parts = word.split(".")
    return len(parts) == 3 and parts[0] in ("2", "4", "5") and all(p.isdigit() and len(p) <= 3 for p in parts)


# Each word below is stable: it stands in the reply, in the log and in the documentation (docs/replies.md).
OUR_FAULT = Reply(451, "4.3.0", "OG-FAULT our fault, please try again")
OVERLOADED = Reply(452, "4.3.1", "OG-FULL no room to keep the message, please try again")
SHUTTING_DOWN = Reply(421, "4.3.2", "OG-STOP restarting, please try again")
NO_NEXT_HOP = Reply(451, "4.4.1", "OG-NEXTHOP no next hop can be reached")


def not_as_it_wants(said: Reply) -> Reply:
    """A smarthost refuses our login or a command, which is ours to mend (RFC 3463 3.4, X.3.5); `said`: its answer."""
    return Reply(451, "4.3.5", f"OG-SETUP the next hop wants to be spoken to otherwise; it said: {said}")


def queued(id_: str) -> Reply:
    """The message is safe in the spool and will be delivered."""
    return Reply(250, "2.0.0", f"Ok: queued as {id_}")


def held(id_: str) -> Reply:
    """The message is safe in the spool and waits for time or for a person."""
    return Reply(250, "2.0.0", f"Ok: held for review as {id_}")


def deferred(word: str, why: str, retry_after: float, id_: str) -> Reply:
    """The client keeps the message; `word` is the stable code, `retry_after` seconds."""
    return Reply(451, "4.7.1", f"{word} {why}, retry after {retry_after:.0f}s {id_}")


def refused(word: str, why: str, id_: str) -> Reply:
    """The message is refused for good."""
    return Reply(550, "5.7.1", f"{word} {why} {id_}")


def suspended_login() -> Reply:
    """Answer to AUTH of a suspended login (525 5.7.13: RFC 7372 registers it as "user account disabled")."""
    return Reply(525, "5.7.13", "OG-SUSPENDED this account may not send; ask your provider's abuse desk")


def suspended(id_: str) -> Reply:
    """Answer to a message of a suspended sender."""
    return Reply(550, "5.7.1", f"OG-SUSPENDED this sender may not send; ask your provider's abuse desk {id_}")


SUPPRESSED = "OG-SUPPRESSED"
"""How the text of `suppressed` begins."""


def suppressed(why: str, id_: str) -> Reply:
    """The account is not to write to this recipient any more; `why`: unknown_user | complaint | by_hand."""
    if why == "unknown_user":
        enhanced, because = "5.1.1", "this recipient does not exist, as its server has said before"
    else:
        enhanced, because = "5.7.1", "this recipient does not want mail from you"
    return Reply(550, enhanced, f"{SUPPRESSED} {because}; ask your provider to take it off the list {id_}".rstrip())


def sunk(id_: str) -> Reply:
    """The message has been written to the sink, as the configuration asks."""
    return Reply(250, "2.0.0", f"Ok: written to the sink as {id_}")


def expired(seconds: float, last: Reply | None) -> Reply:
    """A queued message is given up after `seconds`; `last` is what the next hop said last (RFC 3463 3.5, X.4.7)."""
    said = f"; the last answer was: {last}" if last else ""
    return Reply(451, "4.4.7", f"OG-EXPIRED could not be delivered within {seconds / 3600:.0f} hours{said}")


def hold_expired(seconds: float) -> Reply:
    """A message held for a person is given up after `seconds`."""
    return Reply(550, "5.7.1", f"OG-HELD was held for review and not released within {seconds / 3600:.0f} hours")


def given_up(why: str, last: Reply | None, id_: str) -> Reply:
    """A queued message is given up by a person; `last` is what was answered last. `why` is told to its sender."""
    because = f": {' '.join(why.split())}" if why.strip() else ""
    said = f"; the last answer was: {last}" if last else ""
    return Reply(554, "5.7.0", f"OG-RETURNED returned by the postmaster{because}{said} {id_}")
