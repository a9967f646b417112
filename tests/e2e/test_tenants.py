"""A tenant at the console: what is theirs, and every other door there is; and four eyes, at the same house."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from litestar.routes import HTTPRoute

from outbound_guard.config import load
from outbound_guard.console import Tools, application
from outbound_guard.console.access import BY_LINK, NOBODY, SIGNED_IN
from outbound_guard.desk.people.access import Access
from outbound_guard.desk.people.users import ROLES
from tests.customers import SHOP, House, customers
from tests.product import Hops, until
from tests.webconsole import PASSWORD, Visit, signed_in

TENANT_ROUTES = {
    # Every route that a tenant may use is named here, and is asked below for what is another's.
    "/own",
    "/own/held",
    "/own/held/{id_}",
    "/own/messages",
    "/own/messages/{id_}",
    "/api/v1/own/accounts",
    "/api/v1/own/held",
    "/api/v1/own/held/{id_}",
    "/api/v1/own/messages",
    "/api/v1/own/messages/{id_}",
}
ABOUT_ONESELF = re.compile(r"/sign-out|(/api/v1)?/me(/.*)?|/api/v1/tokens(/\{id\})?")
"""What belongs to whoever is signed in: password, second factor, sessions, tokens of one's own."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with (
        Hops() as hops,
        customers(tmp_path_factory.mktemp("tenants"), hops, console="four_eyes = 3") as made,
        signed_in(made.product, "root", role="admin") as root,
    ):
        added = root.api(
            "POST",
            "/users",
            {"name": "resa", "role": "tenant", "password": PASSWORD, "accounts": ["other.test", "*.resold.test"]},
        )
        assert added.status_code == 201, added.text
        assert added.json()["accounts"] == ["other.test", "*.resold.test"]
        made.root = root  # type: ignore[attr-defined]
        yield made


@pytest.fixture(scope="module")
def resa(house: House) -> Iterator[Visit]:
    visit = Visit(house.address)
    assert "Your accounts" in visit.post("/sign-in", name="resa", password=PASSWORD).text
    yield visit
    visit.http.close()


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str, dict[str, str]]]:
    """Method, path, need and parameters of every route of the application itself."""
    config = tmp_path_factory.mktemp("routes") / "routes.toml"
    config.write_text('[delivery]\nmode = "sink"\n')
    app = application(cast(Tools, SimpleNamespace(config=load(config))), cast(Access, None))
    found = []
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        kinds = {part.name: part.type.__name__ for part in route.path_components if not isinstance(part, str)}
        for handler in route.route_handlers:
            needs = str(handler.opt.get("needs", ""))
            found += [(m, route.path_format, needs, kinds) for m in sorted(handler.http_methods) if m != "OPTIONS"]
    return found


def test_every_route_has_a_rule_for_tenants(routes: list[tuple[str, str, str, dict[str, str]]]) -> None:
    assert {path for _, path, needs, _ in routes if needs == "own"} == TENANT_ROUTES
    for method, path, needs, _ in routes:
        if needs == SIGNED_IN:
            assert ABOUT_ONESELF.fullmatch(path), path
        elif path in TENANT_ROUTES:
            assert (method, needs) in (("GET", "own"), ("HEAD", "own")), path
    # No other role sees by that scope, and a tenant has no other.
    assert ROLES["tenant"] == {"own"}
    assert all("own" not in scopes for role, scopes in ROLES.items() if role != "tenant")


def test_a_tenant_gets_nowhere_else(
    house: House, resa: Visit, routes: list[tuple[str, str, str, dict[str, str]]]
) -> None:
    """By the ids of what is there: of a message, an account, a decision, a user, a link."""
    link = house.link().removeprefix("/customer/")[:16]
    ids = [house.ids["anna"][0], SHOP, "ann", link]
    tried = 0
    for method, path, needs, kinds in routes:
        if needs in (NOBODY, BY_LINK, SIGNED_IN, "own"):
            continue
        for id_ in ids if kinds else ids[:1]:
            target = path
            for name, kind in kinds.items():
                target = target.replace("{" + name + "}", "1" if kind in ("int", "float") else id_)
            asked: dict[str, Any] = {"headers": {"X-CSRF-Token": resa.csrf}}
            if method in ("POST", "PUT", "PATCH", "DELETE"):
                asked |= {"json": {}} if path.startswith("/api/") else {"data": {"x": "1"}}
            answer = resa.http.request(method, target, **asked)
            home = path == "/" and answer.headers.get("location") == "/own"
            assert answer.status_code == 403 or home, (method, target, answer.status_code)
            assert house.ids["anna"][0] not in answer.text
            tried += 1
    assert tried > 100


def test_what_is_anothers_is_not_there(house: House, resa: Visit) -> None:
    own, other = house.ids["other"][0], [house.ids["anna"][0], house.ids["bob"][0]]
    for path in sorted(TENANT_ROUTES):
        if "{id_}" in path:
            assert resa.http.get(path.replace("{id_}", own)).status_code == 200, path
            unknown = resa.http.get(path.replace("{id_}", "0" * 16))
            assert unknown.status_code == 404
            for id_ in other:
                answer = resa.http.get(path.replace("{id_}", id_))
                assert answer.status_code == 404, (path, id_)
                assert answer.text.replace(id_, "") == unknown.text.replace("0" * 16, ""), "no difference tells of it"
            continue
        for query in (
            {},
            {"account": SHOP},
            {"sender": "anna@shop.test"},
            {"recipient": "someone0@there.test"},
            {"words": "News"},
        ):
            answer = resa.http.get(path, params=query)
            assert answer.status_code == 200, (path, query)
            for hidden in ("News 0", "anna@shop.test<", "bob@shop.test", "stolen.test", *other):
                assert hidden not in answer.text, (path, query, hidden)
    found = resa.api("GET", "/own/accounts").json()
    assert [(one["account"], one["held"]) for one in found["items"]] == [("other.test", 1)]
    page = resa.get(f"/own/held/{own}").text
    assert "Much more mail was sent than usual." in page
    for inner in ("80 messages", "4.2", "score"):
        assert inner not in page


def test_a_tenants_token_sees_no_more(house: House, resa: Visit) -> None:
    made = resa.api("POST", "/tokens", {"name": "resas", "scopes": ["own"], "days": 1})
    assert made.status_code == 201, made.text
    assert resa.api("POST", "/tokens", {"name": "more", "scopes": ["read"], "days": 1}).status_code == 409
    token = Visit(house.address, token=made.json()["token"])
    assert token.api("GET", "/own/held").json()["total"] == 1
    assert token.api("GET", f"/own/held/{house.ids['anna'][0]}").status_code == 404
    assert token.api("GET", "/held").status_code == 403
    token.http.close()


@pytest.mark.long  # Passwords are slow to check, and a command is started.
def test_which_accounts_can_be_changed_and_ends_the_session(house: House) -> None:
    root: Visit = house.root  # type: ignore[attr-defined]
    for wrong in ([], ["*"], ["a*b"]):
        added = root.api("POST", "/users", {"name": "x", "role": "tenant", "password": PASSWORD, "accounts": wrong})
        assert added.status_code == 409, wrong
    assert (
        "sees all accounts"
        in root.api(
            "POST", "/users", {"name": "x", "role": "viewer", "password": PASSWORD, "accounts": ["shop.test"]}
        ).text
    )
    house.product.guard("user", "role", "resa", "tenant", "--accounts", "other.test")
    root.get("/users")
    page = root.post(
        "/users/add", name="cust", role="tenant", password=PASSWORD, again=PASSWORD, accounts="nobody.test"
    )
    assert "cust can sign in now, as tenant." in page.text
    with signed_in(house.product, "cust", add=False) as cust:
        assert cust.api("GET", "/own/held").json()["total"] == 0
        changed = root.api("PATCH", "/users/cust", {"accounts": ["nobody.test", SHOP]})
        assert changed.json()["accounts"] == ["nobody.test", SHOP]
        assert cust.api("GET", "/own/held").status_code == 401
    with signed_in(house.product, "cust", add=False) as cust:
        assert cust.api("GET", "/own/held", account=SHOP).json()["total"] == 10


def test_many_messages_need_two_people(house: House) -> None:
    ann, root = house.desk, house.root  # type: ignore[attr-defined]
    order = {"ids": house.ids["anna"][:4], "act": "release", "delay": 0.0}
    placed = ann.api("POST", "/bulk", json=order)
    assert (placed.status_code, placed.json()["state"]) == (202, "waiting")
    id_ = placed.json()["id"]
    made = ann.api("POST", "/tokens", {"name": "anns", "scopes": ["held", "read"], "days": 1}).json()
    token = Visit(house.address, token=made["token"])
    for own in (ann, token):
        refused = own.api("POST", f"/bulk/{id_}/confirm")
        assert (refused.status_code, "somebody else" in refused.text) == (409, True)
    token.http.close()
    assert "somebody other than ann" in ann.get(f"/held/decisions/{id_}").text
    assert "/confirm" not in ann.get(f"/held/decisions/{id_}").text
    assert "/confirm" in root.get(f"/held/decisions/{id_}").text
    assert house.states(order["ids"]) == ["held"] * 4
    page = root.post(f"/held/decisions/{id_}/confirm")
    assert "Confirmed by console:root" in page.text
    until(lambda: house.states(order["ids"]) == ["released"] * 4, "it is carried out")
    second = ann.api("POST", "/bulk", json={"search": {"account": SHOP}, "act": "delete"}).json()
    assert second["state"] == "waiting"
    gone = root.api("POST", f"/bulk/{second['id']}/refuse", json={"reason": "no"})
    assert gone.json()["state"] == "refused"
    assert root.api("POST", f"/bulk/{second['id']}/confirm").status_code == 409
    # On the command line nobody has a second person beside them.
    said = house.product.guard("held", "release", "--account", SHOP, code=1)
    assert "nobody decides alone" in said
