"""Signing in at an OpenID Connect provider, as people see it: the real service, a real provider, a real browser."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.browser import PHONE, Window, chromium
from tests.openid import Provider
from tests.product import Product, until
from tests.webconsole import PASSWORD, Visit, signed_in

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Provider(console=f"http://127.0.0.1:{port}", host="localhost", by_form=True) as provider:
        yield provider


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, idp: Provider) -> Iterator[Product]:
    made = Product.made(tmp_path_factory.mktemp("oidc"), smarthosts=["127.0.0.1:1"], relays=1)
    (made.config.parent / "oidc-secret").write_text(idp.secret)
    (made.config.parent / "oidc-secret").chmod(0o600)
    port = urlsplit(idp.console).port
    oidc = f"""[console]
address = "127.0.0.1:{port}"
url = "{idp.console}"
[console.oidc]
{idp.settings}label = "the staff login"
password_users = ["root"]
sign_out = "everywhere"
accounts_claim = "accounts"
timeout = 2.0
[console.oidc.roles]
admin = ["desk-admins"]
tenant = ["customers"]
"""
    text = made.config.read_text().replace('[console]\naddress = "127.0.0.1:0"\n', oidc)
    assert "console.oidc" in text
    made.config.write_text(text)
    with made:
        yield made


@pytest.fixture(autouse=True)
def in_order(idp: Provider) -> Iterator[None]:
    idp.person = {"sub": "u-1", "preferred_username": "Ann", "groups": ["desk-admins"]}
    yield
    idp.wrong = ""
    idp.by_form = True
    idp.answers.clear()


@pytest.fixture
def visit(product: Product, idp: Provider) -> Iterator[Visit]:
    idp.by_form = False
    made = Visit(product.addresses["console"])
    yield made
    made.http.close()


def onward(visit: Visit, answer: httpx.Response) -> httpx.Response:
    """The page that a browser goes on to by itself."""
    found = re.fullmatch(r"0; url=(\S+)", answer.headers["Refresh"])
    assert found, answer.headers
    return visit.get(found[1])


@pytest.mark.timeout(300)
def test_the_sign_in_page(product: Product, tmp_path: Path) -> None:
    with chromium() as browser:
        for dark in (False, True):
            with Window(browser, product, dark=dark, size=PHONE) as small:
                small.open("/sign-in")
                small.picture(tmp_path / f"sign-in-{dark}.png")
                assert not small.hindrances()
                assert not small.overflow()


@pytest.mark.timeout(300)
def test_a_person_in_a_browser(product: Product, idp: Provider, tmp_path: Path) -> None:
    with chromium() as browser, Window(browser, product) as window:
        window.elsewhere = (idp.place,)
        page = window.page
        page.goto("/held?state=held")
        page.get_by_role("link", name="Sign in with the staff login").click()
        page.get_by_role("button", name="It is me").click()
        # The cookie is not sent on a way that began at another site, and all the same the page comes.
        page.wait_for_url("**/held?state=held")
        page.locator("form[action='/sign-out']").wait_for(state="attached")
        assert "Ann" in page.locator(".who").inner_text()
        window.open("/me")
        text = page.inner_text("main")
        assert idp.issuer in text
        assert "Present password" not in text
        window.picture(tmp_path / "me.png")
        assert not window.hindrances()
        window.open("/users")
        page.get_by_role("link", name="ann", exact=True).click()
        assert "decided at the provider" in page.inner_text("main")
        assert not window.hindrances()
        page.get_by_role("button", name="Sign out", exact=True).click()
        page.wait_for_url("**/sign-in")
        hint = idp.signed_out[-1]
        assert hint["id_token_hint"].count(".") == 2
        assert hint["post_logout_redirect_uri"] == f"{idp.console}/sign-in"
        window.expected = {403}
        idp.person["groups"] = ["guests"]
        page.get_by_role("link", name="Sign in with the staff login").click()
        page.get_by_role("button", name="It is me").click()
        page.get_by_role("heading", name="You are not signed in").wait_for()
        assert "The provider knows you as Ann. Nothing that it says" in page.inner_text("main")
        assert not window.hindrances()
        window.picture(tmp_path / "refused.png")


def test_who_came_in_and_who_did_not_stands_in_the_audit(product: Product, idp: Provider, visit: Visit) -> None:
    begun = visit.http.get("/sign-in/oidc", params={"next": "/about"})
    assert begun.status_code == 303
    set_cookie = begun.headers["set-cookie"].lower()
    assert "og_oidc=" in set_cookie
    assert "httponly" in set_cookie
    assert "samesite=lax" in set_cookie
    answer = visit.http.get(idp.browse(begun.headers["location"]))
    assert answer.status_code == 200
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert onward(visit, answer).url.path == "/about"
    me = visit.api("GET", "/me").json()
    assert (me["name"], me["role"], me["by"]) == ("ann", "admin", "console:ann")
    audit = visit.api("GET", "/audit", subject="ann").json()["items"]
    assert {"sign_in", "user.added"} <= {entry["what"] for entry in audit}
    until(lambda: product.metric("console_sign_ins_total", result="ok") >= 1, "it is counted")
    # Somebody else's address, in this browser.
    stranger = httpx.get(f"{idp.console}/sign-in/oidc", trust_env=False)
    refused = visit.http.get(idp.browse(stranger.headers["location"]))
    assert refused.status_code == 403
    assert "began in another browser" in refused.text
    until(
        lambda: any(
            "the state is not that of this browser" in entry["detail"]
            for entry in visit.api("GET", "/audit", what="sign_in.refused").json()["items"]
        ),
        "it is in the audit",
    )
    assert visit.get("/about").status_code == 200


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:1"])
def test_the_way_on_is_a_page_of_ours(idp: Provider, visit: Visit, elsewhere: str) -> None:
    begun = visit.http.get("/sign-in/oidc", params={"next": elsewhere})
    answer = visit.http.get(idp.browse(begun.headers["location"]))
    assert answer.headers["Refresh"] == "0; url=/"
    assert "evil" not in answer.text


def test_a_tenant(idp: Provider, visit: Visit) -> None:
    idp.person = {"sub": "t-1", "preferred_username": "resa", "groups": ["customers"], "accounts": ["shop.test"]}
    begun = visit.http.get("/sign-in/oidc")
    visit.http.get(idp.browse(begun.headers["location"]))
    assert visit.get("/").url.path == "/own"
    assert visit.http.get("/held").status_code == 403


def test_a_provider_that_is_away(product: Product, idp: Provider, visit: Visit) -> None:
    with signed_in(product, "root") as root:
        # The code comes back, and nobody takes it.
        begun = visit.http.get("/sign-in/oidc")
        back = idp.browse(begun.headers["location"])
        idp.answers["token"] = "hang"
        away = visit.http.get(back)
        assert away.status_code == 503
        said = "The provider localhost cannot be used right now: no answer within 2 s. Try again in a moment."
        assert said in away.text
        assert 'name="password"' in away.text
        # Whoever opens the page then is told before.
        assert "cannot be used right now" in visit.get("/sign-in").text
        assert root.get("/users").status_code == 200
        idp.free.set()
        idp.answers.clear()
        answer = visit.http.get(idp.browse(visit.http.get("/sign-in/oidc").headers["location"]))
        assert onward(visit, answer).status_code == 200
        # Nobody else comes in by a password.
        assert root.post("/users/add", name="bob", role="viewer", password=PASSWORD, again=PASSWORD).status_code == 200
        other = Visit(product.addresses["console"])
        assert "cannot be used" not in other.get("/sign-in").text
        assert other.post("/sign-in", name="bob", password=PASSWORD).status_code == 401
        other.http.close()


def test_nothing_of_it_lies_about(product: Product, idp: Provider) -> None:
    words = (idp.secret.encode(), b"access-1", b"eyJ")
    for file in (
        *Path(product.data).rglob("*"),
        product.config.with_suffix(".out"),
        product.config.with_suffix(".err"),
    ):
        if file.is_file():
            content = file.read_bytes()
            assert not any(word in content for word in words), file
