"""Control panels, as the operator of a running service sees them: suspensions, commands, the console."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.panels import TOKEN, Panel, panel
from tests.product import Hops, Product, until
from tests.webconsole import signed_in

pytestmark = pytest.mark.long
ANNA, EVE, CARL = "anna@shop.example", "eve@shop.example", "carl@other.example"
MORE = """
[[panel]]
name = "web1"
kind = "cpanel"
url = "http://127.0.0.1:{one}"
token_file = "token"
accounts = ["*.example"]
mode = "act"
allow_private = true
[[panel]]
name = "web2"
kind = "plesk"
url = "http://127.0.0.1:{two}"
token_file = "token"
accounts = ["*.example"]
mode = "ask"
allow_private = true
[[panel]]
name = "web3"
kind = "directadmin"
url = "http://127.0.0.1:{three}"
token_file = "token"
user = "admin"
whole_accounts = false
allow_private = true
[notices]
retry = [1]
"""


class House:
    """The product and three panels."""

    def __init__(self, folder: Path, hops: Hops) -> None:
        self.panels: dict[str, Panel] = {}
        # Who forgets the managers closes the servers.
        self.open = [panel(kind) for kind in ("cpanel", "plesk", "directadmin")]
        for number, one in enumerate(self.open, 1):
            self.panels[f"web{number}"] = hops.call(one.__aenter__())
        ports = dict(zip(("one", "two", "three"), (one.port for one in self.panels.values()), strict=True))
        (folder / "token").write_text(f"{TOKEN}\n")
        (folder / "token").chmod(0o600)
        self.product = Product.made(folder, smarthosts=[hops.start().address], relays=1, more=MORE.format(**ports))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Hops() as hops:
        house = House(tmp_path_factory.mktemp("panels"), hops)
        with house.product:
            yield house
        for one in house.open:
            hops.call(one.__aexit__(None, None, None))


def test_a_suspension_reaches_the_panel_and_its_end_too(house: House) -> None:
    guard, web1 = house.product.guard, house.panels["web1"]
    guard("account", "suspend", EVE, "--sender", "--reason", "stolen password")
    until(lambda: web1.stopped == {EVE}, house.product.said)
    # In mode "ask" nothing happens by itself, in "dry_run" only questions are sent.
    until(lambda: [row["last"] and row["last"]["state"] for row in listed(house)] == ["sent", "left_out", "left_out"])
    guard("account", "resume", EVE, "--sender", "--reason", "new password")
    until(lambda: web1.stopped == set(), house.product.said)
    assert web1.effects == [f"suspend_outgoing {EVE}", f"unsuspend_outgoing {EVE}"]
    assert house.panels["web2"].effects == []
    assert house.panels["web3"].changing == []
    assert TOKEN not in house.product.said()


def listed(house: House) -> list[dict[str, dict[str, str]]]:
    found: list[dict[str, dict[str, str]]] = json.loads(house.product.guard("panel", "list", "--json"))
    return found


def test_a_person_tells_a_panel_and_takes_it_back(house: House) -> None:
    guard, web2 = house.product.guard, house.panels["web2"]
    said = guard("panel", "suspend", ANNA, "--sender", "--panel", "web2", "--reason", "by telephone")
    assert said == "web2: sent: -outgoing-messages-mbox-limit 0: OK\n"
    assert web2.stopped == {ANNA}
    assert "-outgoing-messages-mbox-limit default: OK" in guard("panel", "release", ANNA, "--sender", "--panel", "web2")
    assert web2.stopped == set()


def test_a_dry_run_shows_the_calls_and_makes_none(house: House) -> None:
    web1 = house.panels["web1"]
    before = len(web1.changing)
    [said] = json.loads(
        house.product.guard("panel", "suspend", "shop.example", "--panel", "web1", "--dry-run", "--json")
    )
    url = f"http://127.0.0.1:{web1.port}/json-api/suspend_outgoing_email?api.version=1&user=web12"
    assert said == {"panel": "web1", "calls": [f"GET {url} [Authorization: whm root:***]"], "answer": ""}
    assert len(web1.changing) == before
    assert "there is no panel 'web9'" in failed(house, "panel", "release", ANNA, "--sender", "--panel", "web9")


def failed(house: House, *words: str) -> str:
    """What a command says that is refused."""
    return house.product.guard(*words, code=1)


def test_trying_a_panel_says_what_is_wrong(house: House) -> None:
    web1 = house.panels["web1"]
    assert house.product.guard("panel", "try", "web1") == "web1 answers and accepts the token\n"
    web1.token = "another"
    try:
        assert "the token, or the address that we come from, is not accepted" in failed(house, "panel", "try", "web1")
    finally:
        web1.token = TOKEN
    assert "nobody@shop.example" in failed(house, "panel", "try", "web1", "nobody@shop.example", "--sender")


def test_the_sender_s_page_says_what_the_panel_answered_and_undoes_it(house: House) -> None:
    web1 = house.panels["web1"]
    house.product.guard("account", "suspend", CARL, "--sender", "--reason", "stolen password")
    until(lambda: CARL in web1.stopped, house.product.said)
    with signed_in(house.product, "ann", role="operator") as ann:

        def shown() -> str:
            return ann.get("/accounts/sender", sender=CARL).text

        until(lambda: "suspend: OK" in shown(), shown)
        assert "Let it go at web1" in shown()
        assert TOKEN not in shown()
        said = ann.post("/accounts/panel", scope="sender", subject=CARL, panel="web1", what="release").text
        assert "web1 is told to let it go." in said
        until(lambda: CARL not in web1.stopped, house.product.said)
        until(lambda: "Stop it at web1" in shown(), shown)
        items = ann.api("GET", "/accounts/panels", of="sender", subject=CARL).json()["items"]
        [told] = [item for item in items if item["panel"] == "web1"]
        assert (told["stopped"], told["last"]["state"]) == (False, "sent")
        assert "console:ann" in ann.get("/audit", subject=CARL).text
        order = {"scope": "sender", "subject": CARL, "what": "suspend", "panels": ["web1"]}
        assert ann.api("POST", "/accounts/panels", order).json() == {"panels": ["web1"]}
        until(lambda: CARL in web1.stopped, house.product.said)
        refused = ann.api("POST", "/accounts/panels", order | {"panels": ["web9"]})
        assert (refused.status_code, "there is no panel 'web9'" in refused.text) == (409, True)
    with signed_in(house.product, "eve", role="viewer") as eve:
        assert (
            eve.post("/accounts/panel", scope="sender", subject=CARL, panel="web1", what="suspend").status_code == 403
        )
