"""The signed identity header as real mail servers make it, with the files of deploy/mta/identity."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import exim as exims
from tests import postfix as postfixes
from tests.exim import Exim, exim
from tests.integration.test_mta_exim import NAME, SUSPENDED, debian, run_as, submit
from tests.integration.test_mta_postfix import SERVER, Server, checker
from tests.mtahouse import BODY, LOGIN, MTA, PASSWORD, House, body_of, house_at
from tests.postfix import free_port, listens, postfix_at
from tests.product import message, until

pytestmark = pytest.mark.long
SECRETS = {"web1": "exim-5ecret-0123456789abcdef", "web2": "p0stfix-secret-0123456789abcdef"}
RULES = """
[[identity]]
from = "signed:X-Guard-Identity"
keys = "identity-keys"
[[identity]]
from = "client_ip"
"""
FORGED = "v1; k=web1; t=1795360830; a=; s=victim@other.example; h=" + "0" * 40


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("identity")
    (folder / "identity-keys").write_text("".join(f"{key}:{secret}\n" for key, secret in SECRETS.items()))
    (folder / "identity-keys").chmod(0o600)
    with house_at(folder, SUSPENDED[:1], RULES) as house:
        yield house


def signing(files: dict[str, str], secret: Path) -> dict[str, str]:
    """Debian's files with what deploy/mta/identity/exim adds to them."""
    _, settings, transport = re.split(r"^# [12]\. .*$", (MTA / "identity/exim").read_text(), flags=re.M)
    settings = settings.replace("/etc/exim4/outbound_guard_secret", str(secret))
    old = [line for line in files["transport/30_outbound_guard"].splitlines() if line.startswith("  headers_")]
    assert len(old) == 2
    new = files["transport/30_outbound_guard"].replace("\n".join(old), transport)
    return {**files, "main/00_outbound_guard_identity": settings, "transport/30_outbound_guard": new}


@pytest.fixture(scope="module")
def server(house: House) -> Iterator[Exim]:
    for missing in (mark.kwargs["reason"] for mark in exims.REQUIRED if mark.args[0]):
        pytest.skip(missing)
    secret = house.ca_file.with_name("secret")
    secret.write_text(SECRETS["web1"])
    secret.chmod(0o640)
    os.chown(secret, 0, pwd.getpwnam("Debian-exim").pw_gid)
    with exim(NAME, signing(debian(house), secret), f"localhost:{LOGIN}:{PASSWORD}\n", "shop.example") as server:
        yield server


def test_exim_signs_who_logged_in(house: House, server: Exim) -> None:
    forged = {"X_Guard_Identity": FORGED, "Message_ID": "<one\r\n two@pc.test>"}
    submit(server, "anna@shop.example", "forged@other.example", message("by login", BODY, **forged))
    got = house.got("by login")
    assert house.who(got) == ("shop.example", "anna@shop.example", "signed:X-Guard-Identity")
    assert body_of(got) == BODY.encode() + b"\r\n"
    assert b"X-Guard-Identity" not in got.content


@pytest.mark.parametrize(
    "ids", [{}, {"Message_ID": "<a@b>", "Message_Id": "<c@d>"}, {"Message_ID": "<gr\u00fc\u00dfe@a>"}]
)
def test_exim_signs_whatever_its_id_is(house: House, server: Exim, ids: dict[str, str]) -> None:
    subject = f"by login {len(ids)}{'ASCII' * ''.join(ids.values()).isascii()}"
    submit(server, "web12", "info@shop.example", message(subject, **ids))
    assert house.who(house.got(subject)) == (f"{NAME}/web12", f"{NAME}/web12", "signed:X-Guard-Identity")


def test_exim_signs_the_system_user_of_a_program(house: House, server: Exim) -> None:
    script = {"X_PHP_Originating_Script": "1012:mailer.php"}
    run_as(server, "web12", "info@shop.example", message("by script", **script))
    assert house.who(house.got("by script"))[:2] == (f"{NAME}/web12", f"{NAME}/web12:mailer.php")
    run_as(server, "www-data", "info@shop.example", message("by shared user", **script))
    assert house.who(house.got("by shared user"))[:2] == (f"{NAME}/uid1012", f"{NAME}/uid1012:mailer.php")


def test_exim_signs_the_null_sender_s_mail_too(house: House, server: Exim) -> None:
    run_as(server, "web12", "<>", message("an automatic answer"))
    assert house.who(house.got("an automatic answer"))[1] == f"{NAME}/web12"


def test_a_forged_header_that_reaches_us_has_no_effect_and_is_counted(house: House) -> None:
    with house.product.client() as client:
        client.submit("anna@shop.example", ["bob@there.test"], message("forged", X_Guard_Identity=FORGED))
    got = house.got("forged")
    assert house.who(got) == ("127.0.0.1", "127.0.0.1", "client_ip")
    assert b"victim" not in got.content
    until(lambda: house.product.metric("identity_headers_total", result="forged") >= 1)


@pytest.fixture(scope="module")
def postfix(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for missing in (mark.kwargs["reason"] for mark in postfixes.REQUIRED if mark.args[0]):
        pytest.skip(missing)
    secret, port = tmp_path_factory.mktemp("milter") / "secret", free_port()
    secret.write_text(SECRETS["web2"] + "\n")
    milter = subprocess.Popen([sys.executable, MTA / "identity/milter", "web2", secret, f"127.0.0.1:{port}"])
    try:
        until(lambda: listens(port))
        with postfix_at("web2.customer.test") as one:
            server = Server(one, house)
            more = SERVER.format(folder=one.folder, local=server.local.port).replace("smtp_tls_policy_maps", "# ")
            more += f"smtpd_milters = inet:127.0.0.1:{port}\nnon_smtpd_milters = $smtpd_milters\n"
            with checker(one.folder / "checker"):
                one.start(more, relayhost=house.product.listener()[1])
                yield server
    finally:
        milter.terminate()
        milter.wait()


def test_postfix_signs_who_logged_in(house: House, postfix: Server) -> None:
    content = message("postfix by login", BODY, X_Guard_Identity=FORGED, Message_ID="<1@pc.test>")
    postfix.submit("anna@shop.example", "forged@other.example", content)
    got = house.got("postfix by login")
    assert house.who(got) == ("shop.example", "anna@shop.example", "signed:X-Guard-Identity")
    assert body_of(got) == BODY.encode() + b"\r\n"
    assert b"victim" not in got.content


def test_postfix_gives_it_an_id_if_it_has_none(house: House, postfix: Server) -> None:
    postfix.submit("anna@shop.example", "anna@shop.example", message("postfix without an id"))
    got = house.got("postfix without an id")
    assert house.who(got)[1] == "anna@shop.example"
    assert got.content.lower().count(b"\r\nmessage-id: <") == 1


def test_postfix_signs_nobody_else_s_mail(house: House, postfix: Server) -> None:
    forged = message("postfix by program", X_Guard_Identity=FORGED)
    postfix.run_as(1012, "info@shop.example", forged)
    postfix.submit("", "info@shop.example", forged.replace(b"by program", b"by nobody"))
    for subject in ("postfix by program", "postfix by nobody"):
        got = house.got(subject)
        assert house.who(got)[2] == "client_ip"
        assert b"victim" not in got.content
