"""The customers' page by HTTP, without the rest of the product: who waits, what is refused, what reaches the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.middleware import DefineMiddleware
from litestar.params import FromPath

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Cases, Console, Customers
from outbound_guard.console import customers, customers_desk
from outbound_guard.console.access import BY_LINK, Authentication, check_origin
from outbound_guard.console.customers import FREE, Desk
from outbound_guard.console.tools import Tools
from outbound_guard.console.web import _failed, _refused
from outbound_guard.desk.customers.links import PATH, make_link
from outbound_guard.desk.people.access import Acting
from outbound_guard.ledger.records import AccountEntry
from outbound_guard.mail import Signal
from outbound_guard.metrics import Metrics
from tests.records import Books, books, decision

ACCOUNT, SENDER = "shop.test", "anna@shop.test"
SETTINGS = Customers(url="https://guard.test")


@get(PATH + "{token:str}/broken", needs=BY_LINK)
async def broken(token: FromPath[str]) -> None:
    raise RuntimeError("a mistake of ours")


class Site:
    """The page's routes over a ledger in a folder."""

    def __init__(self, opened: Books, clock: VirtualClock) -> None:
        self.opened, self.clock = opened, clock
        opened.keep(
            AccountEntry(time=clock.now(), account=ACCOUNT, contact="owner@home.test"),
            decision("v1", account=ACCOUNT, sender=SENDER, received=clock.now(), signals=VOLUME),
        )
        config: Any = SimpleNamespace(
            customers=SETTINGS, console=Console(), cases=Cases(), server=SimpleNamespace(hostname="guard.test")
        )
        unused: Any = None
        self.tools = Tools(
            config=config,
            clock=clock,
            reader=opened.ledger,
            writer=opened.ledger,
            journal=opened.journal,
            metrics=Metrics(),
            spool=unused,
            reputation=unused,
            backtests=unused,
            queue=unused,
        )
        app = Litestar(
            route_handlers=[*customers.PAGES, broken],
            dependencies={"tools": Provide(lambda: self.tools, sync_to_thread=False)},
            before_request=check_origin,
            middleware=[DefineMiddleware(Authentication)],
            exception_handlers={HTTPException: _refused, 500: _failed},
            state=State({"tools": self.tools, "access": None, "customers": Desk(self.tools), "organisation": "Guard"}),
            logging_config=None,
            openapi_config=None,
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://guard.test"
        )

    async def link(self) -> str:
        made = await make_link(self.opened.ledger, self.opened.journal, self.clock, SETTINGS, ACCOUNT, by="console:ann")
        self.opened.keep()
        return made.url.removeprefix("https://guard.test")


VOLUME = (Signal("rate", 4.0, "many", volume=True),)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path, VirtualClock(1_700_000_000.0)) as made:
        yield made


@pytest.fixture
async def site(opened: Books) -> AsyncIterator[Site]:
    made = Site(opened, VirtualClock(1_700_000_000.0))
    yield made
    await made.http.aclose()


async def test_wrong_links_lock_no_good_one_out(site: Site) -> None:
    path = await site.link()
    tried = [(await site.http.get(PATH + f"{n:064x}")).status_code for n in range(FREE + 1)]
    assert tried == [404] * FREE + [429]
    assert (await site.http.get(path)).status_code == 200


async def test_a_mistake_of_ours_writes_no_secret_to_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    path = await site.link()
    with caplog.at_level(logging.ERROR):
        assert (await site.http.get(f"{path}/broken")).status_code == 500
    assert "a mistake of ours" in caplog.text
    assert f"GET {PATH}" in caplog.text
    assert path.removeprefix(PATH) not in caplog.text


async def test_a_nul_is_no_question(site: Site) -> None:
    path = await site.link()
    assert (await site.http.get(f"{path}/answer?sender=%00&was=me")).status_code == 400
    assert (await site.http.get(f"{PATH}a%00b")).status_code == 400


async def test_an_answer_by_the_link_of_another_contact_is_refused_in_plain_words(site: Site) -> None:
    path = await site.link()
    site.opened.keep(AccountEntry(time=site.clock.now() + 1, account=ACCOUNT, contact="new@home.test"))
    answered = await site.http.post(f"{path}/answer", data={"sender": SENDER, "was": "me"})
    assert answered.status_code == 409
    assert "The address of your account that it was made for has changed" in answered.text


async def test_who_makes_a_link_may_decide_about_held_mail(site: Site) -> None:
    asked: Any = SimpleNamespace(user=Acting("ann", "operator", frozenset({"read", "accounts"}), "token:script"))
    with pytest.raises(PermissionDeniedException, match="`held`"):
        await customers_desk._made(asked, site.tools, ACCOUNT)
    asked.user = Acting("ann", "operator", frozenset({"accounts", "held"}), "token:script")
    assert (await customers_desk._made(asked, site.tools, ACCOUNT)).account == ACCOUNT
