"""What a customer sees by a link, what follows from the answer, and what the owner of a link cannot do."""

from __future__ import annotations

import email
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.customers import HOSTILE, SCRIPT, SECRET, SHOP, House, customers
from tests.product import Hops, until
from tests.webconsole import Visit

LETTERS = """
[[notice]]
name = "customers"
carrier = "mail"
to = "customer"
kinds = ["held"]
window = 0.0
"""
ANNA, BOB, CAL = "anna@shop.test", "bob@shop.test", "cal@shop.test"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Hops() as hops, customers(tmp_path_factory.mktemp("customers"), hops, more=LETTERS) as made:
        yield made


def words(answer: httpx.Response) -> str:
    """The text of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def test_a_customer_sees_what_is_held_and_nothing_of_anybody_else(house: House) -> None:
    path = house.link()
    page = house.visit.get(path)
    assert page.status_code == 200
    told = words(page)
    assert "6 messages are held back" in told
    assert "Much more mail was sent than usual." in told
    assert "pretends to come from somebody else" in told
    assert "Script contact.php" in told
    assert "so…@there.test" in told
    for hidden in (
        "someone0@",
        "victim@bank.test",
        "other.test",
        "Secret of another",
        SECRET,
        "rate",
        "from_address",
        "4.2",
    ):
        assert hidden not in told, hidden
    assert HOSTILE not in page.text
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "\u202e" not in page.text
    headers = page.headers
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script-src" not in headers["content-security-policy"]
    assert "noindex" in headers["x-robots-tag"]
    assert headers["cache-control"] == "no-store"
    assert "set-cookie" not in headers
    assert house.visit.get("/static/customers.css").headers["content-type"].startswith("text/css")


def test_it_speaks_the_language_of_the_browser(house: House) -> None:
    path = house.link()
    for accepted, said in (
        ("de-AT,de;q=0.9,en;q=0.5", "Das war ich nicht"),
        ("pt, fr;q=0.8, en;q=0.1", "Ce n’était pas moi"),
        ("es", "No fui yo"),
        ("ja", "This was not me"),
        (";q=,,x;q=nan,de;q=0", "This was not me"),
    ):
        assert said in house.visit.get(path, headers={"Accept-Language": accepted}).text, accepted
    assert "Das war ich" in house.visit.get(path, params={"lang": "de"}).text


@pytest.mark.long  # It waits for half a minute in which a customer may think again.
def test_it_was_me_releases_what_may_be_released_and_can_be_undone(house: House) -> None:
    path = house.link()
    check = house.visit.get(f"{path}/answer", params={"sender": ANNA, "was": "me"})
    assert "4 messages will be sent" in words(check)
    assert "2 messages stay held" in words(check)
    assert house.states(house.ids["anna"]) == ["held"] * 6, "a question changes nothing"
    done = house.answer(path, ANNA, "me")
    assert "You have said that this was you." in words(done)
    assert "4 will be sent at" in words(done)
    undone = house.visit.post(f"{path}/undo", data={"sender": ANNA}, follow_redirects=True)
    assert "You have taken your answer back." in words(undone)
    assert house.states(house.ids["anna"]) == ["held"] * 6
    # What was undone does not count.
    again = house.answer(path, ANNA, "me")
    assert "4 will be sent at" in words(again)
    bulk = next(one for one in house.desk.api("GET", "/bulk").json()["items"] if one["state"] == "placed")
    assert (bulk["by"], bulk["number"]) == (f"customer:{SHOP}", 4)
    until(lambda: len(house.delivered()) == 4, "the four oldest go", 60)
    assert house.delivered() == set(house.ids["anna"][:4])
    assert house.states(house.ids["anna"]) == ["released"] * 4 + ["held"] * 2
    until(lambda: house.desk.api("GET", f"/bulk/{bulk['id']}").json()["state"] == "done", "the ledger says so")
    assert "4 were sent." in words(house.visit.get(path))
    # No more for today, of no sender of that account and by no other link.
    other = house.link()
    assert "mail" in words(house.visit.get(other))
    assert "0 messages today" in words(house.visit.get(other))
    assert "2 messages stay held" in words(house.visit.get(f"{other}/answer", params={"sender": CAL, "was": "me"}))
    assert "This was not done" in words(house.answer(path, ANNA, "me")), "each answer is given once"
    trail = house.audit("held.release")
    assert {(one["by"], one["subject"]) for one in trail} == {
        (f"customer:{SHOP}", id_) for id_ in house.ids["anna"][:4]
    }
    assert [one["subject"] for one in house.audit("customer.me")] == [ANNA, ANNA]
    assert house.audit("customer.undone")
    assert house.product.metric("customer_released_total") == 8
    seen = words(house.desk.get("/accounts/one", account=SHOP))
    assert "it was them" in seen
    assert "looked at for 24 hours" in seen


def test_a_letter_to_the_customer_has_a_link(house: House) -> None:
    def letters() -> list[tuple[str, str]]:
        wanted = re.compile(rb"http://127\.0\.0\.1:1(/customer/[0-9a-f]{64})")
        found = []
        for got in list(house.hop.messages):
            for part in email.message_from_bytes(got.raw).walk():
                if part.get_content_type() == "text/plain" and (link := wanted.search(part.get_payload(decode=True))):
                    found += [(to, link[1].decode()) for to in got.recipients]
        return found

    told = dict(until(lambda: found if len(found := letters()) > 1 else [], "letters with links", 60))
    assert set(told) == {"owner@private-shop.test", "owner@private-other.test"}, "never to dan@stolen.test"
    seen = words(house.visit.get(told["owner@private-other.test"]))
    assert "Secret of another" in seen
    assert "anna@shop.test" not in seen


def test_what_pretends_or_is_dangerous_waits_for_the_desk(house: House) -> None:
    path = house.link()
    check = words(house.visit.get(f"{path}/answer", params={"sender": BOB, "was": "me"}))
    assert "will be sent" not in check
    assert "One message stays held" in check
    done = words(house.answer(path, BOB, "me"))
    assert "You have said that this was you." in done
    assert house.states(house.ids["bob"]) == ["held"]


def test_it_was_not_me_stops_the_sender_and_says_what_to_do(house: House) -> None:
    path = house.link()
    check = words(house.visit.get(f"{path}/answer", params={"sender": SCRIPT, "was": "not_me"}))
    assert "It may not send any more mail" in check
    done = words(house.answer(path, SCRIPT, "not_me"))
    assert "Find contact.php in your web space." in done
    assert "It may not send mail at present." in done
    assert house.states(house.ids["script"]) == ["held"], "kept for the desk"
    suspended = house.audit("sender.suspended")[0]
    assert (suspended["subject"], suspended["by"]) == (SCRIPT, f"customer:{SHOP}")
    assert house.audit("customer.not_me")[0]["by"] == f"customer:{SHOP}"
    said = words(house.answer(house.link(), CAL, "not_me"))
    assert "Change the password of cal@shop.test" in said


def test_links_that_are_not_good_say_so(house: House) -> None:
    path = house.link()
    wrong = path[:-1] + ("0" if path[-1] != "0" else "1")
    for forged in (
        wrong,
        path[:-48] + "0" * 48,
        "/customer/" + "f" * 64,
        "/customer/x",
        path + "0",
        path.upper()[:9] + path[9:],
    ):
        answer = house.visit.get(forged)
        assert answer.status_code == 404, forged
    assert "This link does not work" in words(house.visit.get(wrong))
    id_ = path.removeprefix("/customer/")[:16]
    assert house.desk.api("POST", f"/customers/links/{id_}/revoke").status_code == 200
    gone = house.visit.get(path)
    assert (gone.status_code, "is not valid any more" in words(gone)) == (410, True)
    for attempt in (
        house.answer(path, BOB, "not_me"),
        house.visit.post(f"{path}/undo", data={"sender": ANNA}),
        house.visit.get(f"{path}/answer", params={"sender": BOB, "was": "me"}),
    ):
        assert attempt.status_code == 410


def test_a_link_reaches_no_other_accounts_mail(house: House) -> None:
    path = house.link()
    for sender in ("eve@other.test", "nobody@nowhere.test", "", HOSTILE, "x\r\nSet-Cookie: a=b"):
        assert house.answer(path, sender, "me").status_code == 409
        assert house.answer(path, sender, "not_me").status_code == 409
        question = house.visit.get(f"{path}/answer", params={"sender": sender, "was": "me"})
        assert question.status_code == 404
        assert "set-cookie" not in question.headers
        assert "<script" not in question.text
    assert house.states(house.ids["other"]) == ["held"]
    assert house.answer(path, BOB, "maybe").status_code == 409


def test_other_sites_make_a_browser_do_nothing(house: House) -> None:
    path = house.link()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "same-site"}):
        assert house.answer(path, CAL, "not_me", **headers).status_code == 403
    # A page without a referrer, over http to another machine: the browser says `null`.
    assert house.answer(path, "nobody@shop.test", "me", Origin="null").status_code == 409
    # Who is signed in at the desk in the same browser is no hindrance, and of no use.
    assert house.desk.http.post(f"{path}/answer", data={"sender": "x@shop.test", "was": "me"}).status_code == 409


def test_a_link_is_made_for_the_contact_alone(house: House) -> None:
    refused = house.desk.api("POST", "/customers/links", json={"account": "stolen.test"})
    assert (refused.status_code, "under suspicion itself" in refused.text) == (409, True)
    unknown = house.desk.api("POST", "/customers/links", json={"account": "nobody.test"})
    assert (unknown.status_code, "no contact" in unknown.text) == (409, True)
    page = house.desk.post("/accounts/customer/link", account=SHOP)
    assert page.status_code == 200
    assert "owner@private-shop.test" in page.text
    url = re.search(r"http://127\.0\.0\.1:1(/customer/[0-9a-f]{64})", page.text)
    assert url is not None
    assert house.visit.get(url[1]).status_code == 200
    links = house.desk.api("GET", "/customers", account=SHOP).json()["links"]
    assert (links[0]["by"], links[0]["opened"]) == ("console:ann", 1)
    # Neither ledger nor journal knows the secret.
    secret = url[1].removeprefix("/customer/")[16:]
    kept = [file for file in house.product.data.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]
    assert kept == []


def test_whoever_tries_links_has_to_wait(house: House) -> None:
    # Last: whoever comes from this address waits after it.
    stranger = Visit(house.address)
    answers = [stranger.http.get("/customer/" + f"{n:064x}").status_code for n in range(40)]
    stranger.http.close()
    assert answers[0] == 404
    assert answers[-1] == 429
