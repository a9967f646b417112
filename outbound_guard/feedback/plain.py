"""Bounces that are no DSN, as people are to read them: qmail, Exim, Postfix of old, gateways, groupware.

They have in common that they come from nobody, name an address on a line, and quote an answer near it. What the answer
means is decided where every answer is (delivery/answers.toml); here is only found out which words are the answer.
"""

from __future__ import annotations

import re

from outbound_guard.content import charset
from outbound_guard.delivery.answers import meaning_of
from outbound_guard.feedback.report import LONGEST, Fate, addresses, reply_in
from outbound_guard.mail import Headers
from outbound_guard.reply import Reply

_LINES = 400
_FATES = 50
_ROBOT = re.compile(
    r"(?:^|[<\s\"])(?:mailer-?daemon|mail-?daemon|postmaster|mdaemon|bounces?|no-?reply)(?:[@+\"\s>-]|$)", re.I
)
_SUBJECT = re.compile(
    r"undeliver|(?:delivery|delivering|mail|message) (?:status|failure|failed|problem|notification|has failed)"
    r"|fail(?:ed|ure)[ -](?:mail|notice|notification|delivery|permanent)|delivery.{0,20}fail"
    r"|returned (?:mail|to sender)"
    r"|(?:could|can) ?not (?:be )?deliver|non[- ]?(?:remis|delivery)|unzustellbar|nicht zugestellt|no se puede entregar"
    r"|mancata consegna|niet (?:bestelbaar|afgeleverd)|nao entregue|não entregue",
    re.I,
)
_WORDS = re.compile(
    r"(?:could|can|was|were|has|have|is|be|been)(?: ?not|n't| permanently)?(?: yet)?(?: be| been)? (?:un)?deliver"
    r"|undeliver|delivery (?:has )?(?:failed|problem|to the following)|delivery attempt|unable to deliver"
    r"|could not be (?:sent|reached)|not (?:be )?reach|failed to deliver|did(?: ?not|n't) reach|returned to sender",
    re.I,
)
# Where the returned message begins. What stands behind it is its author's.
_COPY = re.compile(
    r"^[\s>]*(?:-{2,}.*\b(?:copy|original|returned|undelivered|forwarded|transcript|below)\b.*|return-path:.*"
    r"|received: from .*|.*copy of the (?:message|mail).*headers.*:?|original message follows.*)$",
    re.I,
)
_NOT_RECIPIENT = re.compile(r"^(?:mailer-?daemon|postmaster|mdaemon|abuse|support|help|noreply|no-reply)@", re.I)
_NO_NEWS = re.compile(
    r"will (?:be retried|keep trying|continue)|(?:still|again) (?:be )?try|warning message only|delayed", re.I
)


def from_robot(headers: Headers, mail_from: str | None) -> bool:
    """True if nobody has written this by hand. `mail_from` is the envelope's sender, where it is known."""
    if mail_from == "" or (headers.get("return-path") or "").replace(" ", "") == "<>":
        return True
    sender = headers.get("from") or ""
    return bool(_ROBOT.search(sender[:500]))


def is_bounce(headers: Headers, mail_from: str | None, text: str) -> bool:
    """True if it looks like one: it comes from a machine, and speaks of delivering."""
    if "x-failed-recipients" in headers:
        return True
    if not from_robot(headers, mail_from):
        return False
    subject, _ = charset.header_text(headers.get("subject") or "", 500)
    return bool(_SUBJECT.search(subject) or _WORDS.search(text[:4000]))


def fates_in(text: str, headers: Headers) -> tuple[Fate, ...]:
    """What a bounce says of its recipients; empty if nothing can be made out."""
    named = [each for value in headers.all("x-failed-recipients") for each in addresses(value[:4000])]
    blocks = _blocks(text, set(named))
    found: dict[str, Fate] = {}
    for recipient, said in blocks:
        if named and recipient not in named:
            continue
        fate = _fate(recipient, said)
        if fate is not None:
            found.setdefault(recipient, fate)
    for recipient in named[:_FATES]:
        # Exim names them in the header; the words about all of them stand below.
        fate = _fate(recipient, text) if recipient not in found else None
        if fate is not None:
            found[recipient] = fate
    if not found and blocks:
        # An answer above or below all addresses.
        found = {to: fate for to, _ in blocks[:1] if (fate := _fate(to, text)) is not None}
    return tuple(list(found.values())[:_FATES])


def _blocks(text: str, named: set[str]) -> list[tuple[str, str]]:
    """An address, and the lines from it to the next one."""
    blocks: list[tuple[str, list[str]]] = []
    for line in text.splitlines()[:_LINES]:
        if _COPY.match(line[:300]) and blocks:
            break
        here = [each for each in addresses(line[:2000]) if not _NOT_RECIPIENT.match(each)]
        if here and (not blocks or here[0] != blocks[-1][0]) and (not named or here[0] in named):
            known = blocks and here[0] in {to for to, _ in blocks}
            if not known and len(blocks) < _FATES:
                blocks.append((here[0], []))
        if blocks:
            blocks[-1][1].append(line)
    return [(to, "\n".join(lines)) for to, lines in blocks]


def _fate(recipient: str, said: str) -> Fate | None:
    said = said[: 8 * LONGEST]
    reply = reply_in(said)
    if reply is None:
        words = " ".join(said.split())[:LONGEST]
        guess = Reply(550, "", words)
        if meaning_of(guess).class_ != "other":
            reply = guess
    if reply is None or reply.accepted:
        return None
    # What is only late is said to be so in as many words.
    final = reply.permanent or not _NO_NEWS.search(said)
    return Fate(recipient, reply, final)
