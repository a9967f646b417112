"""Octets to text: charsets of bodies, encoded words of header fields (RFC 2047)."""

from __future__ import annotations

import binascii
import re
from encodings.aliases import aliases

# Only these are used, whatever a message asks for: some codecs that Python knows are no charsets (rot13, zlib), and
# some take quadratic time (punycode) or act on escapes (unicode_escape).
_SINGLE_BYTE = frozenset(
    [f"iso8859_{n}" for n in (*range(1, 12), 13, 14, 15, 16)]
    + [f"cp{n}" for n in (437, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863, 864, 865, 866, 869, 874)]
    + [f"cp{n}" for n in range(1250, 1259)]
    + ["ascii", "latin_1", "koi8_r", "koi8_u", "koi8_t", "kz1048", "mac_roman", "mac_cyrillic", "tis_620", "ptcp154"]
)
_MULTI_BYTE = (
    "utf_8 utf_8_sig utf_7 utf_16 utf_16_be utf_16_le utf_32 gb2312 gbk gb18030 hz big5 big5hkscs cp932 cp949 cp950 "
    "euc_jp euc_jis_2004 euc_kr johab iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_3 iso2022_kr shift_jis "
    "shift_jis_2004"
)
_USED = _SINGLE_BYTE.union(_MULTI_BYTE.split())
_SAME_AS = {
    "": "utf_8",
    "utf8": "utf_8",
    "ansi": "cp1252",
    "default": "utf_8",
    "unknown": "utf_8",
    "x_unknown": "utf_8",
    "unknown_8bit": "utf_8",
    "ks_c_5601": "cp949",
    "ks_c_5601_1987": "cp949",
    "x_sjis": "cp932",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_6_i": "iso8859_6",
    "x_gbk": "gbk",
    "x_mac_roman": "mac_roman",
    # What is sent as these three is nearly always the wider Windows set.
    "iso8859_1": "cp1252",
    "latin_1": "cp1252",
    "gb2312": "gb18030",
}
_NAME = re.compile(r"[^a-z0-9]+")
_known: dict[str, str | None] = {}
_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]{0,800})\?=")
NO_BASE64 = bytes(c for c in range(256) if not (chr(c).isascii() and (chr(c).isalnum() or c in b"+/")))
"""The octets that are no letters of base64."""


def codec(name: str) -> str | None:
    """Python's name for a charset label; None if it is unknown or not to be used."""
    found = _known.get(name, "")
    if found != "":
        return found
    plain = _NAME.sub("_", name.lower()[:60]).strip("_")
    module = _SAME_AS.get(plain) or aliases.get(plain, plain)
    module = _SAME_AS.get(module, module)
    result = module if module in _USED else None
    if len(_known) < 500:  # A sender can make up labels without end.
        _known[name] = result
    return result


def decode(data: bytes, label: str, *, cut: bool = False) -> tuple[str, str | None]:
    """Text of `data` in the charset `label`, and the defect met: None, `unknown_charset` or `undecodable_text`.

    Never raises. `cut` says that the data were cut off, so that half a character at the end is no defect.
    """
    name = codec(label)
    if name is None:
        text, _ = decode(data, "", cut=cut)
        return text, "unknown_charset"
    if (name == "utf_8" or name in _SINGLE_BYTE) and data.isascii():
        return data.decode("ascii"), None
    if name == "ascii":
        name = "utf_8"
    text, defect = _decoded(data, name, label, cut=cut)
    if name == "utf_7":
        # It alone lets half of a surrogate pair through, which can be written down nowhere.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text, defect


def _decoded(data: bytes, name: str, label: str, *, cut: bool) -> tuple[str, str | None]:
    try:
        return data.decode(name), None
    except UnicodeDecodeError as error:
        if cut and error.start >= len(data) - 8:
            return data[: error.start].decode(name, "replace"), None
        if name == "cp1252" or (error.start == 0 and name != "utf_8"):
            # cp1252 leaves five octets open; other software shows them as control characters.
            return data.decode("latin-1"), None if name == "cp1252" else "undecodable_text"
    except UnicodeError:  # UTF-16 without its mark at the start, and the like.
        return data.decode("latin-1"), "undecodable_text"
    if not label or codec(label) in ("utf_8", "ascii"):
        # Not UTF-8 after all: in mail that says nothing about its charset it is most often Windows-1252.
        return data.decode("cp1252", "replace"), "undecodable_text" if label else None
    return data.decode(name, "replace"), "undecodable_text"


def base64(data: bytes, *, cut: bool = False) -> tuple[bytes, bool]:
    """Decoded base64 (RFC 2045 6.8) and whether it was sound. `cut`: the data were cut off at any place."""
    if not cut:
        try:
            return binascii.a2b_base64(data), True
        except binascii.Error:
            pass
    letters = data.partition(b"=")[0].translate(None, NO_BASE64)
    # One letter over carries no octet; two or three want their padding back.
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4)), cut


def header_text(value: str, limit: int = 1000) -> tuple[str, bool]:
    """A header value with its encoded words decoded (RFC 2047), at most `limit` characters, and whether all were sound.

    Encoded words that stand side by side are joined before decoding, as many mailers cut them inside a character.
    """
    value = value[: limit * 8]
    if "=?" not in value:
        return value[:limit], True
    out: list[str] = []
    sound = True
    position, label, pending = 0, "", b""
    for match in _WORD.finditer(value):
        between = value[position : match.start()]
        charset = match[1].partition("*")[0].lower()  # RFC 2231 5: a language may follow.
        if between.strip(" \t\r\n") or charset != label:
            if label:
                text, defect = decode(pending, label)
                sound = sound and defect is None
                out.append(text)
            if between.strip(" \t\r\n") or not label:
                out.append(between)
            pending = b""
        label = charset
        raw = match[3].encode("utf-8", "replace")
        if match[2] in "qQ":
            pending += binascii.a2b_qp(raw, header=True)
        else:
            data, good = base64(raw)
            sound = sound and good
            pending += data
        position = match.end()
    if label:
        text, defect = decode(pending, label)
        sound = sound and defect is None
        out.append(text)
    out.append(value[position:])
    text = "".join(out)
    return text[:limit], sound and "=?" not in text
