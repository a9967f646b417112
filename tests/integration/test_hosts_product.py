"""Three hosts on one PostgreSQL and one Redis: what is decided on one is done on the one that has the mail."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import postgres
from tests.house import House, house
from tests.outage.test_state_outage import Redis
from tests.product import Hops, until
from tests.webconsole import Visit, signed_in

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
NAMES = ("alpha", "beta", "gamma")
GONE = 40.0
"""Seconds until another host leads; the promise holds for ten."""


class Hosts:
    """The three, by name, and what leaves any of them."""

    def __init__(self, houses: dict[str, House]) -> None:
        self.houses = houses
        self.alpha, self.beta, self.gamma = houses.values()

    def leader(self) -> str:
        """The one that leads; empty: none, or more than one says so at this moment."""
        leading = [name for name, one in self.houses.items() if one.product.metric("ledger_leads") == 1]
        return leading[0] if len(leading) == 1 else ""

    def times(self, subject: str) -> int:
        """How often a message has left."""
        return self.alpha.subjects().count(subject)


def made(folder: Path, hops: Hops, name: str, more: str, hop: House | None) -> House:
    product, customers = house(folder / name, hops, more=more)
    text = product.config.read_text().replace("[server]\n", f'[server]\nnode = "{name}"\n')
    if hop is not None:
        # All of them hand on to the same next hop.
        text = text.replace(customers.hop.address, hop.hop.address)
        customers.hop = hop.hop
    product.config.write_text(text)
    return customers


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, postgres_server: postgres.Server) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("hosts")
    redis = Redis(folder)
    # Empty: the hosts make its schema, all of them at the same time.
    url = postgres_server.database()
    more = f'[ledger]\nurl = "{url}"\n[state]\nurl = "redis://127.0.0.1:{redis.port}"\n'
    try:
        with Hops() as hops:
            houses: dict[str, House] = {}
            for name in NAMES:
                houses[name] = made(folder, hops, name, more, houses.get(NAMES[0]))
            with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool, pytest.MonkeyPatch.context() as patch:
                patch.setattr("tests.product.START_SECONDS", 240.0)
                # All at the same time, so that they meet at the empty database.
                for started in [pool.submit(stack.enter_context, one.product) for one in houses.values()]:
                    started.result()
                yield Hosts(houses)
    finally:
        redis.kill()
        postgres_server.forget(url)


def burst(one: House, sender: str, everywhere: Hosts) -> list[str]:
    """Mail held on a host; returns when all hosts see it."""
    one.calm_past(sender)
    ids = one.burst(sender)
    assert len(ids) >= 10, "the burst was not contained"
    for other in everywhere.houses.values():
        until(lambda other=other: set(ids) <= {row["id"] for row in other.product.held()}, other.product.held)
    return ids


def subjects_of(one: House, ids: list[str]) -> list[str]:
    return [row["subject"] for row in one.product.held() if row["id"] in ids]


def done(visit: Visit, decision: str) -> dict[str, int]:
    """The counts of a decision, as soon as it is carried out."""
    found = until(
        lambda: (told := visit.api("GET", f"/bulk/{decision}").json())["state"] == "done" and told,
        lambda: visit.api("GET", f"/bulk/{decision}").text,
    )
    counts: dict[str, int] = found["counts"]
    return counts


def test_held_on_one_host_released_deleted_and_returned_by_command_on_another(hosts: Hosts) -> None:
    ids = burst(hosts.alpha, "anna@shop.test", hosts)
    subjects = subjects_of(hosts.gamma, ids)
    said = hosts.beta.product.guard("held", "release", ids[0], "--reason", "she called", "--by", "ben")
    assert said == f"{ids[0]} released\n"
    until(lambda: hosts.times(subjects[0]) == 1, hosts.alpha.product.said)
    (told,) = json.loads(hosts.gamma.product.guard("held", "delete", ids[1], "--json"))
    assert (told["result"], told["host"]) == ("deleted", "alpha")
    until(lambda: not (hosts.alpha.product.data / "spool/held" / ids[1]).exists())
    (told,) = json.loads(hosts.gamma.product.guard("held", "return", ids[2], "--json"))
    assert (told["result"], told["host"]) == ("returned", "alpha")
    # Whose decision it was stands in the audit of the message, once.
    shown = json.loads(hosts.gamma.product.guard("held", "show", ids[0], "--json"))
    done_to_it = [(one["what"], one["by"]) for one in shown["decision"]["audit"] if one["what"].startswith("held.")]
    assert done_to_it == [("held.release", "ben")]
    # A second time there is nothing left to do, and every host says so.
    for one in hosts.houses.values():
        assert one.product.guard("held", "release", ids[0], code=1).startswith("outbound-guard: ")
    assert hosts.times(subjects[0]) == 1
    assert hosts.times(subjects[1]) == 0


def test_the_page_of_another_host_says_where_it_lies_and_has_it_released(hosts: Hosts) -> None:
    ids = burst(hosts.alpha, "bert@garage.test", hosts)
    subject = subjects_of(hosts.beta, ids[:1])[0]
    with signed_in(hosts.beta.product, "bea") as bea:
        page = bea.get(f"/held/{ids[0]}")
        assert "It lies on host <b>alpha</b>" in page.text
        refused = bea.get(f"/held/{ids[0]}/content")
        assert refused.status_code == 404
        assert "lies on host alpha" in refused.text
        bea.get("/held/decide", do="release", id=ids[0])
        page = bea.post("/held/decide", do="release", id=ids[0], delay="0")
        assert page.status_code == 200
        until(lambda: hosts.times(subject) == 1, page.text)
        assert done(bea, str(page.url).rpartition("/")[2]) == {"done": 1}


def test_a_decision_about_mail_of_all_hosts_is_carried_out_by_each_of_them_once(hosts: Hosts) -> None:
    wanted: dict[str, str] = {}
    for number, one in enumerate(hosts.houses.values()):
        ids = burst(one, f"carl{number}@chain{number}.test", hosts)[:8]
        wanted |= dict(zip(ids, subjects_of(one, ids), strict=True))
    with signed_in(hosts.gamma.product, "gus") as gus:
        placed = gus.api("POST", "/bulk", {"act": "release", "ids": sorted(wanted), "delay": 0.0}).json()
        assert done(gus, placed["id"]) == {"done": len(wanted)}
        until(lambda: all(hosts.times(subject) == 1 for subject in wanted.values()), hosts.alpha.subjects)
        audit = gus.api("GET", "/audit", subject=placed["id"]).json()["items"]
        assert sorted(one["what"] for one in audit) == ["bulk.done", "bulk.release"]
        # What was taken back in time is done by nobody.
        (left,) = [row["id"] for row in hosts.beta.product.held() if row["account"] == "chain1.test"][:1]
        placed = gus.api("POST", "/bulk", {"act": "delete", "ids": [left], "delay": 3600.0}).json()
        assert gus.api("POST", f"/bulk/{placed['id']}/undo").json()["state"] == "undone"
        assert left in {row["id"] for row in hosts.alpha.product.held()}


def test_what_postgresql_has_no_place_for_is_no_fault_of_ours(hosts: Hosts) -> None:
    with signed_in(hosts.alpha.product, "nele", role="admin") as nele:
        answer = nele.api("POST", "/bulk", {"act": "release", "ids": ["a\0b"], "delay": 0.0})
        assert (answer.status_code, "NUL" in answer.json()["error"]) == (400, True)
        assert nele.post("/held/decide", do="release", id="a\0b", delay="0").status_code == 400
        # What goes by the journal is stored without it.
        assert (
            nele.api("POST", "/accounts/notes", {"scope": "account", "subject": "a\0b", "text": "?"}).status_code == 201
        )


def test_a_suspension_holds_on_all_hosts(hosts: Hosts) -> None:
    dora = "dora@florist.test"
    hosts.alpha.calm_past(dora, 2)
    hosts.alpha.product.guard("account", "suspend", dora, "--sender", "--reason", "stolen password")
    for one in hosts.houses.values():
        until(lambda one=one: re.match(r"5\d\d ", one.send(dora, "friend@there.test", "refused?")))


def test_one_host_leads_and_another_takes_its_place(hosts: Hosts) -> None:
    first = until(hosts.leader, "one of them leads", GONE)
    product = hosts.houses[first].product
    others = {name: one for name, one in hosts.houses.items() if name != first}
    product.kill_everything()
    try:

        def next_one() -> list[str]:
            return [name for name, one in others.items() if one.product.metric("ledger_leads") == 1]

        assert len(until(next_one, "another leads", GONE)) == 1
        # What lies on the host that is away is not lost: it was asked, and does it when it is back.
        asking = next(iter(others.values())).product
        mine = {path.name for path in (product.data / "spool/held").iterdir()}
        left = next((row["id"] for row in asking.held() if row["id"] in mine), None)
        if left:
            said = asking.guard("held", "delete", left, code=1)
            assert f"{left} lies on host {first}" in said
            assert "has not answered yet" in said
    finally:
        product.start()
    if left:
        until(lambda: not (product.data / "spool/held" / left).exists(), product.said, 60.0)
        until(lambda: left not in {row["id"] for row in asking.held()}, asking.held)
