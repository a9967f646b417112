"""Malformed or dangerous MIME: what mail programs do not write, and what should not be sent."""

from __future__ import annotations

import msgspec

from outbound_guard.signals.view import Finding, View

NAME = "structure"
VOLUME = False
NEEDS_MEMORY = False
ADDS_UP = False
HABIT = False
LOW, HIGH = 0.0, 5.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.structure]: nats for each group of defects (the words are those of content/defects.py)."""

    dangerous: float = 3.0
    """Programs, double file name endings, text direction tricks in file names."""
    malformed: float = 0.8
    """Broken structure that makes filters and mail programs see different things."""
    careless: float = 0.1
    """What honest software gets wrong as well."""
    most: float = 4.0


def look(view: View, settings: Settings) -> Finding | None:
    """Add up the message's defects."""
    defects = view.message.defects
    if not defects:
        return None
    weight = sum(getattr(settings, _GROUP.get(defect, "careless")) for defect in set(defects) - _ELSEWHERE)
    if view.sender.kind == "forwarder":
        weight *= 0.5  # Its author is somebody else.
    return min(weight, settings.most), f"defects: {', '.join(sorted(set(defects)))}"


_ELSEWHERE = {"address_in_name"}
"""Weighed by another check (from_address)."""

_GROUP = dict.fromkeys(
    (
        "executable_attachment",
        "executable_in_archive",
        "disk_image_attachment",
        "double_extension",
        "bidi_in_name",
    ),
    "dangerous",
) | dict.fromkeys(
    (
        "nul_in_header",
        "control_in_header",
        "several_from",
        "duplicate_header:from",
        "duplicate_header:content-type",
        "header_block_too_long",
        "bad_boundary",
        "deep_nesting",
        "too_many_parts",
        "broken_base64",
        "nul_in_text",
        "bidi_in_header",
        "macro_attachment",
        "html_attachment",
        "encrypted_archive",
        "html_deep",
        "html_script",
        "html_refresh",
    ),
    "malformed",
)
