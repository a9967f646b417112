"""Feedback over HTTP: reports, records and lines of logs by the API, and the pages about them; one product for all."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.feedback_reports import arf, dsn
from tests.integration.test_feedback_product import found, relayed
from tests.nexthop import NextHop
from tests.product import Hops, Product, until
from tests.webconsole import Visit, add_user, signed_in

# A whole product is started; on a busy machine that takes a while.
pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

MAIL = "message/rfc822"


class House:
    def __init__(self, product: Product, hop: NextHop, token: str) -> None:
        self.product, self.hop = product, hop
        self.http = httpx.Client(
            base_url=f"http://{product.addresses['console']}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
            trust_env=False,
        )

    def post(self, path: str, content: bytes, kind: str = MAIL) -> httpx.Response:
        return self.http.post(f"/feedback/{path}", content=content, headers={"Content-Type": kind})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Hops() as hops:
        hop = hops.start()
        with Product.made(tmp_path_factory.mktemp("http"), smarthosts=[hop.address]) as product:
            add_user(product, "ann", "admin")
            made = product.guard("user", "token-add", "ann", "mta1", "--scopes", "feedback", "--json")
            opened = House(product, hop, json.loads(made)["token"])
            with opened.http:
                yield opened


def test_a_complaint_and_a_bounce_are_posted(house: House) -> None:
    sent = relayed(house.product, house.hop, 1)
    answer = house.post("report", arf(sent, recipient="bob@b.test"))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["result"], said["kind"], said["form"], said["class"]) == ("counted", "complaint", "arf", "abuse")
    assert "account" not in said  # A next hop need not know whose customer it is.
    assert house.post("report", arf(sent, recipient="bob@b.test")).json()["result"] == "repeated"
    gone = relayed(house.product, house.hop, 2, "gone@c.test")
    answer = house.post("report", dsn(gone, [("gone@c.test", "5.1.1", "550 5.1.1 User unknown")]), "Message/RFC822")
    assert answer.json()["result"] == "counted"
    [row] = until(lambda: found(house.product, "--kind", "complaint"), "the ledger has it")
    assert (row["message"], row["source"], row["proof"]) == (said["message"], "api token:mta1", "seal")
    assert house.post("report", b"Subject: lunch?\r\n\r\nat one").json()["result"] == "other"


def test_what_the_token_is_for_and_nothing_else(house: House) -> None:
    for method, path in (("GET", "/feedback"), ("GET", "/me"), ("GET", "/messages"), ("POST", "/suppression/add")):
        assert house.http.request(method, path, json={}).status_code == 403, path
    assert httpx.post(f"{house.http.base_url}/feedback/report", content=b"x", trust_env=False).status_code == 401
    assert house.post("report", b"x", "text/html").status_code == 415
    assert house.post("records", b"{}", "text/plain").status_code == 415
    assert house.post("report", b"x" * 10_485_761).status_code == 413
    assert house.post("records", b" " * 1_048_577, "application/json").status_code == 413
    answer = house.post("records", b"[" + b"{}," * 1000 + b"{}]", "application/json")
    assert answer.status_code == 413, answer.text
    assert answer.json()["error"].startswith("too many")
    assert house.post("postfix", b"x\n" * 5001, "text/plain").status_code == 413


def test_records_of_kumomta(house: House) -> None:
    sent = relayed(house.product, house.hop, 3, "kurt@d.test")
    token = sent.partition(b"X-Outbound-Guard-Id: ")[2].partition(b"\r\n")[0].decode()
    bounce = {
        "type": "Bounce",
        "id": "4a17b0",
        "sender": "anna@a.test",
        "recipient": "kurt@d.test",
        "timestamp": int(time.time()),
        "response": {"code": 550, "enhanced_code": {"class": 5, "subject": 1, "detail": 1}, "content": "no such user"},
        "peer_address": {"name": "mx.d.test.", "addr": "192.0.2.9"},
        "headers": {"X-Outbound-Guard-Id": token},
    }
    reception = {"type": "Reception", "id": "4a17b0"}
    answer = house.post("records", json.dumps(bounce).encode(), "application/json")
    assert (answer.status_code, answer.json()["matched"], answer.json()["new"]) == (200, 1, 1)
    many = b"\n".join(json.dumps(one).encode() for one in (bounce, reception, {"type": "Bounce"}))
    said = house.post("records", many + b"\n{broken", "application/x-ndjson").json()
    assert said == {"matched": 1, "unmatched": 0, "other": 2, "passed_on": 0, "broken": 1, "new": 0}
    until(lambda: "no such user" in house.product.guard("suppression", "list", "a.test"), "it is on the list")
    until(lambda: found(house.product, "--kind", "delivery"), "the ledger has it")
    assert house.post("records", b"7", "application/json").status_code == 422
    assert house.post("records", b"\xff\x00", "application/json").status_code == 422
    assert house.post("records", b"[]", "application/json").json()["matched"] == 0


def test_lines_of_a_postfix(house: House) -> None:
    relayed(house.product, house.hop, 4, "paul@e.test")
    at = datetime.datetime.now(datetime.UTC).isoformat().encode()
    log = at + b" out1 postfix/cleanup[5]: 4XYZ1B2C3D: message-id=<4@a.test>\n" + at + b" out1 dovecot: something\n"
    assert house.post("postfix", log, "text/plain").json()["matched"] == 0
    # What one call has said of a message, the next one knows; and a line may be cut anywhere.
    line = at + b" out1 postfix/smtp[9]: 4XYZ1B2C3D: to=<paul@e.test>, relay=mx.e.test[192.0.2.9]:25, delay=1, "
    answer = house.post("postfix", line + b"dsn=5.1.1, sta\n" + line[:40], "text/plain; charset=utf-8")
    assert (answer.status_code, answer.json()["matched"]) == (200, 0)
    line += b"delays=0/0/0/1, dsn=5.2.2, status=bounced (host mx.e.test[192.0.2.9] said: 552 5.2.2 mailbox is full)\n"
    said = house.post("postfix", line, "text/plain").json()
    assert (said["matched"], said["new"]) == (1, 1)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"Content-Type: message/rfc822\r\n\r\n" * 2_000, 422),
        (b'Content-Type: multipart/report; boundary="b"\r\n\r\n' + b"--b\r\n\r\nx\r\n" * 200_000, 422),
        (b"From: mailer-daemon@x.test\r\nSubject: failure notice\r\n\r\n" + b"550 \r" * 1_500_000, 200),
        (b"From: mailer-daemon@x.test\r\nSubject: failure notice\r\n\r\n" + b"550-no\r\n" * 10_000, 200),
        (bytes(range(256)) * 4_000, 200),
    ],
)
def test_hostile_reports_are_survived_and_others_are_answered(house: House, content: bytes, status: int) -> None:
    answer = house.post("report", content)
    assert answer.status_code == status, answer.text
    assert house.product.metric("background_failures_total") == 0
    assert house.product.metric("restarts_total", role="console") == 0


def test_hostile_records_are_survived(house: House) -> None:
    odd: list[Any] = [
        {"type": ["Bounce"]},
        {"type": "Bounce", "recipient": ["@", 7, None, "x" * 100_000], "response": {"code": "550"}},
        {"type": "Bounce", "recipient": "b@b.test", "response": {"code": 10**30}, "timestamp": 1e308},
        {"type": "Feedback", "feedback_report": {"original_message": ["x"], "original_rcpt_to": {"a": "b"}}},
        {"type": "OOB", "recipient": "b@b.test", "response": {"content": "line\n" * 10_000}},
    ]
    answer = house.post("records", json.dumps(odd).encode(), "application/json")
    assert answer.status_code == 200, answer.text
    for content in (b"[" * 500_000, b'{"a":' * 100_000, b"{" + b'"x":1,' * 100_000 + b'"y":1}'):
        assert house.post("records", content, "application/json").status_code in (200, 422)
    assert house.product.metric("background_failures_total") == 0
    assert "the console failed at" not in house.product.said()


def test_pages_and_lists(house: House) -> None:
    hostile = arf(b"Message-ID: <nobody@x.test>\r\nSubject: x\r\n\r\nx\r\n", recipient="<b>bob</b>@b.test")
    assert house.post("report", hostile).json()["result"] == "unattributed"
    with signed_in(house.product, "olga", role="operator") as olga:
        page = until(lambda: "none of ours" in (found := olga.get("/feedback")).text and found, "the ledger has it")
        assert "api token:mta1" in page.text
        assert "none of ours" in olga.get("/feedback", kind="unattributed").text
        assert "gone@c.test" not in olga.get("/feedback", kind="complaint").text
        rows = olga.api("GET", "/feedback", limit=1).json()
        assert len(rows["items"]) == 1
        assert olga.api("GET", "/feedback", below=rows["next"]).json()["items"][0]["serial"] < rows["next"]
        assert olga.api("GET", "/feedback", kind="rumour").status_code == 400
        page = olga.post("/suppression/add", account="a.test", address="Karl@d.test", reason="asked")
        assert "karl@d.test is on the list of a.test" in page.text
        assert "karl@d.test" in olga.get("/suppression", account="a.test").text.partition("<tbody>")[2]
        page = olga.post("/suppression/remove", account="a.test", address="karl@d.test")
        assert "karl@d.test is off the list of a.test" in page.text
        assert "karl@d.test" not in olga.get("/suppression", account="a.test").text.partition("<tbody>")[2]
        page = olga.post("/suppression/add", account="a.test", address="Nobody", reason="x")
        assert "is no address" in page.text
        made = olga.api("POST", "/suppression/add", {"account": "a.test", "address": "Zoe@z.test", "reason": "asked"})
        assert (made.status_code, made.json()["address"]) == (200, "zoe@z.test")
        listed = olga.api("GET", "/suppression", address="zoe@z.test").json()["items"]
        assert [(one["account"], one["why"], one["by"]) for one in listed] == [("a.test", "by_hand", "console:olga")]
    with signed_in(house.product, "vera", role="viewer") as vera:
        assert "Take off" not in vera.get("/suppression").text
        answer = vera.http.post("/api/v1/feedback/report", content=b"x", headers={"X-CSRF-Token": vera.csrf})
        assert answer.status_code == 403


def test_the_description_names_the_bodies(house: House) -> None:
    visit = Visit(house.product.addresses["console"])
    calls = visit.get("/openapi.json").json()["paths"]
    visit.http.close()
    report = calls["/api/v1/feedback/report"]["post"]
    assert set(report["requestBody"]["content"]) == {"message/rfc822", "message/global"}
    assert {"200", "413", "415", "422", "503"} <= set(report["responses"])
    assert "application/x-ndjson" in calls["/api/v1/feedback/records"]["post"]["requestBody"]["content"]
