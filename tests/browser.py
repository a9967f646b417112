"""The console in a real Chromium: what people see and click.

    with chromium() as browser, Window(browser, product) as window:
        window.sign_in("ann")
        window.open("/held")
        window.page.get_by_role("button", name="Release").click()

A window fails when it closes if a page of it wrote an error to the console, broke the content security policy, or asked
for anything from another place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.product import Product
from tests.webconsole import PASSWORD

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, PHONE = (1360, 850), (390, 800)
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
"""Of the Web Content Accessibility Guidelines."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a screen; the test is skipped where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed (Debian package chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """One window at the console of a product."""

    def __init__(
        self, browser: Browser, product: Product, *, size: tuple[int, int] = WIDE, dark: bool = False, **more: Any
    ) -> None:
        self.base = f"http://{product.addresses['console']}"
        self.wrong: list[str] = []
        """What must not happen, and has."""
        self.expected: set[int] = set()
        """Status codes of answers that this window may meet, besides those below 400."""
        self.elsewhere: tuple[str, ...] = ()
        """Beginnings of addresses at other places that it may ask for."""
        self._context = browser.new_context(
            base_url=self.base,
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            **more,
        )
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", self._told)
        self.page.on("pageerror", lambda error: self.wrong.append(f"script failed: {error}"))
        self.page.on("request", self._asked)

    def __enter__(self) -> Window:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._context.close()
        if kind is None:
            assert not self.wrong, self.wrong

    def sign_in(self, name: str) -> None:
        """With PASSWORD."""
        self.page.goto("/sign-in")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.locator("form[action='/sign-out']").wait_for(state="attached")

    def open(self, path: str) -> None:
        """A page of the console, which must be one."""
        answer = self.page.goto(path)
        assert answer is not None, path
        assert answer.ok, f"{path}: {answer.status}\n{self.page.inner_text('main')[:500]}"

    def hindrances(self, rule: str = "") -> list[str]:
        """What keeps people with disabilities from using this page, by all rules that a program can check, or one."""
        options = {"runOnly": {"type": "rule", "values": [rule]} if rule else {"type": "tag", "values": list(RULES)}}
        found = json.loads(json.dumps(Axe().run(self.page, options=options).response["violations"]))
        return [f"{one['id']}: {one['help']}: {node['html'][:200]}" for one in found for node in one["nodes"][:3]]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def picture(self, path: Path) -> None:
        """A screenshot of the whole page."""
        self.page.screenshot(path=path, full_page=True)

    def _told(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        if any(f"status of {code} " in message.text for code in self.expected):
            return
        self.wrong.append(f"{self.page.url}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.base, "about:", "data:text/html", "blob:", *self.elsewhere)):
            self.wrong.append(f"{self.page.url} asks for {request.url}")
