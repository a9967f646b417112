"""Accounts in the console: seen, suspended and resumed, limited, entered, exported and erased, over HTTP and SMTP."""

from __future__ import annotations

import asyncio
import html
import io
import json
import time
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from outbound_guard.reputation import Reputation
from outbound_guard.state import State
from outbound_guard.state.embedded import socket_path
from tests.product import LENIENT, Hops, Product, message, until
from tests.webconsole import Visit, signed_in

HOLDING = LENIENT + '[limit]\naction = "hold"\n'
"""What is beyond a limit is held."""
ODD = "käse/100%+x@ünï.test"


class House:
    """A running product, and somebody at its console."""

    def __init__(self, product: Product, ann: Visit) -> None:
        self.product, self.ann = product, ann

    def send(self, sender: str, number: int = 1, subject: str = "Hello", to: str = "bob@there.test") -> list[str]:
        """Messages of a sender; the replies."""
        with self.product.client() as client:
            client.command_encoding = "utf-8"
            parameters = "" if sender.isascii() else " SMTPUTF8"
            return [client.submit(sender, [to], message(f"{subject} {n}"), parameters) for n in range(number)]

    def known(self, account: str) -> dict[str, Any]:
        """The account as the API has it, as soon as it is known."""

        def look() -> dict[str, Any] | None:
            answer = self.ann.api("GET", "/accounts/one", account=account)
            return answer.json() if answer.status_code == 200 else None

        return until(look, account)

    def act(self, what: str, *subjects: str, scope: str = "account", **more: Any) -> Any:
        """An act over the API."""
        asked = {"what": what, "subjects": [{"scope": scope, "subject": name} for name in subjects], **more}
        answer = self.ann.api("POST", "/accounts/act", asked)
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Hops() as hops:
        hop = hops.start()
        with (
            Product.made(tmp_path_factory.mktemp("accounts"), smarthosts=[hop.address], policy=HOLDING) as product,
            signed_in(product, "ann") as ann,
        ):
            yield House(product, ann)


def test_suspended_on_the_page_means_refused_by_smtp_and_resumed_means_taken(house: House) -> None:
    assert house.send("anna@stolen.test")[0].startswith("250 ")
    house.known("stolen.test")
    asked = house.ann.get("/accounts/act", what="suspend", subject="stolen.test")
    assert "All mail is refused from now on" in asked.text
    done = house.ann.post("/accounts/act", what="suspend", scope="account", subject="stolen.test", reason="phished")
    assert "stolen.test: suspended." in done.text
    assert "phished" in done.text
    refused = until(lambda: [a for a in house.send("anna@stolen.test") if a.startswith("550 ")], "it is refused")
    assert refused
    listed = house.ann.api("GET", "/accounts", standing="suspended").json()
    assert [(row["account"], row["suspended"]) for row in listed["items"]] == [("stolen.test", True)]
    assert listed["classes"] == {"stolen.test": "suspended"}

    done = house.ann.post(
        "/accounts/act", what="resume", scope="account", subject="stolen.test", days="3", reason="new password"
    )
    assert "On probation" in done.text
    assert until(lambda: [a for a in house.send("anna@stolen.test") if a.startswith("250 ")], "it is taken")
    view = house.known("stolen.test")
    assert view["class"]["name"] == "doubtful"
    assert "probation" in view["class"]["reason"]
    # Sterner thresholds, and the limit of the probation with where it comes from.
    assert {t["name"]: t["at"] for t in view["thresholds"]}["hold"] == pytest.approx(2000.0 * 0.6)
    of_account = {f"{one['what']}_per_{one['window']}": one for one in view["limits"] if one["of"] == "account"}
    assert of_account["recipients_per_hour"] == {
        "of": "account",
        "window": "hour",
        "what": "recipients",
        "most": 200,
        "origin": "probation",
        "detail": "probation.limit.recipients_per_hour of the policy",
    }
    audit = json.loads(house.product.guard("account", "show", "stolen.test", "--json"))["history"]
    assert [one["change"] for one in audit] == ["probation", "resumed", "suspended"]
    assert {one["by"] for one in audit} == {"console:ann"}


def test_one_mailbox_alone(house: House) -> None:
    assert house.send("bad@split.test")[0].startswith("250 ")
    assert house.send("good@split.test")[0].startswith("250 ")

    def senders() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = house.ann.api("GET", "/accounts/senders", account="split.test").json()["items"]
        return found

    # Not only the account: what was answered to the second may be written to the ledger later than to the first.
    until(lambda: len(senders()) == 2, "both are known")
    page = house.ann.get("/accounts/sender", sender="bad@split.test")
    assert "bad@split.test" in page.text
    house.act("suspend", "bad@split.test", scope="sender", reason="stolen")
    assert until(lambda: [a for a in house.send("bad@split.test") if a.startswith("550 ")], "it is refused")
    assert house.send("good@split.test")[0].startswith("250 ")
    (row,) = house.ann.api("GET", "/accounts", search="split.test").json()["items"]
    assert (row["suspended"], row["senders_suspended"]) == (False, 1)
    assert {one["sender"]: one["standing"] for one in senders()} == {
        "bad@split.test": ["suspended"],
        "good@split.test": [],
    }
    assert "suspended" in house.ann.get("/accounts/senders", account="split.test").text


def test_limits_are_shown_with_where_they_come_from(house: House) -> None:
    house.send("x@limits.test")
    house.known("limits.test")
    house.ann.get("/accounts/act", what="limit", subject="limits.test")
    done = house.ann.post(
        "/accounts/act",
        what="limit",
        scope="account",
        subject="limits.test",
        messages_per_day="900",
        reason="asked for",
    )
    assert "given limits of their own" in done.text
    house.act("limit", "x@limits.test", scope="sender", limits={"messages_per_day": 70})
    origins = {
        (one["of"], one["what"], one["window"]): (one["most"], one["origin"])
        for one in house.ann.api("GET", "/senders/one", sender="x@limits.test").json()["limits"]
    }
    assert origins == {
        ("sender", "messages", "day"): (70, "sender"),
        ("sender", "recipients", "hour"): (6000, "provider"),
        ("sender", "recipients", "day"): (40000, "provider"),
        ("account", "messages", "day"): (900, "account"),
        ("account", "recipients", "hour"): (10000, "provider"),
        ("account", "recipients", "day"): (60000, "provider"),
    }
    page = html.unescape(house.ann.get("/accounts/sender", sender="x@limits.test").text)
    assert "set for this account by console:ann: asked for" in page
    bad = house.ann.post("/accounts/act", what="limit", scope="account", subject="limits.test", messages_per_day="many")
    assert "no number of messages" in html.unescape(bad.text)


def test_several_at_once_with_one_reason(house: House) -> None:
    names = ["one.several.test", "two.several.test"]
    for name in names:
        house.send(f"x@{name}")
        house.known(name)
    chosen = house.ann.http.post(
        "/accounts/choose", data={"csrf": house.ann.csrf, "what": "exempt", "scope": "account", "subject": names}
    )
    assert all(name in chosen.text for name in names)
    done = house.ann.http.post(
        "/accounts/act",
        data={
            "csrf": house.ann.csrf,
            "what": "exempt",
            "scope": "account",
            "subject": names,
            "days": "5",
            "reason": "ticket 12",
        },
        follow_redirects=True,
    )
    assert "2: exempted." in done.text
    listed = house.ann.api("GET", "/accounts", standing="exempt").json()
    assert [row["account"] for row in listed["items"]] == names
    view = house.known(names[0])
    (exemption,) = view["standings"]
    assert exemption["reason"] == "ticket 12"
    assert exemption["until"] == pytest.approx(time.time() + 5 * 86400, abs=300)
    house.ann.get("/accounts/one", account=names[0])
    ended = house.ann.post("/accounts/act", what="exempt", scope="account", subject=names[0], end="1")
    assert f"{names[0]}: ended." in ended.text
    assert house.known(names[0]).get("standings", []) == []
    # All or none of them.
    subjects = [{"scope": "account", "subject": names[0]}]
    refused = house.ann.api("POST", "/accounts/act", {"what": "exempt", "subjects": subjects})
    assert (refused.status_code, refused.json()["error"]) == (409, "an exemption needs a reason and an end")


def test_names_are_any_strings(house: House) -> None:
    account = "ünï.test"
    house.send(ODD)
    house.known(account)
    for path in (
        f"/accounts/one?account={quote(account, safe='')}",
        f"/accounts/sender?sender={quote(ODD, safe='')}",
        f"/accounts/senders?account={quote(account, safe='')}&search={quote('100%', safe='')}",
        f"/accounts/act?what=limit&of=sender&subject={quote(ODD, safe='')}",
    ):
        page = house.ann.get(path)
        assert page.status_code == 200, page.text
        assert ODD in html.unescape(page.text), path
    hostile = "<script>alert(1)</script>\" onload='x' & {{ 7*7 }} a/b?c=d#e%00"
    assert house.ann.api("PUT", "/accounts/entry", {"account": hostile, "name": "<b>x</b>"}).status_code == 200
    page = house.ann.get("/accounts/one", account=hostile)
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "<b>x" not in page.text
    assert hostile in html.unescape(page.text)
    assert house.ann.get("/accounts", search=hostile).text.count("&lt;script&gt;alert") > 1
    house.act("suspend", hostile, reason="x")
    assert house.known(hostile)["class"]["name"] == "suspended"
    house.ann.get("/accounts/edit", account=hostile)
    assert "no longer in the directory" in house.ann.post("/accounts/remove", account=hostile).text
    for bad in ("line\nbreak", "", "x" * 300):
        assert house.ann.api("PUT", "/accounts/entry", {"account": bad}).status_code == 409
    assert house.ann.get("/accounts/one", account="nobody.test").status_code == 404
    assert house.ann.api("GET", "/senders/one", sender="nobody@nowhere.test").status_code == 404


def test_notes(house: House) -> None:
    house.send("x@notes.test")
    house.known("notes.test")
    house.ann.get("/accounts/one", account="notes.test")
    done = house.ann.post("/accounts/note", scope="account", subject="notes.test", text="called them\n<i>twice</i>")
    assert "called them" in done.text
    assert "<i>twice" not in done.text
    second = house.ann.api(
        "POST", "/accounts/notes", {"scope": "sender", "subject": "x@notes.test", "text": "his mailbox"}
    )
    assert (second.status_code, second.json()["account"]) == (201, "notes.test")
    notes = house.known("notes.test")["notes"]
    assert [(note["text"], note["by"]) for note in notes] == [
        ("his mailbox", "console:ann"),
        ("called them\n<i>twice</i>", "console:ann"),
    ]
    assert house.ann.api("DELETE", f"/accounts/notes/{notes[1]['id']}").status_code == 200
    assert [note["text"] for note in house.known("notes.test")["notes"]] == ["his mailbox"]
    assert house.ann.api("DELETE", f"/accounts/notes/{notes[1]['id']}").status_code == 409


def test_the_directory_by_hand(house: House) -> None:
    house.ann.get("/accounts/edit")
    made = house.ann.post(
        "/accounts/edit", account="C-77", name="Seven GmbH", contact="it@seven.test", patterns="*@seven.test\nweb7/1*\n"
    )
    assert "Seven GmbH" in made.text
    assert until(lambda: house.send("y@seven.test") and house.known("C-77")["day"], "its mail is the account's")
    changed = house.ann.post(
        "/accounts/edit", account="C-77", name="Seven AG", before="*@seven.test\nweb7/1*", patterns="*@seven.test"
    )
    assert "Seven AG" in changed.text
    view = house.known("C-77")
    assert (view["name"], view.get("contact", ""), view["patterns"]) == ("Seven AG", "", ["*@seven.test"])
    planned = house.ann.api(
        "PUT", "/accounts/entry?dry=true", {"account": "C-78", "add": ["*@seven.test"], "note": "new"}
    ).json()
    assert planned["new"]
    assert "*@seven.test moves here from C-77" in planned["lines"]
    assert house.ann.get("/accounts/one", account="C-78").status_code == 404


def test_import_is_shown_before_it_is_done(house: House) -> None:
    text = "account,sender,name\nI-1,*@imported.test,First\nI-1,web1/500,\nI-2,b@other.test,Ünder\n"
    house.ann.get("/accounts/import")
    shown = house.ann.post("/accounts/import", files={"file": ("list.csv", text.encode())})
    assert "Nothing has been taken in yet" in shown.text
    assert "I-2: b@other.test is added" in html.unescape(shown.text)
    assert house.ann.get("/accounts/one", account="I-1").status_code == 404
    done = house.ann.post("/accounts/import", files={"file": ("", b"")}, text=text, take="1")
    assert "2 accounts with 3 senders taken in" in done.text
    assert house.known("I-1")["patterns"] == ["*@imported.test", "web1/500"]
    entries = [{"account": "I-3", "senders": ["*@imported.test"]}]
    plan = house.ann.api("POST", "/accounts/import", {"entries": entries, "dry": True}).json()
    assert (plan["new"], plan["moved"], plan["lines"][0]) == (1, 1, "I-3: *@imported.test moves here from I-1")
    assert house.ann.api("POST", "/accounts/import", {"entries": entries}).status_code == 200
    assert house.known("I-3")["patterns"] == ["*@imported.test"]
    wrong = house.ann.post("/accounts/import", files={"file": ("list.csv", b"account\n\xff\n")})
    assert "not UTF-8 at octet 8" in wrong.text
    assert house.ann.api("POST", "/accounts/import", {"entries": []}).status_code == 400


def test_what_is_known_of_late(house: House) -> None:
    house.send("a@late.test", 4, to="x@one.test")
    house.send("b@late.test", 1, to="y@two.test")
    until(lambda: house.known("late.test")["day"].get("relay") == 5, "all are in the ledger")
    recent = house.ann.api("GET", "/accounts/recent", account="late.test").json()
    assert (recent["messages"], recent["recipients"], recent["domain_count"], recent["once"]) == (5, 2, 2, 1)
    assert recent["domains"][0] == {"name": "one.test", "recipients": 1, "messages": 4}
    assert [(one["name"], one["messages"]) for one in recent["clients"]] == [("127.0.0.1", 5)]
    assert recent["networks"][0]["name"] == "127.0"
    assert sum(sum(hour["messages"].values()) for hour in recent["hours"]) == 5
    assert (recent["delivered"], recent["failures"]) == (5, [])
    assert house.ann.api("GET", "/senders/recent", sender="b@late.test").json()["messages"] == 1
    page = house.ann.get("/accounts/one", account="late.test").text
    for words in ("Suspicion over time", "Traffic of a week", "one.test", "127.0.0.1", "limit.account"):
        assert words in page
    assert "style=" not in page


@pytest.mark.long
def test_export_has_everything(house: House) -> None:
    hold_one(house, "export.test", "secret plan")
    house.ann.api("POST", "/accounts/notes", {"scope": "account", "subject": "export.test", "text": "a note"})
    house.ann.get("/accounts/data", account="export.test")
    answer = house.ann.post("/accounts/export", account="export.test", format="zip", content="1")
    assert answer.headers["content-type"] == "application/zip"
    assert "export.test.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        lines = {
            name: [json.loads(line) for line in archive.read(name).splitlines()]
            for name in names
            if name.endswith(".jsonl")
        }
        (letter,) = [name for name in names if name.startswith("messages/")]
        assert b"Subject: secret plan 2" in archive.read(letter)
    assert {
        "decision.jsonl",
        "standing.jsonl",
        "note.jsonl",
        "audit.jsonl",
        "sender.jsonl",
        "memory.jsonl",
    } <= set(lines)
    decisions = lines["decision.jsonl"]
    assert decisions[0]["action"] == "relay"
    assert [one["action"] for one in decisions[-2:]] == ["hold", "hold"]
    assert decisions[0]["recipients"] == ["bob@there.test"]
    assert decisions[0]["answered"].startswith("250 ")
    assert decisions[-2]["held"]["state"] == "deleted"
    assert decisions[-1]["held"]["state"] == "held"
    assert lines["note.jsonl"][0]["text"] == "a note"
    assert any(row["sender"] == "x@export.test" and row["messages_last_day"] > 0 for row in lines["memory.jsonl"])
    document = house.ann.api("POST", "/accounts/export", {"account": "export.test", "format": "json"}).json()
    assert document["about"][0]["account"] == "export.test"
    assert len(document["decision"]) == len(decisions)
    both = house.ann.api("POST", "/accounts/export", {"account": "export.test", "format": "json", "content": True})
    assert both.status_code == 409
    assert {"account.export"} <= {row["what"] for row in document["audit"]}


@pytest.mark.long
def test_erasing_leaves_nothing(house: House) -> None:
    name = "forgetme.test"
    hold_one(house, name, "their words")
    house.ann.api("POST", "/accounts/notes", {"scope": "account", "subject": name, "text": f"about {name}"})
    house.ann.api("PUT", "/accounts/entry", {"account": name, "name": "Forget Me", "add": [f"*@{name}"]})
    house.act("suspend", f"x@{name}", scope="sender", reason=f"x@{name} was stolen")
    assert until(lambda: kept_of(house, name)["state"], "the memory has it")
    assert kept_of(house, name)["ledger"]
    assert kept_of(house, name)["spool"]
    plan = house.ann.api("GET", "/accounts/erasure", account=name).json()
    assert (plan["held"], plan["suspended"], plan["entered"]) == (1, True, True)
    assert plan["keys"] > 0
    page = house.ann.get("/accounts/data", account=name)
    assert "What it does not reach" in page.text
    wrong = house.ann.post("/accounts/erase", account=name, typed="something else")
    assert "nothing was erased" in html.unescape(wrong.text)
    ordered = house.ann.post("/accounts/erase", account=name, typed=name, reason="asked for by letter")
    id_ = ordered.url.params["id"]
    done = until(lambda: (one := progress(house, id_))["state"] == "done" and one, "it is erased", 60)
    assert done["counts"]["messages"] == plan["messages"] >= 3
    assert done["counts"]["held messages"] == 1
    until(lambda: not any(kept_of(house, name).values()), lambda: kept_of(house, name), 60)
    assert "Done." in house.ann.get("/accounts/erasure", id=id_).text
    assert house.ann.get("/accounts/one", account=name).status_code == 404
    # Who did what and when is still known, under the number of the erasure.
    whats = {"account.erase", "account.erased", "account.note", "sender.suspended"}
    acts = until(
        lambda: (
            (rows := house.ann.api("GET", "/audit", subject=id_).json()["items"])
            and whats <= {row["what"] for row in rows}
            and rows
        ),
        "the audit has it",
    )
    assert not any(name in json.dumps(row) for row in acts)
    # It may begin anew.
    assert house.send(f"x@{name}")[0].startswith("250 ")
    assert house.known(name)["day"] == {"relay": 1}


@pytest.mark.long
def test_a_suspension_can_outlive_the_erasure(house: House) -> None:
    house.send("x@banned.test")
    house.known("banned.test")
    house.act("suspend", "banned.test", reason="fraud by Mr Smith")
    asked = {"account": "banned.test", "typed": "banned.test", "keep_suspension": True}
    answer = house.ann.api("POST", "/accounts/erasure", asked)
    assert answer.status_code == 202
    until(lambda: progress(house, answer.json()["id"])["state"] == "done", "it is erased", 60)
    assert until(lambda: [a for a in house.send("x@banned.test") if a.startswith("550 ")], "it is refused")
    (standing,) = house.known("banned.test")["standings"]
    assert (standing["change"], standing["reason"]) == ("suspended", "kept after an erasure")


def test_who_may_do_what(house: House) -> None:
    house.send("x@roles.test")
    house.known("roles.test")
    one = [{"scope": "account", "subject": "roles.test"}]
    with signed_in(house.product, "vera", role="viewer") as vera:
        assert "Suspend" not in vera.get("/accounts/one", account="roles.test").text
        assert vera.api("GET", "/accounts/one", account="roles.test").status_code == 200
        assert vera.api("POST", "/accounts/act", {"what": "suspend", "subjects": one}).status_code == 403
        assert vera.api("POST", "/accounts/export", {"account": "roles.test"}).status_code == 403
        assert vera.post("/accounts/act", what="suspend", scope="account", subject="roles.test").status_code == 403
    with signed_in(house.product, "otto", role="operator") as otto:
        assert otto.api("GET", "/accounts/erasure", account="roles.test").status_code == 403
        asked = {"account": "roles.test", "typed": "roles.test"}
        assert otto.api("POST", "/accounts/erasure", asked).status_code == 403
        data = otto.get("/accounts/data", account="roles.test").text
        assert "Export" in data
        assert "Erase" not in data.partition("<h2")[2]
    stranger = Visit(house.product.addresses["console"])
    assert stranger.api("GET", "/accounts").status_code == 401
    stranger.http.close()
    assert house.known("roles.test")["class"]["name"] == "new"


def hold_one(house: House, account: str, subject: str) -> None:
    """A message of an account is relayed, another is held and deleted, and a third is held."""
    house.send(f"x@{account}", subject=f"{subject} 1")
    house.known(account)
    house.act("limit", account, limits={"messages_per_day": 1})
    # A limit that was not known to a relay yet lets a message through.
    until(lambda: house.send(f"x@{account}", subject=f"{subject} 1") and held_of(house, account), "one is held")
    for row in held_of(house, account):
        house.product.guard("held", "delete", row["id"])
    house.send(f"x@{account}", subject=f"{subject} 2")
    until(lambda: held_of(house, account), "the last is held")


def held_of(house: House, account: str) -> list[dict[str, Any]]:
    return [row for row in house.product.held() if row["account"] == account]


def progress(house: House, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = house.ann.api("GET", f"/accounts/erasures/{id_}").json()
    return found


def kept_of(house: House, name: str) -> dict[str, list[str]]:
    """Where in the data directory and in the store a name is still to be found."""
    data, octets = house.product.data, name.encode()
    found: dict[str, list[str]] = {
        "ledger": [str(file) for file in data.glob("ledger.sqlite3*") if octets in file.read_bytes()],
        "spool": [str(f) for f in (data / "spool").rglob("*") if f.is_file() and octets in f.read_bytes()],
        "journal": [str(f) for f in (data / "journal").rglob("*") if f.is_file() and octets in f.read_bytes()],
        "state files": [str(f) for f in (data / "state").rglob("*") if f.is_file() and octets in f.read_bytes()],
    }

    async def keys() -> list[str]:
        url = f"unix://{socket_path(data)}"
        state = await State.connect(url, timeout=5.0, count=lambda *_, **__: None)
        try:
            memory = Reputation(state)
            return [key.decode() for key in await memory.state.command("KEYS", f"*{name}*")]
        finally:
            await state.close()

    found["state"] = asyncio.run(keys())
    return found
