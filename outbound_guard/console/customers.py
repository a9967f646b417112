"""Area: the page on which a customer answers for held mail. Whoever has the link may; nobody signs in.

The token stands in the path, and nothing else says who asks: no cookie is read or set, so that no other site can have a
browser do anything here. A GET changes nothing, since programs that look at mail open links. Addresses do not leave in
a Referer, nothing is fetched from anywhere, and no script runs.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Request, Response, get, post
from litestar.enums import MediaType
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from outbound_guard.console.access import BY_LINK, client_of
from outbound_guard.console.customers_texts import LANGUAGES, Said, language_of, texts
from outbound_guard.console.pages import environment, link
from outbound_guard.console.tools import GivenTools, Tools
from outbound_guard.desk.customers.answers import Answers
from outbound_guard.desk.customers.links import PATH, ContactError, find_link
from outbound_guard.desk.customers.seen import ShownSender
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.held.bulk import Eyes
from outbound_guard.desk.people.throttle import Throttle
from outbound_guard.ledger.customer_queries import Link
from outbound_guard.ledger.database import LedgerError

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}
FREE, LONGEST = 20, 300.0
"""Wrong links of one address that are free, and the longest time it waits after more of them."""
FREE_POSTS = 30
"""Answers by one link that are free; so many are no person's."""
FREE_LOOKS, LONGEST_LOOK = 120, 60.0
"""Pages by one link that are free: each reads all that is held of the account. After more of them it waits so long."""


class Desk:
    """What the page works with, and who has to wait. One for the console process."""

    def __init__(self, tools: Tools) -> None:
        self.eyes = Eyes(tools.config.console.four_eyes, tools.config.console.four_eyes_seconds)
        self.answers = Answers(
            tools.reader,
            tools.writer,
            tools.journal,
            tools.clock,
            tools.config.customers,
            tools.settle,
            tools.metrics.count,
            self.eyes,
        )
        self.wrong = Throttle(tools.clock, free=FREE, longest=LONGEST)
        self.posts = Throttle(tools.clock, free=FREE_POSTS, longest=LONGEST)
        self.looks = Throttle(tools.clock, free=FREE_LOOKS, longest=LONGEST_LOOK)


Asking = Request[Any, Any, Any]
_Shown = Callable[[Desk, Link, Said], Awaitable[Response[Any]]]


@get(PATH + "{token:str}", needs=BY_LINK)
async def overview(
    request: Asking, tools: GivenTools, token: FromPath[str], lang: FromQuery[str] = ""
) -> Response[Any]:
    """What is held of an account's mail, and what was answered."""

    async def show(desk: Desk, of: Link, say: Said) -> Response[Any]:
        if wait := _too_many(desk.looks, of):
            return _throttled(tools, say, wait)
        await desk.answers.opened(of)
        found = await desk.answers.seen(of)
        return _page(tools, say, "customers/page.html", base=PATH + token, found=found, lang=lang)

    return await _with_link(request, tools, token, lang, show)


@get(PATH + "{token:str}/answer", needs=BY_LINK)
async def check(
    request: Asking,
    tools: GivenTools,
    token: FromPath[str],
    sender: FromQuery[str] = "",
    was: FromQuery[str] = "",
    lang: FromQuery[str] = "",
) -> Response[Any]:
    """What an answer will set going, before it does."""

    async def show(desk: Desk, of: Link, say: Said) -> Response[Any]:
        if wait := _too_many(desk.looks, of):
            return _throttled(tools, say, wait)
        found = await desk.answers.seen(of)
        one = found.of(sender)
        if one is None or not one.open or was not in ("me", "not_me"):
            return _message(tools, say, "refused", status=404, base=PATH + token, lang=lang)
        return _page(
            tools,
            say,
            "customers/answer.html",
            base=PATH + token,
            found=found,
            one=one,
            was=was,
            lang=lang,
            deletes=tools.config.customers.not_me == "delete" and not desk.eyes.needed(one.number),
        )

    return await _with_link(request, tools, token, lang, show)


@post(PATH + "{token:str}/answer", needs=BY_LINK)
async def answer(request: Asking, tools: GivenTools, token: FromPath[str]) -> Response[Any]:
    """It was them, or it was not."""
    form = await _form(request)

    async def work(desk: Desk, of: Link) -> ShownSender:
        if form.get("was") not in ("me", "not_me"):
            raise DeskError("neither yes nor no")
        return await (desk.answers.me if form["was"] == "me" else desk.answers.not_me)(of, form.get("sender", ""))

    return await _acted(request, tools, token, form, work)


@post(PATH + "{token:str}/undo", needs=BY_LINK)
async def undo(request: Asking, tools: GivenTools, token: FromPath[str]) -> Response[Any]:
    """Take back what an answer has set going, as long as it waits."""
    form = await _form(request)
    return await _acted(request, tools, token, form, lambda desk, of: desk.answers.undo(of, form.get("sender", "")))


async def _acted(
    request: Asking,
    tools: Tools,
    token: str,
    form: dict[str, str],
    work: Callable[[Desk, Link], Awaitable[ShownSender]],
) -> Response[Any]:
    lang = form.get("lang", "")

    async def done(desk: Desk, of: Link, say: Said) -> Response[Any]:
        if wait := _too_many(desk.posts, of):
            return _throttled(tools, say, wait)
        try:
            await work(desk, of)
        except ContactError:
            return _message(tools, say, "gone_contact", status=409)
        except DeskError:
            return _message(tools, say, "refused", status=409, base=PATH + token, lang=lang)
        return Redirect(link(PATH + token, lang=lang), status_code=303, headers=HEADERS)

    return await _with_link(request, tools, token, lang, done)


async def _with_link(request: Asking, tools: Tools, token: str, lang: str, show: _Shown) -> Response[Any]:
    """What `show` answers for the link of a token; another page if there is none, or it is not good any more."""
    settings = tools.config.customers
    if not settings.url:
        raise NotFoundException("there is no such page")
    say = Said(language_of(lang, request.headers.get("accept-language", ""), settings.language))
    desk: Desk = request.app.state.customers
    client = _network(client_of(request))
    try:
        found = await find_link(tools.reader, token)
        if found is None:
            # Not asked before: a good link works whatever others at the same address try.
            if wait := desk.wrong.wait(client):
                return _throttled(tools, say, wait)
            desk.wrong.tried(client)
            return _message(tools, say, "gone_unknown", status=404)
        state = found.state(tools.clock.now())
        if state != "good":
            return _message(tools, say, f"gone_{state}", status=410, time=found.expires)
        return await show(desk, found, say)
    except LedgerError:
        return _message(tools, say, "unavailable", status=503)


def _too_many(throttle: Throttle, of: Link) -> float:
    """Seconds that whoever has this link must wait; 0: none, and this time is counted."""
    if wait := throttle.wait(of.id):
        return wait
    throttle.tried(of.id)
    return 0.0


def _throttled(tools: Tools, say: Said, wait: float) -> Response[Any]:
    answer = _message(tools, say, "throttled", status=429)
    answer.headers["Retry-After"] = str(math.ceil(wait))
    return answer


def _message(
    tools: Tools, say: Said, what: str, *, status: int, time: float = 0.0, base: str = "", lang: str = ""
) -> Response[Any]:
    return _page(tools, say, "customers/message.html", status=status, what=what, time=time, base=base, lang=lang)


def _page(tools: Tools, say: Said, template: str, *, status: int = 200, **context: Any) -> Response[Any]:
    config = tools.config
    text = (
        environment()
        .get_template(template)
        .render(
            say=say,
            languages=[(name, texts(name)["language"]) for name in LANGUAGES],
            organisation=config.cases.organisation or config.server.hostname,
            help_=config.customers.help,
            now=tools.clock.now(),
            **context,
        )
    )
    return Response(text, media_type=MediaType.HTML, status_code=status, headers=HEADERS)


async def _form(request: Asking) -> dict[str, str]:
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


def _network(client: str) -> str:
    """Who counts as one: an address, of IPv6 a network of 64 bits."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network(f"{client}/64", strict=False)) if address.version == 6 else client


PAGES: list[Any] = [overview, check, answer, undo]
API: list[Any] = []
