"""Held mail over HTTP on the running product: found, explained, decided about in numbers, undone, and never twice."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.heldhouse import TEXT, fill, held
from tests.nexthop import NextHop
from tests.product import Hops, Product, until
from tests.webconsole import Visit, signed_in

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
MANY = 1500


class Desk:
    """The product with held mail, its next hop, and somebody at its console."""

    def __init__(self, product: Product, hop: NextHop, ann: Visit, ids: dict[str, list[str]]) -> None:
        self.product, self.hop, self.ann, self.ids = product, hop, ann, ids

    def api(self, path: str, **query: Any) -> Any:
        answer = self.ann.api("GET", path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def place(self, **order: Any) -> dict[str, Any]:
        answer = self.ann.api("POST", "/bulk", json={"reason": "seen"} | order)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def done(self, id_: str, seconds: float = 60.0) -> dict[str, Any]:
        """A decision when it has been carried out."""

        def come() -> dict[str, Any]:
            answer = self.ann.api("GET", f"/bulk/{id_}")
            found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
            return found if found.get("state") == "done" else {}

        return until(come, lambda: self.ann.api("GET", f"/bulk/{id_}").text, seconds)

    def delivered(self) -> Counter[str]:
        """How often each message reached the next hop, by its id."""
        found = re.compile(rb"\r\nText of ([0-9a-z]{16})\r\n")
        return Counter(told[1].decode() for one in list(self.hop.messages) if (told := found.search(one.raw + b"\r\n")))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    now = time.time() - 3600
    with Hops() as hops:
        hop = hops.start()
        product = Product.made(tmp_path_factory.mktemp("held"), smarthosts=[hop.address])
        other = {"account": "other.test", "sender": "bob@other.test", "text": "00000000000000b2"}
        ids = {
            "campaign": fill(product.data, [held(now + n) for n in range(70)]),
            "owned": fill(
                product.data, [held(now, subject="To be returned", **other | {"mail_from": "bob@other.test"})]
            ),
            "foreign": fill(product.data, [held(now, subject="Not ours", **other | {"mail_from": "x@foreign.test"})]),
            "hostile": fill(
                product.data,
                [
                    held(
                        now,
                        subject=HOSTILE,
                        account="<i>evil</i>.test",
                        sender=HOSTILE,
                        mail_from="<b>@evil.test",
                        recipients=(HOSTILE,),
                        text="",
                        state="quarantine",
                    )
                ],
            ),
            "late": fill(product.data, [held(now, account="late.test", sender="l@late.test", text="")]),
            "wild": fill(product.data, [held(now, subject="100% ÄPFEL_x", account="wild.test", text="")]),
            "many": fill(
                product.data, [held(now, account="many.test", sender="m@many.test", text="") for _ in range(MANY)]
            ),
        }
        with product, signed_in(product, "ann", role="operator") as ann:
            total = sum(map(len, ids.values()))
            until(lambda: ann.api("GET", "/held").json()["total"] == total, lambda: ann.api("GET", "/held").text)
            yield Desk(product, hop, ann, ids)


def test_it_is_searched_sorted_and_paged(desk: Desk) -> None:
    campaign = desk.api("/held", text=f"{TEXT:016x}", account="shop.test", limit=50)
    assert (campaign["total"], campaign["next"], len(campaign["items"])) == (70, 50, 50)
    assert [one["id"] for one in campaign["items"]] == desk.ids["campaign"][::-1][:50]
    rest = desk.api("/held", text=f"{TEXT:016x}", account="shop.test", limit=50, offset=50)
    assert [one["id"] for one in rest["items"]] == desk.ids["campaign"][::-1][50:]
    # Percent and underscore are what they are, and upper case is no other letter.
    for words, number in (("100%", 1), ("äpfel_", 1), ("a_f", 0), ("%", 1), ("apfel", 0), ("returned BOB@", 1)):
        assert desk.api("/held", words=words)["total"] == number, words
    assert desk.api("/held", state="quarantine")["total"] == 1
    assert desk.api("/held", recipient="Someone@There.test", account="wild.test")["total"] == 1
    assert desk.api("/held", signal="novelty", account="wild.test")["total"] == 1
    assert desk.api("/held", signal="structure", account="wild.test")["total"] == 0
    assert desk.api("/held", score_from=7, account="shop.test")["total"] == 0
    first = desk.api("/held", sort="account", direction="up", limit=1)["items"][0]
    assert first["account"] == "<i>evil</i>.test"
    page = desk.ann.get("/held", words="returned", sort="-score").text
    assert "To be returned" in page
    assert "Not ours" not in page
    # An empty field restricts nothing; one whose value ends as an empty one does.
    for query, number in (("words=", 70), ("words=nothing=", 0)):
        assert desk.ann.http.get(f"/api/v1/held?account=shop.test&{query}").json()["total"] == number


def test_it_is_grouped(desk: Desk) -> None:
    groups = desk.api("/held/groups", by="text")
    assert groups["total"] == 2
    largest = groups["items"][0]
    assert (largest["key"], largest["number"], largest["accounts"]) == (f"{TEXT:016x}", 70, 1)
    accounts = {one["key"]: one["number"] for one in desk.api("/held/groups", by="account")["items"]}
    assert accounts["many.test"] == MANY
    assert desk.api("/held/groups", by="sender", account="other.test")["items"][0]["key"] == "bob@other.test"
    for show in ("campaigns", "accounts", "senders"):
        assert desk.ann.get("/held", show=show).status_code == 200


def test_one_message_is_explained(desk: Desk) -> None:
    (id_,) = desk.ids["owned"]
    told = desk.api(f"/held/{id_}")
    assert [one["name"] for one in told["signals"]] == ["novelty", "rate", "structure", "from_address"]
    assert told["message"]["returnable"]
    assert told["in_spool"] == "held"
    answer = desk.ann.get(f"/held/{id_}")
    assert answer.status_code == 200, desk.product.said()[-3000:]
    page = answer.text
    assert "9 of 10 recipients are new" in page
    assert "+4.25" in page
    assert "No other message with this text" not in page
    similar = desk.api(f"/held/{id_}/similar")
    assert [one["id"] for one in similar["items"]] == desk.ids["foreign"]
    assert desk.ann.api("GET", "/held/unknown").status_code == 404
    assert desk.ann.get("/held/unknown").status_code == 404


def test_what_is_hostile_stays_text(desk: Desk) -> None:
    (id_,) = desk.ids["hostile"]
    for path, query in (
        ("/held", {"state": "quarantine"}),
        ("/held", {"show": "accounts"}),
        ("/held", {"words": HOSTILE, "account": HOSTILE}),
        (f"/held/{id_}", {}),
        ("/held/decide", {"do": "delete", "id": id_}),
        ("/held/decide", {"do": "abuse", "all": "yes", "sender": HOSTILE}),
    ):
        answer = desk.ann.get(path, **query)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert "<i>evil" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert desk.ann.get("/held/..%2f..%2fguard.toml").status_code == 404
    assert desk.ann.get("/held/decisions/..%2f..%2fguard.toml").status_code == 404


def test_a_page_of_messages_is_decided_and_undone(desk: Desk) -> None:
    ids = desk.ids["campaign"][:3]
    preview = desk.ann.get("/held/decide", do="teach", id=ids)
    assert "Release and teach 3 messages?" in preview.text
    assert "1 text marked as honest" in preview.text
    placed = desk.ann.post("/held/decide", do="teach", id=ids, reason="the customer called", delay="30.0")
    assert "Not begun yet" in placed.text
    assert "Undo" in placed.text
    id_ = placed.url.path.rpartition("/")[2]
    again = desk.ann.get("/held/decide", do="delete", id=ids)
    assert "in another decision" in again.text
    assert "Delete 0 messages?" in again.text
    undone = desk.ann.post(f"/held/decisions/{id_}/undo")
    assert "every message stays where it was" in undone.text
    told = desk.api(f"/bulk/{id_}")
    assert (told["state"], told["by"], told["reason"]) == ("undone", "console:ann", "the customer called")
    assert desk.ann.api("POST", f"/bulk/{id_}/undo").status_code == 409
    assert desk.api("/held", account="shop.test")["total"] == 70


def test_a_single_message_is_decided_by_the_same_form(desk: Desk) -> None:
    id_ = desk.ids["campaign"][0]
    assert "Release 1 message?" in desk.ann.get("/held/decide", do="release", id=id_).text
    placed = desk.ann.post("/held/decide", do="release", id=id_, delay="30.0")
    assert "Not begun yet" in placed.text
    undone = desk.ann.post(f"{placed.url.path}/undo")
    assert "every message stays where it was" in undone.text


def test_a_campaign_is_released_and_each_message_arrives_once(desk: Desk) -> None:
    search = {"text": f"{TEXT:016x}", "account": "shop.test"}
    preview = desk.ann.api("POST", "/bulk/preview", json={"act": "release", "teach": True, "search": search}).json()
    assert (preview["number"], preview["summary"]["senders"]) == (70, 1)
    placed = desk.place(act="release", teach=True, search=search, delay=0)
    done = desk.done(placed["id"])
    assert (done["counts"], done["remarks"]) == ({"done": 70}, [])
    until(lambda: len(desk.delivered()) == 70, desk.delivered)
    assert desk.delivered() == Counter(desk.ids["campaign"])
    assert desk.api("/held", **search, state="released")["total"] == 70
    page = desk.ann.get(f"/held/decisions/{placed['id']}").text
    assert "70" in page
    assert "Done" in page
    assert placed["id"] in desk.ann.get("/held/decisions").text


def test_a_return_reaches_the_sender_whose_account_owns_the_address(desk: Desk) -> None:
    done = desk.done(desk.place(act="return", ids=[*desk.ids["owned"], *desk.ids["foreign"]], delay=0)["id"])
    assert done["counts"] == {"done": 1, "failed": 1}
    (failed,) = desk.api(f"/bulk/{done['id']}/items", only="failed")["items"]
    assert failed["id"] == desk.ids["foreign"][0]
    assert "backscatter" in failed["detail"]
    until(lambda: any(one.recipients == ["bob@other.test"] for one in desk.hop.messages), "the report arrives")
    (report,) = [one for one in desk.hop.messages if one.recipients == ["bob@other.test"]]
    assert report.mail_from == ""
    assert b"OG-RETURNED" in report.content


def test_who_may_only_look_decides_nothing(desk: Desk) -> None:
    order = {"act": "delete", "ids": desk.ids["wild"]}
    with signed_in(desk.product, "vera", role="viewer") as vera:
        assert vera.get("/held").status_code == 200
        assert 'name="do"' not in vera.get("/held").text
        assert vera.get("/held/decide", do="delete", id=desk.ids["wild"]).status_code == 403
        assert vera.api("POST", "/bulk", json=order).status_code == 403
        assert vera.api("POST", "/bulk/preview", json=order).status_code == 403
        assert vera.post("/held/decide", do="delete", id=desk.ids["wild"]).status_code == 403


@pytest.mark.parametrize(
    ("order", "status", "says"),
    [
        ({"act": "delete"}, 409, "no message is selected"),
        ({"act": "delete", "search": {}}, 409, "say which"),
        ({"act": "delete", "search": {"account": "a"}, "ids": ["m"]}, 409, "not both"),
        ({"act": "explode", "ids": ["m"]}, 400, ""),
        ({"act": "delete", "ids": ["../../etc/passwd"]}, 409, "nothing that is held"),
        ({"act": "return", "teach": True, "ids": ["m"]}, 409, "nothing about it"),
        ({"act": "delete", "ids": ["m"], "delay": 1e9}, 409, "seconds"),
    ],
)
def test_wrong_orders_are_refused(desk: Desk, order: dict[str, Any], status: int, says: str) -> None:
    answer = desk.ann.api("POST", "/bulk", json=order)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]


def test_a_form_that_was_tampered_with_does_nothing(desk: Desk) -> None:
    (id_,) = desk.ids["wild"]
    assert "cannot be read" in desk.ann.post("/held/decide", do="delete", query="{not json").text
    assert "say which" in desk.ann.post("/held/decide", do="delete", query="{}").text
    desk.ann.csrf = "another"
    assert desk.ann.post("/held/decide", do="delete", id=id_, delay="0").status_code == 403
    desk.ann.get("/held")
    assert desk.api(f"/held/{id_}")["in_spool"] == "held"


def test_a_decision_that_the_ledger_does_not_know_yet_is_not_denied(desk: Desk) -> None:
    (id_,) = desk.ids["late"]
    form = {"do": "release", "id": id_, "delay": "0"}
    with contextlib.closing(sqlite3.connect(desk.product.data / "ledger.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = desk.ann.post("/held/decide", **form)
        other.execute("ROLLBACK")
    assert answer.status_code == 200, answer.text
    found = re.search(r"([0-9a-z]{16}) is decided, of 1 messages", answer.text)
    assert found, answer.text
    assert desk.done(found[1])["counts"] == {"done": 1}


@pytest.mark.long
def test_the_console_is_killed_in_the_middle_and_nothing_is_lost_or_done_twice(desk: Desk) -> None:
    placed = desk.place(act="release", search={"account": "many.test"}, delay=0)
    spool = desk.product.data / "spool" / "held"
    before = len(list(spool.iterdir()))
    until(lambda: len(list(spool.iterdir())) < before - 100, "it has begun")
    desk.product.kill("console-0")
    assert len(list(spool.iterdir())) > before - MANY, "it was killed in the middle"
    done = until(lambda: _after_restart(desk, placed["id"]), "it is done after the restart", 90.0)
    assert done["counts"] == {"done": MANY}
    until(lambda: sum(desk.delivered()[one] for one in desk.ids["many"]) == MANY, "all arrive", 90.0)
    assert {desk.delivered()[one] for one in desk.ids["many"]} == {1}


def _after_restart(desk: Desk, id_: str) -> dict[str, Any]:
    try:
        answer = desk.ann.api("GET", f"/bulk/{id_}")
    except httpx.TransportError:
        # While the process is away the connection is refused or broken off.
        return {}
    found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
    return found if found.get("state") == "done" else {}
