"""From the first start to everyday work with users: set-up link, passwords, second factor, sessions, tokens."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest

from tests.product import Product, until
from tests.webconsole import PASSWORD, Visit, signed_in

OTHER = "another horse, another staple"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    made = Product.made(tmp_path_factory.mktemp("users"), smarthosts=["127.0.0.1:1"], relays=1)
    text = made.config.read_text().replace("[console]\n", '[console]\nproxies = ["127.0.0.1"]\n')
    made.config.write_text(text)
    with made:
        yield made


@pytest.fixture
def visits(product: Product) -> Iterator[list[Visit]]:
    opened: list[Visit] = []
    yield opened
    for visit in opened:
        visit.http.close()


def link(product: Product) -> str:
    """The path of the link that the service printed last."""
    out = product.config.with_suffix(".out")
    found = until(lambda: re.findall(r"^no user yet: open http://\S+?(/setup/\S+) to", out.read_text(), re.M), "a link")
    return str(found[-1])


def visit_of(product: Product, visits: list[Visit], client: str = "192.0.2.1") -> Visit:
    visit = Visit(product.addresses["console"])
    visit.http.headers.update({"X-Forwarded-For": client, "Referer": f"http://{product.addresses['console']}/me"})
    visits.append(visit)
    return visit


def said(text: str) -> str:
    """What the page says was done, or was wrong."""
    found = re.search(r'<p class="said [^>]*>(.*?)</p>', text, re.S)
    return html.unescape(found[1]) if found else ""


def test_the_first_start(product: Product, visits: list[Visit]) -> None:
    path, visit = link(product), visit_of(product, visits)
    # The first page leads to signing in, and nobody can.
    assert visit.get("/").url.path == "/sign-in"
    assert visit.get("/setup/x").status_code == 404
    assert visit.post("/setup/x", name="eve", password=PASSWORD, again=PASSWORD).status_code == 404
    page = visit.get(path)
    assert "The first user" in page.text
    assert 'name="password" type="password"' in page.text
    assert said(visit.post(path, name="ann", password=PASSWORD, again="x").text) == "The two passwords differ."
    answer = visit.post(path, name="ann", password="short", again="short")
    assert "at least 12 characters" in said(answer.text)
    assert 'value="ann"' in answer.text
    answer = visit.post(path, name="ann", password=PASSWORD, again=PASSWORD)
    assert (answer.status_code, answer.url.path) == (200, "/me")
    assert "Sign out" in answer.text
    assert visit.get(path).status_code == 404
    assert visit.post(path, name="eve", password=PASSWORD, again=PASSWORD).status_code in (403, 404)
    assert [user["name"] for user in visit.api("GET", "/users").json()["items"]] == ["ann"]


def test_the_link_is_printed_only_while_there_is_nobody(product: Product) -> None:
    text = product.config.with_suffix(".out").read_text()
    assert text.count("no user yet") == 1
    product.kill("console-0")
    until(lambda: product.metric("ledger_up") == 1, "the console is there again")
    with signed_in(product, "ann", add=False) as ann:
        assert ann.get("/me").status_code == 200
    assert product.config.with_suffix(".out").read_text().count("no user yet") == 1
    # Nothing that was typed or made stands in what the service prints.
    assert PASSWORD not in product.said()


def test_a_second_factor(product: Product, visits: list[Visit]) -> None:
    with signed_in(product, "tina", role="operator") as tina:
        tina.http.headers["Referer"] = f"http://{product.addresses['console']}/me"
        tina.get("/me")
        assert said(tina.post("/me/second-factor/begin", password="wrong").text) == "that is not your password"
        page = tina.post("/me/second-factor/begin", password=PASSWORD)
        assert page.url.path == "/me/second-factor"
        assert "<svg" in page.text
        assert "data:" not in page.text
        found = re.search(r'id="secret">(\w+)<', page.text)
        assert found
        totp = pyotp.TOTP(found[1])
        assert "not the code of now" in said(tina.post("/me/second-factor/confirm", code="000000").text)
        used = totp.now()
        answer = tina.post("/me/second-factor/confirm", code=used)
        codes = re.findall(r"^(?:<pre[^>]*>)?((?:[a-z2-9]{4}-){3}[a-z2-9]{4})$", answer.text, re.M)
        assert len(codes) == 10
        assert codes[0] not in tina.get("/me").text
        # The secret is not shown again.
        assert tina.get("/me/second-factor").url.path == "/me"
    visit = visit_of(product, visits)
    page = visit.post("/sign-in", name="tina", password=PASSWORD, next="/held?state=held")
    assert page.url.path == "/sign-in/code"
    assert visit.http.get("/api/v1/me").status_code == 401
    wrong = visit.post("/sign-in/code", code=used, next="/about")
    assert (wrong.status_code, said(wrong.text)) == (401, "The code is wrong, or was used before.")
    page = visit.post("/sign-in/code", code=codes[3], next="/about?x=1")
    assert (page.status_code, page.url.path, page.url.query) == (200, "/about", b"x=1")
    # The code of the next step, which may be early.
    later = visit_of(product, visits)
    later.post("/sign-in", name="tina", password=PASSWORD)
    assert later.post("/sign-in/code", code=totp.at(time.time() + 30), next="/me").url.path == "/me"
    visit.get("/me")
    fresh = re.findall(r"(?:[a-z2-9]{4}-){3}[a-z2-9]{4}", visit.post("/me/second-factor/codes", password=PASSWORD).text)
    assert set(fresh).isdisjoint(codes)
    visit.get("/me")
    assert "your password alone" in said(visit.post("/me/second-factor/off", password=PASSWORD).text)
    assert visit_of(product, visits).post("/sign-in", name="tina", password=PASSWORD, next="/me").url.path == "/me"


def test_another_password_ends_all_other_sessions(product: Product, visits: list[Visit]) -> None:
    with signed_in(product, "paul", role="viewer") as here:
        here.http.headers["Referer"] = f"http://{product.addresses['console']}/me"
        there = visit_of(product, visits)
        there.post("/sign-in", name="paul", password=PASSWORD, next="/me")
        here.get("/me")
        before = here.http.cookies["og_session"]
        wrong = here.post("/me/password", current="wrong", new=OTHER, again=OTHER)
        assert said(wrong.text) == "that is not your password"
        assert "differ" in said(here.post("/me/password", current=PASSWORD, new=OTHER, again="x").text)
        assert "is not the name" in said(
            here.post("/me/password", current=PASSWORD, new="paul12345678", again="paul12345678").text
        )
        done = here.post("/me/password", current=PASSWORD, new=OTHER, again=OTHER)
        assert "another password now" in said(done.text)
        assert here.http.cookies["og_session"] != before
        assert here.get("/me").url.path == "/me"
        assert there.get("/me").url.path == "/sign-in"
    visit = visit_of(product, visits)
    assert visit.post("/sign-in", name="paul", password=PASSWORD).status_code == 401
    assert visit.post("/sign-in", name="paul", password=OTHER, next="/me").url.path == "/me"


def test_where_somebody_is_signed_in(product: Product, visits: list[Visit]) -> None:
    with signed_in(product, "sara", role="viewer") as here:
        there, elsewhere = visit_of(product, visits, "192.0.2.77"), visit_of(product, visits, "192.0.2.78")
        for visit in (there, elsewhere):
            visit.post("/sign-in", name="sara", password=PASSWORD, next="/me")
        page = here.get("/me").text
        assert "192.0.2.77" in page
        assert "this one" in page
        row = next(row for row in page.split("<tr>") if "192.0.2.77" in row)
        ended = re.search(r'action="(/me/sessions/[0-9a-f]{16}/end)"', row)
        assert ended
        assert said(here.post(ended[1]).text) == "The session has ended."
        assert there.get("/me").url.path == "/sign-in"
        assert said(here.post("/me/sessions/end-others").text) == "1 other session has ended."
        assert elsewhere.get("/me").url.path == "/sign-in"
        assert here.get("/me").url.path == "/me"


def test_an_admin_and_the_others(product: Product, visits: list[Visit]) -> None:
    with signed_in(product, "ann", add=False) as ann:
        ann.http.headers["Referer"] = f"http://{product.addresses['console']}/users"
        ann.get("/users")
        answer = ann.post("/users/add", name="<b>", role="viewer", password=PASSWORD, again=PASSWORD)
        assert "a name has 1 to 64" in said(answer.text)
        answer = ann.post("/users/add", name="otto", role="operator", password=PASSWORD, again=PASSWORD)
        assert said(answer.text) == "otto can sign in now, as operator."
        otto = visit_of(product, visits)
        otto.post("/sign-in", name="otto", password=PASSWORD, next="/me")
        for what, more, sentence in (
            ("role", {"role": "viewer"}, "otto is viewer now, and has to sign in anew."),
            ("disable", {}, "otto cannot sign in any more; the tokens of otto rest."),
            ("enable", {}, "otto can sign in again."),
            (
                "password",
                {"password": OTHER, "again": OTHER},
                "otto has another password now, and has to sign in again.",
            ),
            ("sign-out", {}, "otto is signed out everywhere."),
        ):
            answer = ann.post("/users/change", name="otto", what=what, **more)
            assert (answer.url.path, said(answer.text)) == ("/users/one", sentence)
            assert otto.get("/me").url.path == "/sign-in"
        assert "last admin" in said(ann.post("/users/change", name="ann", what="remove").text)
        assert "otto has no second factor" in said(ann.post("/users/change", name="otto", what="totp-reset").text)
        assert "nothing was asked for" in said(ann.post("/users/change", name="otto", what="nonsense").text)
        assert "is removed" in said(ann.post("/users/change", name="otto", what="remove").text)
        assert ann.get("/users/one", name="otto").status_code == 404
        audit = ann.api("GET", "/audit", what="user.*", subject="otto").json()["items"]
        assert {entry["by"] for entry in audit} == {"console:ann"}
        assert {entry["what"] for entry in audit} >= {"user.added", "user.role", "user.disabled", "user.removed"}
        assert OTHER not in str(audit)


def test_tokens_on_ones_own_page(product: Product, visits: list[Visit]) -> None:
    with signed_in(product, "theo", role="operator") as theo:
        theo.http.headers["Referer"] = f"http://{product.addresses['console']}/me"
        page = theo.get("/me").text
        assert 'value="held"' in page
        assert 'value="users"' not in page
        assert "beyond what theo may do" in said(theo.post("/me/tokens", name="ci", scope=["users"], days="7").text)
        assert "is not a number" in said(theo.post("/me/tokens", name="ci", scope=["read"], days="x").text)
        made = theo.post("/me/tokens", name="ci", scope=["read", "held"], days="7")
        found = re.search(r'value="(og_[0-9a-f]{16}_[0-9a-f]{48})"', made.text)
        assert found
        assert found[1] not in theo.get("/me").text
        program = Visit(product.addresses["console"], token=found[1])
        visits.append(program)
        assert program.api("GET", "/me").json() == {
            "name": "theo",
            "role": "operator",
            "scopes": ["read", "held"],
            "by": "token:ci",
        }
        with signed_in(product, "ann", add=False) as ann:
            table = ann.get("/tokens").text
            assert "theo" in table
            assert found[1] not in table
            revoked = ann.post("/tokens/revoke", id=found[1].split("_")[1])
            assert said(revoked.text) == "The token ci of theo is revoked."
        assert program.api("GET", "/me").status_code == 401
        assert "revoked" in theo.get("/me").text


@pytest.mark.long
def test_what_is_counted_and_written_down(product: Product, visits: list[Visit]) -> None:
    with signed_in(product, "olga"):
        pass
    visit = visit_of(product, visits, "192.0.2.200")
    for name in ("olga", "my-secret-password"):
        assert visit.post("/sign-in", name=name, password="wrong").status_code == 401
    until(lambda: product.metric("console_sign_ins_total", result="refused") >= 2, "the tries are counted")
    until(lambda: product.metric("console_sign_ins_total", result="ok") >= 1, "who came in is counted")
    product.stop()
    product.start()
    with signed_in(product, "olga", add=False) as olga:
        failed = until(
            lambda: [
                (entry["subject"], entry["detail"])
                for entry in olga.api("GET", "/audit", what="sign_in.failed").json()["items"]
                if "192.0.2.200" in entry["detail"]
            ],
            "the tries are in the audit",
        )
    assert sorted(failed) == [("(no user)", "1 try from 192.0.2.200"), ("olga", "1 try from 192.0.2.200")]


def test_nothing_of_it_lies_about(product: Product) -> None:
    """Secrets are in no file as they are: what was typed, what cookies and tokens are, what was shown once."""
    for file in Path(product.data).rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert PASSWORD.encode() not in content, file
            assert OTHER.encode() not in content, file
            if file.name.startswith("ledger.sqlite3") or file.parent.name == "journal":
                assert file.stat().st_mode & 0o077 == 0, file
