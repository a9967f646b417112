"""Copies of one mailing meet under one fingerprint or nearly the same sketch; other texts do not."""

import random

from outbound_guard.content import parse
from outbound_guard.content.fingerprint import SKETCH, bands, likeness

TEXT = (
    "Dear {name}, we are pleased to tell you that order {no} was chosen in our draw of this spring. Please open "
    "http://{host}.example/{no} and leave your data there, so that we can send your prize to you. Yours, the team."
)


def message(name: str, no: int, host: str, text: str = TEXT) -> bytes:
    body = text.format(name=name, no=no, host=host)
    return f"From: a@b.example\r\nTo: {name} <{name.lower()}@c.example>\r\n\r\n{body}\r\n".encode()


def test_copies_have_one_fingerprint() -> None:
    one, other = parse(message("Anna", 12345, "first")), parse(message("Robert", 98, "second"))
    assert one.fingerprint == other.fingerprint != 0
    assert one.sketch == other.sketch


def test_other_texts_have_others() -> None:
    one = parse(message("Anna", 1, "x"))
    other = parse(message("Anna", 1, "x", TEXT.replace("prize", "parcel")))
    assert one.fingerprint != other.fingerprint
    assert likeness(one.sketch, other.sketch) > 0.5


def test_little_text_has_no_fingerprint() -> None:
    assert parse(b"From: a@b.example\r\n\r\nhi, look at this 12345 http://x.example/abc\r\n").fingerprint == 0
    assert parse(b"").sketch == ()


def test_html_and_plain_of_one_text() -> None:
    plain = parse(b"From: a@b.example\r\n\r\nWe are pleased to offer you the best price for your old garden chairs now")
    dressed = parse(
        b"From: a@b.example\r\nContent-Type: text/html\r\n\r\n<p>We are pleased to <b>offer</b> you the best price "
        b"for your old garden chairs now</p>"
    )
    assert plain.fingerprint == dressed.fingerprint != 0


def test_sketch_survives_words_added_and_finds_no_strangers() -> None:
    generator = random.Random(5)
    words = [f"{letter}{vowel}{last}" for letter in "bdfgklmnprst" for vowel in "aeiou" for last in "lmnrst"]
    text = " ".join(generator.choice(words) for _ in range(150))
    padded = text + " " + " ".join(generator.choice(words) for _ in range(12))
    stranger = " ".join(generator.choice(words) for _ in range(150))
    sketches = [parse(b"From: a@b.example\r\n\r\n" + body.encode()).sketch for body in (text, padded, stranger)]
    assert len(sketches[0]) == SKETCH
    assert likeness(sketches[0], sketches[1]) > 0.6
    assert likeness(sketches[0], sketches[2]) == 0.0
    assert set(bands(sketches[0])) & set(sketches[1])
    assert not set(bands(sketches[0])) & set(bands(sketches[2]))


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    # Relays on several machines count campaigns under it: no hash that depends on the process may enter.
    assert parse(message("Anna", 1, "x")).fingerprint == FINGERPRINT


FINGERPRINT = 173458063270293788


def test_a_style_sheet_is_no_text() -> None:
    style = "<style>" + "p { margin: auto; font-family: Helvetica, Arial, sans-serif }\n" * 20 + "</style>"

    def page(text: str) -> int:
        return parse(
            f"From: a@b.example\r\nContent-Type: text/html\r\n\r\n<head>{style}</head><p>{text}".encode()
        ).fingerprint

    assert page("The parcel that you have waited for will be with you this Tuesday") != page(
        "Your invoice of this month lies in your account and waits for your payment"
    )
    assert page("too little") == 0
