"""Every private or undocumented thing of aiosmtpd that the edge relies on. Of asyncio and uvloop there is none.

`tests/unit/test_edge_private.py` compares the list with the installed release, so that an update of aiosmtpd that
changes one of them fails there, and not at a customer's.
"""

from __future__ import annotations

REPLACED = (
    # `Wire.__init__` does not call it: it spends more than the whole session costs us, on reflection and on a
    # StreamReader that is not used. What the inherited methods below read is set by the edge instead.
    "__init__",
    # The command loop. Ours ends a line at CRLF only, writes replies once a turn, and never answers 500 for a fault.
    "_handle_client",
    # Called by the dialogues of AUTH with what the client gave; ours only hands it out, since it could not wait.
    "_authenticate",
)
"""Methods of `aiosmtpd.smtp.SMTP` that the edge replaces and that must keep their names."""

INHERITED = {
    # The dialogues of AUTH PLAIN and AUTH LOGIN. They read `self._reader.readline()`, say `self.push()`, look at
    # `self.session.peer`, and return the result of `self._authenticate()`.
    "auth_PLAIN": "71fe14c537cc5039d7dc210cdbc8bc27e0a56736e544bae985db402a17f63922",
    "auth_LOGIN": "f121f6cb809cc2ad2f3dd0a341bdcf4b8148c5e067f4fb25e17891c5914fa5ec",
    "challenge_auth": "7ca4c59374e535387bffe888ba02d3b710ea24fb48ffdd60c276c54e955f3689",
    # Looks for `_closed`, a future that only the skipped constructor would have made, and does without it.
    "__del__": "bdfddff9796a4d50785dcc199088269f756255ba6a04aa7dc9771049dfac1c0a",
}
"""Methods of `aiosmtpd.smtp.SMTP` that run as they are, each with the SHA-256 of the source that was read."""

ATTRIBUTES = ("_reader", "session", "envelope", "transport", "loop", "_handler_coroutine")
"""Attributes of `aiosmtpd.smtp.SMTP` that the edge sets or shares its names with."""
