"""Backup and restore without a running product: what is copied, what is refused, and what may leave afterwards."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import msgspec
import pytest

from outbound_guard import __version__, durable
from outbound_guard.app.backup import MANIFEST, BackupError, Manifest, back_up
from outbound_guard.app.restore import REASON, restore
from outbound_guard.clock import SystemClock
from outbound_guard.config import ConfigError, load
from outbound_guard.config.settings import Config
from outbound_guard.delivery.bounce import CODE
from outbound_guard.ledger import queries, segments
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.nodes import identity
from outbound_guard.ledger.records import Decision
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.mail import Envelope, new_id
from outbound_guard.spool import Entry, Progress, copying
from outbound_guard.spool.entry import encode_entry
from outbound_guard.spool.files import STATES, Files
from outbound_guard.supervisor.lock import locked

CONFIG = """
[server]
data_dir = "data"
[[listener]]
address = "127.0.0.1:0"
auth = "required"
tls = "none"
[auth]
passwords = "passwords"
[delivery]
mode = "sink"
[policy]
file = "policy.toml"
[state]
url = "redis://127.0.0.1:1"
"""


def configuration(folder: Path) -> Config:
    folder.mkdir(exist_ok=True)
    (folder / "guard.toml").write_text(CONFIG)
    (folder / "policy.toml").write_text("")
    (folder / "passwords").write_text("")
    return load(folder / "guard.toml")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path / "old")


def put(config: Config, state: str, **fields: object) -> str:
    id_ = new_id(time.time())
    content = b"Subject: x\r\n\r\n"
    envelope = Envelope("anna@shop.test", ("b@there.test",))
    entry = Entry(id_, time.time(), envelope, account="shop.test", size=len(content), **fields)  # type: ignore[arg-type]
    files = Files(config.data_dir / "spool", 0)
    durable.write(files.path(id_, state), (encode_entry(entry), content), sync=False)  # type: ignore[arg-type]
    return id_


def note(config: Config, *records: Decision) -> None:
    journal = Journal(config.data_dir / "journal", "relay-0", SystemClock())
    for record in records:
        journal.append(record)
    journal.close()


def told(config: Config) -> Ledger:
    """The ledger, with all that lies in the journal."""
    url = url_of(config.ledger.url, config.data_dir)
    writer = Ledger(url, writer=True)
    scribe = Scribe(config.data_dir / "journal", writer, SystemClock())
    scribe.once()
    scribe.close()
    writer.close()
    return Ledger(url)


def decision(id_: str, state: str = "") -> Decision:
    return Decision(id_, time.time(), "shop.test", "anna@shop.test", "hold" if state else "relay", state=state)


def states(config: Config) -> dict[str, str]:
    files = Files(config.data_dir / "spool", 0)
    return {id_: state for state in STATES for id_ in files.ids(state)}


def test_everything_comes_back_and_nothing_leaves_by_itself(config: Config, tmp_path: Path) -> None:
    kept = {state: put(config, state, due=1.0) for state in STATES}
    report = put(config, "queue", code=CODE)
    Files(config.data_dir / "spool", 0).save(kept["queue"], Progress(attempts=3, due=5.0, remaining=("b@there.test",)))
    note(config, decision(kept["held"], "held"), decision(kept["quarantine"], "quarantine"))
    told(config).close()
    note(config, decision(kept["queue"]))  # Still in the journal.
    (config.data_dir / "secret").write_bytes(b"s" * 32)
    identity(config.data_dir)
    (config.data_dir / "run").mkdir()
    (config.data_dir / "run" / "x.pid").write_text("1")
    (config.data_dir / "policies").mkdir()
    (config.data_dir / "policies" / "1.toml").write_text("old")

    done = back_up(config, tmp_path / "backup")
    assert done.messages == {"incoming": 1, "queue": 2, "held": 1, "quarantine": 1}
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    named = tmp_path / "backup/configuration" / str(tmp_path / "old").lstrip("/")
    assert sorted(file.name for file in named.iterdir()) == ["guard.toml", "passwords", "policy.toml"]

    new = configuration(tmp_path / "new")
    put_back = restore(new, tmp_path / "backup", queue=False, by="test")
    assert put_back.messages == {"incoming": 0, "queue": 1, "held": 3, "quarantine": 1}
    assert put_back.ending == 0
    assert states(new) == {
        kept["incoming"]: "held",
        kept["queue"]: "held",
        kept["held"]: "held",
        kept["quarantine"]: "quarantine",
        report: "queue",
    }
    files = Files(new.data_dir / "spool", 0)
    # A person decides about each of them, and what was known of their recipients is still known.
    assert [files.progress(kept[state]).due for state in ("incoming", "queue", "held")] == [0.0, 0.0, 0.0]
    assert files.progress(kept["queue"]).remaining == ("b@there.test",)
    assert (new.data_dir / "secret").read_bytes() == b"s" * 32
    assert (new.data_dir / "policies" / "1.toml").read_text() == "old"
    assert not (new.data_dir / "run").exists()
    # Two hosts with one identity would write under one name.
    assert not (new.data_dir / "node-id").exists()
    ledger = told(new)
    assert queries.open_states(ledger) == {
        kept[state]: "quarantine" if state == "quarantine" else "held" for state in STATES
    }
    row = queries.held_one(ledger, kept["held"])
    assert row is not None
    assert (row.change_reason, row.changed_by) == (REASON, "test")
    assert queries.decision_one(ledger, kept["queue"]) is not None
    ledger.close()


def test_with_queue_everything_waits_as_it_did(config: Config, tmp_path: Path) -> None:
    kept = {put(config, state, due=7.0): state for state in STATES}
    back_up(config, tmp_path / "backup")
    new = configuration(tmp_path / "new")
    restore(new, tmp_path / "backup", queue=True, by="test")
    assert states(new) == kept
    files = Files(new.data_dir / "spool", 0)
    assert [files.progress(id_) for id_ in kept] == [Progress()] * len(kept)


def test_held_mail_that_ends_at_the_next_start_is_named(config: Config, tmp_path: Path) -> None:
    id_ = put(config, "held")
    file = config.data_dir / "spool/held" / id_
    line, content = file.read_bytes().split(b"\n", 1)
    old = json.loads(line) | {"received": time.time() - config.spool.hold_expiry - 60}
    file.write_bytes(json.dumps(old).encode() + b"\n" + content)
    back_up(config, tmp_path / "backup")
    new = configuration(tmp_path / "new")
    assert restore(new, tmp_path / "backup", queue=False, by="test").ending == 1


def test_a_message_that_moves_meanwhile_is_there_once(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving, leaving, coming = put(config, "quarantine"), put(config, "queue"), ""
    spool = config.data_dir / "spool"
    real = os.listdir

    def listdir(folder: Path) -> list[str]:
        nonlocal coming
        found = real(folder)
        if folder == spool / "incoming" and not coming:
            # Released after the folder that it moves to was looked at; delivered before it is; and a new one.
            (spool / "quarantine" / moving).rename(spool / "incoming" / moving)
            coming = put(config, "held")
        if folder == spool / "queue":
            (spool / "queue" / leaving).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(os, "listdir", listdir)
    assert copying.copy(spool, tmp_path / "copy") == {"incoming": 1, "queue": 0, "held": 1, "quarantine": 0}
    assert (tmp_path / "copy/incoming" / moving).is_file()
    assert (tmp_path / "copy/held" / coming).is_file()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_segment_that_is_sealed_meanwhile_is_there_whole(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    put(config, "held")
    note(config, decision("1" * 22))
    journal = Journal(config.data_dir / "journal", "relay-0", SystemClock())
    journal.append(decision("2" * 22))
    journal.flush()
    real, sealed = copying.copy_file, []

    def copy_file(source: Path, target: Path) -> None:
        mine = source.suffix == segments.OPEN
        if mine and when == "after":
            real(source, target)
        if mine:
            journal.append(decision("3" * 22))
            journal.seal()
            sealed.append(source)
        if not mine or when == "before":
            real(source, target)

    monkeypatch.setattr(copying, "copy_file", copy_file)
    back_up(config, tmp_path / "backup")
    assert len(sealed) == 1
    monkeypatch.undo()
    new = configuration(tmp_path / "new")
    restore(new, tmp_path / "backup", queue=False, by="test")
    segments.adopt(new.data_dir / "journal")
    ledger = told(new)
    assert [queries.decision_one(ledger, number * 22) is not None for number in "123"] == [True] * 3
    ledger.close()


def test_on_another_disk_messages_are_copied(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = put(config, "held")

    def link(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    copying.copy(config.data_dir / "spool", tmp_path / "copy")
    one, other = (folder / "held" / id_ for folder in (config.data_dir / "spool", tmp_path / "copy"))
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_ino != other.stat().st_ino
    assert stat.S_IMODE(other.stat().st_mode) == 0o600


def test_what_cannot_be_backed_up(config: Config, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="nothing to back up"):
        back_up(config, tmp_path / "backup")
    put(config, "held")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(BackupError, match="is not empty"):
        back_up(config, tmp_path / "full")
    with pytest.raises(BackupError, match="lies in data_dir"):
        back_up(config, config.data_dir / "backup")
    assert not (config.data_dir / "backup").exists()
    with pytest.raises(BackupError, match="is not a folder"):
        back_up(config, tmp_path / "full" / "x")


def test_links_lead_root_nowhere(config: Config, tmp_path: Path) -> None:
    id_ = put(config, "held")
    note(config, decision(id_, "held"))
    secret = tmp_path / "shadow"
    secret.write_text("root")
    before = secret.stat()
    data = config.data_dir
    links = (data / "x", data / "policies" / "x", data / "journal" / "x.jsonl", data / "spool/held/evil")
    for link in links:
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(secret)
    # Who names a link in the configuration means what it leads to.
    (tmp_path / "old/passwords").rename(tmp_path / "elsewhere")
    (tmp_path / "old/passwords").symlink_to(tmp_path / "elsewhere")
    done = back_up(config, tmp_path / "backup")
    assert done.messages["held"] == 1
    assert [text for text in done.notes if "symbolic" in text] == [
        f"{link} is not in it: it is a symbolic link" for link in (links[2], links[1], links[0])
    ]
    copied = [file for file in (tmp_path / "backup").rglob("*") if file.is_symlink() or file.name in ("x", "evil")]
    assert copied == []
    named = tmp_path / "backup/configuration" / str(tmp_path / "old").lstrip("/")
    assert (named / "passwords").is_file()
    with pytest.raises(OSError, match="symbolic"):
        copying.copy_file(links[0], tmp_path / "copy")
    assert (secret.read_text(), secret.stat().st_mode) == ("root", before.st_mode)

    for part in ("data/evil", "journal/evil", "spool/held/evil", "state"):
        (tmp_path / "backup" / part).parent.mkdir(exist_ok=True)
        (tmp_path / "backup" / part).symlink_to(secret)
        with pytest.raises(BackupError, match=f"{part} is a symbolic link"):
            restore(configuration(tmp_path / "new"), tmp_path / "backup", queue=False, by="test")
        (tmp_path / "backup" / part).unlink()


@pytest.mark.parametrize("name", ["spool", "journal", "state", "ledger.sqlite3", "spool/held"])
def test_a_part_that_is_a_link_is_no_part_that_is_skipped(config: Config, tmp_path: Path, name: str) -> None:
    put(config, "held")
    part = config.data_dir / name
    if part.exists():
        part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises((BackupError, OSError), match="symbolic link"):
        back_up(config, tmp_path / "backup")
    assert not (tmp_path / "backup" / MANIFEST).exists()


@pytest.mark.parametrize("name", ["spool/held/x", "journal/x.jsonl", "ledger.sqlite3", "lock"])
def test_a_backup_brings_nothing_in_by_another_way(config: Config, tmp_path: Path, name: str) -> None:
    put(config, "held")
    back_up(config, tmp_path / "backup")
    file = tmp_path / "backup/data" / name
    file.parent.mkdir(parents=True)
    file.touch()
    new = configuration(tmp_path / "new")
    with pytest.raises(BackupError, match="does not belong there"):
        restore(new, tmp_path / "backup", queue=False, by="test")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_folder_of_somebody_else_is_not_written_to(config: Config, tmp_path: Path) -> None:
    put(config, "held")
    (tmp_path / "backup").mkdir()
    os.chown(tmp_path / "backup", 4321, 4322)
    with pytest.raises(BackupError, match="belongs to somebody else"):
        back_up(config, tmp_path / "backup")
    assert list((tmp_path / "backup").iterdir()) == []


def test_what_cannot_be_put_back(config: Config, tmp_path: Path) -> None:
    put(config, "held")
    back_up(config, tmp_path / "backup")
    with pytest.raises(BackupError, match=r"is not empty \(spool\)"):
        restore(config, tmp_path / "backup", queue=False, by="test")
    new = configuration(tmp_path / "new")
    with pytest.raises(BackupError, match="no backup, or one that was not finished"):
        restore(new, tmp_path / "old", queue=False, by="test")
    with locked(new.data_dir), pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
        restore(new, tmp_path / "backup", queue=False, by="test")
    manifest = msgspec.json.decode((tmp_path / "backup" / MANIFEST).read_bytes(), type=Manifest)
    newer = msgspec.structs.replace(manifest, version=f"9{__version__}")
    (tmp_path / "backup" / MANIFEST).write_bytes(msgspec.json.encode(newer))
    with pytest.raises(BackupError, match="install that one"):
        restore(new, tmp_path / "backup", queue=False, by="test")
    assert [item.name for item in new.data_dir.iterdir()] == ["lock"]


def test_a_restore_that_fails_leaves_nothing_behind(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(config, "held")
    back_up(config, tmp_path / "backup")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copying, "put_back", full)
    new = configuration(tmp_path / "new")
    with pytest.raises(OSError, match="No space left"):
        restore(new, tmp_path / "backup", queue=False, by="test")
    assert [item.name for item in new.data_dir.iterdir()] == ["lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_root_restores_is_the_service_s_own(config: Config, tmp_path: Path) -> None:
    id_ = put(config, "held")
    back_up(config, tmp_path / "backup")
    new = configuration(tmp_path / "new")
    new.data_dir.mkdir()
    os.chown(new.data_dir, 4321, 4322)
    restore(new, tmp_path / "backup", queue=False, by="test")
    for item in [new.data_dir, *new.data_dir.rglob("*")]:
        assert (item.stat().st_uid, item.stat().st_gid) == (4321, 4322), item
    assert (tmp_path / "backup/spool/held" / id_).stat().st_uid == os.geteuid()
