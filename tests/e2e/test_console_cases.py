"""The pages of addresses and cases on the running product: an address is listed, and its case worked to the end."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.listserver import ListServer, Zone, list_server_in_thread
from tests.product import Hops, Product, until
from tests.webconsole import Visit, signed_in

ONE, TWO = "127.0.0.11", "127.0.0.12"
HOSTILE = "<script>alert(1)</script> call <b>+49 30 1234567</b>"
SETTINGS = """
[dns]
resolvers = ["{server}"]
[blocklist]
file = "lists.toml"
interval = 1
per_second = 2000
per_second_per_list = 500
rest_clean = 1
domains = ["customer.test"]
customers = {{ "shop.example" = ["203.0.113.7"] }}
[cases]
original_readers = ["console:olga", "ann"]
organisation = "Example Hosting"
"""
LISTS = '[[list]]\nzone = "heavy.test"\nweight = 3.0\n[[list]]\nzone = "light.test"\n'
LETTER = "Dear Jane Roe,\nplease write to jane.roe@operator.example or call +49 30 1234 5678.\nabuse@operator.example\n"


class House:
    """The product with two addresses on a list server, and whoever looks at it."""

    def __init__(self, product: Product, server: ListServer, ann: Visit) -> None:
        self.product, self.server, self.ann = product, server, ann

    def case(self, subject: str) -> dict[str, Any]:
        """The open case about an address, as soon as there is one."""

        def look() -> Any:
            found = self.ann.api("GET", "/cases", text=subject).json()["items"]
            return found[0] if found else None

        return dict(until(look, self.product.said))

    def one(self, id_: str) -> dict[str, Any]:
        return dict(self.ann.api("GET", f"/cases/{id_}").json())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("cases")
    with Hops() as hops, list_server_in_thread() as server:
        server.zones |= {"heavy.test": Zone(), "light.test": Zone()}
        server.records = {("11.0.0.127.in-addr.arpa", "PTR"): ["guard.test."], ("guard.test", "A"): [ONE]}
        (folder / "lists.toml").write_text(LISTS)
        more = SETTINGS.format(server=server.address)
        product = Product.made(folder, smarthosts=[hops.start().address], relays=1, more=more)
        pool = f'[[delivery.pool]]\nname = "main"\nsource_addresses = ["{ONE}", "{TWO}"]\n'
        product.config.write_text(product.config.read_text().replace("[[delivery.pool]]\n", pool))
        with product, signed_in(product, "ann", role="operator") as ann:
            yield House(product, server, ann)


@pytest.mark.slow
def test_an_address_is_listed_and_its_case_is_worked_to_its_end_by_forms(house: House) -> None:
    ann, product = house.ann, house.product
    until(lambda: "clean" in ann.get("/addresses/one", subject=ONE).text, product.said)
    house.server.zones["heavy.test"] = Zone(listed={ONE: ["127.0.0.2"]}, texts={ONE: HOSTILE})

    # The matrix has it first, in its column, at rest, with a link to the case.
    id_ = house.case(ONE)["id"]
    until(lambda: "listed by heavy.test (weight 3)" in ann.get("/addresses").text, product.said)
    matrix = ann.get("/addresses", state="listed").text
    assert f'href="/cases/{id_}"' in matrix
    assert re.search(r'class="is-listed" title="heavy\.test: 127\.0\.0\.2', matrix)
    found = ann.api("GET", "/addresses", state="listed").json()
    assert [(row["subject"], row["pools"][0]["state"]) for row in found["rows"]] == [(ONE, "resting")]
    assert found["columns"] == ["heavy.test"]

    # What the list said is shown as text; nothing in it is obeyed, and the number to call is not kept in the case.
    page = ann.get(f"/cases/{id_}").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page, re.findall(r".{0,80}alert.{0,80}", page) or page[:6000]
    assert "1234567" not in page

    def act(name: str, expected: int = 200, **form: str) -> str:
        ann.get(f"/cases/{id_}")
        answer = ann.post(f"/cases/{id_}/{name}", **form)
        assert answer.status_code == expected, answer.text
        return answer.text

    assert "console:ann" in act("take")
    act("note", text="asked john.doe@provider.example about it")
    assert "john.doe@" not in ann.get(f"/cases/{id_}").text
    assert "resolvers, ours still open" in act("advance")
    act("check", item="resolvers", text="two resolvers of ours say the same")
    act("check", item="ours", text="ours since 2019, not shared")
    act("advance")
    assert house.one(id_)["stage"] == "investigate"

    # Nothing may be filed yet, and the page of the draft says why.
    assert "not ready to file: the cause is not known yet" in ann.get(f"/cases/{id_}/draft", letter="appeal").text
    assert "not ready to file" in act("contact", party="list:heavy.test", channel="form", about="appeal")
    act("check", item="cause", text="its mail was refused as spam", finding="caused", cause="password",
        accounts="shop.example\n")  # fmt: skip
    act("answer", party="", customer="shop.example", channel="telephone", outcome="acknowledged")
    act("look")
    act("advance")
    act("check", item="contained", text="the account was suspended")
    act("advance")

    # The notice is drafted, changed, and written down with the letter as it was sent.
    notice = html.unescape(ann.get(f"/cases/{id_}/draft", letter="notice").text)
    assert "Read it before you send it" in notice
    assert 'value="customer:shop.example"' in notice
    assert "Example Hosting" in notice
    told = act("contact", party="customer:shop.example", channel="control panel", about="notice", text=LETTER)
    assert "jane.roe@" not in told
    assert "1234 5678" not in told
    act("advance")
    appeal = html.unescape(ann.get(f"/cases/{id_}/draft", letter="appeal").text)
    assert "shop.example" not in appeal.partition("<textarea")[2].partition("</textarea>")[0]
    act("contact", party="list:heavy.test", channel="https://heavy.test/removal", about="appeal")
    act("advance")
    assert house.one(id_)["stage"] == "watch"
    assert [timer["what"] for timer in house.one(id_)["timers"] if timer["what"] == "answer"]

    # The list lets it go: the case learns it by itself, and the history of the address is one time of listing.
    act("answer", party="list:heavy.test", channel="mail", outcome="removed", text="It is removed.")
    house.server.zones["heavy.test"] = Zone()
    until(lambda: house.one(id_)["removed"], product.said)
    act("advance")
    act("check", item="stays", text="looked at for a week")
    act("advance")
    act("contact", party="customer:shop.example", channel="control panel", about="advice")
    assert "not finished" in act("close", summary="All is well.")
    act("check", item="ours_to_do", text="a limit for new mailboxes")
    act("close", summary="A stolen password.")
    shown = house.one(id_)
    assert (shown["state"], shown["next"]["act"]) == ("closed", "reopen")
    assert id_ in ann.get("/cases", state="closed").text
    assert id_ not in ann.get("/cases").text
    numbers = ann.api("GET", "/cases/numbers").json()
    assert numbers["causes"].get("password") == 1
    (time,) = [one for one in ann.api("GET", "/addresses/one", subject=ONE).json()["times"] if one["until"]]
    assert (time["zone"], time["codes"]) == ("heavy.test", ["127.0.0.2"])
    assert time["until"] > time["since"] > product.started
    until(lambda: ann.api("GET", "/addresses/one", subject=ONE).json()["subject"]["pools"][0]["state"] == "in_use")

    # What leaves holds no personal contact data, whatever its form; the audit says who did it all.
    for form in ("text", "html", "json"):
        export = ann.get(f"/cases/{id_}/export", form=form)
        assert export.headers["content-disposition"].startswith("attachment")
        assert "abuse@operator.example" in export.text
        assert ONE in export.text
        for secret in ("jane.roe@", "1234 5678", "1234567", "john.doe"):
            assert secret not in export.text
        assert ("<script" in export.text) == (form != "html")
    act("reopen", reason="it came back by hand")
    assert house.one(id_)["reopened"] == 1
    act("close", summary="no, it did not", unfinished="opened to see whether it can be")
    audit = product.guard("case", "show", id_, "--history")
    assert audit.count("console:ann") > 15


@pytest.mark.slow
def test_an_original_is_shown_to_whom_the_configuration_names(house: House) -> None:
    ann = house.ann
    opened = ann.api("POST", "/cases", json={"subject": "198.51.100.0/24", "reason": "a private list"})
    assert opened.status_code == 201, opened.text
    id_ = opened.json()["id"]
    ann.get(f"/cases/{id_}")
    ann.post(f"/cases/{id_}/attach", files={"file": ("../../Brief of Jane.txt", LETTER.encode(), "text/plain")})
    (paper,) = house.one(id_)["papers"]
    assert "jane.roe@" not in paper["text"]
    assert "/" not in paper["name"]
    # `ann` in the configuration is a login of the machine, and not the user of that name.
    refused = ann.post(f"/cases/{id_}/original", event=paper["original"])
    assert "does not name this login" in refused.text
    assert "jane.roe@" not in refused.text
    assert "see it" not in ann.get(f"/cases/{id_}").text
    with signed_in(house.product, "olga", role="viewer") as olga:
        assert "see it" in olga.get(f"/cases/{id_}").text
        answer = olga.post(f"/cases/{id_}/original", event=paper["original"])
        assert answer.content.decode() == LETTER
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-type"].startswith("application/octet-stream")
    seen = ann.api("GET", "/audit", subject=id_)
    assert "console:olga" in seen.text


@pytest.mark.slow
def test_a_viewer_sees_and_does_not_act(house: House) -> None:
    id_ = house.ann.api("POST", "/cases", json={"subject": "mail.customer.test"}).json()["id"]
    with signed_in(house.product, "vera", role="viewer") as vera:
        page = vera.get(f"/cases/{id_}").text
        assert "mail.customer.test" in page
        # The form to sign out is all there is.
        assert set(re.findall(r'method="post" action="([^"]+)"', page)) == {"/sign-out"}
        assert "/addresses/recheck" not in vera.get("/addresses/one", subject=ONE).text
        assert vera.get("/cases/open").status_code == 403
        for name in ("take", "note", "look", "check", "advance", "contact", "answer", "attach", "close", "reopen"):
            assert vera.post(f"/cases/{id_}/{name}", text="x", summary="x", reason="x").status_code == 403
            assert vera.api("POST", f"/cases/{id_}/{name}", json={}).status_code in (400, 403)
        assert vera.post("/addresses/recheck", subject=ONE).status_code == 403
        assert vera.api("POST", "/addresses/recheck", json={"subjects": [ONE]}).status_code == 403
        assert vera.api("POST", "/cases", json={"subject": "192.0.2.1"}).status_code == 403
        assert vera.api("GET", f"/cases/{id_}/drafts", letter="notice").status_code == 403
    assert {event["by"] for event in house.one(id_)["history"]} <= {"console:ann", "system"}


@pytest.mark.slow
def test_lists_are_asked_on_request_and_not_again_and_again(house: House) -> None:
    ann = house.ann
    ann.get("/addresses")
    answer = ann.post("/addresses/recheck", subject=TWO)
    assert f"being asked about {TWO}" in answer.text
    assert "less than a minute ago" in ann.post("/addresses/recheck", subject=TWO).text
    again = ann.api("POST", "/addresses/recheck", json={"subjects": [TWO]})
    assert (again.status_code, "less than a minute" in again.text) == (409, True)
    assert "none of the addresses" in ann.api("POST", "/addresses/recheck", json={"subjects": ["192.0.2.99"]}).text
    until(lambda: TWO not in ann.api("GET", "/addresses").json()["waiting"], house.product.said)
    # What receivers see of it is looked at as well: it has no reverse name, and the page says so.
    found = until(lambda: ann.api("GET", "/addresses/one", subject=TWO).json()["identity"], house.product.said)
    assert "it has no reverse name (PTR)" in found["identity"]["problems"]
    assert "it has no reverse name (PTR)" in ann.get("/addresses/identity").text
    assert ann.get("/addresses/list", zone="heavy.test").status_code == 200
    assert ann.get("/addresses/list", zone="nothing.test").status_code == 404
    assert ann.get("/addresses/one", subject="<img src=x>").status_code == 404


BOUNCE = """From: MAILER-DAEMON@relay.test
To: {who}@shop.example
Subject: Undelivered Mail

<r@there.example>: host mx.there.example[198.51.100.9] said: 554 5.7.1 Service unavailable;
    Client host [{address}] blocked using heavy.test; https://heavy.test/{address} (in reply to RCPT TO command)

From: {who}@shop.example
"""


@pytest.mark.slow
def test_a_pasted_bounce_is_told_about_and_nothing_of_it_is_kept(house: House) -> None:
    ann, secret = house.ann, "quixotic.zanzibar"
    assert "Nothing that is pasted is kept" in ann.get("/blocked").text
    page = ann.post("/blocked", text=BOUNCE.format(who=secret, address=TWO))
    assert page.status_code == 200
    assert "our_address_blocked" in page.text
    assert f"Open a case about {TWO}" in page.text
    assert 'name="source" value="heavy.test"' in page.text
    assert f"{secret}@" not in page.text
    # As a file, and by the API; whose it is, if it is none of our addresses.
    file = {"file": ("bounce.eml", BOUNCE.format(who=secret, address=TWO).encode(), "message/rfc822")}
    assert f"Open a case about {TWO}" in ann.post("/blocked", files=file).text
    found = ann.api("POST", "/blocked", json={"text": BOUNCE.format(who=secret, address="203.0.113.7")}).json()
    assert (found["side"], found["step"], found["account"]) == ("customer", "account", "shop.example")
    theirs = ann.post("/blocked", text=BOUNCE.format(who="a", address="203.0.113.7"))
    assert "/accounts/one?account=shop.example" in theirs.text
    nothing = ann.api("POST", "/blocked", json={"text": "452 4.2.2 <b@c.example> mailbox full"}).json()
    assert (nothing["side"], nothing["step"]) == ("recipient", "none")
    assert "paste a bounce" in ann.post("/blocked", text=" ").text
    ann.get("/blocked")
    assert "&lt;script&gt;" in ann.post("/blocked", text="550 <script>alert(1)</script> no").text

    classes = ann.api("POST", "/classify", json={"lines": ["552 5.2.2 mailbox full", "nonsense"]}).json()["items"]
    assert [one["class"] for one in classes] == ["mailbox_full", "other"]
    redacted = ann.api("POST", "/redact", json={"text": f"write to {secret}@shop.example"}).json()
    assert (secret in redacted["text"], redacted["changed"]) == (False, True)
    assert ann.api("POST", "/redact", json={"text": "x" * 200_000}).status_code == 409

    kept = [path for path in house.product.data.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert kept == []
    assert secret not in house.product.said()
