"""The configuration files: the samples show every default, and every kind of mistake has its sentence."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from outbound_guard.config import (
    PACKAGED_IDENTITY,
    Address,
    Allow,
    Config,
    ConfigError,
    Delivery,
    Dkim,
    Identity,
    Listener,
    Policy,
    Pool,
    Scanner,
    contains,
    find,
    host_port,
    load,
    load_policy,
    networks,
    policy_of,
)
from outbound_guard.config.notices import NoticeRoute
from outbound_guard.config.panels import Panel

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "config" / "outbound-guard.toml"
POLICY = ROOT / "config" / "policy.toml"
BAD = sorted((ROOT / "tests" / "bad_configs").glob("*.toml"))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_file_is_refused_with_its_sentence(path: Path) -> None:
    first = path.read_bytes().partition(b"\n")[0].decode()
    expected = re.fullmatch(r"# error: (.+)", first)
    assert expected, "the first line of a bad file says which error is expected"
    with pytest.raises(ConfigError) as caught:
        (load_policy if path.name.startswith("policy.") else load)(path)
    sentence, dots, _ = expected[1].partition("...")
    if dots and expected[1].endswith("..."):
        # What follows is Python's own wording, which changes between versions.
        assert str(caught.value).startswith(f"{path}: {sentence}")
    else:
        assert str(caught.value) == f"{path}: {expected[1]}"


def test_there_are_bad_files() -> None:
    assert len(BAD) > 80


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path}/none.toml: cannot be read: No such file or directory"


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(ConfigError, match="is not TOML"):
        load(path)


def _given(table: dict[str, Any], type_: type[msgspec.Struct], where: str = "") -> list[str]:
    """The settings that a sample leaves out."""
    missing = []
    for field in msgspec.structs.fields(type_):
        name = f"{where}{field.encode_name}"
        if field.encode_name not in table:
            missing.append(name)
        elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            missing += _given(table[field.encode_name], field.type, f"{name}.")
    return missing


def test_sample_shows_every_setting() -> None:
    table = tomllib.loads(SAMPLE.read_text())
    assert _given(table, Config) == ["delivery.address", "dkim", "scanner", "notice", "panel", "path"]
    for entry, type_ in (
        (table["listener"][0], Listener),
        (table["identity"][0], Identity),
        (table["delivery"]["pool"][0], Pool),
    ):
        assert _given(entry, type_) == []


def test_sample_shows_an_address_with_every_setting() -> None:
    text = SAMPLE.read_text()
    example = text[text.index("# [[delivery.address]]") :].partition("\n\n")[0]
    [table] = tomllib.loads(re.sub("^# ?", "", example, flags=re.M))["delivery"]["address"]
    assert _given(table, Address) == []
    shown = msgspec.convert(table, Address)
    assert msgspec.structs.replace(shown, warm_up="") == Address(address="192.0.2.10")


def commented(name: str) -> dict[str, Any]:
    """The table that the sample shows as a comment."""
    text = SAMPLE.read_text()
    example = text[text.index(f"# [[{name}]]") :].partition("\n\n")[0]
    return dict(tomllib.loads(re.sub("^# ?", "", example, flags=re.M))[name][0])


def test_sample_shows_a_key_with_every_setting() -> None:
    assert _given(commented("dkim"), Dkim) == []


def test_sample_shows_a_notice_with_every_setting() -> None:
    table = commented("notice")
    assert _given(table, NoticeRoute) == []
    assert msgspec.convert(table, NoticeRoute) == NoticeRoute(name="desk", carrier="mail")


def test_sample_shows_a_panel_with_every_setting() -> None:
    table = commented("panel")
    assert _given(table, Panel) == []
    default = Panel(name="web1", kind="cpanel", url="https://web1.example.net:2087", token_file="web1-token")
    assert msgspec.convert(table, Panel) == default


def test_sample_shows_a_scanner_with_every_setting() -> None:
    table = commented("scanner")
    assert _given(table, Scanner) == []
    default = Scanner(kind="uribl")
    assert {key: value for key, value in table.items() if getattr(default, key) != value}.keys() == {
        "name",
        "zone",
        "codes",
    }


def test_sample_equals_the_defaults() -> None:
    config, default = load(SAMPLE), Config()
    # A smarthost is the one thing that has no default; the tables in lists are shown with theirs.
    assert config.listener == (Listener(),)
    assert config.delivery.pool == (Pool(smarthosts=("smtp.example.net:25",)),)
    assert config.identity == PACKAGED_IDENTITY
    shown = msgspec.structs.replace(
        config,
        path="",
        listener=default.listener,
        delivery=msgspec.structs.replace(config.delivery, pool=Delivery().pool),
    )
    assert shown == default


def test_policy_sample_shows_every_setting_at_its_default() -> None:
    text = POLICY.read_text()
    assert set(_given(tomllib.loads(text), Policy)) <= {"allow", "signal"}
    policy = msgspec.structs.replace(load_policy(POLICY), signal={})
    assert policy == Policy()
    example = text[text.index("# [[allow]]") :].partition("\n\n")[0].replace("# ", "")
    rule = tomllib.loads(example)["allow"][0]
    assert _given(rule, Allow) == []
    assert msgspec.convert(rule, Allow)


def test_good_file_with_everything(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("guard.example.net")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "tls.crt"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "tls.key"))
    (tmp_path / "passwords").write_text("anna@example.com:$2b$12$x\n")
    (tmp_path / "policy.toml").write_text("[threshold]\nhold = 7\n")
    path = tmp_path / "guard.toml"
    path.write_text("""
[server]
hostname = "guard.example.net"
[[listener]]
address = "127.0.0.1:0"
trusted = ["127.0.0.0/8", "::1"]
[[listener]]
address = "[::1]:0"
tls = "starttls"
auth = "required"
certificate = "tls.crt"
private_key = "tls.key"
[auth]
passwords = "passwords"
server_logins = ["relay-*"]
[[identity]]
from = "header:X-AuthUser"
trusted = ["127.0.0.0/8"]
[[identity]]
from = "header:From"
strip = false
[state]
url = "unix:///run/redis.sock"
[[delivery.pool]]
smarthosts = ["127.0.0.1:10025", "[2001:db8::1]:25", "smtp.example.net:587"]
source_addresses = ["192.0.2.1", "2001:db8::2"]
[policy]
file = "policy.toml"
[dns]
resolvers = ["127.0.0.1:5353", "[::1]:53"]
[blocklist]
addresses = ["192.0.2.0/24"]
domains = ["example.net"]
[metrics]
address = ""
""")
    config = load(path)
    assert config.data_dir == tmp_path / "data"
    assert config.resolve("tls.crt") == tmp_path / "tls.crt"
    assert policy_of(config).threshold.hold == 7


def test_certificate_and_key_must_belong_together(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.issue_cert("a.example").cert_chain_pems[0].write_to_path(str(tmp_path / "tls.crt"))
    ca.issue_cert("b.example").private_key_pem.write_to_path(str(tmp_path / "tls.key"))
    path = tmp_path / "guard.toml"
    path.write_text(
        '[delivery]\nmode = "sink"\n[[listener]]\ntls = "implicit"\ncertificate = "tls.crt"\nprivate_key = "tls.key"\n'
    )
    with pytest.raises(ConfigError, match=r"listener\[0\]\.certificate: cannot be used with private_key \(KEY_VALUES_"):
        load(path)


def test_policy_without_a_file_is_the_packaged_one() -> None:
    assert policy_of(Config()) == Policy()


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTBOUND_GUARD_CONFIG", raising=False)
    assert find("named.toml") == Path("named.toml")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "outbound-guard.toml").touch()
    assert find(None) == Path("config/outbound-guard.toml")
    monkeypatch.setenv("OUTBOUND_GUARD_CONFIG", "/elsewhere.toml")
    assert find(None) == Path("/elsewhere.toml")


def test_host_port() -> None:
    assert host_port("127.0.0.1:2525") == ("127.0.0.1", 2525)
    assert host_port("[::1]:25") == ("::1", 25)
    for wrong in ("", ":25", "::1:25", "[::1]", "a:b", "a:70000", "a:-1", "a b:25", "a:２５", "a:25\n"):
        with pytest.raises(ValueError, match="is not HOST:PORT"):
            host_port(wrong)


def test_contains_takes_mapped_addresses_for_what_they_are() -> None:
    nets = networks(["127.0.0.0/8", "2001:db8::/32", "192.0.2.7"])
    for inside in ("127.1.2.3", "::ffff:127.0.0.1", "2001:db8::5", "192.0.2.7"):
        assert contains(nets, inside)
    for outside in ("128.0.0.1", "::1", "192.0.2.8", "", "nonsense", "2001:db9::"):
        assert not contains(nets, outside)
    assert not contains((), "127.0.0.1")
