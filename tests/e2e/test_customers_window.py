"""The customers' page in a real browser: on a telephone, in the dark, without scripts, by rules of accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser import PHONE, WIDE, Window, chromium
from tests.customers import SCRIPT, SHOP, House, customers
from tests.product import Hops

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Hops() as hops, customers(tmp_path_factory.mktemp("window"), hops) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.mark.parametrize(("size", "dark"), [(PHONE, False), (PHONE, True), (WIDE, False)])
def test_everybody_can_use_it(
    house: House, browser: Browser, tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    path = house.link()
    with Window(browser, house.product, size=size, dark=dark, locale="de-DE", java_script_enabled=True) as window:
        window.open(path)
        assert window.page.locator("html").get_attribute("lang") == "de"
        window.picture(tmp_path / "page.png")
        assert window.overflow() == 0
        assert not window.hindrances()
        window.page.get_by_role("link", name="Das war ich nicht").first.click()
        assert window.overflow() == 0
        assert not window.hindrances()
        window.picture(tmp_path / "answer.png")
        window.page.get_by_role("link", name="English").click()
        window.page.get_by_role("heading", name="Mail that was held back").wait_for()
        assert window.overflow() == 0


def test_an_answer_without_scripts(house: House, browser: Browser, tmp_path: Path) -> None:
    path = house.link()
    with Window(browser, house.product, size=PHONE, locale="en-GB", java_script_enabled=False) as window:
        window.open(path)
        section = window.page.locator("section", has=window.page.get_by_role("heading", name="Script contact.php"))
        section.get_by_role("link", name="This was not me").click()
        window.page.get_by_role("button", name="Yes, this was not me").click()
        window.page.get_by_text("Find contact.php in your web space.").wait_for()
        window.picture(tmp_path / "steps.png")
        anna = window.page.locator("section", has=window.page.get_by_role("heading", name="Mailbox anna@shop.test"))
        anna.get_by_role("link", name="This was me").click()
        window.picture(tmp_path / "me.png")
        window.page.get_by_role("button", name="Yes, this was me").click()
        window.page.get_by_role("button", name="Undo").click()
        window.page.get_by_text("You have taken your answer back.").wait_for()
        window.picture(tmp_path / "undone.png")
    assert house.audit("customer.not_me")[0]["subject"] == SCRIPT
    assert house.states(house.ids["anna"]) == ["held"] * 6


def test_the_desk_sees_it(house: House, browser: Browser, tmp_path: Path) -> None:
    with Window(browser, house.product) as window:
        window.sign_in("ann")
        window.open(f"/accounts/one?account={SHOP}")
        window.page.get_by_role("button", name="Make a link for the customer").click()
        url = window.page.locator("#link").inner_text()
        assert window.overflow() == 0
        assert not window.hindrances()
        window.open(f"/accounts/one?account={SHOP}")
        window.page.get_by_role("button", name="Revoke").first.click()
        window.page.get_by_text("The link does not work any more.").wait_for()
        window.picture(tmp_path / "account.png")
        assert not window.hindrances()
    gone = house.visit.get(url.removeprefix("http://127.0.0.1:1"))
    assert gone.status_code == 410
