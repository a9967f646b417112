"""A real Exim with Debian's configuration and the files of deploy/mta in front of the product."""

from __future__ import annotations

import os
import re
import smtplib
import subprocess
from collections.abc import Iterator

import pytest

from tests.exim import REQUIRED, UNPACKED, Exim, exim
from tests.mtahouse import BODY, LOGIN, MTA, PASSWORD, ROOT, House, body_of, house_at
from tests.postfix import free_port
from tests.product import message, until

pytestmark = [*REQUIRED, pytest.mark.long]
NAME, MAILBOXES = "web1.customer.test", "shop.example"


def substituted(text: str, house: House) -> str:
    """A file of deploy/mta for this house."""
    for pattern, ours in (
        (r"(?<![\w.-])guard\.example\.net", "localhost"),
        (r"(?<= = )2587$", str(house.port)),
        (r"(?<= = )system$", str(house.ca_file)),
        (r"\^relay-web1\^PASSWORD", f"^{LOGIN}^{PASSWORD}"),
    ):
        text = re.sub(pattern, ours.replace("\\", "\\\\"), text, flags=re.M)
    return text


def debian(house: House) -> dict[str, str]:
    folder = MTA / "exim-debian/conf.d"
    return {
        str(file.relative_to(folder)): substituted(file.read_text(), house) for file in folder.rglob("*_outbound_guard")
    }


SUSPENDED = ("eve@shop.example", f"{LOGIN}/web66:mailer.php")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house_at(tmp_path_factory.mktemp("exim"), SUSPENDED) as house:
        yield house


@pytest.fixture(scope="module")
def server(house: House) -> Iterator[Exim]:
    with exim(NAME, debian(house), f"localhost:{LOGIN}:{PASSWORD}\n", MAILBOXES) as server:
        yield server


def submit(server: Exim, login: str, mail_from: str, content: bytes, to: str = "bob@there.test") -> None:
    """Over SMTP, as a customer's mail program does; `login` may be empty."""
    with smtplib.SMTP("127.0.0.1", server.port, local_hostname="pc.test") as client:
        if login:
            client.login(login, "secret")
        client.sendmail(mail_from, [to], content)


def run_as(server: Exim, user: str, mail_from: str, content: bytes, to: str = "bob@there.test") -> None:
    """By sendmail(1), as a program of this system user does."""
    # Root may say for whom it speaks; no such users exist where tests run.
    server.run("-i", "-oMt", user, "-oMai", user, "-f", mail_from, to, stdin=content.replace(b"\r\n", b"\n"))


def test_a_mailbox_is_known_by_its_login(house: House, server: Exim) -> None:
    forged = {"X_AuthUser": "victim@other.example", "X_Authenticated_Sender": "web1: victim@other.example"}
    submit(server, "anna@shop.example", "forged@other.example", message("by login", BODY, **forged))
    got = house.got("by login")
    assert house.who(got) == ("shop.example", "anna@shop.example", "header:X-AuthUser")
    assert body_of(got) == BODY.encode() + b"\r\n"
    assert b"X-AuthUser" not in got.content
    assert b"victim" not in got.content


def test_a_login_without_a_domain_is_a_user_of_that_server(house: House, server: Exim) -> None:
    submit(server, "web12", "info@shop.example", message("by bare login"))
    assert house.who(house.got("by bare login"))[:2] == (f"{LOGIN}/web12", f"{LOGIN}/web12")


def test_a_script_is_known_by_its_user_and_its_file(house: House, server: Exim) -> None:
    script = {"X_PHP_Originating_Script": "1012:mailer.php", "X_AuthUser": "victim@other.example"}
    body = BODY + "x" * 30_000  # Longer than RFC 5322 2.1.1 allows; programs do not know.
    run_as(server, "web12", "info@shop.example", message("by script", body, **script))
    got = house.got("by script")
    assert house.who(got) == (f"{LOGIN}/web12", f"{LOGIN}/web12:mailer.php", "header:X-PHP-Originating-Script")
    assert body_of(got) == body.encode() + b"\r\n"
    assert b"X-PHP-Originating-Script" not in got.content
    run_as(server, "web12", "info@shop.example", message("by cron"))
    assert house.who(house.got("by cron")) == (f"{LOGIN}/web12", f"{LOGIN}/web12", "header:Received")


def test_where_all_scripts_run_as_one_user_php_says_whose_it_is(house: House, server: Exim) -> None:
    script = {"X_PHP_Originating_Script": "1012:mailer.php"}
    run_as(server, "www-data", "info@shop.example", message("by shared user", **script))
    assert house.who(house.got("by shared user"))[:2] == (f"{LOGIN}/uid1012", f"{LOGIN}/uid1012:mailer.php")


def test_local_mail_and_its_bounces_stay_on_the_server(house: House, server: Exim) -> None:
    submit(server, "anna@shop.example", "anna@shop.example", message("for a neighbour"), "carl@shop.example")
    until(lambda: "Subject: for a neighbour" in server.mailbox("carl"), server.said)
    assert not [one for one in house.hop.messages if b"for a neighbour" in one.content]


def test_a_suspended_mailbox_gets_its_mail_back(house: House, server: Exim) -> None:
    submit(server, "eve@shop.example", "eve@shop.example", message("of a suspended one"))
    until(lambda: server.mailbox("eve"), server.said)
    bounce = server.mailbox("eve")
    assert "Return-path: <>" in bounce
    assert "550 5.7.1 OG-SUSPENDED" in bounce
    # Her neighbour is not concerned.
    submit(server, "anna@shop.example", "anna@shop.example", message("of her neighbour"))
    house.got("of her neighbour")


def test_a_suspended_mailbox_cannot_pass_as_somebody_else(house: House, server: Exim) -> None:
    # What Exim does not take for a field and therefore does not remove is no field for us either.
    folded = b"X-AuthUser\r\n : victim@other.example\r\n"
    submit(server, "eve@shop.example", "eve@shop.example", folded + message("in another name"))
    until(lambda: "in another name" in server.mailbox("eve"), server.said)
    assert not [one for one in house.hop.messages if b"in another name" in one.content]


def test_nothing_in_front_hides_the_login_at_the_end(house: House, server: Exim) -> None:
    junk = b"".join(b"X-Junk-%d: %s\r\n" % (number, b"y" * 900) for number in range(300))
    submit(server, "anna@shop.example", "boss@other.example", junk + message("behind much junk"))
    got = house.got("behind much junk")
    assert house.who(got) == ("shop.example", "anna@shop.example", "header:X-AuthUser")
    assert b"X-AuthUser" not in got.content


def test_of_a_suspended_script_a_sample_is_kept_and_the_rest_comes_back(house: House, server: Exim) -> None:
    script = {"X_PHP_Originating_Script": "1066:mailer.php"}
    run_as(server, "web66", "web66@shop.example", message("sample of a script", **script))
    house.product.event(identity=f"{LOGIN}/web66:mailer.php", action="quarantine")
    run_as(server, "web66", "web66@shop.example", message("sample of a script", **script))
    until(lambda: "OG-SUSPENDED" in server.mailbox("web66"), server.said)


def test_what_cannot_be_handed_on_is_kept_and_one_senders_mail_can_be_purged(house: House, server: Exim) -> None:
    until(lambda: server.queue() == [], server.said)
    # As if nobody were there.
    text = server.config.read_text()
    ours = f"OUTBOUND_GUARD_PORT = {house.port}"
    assert ours in text
    server.configure(text.replace(ours, f"OUTBOUND_GUARD_PORT = {free_port()}"))
    for number in range(2):
        submit(server, "anna@shop.example", "anna@shop.example", message(f"kept {number}"))
        submit(server, "mallory@shop.example", "anna@shop.example", message(f"forged by mallory {number}"))
        submit(server, "hannah@shop.example", "hannah@shop.example", message(f"kept of hannah {number}"))
        run_as(server, "web12", "info@shop.example", message(f"kept of web12 {number}"))
        run_as(server, "web1", "info@shop.example", message(f"flood of web1 {number}"))
        submit(server, "peter@shop.example", "peter@shop.example", message(f"flood of peter {number}"))
    until(lambda: len(server.queue()) == 12, server.said)
    assert len(purge(server, "login", "mallory@shop.example", "--list").split()) == 2
    assert by_hand(server) == {"login": 2, "from": 4}
    assert len(server.queue()) == 12
    # While one is being tried it is locked, and stays.
    for kind, who, left in (
        ("login", "mallory@shop.example", 10),
        ("user", "web1", 8),
        ("from", "peter@shop.example", 6),
        ("from", "nobody@shop.example", 6),
    ):
        until(lambda: len([purge(server, kind, who), *server.queue()]) - 1 == left, server.said)  # noqa: B023
    assert "Connection refused" in server.said()
    server.configure(text)
    for number in range(2):
        for subject in (f"kept {number}", f"kept of hannah {number}", f"kept of web12 {number}"):
            house.got(subject)
    until(lambda: server.queue() == [], server.said)
    assert not [one for one in house.hop.messages if b"mallory" in one.content or b"flood of" in one.content]


def purge(server: Exim, *words: str) -> str:
    """What deploy/mta/purge/exim prints."""
    programs = {
        "EXIM": str(UNPACKED / "usr/sbin/exim4"),
        "EXIM_CONFIG": str(server.config),
        "EXIPICK": str(UNPACKED / "usr/sbin/exipick"),
    }
    done = subprocess.run(["sh", MTA / "purge/exim", *words], capture_output=True, env={**os.environ, **programs})
    return (done.stdout + done.stderr).decode()


def by_hand(server: Exim) -> dict[str, int]:
    """How many messages the two commands find that docs/mta.md has for use by hand."""
    document = (ROOT / "docs/mta.md").read_text()
    [login, mail_from] = re.findall(r"^(exipick|exiqgrep) (-i .+) \| xargs -r exim -Mrm$", document, re.M)
    found = {}
    for kind, (program, words) in (("login", login), ("from", mail_from)):
        options = (
            f"--spool {server.folder}/spool" if kind == "login" else f"-E {UNPACKED}/usr/sbin/exim4 -C {server.config}"
        )
        line = f"{UNPACKED}/usr/sbin/{program} {options} {words}"
        line = line.replace("anna@shop.example", "mallory@shop.example") if kind == "login" else line
        done = subprocess.run(["sh", "-c", line], capture_output=True, check=True)
        found[kind] = len(done.stdout.split())
    return found


@pytest.mark.parametrize("who", ["", "anna' or 1", "$authenticated_id", "a b", "a\nb", "*"])
def test_the_purge_refuses_what_is_no_name(server: Exim, who: str) -> None:
    assert "is no login" in purge(server, "login", who)


@pytest.mark.parametrize("panel", ["cpanel", "directadmin"])
def test_the_files_for_a_control_panel_do_the_same(house: House, panel: str) -> None:
    """Put into Debian's configuration at the places where the panel puts them."""
    files = {
        name: substituted(text, house) for name, text in (_sections() if panel == "cpanel" else _included()).items()
    }
    with exim(NAME, files, "", MAILBOXES) as server:
        submit(server, "anna@shop.example", "anna@shop.example", message(f"{panel} by login", BODY))
        got = house.got(f"{panel} by login")
        assert house.who(got) == ("shop.example", "anna@shop.example", "header:X-AuthUser")
        assert body_of(got) == BODY.encode() + b"\r\n"
        script = {"X_PHP_Originating_Script": "1012:mailer.php"}
        run_as(server, "web12", "info@shop.example", message(f"{panel} by script", **script))
        assert house.who(house.got(f"{panel} by script"))[1] == f"{LOGIN}/web12:mailer.php"
        submit(server, "anna@shop.example", "anna@shop.example", message("local"), "carl@shop.example")
        until(lambda: "Subject: local" in server.mailbox("carl"), server.said)


def _sections() -> dict[str, str]:
    """The sections of exim.conf.local. No keys of DKIM exist here: its lookups find nothing, and nothing is signed."""
    parts = re.split(r"^@(\w+)@$", (MTA / "cpanel/exim.conf.local").read_text(), flags=re.M)
    section = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(section) == {"AUTH", "POSTMAILCOUNT", "TRANSPORTSTART"}
    return {
        "auth/90_own": section["AUTH"],
        "router/170_own": section["POSTMAILCOUNT"],
        "transport/30_own": section["TRANSPORTSTART"],
    }


def _included() -> dict[str, str]:
    """DirectAdmin's files; its own limits are written in Perl, which this Exim was made without."""
    folder = MTA / "directadmin"
    routers = (folder / "exim.routers.pre.conf").read_text()
    return {
        "auth/90_own": (folder / "exim.authenticators.post.conf").read_text(),
        "router/170_own": routers.replace('condition = "${perl{check_limits}}"', "condition = yes"),
        "transport/30_own": (folder / "exim.transports.pre.conf").read_text(),
    }
