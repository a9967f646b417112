"""Reverse DNS, the greeting's name and SPF (RFC 7208), from records in a table."""

from __future__ import annotations

from typing import Any, cast

import pytest

from outbound_guard.blocklist.identity import identities
from outbound_guard.blocklist.own import greetings_of
from outbound_guard.blocklist.spf import check_host
from outbound_guard.config import Address, Config, Delivery, Pool
from outbound_guard.dns import NoAnswer, Questions

Records = dict[tuple[str, str], list[str]]
IP, V6 = "192.0.2.7", "2001:db8::7"


class Table:
    """Stands for the DNS."""

    def __init__(self, records: Records, broken: tuple[str, ...] = ()) -> None:
        self.records, self.broken, self.asked = records, broken, 0

    async def ask(self, name: str, kind: str) -> tuple[str, ...]:
        self.asked += 1
        if name in self.broken:
            raise NoAnswer("no answer within 7 s")
        return tuple(self.records.get((name, kind), ()))


def spf(record: str, **other: list[str]) -> Records:
    """`other`: NAME__TYPE, with _ for the dots of the name."""
    records = {("our.test", "TXT"): ["unrelated", record]}
    for key, values in other.items():
        name, _, kind = key.rpartition("__")
        records[name.replace("_", "."), kind] = values
    return records


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1 ip4:192.0.2.7 -all", "pass"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass"),
        ("v=spf1 ip4:192.0.2.8 -all", "fail"),
        ("v=spf1 ip4:192.0.2.8 ~all", "softfail"),
        ("v=spf1 ip4:192.0.2.8 ?all", "neutral"),
        ("v=spf1 -ip4:192.0.2.7 +all", "fail"),
        ("v=spf1 ip4:192.0.2.8", "neutral"),
        ("v=spf1", "neutral"),
        ("V=SPF1 IP4:192.0.2.7 -ALL", "pass"),
        ("v=spf10 +all", "none"),
        ("v=spf1 ip6:2001:db8::/32 -all", "fail"),
        ("v=spf1 a -all", "pass"),
        ("v=spf1 a:other.test -all", "fail"),
        ("v=spf1 a:other.test/24 -all", "pass"),
        ("v=spf1 a:other.test//24 -all", "fail"),
        ("v=spf1 a:other.test/24//64 -all", "pass"),
        ("v=spf1 mx -all", "pass"),
        ("v=spf1 mx:other.test -all", "fail"),
        ("v=spf1 include:good.test -all", "pass"),
        ("v=spf1 include:bad.test ~all", "softfail"),
        ("v=spf1 include:none.test -all", "permerror"),
        ("v=spf1 redirect=good.test", "pass"),
        ("v=spf1 redirect=bad.test", "fail"),
        ("v=spf1 redirect=none.test", "permerror"),
        ("v=spf1 redirect=good.test -all", "fail"),
        ("v=spf1 exists:%{ir}.list.test -all", "pass"),
        ("v=spf1 exists:%{d1}.%{v}.%{l}.test -all", "pass"),
        ("v=spf1 exists:%{x}.test -all", "permerror"),
        ("v=spf1 ptr -all", "fail"),
        ("v=spf1 exp=why.test unknown=1 ip4:192.0.2.7 -all", "pass"),
        ("v=spf1 nonsense -all", "permerror"),
        ("v=spf1 ip4:nonsense -all", "permerror"),
        ("v=spf1 ip4:2001:db8::/32 -all", "permerror"),
        ("v=spf1 include -all", "permerror"),
        ("v=spf1 a/33 -all", "permerror"),
        ("v=spf1 include:loop.test -all", "permerror"),
        ("v=spf1 a:n1.test a:n2.test a:n3.test -all", "permerror"),
        ("v=spf1 include:broken.test -all", "temperror"),
    ],
)
async def test_spf(record: str, result: str) -> None:
    table = Table(
        spf(
            record,
            our_test__A=[IP],
            other_test__A=["192.0.2.99"],
            our_test__MX=["10 mail.our.test."],
            mail_our_test__A=[IP],
            other_test__MX=["10 mail.other.test."],
            mail_other_test__A=["192.0.2.99"],
            good_test__TXT=["v=spf1 ip4:192.0.2.7 -all"],
            bad_test__TXT=["v=spf1 -all"],
            loop_test__TXT=["v=spf1 include:loop.test -all"],
        )
        | {("7.2.0.192.list.test", "A"): ["127.0.0.2"], ("test.in-addr.postmaster.test", "A"): ["127.0.0.2"]},
        broken=("broken.test",),
    )
    assert (await check_host(table.ask, IP, "our.test"))[0] == result
    assert table.asked < 25


async def test_spf_of_ipv6_and_of_two_records() -> None:
    table = Table(spf("v=spf1 ip6:2001:db8::/32 a -all"))
    assert await check_host(table.ask, V6, "our.test") == ("pass", "ip6:2001:db8::/32")
    table.records["our.test", "TXT"].append("v=spf1 -all")
    assert await check_host(table.ask, V6, "our.test") == ("permerror", "our.test has 2 SPF records")


async def test_an_address_in_order() -> None:
    table = Table(
        spf("v=spf1 ip4:192.0.2.7 -all", guard_our_test__A=[IP])
        | {("7.2.0.192.in-addr.arpa", "PTR"): ["guard.our.test."]}
    )
    (found,) = await identities(cast(Questions, cast(Any, table)), [IP], ["our.test"], "guard.our.test")
    assert (found.names, found.confirmed, found.helo_leads_here) == (("guard.our.test",), True, True)
    assert found.spf == {"our.test": "pass", "guard.our.test": "none"}
    assert (found.problems, found.unknown) == ((), ())


async def test_what_a_receiver_could_object_to() -> None:
    table = Table(
        spf("v=spf1 -all", guard_our_test__A=["192.0.2.1"], else_test__A=["192.0.2.9"])
        | {("8.2.0.192.in-addr.arpa", "PTR"): ["else.test."]},
        broken=("broken.test",),
    )
    questions = cast(Questions, cast(Any, table))
    without, other = await identities(questions, [IP, "192.0.2.8"], ["our.test", "broken.test"], "guard.our.test")
    assert without.problems == (
        "it has no reverse name (PTR)",
        "SPF of our.test says fail (-all)",
    )
    assert not without.helo_leads_here
    assert without.unknown == ("SPF of broken.test: broken.test TXT: no answer within 7 s",)
    assert other.problems[0] == "its reverse name else.test does not lead back to it"
    assert not other.confirmed
    (short,) = await identities(questions, [IP], [], "guard")
    assert "we greet as 'guard', which is no full name (RFC 5321 2.3.5)" in short.problems
    (nowhere,) = await identities(questions, [IP], [], "nowhere.test")
    assert "the name we greet with, nowhere.test, has no address (RFC 5321 2.3.5)" in nowhere.problems


async def test_with_what_name_a_customer_greets_is_the_customers_affair() -> None:
    table = Table(spf("v=spf1 ip4:192.0.2.7 -all"))
    (theirs,) = await identities(cast(Questions, cast(Any, table)), [IP], ["our.test"], "")
    assert theirs.problems == ("it has no reverse name (PTR)",)
    assert theirs.spf == {"our.test": "pass"}
    assert theirs.unknown == ()


async def test_an_address_with_a_name_of_its_own_must_be_called_so() -> None:
    table = Table(
        spf("v=spf1 +all", out1_our_test__A=[IP], out2_our_test__A=["192.0.2.8"])
        | {
            ("7.2.0.192.in-addr.arpa", "PTR"): ["out1.our.test."],
            ("8.2.0.192.in-addr.arpa", "PTR"): ["out1.our.test."],
        }
    )
    questions = cast(Questions, cast(Any, table))
    named = {IP: "out1.our.test", "192.0.2.8": "out2.our.test"}
    good, bad = await identities(questions, list(named), [], "guard.our.test", named)
    assert (good.helo, good.problems) == ("out1.our.test", ())
    assert bad.problems == (
        "its reverse name out1.our.test does not lead back to it",
        "it greets as out2.our.test, and its reverse name is out1.our.test",
    )


def test_which_name_an_address_says() -> None:
    pools = (
        Pool(source_addresses=("192.0.2.1", "192.0.2.2"), helo="pool.our.test"),
        Pool(name="b", source_addresses=("2001:DB8::1", "192.0.2.3")),
    )
    tables = (Address(address="192.0.2.2", helo="Two.our.test"), Address(address="2001:db8:0::1", helo="six.our.test"))
    assert greetings_of(Config(delivery=Delivery(pool=pools, address=tables))) == {
        "192.0.2.1": "pool.our.test",
        "192.0.2.2": "two.our.test",
        "2001:db8::1": "six.our.test",
    }
