"""What answers say about the sender."""

from __future__ import annotations

import pytest

from outbound_guard.delivery.classes import outcome_of, outcomes_of
from outbound_guard.reply import parse


@pytest.mark.parametrize(
    ("code", "text", "outcome"),
    [
        (250, "2.0.0 Ok: queued as 4ABC", "delivered"),
        (550, "5.1.1 <x@y.example>: Recipient address rejected: User unknown in virtual mailbox table", "unknown_user"),
        (550, "No such person at this address", "unknown_user"),
        (550, "5.2.1 This account is disabled", "unknown_user"),
        (552, "5.2.2 Mailbox full", "later"),
        (452, "4.2.2 The recipient's inbox is out of storage space", "later"),
        (554, "5.7.1 Message rejected as spam by content filter", "refused"),
        (451, "4.7.1 Too much unsolicited mail from this sender", "refused"),
        # Faults and limits of others are not the sender's.
        (451, "4.5.0 ALL VIRUS SCANNERS FAILED", "later"),
        (421, "4.7.0 Too many concurrent SMTP connections", "later"),
        (452, "4.5.3 Too many recipients", "later"),
        (451, "4.7.1 Greylisted, come back in five minutes", "later"),
        # It is our address that is refused, whatever else the text says.
        (550, "5.1.0 rejected, your IP is listed at spamhaus", "our_address"),
        (550, "Requested action not taken: mailbox unavailable, your address is on a blacklist", "our_address"),
        (554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using dbl.example", "our_address"),
        (451, "4.7.1 OG-LISTED the next hop refuses our address, saying: 554 no", "our_address"),
        (451, "4.4.7 OG-EXPIRED ...; the last answer was: 451 4.7.1 OG-LISTED the next hop refuses ...", "our_address"),
        # Lists know more than addresses.
        (550, "5.7.1 The message contains a URL listed by surbl", "refused"),
        (554, "5.7.1 Service unavailable; Sender address [a@x.example] blocked using dbl.spamhaus.org", "refused"),
        (554, "5.7.1 The domain x.example is on a blocklist of spam senders", "refused"),
        (554, "5.7.1 The domain of your server 192.0.2.1 is on our blocklist", "our_address"),
        (550, "5.1.8 Access denied, bad outbound sender", "later"),
    ],
)
def test_an_answer_is_classed(code: int, text: str, outcome: str) -> None:
    assert outcome_of(parse(code, text)) == outcome


def test_classes_are_counted() -> None:
    replies = [parse(250, "2.0.0 Ok")] * 3 + [parse(550, "5.1.1 unknown user")]
    assert sorted(outcomes_of(replies)) == [("delivered", 3), ("unknown_user", 1)]
