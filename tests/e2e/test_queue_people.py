"""The queue as people use it, by commands and in the console, over mail that a real next hop does not take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.nexthop import NextHop
from tests.product import Hops, Product, message, until
from tests.webconsole import Visit, add_user, signed_in

pytestmark = pytest.mark.long

FRIEND = "friend@there.test"
EVIL = '"><script>alert(1)</script>'


class Queue:
    """A product whose second try is ten minutes away, and its next hop, which does not take everything."""

    def __init__(self, product: Product, hop: NextHop, olga: Visit) -> None:
        self.product, self.hop, self.olga = product, hop, olga

    def send(self, sender: str, *recipients: str, subject: str = "Hello") -> str:
        """The id of a message that is queued for these, was tried once more from there, and has reached a friend."""
        with self.product.client() as client:
            said = client.submit(sender, [*recipients, FRIEND], message(subject))
        assert said.startswith("250 2.0.0 Ok: queued as "), said
        id_ = said.split()[-1]
        until(lambda: (found := self.one(id_)) and found["attempts"] >= 2 and found, self.product.said)
        return id_

    def all(self, **search: str) -> list[dict[str, Any]]:
        """The list."""
        found: list[dict[str, Any]] = self.olga.api("GET", "/queue", **search).json()["items"]
        return found

    def one(self, id_: str) -> dict[str, Any] | None:
        """Its row, if it is queued."""
        return next((row for row in self.all() if row["id"] == id_), None)

    def fate(self, id_: str, recipient: str) -> str:
        """What the story of a message says about a recipient."""
        told = self.olga.api("GET", f"/messages/{id_}").json()
        # The ledger may not know it yet.
        found = (str(one["state"]) for one in told.get("recipients", ()) if one["recipient"] == recipient)
        return next(found, "")

    def takes(self, recipient: str, delay: float = 0.0) -> None:
        """From now on the next hop takes mail for this one, once."""
        self.hop.answer("RCPT", "250 2.1.5 Ok", when=recipient, delay=delay)
        # The scripted answers are asked in order: the new one has to come first.
        self.hop._rules.insert(0, self.hop._rules.pop())

    def got(self, id_: str) -> list[list[str]]:
        """The recipients for whom the next hop has taken a message, try by try."""
        return [one.recipients for one in self.hop.messages if id_.encode() in one.content]


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    with Hops() as hops:
        hop = hops.start()
        hop.answer("RCPT", f"452 4.2.2 <{EVIL}> mailbox is full", when="full.test", times=None)
        hop.answer("RCPT", "451 4.7.1 Greylisted, try again in 300 seconds", when="grey.test", times=None)
        product = Product.made(tmp_path_factory.mktemp("queue"), smarthosts=[hop.address], relays=1)
        product.config.write_text(product.config.read_text().replace("retry = [1, 1, 2]", "retry = [1, 600]"))
        with product:
            add_user(product, "vera", "viewer")
            with signed_in(product, "olga", role="operator") as olga:
                yield Queue(product, hop, olga)


def acted(said: str) -> tuple[int, int, int]:
    """Done, gone, failed."""
    told = json.loads(said)
    return told["done"], told["gone"], told["failed"]


def test_tried_now_it_goes_out_as_soon_as_it_is_taken(queue: Queue) -> None:
    id_ = queue.send("anna@retry.test", "a@grey.test")
    queue.takes("a@grey.test")
    assert acted(queue.product.guard("queue", "retry", "--account", "retry.test", "--json")) == (1, 0, 0)
    until(lambda: queue.got(id_) == [[FRIEND], ["a@grey.test"]], queue.product.said)
    until(lambda: queue.one(id_) is None, queue.all)
    until(lambda: queue.fate(id_, "a@grey.test") == "delivered")


def test_held_it_waits_for_a_person_and_goes_on_where_it_stopped(queue: Queue) -> None:
    id_ = queue.send("anna@hold.test", "a@grey.test")
    assert acted(queue.product.guard("queue", "hold", id_, "--reason", "a look first", "--json")) == (1, 0, 0)
    until(lambda: queue.one(id_) is None)
    held = until(lambda: next((row for row in queue.product.held() if row["id"] == id_), None), queue.product.held)
    assert (held["account"], held["state"], held["due"]) == ("hold.test", "held", 0.0)
    assert "is held" in queue.olga.api("GET", f"/queue/{id_}").json()["error"]
    queue.product.guard("held", "release", id_)
    row = until(lambda: queue.one(id_), queue.all)
    assert row["recipients"] == ["a@grey.test"]
    assert queue.got(id_) == [[FRIEND]]


def test_given_up_its_sender_is_told(queue: Queue) -> None:
    id_ = queue.send("anna@bounce.test", "a@grey.test", "b@full.test")
    command = ("queue", "bounce", "--account", "bounce.test", "--destination", "full.test", "--reason", "wrong server")
    assert acted(queue.product.guard(*command, "--json")) == (1, 0, 0)
    row = until(lambda: (found := queue.one(id_)) and found["number"] == 1 and found)
    assert row["recipients"] == ["a@grey.test"]
    report = until(lambda: [one for one in queue.hop.messages if one.recipients == ["anna@bounce.test"]])[0]
    assert report.mail_from == ""
    assert b"OG-RETURNED returned by the postmaster: wrong server" in b" ".join(report.content.split())
    assert b"b@full.test" in report.content
    assert b"Final-Recipient: rfc822; a@grey.test" not in report.content
    until(lambda: queue.fate(id_, "b@full.test") == "refused")
    until(lambda: queue.fate(id_, FRIEND) == "delivered")
    assert queue.fate(id_, "a@grey.test") == "trying"


def test_what_is_being_delivered_at_that_moment_is_said_so(queue: Queue) -> None:
    id_ = queue.send("anna@busy.test", "a@busy.grey.test")
    queue.takes("a@busy.grey.test", delay=8.0)
    seen = sum(command.startswith("RCPT") for session in queue.hop.sessions for command in session.commands)
    queue.product.guard("queue", "retry", id_)
    until(lambda: sum(c.startswith("RCPT") for s in queue.hop.sessions for c in s.commands) > seen)
    assert "is being delivered right now" in queue.product.guard("queue", "bounce", id_, code=1)
    until(lambda: queue.got(id_) == [[FRIEND], ["a@busy.grey.test"]])
    until(lambda: queue.one(id_) is None)
    assert not [one for one in queue.hop.messages if one.recipients == ["anna@busy.test"]]


def test_the_page_tells_who_looks_and_lets_nobody_act_who_may_not(queue: Queue) -> None:
    id_ = queue.send("anna@page.test", "a@full.test", subject=f"{EVIL} offer")
    with signed_in(queue.product, "vera", add=False) as vera:
        page = vera.get("/queue")
        assert page.status_code == 200
        for path in ("/queue", f"/queue/{id_}", "/queue?account=page.test"):
            text = vera.get(path).text
            assert "&lt;script&gt;alert(1)" in text
            assert "<script>alert" not in text
            assert 'name="do"' not in text
        assert vera.get("/queue/decide", do="bounce", id=id_).status_code == 403
        assert vera.post("/queue/decide", do="bounce", id=id_).status_code == 403
        assert vera.api("POST", "/queue/acts", {"act": "bounce", "ids": [id_]}).status_code == 403
        assert vera.api("POST", "/queue/preview", {"act": "bounce", "ids": [id_]}).status_code == 403
        assert vera.api("GET", "/queue").status_code == 200
    stranger = Visit(queue.product.addresses["console"])
    assert stranger.api("GET", "/queue").status_code == 401
    assert stranger.api("GET", f"/queue/{id_}").status_code == 401
    stranger.http.close()
    assert queue.one(id_)


def test_an_operator_acts_by_the_page(queue: Queue) -> None:
    ids = [queue.send("anna@form.test", f"a{number}@full.test") for number in range(3)]
    olga = queue.olga
    found = olga.get("/queue", account="form.test")
    assert all(id_ in found.text for id_ in ids)
    preview = olga.get("/queue/decide", do="hold", all="yes", account="form.test")
    assert "3 messages?" in preview.text
    assert len(queue.all(account="form.test")) == 3
    query = json.dumps({"account": "form.test"})
    done = olga.post("/queue/decide", do="hold", query=query, reason=EVIL)
    assert "/queue/acts/" in str(done.url)
    assert "<script>alert" not in done.text
    until(lambda: '<h2 id="progress-title">Done</h2>' in olga.get(done.url.path).text)
    assert queue.all(account="form.test") == []
    held = until(lambda: len(rows := [r for r in queue.product.held() if r["id"] in ids]) == 3 and rows)
    assert {row["account"] for row in held} == {"form.test"}
    audit = olga.get("/audit", what="queue.hold").text
    assert "3 messages: account form.test" in audit
    for empty in ({"query": json.dumps({})}, {"query": ""}, {"query": json.dumps({"account": ""})}):
        assert olga.post("/queue/decide", do="bounce", **empty).status_code == 400
    assert olga.get("/queue/decide", do="bounce", all="yes").status_code == 400


def test_a_program_acts_by_the_api(queue: Queue) -> None:
    id_ = queue.send("anna@api.test", "a@full.test", "b@grey.test")
    olga = queue.olga
    page = olga.api("GET", "/queue", account="api.test").json()
    assert [row["id"] for row in page["items"]] == [id_]
    assert (page["summary"]["number"], page["next"]) == (1, None)
    one = olga.api("GET", f"/queue/{id_}").json()
    assert {each["recipient"]: each["class"] for each in one["recipients"]} == {
        "a@full.test": "mailbox_full",
        "b@grey.test": "greylisting",
    }
    for meant in ({}, {"ids": []}, {"search": {}}, {"search": {"account": ""}}, {"search": {"x": 1}, "ids": [id_]}):
        for path in ("/queue/preview", "/queue/acts"):
            refused = olga.api("POST", path, {"act": "bounce", **meant})
            assert refused.status_code == 400, (path, meant, refused.text)
    assert olga.api("POST", "/queue/acts", {"act": "delete", "ids": [id_]}).status_code == 400
    told = olga.api("POST", "/queue/preview", {"act": "bounce", "search": {"reply": "mailbox"}}).json()
    assert told["number"] >= 1
    placed = olga.api("POST", "/queue/acts", {"act": "bounce", "ids": [id_], "reason": "gone"})
    assert placed.status_code == 202
    act = placed.json()["id"]
    until(lambda: olga.api("GET", f"/queue/acts/{act}").json()["state"] == "done")
    assert olga.api("GET", f"/queue/acts/{act}").json()["done"] == 1
    assert act in [each["id"] for each in olga.api("GET", "/queue/acts").json()["items"]]
    until(lambda: olga.api("GET", f"/queue/{id_}").status_code == 404)
    for wrong in ("nobody", "..%2f..%2fetc%2fpasswd", "%00"):
        assert olga.api("GET", f"/queue/{wrong}").status_code in (400, 404)
    assert olga.api("GET", "/queue/acts/nobody").status_code == 404
    until(lambda: queue.fate(id_, "a@full.test") == "refused")
    assert "the console failed at" not in queue.product.said()
