"""The body of a message: its texts decoded, its attachments looked into, and what is wrong with its MIME structure."""

from __future__ import annotations

import binascii

from outbound_guard.content import attachment, charset, html, mime
from outbound_guard.content.attachment import Attachment
from outbound_guard.mail import Headers

TEXT_OCTETS = 64_000
"""Octets of an encoded text part that are decoded."""
MAX_TEXT_PARTS = 8


class Body:
    """What the MIME tree holds."""

    __slots__ = ("attachments", "charset", "defects", "html", "html_cut", "lower_html", "plain", "texts")

    def __init__(self) -> None:
        self.plain = self.html = self.lower_html = self.charset = ""
        self.html_cut = False
        self.texts = 0
        self.attachments: list[Attachment] = []
        self.defects: list[str] = []


def read_body(content: bytes, headers: Headers) -> Body:
    """Read what lies behind the header section; bounded, and never raises."""
    body = Body()
    leaves = mime.walk(
        content,
        headers.end,
        headers.get("content-type"),
        headers.get("content-transfer-encoding") or "",
        headers.get("content-disposition") or "",
        body.defects,
    )
    for part in leaves:
        shown = part.type == "text/plain" or part.type == "text/html"
        if shown and not part.attached and not (part.name and body.texts) and not part.in_report:
            if body.texts < MAX_TEXT_PARTS:
                _take_text(content, part, body)
            continue
        if part.in_report or part.type in ("text/rfc822-headers", "message/delivery-status") or part.start >= part.end:
            continue
        body.attachments.append(attachment.inspect(content, part, body.defects))
    body.lower_html = body.html.lower()
    return body


def _take_text(content: bytes, part: mime.Part, body: Body) -> None:
    body.texts += 1
    is_html = part.type == "text/html"
    cut = part.end - part.start > TEXT_OCTETS
    data = content[part.start : part.start + TEXT_OCTETS if cut else part.end]
    encoding = part.encoding
    if encoding == "quoted-printable":
        data = binascii.a2b_qp(data)
    elif encoding == "base64":
        data, sound = charset.base64(data, cut=cut)
        if not sound:
            body.defects.append("broken_base64")
    elif encoding not in ("", "7bit", "8bit", "binary"):
        body.defects.append("unknown_encoding")
    text, defect = charset.decode(data, part.charset, cut=cut)
    if defect:
        body.defects.append(defect)
    if not body.charset:
        body.charset = part.charset[:40]
    if is_html:
        if len(body.html) < html.HTML_LIMIT:
            body.html = body.html + text if body.html else text
            body.html_cut = body.html_cut or cut
    elif len(body.plain) < html.TEXT_LIMIT:
        body.plain = (body.plain + "\n" + text if body.plain else text)[: html.TEXT_LIMIT]
