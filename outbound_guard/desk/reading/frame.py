"""The document in which the HTML of a held message is shown, and what it must be served with.

It is a page of its own, for an iframe with `sandbox` and nothing allowed. Were everything before it mistaken, the
headers would still let nothing be fetched and nothing be run: its one style sheet is inside it and named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
from pathlib import Path

from outbound_guard.desk.reading.message import Reading

_SHEET = Path(__file__).with_name("frame.css").read_text(encoding="utf-8")
_HASH = base64.b64encode(hashlib.sha256(_SHEET.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'; sandbox"
    ),
    # For browsers that do not know frame-ancestors.
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Content-Type": "text/html; charset=utf-8",
}
"""The headers that every answer with a `frame` must carry."""


def frame(reading: Reading) -> str:
    """The whole HTML document that shows the message: its HTML, or its text if it has none."""
    body = (
        reading.html
        or f"<pre>{html.escape(reading.text) if reading.text.strip() else 'The message has no text.'}</pre>"
    )
    # A policy in the document as well, for the case that it is ever looked at without its headers.
    policy = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
    return (
        "<!doctype html>\n"
        '<html lang=""><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">'
        '<meta name="referrer" content="no-referrer">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Content of a message</title><style>{_SHEET}</style></head>"
        f'<body dir="auto">{body}</body></html>\n'
    )
