"""Control panels are told of suspensions through the outbox: against servers that answer as theirs do, and fail."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config
from outbound_guard.config.notices import Notices
from outbound_guard.config.panels import Panel as Settings
from outbound_guard.desk import panels as desk
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger import outbox_queries
from outbound_guard.ledger.audit_queries import Search, search
from outbound_guard.ledger.database import LedgerError
from outbound_guard.ledger.records import AccountEntry, Audit, Decision, Notice, Standing
from outbound_guard.notify.letter import Answer, Letter
from outbound_guard.notify.panels import carrier
from outbound_guard.notify.panels.calls import LOCKED_OUT, Call
from outbound_guard.notify.panels.carrier import subjects_of
from outbound_guard.notify.panels.reach import Asking, Reach
from outbound_guard.notify.routes import Route
from outbound_guard.notify.sender import LONGEST_TRY, Sender
from tests.panels import TOKEN, Panel, panel
from tests.records import Books, books, decision

NOW = 1_764_000_000.0
ANNA = "anna@shop.example"
LONG = pytest.mark.long
KINDS = ("cpanel", "plesk", "directadmin")
SUSPENDED = {
    "cpanel": f"suspend_outgoing {ANNA}",
    "plesk": f"mail -outgoing-messages-mbox-limit 0 {ANNA}",
    "directadmin": f"suspend {ANNA}",
}
RELEASED = {
    "cpanel": f"unsuspend_outgoing {ANNA}",
    "plesk": f"mail -outgoing-messages-mbox-limit default {ANNA}",
    "directadmin": f"unsuspend {ANNA}",
}


class House:
    """Books, a clock, a panel, and a sender whose only route it is."""

    def __init__(self, opened: Books, clock: VirtualClock, server: Panel, folder: Path, more: dict[str, Any]) -> None:
        self.books, self.clock, self.server = opened, clock, server
        self.token = folder / "token"
        self.token.write_text(f"{TOKEN}\n")
        fields = {
            "name": "web1",
            "kind": server.kind,
            "url": f"http://127.0.0.1:{server.port}",
            "token_file": "token",
            "user": "admin" if server.kind == "directadmin" else "root",
            "whole_accounts": server.kind != "directadmin",
            "mode": "act",
            "allow_private": True,
            "timeout": 5.0,
        }
        tls = more.pop("tls", None) or ssl.create_default_context()
        self.settings = Settings(**fields | more)
        self.reach = Reach(panel=self.settings, token_file=self.token, tls=tls, resolve=self.resolve)
        place = carrier.Place(reach=self.reach, ledger=opened.ledger, note=self.note)
        self.route = Route(
            name="web1",
            carry=functools.partial(carrier.carry, place),
            kinds=carrier.KINDS,
            accounts=self.settings.accounts,
        )
        self.sender = Sender(
            opened.ledger,
            opened.ledger,
            [self.route],
            clock,
            Notices(retry=(10, 60), failures=3, pause=300),
            jitter=lambda: 0.5,
        )

    async def resolve(self, host: str) -> Sequence[str]:
        return ["127.0.0.1"] if host == "panel.test" else []

    def note(self, entry: Audit) -> None:
        self.books.keep(entry)

    def audit(self) -> list[tuple[str, str, str, str]]:
        """Who, what, whom and the detail, oldest first."""
        found = search(self.books.ledger, Search(what="panel.*")).entries
        return [(one.by, one.what, one.subject, one.detail) for one in reversed(found)]

    def decide(self, change: str, subject: str = ANNA, scope: str = "sender", **more: Any) -> None:
        """A person suspends, or resumes."""
        account = subject if scope == "account" else subject.partition("@")[2]
        fields = {"time": self.clock.now(), "scope": scope, "subject": subject, "change": change, "account": account}
        self.books.keep(Standing(**fields | {"by": "console:ann"} | more))

    async def work(self) -> outbox_queries.Sending:
        """One look at the outbox; the newest sending after it."""
        await self.sender.once()
        await self.sender.settled()
        return outbox_queries.listing(self.books.ledger)[0]

    async def later(self, seconds: float = 61.0) -> outbox_queries.Sending:
        """The same after a while."""
        self.clock.set(self.clock.now() + seconds)
        return await self.work()

    def told(self) -> dict[str, tuple[str, str]]:
        """State and answer by kind of notice."""
        rows = reversed(outbox_queries.listing(self.books.ledger))
        return {row.notice.kind: (row.state, row.answer) for row in rows}


@asynccontextmanager
async def house_of(tmp_path: Path, kind: str, **more: Any) -> AsyncIterator[House]:
    clock = VirtualClock(NOW)
    async with panel(kind) as server:
        with books(tmp_path, clock) as opened:
            opened.scribe.once()
            house = House(opened, clock, server, tmp_path, more)
            try:
                yield house
            finally:
                await house.sender.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_mailbox_is_stopped_and_let_go_again(tmp_path: Path, kind: str) -> None:
    async with house_of(tmp_path, kind) as house:
        house.decide("suspended")
        assert (await house.work()).state == "sent"
        assert house.server.stopped == {ANNA}
        await house.later()
        house.decide("resumed")
        assert (await house.work()).state == "sent"
        await house.later()
        assert house.server.stopped == set()
        assert house.server.effects == [SUSPENDED[kind], RELEASED[kind]]
        [stopped, let_go] = house.audit()
        assert (stopped[:3], let_go[:3]) == (("system", "panel.stopped", ANNA), ("system", "panel.let_go", ANNA))
        for entry in (stopped, let_go):
            assert entry[3].startswith(f"web1: {'GET' if kind == 'cpanel' else 'POST'} http://127.0.0.1:")
            assert ": OK" in entry[3]
            assert "***" in entry[3]
            assert TOKEN not in entry[3]


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "stop", "account", "effects"),
    [
        ("cpanel", "suspend", "shop.example", ["suspend_outgoing_email web12", "unsuspend_outgoing_email web12"]),
        ("cpanel", "hold", "shop.example", ["hold_outgoing_email web12", "release_outgoing_email web12"]),
        ("cpanel", "suspend", "relay-web1/uid1013", ["suspend_outgoing_email web13", "unsuspend_outgoing_email web13"]),
        ("cpanel", "suspend", "relay-web1/web13", ["suspend_outgoing_email web13", "unsuspend_outgoing_email web13"]),
        ("cpanel", "suspend", "customer-7", ["suspend_outgoing_email web13", "unsuspend_outgoing_email web13"]),
        (
            "plesk",
            "suspend",
            "shop.example",
            [f"site -outgoing-messages-domain-limit {limit} shop.example" for limit in ("0", "default")],
        ),
    ],
)
async def test_an_account_is_stopped_and_let_go_again(
    tmp_path: Path, kind: str, stop: str, account: str, effects: list[str]
) -> None:
    async with house_of(tmp_path, kind, stop=stop) as house:
        house.books.keep(AccountEntry(time=NOW - 9, account="customer-7", senders=("*@other.example", "x@y.example")))
        house.decide("suspended", account, "account")
        await house.work()
        house.clock.set(NOW + 1)
        house.decide("resumed", account, "account")
        await house.work()
        assert house.server.effects == effects


@pytest.mark.long
async def test_a_mailbox_can_be_held(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel", stop="hold") as house:
        house.decide("suspended")
        await house.work()
        assert house.server.held == {ANNA}
        house.clock.set(NOW + 1)
        house.decide("resumed")
        await house.work()
        assert house.server.effects == [f"hold_outgoing {ANNA}", f"release_outgoing {ANNA}"]


ANSWERS = {
    "500": "answered 500: something is wrong here",
    "429": "answered 429: something is wrong here",
    "302": "a redirect, which is not followed",
    "html": "answered with a page for people: It works!",
    "lost": "",
    "hang": "no answer within 5 s",
}


@pytest.mark.long
@pytest.mark.parametrize("how", ANSWERS)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_fails_is_tried_again_and_has_one_effect(tmp_path: Path, kind: str, how: str) -> None:
    more = {"timeout": 0.2} if how == "hang" else {}
    async with house_of(tmp_path, kind, **more) as house:
        house.server.answers = [how, "ok"]
        house.decide("suspended")
        sending = await house.work()
        assert (sending.state, sending.attempts) == ("waiting", 1)
        expected = ANSWERS[how].replace("5 s", "0.2 s")
        assert expected in sending.answer
        assert (await house.later()).state == "sent"
        assert house.server.stopped == {ANNA}
        # Plesk cannot say what is set: its call is one that may be made twice.
        assert house.server.effects == [SUSPENDED[kind]] * (2 if (kind, how) == ("plesk", "lost") else 1)
        assert [entry[1] for entry in house.audit()] == ["panel.failed", "panel.stopped"]
        house.clock.set(house.clock.now() + 1)
        house.decide("resumed")
        await house.work()
        assert house.server.stopped == set()


@pytest.mark.long
@pytest.mark.parametrize("how", ["garbage", "list"])
@pytest.mark.parametrize("kind", ["cpanel", "plesk"])
async def test_an_answer_of_another_shape_is_none(tmp_path: Path, kind: str, how: str) -> None:
    async with house_of(tmp_path, kind) as house:
        house.server.answers, house.server.ask_too = [how], True
        house.decide("suspended")
        assert (await house.work()).state == "waiting"


@pytest.mark.parametrize("kind", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.long) for kind in KINDS[1:])])
async def test_with_a_wrong_token_the_panel_is_left_alone(tmp_path: Path, kind: str) -> None:
    async with house_of(tmp_path, kind) as house:
        house.server.token = "another"
        house.decide("suspended")
        sending = await house.work()
        assert sending.state == "waiting"
        assert TOKEN not in sending.answer
        asked = len(house.server.requests)
        # Neither this one nor others are tried: panels lock out addresses that guess.
        house.decide("suspended", "eve@shop.example")
        await house.later(900)
        assert len(house.server.requests) == asked
        house.server.token = TOKEN
        await house.later(LOCKED_OUT)
        assert house.server.stopped == {ANNA, "eve@shop.example"}


@pytest.mark.long
async def test_a_new_token_is_tried_at_once(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel") as house:
        house.server.token = "NEW-token"
        house.decide("suspended")
        await house.work()
        house.token.write_text("NEW-token\n")
        house.decide("suspended", "eve@shop.example")
        await house.later(1)
        assert house.server.stopped == {"eve@shop.example"}
        house.token.unlink()
        assert (
            "its token cannot be read: No such file" in (await house.later(LOCKED_OUT)).answer or house.server.stopped
        )


@pytest.mark.long
@pytest.mark.parametrize(("kind", "reason"), [("cpanel", "no such domain"), ("plesk", "does not exist"), ("directadmin", "it has no domain")])  # fmt: skip  # noqa: E501
async def test_a_panel_that_does_not_have_it_is_done_with(tmp_path: Path, kind: str, reason: str) -> None:
    async with house_of(tmp_path, kind) as house:
        house.decide("suspended", "anna@elsewhere.example")
        sending = await house.work()
        assert sending.state == "left_out"
        assert reason in sending.answer
        house.decide("suspended", "nobody@shop.example")
        assert (await house.work()).state == "left_out"
        assert house.server.effects == []


@pytest.mark.long
async def test_a_panel_that_says_no_is_believed_in_the_end(tmp_path: Path) -> None:
    async with house_of(tmp_path, "plesk") as house:
        house.server.answers = ["400"]
        house.decide("suspended")
        for attempt in range(1, carrier.TRIES + 1):
            sending = await house.later(400)
            assert sending.attempts == attempt
        assert (sending.state, sending.answer) == ("failed", "answered 400: something is wrong here")
        assert [entry[1] for entry in house.audit()] == ["panel.failed", "panel.failed"]


async def test_a_directadmin_that_does_not_know_suspending_deletes_nothing(tmp_path: Path) -> None:
    async with house_of(tmp_path, "directadmin") as house:
        house.server.knows = False
        house.decide("suspended")
        assert "nothing was sent" in (await house.work()).answer
        assert house.server.changing == []
        assert house.server.deleted == set()


@pytest.mark.long
async def test_a_cpanel_that_does_not_say_what_is_stopped_is_told_all_the_same(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel") as house:
        house.server.knows = False
        house.decide("suspended")
        await house.work()
        assert house.server.stopped == {ANNA}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["cpanel", "directadmin"])
async def test_what_somebody_else_has_stopped_stays_so(tmp_path: Path, kind: str) -> None:
    async with house_of(tmp_path, kind) as house:
        house.server.stopped.add(ANNA)
        house.decide("suspended")
        sending = await house.work()
        assert (sending.state, "was so already" in sending.answer) == ("left_out", True)
        house.clock.set(NOW + 1)
        house.decide("resumed")
        assert (await house.work()).answer == "it was not stopped there by us"
        assert house.server.effects == []
        assert house.server.stopped == {ANNA}


@pytest.mark.long
async def test_a_late_suspension_never_comes_after_its_end(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel") as house:
        house.server.answers = ["500", "500", "ok"]
        house.decide("suspended")
        await house.work()
        house.clock.set(NOW + 1)
        house.decide("resumed")
        # It might have been done: letting go is tried until it is sure.
        await house.work()
        for _ in range(5):
            await house.later(70)
        assert house.told()["suspended"] == ("left_out", "that has changed since")
        assert house.told()["resumed"][0] == "sent"
        assert house.server.stopped == set()


async def test_a_lost_answer_is_undone_as_well(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel") as house:
        house.server.answers = ["lost", "ok"]
        house.decide("suspended")
        await house.work()
        assert house.server.stopped == {ANNA}
        house.clock.set(NOW + 1)
        house.decide("resumed")
        await house.work()
        assert house.server.stopped == set()


@pytest.mark.long
async def test_a_kill_in_the_middle_has_no_second_effect(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel") as house:
        house.decide("suspended")
        [row] = await _routed(house)
        # It was sent, and what came of it was not written down.
        asking = Asking(house.reach, dry=False)
        await asking.change(subjects_of("sender", ANNA, ())[0], stop=True)
        assert row.state == "waiting"
        await house.later(LONGEST_TRY + 1)
        assert house.server.effects == [SUSPENDED["cpanel"]]


async def _routed(house: House) -> list[outbox_queries.Sending]:
    house.server.answers = ["500", "ok"]
    await house.work()
    return outbox_queries.listing(house.books.ledger)


@pytest.mark.long
async def test_the_audit_knows_what_the_outbox_has_forgotten(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel") as house:
        house.books.keep(
            Audit(time=NOW - 1e7, by="system", what="panel.stopped", subject=ANNA, detail="web1: suspend: OK")
        )
        house.books.keep(Audit(time=NOW - 1e7, by="system", what="panel.stopped", subject="eve@shop.example", detail="web2: OK"))  # fmt: skip  # noqa: E501
        house.server.stopped.update((ANNA, "eve@shop.example"))
        for subject in (ANNA, "eve@shop.example"):
            house.decide("suspended", subject, time=NOW - 1e7)
        house.server.requests.clear()
        for row in outbox_queries.listing(house.books.ledger):
            assert row.state == "waiting"
        _forget(house)
        house.decide("resumed", ANNA)
        house.decide("resumed", "eve@shop.example")
        await house.work()
        assert house.server.stopped == {"eve@shop.example"}


def _forget(house: House) -> None:
    """As retention does with what was told long ago."""
    from sqlalchemy import delete

    from outbound_guard.ledger.tables import outbox

    with house.books.ledger.connection() as connection:
        connection.execute(delete(outbox))


async def test_a_dry_run_asks_and_changes_nothing(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel", mode="dry_run") as house:
        house.decide("suspended")
        sending = await house.work()
        url = f"http://127.0.0.1:{house.server.port}/json-api/uapi_cpanel?api.version=1&cpanel.user=web12"
        call = f"GET {url}&cpanel.module=Email&cpanel.function=suspend_outgoing&email=anna%40shop.example"
        assert sending.answer == f"dry run, nothing was changed: {call} [Authorization: whm root:***]"
        assert sending.state == "left_out"
        assert house.server.changing == []
        assert house.audit() == [("system", "panel.dry_run", ANNA, f"web1: {sending.answer}")]
        house.clock.set(NOW + 1)
        house.decide("resumed")
        await house.work()
        assert house.server.changing == []


@pytest.mark.long
async def test_when_asked_for_a_person_decides(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel", mode="ask") as house:
        house.decide("suspended")
        assert (await house.work()).answer == "a person decides about it (mode = ask)"
        assert house.server.requests == []
        order = Notice(key="o1", time=NOW, kind="suspended", account="shop.example", sender=ANNA, to="web1")
        house.books.keep(_ordered(order, "console:ann"))
        assert (await house.work()).state == "sent"
        assert house.audit()[-1][:3] == ("console:ann", "panel.stopped", ANNA)
        house.clock.set(NOW + 1)
        house.decide("resumed")
        await house.work()
        assert house.server.stopped == set()


def _ordered(notice: Notice, by: str) -> Notice:
    return msgspec.structs.replace(notice, data={"ordered": by, "scope": "sender"})


@pytest.mark.long
async def test_it_is_told_of_its_accounts_and_servers_only(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel", accounts=("shop.*",), servers=("relay-web1",)) as house:
        house.books.keep(decision("m1", sender=ANNA, account="shop.example", server="relay-web2", received=NOW - 9))
        house.decide("suspended", "carl@other.example")
        house.decide("suspended", "eve@shop.example")
        assert (await house.work()).answer == "it is not known by which server its mail came in"
        house.decide("suspended")
        assert (await house.work()).answer == "its mail came in by relay-web2"
        assert len(outbox_queries.listing(house.books.ledger)) == 2
        house.books.keep(decision("m2", sender=ANNA, account="shop.example", server="relay-web1", received=NOW - 8))
        house.clock.set(NOW + 1)
        house.decide("resumed")
        house.clock.set(NOW + 2)
        house.decide("suspended")
        await house.work()
        assert house.server.stopped == {ANNA}


def seen(id_: str, kind: str = "mailbox", source: str = "sasl", *, ago: float = 0.0) -> Decision:
    """Mail of Anna's, or what somebody says is hers."""
    more = {"sender_kind": kind, "source": source, "server": "relay-web1"}
    return decision(id_, sender=ANNA, account="shop.example", received=NOW - ago, **more)


@pytest.mark.parametrize(
    ("mail", "told"),
    [
        ([seen("m1")], True),
        pytest.param([seen("m1"), seen("m2", "address", "mail_from", ago=2 * carrier.PROOF)], True, marks=LONG),
        ([seen("m1", "address", "mail_from")], False),
        # Forged mail has raised the score, and her own was there when it was too high.
        ([seen("m1"), seen("m2", "address", "mail_from", ago=60)], False),
        pytest.param([seen("m1", "mailbox", "mail_from")], False, marks=LONG),
        pytest.param([], False, marks=LONG),
    ],
)
async def test_a_forged_envelope_sender_stops_nobody_s_mailbox(
    tmp_path: Path, mail: list[Decision], told: bool
) -> None:
    async with house_of(tmp_path, "cpanel") as house:
        house.books.keep(*mail)
        house.decide("suspended", by="system")
        row = await house.work()
        assert house.server.stopped == ({ANNA} if told else set())
        assert row.state == ("sent" if told else "left_out")
        assert ("was not proven to be its own" in row.answer) is not told


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_user_of_another_server_is_not_stopped(tmp_path: Path, ordered: bool) -> None:
    async with house_of(tmp_path, "cpanel", servers=("relay-web1",)) as house:
        for account in ("relay-web9/uid1013", "relay-web1/uid1013"):
            house.books.keep(decision(account, sender=account, account=account, server="relay-web1", received=NOW - 9))
            if ordered:
                house.books.keep(
                    Notice(
                        key=account,
                        time=NOW,
                        kind="suspended",
                        account=account,
                        data={"ordered": "console:ann", "scope": "account"},
                        to="web1",
                    )
                )
            else:
                house.decide("suspended", account, "account")
        await house.work()
        answers = {row.notice.account: row.answer for row in outbox_queries.listing(house.books.ledger)}
        assert answers["relay-web9/uid1013"] == "it is an account of the server relay-web9"
        assert house.server.effects == ["suspend_outgoing_email web13"]


async def test_an_order_without_names_goes_to_the_panels_of_the_server(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel", servers=("relay-web1",)) as house:
        web2 = msgspec.structs.replace(house.settings, name="web2", servers=("relay-web2",))
        config, ledger = Config(panel=(house.settings, web2)), house.books.ledger
        house.books.keep(decision("m1", sender=ANNA, account="shop.example", server="relay-web1", received=NOW - 9))

        async def told(scope: str, subject: str, names: Sequence[str] = ()) -> list[str]:
            return [panel.name for panel in await desk.for_order(ledger, config, scope, subject, "", names)]

        assert await told("sender", ANNA) == ["web1"]
        assert await told("account", "relay-web2/uid1012") == ["web2"]
        assert await told("account", "relay-web9/uid1012") == []
        assert await told("sender", "eve@shop.example") == []
        assert await told("sender", "eve@shop.example", ["web2"]) == ["web2"]
        # What was stopped is let go, even when it is not known any more by which server the mail came in.
        house.decide("suspended")
        await house.work()
        house.books.sql("DELETE FROM decision")
        assert await told("sender", ANNA) == ["web1"]
        journal, clock = house.books.journal, house.clock
        with pytest.raises(DeskError, match="no control panel"):
            await desk.order(ledger, journal, clock, config, "suspend", "account", "relay-web9/uid1012", by="ann")


@pytest.mark.long
@pytest.mark.parametrize(
    "subject", ["relay-web1/web12:mailer.php", "relay-web1/web12", "192.0.2.1", "relay-web1/disputed"]
)
async def test_a_script_does_not_stop_its_neighbours(tmp_path: Path, subject: str) -> None:
    async with house_of(tmp_path, "cpanel") as house:
        house.decide("suspended", subject)
        assert "not a single script or program" in (await house.work()).answer
        assert house.server.requests == []


@pytest.mark.long
async def test_directadmin_is_not_told_of_accounts(tmp_path: Path) -> None:
    async with house_of(tmp_path, "directadmin") as house:
        house.decide("suspended", "shop.example", "account")
        assert "mailboxes only" in (await house.work()).answer
        assert house.server.requests == []


@pytest.mark.long
async def test_its_certificate_is_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("panel.test").configure_cert(served)
    ours, clock = ssl.create_default_context(), VirtualClock(NOW)
    async with panel("cpanel", tls=served) as server:
        with books(tmp_path, clock) as opened:
            opened.scribe.once()
            url = f"https://panel.test:{server.port}"
            house = House(opened, clock, server, tmp_path, {"url": url, "tls": ours})
            house.decide("suspended")
            assert "certificate is not trusted" in (await house.work()).answer
            assert server.requests == []
            authority.configure_trust(ours)
            assert (await house.later()).state == "sent"
            await house.sender.close()


@pytest.mark.long
async def test_a_panel_in_a_private_network_must_be_allowed(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel", allow_private=False) as house:
        house.decide("suspended")
        assert (await house.work()).answer == "it leads to no address of the internet"
        assert house.server.requests == []


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_hostile_in_a_name_stays_a_value(tmp_path: Path, kind: str) -> None:
    async with house_of(tmp_path, kind) as house:
        for name in ("a&user=root@shop.example", "--help@shop.example", "a%26b@shop.example", "x=1#@shop.example"):
            house.decide("suspended", name)
            await house.work()
        assert house.server.effects == []
        assert all(" HTTP/1.1" in one.line and one.line.count(" ") == 2 for one in house.server.requests)
        assert not [one for one in house.server.requests if one.query.get("user") == "root"]


def test_no_secret_is_shown() -> None:
    settings = Settings(name="x", kind="directadmin", url="https://da.test:2222/", token_file="t", user="admin")
    reach = Reach(panel=settings, token_file=Path("t"), tls=ssl.create_default_context(), resolve=_nowhere)
    call = Call(path="/CMD_API_POP", form={"action": "delete", "suspend": "Suspend"}, behalf="web12")
    assert Asking(reach, dry=True).described(call) == (
        "POST https://da.test:2222/CMD_API_POP action=delete&suspend=Suspend [Authorization: Basic admin|web12:***]"
    )


async def _nowhere(host: str) -> Sequence[str]:
    return []


async def _killed_at_the_first_try(house: House) -> None:
    """The panel has done it, and nobody has written down what it answered."""
    house.decide("suspended")

    async def killed(letter: Letter) -> Answer:
        await house.route.carry(letter)
        raise LedgerError("killed")

    house.sender.routes["web1"] = msgspec.structs.replace(house.route, carry=killed)
    row = await house.work()
    house.sender.routes["web1"] = house.route
    assert (row.state, row.attempts, bool(row.letter), house.server.stopped) == ("waiting", 0, True, {ANNA})


@pytest.mark.parametrize("again", ["tried again", "not tried again", "over before"])
async def test_what_was_done_at_a_try_that_was_killed_is_undone_as_well(tmp_path: Path, again: str) -> None:
    async with house_of(tmp_path, "cpanel") as house:
        await _killed_at_the_first_try(house)
        if again == "tried again":
            assert (await house.later(LONGEST_TRY + 1)).state == "sent"
            assert house.server.effects == [SUSPENDED["cpanel"]]
        house.clock.set(house.clock.now() + 1)
        house.decide("resumed")
        if again == "over before":
            # The suspension's own row is looked at first, and is of no use any more.
            house.clock.set(house.clock.now() + LONGEST_TRY + 1)
        await house.work()
        await house.later(LONGEST_TRY + 1)
        assert house.told()["suspended"][0] == ("sent" if again == "tried again" else "left_out")
        assert house.told()["resumed"][0] == "sent"
        assert house.server.stopped == set()


async def test_what_was_left_out_does_not_hide_what_the_audit_knows(tmp_path: Path) -> None:
    async with house_of(tmp_path, "cpanel") as house:
        # The outbox has forgotten the stop; a later one of the same mailbox was so already.
        house.books.keep(Audit(time=NOW - 1e7, by="system", what="panel.stopped", subject=ANNA, detail="web1: OK"))
        house.server.stopped.add(ANNA)
        house.decide("suspended")
        assert (await house.work()).state == "left_out"
        house.clock.set(NOW + 1)
        house.decide("resumed")
        await house.work()
        assert house.server.stopped == set()
