"""The languages of the customers' page, and which of them a browser asks for."""

from __future__ import annotations

import functools
import tomllib

from markupsafe import Markup

from outbound_guard.console.pages import HERE

LANGUAGES = ("en", "de", "fr", "es")
_MOST = 1000
"""Octets of Accept-Language that are looked at."""


@functools.cache
def texts(language: str) -> dict[str, str]:
    """What the page says in a language, one of LANGUAGES."""
    return tomllib.loads((HERE / "templates" / "customers" / "texts" / f"{language}.toml").read_text("utf-8"))


class Said:
    """The texts of one language, for templates: `say("until", time=...)`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = texts(language)

    def __call__(self, name: str, **values: object) -> Markup:
        """A text with its words filled in; what is filled in is text, whatever stands in it."""
        return Markup(self._texts[name]).format(**values)  # noqa: S704 - the texts are our own, and `format` escapes.


def language_of(chosen: str, accepted: str, otherwise: str) -> str:
    """The language that was chosen, else the first that is accepted (RFC 9110 12.5.4) and that there is."""
    if chosen in LANGUAGES:
        return chosen
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted[:_MOST].split(",")):
        name, _, parameters = part.strip().partition(";")
        try:
            weight = float(parameters.partition("q=")[2] or 1.0)
        except ValueError:
            continue
        language = name.partition("-")[0].lower()
        if language in LANGUAGES and 0 < weight <= 1:
            wanted.append((-weight, place, language))
    return min(wanted)[2] if wanted else otherwise
