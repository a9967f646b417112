"""Notices of the whole product: receivers and mail servers as they are, a kill in the worst moment, what people do."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.nexthop import NextHop
from tests.product import Hops, Product, until
from tests.receiver import Receiver, receiver
from tests.webconsole import signed_in

pytestmark = pytest.mark.long

ROUTES = """
[notices]
desk = "abuse@guard.test"
retry = [1]
[[notice]]
name = "hook"
carrier = "webhook"
kinds = ["suspended", "resumed", "held"]
url = "http://127.0.0.1:{port}/guard"
allow_private = true
secret_file = "hook.key"
[[notice]]
name = "customers"
carrier = "mail"
to = "customer"
window = 0
[[notice]]
name = "inward"
carrier = "webhook"
kinds = ["suspended"]
url = "https://127.0.0.1:{port}/guard"
"""


class House:
    def __init__(self, product: Product, hop: NextHop, hook: Receiver) -> None:
        self.product, self.hop, self.hook = product, hop, hook

    def notices(self, **wanted: Any) -> list[dict[str, Any]]:
        found = json.loads(self.product.guard("notice", "list", "--json"))
        return [one for one in found if all(one[name] == value for name, value in wanted.items())]

    def asked(self, **wanted: Any) -> list[dict[str, Any]]:
        bodies = [json.loads(request.body) for request in self.hook.requests]
        return [body for body in bodies if all(body[name] == value for name, value in wanted.items())]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("notices")
    (folder / "hook.key").write_text("0123456789abcdef\n")
    with Hops() as hops:
        hop = hops.start()
        listening = receiver()
        hook = hops.call(listening.__aenter__())
        more = ROUTES.format(port=hook.port)
        with Product.made(folder, smarthosts=[hop.address], relays=1, more=more) as product:
            (folder / "a.csv").write_text("account,contact,sender\na.test,owner@private.test,*@a.test\n")
            product.guard("account", "import", str(folder / "a.csv"))
            yield House(product, hop, hook)
        hops.call(listening.__aexit__(None, None, None))


def test_a_suspension_reaches_program_and_customer(house: House) -> None:
    house.product.guard("account", "suspend", "--sender", "joe@a.test", "--reason", "stolen")
    until(lambda: house.asked(kind="suspended", sender="joe@a.test"))
    [message] = until(lambda: [m for m in house.hop.messages if "joe@a.test" in str(m.content)])
    assert message.mail_from == ""
    assert message.recipients == ["owner@private.test"]
    letter = email.message_from_bytes(message.content, policy=email.policy.SMTP)
    assert letter["To"] == "owner@private.test"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["X-Outbound-Guard-Id"]
    [inward] = until(lambda: tried(house, "inward", "joe@a.test"))
    assert inward["answer"] == "it leads to no address of the internet"
    [sent] = house.notices(route="customers", sender="joe@a.test")
    assert sent["state"] == "sent"
    shown = until(lambda: json.loads(house.product.guard("notice", "show", str(sent["id"]), "--json"))["deliveries"])
    assert shown[0]["code"] == 250


def tried(house: House, route: str, sender: str) -> list[dict[str, Any]]:
    return [one for one in house.notices(route=route, sender=sender) if one["attempts"]]


def test_the_contact_that_is_the_suspect_hears_nothing(house: House) -> None:
    house.product.guard("account", "enter", "a.test", "--contact", "boss@a.test")
    house.product.guard("account", "suspend", "a.test", "--reason", "stolen")
    left_out = until(lambda: house.notices(route="customers", state="left_out"))
    assert left_out[0]["answer"] == "its contact is a mailbox that is suspect itself"
    assert not [m for m in house.hop.messages if "boss@a.test" in str(m.recipients)]


def test_killed_between_answer_and_note_it_is_told_again_with_the_same_id(house: House) -> None:
    """The receiver has it, and everything dies before anybody could write that down."""
    product, hook = house.product, house.hook
    hook.answers = ["hang", "200"]
    hook.got.clear()
    product.guard("account", "suspend", "--sender", "victim@a.test", "--reason", "stolen")
    until(lambda: house.asked(sender="victim@a.test"))
    product.kill_everything()
    product.start()
    [waiting] = house.notices(route="hook", sender="victim@a.test")
    assert (waiting["state"], waiting["attempts"]) == ("waiting", 0)
    # Not for two minutes, as somebody could still be at it; a person need not wait.
    product.guard("notice", "retry", str(waiting["id"]))
    until(lambda: house.notices(route="hook", sender="victim@a.test", state="sent"))
    ids = [body["id"] for body in house.asked(sender="victim@a.test")]
    assert ids == [waiting["letter"]] * 2


def test_people_see_it_and_decide(house: House) -> None:
    with signed_in(house.product, "opa", role="operator") as opa, signed_in(house.product, "vic", role="viewer") as vic:
        page = vic.get("/notices")
        assert page.status_code == 200
        assert "joe@a.test" in page.text
        assert "Try again" not in page.text
        [inward] = house.notices(route="inward", sender="joe@a.test")
        one = f"/notices/{inward['id']}"
        assert "it leads to no address of the internet" in vic.get(one).text
        assert vic.post("/notices/decide", what="give_up", id=inward["id"]).status_code == 403
        assert vic.get("/notices/999999").status_code == 404
        assert "Try again now" in opa.get(one).text
        done = opa.post("/notices/decide", what="give_up", id=inward["id"], reason="it is a slip")
        assert done.status_code == 200
        assert house.notices(id=inward["id"])[0]["state"] == "failed"
        answer = opa.api("POST", "/notices/decide", {"what": "retry", "ids": [inward["id"]]})
        assert answer.status_code == 200, answer.text
        assert opa.api("POST", "/notices/decide", {"what": "retry", "ids": [99999]}).status_code in (400, 404, 409, 422)
        listed = opa.api("GET", "/notices", route="inward", limit=1).json()
        assert len(listed["items"]) == 1
        assert opa.api("POST", "/notices/test", {"route": "hook"}).status_code == 200
        until(lambda: house.asked(kind="test"))
    said = house.product.guard("notice", "test", "customers", "--account", "other.test", code=1)
    assert "left out: the directory has no contact for it" in said
    assert house.product.metric("notices_total", route="hook", result="sent") > 0
    with signed_in(house.product, "ada") as ada:
        acts = {entry["what"] for entry in ada.api("GET", "/audit").json()["items"]}
    assert {"notice.give_up", "notice.retry", "notice.test"} <= acts
