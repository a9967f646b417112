"""What senders are told, and who is not written to any more, through the running product; one for all tests."""

from __future__ import annotations

import email
import json
import secrets
from collections.abc import Iterator
from email.message import Message

import bcrypt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from outbound_guard.accounts.token import Tokens, secret
from tests.nexthop import NextHop
from tests.product import Hops, Product, message, until

# A whole product is started; on a busy machine that takes a while.
pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

MORE = """
[auth]
passwords = "passwords"
[feedback]
suppress = "refuse"
[[dkim]]
domain = "guard.test"
selector = "s1"
private_key = "guard.pem"
"""


class House:
    def __init__(self, product: Product, hop: NextHop) -> None:
        self.product, self.hop = product, hop

    def submit(
        self, recipients: dict[str, str], mail_from: str = "anna@a.test", login: str = "", tag: str = ""
    ) -> tuple[list[str], str]:
        """One mail transaction: the replies to RCPT, and the last one. `recipients`: the parameters of each."""
        with self.product.client(login=(login, "secret") if login else ("", "")) as client:
            client.ehlo("client.test")
            assert client.say(f"MAIL FROM:<{mail_from}>").startswith("250")
            said = [client.say(f"RCPT TO:<{to}>{parameters}") for to, parameters in recipients.items()]
            if not any(one.startswith("250") for one in said):
                return said, ""
            assert client.say("DATA").startswith("354")
            client.send(message(f"hello {tag}", "the body") + b".\r\n")
            code, text = client.getreply()
            return said, f"{code} {text.decode()}"

    def reports(self, about: str) -> list[tuple[str, dict[str, str], bytes]]:
        """The reports that went out about a recipient: to whom, the fields about it, and the whole letter."""
        found = []
        for one in list(self.hop.messages):
            letter = email.message_from_bytes(one.content)
            if one.mail_from or letter.get_content_type() != "multipart/report":
                continue
            _, status, _ = letter.get_payload()  # type: ignore[misc]
            assert isinstance(status, Message)
            for block in status.get_payload()[1:]:
                assert isinstance(block, Message)
                if str(block["Final-Recipient"]).endswith(f"; {about}"):
                    found.append((one.recipients[0], {k: str(v) for k, v in block.items()}, one.content))
        return found

    def taken(self, recipient: str) -> int:
        """How many messages the next hop has for somebody."""
        return sum(recipient in one.recipients for one in list(self.hop.messages))

    def tries(self, recipient: str) -> int:
        """How often the next hop was asked to take something for somebody."""
        sessions = list(self.hop.sessions)
        return sum(c.startswith(f"RCPT TO:<{recipient}>") for session in sessions for c in list(session.commands))

    def listed(self, account: str = "a.test") -> dict[str, str]:
        rows = json.loads(self.product.guard("suppression", "list", account, "--json"))
        return {row["address"]: row["why"] for row in rows}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("reports")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (folder / "passwords").write_text(f"anna@a.test:{hashed}\n")
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "guard.pem").write_bytes(pem)
    with Hops() as hops:
        hop = hops.start()
        product = Product.made(folder, smarthosts=[hop.address], more=MORE)
        text = product.config.read_text()
        text = text.replace('trusted = ["127.0.0.0/8"]', 'trusted = ["127.0.0.0/8"]\nauth = "optional"', 1)
        product.config.write_text(text.replace("retry = [1, 1, 2]", "retry = [1, 1, 2]\ndelay_warning = 2", 1))
        with product:
            yield House(product, hop)


def fresh(name: str) -> str:
    """An address that no other test has used."""
    return f"{name}-{secrets.token_hex(4)}@b.test"


def test_success_is_reported_where_the_next_hop_does_not(house: House) -> None:
    asked, later, plain = fresh("asked"), fresh("later"), fresh("plain")
    house.hop.answer("RCPT", "451 4.2.0 not now", when=later)
    _, said = house.submit({asked: " NOTIFY=SUCCESS", later: " NOTIFY=SUCCESS,FAILURE", plain: ""})
    assert said.startswith("250")
    for recipient in (asked, later):
        [(to, fields, letter)] = until(lambda who=recipient: house.reports(who), recipient)  # type: ignore[misc]
        assert to == "anna@a.test"
        assert (fields["Action"], fields["Status"][0]) == ("relayed", "2")
        assert fields["Remote-MTA"] == "dns; [127.0.0.1]"
        # Signed by the key of our own name, and marked, so that complaints about it find here.
        assert letter.startswith(b"DKIM-Signature: v=1; a=ed25519-sha256")
        token = letter.partition(b"\r\nX-Outbound-Guard-Id: ")[2].partition(b"\r\n")[0].decode()
        assert Tokens(secret(house.product.data)).verify(token)
    assert house.reports(plain) == []
    assert [len(house.reports(who)) for who in (asked, later)] == [1, 1]


def test_success_is_not_reported_to_strangers(house: House) -> None:
    stranger, mine = fresh("stranger"), fresh("mine")
    # Who sends is known by the login, which does not own the address.
    _, said = house.submit({stranger: " NOTIFY=SUCCESS"}, mail_from="victim@v.test", login="anna@a.test")
    assert said.startswith("250")
    _, said = house.submit({mine: " NOTIFY=SUCCESS"}, login="anna@a.test")
    assert said.startswith("250")
    assert until(lambda: house.reports(mine), "the report that may be")
    assert house.reports(stranger) == []
    assert house.taken("victim@v.test") == 0


def test_a_delay_is_reported_once(house: House) -> None:
    slow, never = fresh("slow"), fresh("never")
    house.hop.answer("RCPT", "451 4.7.1 greylisted", when=slow, times=None)
    house.hop.answer("RCPT", "451 4.7.1 greylisted", when=never, times=None)
    _, said = house.submit({fresh("quick"): "", slow: "", never: " NOTIFY=FAILURE"})
    assert said.startswith("250")
    [(to, fields, _)] = until(lambda: house.reports(slow), "the report")
    assert (to, fields["Action"], fields["Status"]) == ("anna@a.test", "delayed", "4.7.1")
    assert "Will-Retry-Until" in fields
    tried = house.tries(slow)
    until(lambda: house.tries(slow) >= tried + 2, "it is tried again, twice")
    assert [len(house.reports(who)) for who in (slow, never)] == [1, 0]
    house.hop.forget(slow)
    house.hop.forget(never)
    until(lambda: house.taken(slow) and house.taken(never), "they are delivered")
    assert len(house.reports(slow)) == 1


def test_who_does_not_exist_is_not_written_to_again(house: House) -> None:
    gone, there = fresh("gone"), fresh("there")
    house.hop.answer("RCPT", "550 5.1.1 no such user", when=gone, times=None)
    _, said = house.submit({gone: ""})
    assert said.startswith("550 5.1.1 no such user")
    until(lambda: house.listed().get(gone) == "unknown_user", "it is on the list")

    def refused() -> bool:
        return "OG-SUPPRESSED" in house.submit({gone: ""})[1]

    until(refused, "the processes know it")
    until(lambda: all(refused() for _ in range(4)), "all of them")
    house.hop.forget(gone)
    # Some of several: the others get the message, and for this one there is a report.
    _, said = house.submit({there: "", gone.upper(): ""})
    assert said.startswith("250")
    assert house.taken(there) == 1
    [(_, fields, _)] = until(lambda: house.reports(gone.upper()), "the report")
    assert (fields["Action"], fields["Status"]) == ("failed", "5.1.1")
    assert "OG-SUPPRESSED" in fields["Diagnostic-Code"]
    # A login of its own is refused at RCPT, and the others in the same transaction are not.
    replies, said = house.submit({gone: "", there: ""}, login="anna@a.test")
    assert replies[0].startswith("550 5.1.1 OG-SUPPRESSED")
    assert replies[1].startswith("250")
    assert said.startswith("250")
    assert house.taken(gone) == 0
    # It is the list of this account alone.
    _, said = house.submit({gone: ""}, mail_from="otto@other.test")
    assert said.startswith("250")
    house.product.guard("suppression", "remove", "a.test", gone, "--reason", "came back")
    until(lambda: house.submit({gone: ""})[1].startswith("250"), "mail goes there again")


def test_queued_mail_to_somebody_who_complained_meanwhile_comes_back(house: House) -> None:
    angry = fresh("angry")
    house.hop.answer("RCPT", "451 4.2.0 not now", when=angry, times=None)
    _, said = house.submit({fresh("other"): "", angry: ""})
    assert said.startswith("250")
    house.product.guard("suppression", "add", "a.test", angry, "--reason", "asked by telephone")
    reports = until(lambda: [f for _, f, _ in house.reports(angry) if f["Action"] == "failed"], "the report")
    assert "5.7.1 OG-SUPPRESSED" in reports[0]["Diagnostic-Code"]
    house.hop.forget(angry)


def test_the_world_has_taught_nothing_by_what_we_refused(house: House) -> None:
    # Our own answers are no evidence, and nothing of all this has failed in the background.
    until(lambda: house.product.metric("suppressed_recipients") >= 1, house.product.said)
    assert house.product.metric("background_failures_total") == 0
