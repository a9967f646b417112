"""What the model looks at: language-neutral, without what tells the source, and through a spammer's tricks."""

import pytest

from outbound_guard.content import parse
from outbound_guard.content.features import MAX_WORDS, Feature, extract


def of(body: str, *head: str, kind: str = "text/plain") -> set[Feature]:
    fields = ["From: a@b.example", *head, f"Content-Type: {kind}; charset=utf-8"]
    return set(extract(parse(("\r\n".join(fields) + "\r\n\r\n" + body).encode())))


def test_words_pairs_numbers() -> None:
    found = of("Pay $250 now, pay 30% later")
    assert {b"pay", b"$000", b"00%", (b"pay", b"$000")} <= found


def test_subject_without_tags_and_reply_marks() -> None:
    found = of("x", "Subject: Re: [some-list] AW: New offer")
    assert {b"s:new", b"s:offer", b"S:new offer"} <= found
    assert not any(
        isinstance(name, bytes) and name.startswith(b"s:") and name != b"s:new" and name != b"s:offer" for name in found
    )


def test_nothing_tells_where_and_when_a_message_was_collected() -> None:
    plain = of("hello there")
    dated = of(
        "hello there",
        "Date: Mon, 1 Jan 2007 10:00:00 +0000",
        "Message-ID: <x@prod.example>",
        "Received: from x by y",
        "List-Id: <z>",
        "X-Spam-Status: Yes",
        "X-Mailer: Foo",
        "In-Reply-To: <q@r>",
    )
    assert plain == dated


def test_hosts_and_addresses_are_not_learned() -> None:
    found = of("see http://www.very-special-name.com/offer.php?id=1 or write to somebody@very-special-name.com")
    assert not any(b"special" in (name if isinstance(name, bytes) else b" ".join(name)) for name in found)
    assert {b"u:.com", b"u:hyphens", b"u:query", b"u:file.php", b"u:foreign"} <= found


def test_own_links_are_told_from_foreign_ones() -> None:
    assert b"u:own" in of("see https://www.b.example/x")
    assert b"u:foreign" in of("see https://www.c.example/x")


def test_the_name_of_the_recipient_is_left_out() -> None:
    assert b"zebedee" not in of("Dear Zebedee, hello", "To: Zebedee <zebedee@c.example>")


@pytest.mark.parametrize(
    "text",
    ["рaypаl aсcоunt vеrify", "pay\u200bpal acc\u200bount ver\u200bify \u200b \u200b", "𝐩𝐚𝐲𝐩𝐚𝐥 𝐚𝐜𝐜𝐨𝐮𝐧𝐭 𝐯𝐞𝐫𝐢𝐟𝐲"],
)
def test_words_are_read_through_their_disguise(text: str) -> None:
    found = of(text)
    assert {b"paypal", b"account", b"verify"} <= found
    assert found & {b"f:mixed-scripts", b"f:invisible-characters", b"f:fancy-letters"}


def test_russian_is_no_disguise() -> None:
    found = of("Спасибо за ваш заказ, мы скоро с вами свяжемся")
    assert b"f:mixed-scripts" not in found
    assert "заказ".encode() in found


def test_scripts_without_spaces_give_pairs_of_letters() -> None:
    assert b"g:" + "订单".encode() in of("您的订单已经确认")


def test_misleading_links_and_dangerous_files() -> None:
    found = of('<a href="http://evil.example/">https://www.bank.com/</a><form></form>', kind="text/html")
    assert {b"u:misleading", b"a:html_form", b"f:html-only"} <= found


def test_long_texts_are_cut() -> None:
    words = " ".join(f"w{chr(97 + n // 26)}{chr(97 + n % 26)}x" for n in range(26 * 26))
    plain = [name for name in of(words) if isinstance(name, bytes) and b":" not in name]
    assert len(plain) == MAX_WORDS


def test_every_feature_is_there_once_and_in_one_order() -> None:
    content = b"From: a@b.example\r\n\r\none two three one two four https://www.b.example/x https://www.b.example/y"
    found = extract(parse(content))
    assert len(set(found)) == len(found)
    assert found[:6] == [b"one", b"two", b"three", b"four", (b"one", b"two"), (b"two", b"three")]
    assert found == extract(parse(content))
