"""Now, messages and audit over HTTP on the running product: mail goes in, and its story is followed to the end."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.house import House, house
from tests.product import Hops, Product, message, until
from tests.webconsole import Visit, signed_in

QUEUED = re.compile(r"\(?([0-9a-z]{16})\)?$")
WEEK = 604_800.0


class Place:
    """The product with its customers, and somebody at its console."""

    def __init__(self, customers: House, ann: Visit) -> None:
        self.customers, self.product, self.ann = customers, customers.product, ann

    def submit(self, sender: str, recipients: list[str], subject: str, **headers: str) -> tuple[str, str]:
        """One message: its id, and the answer."""
        with self.product.client() as client:
            answer = client.submit(sender, recipients, message(subject, "See you tomorrow.", **headers))
        found = QUEUED.search(answer)
        assert found, answer
        return found[1], answer

    def api(self, path: str, **query: Any) -> dict[str, Any]:
        answer = self.ann.api("GET", path, **query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def story(self, id_: str, summary: str) -> dict[str, Any]:
        """The story of a message, as soon as it says this."""

        def told() -> dict[str, Any]:
            answer = self.ann.api("GET", f"/messages/{id_}")
            found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
            return found if found.get("summary") == summary else {}

        return until(told, lambda: self.ann.api("GET", f"/messages/{id_}").text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Hops() as hops:
        product, customers = house(tmp_path_factory.mktemp("now"), hops)
        # All that waits for a person ends within a week and a minute, so that it is announced at once.
        text = product.config.read_text().replace("[spool]\n", f"[spool]\nhold_warning = {WEEK + 60}\n")
        product.config.write_text(text)
        with (product.config.parent / "policy.toml").open("a") as policy:
            # After a second nothing is judged anew any more: a person has to decide.
            policy.write("[hold]\nwait = 1.0\nlongest = 1.0\n")
        with product, signed_in(product) as ann:
            yield Place(customers, ann)


def test_mail_that_went_through_is_found_with_its_story(place: Place) -> None:
    id_, answer = place.submit(
        "anna@shop.test", ["Friend@there.test"], "minutes of <b>May</b>", Message_ID="<m1@shop.test>"
    )
    assert answer.startswith("250 ")
    found = place.story(id_, "Delivered.")
    assert found["final"] is True
    assert [event["kind"] for event in found["events"]] == ["reception", "judgement", "answer"]
    for query in (
        {"address": "friend@THERE.test"},
        {"address": "anna@shop.test"},
        {"id": id_},
        {"id": "<m1@shop.test>"},
        {"account": "shop.test", "since": "1h"},
        {"subject": "MINUTES", "action": "relay"},
    ):
        assert [row["id"] for row in place.api("/messages", **query)["items"]] == [id_], query
        listed = place.ann.get("/messages", **query)
        assert f"/messages/{id_}" in listed.text, query
        # What strangers wrote is shown, and is no markup.
        assert "minutes of &lt;b&gt;May&lt;/b&gt;" in listed.text
    assert place.api("/messages", address="nobody@there.test") == {"items": [], "next": "", "looked_back_to": 0.0}
    page = place.ann.get(f"/messages/{id_}")
    assert "Delivered." in page.text
    assert "taken by the next hop at once" in page.text
    assert "data-live" not in page.text
    said = json.loads(place.product.guard("message", "show", id_, "--json"))
    assert said == found
    listed_there = json.loads(place.product.guard("message", "find", "friend@there.test", "--json"))
    assert [row["id"] for row in listed_there["items"]] == [id_]
    assert "Delivered." in place.product.guard("message", "show", id_)
    assert id_ in place.product.guard("message", "find", "--account", "shop.test")


def test_what_some_recipients_were_refused_is_reported_and_the_rest_is_tried_again(place: Place) -> None:
    hop = place.customers.hop
    hop.answer("RCPT", "550 5.1.1 no such user", when="gone@", times=1)
    hop.answer("RCPT", "451 4.7.1 greylisted", when="slow@", times=2)
    id_, answer = place.submit("anna@shop.test", ["good@there.test", "gone@there.test", "slow@there.test"], "to three")
    assert "Ok: queued as" in answer
    found = place.story(id_, "Of 3 recipients: 2 delivered, 1 refused.")
    until(lambda: [e for e in place.api(f"/messages/{id_}")["events"] if e["kind"] == "report"], "the report is told")
    found = place.api(f"/messages/{id_}")
    texts = [event["text"] for event in found["events"]]
    assert sum("did not take it for slow@there.test now: 451 4.7.1 greylisted" in text for text in texts) == 2
    assert any("refused it for gone@there.test for good: 550 5.1.1 no such user" in text for text in texts)
    (report,) = [event for event in found["events"] if event["kind"] == "report"]
    assert "took it for anna@shop.test" in report["text"]
    assert found["unknown"] == []
    assert found["events"] == sorted(found["events"], key=lambda event: event["time"])


def test_what_is_still_tried_says_when_next(place: Place) -> None:
    hop = place.customers.hop
    hop.answer("RCPT", "451 4.7.1 not now", when="later@", times=None)
    id_, _ = place.submit("anna@shop.test", ["good@there.test", "later@there.test"], "to two")
    found = place.story(id_, "Of 2 recipients: 1 delivered, 1 still tried.")
    assert found["final"] is False
    (trying,) = [fate for fate in found["recipients"] if fate["state"] == "trying"]
    assert trying["next"] > found["received"]
    assert found["events"][-1]["kind"] == "next"
    page = place.ann.get(f"/messages/{id_}")
    assert "It is not over yet." in page.text
    assert "data-live" in page.text
    hop.forget()
    place.story(id_, "All 2 recipients: delivered.")


def test_held_mail_from_its_hold_to_its_delivery(place: Place) -> None:
    product, customers = place.product, place.customers
    customers.calm_past("carl@hold.test")
    assert customers.burst("carl@hold.test")
    held = until(lambda: [one["id"] for one in product.held() if not one["due"]], product.held)
    # It ends within a week and a minute, so it is announced: on the page, by a metric, and once in the log.
    product.event("Expiring", account="hold.test")
    until(lambda: product.metric("held_expiring") >= 1, "the metric says so")
    now = until(lambda: (found := place.api("/now"))["expiring"]["messages"] >= len(held) and found, held)
    assert now["waiting"]["person"] == now["expiring"]["messages"]
    page = place.ann.get("/")
    assert "end within 7 d" in page.text
    assert "/held?account=hold.test" in page.text
    # Who sent it is at risk.
    assert now["risks"][0]["sender"] == "carl@hold.test"
    assert now["risks"][0]["suspended"] == ""
    assert "carl@hold.test" in page.text

    one = held[0]
    found = place.story(one, "Held.")
    assert (found["held"], found["in_spool"], found["final"]) == ("held", "held", False)
    assert found["events"][-1]["text"] == "If nobody decides, it goes back to its sender."
    product.guard("held", "release", one, "--reason", "asked him", "--by", "ann")
    found = place.story(one, "Delivered.")
    kinds = [(event["kind"], event["text"]) for event in found["events"]]
    changes = [text for kind, text in kinds if kind == "held"]
    assert changes[0] == "It was held."
    assert changes[1].startswith("Held on: ")
    assert changes[-1] == "Released by ann: asked him."
    assert [kind for kind, _ in kinds if kind not in ("lesson", "act")][-1] == "delivery"
    assert len(product.events("Expiring")) == len({event["account"] for event in product.events("Expiring")})

    product.guard("held", "delete", held[1], "--by", "ann")
    found = place.story(held[1], "Deleted.")
    assert found["final"] is True


def test_the_audit_says_who_did_what(place: Place) -> None:
    product = place.product
    product.guard("account", "suspend", "loud.test", "--reason", "=1+1", "--by", "bob")
    entries = until(lambda: place.api("/audit", subject="loud.test")["items"], "it is in the ledger")
    assert [(one["by"], one["what"], one["detail"]) for one in entries] == [("bob", "account.suspended", "=1+1")]
    assert "account.suspended" in place.ann.get("/audit", by="bob").text
    assert "Nothing fits." in place.ann.get("/audit", by="nobody").text
    answer = place.ann.get("/audit.csv", by="bob")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert [row[1:] for row in rows] == [
        ["by", "what", "subject", "detail"],
        ["bob", "account.suspended", "loud.test", "'=1+1"],
    ]
    first = place.api("/audit", limit=1)
    rest = place.api("/audit", limit=1, place=first["next"])
    assert first["items"][0]["serial"] > rest["items"][0]["serial"]


def test_now_counts_the_traffic_and_tells_the_health(place: Place) -> None:
    place.submit("anna@shop.test", ["friend@there.test"], "one more")
    total = len(place.product.events())
    now = until(
        lambda: (found := place.api("/now")) and sum(found["traffic"]["day"].values()) == total and found, place.api
    )
    assert len(now["traffic"]["columns"]) == 24
    assert (
        sum(now["traffic"]["columns"][-1]["messages"].values())
        + sum(now["traffic"]["columns"][-2]["messages"].values())
        == total
    )
    health = {part["name"]: part["good"] for part in now["health"]}
    assert {"ledger", "state", "next hop (default)", "queue"} <= health.keys()
    assert all(health.values()), now["health"]
    page = place.ann.get("/")
    assert page.status_code == 200
    for part in ("figures", "traffic", "risks", "addresses", "cases", "health"):
        assert re.search(rf'id="{part}" data-live="\d+"', page.text), part


@pytest.mark.parametrize("path", ["/messages/0000000000000000", "/messages/..%2f..%2fetc", "/messages/%3Cscript%3E"])
def test_what_is_not_known_is_said_plainly(place: Place, path: str) -> None:
    answer = place.ann.get(path)
    assert answer.status_code == 404
    assert "<script>" not in answer.text.partition("<main")[2]
    assert place.ann.api("GET", path).status_code in (404, 409)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/messages", {"since": "yesterday"}),
        ("/messages", {"limit": "many"}),
        ("/audit", {"before": "2026-99-99"}),
        ("/audit", {"since": "1" * 40}),
    ],
)
def test_nonsense_is_refused(place: Place, path: str, query: dict[str, str]) -> None:
    assert place.ann.api("GET", path, **query).status_code == 400


@pytest.mark.parametrize("path", ["/", "/messages", "/messages/0000000000000000", "/audit", "/audit.csv"])
def test_nobody_sees_anything_without_signing_in(place: Place, path: str) -> None:
    stranger = Visit(place.product.addresses["console"])
    assert "Sign in" in stranger.get(path).text
    assert stranger.api("GET", "/now" if path == "/" else path).status_code == 401
    stranger.http.close()


def test_a_viewer_may_look(place: Place) -> None:
    with signed_in(place.product, "vera", role="viewer") as vera:
        for path in ("/", "/messages", "/audit", "/audit.csv"):
            assert vera.get(path).status_code == 200, path


def test_messages_by_command_line_refuses_nonsense(place: Place) -> None:
    product: Product = place.product
    assert "no message nonsense: that is no id of ours" in product.guard("message", "show", "nonsense", code=1)
    assert "is no place to go on from" in product.guard("message", "find", "--from", "nonsense", code=1)
    assert "usage:" in product.guard("message", "find", "--limit", "0", code=2)
    assert product.guard("message", "find", "nobody@nowhere.test") == "Nothing was found.\n"
