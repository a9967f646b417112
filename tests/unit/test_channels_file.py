"""The official channels: what the packaged file holds, and what a file may say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from outbound_guard.blocklist import channels
from outbound_guard.config.reading import ConfigError
from outbound_guard.delivery import answers
from outbound_guard.desk.redaction.redact import is_role, redact

ROOT = Path(__file__).parents[2]
LISTS = ROOT.parent / "shared" / "corpus" / "lists"
HEAD = '[[channel]]\nname = "A"\nkind = "list"\n'


def test_the_sample_is_the_packaged_file() -> None:
    packaged = ROOT / "outbound_guard" / "blocklist" / "channels.toml"
    assert (ROOT / "config" / "channels.toml").read_bytes() == packaged.read_bytes()


def test_only_role_addresses_stand_in_it() -> None:
    for channel in channels.packaged().all:
        assert not channel.contact or is_role(channel.contact.partition("@")[0]), channel.contact
        for text in (channel.note, channel.next_step, *channel.asks):
            assert redact(text) == text


def test_every_channel_can_be_reached_or_ends_by_itself() -> None:
    for channel in channels.packaged().all:
        assert channel.page() or channel.next_step, channel.name
        assert channel.page() or channel.ended or channel.kind != "list", channel.name


@pytest.mark.skipif(not LISTS.is_dir(), reason="the corpus folder beside the repository is absent")
def test_receivers_and_lists_of_the_corpus_have_a_channel() -> None:
    known = channels.packaged()
    zones = [
        row["zone"] for row in json.loads((LISTS / "dnsbl.json").read_text())["lists"] if row["status"] == "active"
    ]
    missing = [
        zone
        for zone in zones
        if re.fullmatch(r"[a-z0-9.-]+", zone) and known.of_zone(zone) is None and "dnswl" not in zone
    ]
    assert missing == []
    receivers = json.loads((LISTS / "postmasters.json").read_text())["receivers"]
    domains = [domain for row in receivers for domain in row["domains"] if re.fullmatch(r"[a-z0-9.-]+", domain)]
    without = [
        domain
        for domain in domains
        if known.of_domain(domain) is None and known.of_provider(answers.packaged().provider(domain)) is None
    ]
    assert len(without) <= 2, without


@pytest.mark.parametrize(
    ("text", "list_", "zone"),
    [
        ("Client host [192.0.2.7] blocked using zen.spamhaus.org", "Spamhaus (SBL, CSS, XBL, PBL)", "zen.spamhaus.org"),
        (
            "Client host [192.0.2.7] blocked using key12.zen.dq.spamhaus.net;",
            "Spamhaus (SBL, CSS, XBL, PBL)",
            "key12.zen.dq.spamhaus.net",
        ),
        ("listed at Spamhaus XBL", "Spamhaus (SBL, CSS, XBL, PBL)", "zen.spamhaus.org"),
        ("see https://www.spamcop.net/bl.shtml?192.0.2.7", "SpamCop", "bl.spamcop.net"),
        ("Sender address [a@x.example] blocked using dbl.spamhaus.org", "Spamhaus DBL", "dbl.spamhaus.org"),
        ("blocked using bl.nobody-knows.example", None, "bl.nobody-knows.example"),
        ("rejected by mx1.example.org", None, ""),
        ("blocked by our policy", None, ""),
    ],
)
def test_a_list_is_found_in_an_answer(text: str, list_: str | None, zone: str) -> None:
    channel, found = channels.packaged().list_in(text)
    assert (channel.name if channel else None, found) == (list_, zone)


def test_one_provider_may_have_several_channels() -> None:
    known = channels.packaged()
    consumer = known.of_provider("Microsoft", "550 5.7.1 part of their network is on our block list (S3150)")
    business = known.of_provider("Microsoft", "550 5.7.606 Access denied, banned sending IP")
    assert consumer is not None
    assert business is not None
    assert consumer.name != business.name


@pytest.mark.parametrize(
    ("added", "error"),
    [
        (HEAD + HEAD, 'channel[1].name: there is a channel "A" already'),
        (HEAD + 'provider = "Nobody"', 'channel[0].provider: "Nobody" is no provider'),
        (HEAD + 'removal = "http://x.example/"', "channel[0].removal"),
        (HEAD + 'contact = "call me"', "channel[0].contact"),
        (HEAD + "waiting_days = -1", "channel[0].waiting_days"),
        (HEAD + 'says = ["a*b*c*d*e"]', "channel[0].says"),
        (
            HEAD + 'zones = ["a.example"]\n[[channel]]\nname = "B"\nkind = "list"\nzones = ["a.example"]',
            'channel[1].zones: "a.example" already',
        ),
        (HEAD + 'kinds = "x"', "channel[0].kinds: unknown key"),
        ('[[channel]]\nname = "A"\nkind = "friend"', 'channel[0].kind: "friend" is none of the possible values'),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, added: str, error: str) -> None:
    file = tmp_path / "channels.toml"
    file.write_text(added)
    with pytest.raises(ConfigError) as raised:
        channels.load(file)
    assert error in str(raised.value)
