"""What a message says: identity, text, links, attachments, defects."""

import base64

import pytest

from outbound_guard.content import charset, parse
from outbound_guard.content.defects import DEFECTS


def mail(*head: str, body: str = "Hello there.", kind: str = "") -> bytes:
    fields = [*head]
    if kind:
        fields.append(f"Content-Type: {kind}")
    return ("\r\n".join(fields) + "\r\n\r\n" + body.replace("\n", "\r\n")).encode()


def page(source: str) -> bytes:
    return mail("From: a@b.example", body=source, kind="text/html; charset=utf-8")


def parts(*texts: str, kind: str = "mixed", end: bool = True) -> bytes:
    body = "".join(f"--mark\n{text}\n" for text in texts) + ("--mark--\n" if end else "")
    return mail("From: a@b.example", body=body, kind=f'multipart/{kind}; boundary="mark"')


@pytest.mark.parametrize(
    ("value", "address", "name"),
    [
        ("anna@example.net", "anna@example.net", ""),
        ("Anna Berg <Anna@Example.NET>", "anna@example.net", "Anna Berg"),
        ('"Berg, Anna" <anna@example.net>', "anna@example.net", "Berg, Anna"),
        ("anna@example.net (Anna Berg)", "anna@example.net", "Anna Berg"),
        ("=?utf-8?B?w4RubmE=?= <anna@example.net>", "anna@example.net", "Änna"),
        ("=?iso-8859-1?q?=C4nna?= =?iso-8859-1?q?_Berg?= <a@b.example>", "a@b.example", "Änna Berg"),
        ("<anna@example.net>", "anna@example.net", ""),
        ("Undisclosed", "", "Undisclosed"),
        ('"a \\"b\\" c" <x@y.example>', "x@y.example", 'a "b" c'),
        ("one@x.example, two@y.example", "one@x.example", ""),
    ],
)
def test_author(value: str, address: str, name: str) -> None:
    message = parse(mail(f"From: {value}"))
    assert (message.from_address, message.display_name) == (address, name)
    assert message.from_domain == address.rpartition("@")[2]


def test_identity_fields() -> None:
    message = parse(
        mail(
            "From: a@b.example",
            "Reply-To: C <c@d.example>",
            "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus =?koi8-r?B?7c/Ty9fZ?=",
            "Message-ID: <1.2@b.example>",
            "X-Mailer: PHPMailer 6.8.0 (https://github.com/PHPMailer/PHPMailer)",
        )
    )
    assert message.reply_to == "c@d.example"
    assert message.subject == "Grüße aus Москвы"
    assert message.message_id == "1.2@b.example"
    assert message.mailer == "phpmailer"


@pytest.mark.parametrize(
    ("html", "elsewhere"),
    [
        ("<p>hi", False),
        ("<a href='https://shop.firma.example/x'>x</a>", False),
        ("<a href='/x'>x</a>", False),
        ("<a href='//evil.example/x'>x</a>", True),
        ("<a href='https:evil.example/x'>x</a>", True),
        ("<a href='https:/evil.example/x'>x</a>", True),
        ("<a href='/&#9;/evil.example/x'>x</a>", True),
        ("see WWW.EVIL.EXAMPLE/x", True),
        ("<form action=/x>", True),
        ("<meta http-equiv=refresh content='0;url=/x'>", True),
        ("<iframe src=/x>", True),
        ("<div>" * 9000 + "<a href=https://evil.example>", True),
        (" ".join(f"https://firma.example/{n}" for n in range(200)), True),
    ],
)
def test_links_that_may_lead_elsewhere(html: str, elsewhere: bool) -> None:
    content = mail("From: a@firma.example", "MIME-Version: 1.0", "Content-Type: text/html", body=html)
    assert parse(content).links_elsewhere is elsewhere


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("boss@evil.example, Anna <anna@firma.example>", "boss@evil.example"),
        ("Anna <anna@firma.example>; boss@evil.example", "boss@evil.example"),
        ('anna@firma.example, "boss"@evil.example', "boss@evil.example"),
        ("anna@firma.example\r\nReply-To: boss@evil.example", "boss@evil.example"),
        ('"x@evil.example" <anna@firma.example>, <b@firma.example>', "anna@firma.example"),
        ("Anna (x@evil.example) <anna@firma.example>", "anna@firma.example"),
    ],
)
def test_answers_that_go_to_others_as_well(field: str, found: str) -> None:
    assert parse(mail("From: anna@firma.example", f"Reply-To: {field}")).reply_to == found


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Microsoft Outlook 16.0", "microsoft outlook"),
        ("Mozilla/5.0 (X11; Linux x86_64) Thunderbird/115", "mozilla"),
        ("iPhone Mail (21A329)", "iphone mail"),
        ("WPMailSMTP/Mailer/smtp 3.9.0", "wpmailsmtp"),
        ("The Bat! v9.3", "the bat!"),
    ],
)
def test_mailer_without_version(value: str, name: str) -> None:
    assert parse(mail("From: a@b.example", f"User-Agent: {value}")).mailer == name


def test_an_encoded_word_cut_inside_a_character() -> None:
    octets = "Grüße".encode()
    words = " ".join(f"=?utf-8?B?{base64.b64encode(half).decode()}?=" for half in (octets[:3], octets[3:]))
    assert parse(mail("From: a@b.example", f"Subject: {words}")).subject == "Grüße"


@pytest.mark.parametrize("encoding", ["quoted-printable", "base64", "8bit"])
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-15", "windows-1252"])
def test_text_in_its_charset(charset: str, encoding: str) -> None:
    data = "Preis: 5 € für Käse".encode(charset)
    if encoding == "base64":
        data = base64.encodebytes(data).replace(b"\n", b"\r\n")
    elif encoding == "quoted-printable":
        data = b"".join(b"=%02X" % octet if octet > 127 else bytes([octet]) for octet in data)
    head = f"From: a@b.example\r\nContent-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}"
    message = parse(head.encode() + b"\r\n\r\n" + data)
    assert message.text.strip() == "Preis: 5 € für Käse"
    assert message.charset == charset
    assert message.defects == ()


@pytest.mark.parametrize(
    ("octets", "text"), [(b"+2D3cAA-", "\U0001f400"), (b"a+2AA-b", "a\ufffdb"), (b"+3AA-\xff", "\ufffd\ufffd")]
)
def test_half_a_pair_in_utf_7_is_no_text(octets: bytes, text: str) -> None:
    assert charset.decode(octets, "utf-7")[0] == text


def test_dangerous_codecs_are_no_charsets() -> None:
    for name in ("rot13", "punycode", "idna", "unicode_escape", "zlib", "undefined", "..\\x"):
        message = parse(mail("From: a@b.example", body="abc", kind=f'text/plain; charset="{name}"'))
        assert message.text == "abc"
        assert message.defects == ("unknown_charset",)


def test_html_is_what_the_reader_sees() -> None:
    message = parts(
        "Content-Type: text/plain\n\nonly for old programs",
        "Content-Type: text/html\n\n<html><head><title>T</title><style>p{}</style></head><body><p>Your V<b></b>iagra"
        "</p><td>a</td><td>b</td><script>x()</script>",
        kind="alternative",
    )
    read = parse(message)
    assert read.html
    assert read.text == "Your Viagra a b"
    assert read.view.title == "T"
    assert read.plain_text == "only for old programs"
    assert read.defects == ("html_script",)


@pytest.mark.parametrize(
    "style",
    [
        "display:none",
        "DISPLAY : None !important",
        "visibility:hidden",
        "font-size:0px",
        "font-size: 1px;color:#333",
        "opacity:0",
        "color:#fefefe",
        "color:white",
        "max-height:0;overflow:hidden",
        "text-indent:-9999px",
    ],
)
def test_hidden_text(style: str) -> None:
    message = parse(page(f'<body>seen <div style="{style}">never <b>seen</b></div> also</body>'))
    assert message.text == "seen also"
    assert message.hidden_text == "never seen"


@pytest.mark.parametrize(
    "style", ["font-size:10px", "opacity:0.9", "color:#333", "color:#fff;background:#000", "width:0"]
)
def test_text_that_is_seen(style: str) -> None:
    message = parse(page(f'<body>one <div style="{style}">two</div></body>'))
    assert message.text == "one two"
    assert message.hidden_text == ""


def test_white_letters_on_a_coloured_ground_are_seen() -> None:
    message = parse(page('<body><table bgcolor="#003366"><tr><td style="color:#fff">Open the shop</td></tr></table>'))
    assert message.text == "Open the shop"


def test_urls_hosts_domains() -> None:
    message = parse(
        page(
            '<a href="https://Shop.Example.co.uk/a?b=1">x</a> <a href="http://user@evil.example:81/x">y</a>'
            '<a href="http&#58;//coded.example/">z</a><img src="//cdn.pictures.example/a.png"> www.bare.example/p'
        )
    )
    assert message.hosts[:2] == ("shop.example.co.uk", "evil.example")
    assert "coded.example" in message.hosts
    assert message.domains[0] == "example.co.uk"
    assert "www.bare.example" in message.hosts


def test_document_types_are_no_links() -> None:
    assert parse(page('<!DOCTYPE html PUBLIC "-//W3C//DTD" "http://www.w3.org/TR/html4/"><p>hi')).urls == ()


def test_misleading_links() -> None:
    message = parse(
        page(
            '<a href="http://evil.example/login">https://www.bank.com/login</a>'
            '<a href="http://click.shop.com/1">www.shop.com</a><a href="http://other.com/f">report.pdf</a>'
            '<a href="http://x.com">info@bank.com</a><a href="mailto:a@bank.com">bank.com</a>'
        )
    )
    assert [(link.shown, link.host) for link in message.misleading_links] == [("www.bank.com", "evil.example")]


def test_attachments() -> None:
    message = parse(
        parts(
            "Content-Type: text/plain\n\nsee attached",
            'Content-Type: application/pdf; name="a.pdf"\nContent-Transfer-Encoding: base64\n'
            "Content-Disposition: attachment; filename*=utf-8''r%C3%A9sum%C3%A9.pdf\n\n" + "QUJD" * 100,
        )
    )
    (item,) = message.attachments
    assert (item.name, item.type) == ("résumé.pdf", "application/pdf")
    assert 280 <= item.size <= 305
    assert message.text == "see attached"
    assert message.defects == ()


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("invoice.exe", b"", "executable_attachment"),
        ("invoice.pdf.js", b"", "double_extension"),
        ("photo.jpg  .scr", b"", "double_extension"),
        ("a\u202efdp.exe", b"", "bidi_in_name"),
        ("report.xlsm", b"", "macro_attachment"),
        ("cd.iso", b"", "disk_image_attachment"),
        ("login.html", b"<form>", "html_attachment"),
        ("readme.txt", b"MZ\x90\x00" + b"\0" * 80, "executable_attachment"),
        ("a.zip", b"PK\x03\x04\x14\0\x01\0" + b"\0" * 18 + b"\x05\0\0\0a.txt", "encrypted_archive"),
        ("a.zip", b"PK\x03\x04\x14\0\0\0" + b"\0" * 18 + b"\x05\0\0\0a.exe", "executable_in_archive"),
    ],
)
def test_dangerous_attachments(name: str, data: bytes, expected: str) -> None:
    encoded = base64.b64encode(data or b"x").decode()
    message = parse(
        parts(
            f'Content-Type: application/octet-stream; name="{name}"\nContent-Transfer-Encoding: base64\n'
            f"Content-Disposition: attachment\n\n{encoded}"
        )
    )
    assert expected in message.defects


def nested(depth: int) -> bytes:
    out = b"From: a@b.example\r\n"
    for level in range(depth):
        out += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
    return out + b"\r\ndeep"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no_header"),
        (b"no header at all", "no_header"),
        (b"Subject: x\r\n\r\n", "no_from"),
        (b"From: nobody\r\n\r\n", "bad_from"),
        (b"From: a@b.example, c@d.example\r\n\r\n", "several_from"),
        (b"From: a@b.example\r\nFrom: c@d.example\r\n\r\n", "duplicate_header:from"),
        (b"From: a@b.example\r\nSubject: a\r\nSubject: b\r\n\r\n", "duplicate_header:subject"),
        (b"From: a@b.example\r\nSubject: a\0b\r\n\r\n", "nul_in_header"),
        (b"From: a@b.example\r\nSubject: a\x08b\r\n\r\n", "control_in_header"),
        (b"From: a@b.example\r\nSubject: \xff\r\n\r\n", "raw_8bit_header"),
        (b"From: a@b.example\r\nSubject: " + b"x" * 1000 + b"\r\n\r\n", "header_too_long"),
        (b"From: a@b.example\r\n" + b"X: y\r\n" * 20000 + b"\r\n", "header_block_too_long"),
        (b"From: a@b.example\r\nSubject: =?utf-8?B?!!?\r\n\r\n", "bad_encoded_word"),
        ("From: a@b.example\r\nSubject: a\u202eb\r\n\r\n".encode(), "bidi_in_header"),
        (b'From: "service@bank.com" <a@b.example>\r\n\r\n', "address_in_name"),
        (mail("From: a@b.example", kind="multipart/mixed"), "no_boundary"),
        (mail("From: a@b.example", kind="multipart/mixed; boundary=x"), "bad_boundary"),
        (parts("\nhi", end=False), "missing_end"),
        (nested(30), "deep_nesting"),
        (parts(*["\nhi"] * 200), "too_many_parts"),
        (mail("From: a@b.example", "Content-Transfer-Encoding: base64", body="A"), "broken_base64"),
        (mail("From: a@b.example", "Content-Transfer-Encoding: rot13"), "unknown_encoding"),
        (b"From: a@b.example\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xff\xfe", "undecodable_text"),
        (b"From: a@b.example\r\n\r\na\0b", "nul_in_text"),
        (page("<form action=http://x.example><input></form>"), "html_form"),
        (page('<iframe src="http://x.example">'), "html_frame"),
        (page('<meta http-equiv="refresh" content="0;url=http://x.example">'), "html_refresh"),
        (page("<p>x" * 20000), "html_too_long"),
    ],
)
def test_defects(content: bytes, expected: str) -> None:
    message = parse(content)
    assert expected in message.defects
    assert set(message.defects) <= set(DEFECTS)


def test_a_sound_message_has_no_defects() -> None:
    content = parts("Content-Type: text/plain\n\nhello", "Content-Type: text/html\n\n<p>hello", kind="alternative")
    assert parse(content).defects == ()


def test_a_boundary_that_begins_like_another() -> None:
    content = mail(
        "From: a@b.example",
        body='--b\nContent-Type: multipart/alternative; boundary="b1"\n\n--b1\n\ninner\n--b1--\n--b\n'
        "Content-Type: image/png\n\nx\n--b--\n",
        kind="multipart/mixed; boundary=b",
    )
    message = parse(content)
    assert message.text == "inner"
    assert [item.type for item in message.attachments] == ["image/png"]
    assert message.defects == ()


def test_the_message_inside_a_report_is_not_its_text() -> None:
    content = parts(
        "\nYour message could not be delivered.",
        "Content-Type: message/delivery-status\n\nAction: failed",
        "Content-Type: message/rfc822\n\nSubject: buy\n\nBuy pills at http://pills.example/",
        kind="report; report-type=delivery-status",
    )
    message = parse(content)
    assert message.text == "Your message could not be delivered."
    assert message.urls == ()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Thank you for your order, we will send it to you and your friends with the next post", "en"),
        ("Vielen Dank für Ihre Bestellung, wir haben sie erhalten und die Ware ist nicht auf Lager", "de"),
        ("Спасибо за ваш заказ, мы скоро с вами свяжемся", "cyrillic"),
        ("ご注文ありがとうございます", "japanese"),
        ("您的订单已经确认，我们将尽快发货", "cjk"),
        ("x y z", ""),
    ],
)
def test_language(text: str, language: str) -> None:
    message = parse(mail("From: a@b.example", body=text, kind="text/plain; charset=utf-8"))
    assert message.language == language
