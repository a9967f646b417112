"""The command line itself: usage, exit codes, configuration, `init`, `check-config`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from outbound_guard import __version__, config
from outbound_guard.__main__ import main
from outbound_guard.cli.terminal import harmless, print_fields, print_table, some
from outbound_guard.content.model import About, pack
from outbound_guard.content.packaged import model_of


def test_help_loads_none_of_the_heavy_parts() -> None:
    program = (
        "import sys\n"
        "from outbound_guard.__main__ import main\n"
        "code = main(['--help'])\n"
        "heavy = {'sqlalchemy', 'alembic', 'redis', 'aiosmtpd', 'aiosmtplib', 'outbound_guard.app', 'asyncio.events'}\n"
        "print(code, sorted((heavy - {'asyncio.events'}) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("usage: outbound-guard")
    assert done.stdout.endswith("0 []\n")


@pytest.mark.parametrize(
    "words", [(), ("nonsense",), ("held",), ("held", "show"), ("replay",), ("replay", "--stdio", "x"), ("explain",)]
)
def test_wrong_usage_is_2(words: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("usage: outbound-guard")


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capfd.readouterr().out == f"outbound-guard {__version__}\n"
    assert main(["version", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"version": __version__}
    assert main(["--json", "version"]) == 0
    assert json.loads(capfd.readouterr().out) == {"version": __version__}


def test_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTBOUND_GUARD_CONFIG", raising=False)
    # This machine may have one of its own.
    monkeypatch.setattr("outbound_guard.config.PLACES", (Path("config/outbound-guard.toml"),))
    assert main(["held", "list"]) == 1
    err = capfd.readouterr().err
    assert err.startswith("outbound-guard: no configuration found")
    assert err.count("\n") == 1


def test_init_writes_a_configuration_that_is_right_and_never_overwrites(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "guard.toml"
    assert main(["init", str(file)]) == 0
    assert "sends nothing until a next hop is named" in capfd.readouterr().out
    loaded = config.load(file)
    assert (loaded.state.url, loaded.ledger.url, loaded.delivery.mode) == ("embedded", "embedded", "sink")
    assert [(one.address, one.trusted) for one in loaded.listener] == [("127.0.0.1:2525", ("127.0.0.0/8",))]
    assert loaded.data_dir == tmp_path / "new" / "data"
    assert "NOTHING IS SENT YET" in file.read_text()
    file.write_text("# mine\n" + file.read_text())
    assert main(["init", str(file)]) == 1
    assert capfd.readouterr().err == f"outbound-guard: {file}: File exists\n"
    assert file.read_text().startswith("# mine")


def test_init_without_a_name_writes_where_it_will_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTBOUND_GUARD_CONFIG", raising=False)
    assert main(["init", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"file": "config/outbound-guard.toml"}
    found = config.find(None)
    assert found is not None
    assert config.load(found).data_dir.resolve() == tmp_path / "data"


def test_check_config(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "guard.toml"
    file.write_text('[delivery]\nmode = "sink"\n')
    assert main(["check-config", "--config", str(file)]) == 0
    assert capfd.readouterr().out == "ok\n"
    file.write_text("[delivery]\n")
    assert main(["check-config", "--config", str(file)]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"outbound-guard: {file}: delivery")
    (tmp_path / "policy.toml").write_text("[signal.nonsense]\nscale = 1\n")
    file.write_text('[delivery]\nmode = "sink"\n[policy]\nfile = "policy.toml"\n')
    assert main(["check-config", "--config", str(file)]) == 1
    assert "nonsense" in capfd.readouterr().err


def test_check_config_reads_the_content_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file, model = tmp_path / "guard.toml", tmp_path / "model.bin"
    file.write_text('[delivery]\nmode = "sink"\n[policy]\nmodel = "model.bin"\n')
    model.write_bytes(b"GIF89a")
    assert main(["check-config", "--config", str(file)]) == 1
    assert capfd.readouterr().err == f"outbound-guard: {file}: policy.model: {model} is no content model\n"
    weights = {b"pills": 1.0}
    model.write_bytes(pack(weights, About(0.0, 2.0**-12, [-1.0, 1.0], [-1.0, 1.0])))
    assert main(["check-config", "--config", str(file)]) == 0
    assert capfd.readouterr().out == "ok\n"
    found = model_of(config.load(file))
    assert found is not None
    assert found.by_name == weights


def test_no_data_yet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "guard.toml"
    file.write_text('[delivery]\nmode = "sink"\n')
    assert main(["held", "list", "--config", str(file)]) == 1
    assert capfd.readouterr().err == f"outbound-guard: no ledger yet: {tmp_path}/data does not exist\n"
    assert not (tmp_path / "data").exists()


def test_a_reader_that_has_enough_is_no_error() -> None:
    program = "import sys; from outbound_guard.__main__ import main; sys.exit(main(['version']))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) in (0, 1)


def test_harmless() -> None:
    assert harmless("plain text") == "plain text"
    assert harmless("Grüße, 你好, é") == "Grüße, 你好, é"
    assert harmless("a\x1b[2Jb\r\n\x9b\u202e\u200b\ue000\U000e0001") == (
        "a\\x1b[2Jb\\x0d\\x0a\\x9b\\u202e\\u200b\\ue000\\U000e0001"
    )
    assert harmless("\udcff") == "\\udcff"


def test_tables(capfd: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "count"), [("ann", 3), ("你好", 12), ("x" * 60, 1)])
    lines = capfd.readouterr().out.splitlines()
    assert lines[1] == "ann" + " " * 51 + "3"
    assert lines[2] == "你好" + " " * 49 + "12"
    assert lines[3] == "x" * 47 + "…" + " " * 6 + "1"
    print_fields([("a", 1), ("long", "x\ny"), ("none", ""), ("zero", 0)])
    assert capfd.readouterr().out == "a:    1\nlong: x\\x0ay\nzero: 0\n"
    assert some(["a", "b", "c"]) == "a, b and 1 more"
    assert some(["a"]) == "a"
