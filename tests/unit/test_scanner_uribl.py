"""Blocklists of domains: what is asked for, what an answer means, and which say nothing."""

from __future__ import annotations

import pytest

from outbound_guard.config import Scanner
from outbound_guard.scanners import Opinion
from outbound_guard.scanners.uribl import meaning_of
from tests.dnsstub import dns_stub
from tests.product import message
from tests.scanning import Asking

EVENT_LOOPS = ("asyncio", "uvloop")
LINKS = message(
    "links", "see http://www.shop.example/x and https://bad.good.example/ or http://192.0.2.9/ http://bücher.example/"
)
LIST = Scanner(kind="uribl", zone="list.test", timeout=30.0, failures=2)


async def test_uribl_asks_for_domains_and_hosts() -> None:
    async with dns_stub() as stub:
        asking = Asking(LIST, resolver=stub.address)
        assert [opinion.result for opinion in await asking.ask(LINKS)] == ["clean"]
        names = {name.removesuffix(".list.test") for name in stub.asked}
        assert names == {
            "shop.example",
            "www.shop.example",
            "good.example",
            "bad.good.example",
            "xn--bcher-kva.example",
        }
        await asking.ask(LINKS)
        assert len(stub.asked) == 5, "the answers are kept"
        assert await asking.ask(message("no links")) == []
        assert asking.counted("uribl", "clean") == 2


@pytest.mark.parametrize("name", ["good.example", "bad.good.example", "xn--bcher-kva.example"])
async def test_uribl_listed(name: str) -> None:
    async with dns_stub() as stub:
        stub.names[f"{name}.list.test"] = ["127.0.1.2"]
        said = Asking(Scanner(kind="uribl", zone="list.test", timeout=30.0, name="dbl"), resolver=stub.address)
        assert await said.ask(LINKS) == [Opinion("dbl", "listed", f"{name} (127.0.1.2)")]
        codes = {"127.0.1.2": "spam"}
        told = Asking(Scanner(kind="uribl", zone="list.test", timeout=30.0, codes=codes), resolver=stub.address)
        assert await told.ask(LINKS) == [Opinion("uribl", "listed", f"{name} (spam)")]
        elsewhere = Scanner(kind="uribl", zone="list.test", timeout=30.0, codes={"127.0.1.4": "phishing"})
        assert [o.result for o in await Asking(elsewhere, resolver=stub.address).ask(LINKS)] == ["clean"]


async def test_uribl_that_refuses_or_invents_answers_lists_nothing() -> None:
    async with dns_stub() as stub:
        asking = Asking(LIST, resolver=stub.address)
        stub.names["shop.example.list.test"] = ["127.255.255.254"]
        assert await asking.ask(LINKS) == []
        assert asking.counted("uribl", "down") == 1
        stub.names = {f"{name}.list.test": ["198.51.100.1"] for name in ("shop.example", "good.example")}
        asking = Asking(LIST, resolver=stub.address)
        assert [opinion.result for opinion in await asking.ask(LINKS)] == ["clean"]


async def test_uribl_probe_about_a_message_without_links_is_none() -> None:
    async with dns_stub() as stub:
        stub.failing = True
        asking = Asking(Scanner(kind="uribl", zone="list.test", timeout=30.0, failures=1), resolver=stub.address)
        assert await asking.ask(LINKS) == []
        stub.failing = False
        asking.clock.advance(61.0)
        assert await asking.ask(message("no links")) == []
        assert [opinion.result for opinion in await asking.ask(LINKS)] == ["clean"]


async def test_uribl_of_a_large_message_with_many_links() -> None:
    async with dns_stub() as stub:
        scanner = Scanner(kind="uribl", zone="list.test", timeout=30.0, message_size=1000)
        links = " ".join(f"http://shop{number}.example/" for number in range(50))
        said = await Asking(scanner, resolver=stub.address).ask(message("links", links))
        assert [opinion.reason for opinion in said] == ["20 names, none listed"]
        assert len(stub.asked) == 20


async def test_uribl_down_slow_and_half_answered() -> None:
    async with dns_stub() as stub:
        stub.failing = True
        asking = Asking(LIST, resolver=stub.address)
        assert [await asking.ask(LINKS) for _ in range(3)] == [[], [], []]
        assert (asking.counted("uribl", "down"), asking.counted("uribl", "paused")) == (2, 1)
        stub.failing, stub.silent = False, True
        slow = Asking(Scanner(kind="uribl", zone="list.test", timeout=0.1), resolver=stub.address)
        assert await slow.ask(LINKS) == []
        assert slow.counted("uribl", "timeout") == 1
        await slow.scanners.close()
        stub.silent = False
        stub.names["shop.example.list.test"] = ["127.0.0.2"]
        # One name that no server can be asked for does not hide what is known of the others.
        odd = message("links", f"http://{'a' * 70}.example/ http://shop.example/")
        assert [o.result for o in await Asking(LIST, resolver=stub.address).ask(odd)] == ["listed"]
        del stub.names["shop.example.list.test"]
        assert [o.result for o in await Asking(LIST, resolver=stub.address).ask(odd)] == ["clean"]


@pytest.mark.parametrize(
    ("address", "codes", "meaning"),
    [
        ("127.0.0.2", {}, ""),
        ("127.1.2.3", {}, ""),
        ("127.0.0.1", {}, None),
        ("127.255.255.254", {}, None),
        ("127.255.255.1", {"127.0.0.0/8": "all"}, None),
        ("127.255.254.1", {}, ""),
        ("10.0.0.2", {}, None),
        ("192.0.2.1", {"127.0.0.0/8": "all"}, None),
        ("127.0.1.2", {"127.0.1.2": "spam"}, "spam"),
        ("127.0.1.3", {"127.0.1.2": "spam"}, None),
        ("127.0.1.102", {"127.0.1.0/24": "listed"}, "listed"),
        ("127.0.0.80", {"&8": "phishing", "&16": "malware", "&64": "abuse"}, "malware, abuse"),
        ("127.0.0.4", {"&8": "phishing"}, None),
    ],
)
def test_uribl_codes(address: str, codes: dict[str, str], meaning: str | None) -> None:
    assert meaning_of(address, codes) == meaning
