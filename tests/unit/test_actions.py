"""What is done with a verdict, where no real next hop is needed to see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from outbound_guard.accounts import Tokens
from outbound_guard.actions import Actions
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Policy
from outbound_guard.content import parse
from outbound_guard.delivery.attempt import listed
from outbound_guard.delivery.classes import outcomes_of
from outbound_guard.delivery.result import Result
from outbound_guard.mail import Asked, Envelope, Sender, Submission, Verdict
from outbound_guard.reply import Reply, suppressed
from outbound_guard.reply import queued as queued_as
from outbound_guard.reputation import Observation
from outbound_guard.reputation.memory import NOTHING
from outbound_guard.spool import Progress, Spool, last_reply
from outbound_guard.verdict import Judgement

NOW = 1_800_000_000.0
OK, ALSO_OK = Reply(250, "2.0.0", "Ok"), Reply(251, "2.1.5", "will forward")
LATER, NEVER = Reply(451, "4.3.0", "later"), Reply(550, "5.1.1", "unknown user")
LISTED = listed(Reply(554, "5.7.1", "Client host [127.0.0.1] blocked using zen.example"))


class NextHop:
    """Answers what it is told to."""

    def __init__(self, *replies: Reply, relayed: tuple[int, ...] = ()) -> None:
        self.replies, self.relayed = replies, relayed
        self.sent: list[tuple[str, ...]] = []

    async def send(self, envelope: Envelope, content: Sequence[bytes], pool: str = "", class_: str = "") -> Result:
        places = tuple(place for place, reply in enumerate(self.replies) if reply == LISTED)
        self.sent.append(envelope.recipients)
        return Result(self.replies, "127.0.0.1:25", listed=places, relayed=self.relayed)


def judged(mail_from: str = "anna@example.com", verdict: Verdict | None = None, text: str = "hello") -> Judgement:
    content = f"From: anna@example.com\r\nSubject: x\r\n\r\n{text}\r\n".encode()
    sender = Sender("example.com", "anna@example.com", "mailbox", "sasl")
    envelope = Envelope(mail_from, ("b@example.net", "c@example.net"))
    submission = Submission("0000000000000001", NOW, envelope, content, "2001:db8::7", helo="pc")
    seen = Observation(NOW, sender, envelope.recipients, (None,) * 6)
    return Judgement(submission, parse(content), sender, seen, NOTHING, verdict or Verdict("relay", 0.0, "clean", ()))


def actions(spool: Spool, *replies: Reply) -> Actions:
    return Actions(
        NextHop(*replies),  # type: ignore[arg-type]  # It has the one method that is used.
        spool,
        Tokens(b"x" * 32),
        hostname="guard.example.net",
        to_strip=lambda headers: (),
    )


async def test_a_refused_recipient_whose_sender_may_not_be_told_lies_in_quarantine(tmp_path: Path) -> None:
    spool = Spool(tmp_path, VirtualClock(NOW), 0)
    outcome = await actions(spool, OK, NEVER).carry_out(judged("anna@elsewhere.example"), Policy())
    assert outcome.reply.code == 250
    (kept,) = spool.entries("quarantine")
    assert kept.envelope.recipients == ("c@example.net",)
    assert any("unknown user" in reason for reason in kept.reasons)
    assert list(spool.entries("incoming")) == []
    spool.close()


async def test_a_refused_recipient_leads_to_a_bounce_for_the_account_s_own_address(tmp_path: Path) -> None:
    spool = Spool(tmp_path, VirtualClock(NOW), 0)
    await actions(spool, OK, NEVER).carry_out(judged(), Policy())
    (bounce,) = spool.entries("incoming")
    assert (bounce.envelope.mail_from, bounce.envelope.recipients) == ("", ("anna@example.com",))
    spool.close()


async def test_accepted_in_two_ways_is_accepted_and_nothing_is_queued(tmp_path: Path) -> None:
    spool = Spool(tmp_path, VirtualClock(NOW), 0)
    outcome = await actions(spool, OK, ALSO_OK).carry_out(judged(), Policy())
    assert (outcome.reply.code, outcome.state) == (250, "")
    assert list(spool.entries("incoming")) == []
    spool.close()


async def test_the_part_that_must_wait_is_kept_even_if_the_disk_is_nearly_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path, VirtualClock(NOW), 1 << 60)
    outcome = await actions(spool, OK, LATER).carry_out(judged(), Policy())
    assert (outcome.reply.code, outcome.state) == (250, "queued")
    (kept,) = spool.entries("incoming")
    # What was answered is known before the queue tries for the first time.
    assert last_reply(kept, Progress(), "c@example.net") == LATER
    assert (await actions(spool, LATER, NEVER).carry_out(judged(), Policy())).reply.code == 452
    spool.close()


@pytest.mark.parametrize(
    ("replies", "queued", "bounced"),
    [
        ((LISTED, LISTED), ("b@example.net", "c@example.net"), False),
        ((LISTED, OK), ("b@example.net",), False),
        ((LISTED, LATER), ("b@example.net", "c@example.net"), False),
        ((NEVER, LISTED), ("c@example.net",), True),
    ],
)
async def test_those_for_whom_our_address_is_refused_are_queued(
    tmp_path: Path, replies: tuple[Reply, Reply], queued: tuple[str, ...], bounced: bool
) -> None:
    spool = Spool(tmp_path, VirtualClock(NOW), 0)
    judgement = judged()
    outcome = await actions(spool, *replies).carry_out(judgement, Policy())
    assert (outcome.reply, outcome.state) == (queued_as(judgement.submission.id), "queued")
    entries = {entry.code: entry for entry in spool.entries("incoming")}
    assert sorted(entries) == (["bounce", "clean"] if bounced else ["clean"])
    assert entries["clean"].envelope.recipients == queued
    assert ("our_address", replies.count(LISTED)) in outcomes_of(outcome.answers)
    spool.close()


async def test_an_ordinary_answer_for_now_is_passed_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path, VirtualClock(NOW), 0)
    outcome = await actions(spool, LATER, LATER).carry_out(judged(), Policy())
    assert (outcome.reply.code, outcome.reply.enhanced, outcome.state) == (451, "4.3.0", "")
    assert list(spool.entries("incoming")) == []
    spool.close()


async def test_of_a_text_that_is_never_the_same_twice_a_bounded_number_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path, VirtualClock(NOW), 0)
    doing, convicted = actions(spool, OK, OK), Verdict("quarantine", 20.0, "suspended", (), "stolen")
    answers = []
    for number in range(130):
        text = " ".join(chr(97 + (number + n * 7) % 26) * 9 for n in range(12))
        judgement = judged(verdict=convicted, text=f"{text} {chr(97 + number % 26) * (20 + number // 26)}")
        submission = judgement.submission
        fields = {f: getattr(submission, f) for f in submission.__struct_fields__} | {"id": f"{number:016d}"}
        again = Judgement(
            Submission(**fields), judgement.message, judgement.sender, judgement.seen, NOTHING, judgement.verdict
        )
        answers.append((await doing.carry_out(again, Policy())).reply.code)
    assert answers.count(250) <= Policy().quarantine.samples * 5
    assert answers[-1] == 550
    spool.close()


async def test_an_ipv6_client_is_written_as_the_standard_has_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, VirtualClock(NOW), 0)
    held = Verdict("hold", 7.0, "recipients", (), "why", wait=60.0)
    await actions(spool, OK, OK).carry_out(judged(verdict=held), Policy())
    (kept,) = spool.entries("held")
    assert b"from pc ([IPv6:2001:db8::7])" in await spool.content(kept.id)
    spool.close()


def on_list(*addresses: str) -> Callable[[str, str, str], Reply | None]:
    return lambda account, to, id_: suppressed("unknown_user", id_) if to in addresses else None


def refusing(spool: Spool, hop: NextHop, *addresses: str, observe: bool = False) -> Actions:
    return Actions(
        hop,  # type: ignore[arg-type]  # It has the one method that is used.
        spool,
        Tokens(b"x" * 32),
        hostname="guard.example.net",
        to_strip=lambda headers: (),
        observe=observe,
        suppressed=on_list(*addresses),
    )


@pytest.mark.parametrize("action", ["relay", "hold"])
async def test_who_is_written_to_only_on_the_list_is_refused(tmp_path: Path, action: str) -> None:
    spool = Spool(tmp_path, VirtualClock(NOW), 0)
    hop = NextHop()
    one = refusing(spool, hop, "b@example.net", "c@example.net")
    outcome = await one.carry_out(judged(verdict=Verdict(action, 0.0, "x", (), wait=60.0)), Policy())
    assert str(outcome.reply).startswith("550 5.1.1 OG-SUPPRESSED")
    assert (outcome.state, outcome.answers, hop.sent) == ("", (), [])
    # What a verdict says beyond that stays: a message that is not let in now is deferred all the same.
    outcome = await one.carry_out(judged(verdict=Verdict("defer", 0.0, "limit", (), wait=60.0)), Policy())
    assert outcome.reply.code == 451
    assert await spool.counts() == dict.fromkeys(await spool.counts(), 0)
    spool.close()


async def test_some_on_the_list_are_returned_and_the_others_sent(tmp_path: Path) -> None:
    spool = Spool(tmp_path, VirtualClock(NOW), 0)
    hop = NextHop(OK)
    outcome = await refusing(spool, hop, "b@example.net").carry_out(judged(), Policy())
    assert (outcome.reply.code, hop.sent) == (250, [("c@example.net",)])
    (bounce,) = spool.entries("incoming")
    assert bounce.envelope.recipients == ("anna@example.com",)
    assert dict(outcomes_of(outcome.answers)) == {"delivered": 1}
    hop = NextHop(OK, OK)
    assert (await refusing(spool, hop, "b@example.net", observe=True).carry_out(judged(), Policy())).reply.code == 250
    assert hop.sent == [("b@example.net", "c@example.net")]
    spool.close()


async def test_a_full_disk_does_not_double_what_was_relayed(tmp_path: Path) -> None:
    """Success was to be reported, and cannot be: the next hop has the message, so the client must hear 250."""
    spool = Spool(tmp_path, VirtualClock(NOW), 1 << 60)
    asked = judged()
    envelope = Envelope("anna@example.com", ("b@example.net",), asked={"b@example.net": Asked(("SUCCESS",))})
    submission = msgspec.structs.replace(asked.submission, envelope=envelope)
    asked = msgspec.structs.replace(asked, submission=submission)
    hop = NextHop(OK, relayed=(0,))
    assert (await refusing(spool, hop).carry_out(asked, Policy())).reply.code == 250
    assert list(spool.entries("incoming")) == []
    spool.close()
    roomy = Spool(tmp_path, VirtualClock(NOW), 0)
    assert (await refusing(roomy, hop).carry_out(asked, Policy())).reply.code == 250
    (report,) = roomy.entries("incoming")
    assert (report.code, report.meta["report"], report.envelope.mail_from) == ("bounce", "relayed", "")
    roomy.close()
