"""The pictures of docs/pictures: the demo in Chromium, light and dark. Run by `scripts/pictures`; a test in nothing.

A PNG of a browser has 24 bits for each dot. These have a palette of 256 colours, which makes them a third as large, and
shows no difference to the eye: the pages have few colours, and the shades of letters' edges.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import IO

from playwright.sync_api import Browser

from tests.browser import chromium
from tests.product import GUARD

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
SIZE = (1280, 800)
LONGEST = 150_000
"""Octets of a picture."""
SECONDS = 200.0
"""The demo runs until the last picture is made, and no longer than this."""


PICTURES = (
    ("now", False, "/", ""),
    ("held", False, "/held?sender={victim}", "main tbody tr a"),
    ("account", True, "/accounts/one?account={account}", ""),
    ("case", True, "/cases", "main tbody tr a"),
)
"""Name, whether it is dark, the page, and what is clicked there."""


def main() -> int:
    """Make all pictures."""
    FOLDER.mkdir(exist_ok=True)
    words = [GUARD, "demo", "--json", "--seconds", str(SECONDS), "--speed", "2"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            ready = _until(demo.stdout, "ready")
            # The victim of the first attack, a stolen mailbox; its account is its domain.
            victim = _until(demo.stdout, "attack")["text"].split()[2]
            _until(demo.stdout, "case")
            for _ in range(4):
                _until(demo.stdout, "traffic")
            with chromium() as browser:
                for name, dark, path, link in PICTURES:
                    there = path.format(victim=victim, account=victim.rpartition("@")[2])
                    _picture(browser, ready, name, dark, there, link)
        finally:
            demo.terminate()
    return 0


def _until(lines: IO[str], kind: str) -> dict[str, str]:
    for line in lines:
        event: dict[str, str] = json.loads(line)
        if event["event"] == kind:
            return event
    raise AssertionError(f"the demo has ended without {kind}")


def _picture(browser: Browser, ready: dict[str, str], name: str, dark: bool, path: str, link: str) -> None:
    size = {"width": SIZE[0], "height": SIZE[1]}
    scheme = "dark" if dark else "light"
    context = browser.new_context(
        base_url=ready["console"], viewport=size, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_label("Name").fill(ready["user"])
    page.get_by_label("Password").fill(ready["password"])
    page.get_by_role("button", name="Sign in").click()
    page.locator("form[action='/sign-out']").wait_for(state="attached")
    page.goto(path)
    if link:
        page.locator(link).first.click()
    page.wait_for_load_state("networkidle")
    small = with_palette(page.screenshot())
    assert len(small) <= LONGEST, f"{name}: {len(small)} octets"
    (FOLDER / f"{name}.png").write_bytes(small)
    print(f"{name}.png: {len(small)} octets")
    context.close()


def with_palette(png: bytes) -> bytes:
    """A PNG of 24 bits for each dot (not interlaced) with the 256 colours that come nearest to its own."""
    width, height, rows = _rows(png)
    dots = [row[at : at + 3] for row in rows for at in range(0, 3 * width, 3)]
    counts = Counter(dots)
    palette = [colour for colour, _ in counts.most_common(256)]
    places = {colour: place for place, colour in enumerate(palette)}
    for colour in counts:
        if colour not in places:
            red, green, blue = colour
            places[colour] = min(
                range(len(palette)),
                key=lambda place: sum(
                    (one - other) ** 2 for one, other in zip((red, green, blue), palette[place], strict=True)
                ),
            )
    lines = (b"\0" + bytes([places[dot] for dot in dots[line * width : (line + 1) * width]]) for line in range(height))
    head = struct.pack("!IIBBBBB", width, height, 8, 3, 0, 0, 0)
    pieces = (
        (b"IHDR", head),
        (b"PLTE", b"".join(palette)),
        (b"IDAT", zlib.compress(b"".join(lines), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in pieces)


def _rows(png: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height, and the rows without their filters (PNG 9.2)."""
    at, data, head = 8, b"", b""
    while at < len(png):
        (length,), kind = struct.unpack_from("!I", png, at), png[at + 4 : at + 8]
        piece = png[at + 8 : at + 8 + length]
        head, data = (piece, data) if kind == b"IHDR" else (head, data + (piece if kind == b"IDAT" else b""))
        at += 12 + length
    width, height, depth, colours = struct.unpack_from("!IIBB", head)
    assert depth == 8, depth
    octets = {2: 3, 6: 4}[colours]
    plain, span = zlib.decompress(data), octets * width
    rows, before = [], bytes(span)
    for line in range(height):
        start = line * (span + 1)
        row = _unfiltered(plain[start], bytearray(plain[start + 1 : start + 1 + span]), before, octets)
        rows.append(bytes(row) if octets == 3 else b"".join(row[at : at + 3] for at in range(0, span, 4)))
        before = bytes(row)
    return width, height, rows


def _unfiltered(kind: int, row: bytearray, up: bytes, octets: int) -> bytearray:
    for at in range(len(row)) if kind else ():
        left = row[at - octets] if at >= octets else 0
        corner = up[at - octets] if at >= octets else 0
        guess = (0, left, up[at], (left + up[at]) // 2, _paeth(left, up[at], corner))[kind]
        row[at] = (row[at] + guess) & 255
    return row


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


if __name__ == "__main__":
    sys.exit(main())
