"""A world for `benchmarks.unseen`: people with weeks of ordinary mail behind them, what they send, what is answered."""

from __future__ import annotations

import itertools
import random
import zlib
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any

from benchmarks.replay import CORPUS
from outbound_guard.content import parse
from outbound_guard.content.labelled import read_corpus

DAY = 86_400.0
BEGAN = 1_772_409_600.0
"""A Monday, unix seconds."""
MONDAY = BEGAN + 21 * DAY + 10 * 3600.0
"""Three weeks later, ten o'clock: when something happens."""
_FREE = ("gmail.com", "outlook.com", "yahoo.com", "web.de", "hotmail.com")
_PROGRAMS = ("Thunderbird 115.9", "Microsoft Outlook 16.0", "Apple Mail (2.3774)", "Roundcube Webmail/1.6")
_FIELDS = ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "User-Agent")
PAST = "the past"


class World:
    """What is sent, by whom, and how it is answered: the events of a trace."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.events: list[dict[str, Any]] = []
        self.archive = bytearray()
        ham, self.spam = _texts(self.rng)
        self._ham = itertools.cycle(ham)
        """None twice before all were used: what an honest person writes is seldom the same again."""

    def ham(self) -> str:
        return next(self._ham)

    def word(self) -> str:
        return "".join(self.rng.choice("abcdefghiklmnoprstuvz") for _ in range(self.rng.randint(4, 9)))

    def domain(self) -> str:
        return self.word() + self.rng.choice((".com", ".de", ".net", ".co.uk", ".fr"))

    def stranger(self) -> str:
        where = self.rng.choice(_FREE) if self.rng.random() < 0.6 else self.domain()
        return f"{self.word()}{self.rng.randint(1, 99)}@{where}"

    def address(self) -> str:
        return ".".join(str(self.rng.randint(1, 223)) for _ in range(4))

    def say(
        self,
        kind: str,
        at: float,
        envelope: tuple[str, list[str]],
        message: EmailMessage,
        client: tuple[str, str | None, str | None],
        gone: float = 0.0,
        complaints: float = 0.0,
    ) -> None:
        """Add one message. `client`: IP, login, server; `gone`, `complaints`: shares of the recipients."""
        for name in _FIELDS:  # Programs keep the order of their fields, whatever the message holds.
            if value := message[name]:
                del message[name]
                message[name] = value
        octets = message.as_bytes(policy=SMTP)
        packed = zlib.compress(octets, 1)
        start = len(self.archive)
        self.archive += packed
        outcomes: dict[str, Any] = {"ok_after": 3.0}
        for place in range(len(envelope[1])):
            if self.rng.random() < gone:
                answer = {"rcpt": place, "reply": "550 5.1.1 no such user here", "after": 2.0}
                outcomes.setdefault("other", []).append(answer)
            elif self.rng.random() < complaints:
                after = self.rng.uniform(1800, 20_000)
                outcomes.setdefault("complaints", []).append({"rcpt": place, "after": after})
        self.events.append(
            {
                "id": f"{kind}|{len(self.events)}",
                "t": at,
                "client_ip": client[0],
                "sasl_user": client[1],
                "server": client[2],
                "helo": "[192.168.1.5]",
                "mail_from": envelope[0],
                "rcpt_to": envelope[1],
                "message": f"messages.zbin:{start}:{len(packed)}",
                "size": len(octets),
                "outcomes": outcomes,
            }
        )

    def letter(self, sender: str, subject: str, text: str, at: float, **fields: str) -> EmailMessage:
        """A text/plain message; `fields`: further ones, their names with _ for -."""
        message = EmailMessage()
        message["From"], message["Subject"], message["Date"] = sender, subject, formatdate(at)
        message["Message-ID"] = f"<{self.word()}{self.word()}@{sender.rpartition('@')[2].strip('>')}>"
        for name, value in fields.items():
            message[name.replace("_", "-")] = value
        message.set_content(text, cte="quoted-printable")
        return message


class Mailbox:
    """Somebody with a login, a computer, a mail program and people he writes to."""

    def __init__(self, world: World, *, days: range = range(21), daily: int = 12, friends: int = 25) -> None:
        """`days` of the three weeks on which there was ordinary mail, so many messages `daily`."""
        self.world, rng = world, world.rng
        self.domain = f"firm{world.word()}.example"
        self.user, self.ip = f"{world.word()}@{self.domain}", world.address()
        self.name = f"{world.word().title()} {world.word().title()}"
        self.program = rng.choice(_PROGRAMS)
        self.friends = [world.stranger() for _ in range(friends)]
        for day in days:
            if day % 7 >= 5 and rng.random() < 0.8:
                continue
            for _ in range(max(0, int(rng.gauss(daily, daily / 4)))):
                to = world.stranger() if rng.random() < 0.12 else rng.choice(self.friends)
                subject = f"{'Re: ' * (rng.random() < 0.5)}{world.word()} {world.word()}"
                self.send(PAST, BEGAN + day * DAY + rng.gauss(13, 2.4) * 3600, [to], subject, gone=0.005)

    def send(
        self,
        kind: str,
        at: float,
        to: list[str],
        subject: str,
        text: str | None = None,
        *,
        message: EmailMessage | None = None,
        ip: str | None = None,
        sender: str | None = None,
        program: str | None = None,
        gone: float = 0.0,
        complaints: float = 0.0,
        **fields: str,
    ) -> None:
        """Send a message: `text`, or somebody's ham, or `message` with what only its kind knows."""
        author = sender or f"{self.name} <{self.user}>"
        if message is None:
            message = self.world.letter(author, subject, text or self.world.ham(), at, **fields)
        if program != "":
            message["User-Agent"] = program or self.program
        message["To"] = to[0] if len(to) == 1 else "undisclosed-recipients:;"
        client = (ip or self.ip, self.user, None)
        self.world.say(kind, at, (self.user, to), message, client, gone, complaints)


def _texts(rng: random.Random) -> tuple[list[str], list[str]]:
    """Plain texts of the corpus: ham and spam."""
    found: dict[bool, list[str]] = {False: [], True: []}
    for raw in read_corpus(CORPUS / "mail", "dev", ("phishing_pot", "vger")):
        text = parse(raw.content).plain_text
        if 100 < len(text) < 3000 and "\0" not in text:
            found[raw.spam].append(text.encode("utf-8", "replace").decode())
    for texts in found.values():
        rng.shuffle(texts)
    return found[False], found[True]
