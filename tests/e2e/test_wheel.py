"""The wheel: what is in it, that it is made the same twice, and that it runs where nothing else of ours is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import smtplib
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.product import until

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "outbound_guard"
SOURCES = ("outbound_guard", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run([ROOT / "scripts/wheel", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.split("\n")[-2])


def test_everything_that_the_program_reads_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {
        str(file.relative_to(ROOT)) for file in PACKAGE.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    }
    assert here == {name for name in names if name.startswith("outbound_guard/")}
    # Of each kind one, so that a folder that has moved is noticed.
    for kind in (".lua", ".html", ".css", ".js", ".toml", ".txt", ".bin"):
        assert any(name.endswith(kind) for name in names), kind
    assert any(name.startswith("outbound_guard/ledger/migrations/versions/v0001") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "deploy/"))]


def test_the_same_files_give_the_same_octets(wheel: Path, tmp_path: Path) -> None:
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for file in tmp_path.rglob("*"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    done = subprocess.run(
        words, cwd=tmp_path, env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dist" / wheel.name).read_bytes() == wheel.read_bytes()


@pytest.fixture(params=["the libraries of this machine", "locked"])
def program(request: pytest.FixtureRequest, wheel: Path, tmp_path: Path) -> Path:
    """`outbound-guard` of an empty virtual environment, with the wheel alone or with what is locked beside it."""
    place = tmp_path / "venv"
    venv.create(place, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq", "--python", str(place / "bin/python")]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)
    if request.param == "locked":
        lock = ROOT / "requirements/run.lock"
        subprocess.run([*pip, "install", "--require-hashes", "--only-binary", ":all:", "-r", lock], check=True)
    else:
        (site,) = place.glob("lib/*/site-packages")
        # The installed libraries, without our own package, which is found through a file of its own there.
        (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin" / "outbound-guard"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_it_runs_from_an_empty_environment(program: Path, tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def run(*words: str) -> str:
        done = subprocess.run([program, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    python = program.with_name("python")
    words = [python, "-c", "import outbound_guard; print(outbound_guard.__file__)"]
    where = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    assert where.startswith(str(tmp_path / "venv")), "it is the installed one that runs"
    run("init", "guard.toml")
    file = tmp_path / "guard.toml"
    file.write_text(
        file.read_text().replace("127.0.0.1:2525", "127.0.0.1:0")
        + '[console]\naddress = "127.0.0.1:0"\n[metrics]\naddress = "127.0.0.1:0"\n'
    )
    assert run("check-config", "--config", "guard.toml") == "ok\n"
    with (tmp_path / "said").open("wb") as said:
        serving = subprocess.Popen(
            [program, "serve", "--config", "guard.toml"], cwd=tmp_path, env=environment, stdout=said, stderr=said
        )
    try:
        ready = tmp_path / "data/run/addresses.json"
        until(lambda: ready.exists() or serving.poll() is not None, (tmp_path / "said").read_text)
        assert serving.poll() is None, (tmp_path / "said").read_text()
        host, port = json.loads(ready.read_text())["listeners"][0].split(":")
        with smtplib.SMTP(host, int(port), timeout=60) as client:
            client.sendmail("anna@shop.test", ["b@there.test"], "Subject: from a wheel\r\n\r\nhello\r\n")
        assert len(list((tmp_path / "data/sink").rglob("*.eml"))) == 1
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0
