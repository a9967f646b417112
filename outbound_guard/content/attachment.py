"""Attachments: name, type, size, and whether one is dangerous by its form."""

from __future__ import annotations

import re

import msgspec

from outbound_guard.content import charset
from outbound_guard.content.mime import Part


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PROGRAMS = _words(
    "exe scr pif com bat cmd vbs vbe js jse wsf wsh hta cpl msi msp jar lnk ps1 psm1 reg dll sys apk app xll chm sct "
    "scf url vb ws gadget application appx msix appinstaller settingcontent-ms library-ms search-ms one desktop"
)
_PROGRAM_TYPES = ("application/x-msdownload", "application/x-msdos-program", "application/hta")
_DISKS = _words("iso img vhd vhdx dmg udf")
_MACROS = _words("docm dotm xlsm xltm xlam xlsb pptm potm ppam ppsm sldm")
_PAGES = _words("html htm xhtml shtml mht mhtml svg xht hta")
_DOCUMENTS = _words("pdf doc docx xls xlsx ppt pptx txt rtf csv jpg jpeg png gif bmp mp3 mp4 zip htm html odt")
_TURNING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_HEAD = 4096
"""Octets of encoded content that are looked at."""


class Attachment(msgspec.Struct, frozen=True):
    """A part that is not shown as the message's text."""

    name: str
    type: str
    size: int
    """Octets, decoded (estimated)."""


def turns_text(text: str) -> bool:
    """True if `text` holds characters that change the direction of what follows (Unicode UAX 9)."""
    return not text.isascii() and _TURNING.search(text) is not None


def extension(name: str) -> str:
    """What follows the last dot, in lower case, without trailing spaces and dots (which Windows leaves out)."""
    return name.rstrip(" .").rpartition(".")[2].strip().lower()[:20] if "." in name else ""


def inspect(content: bytes, part: Part, defects: list[str]) -> Attachment:
    """Describe an attachment; what is dangerous about it is added to `defects`."""
    length = part.end - part.start
    head = content[part.start : min(part.end, part.start + _HEAD)]
    size = length
    if part.encoding == "base64":
        size = length * 57 // 78
        head = charset.base64(head, cut=length > _HEAD)[0]
    name = part.name
    _judge_name(name, part, defects)
    _judge_head(head, name, defects)
    return Attachment(name, part.type, size)


def _judge_name(name: str, part: Part, defects: list[str]) -> None:
    ending = extension(name)
    if ending in _PROGRAMS or part.type in _PROGRAM_TYPES:
        defects.append("executable_attachment")
    elif ending in _DISKS:
        defects.append("disk_image_attachment")
    elif ending in _MACROS or "macroenabled" in part.type:
        defects.append("macro_attachment")
    elif ending in _PAGES or part.type in ("text/html", "image/svg+xml", "application/xhtml+xml"):
        defects.append("html_attachment")
    if ending in _PROGRAMS or ending in _DISKS or ending in _PAGES:
        before = extension(name.rstrip(" .")[: -len(ending) - 1]) if ending else ""
        if before in _DOCUMENTS:
            defects.append("double_extension")
    if turns_text(name):
        defects.append("bidi_in_name")


def _judge_head(head: bytes, name: str, defects: list[str]) -> None:
    if head.startswith(b"\x7fELF") or (head.startswith(b"MZ") and len(head) > 60 and b"\0" in head[:60]):
        defects.append("executable_attachment")
    elif head.startswith(b"PK\x03\x04"):
        position, entries = 0, 0
        while 0 <= position < len(head) - 30 and entries < 20:
            # APPNOTE.TXT 4.3.7: general purpose flag at 6, name length at 26, name at 30.
            if head[position + 6] & 1:
                defects.append("encrypted_archive")
                break
            count = int.from_bytes(head[position + 26 : position + 28], "little")
            if extension(head[position + 30 : position + 30 + count].decode("latin-1")) in _PROGRAMS - {"js", "com"}:
                defects.append("executable_in_archive")
                break
            position = head.find(b"PK\x03\x04", position + 30)
            entries += 1
    elif head.startswith(b"Rar!\x1a\x07\x01") and len(head) > 14 and head[12:14] == b"\x04\x00":
        defects.append("encrypted_archive")
    elif head.startswith(b"Rar!\x1a\x07\0") and len(head) > 11 and head[10] & 0x80:
        # RAR 4: the flag of the archive header says that the headers are encrypted.
        defects.append("encrypted_archive")
