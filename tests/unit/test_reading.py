"""What people see of a message: its header, texts, links, parts, and what it hides."""

import hashlib

from outbound_guard.desk.reading.frame import frame
from outbound_guard.desk.reading.message import read

HEAD = b"From: a@b.example\r\nTo: x@y.example\r\n"


def html(text: str) -> bytes:
    return HEAD + b"Content-Type: text/html; charset=utf-8\r\n\r\n" + text.encode()


def test_the_header_as_it_is_and_decoded() -> None:
    reading = read(b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n from us\r\nX-Odd : \x01\r\nno field\r\n\r\nbody")
    assert [(f.name, f.text, f.raw) for f in reading.fields] == [
        ("Subject", "Grüße from us", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=\n from us"),
        ("X-Odd", "␁", "␁"),
        ("", "no field", "no field"),
    ]
    assert reading.subject == "Grüße from us"


def test_what_turns_text_is_named() -> None:
    reading = read("Subject: invoice\u202efdp.exe\r\n\r\nabc\u2066def\r\n".encode())
    assert reading.subject == "invoice⟦U+202E⟧fdp.exe"
    assert reading.text.strip() == "abc⟦U+2066⟧def"


def test_invisible_letters_are_counted() -> None:
    reading = read("Subject: s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nVi\u200bag\u00adra".encode())
    assert any("2 characters that are not seen (zero width space, soft hyphen)" in note for note in reading.notes)


def test_the_text_of_a_message_without_plain_text_is_that_of_its_html() -> None:
    reading = read(html("<p>One</p><p>Two <b>three</b><br>four</p><p style='display:none'>secret</p>"))
    assert reading.text_of_html
    assert reading.text == "One\n\nTwo three\nfour"


def test_hidden_text_is_shown_and_marked() -> None:
    for source, how in (
        ("<div style='display:none'>secret</div>", "not displayed"),
        ("<p hidden>secret</p>", "not displayed"),
        ("<span style='font-size:0px'>secret</span>", "too small to read"),
        ("<font color=#ffffff>secret</font>", "white letters"),
        ("<style>.x{display:none}</style><p class='a x'>secret</p>", "not displayed"),
        ("<style>@media print{.y{color:red}} #z { visibility:hidden }</style><p id=z>secret</p>", "not displayed"),
        ("<p style='position:absolute; left:-9999px'>secret</p>", "not displayed"),
    ):
        reading = read(html(f"seen {source}"))
        assert f'<span class="mark">hidden ({how}):</span> secret' in reading.html, source
        assert "secret" not in reading.text
        assert any("hidden from the reader" in note for note in reading.notes)


def test_what_is_seen_is_not_called_hidden() -> None:
    for source in (
        "<table bgcolor=#000><td><font color=white>seen</font></table>",
        "<style>@media (max-width:600px){.x{display:none}}</style><p class=x>seen</p>",
        "<body style='color:#fff'><div style='background:#000'>seen</div>",
    ):
        assert "hidden" not in read(html(source)).html, source


def test_links_say_where_they_lead_and_lead_nowhere() -> None:
    reading = read(
        html(
            '<a href="http://evil.test/login?a=1">www.bank.test</a> <a href="https://www.bank.test/">www.bank.test</a>'
        )
    )
    one, other = reading.targets
    assert (one.text, one.address, one.host, one.misleading) == (
        "www.bank.test",
        "http://evil.test/login?a=1",
        "evil.test",
        True,
    )
    assert not other.misleading
    assert '<span title="http://evil.test/login?a=1" class="link misleading">www.bank.test</span>' in reading.html or (
        '<span class="link misleading" title="http://evil.test/login?a=1">www.bank.test</span>' in reading.html
    )
    assert "[→ leads elsewhere: evil.test]" in reading.html
    assert "href" not in frame(reading)


def test_pictures_forms_and_scripts_are_named() -> None:
    reading = read(
        html(
            "<img src=http://track.test/p.gif width=1 height=1><img src=cid:a alt=Logo>"
            "<form action=http://evil.test/f><input type=password name=pw></form><script>x</script>"
            "<meta http-equiv=refresh content='0;url=//evil.test'>"
        )
    )
    for said in (
        "[tracking picture 1×1 from track.test]",
        "[picture enclosed: Logo]",
        "[form that sends to http://evil.test/f]",
        "[password input field: pw]",
        "[it sends its reader on to //evil.test]",
    ):
        assert said in reading.html, said
    assert "HTML: 1 × script" in reading.notes
    assert "HTML: 2 × picture, none was loaded, 1 of them to track who reads it" in reading.notes


def test_the_tree_of_parts() -> None:
    content = HEAD + (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
        b"--a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nplain\r\n"
        b"--b\r\nContent-Type: text/html\r\n\r\n<p>rich</p>\r\n"
        b"--b--\r\n--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--a\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="../invoice.pdf.exe"\r\n\r\nTVqQAAMA\r\n--a--\r\n'
    )
    parts = read(content).parts
    assert [(part.number, part.type, part.shown) for part in parts] == [
        ("0", "multipart/mixed", False),
        ("1", "multipart/alternative", False),
        ("1.1", "text/plain", True),
        ("1.2", "text/html", True),
        ("2", "message/rfc822", False),
        ("2.1", "text/plain", True),
        ("3", "application/octet-stream", False),
    ]
    program = parts[-1]
    assert (program.name, program.size, program.disposition) == ("../invoice.pdf.exe", 6, "attachment")
    assert program.sha256 == hashlib.sha256(bytes.fromhex("4d5a90000300")).hexdigest()
    assert program.risks[0] == "an attachment is a program"
    assert parts[0].sha256 == ""


def test_an_attached_page_is_shown_as_well_and_last() -> None:
    reading = read(
        HEAD + b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/html; name=pay.html\r\n"
        b"Content-Disposition: attachment\r\n\r\n<form action=//evil.test>pay</form>\r\n"
        b"--a\r\n\r\nSee attached\r\n--a--\r\n"
    )
    assert reading.text.strip() == "See attached"
    assert '<div class="part">attached as pay.html</div>' in reading.html
    assert reading.parts[1].risks


def test_a_long_part_is_hashed_piece_by_piece() -> None:
    octets = bytes(range(256)) * 9000
    import base64

    for encoded in (base64.encodebytes(octets).replace(b"\n", b"\r\n"), base64.b64encode(octets)):
        part = read(HEAD + b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded).parts[0]
        assert (part.size, part.sha256) == (len(octets), hashlib.sha256(octets).hexdigest())


def test_a_message_without_anything() -> None:
    for content in (b"", b"\r\n", b"\r\n\r\n", b"Subject: x"):
        assert "The message has no text." in frame(read(content))


def test_what_is_too_long_is_said() -> None:
    reading = read(HEAD + b"\r\n" + b"word " * 100_000)
    assert len(reading.text) == 200_000
    assert any("too long to be shown whole" in note for note in reading.notes)
