"""Lines of Exim's and Postfix's logs, read as deliveries."""

from __future__ import annotations

import datetime
import gzip
import os
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from outbound_guard import history
from outbound_guard.config import Config
from outbound_guard.history import Delivery, HistoryError, Origin
from outbound_guard.history.exim import Exim
from outbound_guard.history.files import Stamps, in_order, lines
from outbound_guard.history.postfix import Postfix
from outbound_guard.history.senders import Senders
from outbound_guard.reply import Reply

PRAGUE = ZoneInfo("Europe/Prague")
LOGS = Path(__file__).parents[1] / "logs"
NEWEST = datetime.datetime(2026, 3, 5, tzinfo=PRAGUE).timestamp()


def read(reader: Exim | Postfix, text: str) -> list[Delivery]:
    stamps = Stamps(PRAGUE, NEWEST)
    found = []
    for line in text.splitlines():
        stamped = stamps.read(line)
        assert stamped is not None, line
        if delivery := reader.read(*stamped):
            found.append(delivery)
    return found


def at(hour: int, minute: int, second: int = 0) -> float:
    return datetime.datetime(2026, 3, 2, hour, minute, second, tzinfo=PRAGUE).timestamp()


def short(deliveries: list[Delivery]) -> list[tuple[str, int, bool, bool]]:
    return [(d.recipient, d.reply.code, d.new_message, d.new_recipient) for d in deliveries]


def test_exim() -> None:
    skipped: Counter[str] = Counter()
    found = read(Exim(skipped), (LOGS / "exim_mainlog").read_text())
    assert short(found) == [
        ("bob@b.example", 250, True, True),
        ("nobody@c.example", 550, False, True),
        ("carl@c.example", 451, True, True),
        ("carl@c.example", 250, False, False),
        ("gone@nowhere.example", 550, True, True),
    ]
    anna = Origin("anna@a.example", "anna@a.example", "192.0.2.7")
    assert (found[0].origin, found[0].time) == (anna, at(10, 0, 1))
    assert found[2].origin == Origin("shop@shop.example", user="shop")
    assert found[4].origin.login == "anna+a.example"
    assert found[1].reply.enhanced == "5.1.1"
    assert found[4].reply.enhanced == "5.1.2"
    assert skipped == {"bounces and the like": 1, "from elsewhere, without a login": 1, "senders in quotes": 1}


def test_exim_through_syslog_and_with_process_ids() -> None:
    for front in (
        "Mar  2 10:00:00 web1 exim[123]: 2026-03-02 10:00:00 ",
        "2026-03-02T10:00:00.123456+01:00 web1 exim[123]: ",
        "2026-03-02 10:00:00.123 ",
        "2026-03-02 10:00:00 +0100 [4711] ",
    ):
        text = (
            f"{front}1wK2ab-000001-2A <= a@a.example H=(x) [192.0.2.7] P=esmtpa A=plain:anna S=1\n"
            f"{front}1wK2ab-000001-2A => b@b.example R=dnslookup T=remote_smtp H=mx [198.51.100.9]\n"
        )
        (found,) = read(Exim(Counter()), text)
        assert (found.time, found.origin.login) == (at(10, 0), "anna")


def test_postfix() -> None:
    skipped: Counter[str] = Counter()
    found = read(Postfix(skipped), (LOGS / "postfix.log").read_text())
    assert short(found) == [
        ("bob@b.example", 250, True, True),
        ("nobody@c.example", 550, False, True),
        ("slow@d.example", 451, False, True),
        ("slow@d.example", 250, False, False),
        ("carl@c.example", 250, True, True),
        ("x@nowhere.example", 550, False, True),
    ]
    assert found[0].origin == Origin("anna@a.example", "anna@a.example", "192.0.2.7")
    assert found[1].reply == Reply(
        550, "5.1.1", "<nobody@c.example>: Recipient address rejected: User unknown in virtual mailbox table"
    )
    # What a filter on the same machine gave back is still the user's.
    assert found[4].origin.uid == 1012
    assert found[0].time == at(10, 0, 1)
    assert skipped == {"from elsewhere, without a login": 1}


def test_a_log_of_december_read_in_january_is_last_years() -> None:
    newest = datetime.datetime(2026, 1, 3, tzinfo=PRAGUE).timestamp()
    stamps = Stamps(PRAGUE, newest)
    for line, day in (
        ("Dec 31 23:59:59 web1 x", (2025, 12, 31, 23, 59, 59)),
        ("Jan  1 00:00:01 web1 x", (2026, 1, 1, 0, 0, 1)),
        ("2026-01-01T00:00:02.5+01:00 web1 x", (2026, 1, 1, 0, 0, 2)),
        ("2025-12-31T23:00:03Z web1 x", (2026, 1, 1, 0, 0, 3)),
    ):
        assert stamps.read(line) == (datetime.datetime(*day, tzinfo=PRAGUE).timestamp(), "web1 x")
    for line in ("", "nonsense", "Foo  1 00:00:01 web1 x", "2026-13-01 00:00:00 x", "Feb 31 00:00:00 web1 x"):
        assert stamps.read(line) is None


def test_files_plain_and_zipped_in_the_order_of_their_times(tmp_path: Path) -> None:
    new, old = tmp_path / "mainlog", tmp_path / "mainlog.1.gz"
    new.write_text("2026-03-03 00:00:00 b\n")
    old.write_bytes(gzip.compress(b"junk at first\n2026-03-02 00:00:00 a\n"))
    assert in_order([new, old], PRAGUE) == [old, new]
    assert [line for path in (old, new) for _, line in lines(path, PRAGUE)] == ["a", "b"]


def test_files_that_are_no_logs(tmp_path: Path) -> None:
    picture, cut = tmp_path / "picture", tmp_path / "cut.gz"
    picture.write_bytes(b"GIF89a\0\n" * 10)
    with pytest.raises(HistoryError, match="is it a mail log"):
        in_order([picture], None)
    cut.write_bytes(gzip.compress(b"2026-03-02 00:00:00 a\n" + os.urandom(50_000))[:-20_000])
    with pytest.raises(HistoryError, match="damaged or not complete"):
        list(lines(cut, None))


def test_open_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_OPEN", 10)
    reader = Exim(Counter())
    for number in range(1000):
        line = f"1wK2ab-{number:06d}-2A <= a@a.example H=(x) [192.0.2.7] P=esmtpa A=plain:anna S=1"
        assert reader.read(0.0, line) is None
    assert len(reader._open) == 10
    assert reader.read(1.0, "1wK2ab-000999-2A => b@b.example R=d T=remote_smtp H=mx [198.51.100.9]")


def test_senders_are_named_by_the_products_own_rules() -> None:
    skipped: Counter[str] = Counter()
    senders = Senders(Config(), lambda name: {"anna@a.example": "customer7"}.get(name), "relay-web1", {}, skipped)

    def name(**origin: object) -> tuple[str, str, str]:
        sender = senders.find(Origin(**origin))  # type: ignore[arg-type]
        assert sender is not None
        return sender.name, sender.account, sender.kind

    assert name(login="anna@a.example", client_ip="192.0.2.7") == ("anna@a.example", "customer7", "mailbox")
    assert name(login="Bert+A.example") == ("bert@a.example", "a.example", "mailbox")
    assert name(login="carl", client_ip="2001:db8::1") == ("relay-web1/carl", "relay-web1/carl", "mailbox")
    assert name(uid=1012, mail_from="x@y.example") == ("relay-web1/uid1012", "relay-web1/uid1012", "system")
    assert name(user="shop", mail_from="x@y.example") == ("relay-web1/shop", "relay-web1/shop", "system")
    # cPanel's headers have the number, which passwd tells.
    senders = Senders(Config(), lambda name: None, "relay-web1", {"shop": 1012}, skipped)
    assert name(user="shop") == ("relay-web1/uid1012", "relay-web1/uid1012", "system")
    assert not skipped
    assert senders.find(Origin(user="mailnull", mail_from="x@y.example")) is None
    nameless = Senders(Config(), lambda name: None, "", {}, skipped)
    assert nameless.find(Origin(login="anna@a.example")) is not None
    assert nameless.find(Origin(login="carl")) is None
    assert nameless.find(Origin(uid=1012)) is None
    assert skipped.total() == 3


def test_postfix_that_relays_through_a_host_of_the_same_machine() -> None:
    text = """\
Mar  2 10:00:00 web1 postfix/smtpd[7]: 4F1A2B3C4D: client=pc[192.0.2.7], sasl_method=PLAIN, sasl_username=anna@a.example
Mar  2 10:00:00 web1 postfix/smtp[8]: 4F1A2B3C4D: to=<bob@b.example>, relay=127.0.0.1[127.0.0.1]:2525, delay=1, \
delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 06h01xh86j0x5wcq)
"""
    (found,) = read(Postfix(Counter()), text)
    assert (found.recipient, found.reply.code) == ("bob@b.example", 250)
