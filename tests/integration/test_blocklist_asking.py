"""Lists of every kind are asked, on a name server of our own: what is listed is found, and nothing else is."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from outbound_guard.blocklist.asking import Asking, Pace
from outbound_guard.blocklist.listing import Listing
from outbound_guard.blocklist.lists import Dnsbl, Lists
from outbound_guard.clock import VirtualClock
from outbound_guard.dns import Questions
from tests.listserver import ListServer, Zone, list_server, list_server_in_thread

OURS, OTHER, V6 = "192.0.2.7", "192.0.2.8", "2001:db8::7"
CODE = ["127.0.0.2"]
GUARD = Path(sys.executable).with_name("outbound-guard")

# What must never be taken for a listing, whatever is asked about.
MISLEADING = {
    "dead": (Zone(tests=False), "its test entry 127.0.0.2 is not listed"),
    "wildcard": (Zone(wildcard=CODE), "which cannot be listed"),
    "wildcard without tests": (Zone(wildcard=CODE, tests=False), "which cannot be listed"),
    "wildcard of other codes": (Zone(wildcard=["127.0.0.10"]), "which cannot be listed"),
    "sold": (Zone(wildcard=["198.51.100.1"]), "198.51.100.1"),
    "sold, all names alike": (Zone(wildcard=["198.51.100.1"], tests=False), "198.51.100.1"),
    "wildcard since a moment": (Zone(wildcard=CODE, wildcard_after=4), "which cannot be listed"),
    "dead since a moment": (
        Zone(dead_after=4, listed={OURS: CODE, OTHER: CODE}),
        "its test entry 127.0.0.2 is not listed",
    ),
    "public resolver": (Zone(wildcard=["127.255.255.254"], tests=False), "127.255.255.254"),
    "refuses by 127.0.0.1": (Zone(wildcard=["127.0.0.1"], tests=False), "127.0.0.1: the list refuses"),
    "asked too often": (Zone(limit=5, listed={OURS: CODE}), "127.255.255.255"),
    "never answers": (Zone(silent=True), "no answer within"),
    "answers no more": (Zone(silent_after=5, listed={OURS: CODE}), "no answer within"),
    "refuses": (Zone(rcode="REFUSED", listed={OURS: CODE}), "REFUSED"),
    "is broken": (Zone(rcode="SERVFAIL", listed={OURS: CODE}), "SERVFAIL"),
    "talks nonsense": (Zone(garbage=True, listed={OURS: CODE}), "no answer within"),
    "error for us alone": (Zone(listed={OURS: ["127.255.255.252"], OTHER: ["127.255.255.252"]}), "127.255.255.252"),
    "foreign address for us": (Zone(listed={OURS: ["203.0.113.1"], OTHER: ["10.1.1.1"]}), "outside 127.0.0.0/8"),
    "listing and error": (Zone(listed={OURS: [*CODE, "127.0.0.1"], OTHER: [*CODE, "127.255.255.1"]}), "refuses"),
}


@pytest.fixture
async def server() -> AsyncIterator[ListServer]:
    async with list_server() as server:
        yield server


async def ask(
    server: ListServer, subjects: Iterable[str], *lists: Dnsbl, keys: dict[str, str] | None = None
) -> dict[tuple[str, str], Listing]:
    questions = Questions([server.address], seconds=1.0, lifetime=2.0)
    lists = lists or tuple(Dnsbl(zone=zone) for zone in server.zones)
    asking = Asking(
        Lists(lists, keys or {}), questions, VirtualClock(1000.0), per_second=5000, per_second_per_list=5000
    )
    return {(found.subject, found.zone): found for found in await asking.answers(subjects)}


@pytest.mark.parametrize("name", MISLEADING)
async def test_a_list_that_misleads_is_unknown(server: ListServer, name: str) -> None:
    played, why = MISLEADING[name]
    server.zones["list.test"] = played
    found = await ask(server, [OURS, OTHER])
    assert [listing.state for listing in found.values()] == ["unknown", "unknown"]
    for listing in found.values():
        assert why in f"{listing.reason} {listing.codes}", listing


async def test_listed_and_clean(server: ListServer) -> None:
    server.zones["ip.test"] = Zone(
        listed={OURS: ["127.0.0.4", "127.0.0.2"], V6: CODE}, texts={OURS: "see https://ip.test/7"}
    )
    server.zones["domain.test"] = Zone(listed={"bad.example": ["127.0.1.2"]})
    ip = Dnsbl(zone="ip.test", ipv6=True, weight=2.0, codes={"127.0.0.2": "spam", "127.0.0.4": "bots"})
    domain = Dnsbl(zone="domain.test", kind="domain", scope="range")
    subjects = [OURS, OTHER, V6, "2001:db8::8", "bad.example", "good.example"]
    found = await ask(server, subjects, ip, domain)
    assert {key: listing.state for key, listing in found.items()} == {
        (OURS, "ip.test"): "listed",
        (OTHER, "ip.test"): "clean",
        (V6, "ip.test"): "listed",
        ("2001:db8::8", "ip.test"): "clean",
        ("bad.example", "domain.test"): "listed",
        ("good.example", "domain.test"): "clean",
    }
    assert found[OURS, "ip.test"] == Listing(
        subject=OURS,
        zone="ip.test",
        state="listed",
        codes=("127.0.0.2", "127.0.0.4"),
        reason="spam, bots: see https://ip.test/7",
        scope="address",
        weight=2.0,
        first_seen=1000.0,
        last_seen=1000.0,
    )
    assert found["bad.example", "domain.test"].scope == "range"


async def test_a_list_is_not_asked_about_what_it_does_not_know(server: ListServer) -> None:
    server.zones |= {"ip.test": Zone(), "domain.test": Zone()}
    found = await ask(server, [OURS, V6, "a.example"], Dnsbl(zone="ip.test"), Dnsbl(zone="domain.test", kind="domain"))
    assert set(found) == {(OURS, "ip.test"), ("a.example", "domain.test")}


async def test_a_resolver_that_rewrites_what_does_not_exist_is_not_believed(server: ListServer) -> None:
    server.zones["list.test"] = Zone(listed={OURS: CODE})
    for address in ("198.51.100.9", "127.0.0.2"):
        server.rewrites = [address]
        found = await ask(server, [OURS, OTHER])
        assert {listing.state for listing in found.values()} == {"unknown"}
        assert all(listing.codes == (address,) for listing in found.values())


async def test_an_answer_cut_short_is_asked_for_by_tcp(server: ListServer) -> None:
    server.zones["list.test"] = Zone(truncated=True, listed={OURS: CODE})
    found = await ask(server, [OURS, OTHER])
    assert [found[OURS, "list.test"].state, found[OTHER, "list.test"].state] == ["listed", "clean"]
    assert server.tcp > 5


async def test_what_a_list_says_is_bounded_and_harmless(server: ListServer) -> None:
    # 60 kB, in strings of at most 255 octets (RFC 1035 3.3), with what a terminal would obey and what is no UTF-8.
    text = '" "'.join([r"\027[31m\255\010\007" + "x" * 240] * 240)
    codes = [f"127.0.0.{number}" for number in range(2, 200)]
    server.zones["list.test"] = Zone(listed={OURS: codes}, texts={OURS: text})
    server.zones["other.test"] = Zone(listed={OURS: codes})
    found = await ask(server, [OURS], Dnsbl(zone="list.test"), Dnsbl(zone="other.test", codes={"127.0.0.1": "none"}))
    listing = found[OURS, "list.test"]
    assert listing.state == "listed"
    assert listing.reason.startswith("listed: ?[31m")
    assert listing.reason.isprintable()
    assert len(listing.reason) < 320
    assert len(listing.codes) == 20
    assert found[OURS, "other.test"].state == "unknown"
    assert len(found[OURS, "other.test"].reason) < 320


async def test_slow_answers_count(server: ListServer) -> None:
    server.zones["list.test"] = Zone(delay=0.1, listed={OURS: CODE})
    found = await ask(server, [OURS, OTHER])
    assert [found[OURS, "list.test"].state, found[OTHER, "list.test"].state] == ["listed", "clean"]


async def test_a_list_without_test_entries(server: ListServer) -> None:
    server.zones["list.test"] = Zone(tests=False, listed={OURS: CODE})
    server.zones["own.test"] = Zone(tests=False, listed={OURS: CODE, "127.0.0.9": CODE})
    without, own = Dnsbl(zone="list.test", test_entries=False), Dnsbl(zone="own.test", test_listed=("127.0.0.9",))
    found = await ask(server, [OURS], without, own)
    assert {listing.state for listing in found.values()} == {"listed"}
    server.zones["list.test"].wildcard = CODE
    assert (await ask(server, [OURS], without))[OURS, "list.test"].state == "unknown"


async def test_each_kind_of_list_has_test_entries_of_its_own(server: ListServer) -> None:
    # One that has the entry for IPv4 alone is alive, and one that has that for IPv6 alone is not for IPv4.
    for entry, states in (("127.0.0.2", ["listed", "listed"]), ("::ffff:7f00:2", ["unknown", "listed"])):
        server.zones["list.test"] = Zone(tests=False, listed={entry: CODE, OURS: CODE, V6: CODE})
        found = await ask(server, [OURS, V6], Dnsbl(zone="list.test", ipv6=True))
        assert [found[OURS, "list.test"].state, found[V6, "list.test"].state] == states
    # Lists of domains that follow those of addresses.
    server.zones["domain.test"] = Zone(tests=False, listed={"2.0.0.127": CODE, "bad.example": CODE})
    found = await ask(server, ["bad.example"], Dnsbl(zone="domain.test", kind="domain"))
    assert found["bad.example", "domain.test"].state == "listed"


async def test_a_list_that_fails_is_left_alone_for_the_round(server: ListServer) -> None:
    server.zones["limit.test"] = Zone(limit=10)
    server.zones["silent.test"] = Zone(silent=True)
    server.zones["good.test"] = Zone()
    found = await ask(server, [f"192.0.2.{number}" for number in range(200)])
    states = {zone: [one.state for one in found.values() if one.zone == zone] for zone in server.zones}
    assert states["silent.test"] == ["unknown"] * 200
    assert states["good.test"] == ["clean"] * 200
    assert states["limit.test"].count("unknown") > 190
    # So many were under way when it was given up.
    assert server.zones["limit.test"].asked < 50
    assert server.zones["silent.test"].asked < 5
    assert server.zones["good.test"].asked > 200


async def test_the_key_of_a_paid_list_is_said_to_the_list_alone(server: ListServer) -> None:
    server.zones["s3cret.paid.test"] = Zone(listed={OURS: CODE})
    paid = Dnsbl(zone="{key}.paid.test", key_file="x")
    found = await ask(server, [OURS], paid, keys={"paid.test": "s3cret"})
    assert found[OURS, "paid.test"].state == "listed"
    server.zones["s3cret.paid.test"].rcode = "SERVFAIL"
    refused = await ask(server, [OURS], paid, keys={"paid.test": "s3cret"})
    assert "s3cret" not in str(found) + str(refused)


def test_turns_come_at_their_pace() -> None:
    pace = Pace(50.0)
    slots = [pace.slot(100.0) for _ in range(1001)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(slots)]
    assert 0.01 - 1e-9 <= min(gaps) < 0.012
    assert 0.028 < max(gaps) <= 0.03 + 1e-9
    assert 18 < slots[-1] - slots[0] < 22
    # After a pause there is no burst.
    assert pace.slot(500.0) == 500.0
    assert pace.slot(500.0) >= 500.01


def test_how_long_a_round_takes() -> None:
    lists = Lists((Dnsbl(zone="slow.test", per_second=0.5), Dnsbl(zone="other.test", ipv6=True)))
    asking = Asking(lists, Questions([]), VirtualClock(), per_second=4, per_second_per_list=5)
    subjects = [OURS, OTHER, V6, "ours.test"]
    assert asking.seconds_for(subjects) == 4.0  # Two questions to the slow one.
    asking.pace.per_second = 0.5
    assert asking.seconds_for(subjects) == 10.0  # All five.


def test_a_list_may_have_a_pace_of_its_own() -> None:
    lists = Lists((Dnsbl(zone="one.test"), Dnsbl(zone="two.test", per_second=0.5)))
    asking = Asking(lists, Questions([]), VirtualClock(), per_second=200, per_second_per_list=5)
    assert asking.pace.per_second == 200
    assert {label: pace.per_second for label, pace in asking.paces.items()} == {"one.test": 5, "two.test": 0.5}


def test_the_command(tmp_path: Path) -> None:
    def guard(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [GUARD, "blocklist", *words, "--config", tmp_path / "guard.toml"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    with list_server_in_thread() as server:
        server.zones |= {"good.test": Zone(listed={OURS: CODE}, texts={OURS: "trap"}), "gone.test": Zone(wildcard=CODE)}
        server.zones["good.test"].texts[OURS] = r"trap\027[2J"
        server.zones["domain.test"] = Zone(listed={"bad.example": ["127.0.1.2"]})
        (tmp_path / "lists.toml").write_text(
            '[[list]]\nzone = "good.test"\ncodes = { "127.0.0.2" = "spam" }\n[[list]]\nzone = "gone.test"\n'
            '[[list]]\nzone = "domain.test"\nkind = "domain"\n'
        )
        (tmp_path / "guard.toml").write_text(
            f'[delivery]\nmode = "sink"\n[dns]\nresolvers = ["{server.address}"]\n'
            f'[blocklist]\nfile = "lists.toml"\naddresses = ["192.0.2.6/31"]\ndomains = ["bad.example"]\n'
            "per_second_per_list = 1000\n"
        )
        gone = {"state": "unknown", "code": "127.0.0.2"}
        clean = {"state": "clean", "code": "", "reason": ""}
        found = json.loads(guard("check", "--json"))
        for address in ("192.0.2.6", OURS):
            reason = found[address]["gone.test"].pop("reason")
            assert reason == "it answers 127.0.0.2 also for 127.0.0.1, which cannot be listed"
        assert found == {
            "192.0.2.6": {"good.test": clean, "gone.test": gone},
            OURS: {
                "good.test": {"state": "listed", "code": "127.0.0.2", "reason": "spam: trap?[2J"},
                "gone.test": gone,
            },
            "bad.example": {"domain.test": {"state": "listed", "code": "127.0.1.2", "reason": "listed"}},
        }
        assert json.loads(guard("check", OTHER, "good.example", "--list", "good.test", "--json")) == {
            OTHER: {"good.test": clean},
            "good.example": {},
        }
        said = guard("check", OURS)
        assert "good.test" in said
        assert said.endswith("1 asked about, 3 lists: 1 listed, 0 clean, 1 unknown\n")
        assert "is no address and no domain" in guard("check", "nonsense", code=2)
        assert "no list that is asked has the zone x.test" in guard("check", OURS, "--list", "x.test", code=1)
    (tmp_path / "guard.toml").write_text('[delivery]\nmode = "sink"\n')
    assert "nothing of ours is known" in guard("check", code=1)


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_a_wrong_file_of_lists_is_refused_before_anything_starts(tmp_path: Path, command: str) -> None:
    (tmp_path / "lists.toml").write_text('[[list]]\nzone = "a.test"\nkind = "other"\n')
    (tmp_path / "guard.toml").write_text('[delivery]\nmode = "sink"\n[blocklist]\nfile = "lists.toml"\n')
    words = [GUARD, command, "--config", tmp_path / "guard.toml"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f'{tmp_path}/lists.toml: list[0].kind: "other" is none of the possible values' in done.stderr
