"""Signing in at an OpenID Connect provider: a real one that can do all wrong, over real http, with a clock of ours."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import argon2
import msgspec
import pytest
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.testing import AsyncTestClient

from outbound_guard import http
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Console
from outbound_guard.config.oidc import Oidc, OidcRoles
from outbound_guard.console import oidc as oidc_pages
from outbound_guard.console import signout
from outbound_guard.console.access import Authentication, check_origin, permit
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.access import Access, Acting
from outbound_guard.desk.people.oidc import claims as reading
from outbound_guard.desk.people.oidc.claims import NoEntry
from outbound_guard.desk.people.oidc.provider import Provider, Unreached
from outbound_guard.desk.people.oidc.signin import Entered
from outbound_guard.desk.people.passwords import Hashing
from outbound_guard.desk.people.signin import SignInRefused, SignInThrottled
from outbound_guard.ledger.records import UserChange
from outbound_guard.ledger.user_queries import User
from tests import openid, records
from tests.records import BOTH_LONG, Books, books

LEDGERS = BOTH_LONG
PASSWORD = "correct horse battery staple"
WEAK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ROLES = OidcRoles(admin=("desk-admins",), operator=("desk",), viewer=("staff",), tenant=("customers",))
CLIENT = "192.0.2.7"
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Door:
    """Access with a provider; the journal is in the ledger as soon as `settle` returns."""

    def __init__(self, opened: Books, clock: VirtualClock, idp: openid.Provider, folder: Path) -> None:
        self.opened, self.clock, self.idp, self.folder = opened, clock, idp, folder
        self.counted: list[str] = []
        (folder / "oidc-secret").write_text(f"{idp.secret}\n")
        opened.keep()
        self.set_up()

    def set_up(self, **more: Any) -> None:
        """As after a start with these settings."""
        fields: dict[str, Any] = {
            "issuer": self.idp.issuer,
            "client_id": openid.CLIENT,
            "client_secret_file": "oidc-secret",
            "roles": ROLES,
            "allow_http": True,
        }
        oidc = Oidc(**fields | more)
        settings = Console(url=self.idp.console, oidc=oidc)
        back = f"{self.idp.console}/sign-in/oidc/callback"
        self.provider = Provider(oidc, self.folder / "oidc-secret", back, TLS, self.resolve, self.clock)
        self.access = Access(
            self.opened.ledger,
            self.opened.ledger,
            self.opened.journal,
            self.clock,
            settings,
            self.settle,
            self._count,
            Hashing(WEAK),
            provider=self.provider,
            key=b"k" * 32,
        )
        assert self.access.oidc
        self.oidc = self.access.oidc

    async def settle(self) -> None:
        self.opened.keep()

    async def resolve(self, host: str) -> list[str]:
        raise OSError(f"{host} is not looked up")

    def _count(self, *series: str, by: float = 1) -> None:
        self.counted.append(" ".join(series))

    async def come_in(self, next_: str = "/", client: str = CLIENT) -> Entered:
        """The whole way, as a browser goes it."""
        begun = await self.oidc.begin(next_)
        back = self.idp.browse(begun.url)
        return await self.finish(back, begun.cookie, client=client)

    async def finish(self, back: str, cookie: str, client: str = CLIENT) -> Entered:
        return await self.oidc.finish(dict(parse_qsl(urlsplit(back).query)), cookie, client=client, agent="browser")

    async def acting(self, entered: Entered) -> Acting | None:
        return await self.access.of_cookie(entered.session.cookie)

    async def user(self, name: str) -> User:
        return await self.access.users.one(name)

    def audit(self, what: str = "") -> list[tuple[str, str, str, str]]:
        self.opened.keep()
        found = self.opened.sql('SELECT "by", what, subject, detail FROM audit ORDER BY serial')
        return [(str(a), str(b), str(c), str(d)) for a, b, c, d in found if b == what or not what]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_700_000_000.0)


@pytest.fixture
def idp(clock: VirtualClock) -> Iterator[openid.Provider]:
    with openid.Provider(clock=clock.now) as provider:
        yield provider


@pytest.fixture(scope="module")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger in SQLite: its tables are made once."""
    folder = tmp_path_factory.mktemp("empty")
    with books(folder, VirtualClock()) as opened:
        opened.keep()
    return folder / "ledger.sqlite3"


@pytest.fixture
def door(tmp_path: Path, clock: VirtualClock, idp: openid.Provider, empty_ledger: Path) -> Iterator[Door]:
    if records.postgresql_at is None:
        shutil.copy(empty_ledger, tmp_path)
    with books(tmp_path, clock) as opened:
        made = Door(opened, clock, idp, tmp_path)
        yield made
        made.access.close()


async def test_the_way_in(door: Door) -> None:
    entered = await door.come_in("/held?state=held")
    assert entered.next == "/held?state=held"
    acting = await door.acting(entered)
    assert acting is not None
    assert (acting.name, acting.role, acting.by, acting.shown) == ("ann", "admin", "console:ann", "Ann")
    user = await door.user("ann")
    assert (user.issuer, user.subject) == (door.idp.issuer, "u-1")
    added, signed_in = door.audit()
    assert added == ("oidc", "user.added", "ann", f"as admin, who is u-1 at {door.idp.issuer}")
    assert signed_in == ("console:ann", "sign_in", "ann", f"from {CLIENT}, vouched for by {door.idp.issuer}")
    assert door.counted == ["console_sign_ins_total ok"]
    assert door.idp.asked == ["discovery", "token", "keys"]
    assert "prompt=" not in (await door.oidc.begin("/")).url
    assert (await door.oidc.begin("/", anew=True)).url.endswith("&prompt=login")


async def test_the_second_time_it_is_the_same_user_and_nothing_is_written_twice(door: Door) -> None:
    await door.come_in()
    before = await door.user("ann")
    door.clock.advance(100.0)
    door.idp.person |= {"preferred_username": "ann"}
    await door.come_in()
    after = await door.user("ann")
    assert after.changed == before.changed
    assert after.seen > before.seen
    assert [what for _, what, _, _ in door.audit()] == ["user.added", "sign_in", "sign_in"]
    assert door.idp.asked.count("discovery") == door.idp.asked.count("keys") == 1


async def test_algorithms_and_ways_to_show_the_secret(door: Door) -> None:
    for algorithm in ("RS256", "PS256", "ES256", "EdDSA"):
        door.idp.algorithm, door.idp.post = algorithm, algorithm in ("PS256", "EdDSA")
        door.idp.rotate()
        door.set_up(client_authentication="client_secret_post" if door.idp.post else "client_secret_basic")
        assert (await door.acting(await door.come_in())) is not None, algorithm


WRONG = (
    ("alg-none", "its algorithm is none of RS256, PS256, ES256, EdDSA"),
    ("hs256", "its algorithm is none of RS256, PS256, ES256, EdDSA"),
    ("unsigned", "its signature is wrong"),
    ("other-key", "its signature is wrong"),
    ("unknown-kid", "the provider does not show the key that it is signed with"),
    ("crit", "it has a header that must be understood, and is not"),
    ("audience", "it is for another client"),
    ("azp", "it was given out to another client"),
    ("no-azp", "it was given out to another client"),
    ("issuer", "it is from another issuer"),
    ("nonce", "its nonce is not the one of this sign-in"),
    ("expired", "it has expired"),
    ("future", "it is from the future: is the clock of this machine right?"),
    ("not-yet", "it is not good yet: is the clock of this machine right?"),
    ("text-time", "its exp is no time"),
    ("no-sub", "it does not say about whom it is"),
    ("at-hash", "its at_hash is not that of the access token"),
)


async def test_tokens_that_are_not_believed(door: Door) -> None:
    for number, (wrong, why) in enumerate(WRONG):
        door.idp.wrong = wrong
        with pytest.raises(SignInRefused, match="cannot be believed"):
            await door.come_in(client=f"192.0.2.{number}")
        line = f"the ID token is not believed: {why}; from 192.0.2.{number}"
        assert door.audit()[number:] == [("oidc", "sign_in.refused", "(no user)", line)], wrong
    assert set(door.counted) == {"console_sign_ins_total refused"}
    assert not await door.access.users.all()
    door.idp.wrong = ""
    await door.come_in()


async def test_a_time_that_no_clock_shows(door: Door) -> None:
    for far in (10**400, 1e300, -1e300):
        door.idp.person["exp"] = far
        with pytest.raises(SignInRefused, match="cannot be believed"):
            await door.come_in()


async def test_a_token_without_the_name_of_its_key(door: Door) -> None:
    door.idp.wrong = "no-kid"
    await door.come_in()


async def test_clocks_may_differ_a_little(door: Door) -> None:
    door.idp.clock = lambda: door.clock.now() + 50
    await door.come_in()
    door.idp.clock = lambda: door.clock.now() - 340
    await door.come_in()


async def test_keys_that_change(door: Door) -> None:
    await door.come_in()
    door.idp.rotate()
    # Keys are read again because of one that is not known, but once a minute at most.
    with pytest.raises(SignInRefused):
        await door.come_in()
    assert door.idp.asked.count("keys") == 1
    door.clock.advance(61.0)
    await door.come_in()
    assert door.idp.asked.count("keys") == 2
    # The withdrawn one is not believed any more.
    door.idp.wrong = "unknown-kid"
    door.clock.advance(61.0)
    for _ in range(3):
        with pytest.raises(SignInRefused):
            await door.come_in()
    assert door.idp.asked.count("keys") == 3
    door.idp.wrong = ""
    door.clock.advance(3601.0)
    await door.come_in()
    assert door.idp.asked.count("keys") == 4


async def test_the_state_is_that_of_one_browser_and_one_time(door: Door) -> None:
    begun, other = await door.oidc.begin("/"), await door.oidc.begin("/")
    back = door.idp.browse(begun.url)
    changed = back.replace("state=", "state=A")
    for address, cookie in (
        (back, ""),
        (back, other.cookie),
        (back, "x.y"),
        (back, f"{begun.cookie[:-1]}{'A' if begun.cookie[-1] != 'A' else 'B'}"),
        (back, f"{other.cookie.partition('.')[0]}.{begun.cookie.partition('.')[2]}"),
        (changed, begun.cookie),
        (urlsplit(back)._replace(query="code=x").geturl(), begun.cookie),
    ):
        with pytest.raises(SignInRefused, match="in another browser"):
            await door.finish(address, cookie)
    # None of them was asked about at the provider.
    assert "token" not in door.idp.asked
    await door.finish(back, begun.cookie)
    with pytest.raises(SignInRefused, match="in another browser"):
        await door.finish(back, begun.cookie)
    late = await door.oidc.begin("/")
    back = door.idp.browse(late.url)
    door.clock.advance(601.0)
    with pytest.raises(SignInRefused, match="took too long"):
        await door.finish(back, late.cookie)


async def test_a_code_works_once(door: Door) -> None:
    begun = await door.oidc.begin("/")
    back = door.idp.browse(begun.url)
    await door.finish(back, begun.cookie)
    # The same code, in a sign-in that somebody else has begun.
    code = dict(parse_qsl(urlsplit(back).query))["code"]
    theirs = await door.oidc.begin("/")
    state = dict(parse_qsl(urlsplit(theirs.url).query))["state"]
    with pytest.raises(SignInRefused, match="invalid_grant"):
        await door.finish(f"/?{urlencode({'code': code, 'state': state})}", theirs.cookie)
    # A code that was got with another verifier: it was taken away from somebody (RFC 7636).
    stolen = dict(parse_qsl(urlsplit(door.idp.browse((await door.oidc.begin("/")).url)).query))["code"]
    mine = await door.oidc.begin("/")
    state = dict(parse_qsl(urlsplit(mine.url).query))["state"]
    with pytest.raises(SignInRefused, match="invalid_grant"):
        await door.finish(f"/?{urlencode({'code': stolen, 'state': state})}", mine.cookie)


async def test_answers_of_the_provider_itself(door: Door) -> None:
    door.idp.says_issuer = True
    await door.come_in()
    door.idp.wrong = "answer-issuer"
    with pytest.raises(SignInRefused, match="cannot be believed"):
        await door.come_in()
    door.idp.wrong = ""
    door.idp.says_issuer = False
    with pytest.raises(SignInRefused, match="cannot be believed"):
        await door.come_in()  # It said that it would say who it is.
    door.idp.says_issuer = True
    door.idp.wrong = "denied"
    with pytest.raises(SignInRefused, match=r"does not let you in \(access_denied\)"):
        await door.come_in()
    door.idp.wrong, door.idp.secret = "", "another"
    with pytest.raises(SignInRefused, match="invalid_client"):
        await door.come_in()


TROUBLE = (
    ("discovery", "500", "it answered 500"),
    ("discovery", "redirect", "it answered 302"),
    ("discovery", "huge", "longer than 262144 octets"),
    ("discovery", "garbage", "its description cannot be used"),
    ("discovery", "hang", "no answer within 0.2 s"),
    ("discovery", "issuer", "it calls itself https://other.example"),
    ("discovery", "http", "it names http://sso.example/token, which is not https"),
    ("token", "502", "it answered 502"),
    ("token", "redirect", "it answered 302"),
    ("token", "huge", "longer than 262144 octets"),
    ("token", "hang", "no answer within 0.2 s"),
    ("token", "garbage", "it gives no ID token for a code"),
    ("keys", "garbage", "its set of keys is no JSON object"),
    ("keys", "404", "it answered 404"),
)


async def test_a_provider_in_trouble(door: Door) -> None:
    for what, how, why in TROUBLE:
        door.set_up(timeout=0.2 if how == "hang" else 10.0)
        door.idp.answers[what] = how
        door.idp.asked.clear()
        door.counted.clear()
        with pytest.raises(Unreached) as caught:
            await door.come_in()
        assert str(caught.value).startswith("the provider 127.0.0.1 cannot be used right now: ")
        assert why in str(caught.value)
        assert door.oidc.trouble == str(caught.value)
        assert door.counted == ["console_sign_ins_total unreached"]
        # No redirect is followed.
        assert door.idp.asked.count(what) == 1
        # It is asked again after some seconds, and then all is well.
        door.idp.answers.clear()
        door.clock.advance(6.0)
        if how != "hang":
            await door.come_in()
            assert door.oidc.trouble == ""


@pytest.mark.parametrize("content", [b"\xffsecret", None])
async def test_strangers_do_not_read_where_the_secret_is(door: Door, content: bytes | None) -> None:
    file = door.folder / "oidc-secret"
    if content:
        file.write_bytes(content)
    else:
        file.unlink()
    with pytest.raises(Unreached, match="our client secret cannot be read: ") as caught:
        await door.come_in()
    assert not any(word in str(caught.value) for word in ("oidc-secret", "0xff", "/"))


async def test_certificates_are_looked_at_however_the_scheme_is_written(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    async def exchange(method: str, url: str, *_: Any, tls: ssl.SSLContext | None, **__: Any) -> http.Page:
        seen.append((url.partition(":")[0], tls))
        return http.Page(503, "", b"")

    async def resolve(host: str) -> list[str]:
        return ["192.0.2.1"]

    monkeypatch.setattr(http, "exchange", exchange)
    for scheme in ("https", "HTTPS", "Https"):
        door.set_up(issuer=f"{scheme}://sso.example")
        door.provider._resolve = resolve
        with pytest.raises(Unreached):
            await door.oidc.begin("/")
    assert seen == [("https", TLS), ("HTTPS", TLS), ("Https", TLS)]


async def test_a_host_that_nobody_can_be_asked_about(door: Door) -> None:
    async def resolve(host: str) -> list[str]:
        host.encode("idna")
        raise AssertionError

    door.set_up(issuer="https://sso..example")
    door.provider._resolve = resolve
    with pytest.raises(Unreached, match=r"the provider sso\.\.example cannot be used"):
        await door.oidc.begin("/")


async def test_who_sends_wrong_codes_keeps_nobody_from_beginning(door: Door) -> None:
    door.idp.answers["token"] = "500"
    with pytest.raises(Unreached):
        await door.come_in()
    door.provider._read -= 301.0
    await door.oidc.begin("/")
    # What the provider refuses is a try of whoever sent it.
    door.idp.answers["token"] = "429"
    for _ in range(20):
        with pytest.raises(SignInRefused):
            await door.come_in()
    with pytest.raises(SignInThrottled):
        await door.come_in()


async def test_a_provider_that_is_away_is_noticed_before_somebody_is_sent_there(door: Door) -> None:
    await door.come_in()
    door.idp.answers["discovery"] = "503"
    await door.oidc.begin("/")
    door.clock.advance(301.0)
    for _ in range(10):
        with pytest.raises(Unreached, match="503"):
            await door.oidc.begin("/")
    # Ten people who wait do not make it worse.
    assert door.idp.asked.count("discovery") == 2


async def test_whatever_a_description_names_does_not_lead_into_the_own_network(door: Door) -> None:
    async def resolve(host: str) -> list[str]:
        return ["10.1.2.3"]

    door.provider._resolve = resolve
    with pytest.raises(Unreached, match="no address of the internet"), door.provider._told():
        await door.provider._asked("GET", "https://metadata.example/keys")


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["desk-admins", "staff"], "admin"),
        (["staff", "desk"], "operator"),
        ("staff", "viewer"),
        (["Desk-Admins"], ""),
        (["desk-admins "], ""),
        ([["desk-admins"], {"a": "desk-admins"}, 1, None], ""),
        ({"desk-admins": True}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_roles(groups: Any, role: str) -> None:
    settings = Oidc(roles=ROLES)
    if role:
        assert reading.role_of({"groups": groups}, settings) == role
        assert reading.role_of({"a.b": {"c.d": groups}}, Oidc(role_claim="a.b.c.d", roles=ROLES)) == role
        assert reading.role_of({"realm_access": {"roles": groups}}, Oidc(role_claim="realm_access.roles", roles=ROLES))
    else:
        with pytest.raises(NoEntry):
            reading.role_of({"groups": groups}, settings)


def test_a_mail_address_counts_only_if_it_was_verified() -> None:
    settings = Oidc(role_claim="email", roles=OidcRoles(admin=("ann@example.net",)))
    for verified in ({}, {"email_verified": False}, {"email_verified": "true"}):
        with pytest.raises(NoEntry):
            reading.role_of({"email": "ann@example.net", **verified}, settings)
    assert reading.role_of({"email": "ann@example.net", "email_verified": True}, settings) == "admin"


def test_too_many_groups_are_said() -> None:
    with pytest.raises(NoEntry, match="too many groups; use app roles"):
        reading.role_of({"_claim_names": {"groups": "src1"}}, Oidc(roles=ROLES))


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ("Ann", "ann"),
        ("Änne Müller", "anne-muller"),
        ("ann@example.net", "ann@example.net"),
        ("..", "user-"),
        ("王", "user-"),
        ("x" * 200, "x" * 64),
        ("../../etc", "etc"),
    ],
)
def test_names(shown: str, name: str) -> None:
    found = reading.names_of(shown, "https://sso.example", "1")
    assert found[0].startswith(name)
    assert len(set(found)) == len(found) >= 2
    assert found[-1] != reading.names_of(shown, "https://sso.example", "2")[-1]


async def test_no_role_no_entry(door: Door) -> None:
    door.idp.person = {"sub": "u-9", "preferred_username": "eve\u202e", "groups": ["<b>", "guests"]}
    for _ in range(3):
        with pytest.raises(SignInRefused, match="gives you a role here"):
            await door.come_in()
    assert not await door.access.users.all()
    line = f"no role for groups = <b>, guests; from {CLIENT}"
    assert door.audit() == [("oidc", "sign_in.refused", "eve", line)]
    door.oidc.tidy()
    assert door.audit()[1:] == [("oidc", "sign_in.refused", "eve", f"{line}; 2 times more")]
    door.oidc.tidy()
    assert len(door.audit()) == 2


async def test_claims_that_only_userinfo_tells(door: Door) -> None:
    door.idp.person = {"sub": "u-1"}
    door.idp.told_later = {"groups": ["desk"], "preferred_username": "bob"}
    acting = await door.acting(await door.come_in())
    assert acting is not None
    assert (acting.name, acting.role) == ("bob", "operator")
    # What is about somebody else is not taken, nor what is no JSON.
    door.idp.told_later |= {"sub": "u-2"}
    with pytest.raises(SignInRefused, match="a role here"):
        await door.come_in()


async def test_the_role_is_read_again_each_time(door: Door) -> None:
    before = await door.come_in()
    door.idp.person["groups"] = ["staff"]
    after = await door.come_in()
    # Whoever has another role now has to come in anew everywhere.
    assert await door.acting(before) is None
    acting = await door.acting(after)
    assert acting is not None
    assert acting.role == "viewer"
    assert ("oidc", "user.role", "ann", f"admin -> viewer, as {door.idp.issuer} says") in door.audit()
    door.idp.person["groups"] = []
    with pytest.raises(SignInRefused):
        await door.come_in()


async def test_tenants(door: Door) -> None:
    door.set_up(accounts_claim="guard.accounts")
    door.idp.person |= {"groups": ["customers"], "guard": {"accounts": ["shop.test", "*.resold.test", "shop.test"]}}
    acting = await door.acting(await door.come_in())
    assert acting is not None
    assert (acting.scopes, acting.accounts) == (frozenset({"own"}), ("shop.test", "*.resold.test"))
    door.idp.person["guard"] = {"accounts": ["other.test"]}
    acting = await door.acting(await door.come_in())
    assert acting is not None
    assert acting.accounts == ("other.test",)
    for accounts in ([], "*", ["*"], ["a*b"], ["*shop.test"]):
        door.idp.person["guard"] = {"accounts": accounts}
        with pytest.raises(SignInRefused, match="which accounts you may see"):
            await door.come_in()


async def test_who_was_disabled_stays_out(door: Door) -> None:
    entered = await door.come_in()
    await door.access.users.disable("ann", by="console:root")
    assert await door.acting(entered) is None
    door.idp.person["groups"] = ["desk"]
    with pytest.raises(SignInRefused, match="has disabled your user"):
        await door.come_in()
    assert door.audit()[-1] == ("oidc", "sign_in.refused", "ann", f"the user is disabled; from {CLIENT}")
    await door.access.users.enable("ann", by="console:root")
    assert (await door.acting(await door.come_in())) is not None
    await door.access.users.sign_out("ann", by="console:root")
    # Removed is forgotten: with a role the user is made anew, under the same name.
    await door.access.users.remove("ann", by="console:root")
    door.clock.advance(1.0)
    acting = await door.acting(await door.come_in())
    assert acting is not None
    assert acting.name == "ann"


async def test_a_name_is_nobody_elses(door: Door) -> None:
    await door.access.users.add("ann", "admin", PASSWORD, by="test")
    acting = await door.acting(await door.come_in())
    assert acting is not None
    assert acting.name.startswith("ann-")
    first = await door.user(acting.name)
    # Somebody else of the same name at the provider, and the first one under another name.
    door.idp.person |= {"sub": "u-2"}
    other = await door.acting(await door.come_in())
    assert other is not None
    assert other.name not in ("ann", first.name)
    door.idp.person = {"sub": "u-1", "preferred_username": "Ann Other", "groups": ["desk-admins"]}
    again = await door.acting(await door.come_in())
    assert again is not None
    assert (again.name, again.shown) == (first.name, "Ann Other")
    # Of somebody who was removed it is not taken either: what the audit says is about them.
    await door.access.users.add("kim", "viewer", PASSWORD, by="test")
    await door.access.users.remove("kim", by="test")
    door.idp.person = {"sub": "u-3", "preferred_username": "kim", "groups": ["desk-admins"]}
    kim = await door.acting(await door.come_in())
    assert kim is not None
    assert kim.name.startswith("kim-")


async def test_two_of_one_name_at_the_same_moment(door: Door) -> None:
    # Two hosts know nothing of each other; the ledger lets one have the name.
    now = door.clock.now()
    same: dict[str, Any] = {"what": "provided", "role": "viewer", "name": "ann", "issuer": door.idp.issuer}
    door.opened.keep(UserChange(time=now, subject="u-7", **same), UserChange(time=now, subject="u-1", **same))
    user = await door.user("ann")
    assert user.subject == "u-7"
    acting = await door.acting(await door.come_in())
    assert acting is not None
    assert acting.name.startswith("ann-")


async def test_such_a_user_has_no_password_here(door: Door) -> None:
    await door.come_in()
    with pytest.raises(DeskError, match="which decides about password"):
        await door.access.users.set_password("ann", PASSWORD, by="test")
    with pytest.raises(DeskError, match="which decides about role"):
        await door.access.users.set_role("ann", "viewer", by="test")
    door.opened.keep(
        UserChange(time=door.clock.now(), name="ann", what="password", password=WEAK.hash(PASSWORD)),
        UserChange(time=door.clock.now(), name="ann", what="role", role="viewer"),
    )
    for password in ("", PASSWORD):
        with pytest.raises(SignInRefused):
            await door.access.sign_in.sign_in("ann", password, client="192.0.2.1")
    assert (await door.user("ann")).role == "admin"


async def test_the_last_admin_is_one_with_a_password(door: Door) -> None:
    await door.access.users.add("root", "admin", PASSWORD, by="test")
    await door.come_in()
    with pytest.raises(DeskError, match="last admin"):
        await door.access.users.disable("root", by="test")
    await door.access.users.disable("ann", by="test")


async def test_passwords_for_an_emergency_alone(door: Door) -> None:
    for name in ("root", "bob"):
        await door.access.users.add(name, "admin", PASSWORD, by="test")
    before = await door.access.sign_in.sign_in("bob", PASSWORD, client=CLIENT)
    door.set_up(password_users=("root",))
    await door.access.sign_in.sign_in("root", PASSWORD, client=CLIENT)
    with pytest.raises(SignInRefused, match="the name or the password is wrong"):
        await door.access.sign_in.sign_in("bob", PASSWORD, client=CLIENT)
    assert await door.access.of_cookie(before.cookie) is None
    # Nobody gets such a name by the provider.
    door.idp.person["preferred_username"] = "root2"
    door.set_up(password_users=("root", "root2"))
    acting = await door.acting(await door.come_in())
    assert acting is not None
    assert acting.name.startswith("root2-")


async def test_another_provider_or_none(door: Door) -> None:
    entered = await door.come_in()
    door.set_up(issuer="https://other.example")
    assert await door.acting(entered) is None
    door.set_up()
    assert await door.acting(entered) is not None


async def test_tokens_rest_when_their_user_was_not_seen_for_long(door: Door) -> None:
    await door.come_in()
    _, value = await door.access.tokens.make("ann", "ci", ["read"], allowed=["read"], by="console:ann")
    assert await door.access.of_token(value) is not None
    door.clock.advance(30 * 86_400 + 1.0)
    assert await door.access.of_token(value) is None
    await door.come_in()
    assert await door.access.of_token(value) is not None
    door.set_up(token_seconds=0.0)
    door.clock.advance(300 * 86_400.0)
    assert await door.access.of_token(value) is not None
    door.set_up(issuer="https://other.example", token_seconds=0.0)
    assert await door.access.of_token(value) is None


async def test_tries_are_slowed_down(door: Door) -> None:
    async def with_a_code_of_nobody() -> None:
        begun = await door.oidc.begin("/")
        state = dict(parse_qsl(urlsplit(begun.url).query))["state"]
        await door.finish(f"/?{urlencode({'code': 'x', 'state': state})}", begun.cookie)

    for _ in range(20):
        with pytest.raises(SignInRefused):
            await with_a_code_of_nobody()
    with pytest.raises(SignInThrottled):
        await with_a_code_of_nobody()
    assert door.idp.asked.count("token") == 20
    await door.come_in(client="192.0.2.8")
    assert door.counted[-2:] == ["console_sign_ins_total throttled", "console_sign_ins_total ok"]


async def test_pictures_on_a_page_elsewhere_make_nobody_wait(door: Door) -> None:
    # Browsers ask for them without the cookie, from the one address that an office may have.
    for _ in range(30):
        with pytest.raises(SignInRefused, match="in another browser"):
            await door.finish("/?state=x&code=x", "")
    await door.come_in()
    assert len(door.audit("sign_in.refused")) == 1
    assert door.idp.asked.count("token") == 1


async def test_a_ledger_that_is_late_lets_nobody_in_as_who_they_were(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def in_vain() -> None:
        """As after the seconds that are waited."""

    await door.come_in()
    door.idp.person["groups"] = ["staff"]
    monkeypatch.setattr(door.oidc, "_settle", in_vain)
    with pytest.raises(SignInRefused, match="try again"):
        await door.come_in()
    monkeypatch.undo()
    acting = await door.acting(await door.come_in())
    assert acting is not None
    assert acting.role == "viewer"


async def test_what_another_host_tells_late_brings_no_admin_back(door: Door) -> None:
    late = door.clock.now() + 1
    await door.come_in()
    door.clock.advance(60)
    door.idp.person["groups"] = ["staff"]
    await door.come_in()
    told = UserChange(late, "ann", "provided", role="admin", issuer=door.idp.issuer, subject="u-1", shown="Ann")
    door.opened.keep(told)
    assert (await door.user("ann")).role == "viewer"
    door.opened.keep(msgspec.structs.replace(told, time=door.clock.now() + 1))
    assert (await door.user("ann")).role == "admin"


async def test_people_who_come_at_the_same_moment(door: Door) -> None:
    async def one() -> Acting | None:
        return await door.acting(await door.come_in())

    found = await asyncio.gather(*(one() for _ in range(5)))
    assert {acting.name for acting in found if acting} == {"ann"}
    assert None not in found
    assert len(door.audit("user.added")) == 1
    assert door.idp.asked.count("keys") == door.idp.asked.count("discovery") == 1


async def test_signing_out_at_the_provider(door: Door) -> None:
    entered = await door.come_in()
    assert await door.oidc.sign_out_url(entered.id_token) == ""
    door.set_up(sign_out="everywhere")
    url = await door.oidc.sign_out_url(entered.id_token)
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_id": openid.CLIENT,
        "post_logout_redirect_uri": f"{door.idp.console}/sign-in",
        "id_token_hint": entered.id_token,
    }
    door.set_up(sign_out="everywhere")
    door.idp.answers["discovery"] = "500"
    assert await door.oidc.sign_out_url(entered.id_token) == ""


async def test_the_pages_on_the_way_in_and_out(door: Door) -> None:
    door.set_up(sign_out="everywhere")
    door.idp.person["preferred_username"] = "<b>Ann"
    app = Litestar(
        [*oidc_pages.PAGES, *signout.PAGES],
        dependencies={"access": Provide(lambda: door.access, sync_to_thread=False)},
        middleware=[DefineMiddleware(Authentication)],
        guards=[permit],
        before_request=check_origin,
        state=State({"access": door.access, "tools": SimpleNamespace(clock=door.clock), "organisation": ""}),
    )
    async with AsyncTestClient(app, base_url="https://guard.example") as browser:
        begun = await browser.get("/sign-in/oidc?next=/held", follow_redirects=False)
        way = {"HttpOnly", "Secure", "Path=/", "SameSite=lax", "Max-Age=600"}
        assert begun.headers["set-cookie"].startswith("__Host-og_oidc=")
        assert set(begun.headers["set-cookie"].split("; ")) > way
        back = urlsplit(door.idp.browse(begun.headers["location"]))
        entered = await browser.get(f"{back.path}?{back.query}")
        assert (entered.headers["refresh"], entered.headers["referrer-policy"]) == ("0; url=/held", "no-referrer")
        assert set(browser.cookies) == {"__Host-og_session", "og_id_token"}
        (csrf,) = door.opened.sql("SELECT csrf FROM console_session")[0]
        out = await browser.post("/sign-out", data={"csrf": csrf})
        assert out.headers["refresh"].startswith(f"0; url={door.idp.place}/end-session?")
        # It is the page of nobody, and the browser takes every cookie away: one with such a name only if it says so.
        assert "Ann" not in out.text
        assert 'action="/sign-out"' not in out.text
        taken = [one for one in out.headers.get_list("set-cookie") if one.startswith(("__Host-", "og_id_token"))]
        assert len(taken) == 2
        assert all({"Secure", "Max-Age=0"} < set(one.split("; ")) for one in taken)
        door.idp.person["groups"] = []
        back = urlsplit(
            door.idp.browse((await browser.get("/sign-in/oidc", follow_redirects=False)).headers["location"])
        )
        refused = await browser.get(f"{back.path}?{back.query}")
        assert refused.status_code == 403
        assert "knows you as &lt;b&gt;Ann." in refused.text
        assert not browser.cookies


def test_the_library_is_imported_in_one_place() -> None:
    root = Path(__file__).resolve().parents[2] / "outbound_guard"
    users = [path for path in root.rglob("*.py") if "joserfc" in path.read_text(encoding="utf-8")]
    assert [path.name for path in users] == ["idtoken.py"]


def test_a_weak_key_is_no_key() -> None:
    from outbound_guard.desk.people.oidc.idtoken import keys_of

    keys = [
        {"kty": "RSA", "n": "AQAB" * 40, "e": "AQAB"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA", "use": "enc"},
        {"kty": 1},
        "x",
    ]
    assert keys_of(msgspec.json.encode({"keys": keys})) == ()
    for wrong in (b"[]", b"{}", b'{"keys": {}}', b"[" * 100_000):
        with pytest.raises(ValueError, match="its set of keys"):
            keys_of(wrong)
