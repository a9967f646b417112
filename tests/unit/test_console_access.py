"""Users, sessions, tokens and signing in: what holds whoever asks, with a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import argon2
import pyotp
import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Console
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people import passwords
from outbound_guard.desk.people.access import Access
from outbound_guard.desk.people.passwords import Hashing
from outbound_guard.desk.people.sessions import SignedIn
from outbound_guard.desk.people.signin import CodeNeeded, SignInRefused, SignInThrottled
from outbound_guard.desk.people.tokens import NoToken
from outbound_guard.desk.people.users import ROLES, SCOPES, Users
from outbound_guard.ledger import tables, user_queries
from outbound_guard.ledger.records import TokenChange, UserChange
from outbound_guard.ledger.user_storing import token_changes, user_changes
from tests.records import BOTH_LONG, Books, books

LEDGERS = BOTH_LONG

PASSWORD = "correct horse battery staple"
CLIENT = "192.0.2.7"
WEAK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
DAY = 86400.0


class Door:
    """Access over a ledger in a folder; the journal is in the ledger as soon as `settle` returns."""

    def __init__(self, opened: Books, clock: VirtualClock) -> None:
        self.opened, self.clock = opened, clock
        self.counted: list[str] = []
        self.access = Access(
            opened.ledger, opened.ledger, opened.journal, clock, Console(), self.settle, self._count, Hashing(WEAK)
        )

    async def settle(self) -> None:
        self.opened.keep()

    def _count(self, *series: str, by: float = 1) -> None:
        self.counted.append(" ".join(series))

    async def user(self, name: str, role: str = "operator") -> None:
        await self.access.users.add(name, role, PASSWORD, by="test")

    async def come_in(self, name: str, password: str = PASSWORD, client: str = CLIENT, code: str = "") -> SignedIn:
        return await self.access.sign_in.sign_in(name, password, client=client, agent="browser", code=code)

    async def second_factor(self, name: str) -> tuple[pyotp.TOTP, list[str]]:
        begun = await self.access.second_factor.begin(name, by="test")
        totp = pyotp.TOTP(begun.secret)
        codes = await self.access.second_factor.confirm(name, totp.at(self.clock.now()), by="test")
        return totp, codes

    def audit(self) -> list[tuple[str, str, str, str]]:
        self.opened.keep()
        with self.opened.ledger.connection() as connection:
            rows = connection.execute(tables.audit.select().order_by(tables.audit.c.serial))
            return [(row.by, row.what, row.subject, row.detail) for row in rows]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_700_000_000.0)


@pytest.fixture
def door(tmp_path: Path, clock: VirtualClock) -> Iterator[Door]:
    with books(tmp_path, clock) as opened:
        opened.keep()
        made = Door(opened, clock)
        yield made
        made.access.close()


def test_every_scope_belongs_to_a_role() -> None:
    assert frozenset().union(*ROLES.values()) == frozenset(SCOPES)
    # What a tenant sees is no part of what the others see, nor the other way round.
    assert frozenset(SCOPES) - ROLES["admin"] == ROLES["tenant"] == {"own"}
    assert ROLES["viewer"] < ROLES["operator"] < ROLES["admin"]
    assert "content" not in ROLES["viewer"]


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("too short", "at least 12"),
        ("x" * 1025, "at most 1024"),
        ("barbarella12", "is not the name"),
        ("Barbarella-2026!", "is not the name"),
        ("correct\nhorse battery", "can be seen"),
        ("Password12345", "first that are tried"),
        ("aaaaaaaaaaaaaaaa", "a pattern"),
        ("123456789012", "a pattern"),
        ("qwertyuiopqwe", "a pattern"),
    ],
)
def test_passwords_that_are_refused(password: str, why: str) -> None:
    with pytest.raises(DeskError, match=why):
        passwords.check("barbarella", password)


@pytest.mark.parametrize("password", [PASSWORD, "pässwörter sind schön", "bBarbarella rides again", "K8#vq!27LmPz"])
def test_passwords_that_are_taken(password: str) -> None:
    passwords.check("barbarella", password)


@pytest.mark.sqlite
async def test_a_session_from_its_beginning_to_its_end(door: Door) -> None:
    await door.user("ann", "operator")
    begun = await door.come_in(" Ann ")
    acting = await door.access.of_cookie(begun.cookie, CLIENT)
    assert acting is not None
    assert (acting.name, acting.role, acting.by, acting.scopes) == ("ann", "operator", "console:ann", ROLES["operator"])
    assert acting.session == begun.id
    assert len(acting.csrf) >= 32
    assert acting.may("held")
    assert not acting.may("users")
    (session,) = await door.access.sessions.of_user("ann")
    assert (session.client, session.agent, session.id) == (CLIENT, "browser", begun.id)
    await door.access.sessions.end("ann", begun.id, by="console:ann")
    assert await door.access.of_cookie(begun.cookie) is None
    # Nothing that was secret is in the ledger or the journal.
    stored = door.opened.file.read_bytes() + (door.opened.file.parent / "ledger.sqlite3-wal").read_bytes()
    assert PASSWORD.encode() not in stored
    assert begun.cookie.encode() not in stored
    assert b"$argon2id$" in stored


async def test_a_session_ends_when_idle_and_in_any_case(door: Door, clock: VirtualClock) -> None:
    await door.user("ann")
    begun = await door.come_in("ann")
    idle, longest = Console().idle_seconds, Console().session_seconds
    clock.advance(idle - 1)
    assert await door.access.of_cookie(begun.cookie)
    clock.advance(idle - 1)
    # It was in use in between.
    assert await door.access.of_cookie(begun.cookie)
    clock.advance(idle)
    assert await door.access.of_cookie(begun.cookie) is None
    begun, start = await door.come_in("ann"), clock.now()
    while clock.now() + idle / 2 < start + longest:
        clock.advance(idle / 2)
        assert await door.access.of_cookie(begun.cookie)
    clock.set(start + longest)
    assert await door.access.of_cookie(begun.cookie) is None
    await door.access.tidy()
    with door.opened.ledger.connection() as connection:
        assert connection.execute(tables.console_session.select()).all() == []


async def test_that_a_session_is_in_use_is_noted_once_a_minute(door: Door, clock: VirtualClock) -> None:
    await door.user("ann")
    begun = await door.come_in("ann")
    start = clock.now()
    for seconds, seen in ((59.0, start), (60.0, start + 60), (100.0, start + 60)):
        clock.set(start + seconds)
        await door.access.of_cookie(begun.cookie, "192.0.2.9")
        (session,) = await door.access.sessions.of_user("ann")
        assert session.seen == seen
    assert session.client == "192.0.2.9"


@pytest.mark.parametrize("change", ["password", "role", "disable", "remove", "sign_out"])
async def test_a_change_ends_the_sessions_at_once(door: Door, change: str) -> None:
    await door.user("root", "admin")
    await door.user("ann", "admin")
    begun, other = await door.come_in("ann"), await door.come_in("root")
    users = door.access.users
    match change:
        case "password":
            await users.set_password("ann", PASSWORD + "!", by="test")
        case "role":
            await users.set_role("ann", "viewer", by="test")
        case _:
            await getattr(users, change)("ann", by="test")
    assert await door.access.of_cookie(begun.cookie) is None
    assert await door.access.of_cookie(other.cookie)
    if change in ("disable", "remove"):
        with pytest.raises(SignInRefused, match=r"^the name or the password is wrong$"):
            await door.come_in("ann")


async def test_a_password_that_changes_while_somebody_signs_in_with_the_old_one(door: Door) -> None:
    await door.user("ann")
    old = await asyncio.to_thread(user_queries.credentials, door.opened.ledger, "ann")
    assert old is not None
    await door.access.users.set_password("ann", PASSWORD + "!", by="test")
    assert await door.access.sessions.begin("ann", old.password, client=CLIENT, agent="") is None
    assert await door.access.sessions.of_user("ann") == []


async def test_somebody_has_a_bounded_number_of_sessions(door: Door, clock: VirtualClock) -> None:
    await door.user("ann")
    begun = []
    for _ in range(22):
        clock.advance(1)
        begun.append(await door.access.sign_in.renew("ann", client=CLIENT))
    assert len(await door.access.sessions.of_user("ann")) == 20
    assert begun[0] is not None
    assert await door.access.of_cookie(begun[0].cookie) is None


async def test_sessions_of_others_cannot_be_ended(door: Door) -> None:
    await door.user("ann")
    await door.user("bob")
    anns, bobs = await door.come_in("ann"), await door.come_in("bob")
    for id_ in (bobs.id, "", bobs.id[:4], "%", "_" * 16):
        with pytest.raises(DeskError, match="no such session"):
            await door.access.sessions.end("ann", id_, by="console:ann")
    assert await door.access.sessions.end_all("ann", by="console:ann", besides=anns.id) == 0
    assert await door.access.of_cookie(bobs.cookie)
    assert await door.access.of_cookie(anns.cookie)


@pytest.mark.parametrize("value", ["", "x", "x" * 500, "\udcff", "ö"])
async def test_cookies_that_are_none(door: Door, value: str) -> None:
    assert await door.access.of_cookie(value) is None
    assert await door.access.of_token(value) is None


async def test_a_wrong_name_looks_like_a_wrong_password(door: Door) -> None:
    await door.user("ann")
    said = set()
    for name, password in (
        ("ann", "wrong"),
        ("nobody", "wrong"),
        ("ann", ""),
        ("\udcff", PASSWORD),
        ("ann", "\0" * 9999),
    ):
        with pytest.raises(SignInRefused) as caught:
            await door.come_in(name, password)
        said.add(str(caught.value))
    assert said == {"the name or the password is wrong"}
    assert door.counted == ["console_sign_ins_total refused"] * 5


async def test_a_wrong_name_costs_a_hash_as_a_wrong_password_does(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await door.user("ann")
    checked: list[str] = []
    hashing = door.access._hashing
    verify = hashing._verify
    monkeypatch.setattr(hashing, "_verify", lambda hash_, password: checked.append(hash_) or verify(hash_, password))
    for name in ("ann", "nobody"):
        with pytest.raises(SignInRefused):
            await door.come_in(name, "wrong")
    real, other = checked
    assert real != other
    # With the same parameters.
    assert real.split("$")[1:4] == other.split("$")[1:4]


async def test_who_fails_waits_longer_and_longer(door: Door, clock: VirtualClock) -> None:
    await door.user("ann")
    for _ in range(5):
        with pytest.raises(SignInRefused):
            await door.come_in("ann", "wrong")
    waits = []
    for _ in range(12):
        with pytest.raises(SignInThrottled) as caught:
            await door.come_in("ann", PASSWORD)
        waits.append(caught.value.wait)
        clock.advance(caught.value.wait)
        with pytest.raises(SignInRefused):
            await door.come_in("ann", "wrong")
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    # Other names from other addresses do not wait.
    await door.user("bob")
    await door.come_in("bob", client="192.0.2.8")
    clock.advance(300)
    await door.come_in("ann")
    with pytest.raises(SignInRefused):
        await door.come_in("ann", "wrong")


async def test_names_that_nobody_has_are_throttled_alike(door: Door) -> None:
    for _ in range(5):
        with pytest.raises(SignInRefused):
            await door.come_in("nobody")
    with pytest.raises(SignInThrottled):
        await door.come_in("nobody")


async def test_an_address_that_tries_many_names_waits(door: Door, clock: VirtualClock) -> None:
    await door.user("ann")
    for number in range(20):
        with pytest.raises(SignInRefused):
            await door.come_in(f"name{number}", client=f"2001:db8::{number:x}")
    with pytest.raises(SignInThrottled):
        await door.come_in("ann", client="2001:db8::ffff")
    await door.come_in("ann", client="2001:db8:0:1::1")


async def test_strangers_cannot_lock_out_who_is_known_here(door: Door) -> None:
    await door.user("ann")
    await door.come_in("ann", client="198.51.100.1")
    for number in range(5):
        with pytest.raises(SignInRefused):
            await door.come_in("ann", "wrong", client=f"203.0.113.{number}")
    with pytest.raises(SignInThrottled):
        await door.come_in("ann", client="203.0.113.99")
    await door.come_in("ann", client="198.51.100.1")


async def test_many_tries_at_the_same_moment_are_not_all_free(door: Door) -> None:
    await door.user("ann")
    tries = [door.come_in("ann", f"wrong {number}") for number in range(30)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(outcome, SignInRefused) for outcome in outcomes) == 5
    assert sum(isinstance(outcome, SignInThrottled) for outcome in outcomes) == 25


async def test_failures_are_one_line_a_minute_and_hide_what_was_typed(door: Door) -> None:
    await door.user("ann")
    for name in ("ann", "ann", "hunter2-is-my-password"):
        with pytest.raises(SignInRefused):
            await door.come_in(name, "wrong")
    await door.access.tidy()
    await door.access.tidy()
    failed = [line for line in door.audit() if line[1] == "sign_in.failed"]
    assert failed == [
        ("console", "sign_in.failed", "ann", f"2 tries from {CLIENT}"),
        ("console", "sign_in.failed", "(no user)", f"1 try from {CLIENT}"),
    ]


async def test_an_old_hash_is_made_anew(door: Door) -> None:
    weak = argon2.PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    door.opened.keep(UserChange(time=1.0, name="ann", what="added", role="viewer", password=weak))
    await door.come_in("ann")
    known = user_queries.credentials(door.opened.ledger, "ann")
    assert known is not None
    assert known.password != weak
    assert not door.access._hashing.is_old(known.password)
    await door.come_in("ann")


async def test_the_second_factor(door: Door, clock: VirtualClock) -> None:
    await door.user("ann")
    begun = await door.access.second_factor.begin("ann", by="console:ann")
    await door.come_in("ann")  # It is not asked for before its first code was given.
    totp = pyotp.TOTP(begun.secret)
    with pytest.raises(DeskError, match="not the code of now"):
        await door.access.second_factor.confirm("ann", totp.at(clock.now() - 90), by="console:ann")
    codes = await door.access.second_factor.confirm("ann", totp.at(clock.now()), by="console:ann")
    assert len(set(codes)) == 10
    with pytest.raises(CodeNeeded) as needed:
        await door.come_in("ann")
    # The code it was set up with has been used.
    with pytest.raises(SignInRefused, match="the code is wrong"):
        await door.access.sign_in.confirm(needed.value.ticket, totp.at(clock.now()), client=CLIENT)
    clock.advance(30)
    now = totp.at(clock.now())
    with pytest.raises(SignInRefused):
        await door.access.sign_in.confirm(needed.value.ticket, now, client="198.51.100.9")
    await door.access.sign_in.confirm(needed.value.ticket, f" {now[:3]} {now[3:]} ", client=CLIENT)
    with pytest.raises(SignInRefused):
        await door.access.sign_in.confirm(needed.value.ticket, totp.at(clock.now()), client=CLIENT)
    with pytest.raises(DeskError, match="already"):
        await door.access.second_factor.begin("ann", by="console:ann")


@pytest.mark.parametrize(("drift", "fits"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
async def test_a_code_may_be_one_step_early_or_late(door: Door, clock: VirtualClock, drift: int, fits: bool) -> None:
    await door.user("ann")
    totp, _ = await door.second_factor("ann")
    clock.advance(120)
    code = totp.at(clock.now() + drift)
    if fits:
        await door.come_in("ann", code=code)
    with pytest.raises(SignInRefused):
        await door.come_in("ann", code=code)


async def test_a_code_of_an_earlier_step_is_void_after_a_later_one(door: Door, clock: VirtualClock) -> None:
    await door.user("ann")
    totp, _ = await door.second_factor("ann")
    clock.advance(120)
    await door.come_in("ann", code=totp.at(clock.now() + 30))
    with pytest.raises(SignInRefused):
        await door.come_in("ann", code=totp.at(clock.now()))


async def test_recovery_codes_work_once(door: Door) -> None:
    await door.user("ann")
    await door.user("bob")
    _, codes = await door.second_factor("ann")
    await door.second_factor("bob")
    with pytest.raises(SignInRefused):
        await door.come_in("bob", code=codes[0])
    await door.come_in("ann", code=codes[0].upper().replace("-", " "))
    with pytest.raises(SignInRefused):
        await door.come_in("ann", code=codes[0])
    assert (await door.access.users.one("ann")).recovery_codes == 9
    await door.access.second_factor.new_codes("ann", by="console:ann")
    assert (await door.access.users.one("ann")).recovery_codes == 10
    with pytest.raises(SignInRefused):
        await door.come_in("ann", code=codes[1])
    assert ("console:ann", "user.recovery_code", "ann", "") in door.audit()


async def test_a_ticket_lives_for_five_tries_and_five_minutes(door: Door, clock: VirtualClock) -> None:
    await door.user("ann")
    totp, _ = await door.second_factor("ann")
    clock.advance(30)
    with pytest.raises(CodeNeeded) as needed:
        await door.come_in("ann")
    for _ in range(5):
        clock.advance(30)
        with pytest.raises(SignInRefused, match="the code is wrong"):
            await door.access.sign_in.confirm(needed.value.ticket, "123456x", client=CLIENT)
    with pytest.raises(SignInRefused, match="begin again"):
        await door.access.sign_in.confirm(needed.value.ticket, totp.at(clock.now()), client=CLIENT)
    clock.advance(300)
    with pytest.raises(CodeNeeded) as needed:
        await door.come_in("ann")
    clock.advance(300)
    with pytest.raises(SignInRefused, match="begin again"):
        await door.access.sign_in.confirm(needed.value.ticket, totp.at(clock.now()), client=CLIENT)


async def test_who_knows_the_password_cannot_try_codes_without_end(door: Door) -> None:
    await door.user("ann")
    await door.second_factor("ann")
    ends: list[type[BaseException]] = []
    ticket = ""
    for number in range(8):
        trying = door.come_in("ann") if number % 3 == 0 else door.access.sign_in.confirm(ticket, "x", client=CLIENT)
        (outcome,) = await asyncio.gather(trying, return_exceptions=True)
        ticket = outcome.ticket if isinstance(outcome, CodeNeeded) else ticket
        ends.append(type(outcome))
    assert ends == [CodeNeeded, SignInRefused, SignInRefused, CodeNeeded, SignInRefused, *[SignInThrottled] * 3]


async def test_turning_the_second_factor_off(door: Door) -> None:
    await door.user("ann")
    await door.second_factor("ann")
    await door.access.second_factor.turn_off("ann", by="console:ann")
    await door.come_in("ann")
    user = await door.access.users.one("ann")
    assert (user.second_factor, user.recovery_codes) == (False, 0)
    await door.second_factor("ann")
    await door.access.users.reset_second_factor("ann", by="console:root")
    await door.come_in("ann")
    # The secret is nowhere in the audit.
    assert all(len(detail) < 30 for _, what, _, detail in door.audit() if what.startswith("user."))


async def test_the_last_admin_stays(door: Door) -> None:
    await door.user("root", "admin")
    await door.user("ann", "operator")
    users = door.access.users
    for act in (users.set_role("root", "viewer", by="t"), users.disable("root", by="t"), users.remove("root", by="t")):
        with pytest.raises(DeskError, match="last admin"):
            await act
    await users.set_role("ann", "admin", by="t")
    await users.disable("root", by="t")
    with pytest.raises(DeskError, match="last admin"):
        await users.remove("ann", by="t")
    # Who is disabled counts for nothing, and may go.
    await users.remove("root", by="t")
    assert [user.name for user in await users.all()] == ["ann"]


@pytest.mark.parametrize("what", ["role", "disabled", "removed"])
async def test_two_admins_who_take_each_others_place_at_the_same_moment(door: Door, what: str) -> None:
    """The desk looks before it writes; two processes may look at the same time, and the ledger decides."""
    await door.user("ann", "admin")
    await door.user("bob", "admin")
    begun = await door.come_in("bob")
    now = door.clock.now()
    door.opened.keep(
        UserChange(time=now, name="bob", what=what, role="viewer"),
        UserChange(time=now - 1, name="ann", what=what, role="viewer"),
    )
    assert user_queries.admins(door.opened.ledger) == 1
    (bob,) = user_queries.users(door.opened.ledger, "bob")
    assert (bob.role, bob.state) == ("admin", "active")
    # What did not happen has no effect on sessions either.
    assert await door.access.of_cookie(begun.cookie)


async def test_users_as_they_come_and_go(door: Door) -> None:
    users = door.access.users
    await door.user("root", "admin")
    for name in ("", "A B", "-x", "x" * 65, "../x", "ännchen", "a/b", "a\0b"):
        with pytest.raises(DeskError, match="a name has"):
            await users.add(name, "viewer", PASSWORD, by="t")
    with pytest.raises(DeskError, match="no role"):
        await users.add("ann", "king", PASSWORD, by="t")
    await users.add(" Ann@Example.NET ", "viewer", PASSWORD, by="t")
    with pytest.raises(DeskError, match="already"):
        await users.add("ann@example.net", "viewer", PASSWORD, by="t")
    begun = await door.come_in("ann@example.net")
    _, value = await door.access.tokens.make(
        "ann@example.net", "ci", ["read"], allowed=ROLES["viewer"], by="console:ann@example.net"
    )
    await users.remove("ann@example.net", by="t")
    door.clock.advance(1)
    await users.add("ann@example.net", "admin", PASSWORD, by="t")
    # Who has the same name is somebody else.
    assert await door.access.of_cookie(begun.cookie) is None
    assert await door.access.of_token(value) is None
    with pytest.raises(DeskError, match="no user nobody"):
        await users.one("nobody")
    whats = [what for _, what, _, _ in door.audit()]
    assert whats == ["user.added", "user.added", "sign_in", "token.made", "user.removed", "user.added"]


async def test_what_tokens_may(door: Door, clock: VirtualClock) -> None:
    await door.user("root", "admin")
    await door.user("ann", "operator")
    tokens = door.access.tokens
    with pytest.raises(DeskError, match="users: beyond what ann may do"):
        await tokens.make("ann", "ci", ["read", "users"], allowed=ROLES["operator"], by="t")
    for name, scopes, why in (("a b", ["read"], "name"), ("ci", ["king"], "no such scope"), ("ci", [], "at least one")):
        with pytest.raises(DeskError, match=why):
            await tokens.make("ann", name, scopes, allowed=ROLES["operator"], by="t")
    id_, value = await tokens.make(
        "ann", "ci", ["held", "read"], allowed=ROLES["operator"], until=clock.now() + DAY, by="t"
    )
    with pytest.raises(DeskError, match="already"):
        await tokens.make("root", "ci", ["read"], allowed=ROLES["admin"], by="t")
    acting = await door.access.of_token(value)
    assert acting is not None
    assert (acting.name, acting.by, acting.token, acting.session, acting.csrf) == ("ann", "token:ci", id_, "", "")
    assert acting.scopes == {"read", "held"}
    for wrong in (value[:-1], value[:-1] + ("0" if value[-1] != "0" else "1"), value + "0", value.upper(), id_):
        assert await door.access.of_token(wrong) is None
    # Its maker loses a scope, and may sign in no more.
    await door.access.users.set_role("ann", "viewer", by="t")
    acting = await door.access.of_token(value)
    assert acting is not None
    assert acting.scopes == {"read"}
    await door.access.users.disable("ann", by="t")
    assert await door.access.of_token(value) is None
    await door.access.users.enable("ann", by="t")
    assert await door.access.of_token(value)
    clock.advance(DAY)
    assert await door.access.of_token(value) is None


async def test_tokens_of_others_cannot_be_revoked(door: Door) -> None:
    await door.user("ann")
    await door.user("bob")
    id_, value = await door.access.tokens.make("bob", "ci", ["read"], allowed=ROLES["operator"], by="t")
    for wrong in (id_, "", "%", "../x"):
        with pytest.raises(NoToken):
            await door.access.tokens.revoke(wrong, owner="ann", by="console:ann")
    assert await door.access.of_token(value)
    await door.access.tokens.revoke(id_, owner="bob", by="console:bob")
    assert await door.access.of_token(value) is None
    assert [token.state(door.clock.now()) for token in await door.access.tokens.all("bob")] == ["revoked"]
    # The name is free again.
    await door.access.tokens.make("ann", "ci", ["read"], allowed=ROLES["operator"], by="t")


async def test_when_a_token_was_used(door: Door, clock: VirtualClock) -> None:
    await door.user("ann")
    _, value = await door.access.tokens.make("ann", "ci", ["read"], allowed=ROLES["operator"], by="t")
    start = clock.now()
    for seconds, used in ((0.0, start), (59.0, start), (61.0, start + 61)):
        clock.set(start + seconds)
        await door.access.of_token(value)
        assert [token.used for token in await door.access.tokens.all("ann")] == [used]


def test_tokens_become_rows_in_any_order_and_more_than_once(door: Door) -> None:
    made = TokenChange(time=5.0, id="t1", what="made", name="ci", user="ann", hash="h", scopes=("read",))
    revoked = TokenChange(time=6.0, id="t1", what="revoked")
    for order in ([made, revoked], [revoked, made], [made, revoked, made, revoked]):
        with door.opened.ledger.connection() as connection:
            connection.execute(tables.console_token.delete())
        for record in order:
            with door.opened.ledger.connection() as connection:
                token_changes(connection, [record])
        (token,) = user_queries.tokens(door.opened.ledger)
        assert (token.name, token.user, token.scopes, token.created, token.revoked) == (
            "ci",
            "ann",
            ("read",),
            5.0,
            6.0,
        )


def test_changes_of_users_may_be_stored_again(door: Door) -> None:
    added = UserChange(time=1.0, name="ann", what="added", role="admin", password="h1")
    changes = [
        added,
        UserChange(time=2.0, name="ann", what="password", password="h2"),
        UserChange(time=3.0, name="bob", what="added", role="admin", password="h3"),
        UserChange(time=4.0, name="bob", what="removed"),
    ]
    for _ in range(2):
        with door.opened.ledger.connection() as connection:
            user_changes(connection, changes)
        known = user_queries.credentials(door.opened.ledger, "ann")
        assert known is not None
        assert known.password == "h2"
        assert user_queries.credentials(door.opened.ledger, "bob") is None
    # A record that comes late does not bring back who was removed.
    with door.opened.ledger.connection() as connection:
        user_changes(connection, changes[2:3])
    assert user_queries.credentials(door.opened.ledger, "bob") is None


async def test_the_first_user(door: Door) -> None:
    path = await door.access.start()
    secret = path.removeprefix("/setup/")
    assert path.startswith("/setup/")
    assert len(secret) > 40
    first = door.access.first_user
    assert not await first.open("")
    assert not await first.open(secret[:-1])
    assert not await first.open("ö")
    with pytest.raises(DeskError, match="does not work"):
        await first.use("wrong", "ann", PASSWORD)
    with pytest.raises(DeskError, match="at least 12"):
        await first.use(secret, "ann", "short")
    assert await first.open(secret)
    both = await asyncio.gather(
        first.use(secret, "ann", PASSWORD), first.use(secret, "bob", PASSWORD), return_exceptions=True
    )
    assert sum(isinstance(outcome, DeskError) for outcome in both) == 1
    (user,) = await door.access.users.all()
    assert user.role == "admin"
    assert not await first.open(secret)
    assert await door.access.start() == ""


async def test_the_link_ends_when_there_is_a_user_by_another_way(door: Door) -> None:
    secret = (await door.access.start()).removeprefix("/setup/")
    other = Users(door.opened.ledger, door.opened.journal, door.clock, door.access._hashing, door.settle)
    await other.add("ann", "viewer", PASSWORD, by="cli:root")
    assert not await door.access.first_user.open(secret)
    with pytest.raises(DeskError):
        await door.access.first_user.use(secret, "eve", PASSWORD)


async def test_nothing_is_done_when_the_journal_cannot_be_written(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(door.opened.journal, "write", full)
    with pytest.raises(DeskError, match="nothing was done"):
        await door.user("ann")
    assert not await door.access.users.anybody()
