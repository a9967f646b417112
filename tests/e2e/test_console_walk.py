"""Every page of the console in a real browser: found by its links, wide and narrow, light and dark, by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from outbound_guard.console.pages import NAVIGATION
from tests.browser import PHONE, Window, chromium
from tests.house import House, house
from tests.product import Hops, until
from tests.webconsole import add_user

_ID = re.compile(r"[0-9a-z]{16}|[0-9]+|[0-9]{4}-[0-9]+")
_MOST = 80
"""Pages that are opened at most."""

MAIN = [(to, name) for to, name, _, scope in NAVIGATION if scope == "read"]
"""The pages of the desk's people; those of tenants are in test_tenants."""


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    more = '[blocklist]\naddresses = ["192.0.2.25"]\ninterval = 0\n'
    # Nobody listens there, so the pages of notices have some that wait.
    more += '[[notice]]\nname = "hook"\ncarrier = "chat"\nurl = "http://127.0.0.1:9/"\nallow_private = true\n'
    with Hops() as hops:
        product, found = house(tmp_path_factory.mktemp("walk"), hops, more=more)
        with product:
            add_user(product, "ann", "admin")
            found.calm_past("anna@shop.test", 12)
            held = found.burst("anna@shop.test", 15)
            found.send("<b>bob</b>@shop.test", "x@there.test", "<script>alert(1)</script>")
            until(lambda: len(product.held()) == len(held), product.held)
            found.queue("quentin@shop.test", "waits & <b>waits</b>")
            product.guard("case", "open", "192.0.2.25", "--reason", "a customer told us")
            until(lambda: "case_opened" in product.guard("notice", "list"))
            yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def _kind(path: str) -> str:
    """Which page it is: without ids and what it is about."""
    return "/".join("*" if _ID.fullmatch(part) else part for part in urlsplit(path).path.split("/"))


def _links(window: Window) -> list[str]:
    found: list[str] = window.page.eval_on_selector_all(
        "a[href^='/']:not([download])", "all => all.map((one) => one.getAttribute('href').split('#')[0])"
    )
    return [to for to in found if not re.search(r"\.(?:json|csv|eml|zip)\b|/raw|/frame|/export|/original", to)]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_every_page_that_is_linked_can_be_read_and_used_by_everybody(customers: House, browser: Browser) -> None:
    """Breadth first from the first page: each kind of page once."""
    with Window(browser, customers.product) as window, Window(browser, customers.product, dark=True) as dark:
        window.sign_in("ann")
        dark.sign_in("ann")
        waiting, kinds, hindrances = ["/"], {_kind("/")}, []
        opened = 0
        while waiting and opened < _MOST:
            path, opened = waiting.pop(0), opened + 1
            for one in (window, dark):
                one.open(path)
                assert one.overflow() <= 0, path
            # What differs in the dark is the contrast.
            hindrances += [f"{path}: {found}" for found in window.hindrances()]
            hindrances += [f"{path}, dark: {found}" for found in dark.hindrances("color-contrast")]
            assert window.page.locator("h1").count() == 1, path
            for to in _links(window):
                if (kind := _kind(to)) not in kinds:
                    kinds.add(kind)
                    waiting.append(to)
        assert opened > len(MAIN)
    assert not hindrances, "\n".join(hindrances)
    assert kinds >= {*(to for to, _ in MAIN), "/notices", "/notices/*"}


@pytest.mark.long
def test_a_phone_shows_every_main_page_without_scrolling_sideways(customers: House, browser: Browser) -> None:
    with Window(browser, customers.product, size=PHONE, has_touch=True) as window:
        window.sign_in("ann")
        for to, _ in MAIN:
            window.open(to)
            assert window.overflow() <= 0, to
        window.page.get_by_text("Menu", exact=True).click()
        window.page.get_by_role("link", name="Held", exact=True).click()
        window.page.wait_for_url("**/held*")


@pytest.mark.long
def test_without_scripts_every_main_page_says_the_same(customers: House, browser: Browser) -> None:
    with Window(browser, customers.product, java_script_enabled=False) as window:
        window.page.goto("/sign-in")
        window.sign_in("ann")
        for to, name in MAIN:
            window.open(to)
            assert window.page.locator("h1").count() == 1, name


def test_keys_lead_through_the_console(customers: House, browser: Browser) -> None:
    with Window(browser, customers.product) as window:
        window.sign_in("ann")
        page = window.page
        window.open("/")
        page.keyboard.press("g")
        page.keyboard.press("h")
        page.wait_for_url("**/held*")
        page.keyboard.press("j")
        assert page.locator("tr.at").count() == 1
        page.keyboard.press("x")
        assert page.locator("tr.at input[type=checkbox]").is_checked()
        page.keyboard.press("o")
        page.wait_for_url(re.compile(r"/held/[0-9a-z]{16}"))
        page.keyboard.press("?")
        assert page.get_by_role("dialog").is_visible()


@pytest.mark.long
def test_the_theme_that_was_chosen_stays(customers: House, browser: Browser, tmp_path: Path) -> None:
    with Window(browser, customers.product) as window:
        window.sign_in("ann")
        window.open("/about")
        window.page.get_by_role("button", name="Dark or light").click()
        window.open("/")
        assert window.page.evaluate("document.documentElement.dataset.theme") == "dark"
        window.picture(tmp_path / "dark.png")
        assert (tmp_path / "dark.png").stat().st_size > 1000
