"""A cheap guess at the language of a text: its script, or the small words it uses. For habits, not for linguists."""

from __future__ import annotations

import functools

_SMALL_WORDS = {
    "en": "the and you for with this that your from have are will not our can",
    "de": "und der die das nicht sie ist ein für mit ich auf wir ihre den",
    "fr": "les des vous pour est une dans nous que sur votre avec pas du et",
    "es": "los las para que una por con usted del como está su el es en",
    "it": "che per con una del sono della non questo il di la gli nel alla",
    "pt": "para que uma com não você dos por seu os em do da um está",
    "nl": "het een van niet voor met zijn dat de en ik je u wij aan",
    "pl": "nie się jest na że do to jak dla przez oraz od za są pan",
    "sv": "och att det som för inte med är en på av till har vi kan",
    "da": "og at det som for ikke med er en på af til har vi kan",
    "cs": "je se na že to pro jsou jako ale nebo od vám bude při do",
    "tr": "ve bir için bu ile da de olarak çok daha sizin olan var ne her",
    "ro": "și de la cu pentru este în nu din care sau vă pe mai sunt",
    "hu": "és az hogy nem egy is ez meg van csak vagy már önnek ha de",
    "fi": "ja on ei se että joka kun ovat tai myös mutta niin voi jos olla",
    "id": "yang dan di untuk dengan ini dari pada anda tidak akan ke dalam adalah kami",
    "vi": "và của là cho có không được các một với trong này người để bạn",
}
_OWNERS: dict[str, tuple[str, ...]] = {}
for _language, _words in _SMALL_WORDS.items():
    for _word in _words.split():
        _OWNERS[_word] = (*_OWNERS.get(_word, ()), _language)
_SAMPLE = 1000
"""Characters that are looked at: a few hundred words are enough."""
# First code points of blocks, ascending, and the script each begins.
_SCRIPTS = (
    (0x370, "greek"),
    (0x400, "cyrillic"),
    (0x530, "armenian"),
    (0x590, "hebrew"),
    (0x600, "arabic"),
    (0x780, ""),
    (0x900, "indic"),
    (0xE00, "thai"),
    (0xE80, ""),
    (0x3040, "japanese"),
    (0x3100, ""),
    (0x4E00, "cjk"),
    (0xA000, ""),
    (0xAC00, "korean"),
    (0xD7B0, ""),
)


def script(character: str) -> str:
    """The script of a letter where it is not Latin, else empty."""
    code, found = ord(character), ""
    for first, name in _SCRIPTS:
        if code < first:
            return found
        found = name
    return ""


def guess(lower: str) -> str:
    """The language of a text in lower case (two letters), or its script if that is not Latin; empty if unclear."""
    return _guess(lower[:_SAMPLE])


@functools.lru_cache(1024)  # Copies of a mailing are guessed once.
def _guess(sample: str) -> str:
    if not sample.isascii():
        counts: dict[str, int] = {}
        letters = 0
        for character in sample:
            if character > "\u036f" and (name := script(character)):
                counts[name] = counts.get(name, 0) + 1
            elif character.isalpha():
                letters += 1
        if counts:
            if counts.get("japanese", 0) > 3:
                return "japanese"
            name, count = max(counts.items(), key=lambda item: item[1])
            if count * 2 > letters:
                return name
    votes: dict[str, int] = {}
    for owners in filter(None, map(_OWNERS.get, sample.split())):
        for owner in owners:
            votes[owner] = votes.get(owner, 0) + 1
    if not votes:
        return ""
    best, most = max(votes.items(), key=lambda item: item[1])
    return best if most >= 3 else ""
