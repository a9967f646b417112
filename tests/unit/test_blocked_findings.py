"""From what people paste to a finding: bounces of many servers, log lines, addresses and domains."""

from __future__ import annotations

import time

import pytest

from outbound_guard.blocklist.channels import packaged
from outbound_guard.delivery import dsn
from outbound_guard.desk.blocked.finding import Finding, as_json, blocked, subject_in
from outbound_guard.reply import Reply
from outbound_guard.spool import Failure

OWN = ("203.0.113.5", "203.0.113.6", "2001:db8::5")
LISTED = "Service unavailable; Client host [203.0.113.5] blocked using zen.spamhaus.org; https://check.spamhaus.org/"


def find(text: str, own: tuple[str, ...] = OWN) -> Finding:
    return blocked(text, packaged(), own=own)


POSTFIX_LOG = (
    "Nov 22 06:00:00 mx1 postfix/smtp[4711]: 4ABCDEF: to=<bob@example.org>, "
    "relay=mx.example.org[198.51.100.9]:25, delay=1.2, "
    "delays=0.1/0/0.6/0.5, dsn=5.7.1, status=bounced (host mx.example.org[198.51.100.9] said: 554 "
    "5.7.1 " + LISTED + " (in reply to RCPT "
    "TO command))"
)
EXIM_LOG = (
    "2026-11-22 06:00:00 1abcDE-000123-45 ** bob@example.org R=dnslookup T=remote_smtp "
    "H=mx.example.org [198.51.100.9]: SMTP error "
    "from remote mail server after RCPT TO:<bob@example.org>: 554 5.7.1 " + LISTED
)
EXIM_DEFER = (
    "2026-11-22 06:00:00 1abcDE-000123-45 == bob@example.org R=dnslookup T=remote_smtp defer (-44) "
    "H=mx.example.org [198.51.100.9]: SMTP "
    "error from remote mail server after RCPT TO:<bob@example.org>: 450 4.2.0 <bob@example.org>: "
    "Recipient address rejected: Greylisted"
)
EXIM_BOUNCE = """This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  bob@example.org
    host mx.example.org [198.51.100.9]
    SMTP error from remote mail server after RCPT TO:<bob@example.org>:
    554 5.7.1 Service unavailable; Client host [203.0.113.5] blocked
    using zen.spamhaus.org

------ This is a copy of the message, including all the headers. ------

Received: from [192.0.2.77] by mx1.example.net
Subject: user unknown, mailbox full, spam
"""
QMAIL_BOUNCE = """Hi. This is the qmail-send program at mx1.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.

<bob@example.org>:
198.51.100.9 does not like recipient.
Remote host said: 550 5.1.1 <bob@example.org>: Recipient address rejected: User unknown
Giving up on 198.51.100.9.

--- Below this line is a copy of the message.
"""
EXCHANGE_BOUNCE = """Your message to bob@example.org couldn't be delivered.

Remote Server returned '550 5.7.606 Access denied, banned sending IP [203.0.113.5]. To request removal from this list
please visit https://sender.office.com/ and follow the directions. AS(1430) [x.prod.protection.outlook.com]'
"""
GMAIL_BOUNCE = """** Message blocked **

Your message to bob@gmail.com has been blocked. See technical details below for more information.

The response from the remote server was:

550-5.7.26 Unauthenticated email from shop.example is not accepted due to
550-5.7.26 domain's DMARC policy. Please contact the administrator of
550 5.7.26 shop.example domain. x-20020a05600c - gsmtp
"""
GERMAN = """Hallo,
meine Mails an web.de kommen zurück, da steht:

> <bob@web.de>: host mx-ha02.web.de[198.51.100.9] said: 554-web.de (mxweb111) Nemesis ESMTP Service not available
> 554-No SMTP service 554-IP address is block listed. 554 For explanation visit
> https://postmaster.web.de/en/case?c=r0601&i=ip&v=203.0.113.5&r=1M

Können Sie helfen? Anna
"""


@pytest.mark.parametrize(
    "text",
    [POSTFIX_LOG, EXIM_LOG, EXIM_BOUNCE, "554 5.7.1 " + LISTED, "> 554 5.7.1 " + LISTED],
    ids=["postfix", "exim", "bounce", "line", "quoted"],
)
def test_a_list_that_refuses_our_address_is_found_in_any_form(text: str) -> None:
    found = find(text)
    assert found.class_ == "our_address_blocked.list"
    assert (found.list, found.side, found.address) == ("zen.spamhaus.org", "provider", "203.0.113.5")
    assert found.channel is not None
    assert found.channel.name.startswith("Spamhaus")
    assert "https://check.spamhaus.org/results/?query=203.0.113.5" in found.next
    assert "Spamhaus" not in found.customer
    assert "not in your message" in found.customer


def test_a_report_is_read_by_its_fields() -> None:
    failure = Failure(recipient="bob@example.org", reply=Reply(554, "5.7.1", LISTED), peer="mx.example.org")
    report = dsn.report(
        "id1", 1.0, "mx1.example.net", "alice@shop.example", [failure], b"Subject: user unknown\r\n\r\n", 0.0
    )
    for text in (report.decode(), "\n\n" + report.decode().replace("\r\n", "\n")):
        found = find(text)
        assert (found.class_, found.address) == ("our_address_blocked.list", "203.0.113.5")


@pytest.mark.parametrize(
    ("text", "class_", "provider", "side", "address"),
    [
        (EXIM_DEFER, "greylisting", None, "receiver", None),
        (QMAIL_BOUNCE, "unknown_user", None, "recipient", "bob@example.org"),
        (EXCHANGE_BOUNCE, "our_address_blocked.list", "Microsoft", "provider", "203.0.113.5"),
        (GMAIL_BOUNCE, "policy_auth.dmarc", "Google", "customer", "shop.example"),
        (GERMAN, "our_address_blocked.list", "Web.de", "provider", "203.0.113.5"),
        ("552 5.2.2 <bob@example.org>: mailbox full", "mailbox_full", None, "recipient", "bob@example.org"),
        (
            "554 5.7.1 Sender address [a@shop.example] blocked using dbl.spamhaus.org",
            "content.domain",
            None,
            "customer",
            "shop.example",
        ),
        ("550 Message contains a virus (Eicar)", "content.virus", None, "customer", None),
        (
            "421 4.7.0 [TSS04] Messages from 203.0.113.5 temporarily deferred due to user complaints",
            "rate.complaints",
            "Yahoo",
            "provider",
            "203.0.113.5",
        ),
        ("550 5.7.25 The IP address 203.0.113.6 has no PTR record", "dns.ptr", None, "provider", "203.0.113.6"),
        (
            "554 Client host [203.0.113.5] blocked using dnsbl.sorbs.net",
            "our_address_blocked.list",
            None,
            "receiver",
            "203.0.113.5",
        ),
        (
            "554 Client host [2001:db8::5] blocked using zen.spamhaus.org",
            "our_address_blocked.list",
            None,
            "provider",
            "2001:db8::5",
        ),
        (
            "554 Client host [203.0.113.5] blocked using zen.spamhaus.org; 127.255.255.254 open resolver",
            "our_address_blocked.list",
            None,
            "receiver",
            "203.0.113.5",
        ),
    ],
)
def test_class_side_and_address(text: str, class_: str, provider: str | None, side: str, address: str | None) -> None:
    found = find(text)
    assert (found.class_, found.provider, found.side, found.address) == (class_, provider, side, address)
    assert found.next
    assert found.customer


def test_an_address_that_is_not_ours_left_another_way() -> None:
    found = find("554 Client host [192.0.2.99] blocked using zen.spamhaus.org")
    assert found.side == "customer"
    assert "none of our addresses" in found.next
    assert find("554 Client host [192.0.2.99] blocked using zen.spamhaus.org", own=()).side == "provider"


def test_of_several_answers_the_one_about_our_address_counts() -> None:
    text = POSTFIX_LOG.replace("554 5.7.1 " + LISTED, "550 5.1.1 User unknown") + "\n" + POSTFIX_LOG + "\n" + EXIM_DEFER
    assert find(text).class_ == "our_address_blocked.list"


def test_the_server_that_said_it_is_not_taken_for_the_refused_address() -> None:
    text = "host mx.example.org[198.51.100.9] said: 550 5.7.1 our list refuses your address"
    assert find(text).address is None


def test_a_list_that_no_channel_knows_is_named() -> None:
    found = find("550 Client host [203.0.113.5] blocked using bl.example.test")
    assert (found.list, found.channel) == ("bl.example.test", None)


def test_the_recipient_tells_the_provider_when_the_answer_does_not() -> None:
    line = POSTFIX_LOG.replace("bob@example.org", "bob@gmail.com").replace(
        "554 5.7.1 " + LISTED, "550 5.7.1 not permitted here"
    )
    assert find(line).provider == "Google"


@pytest.mark.parametrize(
    "text", ["Hello, our mail does not work.", "250 2.0.0 Ok: queued", "%PDF-1.4 \x00\x01", "\n\n.", "--\n--"]
)
def test_where_nothing_can_be_said_it_says_so(text: str) -> None:
    found = find(text)
    assert found.class_.startswith("other")
    assert not found.certain
    assert found.next


def test_names_and_numbers_of_people_are_not_shown() -> None:
    found = find(
        "550 5.7.1 blocked: your IP 203.0.113.5 is on our list, call Jane Doe at +1 555 123 4567 or jane@example.org"
    )
    shown = str(as_json(found))
    assert "Jane" not in shown
    assert "4567" not in shown
    assert "jane@" not in shown


class TestAddressOrDomain:
    ROWS = (
        {
            "subject": "203.0.113.5",
            "zone": "bl.example.test",
            "state": "listed",
            "codes": "127.0.0.2",
            "reason": "spam trap",
            "scope": "address",
            "weight": 1.0,
        },
        {
            "subject": "203.0.113.5",
            "zone": "zen.spamhaus.org",
            "state": "listed",
            "codes": "127.0.0.3",
            "reason": "CSS",
            "scope": "address",
            "weight": 3.0,
        },
        {
            "subject": "203.0.113.5",
            "zone": "psbl.surriel.com",
            "state": "clean",
            "codes": "",
            "reason": "",
            "scope": "address",
            "weight": 1.0,
        },
    )

    @pytest.mark.parametrize(
        ("text", "subject"),
        [
            ("203.0.113.5\n", "203.0.113.5"),
            ("[203.0.113.5]", "203.0.113.5"),
            ("2001:DB8:0::5", "2001:db8::5"),
            ("Shop.Example.COM.", "shop.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("<bob@example.org>", "example.org"),
            ("550 no", None),
            ("two words", None),
            ("", None),
        ],
    )
    def test_what_is_meant(self, text: str, subject: str | None) -> None:
        assert subject_in(text) == subject

    def test_the_heaviest_list_comes_first(self) -> None:
        found = blocked("203.0.113.5", packaged(), own=OWN, known=lambda subject: self.ROWS)
        assert (found.class_, found.list, found.side) == ("our_address_blocked.list", "zen.spamhaus.org", "provider")
        assert "CSS" in found.next
        assert "bl.example.test" in found.next
        assert found.channel is not None

    def test_a_listed_address_of_somebody_else(self) -> None:
        assert blocked("203.0.113.9", packaged(), own=OWN, known=lambda subject: self.ROWS).side == "customer"

    def test_a_listed_domain(self) -> None:
        rows = ({"zone": "dbl.spamhaus.org", "state": "listed", "reason": "phish", "weight": 3.0},)
        found = blocked("shop.example", packaged(), own=OWN, known=lambda subject: rows)
        assert (found.class_, found.list, found.side, found.address) == (
            "content.domain",
            "dbl.spamhaus.org",
            "customer",
            "shop.example",
        )

    def test_clean_and_unknown(self) -> None:
        clean = blocked("203.0.113.5", packaged(), own=OWN, known=lambda subject: self.ROWS[2:])
        assert (clean.class_, clean.list, clean.certain) == ("other", None, True)
        assert "none of 1 lists" in clean.next
        assert not blocked("203.0.113.5", packaged(), own=OWN).certain

    def test_a_receivers_domain_has_its_channel(self) -> None:
        found = find("gmail.com")
        assert found.provider == "Google"
        assert found.channel is not None


@pytest.mark.parametrize(
    "piece",
    [
        "\n",
        " ",
        "said ",
        "<a@b> ",
        "host x [192.0.2.1]: ",
        "to=<a@b.c> relay=x[192.0.2.1] status=bounced (",
        "550 a\n",
        "5.1.1 ",
    ],
)
def test_no_paste_takes_long(piece: str) -> None:
    started = time.process_time()
    find("x " + piece * (100_000 // len(piece)))
    assert time.process_time() - started < 5
