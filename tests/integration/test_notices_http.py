"""Notices by HTTP against a receiver that fails in all ways, with a ledger, and a clock that the tests set."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from outbound_guard.app.child import Child
from outbound_guard.app.notices import send_notices
from outbound_guard.app.parts import Parts
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config
from outbound_guard.config.notices import NoticeRoute, Notices
from outbound_guard.config.settings import Server
from outbound_guard.ledger import outbox_queries, outbox_sending
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.outbox_records import KINDS
from outbound_guard.ledger.records import Notice, NoticeAct, Standing
from outbound_guard.notify import webhook
from outbound_guard.notify.routes import Route, route_of
from outbound_guard.notify.sender import LONGEST_TRY, Sender
from tests.live_edge import until
from tests.receiver import Receiver, receiver
from tests.records import Books, books, decision

NOW = 1_764_000_000.0
KEY = "0123456789abcdef"


@functools.cache
def trusting() -> ssl.SSLContext:
    """What the system trusts; to read that takes longer than most of these tests."""
    return ssl.create_default_context()


class House:
    """Books, a clock, and a sender whose resolver is a table."""

    def __init__(self, opened: Books, clock: VirtualClock, folder: Path) -> None:
        self.books, self.clock, self.folder = opened, clock, folder
        self.names: dict[str, list[Sequence[str]]] = {}
        """What a name leads to, look-up for look-up; the last answer for ever."""
        self.told: list[tuple[str, str, int]] = []
        self.routes: list[Route] = []
        self.tls = trusting()
        self.settings = Notices(retry=(10, 60), expiry=1000, failures=3, pause=300)
        self.may = True
        self.reader = Ledger(opened.url)

    def by(self, url: str, **more: Any) -> Route:
        """Add a route by HTTP."""
        settings = NoticeRoute(**{"name": "hook", "carrier": "webhook", "url": url, "timeout": 30.0} | more)
        place = webhook.Place(
            settings=settings,
            host="guard.test",
            organisation="Example Hosting",
            template=self.folder / settings.template if settings.template else None,
            secret=self.folder / settings.secret_file if settings.secret_file else None,
            authorization=self.folder / settings.authorization_file if settings.authorization_file else None,
        )
        carry = functools.partial(webhook.carry, place, self.reader, self.tls, self.resolve)
        route = route_of(Config(notices=self.settings), settings, carry, tuple(KINDS))
        self.routes.append(route)
        return route

    def sender(self) -> Sender:
        return Sender(
            self.books.ledger,
            self.reader,
            self.routes,
            self.clock,
            self.settings,
            may_i=lambda: self.may,
            count=lambda *what: self.told.append(what),
            jitter=lambda: 0.5,
        )

    async def resolve(self, host: str) -> Sequence[str]:
        if host not in self.names:
            raise OSError("no such name")
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def work(self, sender: Sender) -> outbox_queries.Sending:
        """One look at the outbox; the newest sending after it."""
        await sender.once()
        await sender.settled()
        return outbox_queries.listing(self.books.ledger)[0]

    def keep(self, *records: Any) -> None:
        self.books.keep(*records)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with its schema, made once: that takes longer than most of these tests."""
    folder = tmp_path_factory.mktemp("empty")
    with books(folder, VirtualClock(NOW)) as opened:
        opened.scribe.once()
    return folder / "ledger.sqlite3"


@pytest.fixture
def house(tmp_path: Path, empty: Path) -> Iterator[House]:
    clock = VirtualClock(NOW)
    shutil.copy(empty, tmp_path)
    with books(tmp_path, clock) as opened:
        (tmp_path / "key").write_text(f"{KEY}\n")
        house = House(opened, clock, tmp_path)
        yield house
        house.reader.close()


@asynccontextmanager
async def hook_of(house: House, **more: Any) -> AsyncIterator[tuple[Receiver, Sender]]:
    async with receiver() as hook:
        house.by(f"http://127.0.0.1:{hook.port}/guard?x=1", allow_private=True, **more)
        sender = house.sender()
        try:
            yield hook, sender
        finally:
            await sender.close()


def suspended(subject: str = "joe@example.org", time: float = NOW, **more: Any) -> Standing:
    fields = {"time": time, "scope": "sender", "subject": subject, "change": "suspended", "account": "example.org"}
    return Standing(**fields | {"reason": "wrote to secret@person.test"} | more)


async def test_a_suspension_is_told_once_and_signed(house: House) -> None:
    async with hook_of(house, secret_file="key") as (hook, sender):
        house.keep(suspended())
        sending = await house.work(sender)
        assert (sending.state, sending.answer, sending.attempts) == ("sent", "answered 200", 1)
        await house.work(sender)
        [request] = hook.requests
    assert request.line == "POST /guard?x=1 HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{hook.port}"
    body = json.loads(request.body)
    assert body == {
        "version": 1,
        "id": sending.letter,
        "kind": "suspended",
        "description": KINDS["suspended"],
        "time": "2025-11-24T16:00:00Z",
        "count": 1,
        "account": "example.org",
        "sender": "joe@example.org",
        "subject": "",
        "host": "guard.test",
        "scope": "sender",
    }
    assert "secret@person.test" not in str(request)
    assert request.headers["x-outbound-guard-notice"] == sending.letter
    assert request.headers["x-outbound-guard-timestamp"] == str(int(NOW))
    assert checked(request.headers, request.body, KEY.encode(), NOW + 100)
    assert not checked(request.headers, request.body + b" ", KEY.encode(), NOW)
    assert not checked(request.headers, request.body, b"another", NOW)
    assert not checked(request.headers, request.body, KEY.encode(), NOW + 1000), "an old one is not taken again"
    assert not checked(request.headers | {"x-outbound-guard-notice": "other"}, request.body, KEY.encode(), NOW)
    assert house.told == [("hook", "sent", 1)]


def checked(headers: dict[str, str], body: bytes, key: bytes, now: float) -> bool:
    """The snippet that docs/notices.md gives to receivers, run as it stands there."""
    text = (Path(__file__).parents[2] / "docs" / "notices.md").read_text()
    snippet = text.partition("```python\n")[2].partition("```")[0]
    made: dict[str, Any] = {}
    exec(snippet, made)  # It is the document that is tested.
    return bool(made["is_genuine"](headers, body, key, now))


async def test_while_a_key_is_changed_both_are_good(house: House) -> None:
    (house.folder / "key").write_text("new-key\nold-key\n")
    async with hook_of(house, secret_file="key") as (hook, sender):
        house.keep(suspended())
        await house.work(sender)
    [request] = hook.requests
    assert checked(request.headers, request.body, b"new-key", NOW)
    assert checked(request.headers, request.body, b"old-key", NOW)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("500", "answered 500"),
        ("302 Location: http://169.254.169.254/latest", "answered 302, a redirect, which is not followed"),
        ("401", "answered 401"),
        ("close", "disconnected"),
        ("torn", "disconnected|complete"),
    ],
)
async def test_what_fails_is_tried_again_with_the_same_id(house: House, answer: str, said: str) -> None:
    async with hook_of(house) as (hook, sender):
        hook.answers = [answer, "200"]
        house.keep(suspended())
        sending = await house.work(sender)
        assert (sending.state, sending.attempts, sending.due) == ("waiting", 1, NOW + 10)
        assert any(word in sending.answer for word in said.split("|")), sending.answer
        house.clock.set(NOW + 9)
        await house.work(sender)
        assert len(hook.requests) == 1, "not before its time"
        house.clock.set(NOW + 10)
        sending = await house.work(sender)
        assert (sending.state, sending.attempts) == ("sent", 2)
        first, second = (json.loads(request.body)["id"] for request in hook.requests)
        assert first == second == sending.letter


@pytest.mark.parametrize("answer", ["hang", "drip"])
async def test_silence_is_waited_for_as_long_as_the_route_says(house: House, answer: str) -> None:
    async with hook_of(house, timeout=0.3) as (hook, sender):
        hook.answers = [answer]
        house.keep(suspended())
        sending = await house.work(sender)
        assert (sending.state, sending.attempts, sending.due) == ("waiting", 1, NOW + 10)
        assert sending.answer == "no answer within 0.3 s"


@pytest.mark.parametrize("answer", ["huge", "cut", "204", "299"])
async def test_what_stands_behind_a_good_head_does_not_matter(house: House, answer: str) -> None:
    async with hook_of(house) as (hook, sender):
        hook.answers = [answer]
        house.keep(suspended())
        assert (await house.work(sender)).state == "sent"


@pytest.mark.parametrize(("value", "wait"), [("700", 700.0), ("Mon, 24 Nov 2025 16:05:00 GMT", 300.0), ("soon", 10.0)])
async def test_who_asks_for_patience_gets_it(house: House, value: str, wait: float) -> None:
    async with hook_of(house) as (hook, sender):
        hook.answers = [f"429 Retry-After: {value}"]
        house.keep(suspended())
        assert (await house.work(sender)).due == NOW + wait


async def test_it_is_given_up_when_its_time_is_up_and_a_person_can_try_again(house: House) -> None:
    async with hook_of(house) as (hook, sender):
        hook.answers = ["503"]
        house.settings = Notices(retry=(600,), expiry=1000, failures=30)
        house.routes.clear()
        house.by(f"http://127.0.0.1:{hook.port}/", allow_private=True)
        sender = house.sender()
        house.keep(suspended())
        dues = [(await house.work(sender)).due]
        for _ in range(2):
            house.clock.set(dues[-1])
            dues.append((await house.work(sender)).due)
        assert dues[:2] == [NOW + 600, NOW + 1000]
        sending = outbox_queries.listing(house.books.ledger)[0]
        assert (sending.state, sending.answer, len(hook.requests)) == ("failed", "answered 503", 3)
        hook.answers = ["200"]
        house.clock.set(NOW + 5000)
        house.keep(NoticeAct(NOW + 5000, "retry", (sending.serial,), "ann"))
        again = await house.work(sender)
        assert (again.state, again.letter) == ("sent", sending.letter)


async def test_an_answer_that_will_not_change_ends_it_after_some_tries(house: House) -> None:
    async with hook_of(house) as (hook, sender):
        hook.answers = ["410"]
        house.settings = Notices(retry=(1,), failures=30)
        house.routes.clear()
        house.by(f"http://127.0.0.1:{hook.port}/", allow_private=True)
        sender = house.sender()
        house.keep(suspended())
        states = []
        for second in range(6):
            house.clock.set(NOW + 2 * second)
            states.append((await house.work(sender)).state)
        assert states == ["waiting"] * 4 + ["failed"] * 2


async def test_one_that_fails_again_and_again_is_left_alone_and_keeps_nobody_else_waiting(house: House) -> None:
    async with hook_of(house) as (hook, _), receiver() as other:
        hook.answers = ["500"]
        house.by(f"http://127.0.0.1:{other.port}/", allow_private=True, name="other")
        sender = house.sender()
        house.keep(*(suspended(f"s{n}@example.org") for n in range(6)))
        await house.work(sender)
        assert len(hook.requests) == 3
        assert len(other.requests) == 6
        house.clock.set(NOW + 299)
        await house.work(sender)
        assert len(hook.requests) == 3
        house.clock.set(NOW + 300)
        await house.work(sender)
        assert len(hook.requests) == 4, "one probe"
        hook.answers = ["200"]
        house.clock.set(NOW + 700)
        await house.work(sender)
        assert len(hook.requests) == 10
        states = outbox_queries.numbers(house.books.ledger)
        assert states == {("hook", "sent"): 6, ("other", "sent"): 6}


async def test_one_that_hangs_keeps_nobody_else_waiting(house: House) -> None:
    async with hook_of(house, timeout=5.0) as (hook, _), receiver() as other:
        hook.answers = ["hang"]
        house.by(f"http://127.0.0.1:{other.port}/", allow_private=True, name="other")
        sender = house.sender()
        house.keep(suspended())
        await sender.once()
        await asyncio.wait_for(hook.got.wait(), 4)
        # That it came is not yet that its answer was noted.
        await until(lambda: outbox_queries.waiting(house.books.ledger, NOW).routes == {"hook": 1})
        assert len(other.requests) == 1
        await sender.close()


async def test_who_dies_between_the_answer_and_the_note_tells_it_twice_with_one_id(house: House) -> None:
    async with hook_of(house) as (hook, _):
        house.keep(suspended())
        carried = house.routes[0].carry

        async def dies(letter: Any) -> Any:
            await carried(letter)
            raise asyncio.CancelledError

        house.routes[0] = msgspec.structs.replace(house.routes[0], carry=dies)
        await house.work(house.sender())
        assert len(hook.requests) == 1
        house.routes[0] = msgspec.structs.replace(house.routes[0], carry=carried)
        house.clock.set(NOW + LONGEST_TRY - 1)
        await house.work(house.sender())
        assert len(hook.requests) == 1, "who may still be at work is not overtaken"
        house.clock.set(NOW + LONGEST_TRY)
        sending = await house.work(house.sender())
        assert sending.state == "sent"
        assert [json.loads(request.body)["id"] for request in hook.requests] == [sending.letter] * 2


@pytest.mark.parametrize("who", ["host", "person"])
async def test_what_another_takes_after_it_was_read_is_not_sent(
    house: House, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """Two hosts work when the lease of one has run out, and a person may give up what is about to be sent."""
    together = outbox_queries.together

    def overtaken(ledger: Ledger, sending: outbox_queries.Sending) -> list[outbox_queries.Sending]:
        found = together(ledger, sending)
        if who == "host":
            outbox_sending.claim(house.books.ledger, [sending.serial], "", "theirs", NOW, NOW + LONGEST_TRY)
        else:
            house.keep(NoticeAct(NOW, "give_up", (sending.serial,)))
        return found

    monkeypatch.setattr(outbox_queries, "together", overtaken)
    async with hook_of(house) as (hook, sender):
        house.keep(suspended())
        sending = await house.work(sender)
        assert hook.requests == []
    assert (sending.letter, sending.state) == (("theirs", "waiting") if who == "host" else ("", "failed"))
    assert house.told == []


async def test_a_host_that_leads_no_longer_sends_no_further_letter_and_tells_no_figures(tmp_path: Path) -> None:
    async with receiver() as hook, contextlib.AsyncExitStack() as stack:
        route = NoticeRoute(
            name="hook", carrier="webhook", url=f"http://127.0.0.1:{hook.port}/", allow_private=True, kinds=("backlog",)
        )
        parts = Parts(Config(server=Server(data_dir=str(tmp_path)), notice=(route,)), Child("console", "", -1), stack)
        leading, rounds = True, []
        parts.every = lambda seconds, work: rounds.append(work)  # type: ignore[method-assign]
        with books(tmp_path, parts.clock) as opened:
            opened.scribe.once()
            opened.keep(*(Notice(f"k{number}", 1.0, "backlog") for number in range(5)))
            sender = send_notices(parts, opened.ledger, lambda: leading and not hook.requests)
            send, measure, _ = rounds
            await send()
            await sender.settled()
            assert len(hook.requests) == 1, "the lead is lost while a letter is under way"
            await send()
            await sender.settled()
            assert len(hook.requests) == 1
            hook.requests.clear()
            await measure()
            assert parts.metrics.value("notices_waiting", "hook") == 4
            assert parts.metrics.value("notices_oldest_age") > 0
            leading = False
            await measure()
            assert parts.metrics.value("notices_waiting", "hook") == 0
            assert parts.metrics.value("notices_oldest_age") == 0
            await stack.aclose()


async def test_only_one_of_several_machines_sends(house: House) -> None:
    async with hook_of(house) as (hook, sender):
        house.keep(suspended())
        house.may = False
        await sender.once()
        await sender.settled()
        assert hook.requests == []
        house.may = True
        await house.work(sender)
        assert len(hook.requests) == 1


INWARD = (
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1%25lo]/",
    "https://[fd00::1]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://10.0.0.1/",
    "https://100.64.0.1/",
    "https://0.0.0.0/",
    "https://[::]/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://0177.0.0.1/",
    "https://name.of.loopback/",
    "https://name.of.metadata/",
    "https://name.of.six/",
    "https://name.of.mapped/",
    "https://nobody.knows/",
)


async def test_addresses_that_are_not_of_the_internet_are_not_spoken_to(house: House) -> None:
    house.names = {
        "name.of.loopback": [["127.0.0.1", "127.0.0.2"]],
        "name.of.metadata": [["169.254.169.254"]],
        "name.of.six": [["::1"]],
        "name.of.mapped": [["::ffff:127.0.0.1"]],
        "nobody.knows": [[]],
        # What the C library would make of the numbers.
        **{host: [["127.0.0.1"]] for host in ("2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1")},
    }
    async with receiver() as hook:
        for number, url in enumerate(INWARD):
            host = url.removeprefix("https://").partition("/")[0]
            house.by(f"https://{host}:{hook.port}/", name=str(number))
        house.keep(suspended())
        await house.work(house.sender())
        assert hook.connections == 0
    sendings = outbox_queries.listing(house.books.ledger)
    assert len(sendings) == len(INWARD)
    said = {(sending.state, sending.answer) for sending in sendings}
    assert said == {
        ("waiting", "it leads to no address of the internet"),
        ("waiting", "its host is neither a name nor an address"),
        ("waiting", "its host has no address"),
    }


async def test_a_name_that_changes_its_mind_leads_nowhere_else(house: House) -> None:
    """What was looked at is what is spoken to: between the two the name is not asked again."""
    async with receiver() as hook:
        asked = house.names["rebind.test"] = [["192.0.2.1"], ["203.0.113.5", "127.0.0.1"], ["127.0.0.1"]]
        # 203.0.113.0/24 and 192.0.2.0/24 are for documents, and no addresses of the internet either.
        house.by(f"https://rebind.test:{hook.port}/")
        house.keep(suspended())
        sender = house.sender()
        for second in (0, 10, 70, 200):
            house.clock.set(NOW + second)
            assert (await house.work(sender)).answer == "it leads to no address of the internet"
        assert hook.connections == 0
        assert len(asked) == 1


async def test_the_connection_goes_to_the_address_that_was_looked_at(house: House) -> None:
    """`localhost` is what the resolver of the test says, not what this machine would."""
    async with receiver(host="127.0.0.9") as hook:
        house.names["localhost"] = [["127.0.0.9"]]
        house.by(f"http://localhost:{hook.port}/a", allow_private=True)
        house.keep(suspended())
        assert (await house.work(house.sender())).state == "sent"
        [request] = hook.requests
        assert request.headers["host"] == f"localhost:{hook.port}"


async def test_a_certificate_must_be_trusted_and_for_the_name(house: House) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("right.test").configure_cert(context)
    house.names = {"right.test": [["127.0.0.1"]], "wrong.test": [["127.0.0.1"]]}
    async with receiver(tls=context) as hook:
        house.by(f"https://right.test:{hook.port}/", allow_private=True, name="untrusted")
        house.tls = ssl.create_default_context()
        authority.configure_trust(house.tls)
        house.by(f"https://right.test:{hook.port}/", allow_private=True, name="right")
        house.by(f"https://wrong.test:{hook.port}/", allow_private=True, name="wrong")
        house.keep(suspended())
        await house.work(house.sender())
        sendings = {sending.route: sending for sending in outbox_queries.listing(house.books.ledger)}
        assert sendings["right"].state == "sent"
        for name in ("untrusted", "wrong"):
            assert sendings[name].state == "waiting"
            assert "certificate" in sendings[name].answer
        assert len(hook.requests) == 1


async def test_nobody_listens(house: House) -> None:
    async with receiver() as hook:
        port = hook.port
    house.by(f"http://127.0.0.1:{port}/", allow_private=True)
    house.keep(suspended())
    sending = await house.work(house.sender())
    assert sending.state == "waiting"
    assert "refused" in sending.answer.lower() or "connect" in sending.answer.lower()


async def test_the_keys_of_mailchannels(house: House) -> None:
    async with hook_of(house, form="mailchannels") as (hook, sender):
        kept = decision(
            received=NOW - 5,
            source="header:X-AuthUser",
            client_ip="192.0.2.7",
            message_id="<a@b>",
            sender="a@example.org",
        )
        house.keep(kept)
        house.clock.set(NOW + 1)
        await house.work(sender)
        [request] = hook.requests
        house.keep(Notice("case:1", NOW, "case_opened", subject="K1"))
        await house.work(sender)
        assert len(hook.requests) == 1, "it has no condition for it"
    assert json.loads(request.body) == {
        "condition_name": "sender_id_sending_spam",
        "condition_description": "Sender ID is sending SPAM",
        "account_id": "Example Hosting",
        "timestamp": "2025-11-24T15:59:55Z",
        "originator": "a@example.org",
        "originator_type": "x-authuser",
        "sender_id": "Example Hosting|x-authuser|a@example.org",
        "ip": "192.0.2.7",
        "transaction_id": "m1",
        "envelope_sender": "a@example.org",
        "message_id": "<a@b>",
    }


async def test_a_template_and_an_authorization_of_ones_own(house: House) -> None:
    (house.folder / "mine.json").write_text('{"who": "${sender}", "why": "${reason}", "price": "$$5"}')
    (house.folder / "token").write_text("Bearer abc\nanother line\n")
    async with hook_of(house, form="template", template="mine.json", authorization_file="token", details=True) as (
        hook,
        sender,
    ):
        house.keep(suspended('"quo\\te"@example.org', reason='says "no"'))
        await house.work(sender)
        [request] = hook.requests
    assert json.loads(request.body) == {"who": '"quo\\te"@example.org', "why": 'says "no"', "price": "$5"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer abc"


async def test_a_line_for_a_chat_calls_nobody(house: House) -> None:
    async with hook_of(house, carrier="chat") as (hook, sender):
        house.keep(suspended("<!channel>@here\n*x*"))
        await house.work(sender)
        [request] = hook.requests
    text = json.loads(request.body)["text"]
    assert text == f"guard.test: {KINDS['suspended']}: !channel@\u200bhere *x* (account example.org)"


async def test_a_key_that_cannot_be_read_is_no_reason_to_send_unsigned(house: House) -> None:
    async with hook_of(house, secret_file="key") as (hook, sender):
        (house.folder / "key").write_text("\n")
        house.keep(suspended())
        sending = await house.work(sender)
        assert (sending.state, sending.answer) == ("waiting", "a file of the route cannot be used: key is empty")
        assert hook.requests == []


async def test_a_route_that_is_gone_leaves_nothing_waiting(house: House) -> None:
    async with hook_of(house) as (hook, sender):
        hook.answers = ["500"]
        house.keep(suspended())
        await house.work(sender)
        house.routes.clear()
        house.clock.set(NOW + 10)
        sending = await house.work(house.sender())
        assert (sending.state, sending.answer) == ("left_out", "there is no such route any more")
