"""The file of lists, and what is ours."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from outbound_guard.blocklist.answers import meaning_of
from outbound_guard.blocklist.lists import described, lists_of
from outbound_guard.blocklist.own import customers_of, expanded, family_of, own_subjects, pools_of, subject_of
from outbound_guard.blocklist.rule import load_of
from outbound_guard.config import Blocklist, Config, ConfigError, load

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = ROOT / "outbound_guard" / "blocklist" / "blocklists.toml"


def config(folder: Path, lists: str = "", more: str = "") -> Config:
    (folder / "lists.toml").write_text(lists)
    (folder / "guard.toml").write_text(
        f'[delivery]\nmode = "sink"\n{more}\n[blocklist]\nfile = "lists.toml"\n' if "[blocklist]" not in more else more
    )
    return load(folder / "guard.toml")


def test_the_file_to_copy_is_the_packaged_one() -> None:
    assert (ROOT / "config" / "blocklists.toml").samefile(PACKAGED)


def test_packaged_lists_are_whole() -> None:
    lists = described(PACKAGED)
    assert len(lists) > 25
    for dnsbl in lists:
        assert dnsbl.name, dnsbl.zone
        assert dnsbl.codes, dnsbl.zone
        assert dnsbl.policy.endswith("."), dnsbl.zone
        assert dnsbl.lookup.startswith("https://"), dnsbl.zone
        assert dnsbl.removal.startswith("https://"), dnsbl.zone


def test_lists_that_have_ended_are_not_asked() -> None:
    asked = {dnsbl.label for dnsbl in lists_of(Config()).lists}
    ended = ["sorbs.net", "njabl.org", "ahbl.org", "manitu.net", "mcafee.com", "imp.ch", "abuseat.org"]
    assert [zone for zone in asked for end in ended if zone.endswith(end)] == []


def test_a_paid_list_is_asked_with_its_key_and_shown_without(tmp_path: Path) -> None:
    text = '[[list]]\nzone = "{key}.paid.test"\nkey_file = "paid.key"\n[[list]]\nzone = "{key}.other.test"\n'
    (tmp_path / "paid.key").write_text("s3cret\n")
    lists = lists_of(config(tmp_path, text))
    assert [dnsbl.label for dnsbl in lists.lists] == ["paid.test"]
    assert lists.asked_in(lists.lists[0]) == "s3cret.paid.test"
    (tmp_path / "paid.key").write_text("two words\n")
    with pytest.raises(ConfigError, match=r"list\[0\].key_file: the first line of .*paid.key is no key"):
        lists_of(config(tmp_path, text))
    (tmp_path / "paid.key").unlink()
    with pytest.raises(ConfigError, match=r"list\[0\].key_file: .* cannot be read"):
        lists_of(config(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('zone = "nodot"', 'list[0].zone: "nodot" is no zone; expected one like "dnsbl.example.org"'),
        (
            'zone = "a.test"\nkind = "url"',
            'list[0].kind: "url" is none of the possible values; expected "ip" | "domain"',
        ),
        ('zone = "a.test"\nkind = "domain"\nipv6 = true', 'list[0].ipv6: means nothing for kind = "domain"'),
        (
            'zone = "a.test"\ncodes = { "10.0.0.2" = "x" }',
            'list[0].codes: "10.0.0.2" is no answer of a list; expected "127.0.0.2", "127.0.1.0/24" or "&8"',
        ),
        (
            'zone = "a.test"\nerrors = { "&256" = "x" }',
            'list[0].errors: "&256" is no answer of a list; expected "127.0.0.2", "127.0.1.0/24" or "&8"',
        ),
        ('zone = "a.test"\nweight = -1', "list[0].weight: -1.0 is not possible; expected 0 to 1000"),
        ('zone = "a.test"\ntest_clean = ["x"]', 'list[0].test_clean: "x" is no IP address'),
        ('zone = "a.test"\n[[list]]\nzone = "A.test."', 'list[1].zone: "a.test" is already the zone of list[0]'),
        ('zone = "a.test"\nkeyfile = "x"', "list[0].keyfile: unknown key; did you mean `key_file`?"),
    ],
)
def test_a_wrong_file_is_refused_with_the_path_of_the_mistake(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        lists_of(config(tmp_path, f"[[list]]\n{text}\n"))
    assert str(caught.value) == f"{tmp_path}/lists.toml: {error}"


def test_own_addresses_and_domains(tmp_path: Path) -> None:
    more = """
        [delivery]
        [[delivery.pool]]
        smarthosts = ["127.0.0.1:25"]
        source_addresses = ["192.0.2.7", "2001:DB8::7"]
        [[delivery.pool]]
        name = "second"
        smarthosts = ["127.0.0.1:25"]
        source_addresses = ["192.0.2.7"]
        [[delivery.pool]]
        name = "third"
        smarthosts = ["127.0.0.1:25"]
        [blocklist]
        addresses = ["192.0.2.6/31", "8.8.8.8"]
        domains = ["Example.NET", "münchen.example."]
    """
    found = config(tmp_path, more=more.replace("münchen", "xn--mnchen-3ya"))
    assert own_subjects(found) == (
        "192.0.2.7",
        "2001:db8::7",
        "192.0.2.6",
        "8.8.8.8",
        "example.net",
        "xn--mnchen-3ya.example",
    )
    # Public lists cannot know of addresses that are not in the public internet; who names them wants to know it.
    assert own_subjects(found, everywhere=False) == (
        "192.0.2.6",
        "192.0.2.7",
        "8.8.8.8",
        "example.net",
        "xn--mnchen-3ya.example",
    )
    pools_alone = msgspec.structs.replace(found, blocklist=Blocklist())
    assert own_subjects(pools_alone, everywhere=False) == ()
    assert pools_of(found) == {"default": ("192.0.2.7", "2001:db8::7"), "second": ("192.0.2.7",)}


def test_addresses_and_domains_of_customers(tmp_path: Path) -> None:
    more = """
        [delivery]
        mode = "sink"
        [blocklist]
        addresses = ["192.0.2.8", "::ffff:192.0.2.9/128"]
        domains = ["Münchén.example"]
        [blocklist.customers]
        "shop.example" = ["192.0.2.8/31", "2001:DB8::/127", "Shop.Example."]
    """
    found = config(tmp_path, more=more)
    theirs = ["192.0.2.8", "192.0.2.9", "2001:db8::", "2001:db8::1", "shop.example"]
    assert customers_of(found) == dict.fromkeys(theirs, "shop.example")
    ours = ["192.0.2.8", "192.0.2.9", "xn--mnchn-esa3k.example"]
    assert own_subjects(found) == (*ours, *theirs[2:])
    wrong = config(tmp_path, more=more.replace("Shop.Example.", "shop"))
    with pytest.raises(
        ConfigError, match=r"guard.toml: blocklist.customers.\"shop.example\"\[2\]: 'shop' is no address"
    ):
        own_subjects(wrong)


def test_what_only_the_range_or_the_reverse_name_is_blamed_for_lets_no_address_rest() -> None:
    blamed = {
        "zen.spamhaus.org": ["127.0.0.10", "127.0.0.11"],
        "combined.mail.abusix.zone": ["127.0.0.11", "127.0.0.12"],
        "all.spamrats.com": ["127.0.0.36", "127.0.0.37"],
        "dnsbl.spfbl.net": ["127.0.0.3", "127.0.0.4"],
        "ips.backscatterer.org": ["127.0.0.2"],
        "dnsbl-2.uceprotect.net": ["127.0.0.2"],
        "dnsbl-3.uceprotect.net": ["127.0.0.2"],
    }
    lists = {dnsbl.label: dnsbl for dnsbl in described(PACKAGED)}
    rows = []
    for zone, codes in blamed.items():
        said = meaning_of(lists[zone], codes)
        assert said.state == "listed", zone
        times = {"first_seen": 1.0, "last_seen": 1.0, "clean_since": 0.0}
        rows.append(
            {"zone": zone, "known": said.state, "state": said.state, "scope": said.scope, **times}
            | {"weight": said.weight}
        )
    assert load_of(rows, Blocklist().rest_weight, 2.0).weight == 0.0
    bad = meaning_of(lists["zen.spamhaus.org"], ["127.0.0.3", "127.0.0.10"])
    assert (bad.scope, bad.weight) == ("address", 3.0)


def test_networks_have_bounds(tmp_path: Path) -> None:
    more = '[delivery]\nmode = "sink"\n[blocklist]\naddresses = ["2001:db8::/64"]'
    with pytest.raises(ConfigError, match=r"blocklist.addresses\[0\]: 2001:db8::/64 has too many addresses"):
        own_subjects(config(tmp_path, more=more))
    more = '[delivery]\nmode = "sink"\n[blocklist]\naddresses = ["10.0.0.0/16", "192.0.2.1"]'
    with pytest.raises(ConfigError, match=r"65537 in all are too many"):
        own_subjects(config(tmp_path, more=more))
    assert len(expanded(["192.0.2.0/29", "192.0.2.1"])) == 8
    with pytest.raises(ValueError, match="too many"):
        expanded(["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("text", "subject", "family"),
    [
        (" 192.0.2.1 ", "192.0.2.1", "ip4"),
        ("::FFFF:192.0.2.1", "192.0.2.1", "ip4"),
        ("[2001:DB8:0::1]", "2001:db8::1", "ip6"),
        ("Bücher.Example.", "xn--bcher-kva.example", "domain"),
        ("3com.example", "3com.example", "domain"),
    ],
)
def test_the_usual_form(text: str, subject: str, family: str) -> None:
    assert subject_of(text) == subject
    assert family_of(subject) == family


@pytest.mark.parametrize(
    "text", ["", "example", "1.2.3.999", "a..b", "a b.c", "x/y.z", "192.0.2", "é" * 300 + ".test", "-"]
)
def test_neither_address_nor_domain(text: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        subject_of(text)
